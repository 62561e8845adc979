"""Every store of one process, opened from the settings."""

from dataclasses import dataclass

from sqlalchemy.engine import make_url

from omma.domain.errors import CannotStart, StoreUnavailable
from omma.ports.blobs import FileBlobs
from omma.ports.events import Broker
from omma.ports.indexes import SnapshotFiles
from omma.ports.media import MediaStore
from omma.ports.urls import UrlFetcher
from omma.services.files import JobFiles
from omma.settings import BroadcastSettings, Settings
from omma.stores.blobs import S3Access, open_blobs
from omma.stores.brokers import MqttBroker, MqttOptions
from omma.stores.leases import RedisLeases
from omma.stores.media import FolderMediaStore, HttpMediaStore, NoMediaStore
from omma.stores.records.batches import SqlBatchStore
from omma.stores.records.cards import SqlCardRecords
from omma.stores.records.control import SqlJobControl
from omma.stores.records.corrections import SqlCorrections
from omma.stores.records.cursors import SqlCursors
from omma.stores.records.database import Database
from omma.stores.records.deliveries import SqlDeliveries
from omma.stores.records.events import SqlEventLog
from omma.stores.records.features import SqlFeatureLedger
from omma.stores.records.jobs import SqlJobStore
from omma.stores.records.leases import SqlLeases
from omma.stores.records.migrations import upgrade
from omma.stores.records.queue import SqlJobQueue
from omma.stores.records.servings import SqlServings
from omma.stores.records.sessions import SqlCardSessions
from omma.stores.records.snapshots import SqlSnapshots
from omma.stores.records.sweeps import SqlSweeps
from omma.stores.records.tokens import SqlBlocklist
from omma.stores.snapshots import BlobSnapshotFiles
from omma.stores.urls import FetchLimits, GuardedFetcher


@dataclass(frozen=True, slots=True)
class Records:
    """One database with all that is kept in it, where files and media lie, and the way to URLs."""

    database: Database
    jobs: SqlJobStore
    control: SqlJobControl
    batches: SqlBatchStore
    queue: SqlJobQueue
    events: SqlEventLog
    cursors: SqlCursors
    leases: SqlLeases
    sweeps: SqlSweeps
    deliveries: SqlDeliveries
    blocklist: SqlBlocklist
    blobs: FileBlobs
    media: MediaStore
    urls: UrlFetcher
    files: JobFiles
    broker: Broker | None
    cards: SqlCardRecords
    features: SqlFeatureLedger
    corrections: SqlCorrections
    snapshots: SqlSnapshots
    servings: SqlServings
    sessions: SqlCardSessions
    snapshot_files: SnapshotFiles
    rebuild_leases: SqlLeases | RedisLeases

    async def close(self) -> None:
        """Close every connection."""
        await self.database.close()
        if self.broker is not None:
            await self.broker.close()
        if isinstance(self.media, HttpMediaStore):
            await self.media.close()
        if isinstance(self.rebuild_leases, RedisLeases):
            await self.rebuild_leases.close()


async def open_records(settings: Settings) -> Records:
    """Open everything, and bring the schema to ours where nobody has yet."""
    database = _database(settings)
    await upgrade(database)
    jobs, sweeps = SqlJobStore(database), SqlSweeps(database)
    blobs, leases = open_blob_store(settings), SqlLeases(database)
    told = bool(settings.media_store.url)  # a folder is told nothing
    return Records(
        database=database,
        jobs=jobs,
        control=SqlJobControl(database),
        batches=SqlBatchStore(database),
        queue=SqlJobQueue(
            database, default_callback=bool(settings.callbacks.url), media_store=told
        ),
        events=SqlEventLog(database),
        cursors=SqlCursors(database),
        leases=leases,
        sweeps=sweeps,
        deliveries=SqlDeliveries(database, media_store=told),
        blocklist=SqlBlocklist(database),
        blobs=blobs,
        media=_media(settings),
        urls=_fetcher(settings),
        files=JobFiles(blobs, sweeps, jobs),
        broker=_broker(settings.broadcast),
        cards=SqlCardRecords(database),
        features=SqlFeatureLedger(database),
        corrections=SqlCorrections(database),
        snapshots=SqlSnapshots(database),
        servings=SqlServings(database),
        sessions=SqlCardSessions(database),
        snapshot_files=open_snapshot_files(settings, blobs),
        rebuild_leases=_rebuild_leases(settings, leases),
    )


def open_blob_store(settings: Settings) -> FileBlobs:
    """Where files are kept."""
    return open_blobs(settings.blobs_url, _access(settings))


def open_snapshot_files(settings: Settings, blobs: FileBlobs) -> SnapshotFiles:
    """Files of snapshots in ``blobs``, with copies of them on this machine."""
    return BlobSnapshotFiles(blobs, settings.work_dir / "snapshots")


async def prepare_records(settings: Settings) -> None:
    """Bring the schema to ours before anybody looks at it; `CannotStart` says why that fails."""
    database = _database(settings)
    try:
        await upgrade(database)
    except StoreUnavailable as error:
        url = make_url(settings.database_url).render_as_string(hide_password=True)
        raise CannotStart(f"{error}: {url}") from None
    finally:
        await database.close()


def require_shared(settings: Settings, nodes: int) -> None:
    """Raise `CannotStart` where each of several ``nodes`` would have records or files its own."""
    if nodes < 2:  # noqa: PLR2004  one is enough for everything
        return
    if make_url(settings.database_url).get_backend_name() == "sqlite":
        raise CannotStart(
            f"{nodes} nodes cannot share a SQLite database, which is a file of one of them:"
            " set DATABASE_URL to a PostgreSQL database on every node"
        )
    if not settings.blobs_url.startswith("s3://"):
        raise CannotStart(
            f"{nodes} nodes cannot share {settings.blobs_url!r}, a folder of each of them:"
            " set OMMA_BLOBS__URL to s3://BUCKET on every node"
        )


def _database(settings: Settings) -> Database:
    sized = settings.database
    return Database(settings.database_url, pool_size=sized.pool_size, timeout_s=sized.timeout_s)


def _access(settings: Settings) -> S3Access:
    blobs = settings.blobs
    return S3Access(
        endpoint=blobs.endpoint,
        region=blobs.region,
        access_key_id=blobs.access_key_id,
        secret_access_key=blobs.secret_access_key.get_secret_value(),
    )


def _fetcher(settings: Settings) -> UrlFetcher:
    urls = settings.urls
    return GuardedFetcher(FetchLimits(urls.timeout_s, urls.max_redirects, urls.allow_private))


def _media(settings: Settings) -> MediaStore:
    if folder := settings.media_folder:
        return FolderMediaStore(folder)
    if url := settings.media_store.url:
        return HttpMediaStore(url, timeout_s=settings.media_store.timeout_s)
    return NoMediaStore()


def _rebuild_leases(settings: Settings, ours: SqlLeases) -> SqlLeases | RedisLeases:
    """Of the database, unless a Redis is named that several systems share."""
    return RedisLeases(url) if (url := settings.indexes.redis_url) else ours


def _broker(broadcast: BroadcastSettings) -> Broker | None:
    if broadcast.type != "mqtt":
        return None
    options = MqttOptions(
        host=broadcast.host,
        port=broadcast.port,
        topic=broadcast.topic,
        username=broadcast.username,
        password=broadcast.password.get_secret_value(),
        tls=broadcast.tls,
    )
    return MqttBroker(options)
