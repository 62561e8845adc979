import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.preflight import GIB, Demand, demands, require_places, unplaceable
from deployments.sizes import DEFAULT, read_plan
from graph import build_sized
from omma.domain.errors import CannotStart


def node(cpu=2.0, gpu=0.0, memory_gib=8.0):
    return {"CPU": cpu, "GPU": gpu, "memory": memory_gib * GIB, "node:127.0.0.1": 1.0}


def demand(name="Model", replicas=1, **resources):
    return Demand(name, replicas, resources)


def test_what_fits_is_not_mentioned():
    assert unplaceable([demand(CPU=1.0, replicas=2)], [node()]) == []


def test_a_gpu_that_nobody_has_is_named():
    reasons = unplaceable([demand(CPU=1.0, GPU=0.5)], [node()])

    assert reasons == ["Model (replica 1 of 1) needs 0.5 GPU, the largest node has 0"]


def test_memory_that_nobody_has_is_named_in_gib():
    reasons = unplaceable([demand(memory=16.0 * GIB)], [node()])

    assert reasons == ["Model (replica 1 of 1) needs 16 GiB memory, the largest node has 8.0 GiB"]


def test_what_others_take_is_counted():
    wanted = [demand("Detector", GPU=0.6), demand("Embedder", GPU=0.5)]

    assert unplaceable(wanted, [node(gpu=1.0)]) == [
        "Embedder (replica 1 of 1) needs 0.5 GPU, the others leave 0.4 on one node"
    ]


def test_the_replica_that_no_longer_fits_is_counted():
    reasons = unplaceable([demand(CPU=0.5, replicas=6)], [node(cpu=1.0), node(cpu=1.5)])

    assert reasons == ["Model (replica 6 of 6) needs 0.5 CPU, the others leave 0 on one node"]


def test_fractions_do_not_add_up_over_nodes():
    assert unplaceable([demand(GPU=1.0)], [node(gpu=0.5), node(gpu=0.5)])


def test_tenths_of_a_gpu_fill_it_exactly():
    assert unplaceable([demand(GPU=0.1, replicas=10)], [node(gpu=1.0)]) == []


def test_a_cluster_without_nodes_has_no_place():
    assert unplaceable([demand(CPU=1.0)], []) == [
        "Model (replica 1 of 1) needs 1 CPU, the largest node has 0"
    ]


def test_replicas_that_need_nothing_fit_anywhere():
    assert unplaceable([demand(replicas=100)], [node(cpu=0.0)]) == []


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 40)), max_size=6),
    st.lists(st.integers(0, 40), min_size=1, max_size=4),
)
def test_what_is_placed_never_exceeds_what_there_is(wanted, sizes):
    demands = [
        Demand(f"D{n}", replicas, {"CPU": tenths / 10})
        for n, (replicas, tenths) in enumerate(wanted)
    ]
    nodes = [{"CPU": tenths / 10} for tenths in sizes]

    total = sum(replicas * tenths for replicas, tenths in wanted)

    if total > sum(sizes):
        assert unplaceable(demands, nodes)


def test_a_graph_asks_for_what_its_file_says():
    plan = read_plan(DEFAULT.with_name("gpu.yaml"))

    asked = {each.name: each for each in demands(build_sized(plan.settings, plan.sizes))}

    assert asked["FaceNet"] == Demand("FaceNet", 1, {"CPU": 0.25, "GPU": 0.2})
    assert asked["FaceDetection"].replicas == 1


def test_a_graph_that_finds_no_place_cannot_start():
    plan = read_plan(DEFAULT.with_name("gpu.yaml"))

    with pytest.raises(CannotStart, match=r"FaceDetection .* needs 0.25 GPU"):
        require_places(build_sized(plan.settings, plan.sizes), [node()])
