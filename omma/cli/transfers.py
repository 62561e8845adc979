"""What `omma indexes import` and `export` do, on the stores that the settings name."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from omma.cli.paths import shown
from omma.cli.wording import size_in_words, time_in_words
from omma.domain.cards import ItemId
from omma.domain.errors import IndexMissing
from omma.domain.indexes import RebuildProgress
from omma.engines.cards import CardEngineOptions, SiftCardEngines
from omma.engines.cards.documented import write_documented_index
from omma.ports.blobs import FileBlobs
from omma.ports.cards import FeatureReader
from omma.ports.indexes import SnapshotFiles
from omma.services.importing import BundleBuilding, BundleImport, ImportPorts
from omma.services.retention import Kept, Retention
from omma.settings import Settings
from omma.stores.blobs import S3Access, open_blobs
from omma.stores.bundle_places import open_bundle
from omma.stores.bundles import write_bundle
from omma.stores.leases import RedisLeases
from omma.stores.records import migrations
from omma.stores.records.cards import SqlCardRecords
from omma.stores.records.corrections import SqlCorrections
from omma.stores.records.database import Database
from omma.stores.records.features import SqlFeatureLedger
from omma.stores.records.leases import SqlLeases
from omma.stores.records.servings import SqlServings
from omma.stores.records.snapshots import SqlSnapshots
from omma.stores.shards import ShardedFeatures
from omma.stores.snapshots import BlobSnapshotFiles

CARDS_AT_ONCE = 500  # records that are read together


@dataclass(frozen=True, slots=True)
class _Stores:
    """What bundles are read into and written from."""

    settings: Settings
    database: Database
    blobs: FileBlobs
    leases: SqlLeases | RedisLeases
    engines: SiftCardEngines


async def import_into(settings: Settings, bundle: str) -> None:
    """Build an index of a bundle's features and publish it."""
    async with _stores(settings) as stores:
        work, blobs = settings.work_dir, stores.blobs
        reader = partial(open_bundle, downloads=work / "downloads")
        files = BlobSnapshotFiles(blobs, work / "snapshots")
        building = BundleBuilding(reader, stores.engines, files, work=work)
        ports = ImportPorts(
            building.build,
            SqlSnapshots(stores.database),
            stores.leases,
            _retention(stores, files),
        )
        importing = BundleImport(ports, bundle, lease_s=settings.indexes.lease_s)
        holder = f"omma indexes import on {socket.gethostname()}, process {os.getpid()}"
        report = await importing.run(_tell, holder=holder)
    took = time_in_words(report.took_s / 3600)
    typer.echo(f"published {report.version} in {took}: {report.faces:,} pictures")


async def export_from(settings: Settings, target: Path) -> None:
    """Write the features of all cards, an index of them and its ids to ``target``."""
    async with _stores(settings) as stores, _folder(settings.work_dir) as work:
        features = await _features(stores, work)
        urls = await _image_urls(SqlCardRecords(stores.database), features)
        bundle = work / "bundle" if target.suffix == ".zip" else target

        def write() -> int:
            write_bundle(bundle, features, image_urls=urls, write_index=write_documented_index)
            if bundle != target:
                _pack(bundle, target)
            return sum(each.stat().st_size for each in bundle.iterdir())

        size_bytes = await asyncio.to_thread(write)
    typer.echo(f"wrote {shown(target)}: {len(features):,} pictures, {size_in_words(size_bytes)}")


def _retention(stores: _Stores, files: SnapshotFiles) -> Retention:
    database = stores.database
    kept = Kept(
        SqlSnapshots(database),
        SqlServings(database),
        files,
        SqlFeatureLedger(database),
        stores.blobs,
        SqlCorrections(database),
    )
    return Retention(kept, keep=stores.settings.indexes.keep)


async def _features(stores: _Stores, work: Path) -> FeatureReader:
    """Of every picture that was looked at, fetched to this machine."""
    ledger = SqlFeatureLedger(stores.database)
    shards = await ledger.shards(stores.engines.features_key)
    if not shards:
        raise IndexMissing("no features were made yet: rebuild the index first", 60)
    fetched: list[tuple[Path, list[ItemId]]] = []
    for number, (shard, items) in enumerate(shards.items()):
        file = work / f"{number:06}.h5"
        await stores.blobs.get_file(shard, file)
        fetched.append((file, items))
    return ShardedFeatures(fetched)


async def _image_urls(records: SqlCardRecords, features: FeatureReader) -> dict[ItemId, str]:
    items = await asyncio.to_thread(lambda: [each.item for each in features.read()])
    card_ids = sorted({item.card_id for item in items})
    urls: dict[ItemId, str] = {}
    for start in range(0, len(card_ids), CARDS_AT_ONCE):
        for card in (await records.get(card_ids[start : start + CARDS_AT_ONCE])).values():
            urls |= {ItemId(card.card_id, face.number): face.image_url for face in card.faces}
    return urls


def _pack(folder: Path, target: Path) -> None:
    """All files side by side; the name is there when the whole zip is."""
    part = target.with_name(f"{target.name}.part")
    packed = shutil.make_archive(str(part), "zip", folder)
    os.replace(packed, target)


@asynccontextmanager
async def _stores(settings: Settings) -> AsyncGenerator[_Stores]:
    database = Database(settings.database_url, timeout_s=settings.database.timeout_s)
    redis_url = settings.indexes.redis_url
    leases = RedisLeases(redis_url) if redis_url else SqlLeases(database)
    try:
        await migrations.upgrade(database)
        options = CardEngineOptions(threads=os.cpu_count() or 1)
        blobs = open_blobs(settings.blobs_url, _access(settings))
        yield _Stores(settings, database, blobs, leases, SiftCardEngines(options))
    finally:
        if isinstance(leases, RedisLeases):
            await leases.close()
        await database.close()


def _access(settings: Settings) -> S3Access:
    blobs = settings.blobs
    return S3Access(
        endpoint=blobs.endpoint,
        region=blobs.region,
        access_key_id=blobs.access_key_id,
        secret_access_key=blobs.secret_access_key.get_secret_value(),
    )


@asynccontextmanager
async def _folder(work: Path) -> AsyncGenerator[Path]:
    await asyncio.to_thread(work.mkdir, parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="export-", dir=work, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


async def _tell(progress: RebuildProgress) -> None:
    of = f" of {progress.total:,} pictures" if progress.total else ""
    typer.echo(f"{progress.stage}{of}", err=True)
