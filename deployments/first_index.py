"""The first index of cards: it comes with the sample, is built of a folder, or is asked for."""

import asyncio
import logging

from deployments.hands import open_engines
from deployments.records import Records, open_records
from deployments.sources import open_source
from omma.domain.errors import OmmaError
from omma.domain.indexes import CARDS, SourcePlan
from omma.domain.jobs import Json
from omma.engines.cards.files import Head
from omma.services.chores import Chore
from omma.services.schedule import First, NightlyPorts
from omma.services.shipped import ShippedIndex, ShippedPorts
from omma.settings import Settings
from omma.stores.cards.sample import INDEX, open_sample

log = logging.getLogger(__name__)

FIRST_S = 2.0  # between looks
ESTIMATE_S = 5.0  # that a start waits for a source to say how much it has
GB = 1e9


def first_chore(settings: Settings, ports: NightlyPorts, records: Records) -> Chore | None:
    """What sees to an index while there is none; None where its operator has to begin it."""
    bundle, source = settings.indexes.bundle_url, settings.cards.source.type
    if not bundle and source not in {"sample", "folder"}:
        return None
    params: Json = {"bundle": bundle} if bundle else {}
    publish = _shipped(settings, records).publish if _is_shipped(settings) else None
    form = open_engines(settings).index_form
    first = First(ports, params, publish=publish, index_form=form)
    return Chore("first-index", FIRST_S, first.run_once)


async def publish_shipped(settings: Settings) -> None:
    """Before replicas look for an index; where that fails, the chore does it later."""
    if not _is_shipped(settings):
        return
    records = await open_records(settings)
    try:
        if not await records.snapshots.published(CARDS):
            await _shipped(settings, records).publish()
    except OmmaError as error:
        log.warning("the sample's index is not published yet", extra={"reason": str(error)})
    finally:
        await records.close()


async def awaited_index(settings: Settings) -> str:
    """What an index that its operator has to begin would fetch, in words; empty where none is."""
    cards = settings.cards
    if not cards.enabled or cards.source.type != "scryfall" or settings.indexes.bundle_url:
        return ""
    records = await open_records(settings)
    try:
        published = await records.snapshots.published(CARDS)
    finally:
        await records.close()
    return "" if published else _in_words(await _plan(settings))


async def _plan(settings: Settings) -> SourcePlan | None:
    source = open_source(settings)
    if source is None:
        return None
    try:
        async with asyncio.timeout(ESTIMATE_S):
            return await source.plan()
    except (OmmaError, TimeoutError):
        return None
    finally:
        await source.close()


def _in_words(plan: SourcePlan | None) -> str:
    if plan is None:
        return "it takes hours; the source does not say now how many cards it has"
    size_gb, cards = plan.download_bytes / GB, plan.cards
    return f"about {cards:,} cards, {size_gb:.1f} GB, {plan.hours:.1f} hours"


def _is_shipped(settings: Settings) -> bool:
    cards = settings.cards
    return cards.enabled and cards.source.type == "sample" and not settings.indexes.bundle_url


def _shipped(settings: Settings, records: Records) -> ShippedIndex:
    ports = ShippedPorts(
        open_sample(),
        records.cards,
        records.snapshots,
        records.snapshot_files,
        records.rebuild_leases,
    )
    form = open_engines(settings).index_form
    return ShippedIndex(ports, INDEX, Head.read(INDEX).stats, index_form=form)
