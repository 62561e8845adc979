"""What every JobStore promises."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from omma.domain.errors import (
    BatchNotFound,
    DuplicateJob,
    IdempotencyConflict,
    InvalidInput,
    QuotaExceeded,
)
from omma.domain.jobs import (
    Completed,
    Entity,
    EntityKind,
    Failed,
    Failure,
    ImageRef,
    JobFilter,
    JobState,
)
from omma.stores.records.database import from_ms
from tests.job_records import QUOTA, claim, kinds, submission, submit


async def test_a_submission_is_read_again_as_it_was_sent(records):
    await records.batches.open("b1", "ada", "face_detection")
    asked = submission(
        "j1",
        images=(ImageRef(url="https://x/1"), ImageRef(media_store_id="7"), ImageRef(blob="u/1")),
        params={"min_score": 0.5, "names": ["é\u0000", None]},
        priority=9,
        max_retries=1,
        entity=Entity(EntityKind.SCENE, "7", "A scene", "/films/é.mkv", "scene"),
        media_store_id="7",
        idempotency_key="once",
        not_before=datetime(2030, 1, 1, 12, 0, 0, 123000, tzinfo=UTC),
        callback_url="https://caller/",
        batch_id="b1",
        position=3,
    )

    [job] = await records.store.submit([asked], quota=QUOTA)

    assert job.asked == asked
    assert job.state is JobState.PENDING
    assert job.created_at == from_ms(records.now_ms)
    assert await records.store.get("j1") == job


async def test_a_job_that_nobody_submitted_is_none(records):
    assert await records.store.get("nobody") is None


async def test_nothing_submitted_is_nothing_recorded(records):
    assert await records.store.submit([], quota=QUOTA) == []
    assert await records.log.last() == 0


async def test_the_same_key_answers_the_same_job(records):
    [first] = await submit(records, "j1", idempotency_key="k", params={"sizes": (1, 2)})
    await claim(records)

    asked = submission("j2", idempotency_key="k", params={"sizes": [1, 2]})
    [second] = await records.store.submit([asked], quota=QUOTA)

    assert second.job_id == first.job_id
    assert second.state is JobState.PROCESSING
    assert await records.store.get("j2") is None


async def test_the_same_upload_is_told_by_its_name(records):
    def upload(job_id):
        image = ImageRef(blob=f"uploads/{job_id}/abc")
        return submission(job_id, idempotency_key="k", images=(image,))

    outcomes = await records.store.submit([upload("j1"), upload("j2")], quota=QUOTA)

    assert [job.job_id for job in outcomes] == ["j1", "j1"]


async def test_another_request_under_the_same_key_is_a_conflict(records):
    await submit(records, "j1", idempotency_key="k")

    asked = submission("j2", idempotency_key="k", priority=9)
    [outcome] = await records.store.submit([asked], quota=QUOTA)

    assert isinstance(outcome, IdempotencyConflict)


async def test_keys_of_two_owners_have_nothing_to_do_with_each_other(records):
    await submit(records, "j1", idempotency_key="k")

    await submit(records, "j2", idempotency_key="k", owner="bob")

    assert (await records.store.counts()).queued == 2


@pytest.mark.parametrize("is_running", [False, True])
async def test_the_same_media_waits_or_runs_once(records, is_running):
    await submit(records, "j1", media_store_id="7")
    if is_running:
        await claim(records)

    asked = submission("j2", media_store_id="7", owner="bob")
    [outcome] = await records.store.submit([asked], quota=QUOTA)

    assert isinstance(outcome, DuplicateJob)


async def test_media_may_come_again_for_another_operation_or_after_the_end(records):
    await submit(records, "j1", media_store_id="7")
    await submit(records, "j2", media_store_id="7", operation="image_embedding")
    [hold] = await claim(records)
    await records.queue.settle([Completed(hold, {})])

    await submit(records, "j3", media_store_id="7")

    assert (await records.store.counts()).queued == 2


async def test_jobs_without_media_are_never_duplicates(records):
    await submit(records, "j1", "j2", "j3")

    assert (await records.store.counts()).queued == 3


async def test_earlier_submissions_of_a_call_count_for_later_ones(records):
    asked = [
        submission("j1", media_store_id="7", idempotency_key="k"),
        submission("j2", media_store_id="7"),
        submission("j3", media_store_id="7", idempotency_key="k"),
        submission("j4"),
        submission("j5"),
        submission("j6", owner="bob"),
    ]

    outcomes = await records.store.submit(asked, quota=2)

    assert [getattr(outcome, "job_id", type(outcome)) for outcome in outcomes] == [
        "j1",
        DuplicateJob,
        "j1",
        "j4",
        QuotaExceeded,
        "j6",
    ]
    assert await kinds(records) == ["job_submitted"] * 3


async def test_only_waiting_jobs_count_against_the_quota(records):
    await submit(records, "j1", "j2")
    await claim(records)

    outcomes = await records.store.submit([submission("j3"), submission("j4")], quota=2)

    assert outcomes[0].job_id == "j3"
    assert isinstance(outcomes[1], QuotaExceeded)


async def test_a_key_answers_its_job_however_full_the_quota_is(records):
    await submit(records, "j1", idempotency_key="k")

    asked = submission("j2", idempotency_key="k")
    [outcome] = await records.store.submit([asked], quota=1)

    assert outcome.job_id == "j1"


async def test_a_batch_that_nobody_opened_takes_no_jobs(records):
    asked = [submission("j1", batch_id="none"), submission("j2")]

    outcomes = await records.store.submit(asked, quota=QUOTA)

    assert isinstance(outcomes[0], BatchNotFound)
    assert outcomes[1].job_id == "j2"


@pytest.mark.parametrize("text", ["a\0b", "half \ud800"])
@pytest.mark.parametrize("name", ["media_store_id", "owner", "idempotency_key", "callback_url"])
async def test_texts_that_no_database_keeps_are_refused_alone(records, name, text):
    asked = [submission("j1", **{name: text}), submission("j2")]

    outcomes = await records.store.submit(asked, quota=QUOTA)

    assert isinstance(outcomes[0], InvalidInput)
    assert outcomes[1].job_id == "j2"


async def test_submitting_takes_the_upload_out_of_the_sweepers_list(records):
    await records.sweeps.intend(["uploads/j1", "uploads/j2"], due_in_s=0)

    await submit(records, "j1", images=(ImageRef(blob="uploads/j1/0"),))

    assert await records.sweeps.due(limit=10) == ["uploads/j2"]


async def test_pages_go_from_the_newest_to_the_oldest_and_end(records):
    await submit(records, *(f"j{n}" for n in range(5)))

    pages = []
    cursor = ""
    while not pages or cursor:
        page = await records.store.page(JobFilter(), cursor=cursor, limit=2)
        pages.append([job.job_id for job in page.jobs])
        cursor = page.next_cursor

    assert pages == [["j4", "j3"], ["j2", "j1"], ["j0"]]


async def test_a_page_that_is_just_full_is_the_last(records):
    await submit(records, "j1", "j2")

    page = await records.store.page(JobFilter(), cursor="", limit=2)

    assert page.next_cursor == ""


async def test_a_page_shows_what_its_filter_means(records):
    await records.batches.open("b1", "bob", "face_detection")
    await submit(records, "old")
    records.advance(100)
    await submit(records, "other", operation="image_embedding")
    await submit(records, "batched", owner="bob", batch_id="b1")
    await records.control.cancel("other")

    async def shown(**wanted):
        page = await records.store.page(JobFilter(**wanted), cursor="", limit=10)
        return [job.job_id for job in page.jobs]

    assert await shown(owner="bob") == ["batched"]
    assert await shown(operation="image_embedding") == ["other"]
    assert await shown(batch_id="b1") == ["batched"]
    assert await shown(older_than_s=50) == ["old"]
    assert await shown(states=(JobState.CANCELLED,)) == ["other"]
    assert await shown(states=(JobState.CANCELLED, JobState.PENDING), owner="ada") == [
        "other",
        "old",
    ]


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "²", "9" * 30])
async def test_a_cursor_that_no_page_gave_is_refused(records, cursor):
    with pytest.raises(InvalidInput):
        await records.store.page(JobFilter(), cursor=cursor, limit=2)


async def test_listings_leave_results_out(records):
    await submit(records, "j1", params={"min_score": 0.5})
    [hold] = await claim(records)
    await records.queue.settle([Completed(hold, {"faces": 1}, {"faces": 1})])
    await submit(records, "j2")

    page = await records.store.page(JobFilter(), cursor="", limit=10)
    active = await records.store.active("", 10)

    whole = await records.store.get("j1")
    assert (whole.result, whole.metrics) == ({"faces": 1}, {"faces": 1})
    assert page.jobs[1] == replace(whole, result=None, metrics=None)
    assert active == [page.jobs[0]]


async def test_counts_are_of_one_owner_or_of_all(records):
    await submit(records, "j1", "j2", "j3")
    await submit(records, "j4", owner="bob")
    first, second = await claim(records, limit=2)
    await records.queue.settle([Completed(first, {})])
    await records.queue.settle([Failed(second, Failure("broken", "it broke"), None)])

    counts = await records.store.counts()
    of_bob = await records.store.counts("bob")

    assert counts.by_state == {JobState.COMPLETED: 1, JobState.ERROR: 1, JobState.PENDING: 2}
    assert counts.queued == 2
    assert of_bob.by_state == {JobState.PENDING: 1}
    assert of_bob.queued == 1


async def test_active_jobs_are_the_running_ones_and_then_those_that_come_next(records):
    await submit(records, "running")
    await claim(records)
    await submit(records, "later")
    await submit(records, "next", priority=8)
    await submit(records, "bobs", owner="bob")

    of_ada = await records.store.active("ada", 10)
    of_all = await records.store.active("", 3)

    assert [job.job_id for job in of_ada] == ["running", "next", "later"]
    assert [job.job_id for job in of_all] == ["running", "next", "later"]


async def test_concurrent_calls_agree_on_duplicates_keys_and_quota(records):
    def calls(number):
        return [
            submission(f"media-{number}", media_store_id="7"),
            submission(f"key-{number}", idempotency_key="k", owner="bob"),
            submission(f"many-{number}", owner="eve"),
        ]

    outcomes = await asyncio.gather(
        *(records.store.submit(calls(number), quota=3) for number in range(8))
    )

    media, keyed, many = zip(*outcomes, strict=True)
    assert sum(isinstance(outcome, DuplicateJob) for outcome in media) == 7
    assert len({job.job_id for job in keyed}) == 1
    assert sum(isinstance(outcome, QuotaExceeded) for outcome in many) == 5


async def test_a_scheduled_job_waits_for_its_time(records):
    start = from_ms(records.now_ms) + timedelta(seconds=10)
    await submit(records, "j1", not_before=start)
    early = await claim(records)

    records.advance(10)

    assert early == []
    assert [hold.job_id for hold in await claim(records)] == ["j1"]


async def test_a_thousand_submissions_are_one_call(records):
    await submit(records, *(f"j{number}" for number in range(1000)))

    claimed = await claim(records, limit=1000)
    assert [hold.job_id for hold in claimed] == [f"j{number}" for number in range(1000)]


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800"])
@pytest.mark.parametrize("field", ["owner", "operation", "batch_id"])
async def test_what_no_database_can_hold_nothing_is_found_by(records, field, text):
    await submit(records, "j1")

    page = await records.store.page(JobFilter(**{field: text}), cursor="", limit=10)
    removed = await records.control.delete(JobFilter(**{field: text}), limit=10)

    assert (page.jobs, removed.jobs) == ((), 0)
