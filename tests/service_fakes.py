"""Everything that the routes reach for, made up, for suites that build the application."""

from dataclasses import dataclass, field, replace

from omma.api.app import Services
from omma.domain.errors import BlobNotFound, StoreUnavailable
from omma.domain.tokens import SUPPORT, Principal
from omma.operations.registry import bind
from omma.ports.blobs import BlobInfo
from omma.services.events import EventFeed, FeedOptions
from omma.services.files import JobFiles
from omma.services.intake import Intake, JobRules
from omma.services.jobs import JobService
from omma.services.publishing import IndexService
from omma.services.tokens import Gatekeeper
from tests.fakes import FakeStatus, FakeUrlFetcher, capabilities
from tests.index_fakes import MemoryServings, MemorySnapshots
from tests.job_fakes import MemoryJobs

ADMIN = "admin"


@dataclass
class MemoryBlobs:
    """Files in a dictionary."""

    files: dict = field(default_factory=dict)  # path: bytes
    is_down: bool = False

    def _check(self):
        if self.is_down:
            raise StoreUnavailable("no files", 5)

    async def put(self, path, data):
        self._check()
        self.files[path] = bytes(data)

    async def info(self, path):
        self._check()
        if path not in self.files:
            raise BlobNotFound(path)
        return BlobInfo(path, len(self.files[path]), "etag")

    async def read(self, path, *, start=0, end=None):
        await self.info(path)
        return self.files[path][start:end]

    async def list(self, prefix):
        self._check()
        paths = [path for path in self.files if not prefix or path.startswith(f"{prefix}/")]
        yield [BlobInfo(path, len(self.files[path])) for path in paths]

    async def move(self, source, target):
        await self.info(source)
        self.files[target] = self.files.pop(source)

    async def delete(self, paths):
        self._check()
        for path in paths:
            self.files.pop(path, None)


class NamedTokens:
    """Every token is the name of its bearer; ``admin`` is an administrator."""

    async def verify(self, token):
        return Principal(token, frozenset({SUPPORT}), is_admin=token == ADMIN)


def job_service(memory, files, operations, rules=None):
    intake = Intake(operations, files, rules or JobRules())
    return JobService(memory.store, memory.control, memory.batches, memory.queue, intake)


@dataclass
class MemorySnapshotFiles:
    """Which versions have files; all of `kept` of a `MemorySnapshots`, but for ``gone``."""

    snapshots: MemorySnapshots
    gone: set = field(default_factory=set)

    async def stored(self, name):
        return [
            version
            for index, version in self.snapshots.kept
            if index == name and (version not in self.gone)
        ]


def index_service(jobs, snapshots=None, servings=None, files=None):
    servings = servings or MemoryServings()
    snapshots = snapshots or MemorySnapshots(servings=servings)
    return IndexService(snapshots, servings, files or MemorySnapshotFiles(snapshots), jobs)


def fake_services(*, memory=None, blobs=None, rules=None, **given):
    """Services over memory; ``given`` takes the place of some of them."""
    memory = memory or MemoryJobs()
    can = capabilities()
    if "cards" in given:  # None: the feature is off
        can = replace(can, cards=given["cards"])
    operations = bind(can)
    files = JobFiles(blobs or MemoryBlobs(), memory.sweeps, memory.store)
    jobs = job_service(memory, files, operations, rules)
    parts = {
        "faces": can.faces,
        "images": can.images,
        "cards": can.cards,
        "urls": FakeUrlFetcher(),
        "status": FakeStatus(),
        "jobs": jobs,
        "indexes": index_service(jobs),
        "files": files,
        "feed": EventFeed(memory.log, memory.store, FeedOptions()),
        "gate": Gatekeeper(None),
        "operations": operations,
    }
    return Services(**{**parts, **given})
