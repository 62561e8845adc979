"""What a runner works with, made up: an operation that reads words, files in a dictionary."""

import asyncio
import inspect
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from omma.domain.errors import (
    BlobNotFound,
    MediaNotFound,
    MediaStoreUnreachable,
    NotReady,
    ReplicaLost,
    StoreFull,
    UndecodableImage,
)
from omma.domain.jobs import ImageRef, JobId, Submission, attempt_folder, result_folder
from omma.ports.blobs import BlobInfo
from omma.ports.operations import Kept
from omma.services.attempts import Backoff
from omma.services.calls import Calls
from omma.services.inputs import Inputs
from omma.services.runner import Runner, RunnerOptions
from tests.fakes import FakeUrlFetcher
from tests.job_fakes import MemoryJobs


def submission(number, *, images=("cat",), operation="reading", **fields):
    """A job of uploads whose bytes are ``images``."""
    refs = tuple(ImageRef(blob=f"uploads/{word}") for word in images)
    job_id = JobId(f"00000000-0000-4000-8000-{number:012}")
    return Submission(job_id, operation, fields.pop("refs", refs), "owner", **fields)


@dataclass
class WordBlobs:
    """Every path holds its own last word."""

    reads: int = 0

    async def info(self, path):
        if path.endswith("gone"):
            raise BlobNotFound(path)
        return BlobInfo(path, 10**9 if path.endswith("huge") else 10)

    async def read(self, path, *, start=0, end=None):
        self.reads += 1
        return path.rpartition("/")[2].encode()[start:end]


@dataclass
class FakeMedia:
    is_away: bool = False

    async def fetch(self, media_store_id, *, max_bytes):
        del max_bytes
        if self.is_away or media_store_id == "down":
            raise MediaStoreUnreachable("it hangs", 2)
        if media_store_id == "none":
            raise MediaNotFound(media_store_id)
        return media_store_id.encode()


@dataclass
class Reading:
    """A handler: some words are errors, the others are what it sees."""

    calls: list = field(default_factory=list)  # the images of each
    gate: asyncio.Event | None = None  # holds every call until it is set
    cancelled: int = 0
    lost: set = field(default_factory=set)  # words that cost the whole call its replica
    down_until: int = 0  # so many first calls find no replica
    is_away: bool = False  # the model is not there at all
    hangs: bool = False  # whatever it is asked
    takes_images = True

    async def run(self, images, params, *, lane):
        del params
        self.calls.append(([image.decode() for image in images], lane))
        if self.gate:
            await self._pass_gate()
        if self.hangs:
            await asyncio.Event().wait()
        if self.is_away:
            raise NotReady("a model's deployment is not running", 5)
        if len(self.calls) <= self.down_until or self.lost & {each.decode() for each in images}:
            raise ReplicaLost("a model's replica was lost", 1)
        return [_seen(image) for image in images]

    async def _pass_gate(self):
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def keep(self, outcome, folder):
        if outcome == "unkeepable":
            raise ZeroDivisionError("secret of ours")
        return Kept({"word": outcome, "path": f"{folder}/word.bin"}, {"word.bin": outcome.encode()})

    def measure(self, outcome):
        return {"letters": len(outcome), "share": 1 / len(outcome)}


@dataclass
class Digging:
    """A handler without images: it digs until ``gate`` is set, and tells whatever it is given."""

    takes_images = False
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    begun: list = field(default_factory=list)  # the jobs, as it was told of them
    fault: Exception | None = None
    cancelled: int = 0

    async def run_alone(self, params, job):
        self.begun.append(job)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.fault:
            raise self.fault
        return params.get("depth", 3)

    def keep(self, outcome, folder):
        return Kept({"depth": outcome, "path": f"{folder}/hole.bin"}, {"hole.bin": b"earth"})

    def measure(self, outcome):
        return {"metres": outcome}


@dataclass
class FakeFiles:
    """`AttemptFiles` over a dictionary and the sweeps of `MemoryJobs`."""

    jobs: MemoryJobs
    held: dict = field(default_factory=dict)
    is_full: bool = False
    tries: int = 0

    async def store_attempt(self, hold, files):
        self.tries += 1
        if self.is_full:
            raise StoreFull("no room left", 5)
        await self.jobs.sweeps.intend([attempt_folder(hold)], due_in_s=3600)
        self.held |= {f"{attempt_folder(hold)}/{name}": data for name, data in files.items()}

    async def promote(self, hold):
        folder = attempt_folder(hold)
        for path in [path for path in self.held if path.startswith(f"{folder}/")]:
            name = path.removeprefix(folder)
            self.held[f"{result_folder(hold.job_id)}{name}"] = self.held.pop(path)
        await self.jobs.sweeps.moved(hold.job_id, hold.attempt)


@dataclass
class Workplace:
    """A runner and everything around it."""

    jobs: MemoryJobs = field(default_factory=MemoryJobs)
    reading: Reading = field(default_factory=Reading)
    blobs: WordBlobs = field(default_factory=WordBlobs)
    urls: FakeUrlFetcher = field(default_factory=FakeUrlFetcher)
    handlers: dict = field(default_factory=dict)  # beside reading
    media: FakeMedia = field(default_factory=FakeMedia)

    def __post_init__(self):
        self.files = FakeFiles(self.jobs)

    def runner(self, *, call_timeout_s=60.0, **options):
        inputs = Inputs(self.media, self.urls, self.blobs, 1000, asyncio.Semaphore(4))
        handlers = {"reading": self.reading, **self.handlers}
        calls = Calls(handlers, inputs, self.files, timeout_s=call_timeout_s)
        backoff = Backoff(0.001, 0.002)
        quick = {"poll_interval_s": 0.001, "lease_s": 0.03, "drain_s": 5.0, "backoff": backoff}
        return Runner(
            self.jobs.queue,
            calls,
            RunnerOptions("r", **(quick | options)),
            clock=lambda: self.jobs.now_ms / 1000,
        )

    @asynccontextmanager
    async def running(self, **options):
        """A runner at work; stopped in the end."""
        runner = self.runner(**options)
        work = asyncio.create_task(runner.run())
        try:
            yield runner
        finally:
            runner.stop()
            await work

    async def submit(self, *submissions):
        await self.jobs.store.submit(submissions, quota=1000)

    def job(self, number):
        return self.jobs.rows[submission(number).job_id].job

    async def all_ended(self):
        """Time goes on, for retries, until no job waits or runs."""
        async with asyncio.timeout(
            60
        ):  # nothing takes as long, but for a machine that stands still
            while any(row.is_queued for row in self.jobs.rows.values()):
                self.jobs.advance(0.1)
                await asyncio.sleep(0.002)


async def soon(condition):
    """Wait for a true answer of ``condition``, which may have to be awaited."""
    async with asyncio.timeout(60):  # nothing takes as long, but for a machine that stands still
        while True:
            answer = condition()
            if await answer if inspect.isawaitable(answer) else answer:
                return
            await asyncio.sleep(0.002)


def _seen(image):
    word = image.decode()
    return UndecodableImage("not an image") if word == "bad" else word
