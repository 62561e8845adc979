"""The operation that rebuilds an index: what it tells, keeps and counts."""

from dataclasses import replace

import pytest

from omma.domain.errors import IndexNotFound, InvalidInput, SourceUnavailable
from omma.domain.faces import Lane
from omma.domain.indexes import (
    RebuildProgress,
    RebuildReport,
    Score,
    SourcePlan,
    Stage,
    Verdict,
)
from omma.domain.jobs import JobId, Progress
from omma.domain.tokens import ADMIN, SUPPORT, Principal
from omma.operations.declaring import BoundOperation
from omma.operations.indexes import INDEX_REBUILD
from omma.operations.registry import OPERATIONS, bind, row
from omma.ports.operations import LoneJob
from tests.fakes import capabilities

NEW = "20240103T020000-c"
SCORE = Score(200, 199, 0, 31.0, 44.0)
REFUSED = Verdict(
    is_accepted=False, reasons=("accuracy fell from 0.99 to 0.51",), candidate=SCORE, running=None
)
REPORT = RebuildReport(
    NEW, REFUSED, is_published=False, cards=10, faces=12, fetched=3, removed=1, took_s=7.25
)
PLAN = SourcePlan("scryfall", 90_000, 93_000, 1200, 5 * 10**9, 0.5, is_exact=False)


class Rebuilder:
    """Tells of each stage, and answers what it was made with."""

    def __init__(self, report=REPORT):
        self.report = report
        self.asked = []

    async def plan(self):
        return PLAN

    async def run(self, watcher, *, holder, force=False):
        self.asked.append((holder, force))
        await watcher(RebuildProgress(Stage.FEATURES, 120, 1000, failed=2, message="scryfall"))
        await watcher(RebuildProgress(Stage.ASSEMBLY))
        if isinstance(self.report, Exception):
            raise self.report
        return self.report


async def rebuilt(rebuilder, **params):
    """The handler's result and metrics, and what it told on its way."""
    handler = BoundOperation(INDEX_REBUILD, replace(capabilities(), rebuild=rebuilder))
    told = []
    job = LoneJob(JobId("j-1"), told.append)
    outcome = await handler.run_alone(handler.check(params), job)
    return handler.keep(outcome, "jobs/j-1"), handler.measure(outcome), told


async def test_a_rebuild_tells_its_stages_and_keeps_its_report():
    rebuilder = Rebuilder()

    kept, metrics, told = await rebuilt(rebuilder, force=True)

    assert told == [Progress(120, 1000, "features: scryfall: 2 failed"), Progress(0, 0, "assembly")]
    assert rebuilder.asked == [("j-1", True)]  # the job holds the lease, whichever its attempt
    assert (kept.result["version"], kept.result["is_published"], kept.files) == (NEW, False, {})
    assert kept.result["verdict"]["reasons"] == ["accuracy fell from 0.99 to 0.51"]
    assert kept.result["verdict"]["candidate"]["accuracy"] == 0.995
    assert (metrics["published"], metrics["fetched"]) == (False, 3)


async def test_a_dry_run_keeps_the_plan_and_touches_nothing():
    rebuilder = Rebuilder()

    kept, metrics, told = await rebuilt(rebuilder, dry_run=True)

    assert kept.result["new_images"] == metrics["new_images"] == 1200
    assert (kept.result["download_bytes"], kept.result["is_exact"]) == (5 * 10**9, False)
    assert (rebuilder.asked, told) == ([], [])


async def test_a_call_of_a_rebuild_is_observed():
    seen = []
    handler = BoundOperation(
        INDEX_REBUILD,
        replace(capabilities(), rebuild=Rebuilder(SourceUnavailable("away", 5))),
        seen.append,
    )

    with pytest.raises(SourceUnavailable):
        await handler.run_alone({}, LoneJob(JobId("j-1"), print))

    [observed] = seen
    assert (observed.operation, observed.lane) == ("index_rebuild", Lane.JOB)
    assert observed.errors == ("source_unavailable",)


@pytest.mark.parametrize("name", ["index_rebuild", "image_embedding"])
async def test_what_takes_no_images_and_what_does_refuse_each_others_calls(name):
    handler = bind(capabilities(), OPERATIONS)[name]
    calls = {
        True: lambda: handler.run_alone({}, LoneJob(JobId("j-1"), print)),
        False: lambda: handler.run([b"image"], {}, lane=Lane.JOB),
    }

    with pytest.raises(Exception, match=r"expected (no|an) image"):
        await calls[handler.takes_images]()


class Importer:
    where = "https://cards.example/nightly.zip"

    async def run(self, watcher, *, holder):
        await watcher(RebuildProgress(Stage.ASSEMBLY, 0, 12))
        self.holder = holder
        return REPORT


async def test_the_bundle_that_is_configured_is_imported_under_the_jobs_id():
    importer, told = Importer(), []
    handler = BoundOperation(INDEX_REBUILD, replace(capabilities(), bundle=importer))
    params = handler.check({"bundle": importer.where})

    outcome = await handler.run_alone(params, LoneJob(JobId("j-1"), told.append))

    assert (outcome, importer.holder, told) == (REPORT, "j-1", [Progress(0, 12, "assembly")])


@pytest.mark.parametrize("importer", [Importer(), None])
async def test_no_client_says_which_bundle_is_read(importer):
    handler = BoundOperation(INDEX_REBUILD, replace(capabilities(), bundle=importer))

    with pytest.raises(InvalidInput):
        await handler.run_alone({"bundle": "/etc/passwd"}, LoneJob(JobId("j-1"), print))


async def test_where_no_source_is_configured_there_is_nothing_to_rebuild_from():
    with pytest.raises(IndexNotFound):
        await rebuilt(None)


@pytest.mark.parametrize(
    ("params", "error"),
    [({"index": "people"}, IndexNotFound), ({"force": "perhaps"}, InvalidInput)],
)
def test_parameters_are_checked_before_there_is_a_job(params, error):
    with pytest.raises(error):
        bind(capabilities())["index_rebuild"].check(params)


def test_its_row_names_the_route_the_command_and_the_handles_way_to_it():
    listed = row(INDEX_REBUILD)

    assert listed.route == "POST /api/v1/indexes/{name}/rebuild"
    assert listed.command == "omma indexes rebuild"
    assert listed.handle_method == "submit_job"
    assert listed.permission == ADMIN


def test_no_list_of_permissions_makes_an_administrator():
    listed = Principal("ann", frozenset({SUPPORT, ADMIN}))

    assert not listed.may(ADMIN)
    assert Principal("root", is_admin=True).may(ADMIN)
