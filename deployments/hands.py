"""Who does the heavy tasks of a rebuild, opened from the settings wherever a task runs."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from deployments.records import Records, open_blob_store, open_records, open_snapshot_files
from deployments.sources import open_source
from omma.domain.errors import CannotStart
from omma.engines.cards import CardEngineOptions, SiftCardEngines
from omma.ports.cards import CardSource
from omma.services.assembling import Assembling
from omma.services.extracting import Extracting
from omma.services.judging import GatePorts, Judging
from omma.services.verdicts import GateRules
from omma.settings import Settings
from omma.stores.shards import ShardedFeatures, write_shard
from omma.vision.images import ImageLimits


@asynccontextmanager
async def extracting(settings: Settings) -> AsyncGenerator[Extracting]:
    """Needs the source and the blob store, not the database."""
    async with _source(settings) as source:
        yield extracting_of(settings, source)


@asynccontextmanager
async def judging(settings: Settings) -> AsyncGenerator[Judging]:
    """Needs the records too: they say what the canaries are."""
    async with _source(settings) as source:
        records = await open_records(settings)
        try:
            yield judging_of(settings, records, source)
        finally:
            await records.close()


def extracting_of(settings: Settings, source: CardSource) -> Extracting:
    """Over a source that is open already."""
    blobs, work = open_blob_store(settings), settings.work_dir
    return Extracting(source, open_engines(settings), blobs, write_shard, work=work)


def assembling_of(settings: Settings) -> Assembling:
    """Needs the blob store, and room in the work folder."""
    blobs = open_blob_store(settings)
    files = open_snapshot_files(settings, blobs)
    return Assembling(open_engines(settings), blobs, files, ShardedFeatures, work=settings.work_dir)


def judging_of(settings: Settings, records: Records, source: CardSource) -> Judging:
    """Over records and a source that are open already."""
    ports = GatePorts(
        source=source,
        cards=records.cards,
        corrections=records.corrections,
        snapshots=records.snapshots,
        files=records.snapshot_files,
        blobs=records.blobs,
        engines=open_engines(settings),
    )
    images = settings.images
    rules = GateRules(**settings.indexes.gate.model_dump())
    return Judging(ports, rules, ImageLimits(images.max_pixels, images.max_frames))


def open_engines(settings: Settings) -> SiftCardEngines:
    """The engines that make features and indexes, as the settings want them."""
    cards = settings.cards
    return SiftCardEngines(CardEngineOptions(threads=cards.threads))


@asynccontextmanager
async def _source(settings: Settings) -> AsyncGenerator[CardSource]:
    source = open_source(settings)
    if source is None:
        raise CannotStart("no source of cards is chosen: set OMMA_CARDS__SOURCE__TYPE")
    try:
        yield source
    finally:
        await source.close()
