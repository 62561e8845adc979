"""The policy by which job runners are added and taken away."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.serve.config import AutoscalingConfig

from deployments.scaling import by_queue
from deployments.sizes import DEFAULT, read_plan


def reports(*loads, target=1):
    """What Serve passes on of replicas that reported ``loads``: waiting and running jobs."""
    metrics = {
        "waiting": {n: waiting for n, (waiting, _running) in enumerate(loads)},
        "running": {n: running for n, (_waiting, running) in enumerate(loads)},
        "per_runner": {n: 64.0 for n, _load in enumerate(loads)},
    }
    return SimpleNamespace(aggregated_metrics=metrics if loads else {}, target_num_replicas=target)


@pytest.mark.parametrize(
    ("loads", "runners"),
    [
        ([(0, 0)], 1),
        ([(64, 0)], 1),
        ([(65, 0)], 2),
        ([(640, 32)], 11),
        ([(640, 32), (632, 32)], 11),  # both see the same queue
        ([(0, 32), (0, 32), (0, 32)], 2),
    ],
)
def test_there_is_a_runner_for_every_so_many_jobs(loads, runners):
    assert by_queue(reports(*loads)) == (runners, {})


def test_before_anybody_has_reported_nothing_changes():
    assert by_queue(reports(target=3)) == (3, {})


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 1000)), min_size=1, max_size=8))
def test_more_work_never_means_fewer_runners(loads):
    fewer, _ = by_queue(reports(*loads))
    more, _ = by_queue(reports(*((waiting + 100, running) for waiting, running in loads)))

    assert 1 <= fewer <= more


@pytest.mark.parametrize("name", ["split.yaml", "gpu.yaml", "cluster.yaml"])
def test_serve_loads_the_policy_that_the_files_name(name):
    sizes = read_plan(DEFAULT.with_name(name)).sizes["JobRunner"]

    config = AutoscalingConfig(**sizes["autoscaling_config"])

    assert config.policy.get_policy()(reports((65, 0)))[0] == 2
