from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.lanes import Lanes
from omma.domain.faces import Lane

INTERACTIVE, JOB = Lane.INTERACTIVE, Lane.JOB


def filled(job_floor=0.1, **counts):
    lanes = Lanes(job_floor)
    for lane in Lane:
        for n in range(counts.get(lane.value, 0)):
            lanes.put((lane, n), lane, None)
    return lanes


def lane_counts(entries):
    return Counter(lane for lane, _ in entries)


def test_interactive_goes_first_and_jobs_fill_what_is_left():
    lanes = filled(interactive=2, job=5)

    assert lanes.take(4) == [(INTERACTIVE, 0), (INTERACTIVE, 1), (JOB, 0), (JOB, 1)]


def test_with_batches_of_one_every_tenth_item_is_a_job():
    lanes = filled(interactive=100, job=100)

    taken = [lanes.take(1)[0][0] for _ in range(50)]

    assert [n for n, lane in enumerate(taken) if lane is JOB] == [10, 20, 30, 40]


def test_a_floor_of_zero_leaves_jobs_only_idle_time():
    lanes = filled(job_floor=0, interactive=20, job=1)

    assert lane_counts(lanes.take(8) + lanes.take(8) + lanes.take(4)) == {INTERACTIVE: 20}


@pytest.mark.parametrize("floor", [-0.1, 1.0, 7])
def test_a_floor_is_a_share(floor):
    with pytest.raises(ValueError, match="job_floor"):
        Lanes(floor)


def test_a_batch_holds_one_group_and_the_longest_waiting_group_goes_first():
    lanes = Lanes(0.1)
    for n, group in enumerate("abab"):
        lanes.put(n, INTERACTIVE, group)

    assert [lanes.take(8), lanes.take(8), lanes.take(8)] == [[0, 2], [1, 3], []]


def test_jobs_that_used_idle_time_do_not_pay_for_it():
    lanes = filled(job=100)
    lanes.take(50)
    for n in range(100):
        lanes.put((INTERACTIVE, n), INTERACTIVE, None)

    assert lane_counts([*lanes.take(8), *lanes.take(8), *lanes.take(8)])[JOB] >= 1


def test_jobs_cannot_save_up_for_later():
    lanes = filled(interactive=100)
    for _ in range(10):
        lanes.take(8)
    lanes.put((JOB, 0), JOB, None)

    assert lane_counts(lanes.take(8)) == {INTERACTIVE: 8}


def test_dropped_entries_are_gone_and_the_rest_keep_their_order():
    lanes = filled(interactive=6)
    lanes.drop(lambda entry: entry[1] % 2 == 0)

    assert (len(lanes), [n for _, n in lanes.take(8)], len(lanes)) == (3, [1, 3, 5], 0)


puts = st.tuples(st.just("put"), st.sampled_from(Lane), st.sampled_from("abc"))
takes = st.tuples(st.just("take"), st.integers(1, 5), st.none())


@given(st.lists(puts | takes, max_size=200), st.sampled_from([0, 0.1, 0.5]))
def test_nothing_is_lost_doubled_mixed_or_overtaken_within_its_kind(steps, floor):
    lanes, waiting, taken = Lanes(floor), [], []
    for n, (step, first, second) in enumerate(steps):
        if step == "put":
            lanes.put((n, first, second), first, second)
            waiting.append((n, first, second))
            continue
        oldest = {min(e for e in waiting if e[1] is lane) for lane in {e[1] for e in waiting}}
        batch = lanes.take(first)
        assert len({group for _, _, group in batch}) == (1 if waiting else 0)
        assert not waiting or oldest & set(batch)
        assert len(batch) <= first
        for entry in batch:
            waiting.remove(entry)
        taken += batch
        assert len(lanes) == len(waiting)

    for kind in {entry[1:] for entry in taken}:
        order = [entry[0] for entry in taken if entry[1:] == kind]
        assert order == sorted(order)


@given(
    st.lists(st.tuples(st.sampled_from(Lane), st.sampled_from("abc")), min_size=1),
    st.integers(1, 8),
    st.sampled_from([0.05, 0.1, 0.25, 0.5]),
)
def test_while_jobs_wait_they_keep_their_floor_and_interactive_the_rest(kinds, size, floor):
    lanes = Lanes(floor)
    kinds = [*kinds, (INTERACTIVE, "a"), (JOB, "a")]
    for n in range(400):
        lanes.put(kinds[n % len(kinds)], *kinds[n % len(kinds)])
    jobs = total = 0
    while len(lanes) > 50:
        batch = lanes.take(size)
        for lane, group in batch:  # what leaves is replaced: both lanes always wait
            if total < 2000:
                lanes.put((lane, group), lane, group)
        total += len(batch)
        jobs += sum(lane is JOB for lane, _ in batch)
        if total >= 2000:
            break

    assert jobs >= floor * total - size - 1
