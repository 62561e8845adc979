"""What is done with indexes: they are rebuilt, by jobs that may run for hours."""

from omma.domain.errors import IndexNotFound, InvalidInput
from omma.domain.indexes import CARDS, RebuildProgress, RebuildReport, SourcePlan
from omma.domain.jobs import EntityKind, Json, Progress
from omma.domain.tokens import ADMIN
from omma.operations.declaring import ActionType, Capabilities, Operation
from omma.ports.indexes import BundleImporter, IndexRebuilder
from omma.ports.operations import Kept, LoneJob
from omma.services.publishing import REBUILD
from omma.wire.indexes import PlanResult, RebuildParams, RebuildResult


async def _rebuild(
    capabilities: Capabilities, params: RebuildParams, job: LoneJob
) -> RebuildReport | SourcePlan:
    async def watcher(progress: RebuildProgress) -> None:
        job.tell(told(progress))

    if params.bundle:
        return await _importer(capabilities, params).run(watcher, holder=job.job_id)
    rebuild = _rebuilder(capabilities)
    if params.dry_run:
        return await rebuild.plan()
    # By the job's id, not the attempt's: the next attempt takes the lease of this one over.
    return await rebuild.run(watcher, holder=job.job_id, force=params.force)


def told(progress: RebuildProgress) -> Progress:
    """How far a rebuild is, as jobs say it: the numbers are those of its stage."""
    parts = [progress.stage.value, progress.message]
    parts += [f"{progress.failed} failed"] if progress.failed else []
    return Progress(progress.done, progress.total, ": ".join(filter(None, parts)))


def _rebuilder(capabilities: Capabilities) -> IndexRebuilder:
    if capabilities.rebuild is None:
        raise IndexNotFound("no source of cards is configured: nothing to rebuild from")
    return capabilities.rebuild


def _importer(capabilities: Capabilities, params: RebuildParams) -> BundleImporter:
    """The operator alone says which bundle: it is read past the guard of URLs."""
    importer = capabilities.bundle
    if importer is None or importer.where != params.bundle:
        raise InvalidInput("expected the bundle that is configured as indexes.bundle_url")
    return importer


def _require(_capabilities: Capabilities, params: RebuildParams) -> None:
    if params.index != CARDS:
        raise IndexNotFound(f"no index named {params.index!r}; there is {CARDS}")


def _keep(outcome: RebuildReport | SourcePlan, _folder: str) -> Kept:
    match outcome:
        case SourcePlan():
            return Kept(PlanResult.of(outcome).model_dump(mode="json"), {})
        case RebuildReport():
            return Kept(RebuildResult.of(outcome).model_dump(mode="json"), {})


def _measure(outcome: RebuildReport | SourcePlan) -> Json:
    match outcome:
        case SourcePlan():
            return {"success": True, "cards": outcome.cards, "new_images": outcome.new_images}
        case RebuildReport():
            return {
                "success": True,
                "published": outcome.is_published,
                "cards": outcome.cards,
                "fetched": outcome.fetched,
                "failed": outcome.failed_count,
                "took_s": round(outcome.took_s, 3),
            }


INDEX_REBUILD = Operation(
    name=REBUILD,
    noun="indexes",
    verb="rebuild",
    summary="Rebuild an index from its source, and publish it if it is no worse.",
    own_path="/api/v1/indexes/{name}/rebuild",
    permission=ADMIN,
    entity=EntityKind.GALLERY,
    action=ActionType.INDEX_REBUILD,
    params=RebuildParams,
    run_alone=_rebuild,
    require=_require,
    keep=_keep,
    measure=_measure,
)
