"""A source of tiny pictures and an engine that reads them, for tests of rebuilds."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np

from omma.domain.cards import (
    Card,
    CardFace,
    CardMatch,
    Features,
    ItemFeatures,
    ItemId,
    Recognition,
)
from omma.domain.errors import IndexCorrupt, MediaNotFound, UndecodableImage
from omma.domain.indexes import IndexStats, SourcePlan
from omma.services.assembling import Assembling
from omma.services.extracting import Extracting
from omma.services.farming import Hands, LocalFarm
from omma.services.indexes import IndexRebuild, RebuildOptions, RebuildPorts
from omma.services.judging import GatePorts, Judging
from omma.services.verdicts import GateRules
from omma.stores.folders import FolderBlobs
from omma.stores.snapshots import BlobSnapshotFiles
from omma.vision.images import ImageLimits
from tests.index_fakes import (
    MemoryCardRecords,
    MemoryCorrections,
    MemoryFeatureLedger,
    MemoryServings,
    MemorySnapshots,
)
from tests.job_fakes import MemoryJobs

OUTLINE = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)


def picture(number):
    """A PNG of one colour, which is the number."""
    pixels = np.full((4, 4, 3), [number % 256, number // 256, 99], np.uint8)
    return cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()


def number_of(pixels):
    red, green, blue = (int(value) for value in pixels[0, 0])
    return red + 256 * green if blue == 99 else None


def card(number, *, key="1", illustration=""):
    face = CardFace(0, f"Card {number}", str(number), f"{number}-{key}", illustration)
    return Card(f"c{number:03}", f"Card {number}", faces=(face,))


@dataclass
class FakeSource:
    """CardSource over pictures in memory; ``faults`` raise in place of a picture, by its URL."""

    there: list = field(default_factory=list)  # cards
    pictures: dict = field(default_factory=dict)  # URL: bytes, where not the number's own
    faults: dict = field(default_factory=dict)  # URL: error
    asked: list = field(default_factory=list)  # URLs
    fault: Exception | None = None  # of the iteration, after half of the cards
    away: Exception | None = None  # of every picture
    name: str = "fake"

    async def plan(self):
        faces = sum(len(card.faces) for card in self.there)
        return SourcePlan(
            self.name, len(self.there), faces, faces, 1000 * faces, 1.0, is_exact=True
        )

    async def cards(self, work):
        assert work.is_dir()
        middle = len(self.there) // 2
        yield self.there[:middle]
        if self.fault:
            raise self.fault
        yield self.there[middle:]

    async def image(self, face):
        self.asked.append(face.image_url)
        if self.away:
            raise self.away
        if error := self.faults.get(face.image_url):
            raise error
        if not face.image_url.isdigit():
            raise MediaNotFound(face.image_url)
        return self.pictures.get(face.image_url, picture(int(face.image_url)))

    async def close(self):
        pass


@dataclass
class FakeEngine:
    """Knows which item has which number."""

    items: dict  # number: ItemId
    version: str
    printings: dict = field(default_factory=dict)  # number: items, where it is not certain

    @property
    def stats(self):
        return IndexStats(len(self.items), len(self.items), 1)

    def recognise(self, images, options, /):
        del options
        return [self._recognise(number_of(pixels)) for pixels in images]

    def _recognise(self, number):
        matches = ()
        if (item := self.items.get(number)) is not None:
            printings = self.printings.get(number, ())
            matches = (CardMatch(item, 0.9, 0.5, 9, OUTLINE, not printings, printings),)
        return Recognition(matches, self.version, 4, 4, {})

    def close(self):
        pass


@dataclass
class FakeEngines:
    """CardEngines whose only feature is the picture's number; ``spoil`` changes what is built."""

    features_key: str = "fake-1"
    index_form: str = "1"
    spoil: object = None  # a function of the rows, as [number, card id, face]

    def extract(self, image):
        pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
        if pixels is None:
            raise UndecodableImage("no picture")
        number = number_of(pixels[..., ::-1])
        keypoints = np.zeros((1, 4), np.float32)
        return Features(keypoints, np.zeros((1, 128), np.uint8), 4, 4, str(number).encode())

    def build(self, items, folder, *, version):
        rows = [
            [int(each.features.regions), each.item.card_id, each.item.face] for each in items.read()
        ]
        rows = self.spoil(rows) if self.spoil else rows
        (folder / "fake.json").write_text(json.dumps([version, rows]))
        return IndexStats(len(rows), len(rows), 1)

    def open(self, folder, *, version):
        del version
        try:
            version, rows = json.loads((folder / "fake.json").read_text())
        except (FileNotFoundError, ValueError) as error:
            raise IndexCorrupt(str(error)) from None
        return FakeEngine(
            {number: ItemId(card_id, face) for number, card_id, face in rows}, version
        )


def write_fake_shard(path, items):
    rows = [[each.item.card_id, each.item.face, each.features.regions.decode()] for each in items]
    path.write_text(json.dumps(rows))


class FakeFeatures:
    """FeatureReader of what `write_fake_shard` wrote."""

    def __init__(self, shards):
        self.shards = shards

    def __len__(self):
        return sum(len(items) for _, items in self.shards)

    def read(self):
        for path, items in self.shards:
            for card_id, face, number in json.loads(path.read_text()):
                if ItemId(card_id, face) in items:
                    features = Features(np.zeros((1, 4)), np.zeros((1, 128)), 4, 4, number.encode())
                    yield ItemFeatures(ItemId(card_id, face), features)


class House:
    """Everything that a rebuild is about, in memory and in a folder; ``rebuild`` runs one."""

    def __init__(self, folder, *, cards=10, shard_items=4, rules=None, **options):
        self.folder = folder
        folder.joinpath("work").mkdir(parents=True, exist_ok=True)
        self.source = FakeSource([card(number) for number in range(cards)])
        self.engines = FakeEngines()
        self.cards = MemoryCardRecords()
        self.ledger = MemoryFeatureLedger(self.cards)
        self.servings = MemoryServings()
        self.snapshots = MemorySnapshots(servings=self.servings)
        self.corrections = MemoryCorrections()
        self.blobs = FolderBlobs(folder / "blobs")
        self.files = BlobSnapshotFiles(self.blobs, folder / "cache")
        self.leases = MemoryJobs().leases
        self.now = datetime(2026, 1, 2, 3, tzinfo=UTC)
        self.options = {"shard_items": shard_items, "grace": timedelta(0)} | options
        self.rules = rules or GateRules(canaries=20)
        self.refused = []
        self.told = []
        self.farm = None  # in place of the local one
        self.shards = write_fake_shard, FakeFeatures
        self.photograph = lambda pixels, _rng: pixels

    def hands(self):
        write_shard, features = self.shards
        gate = GatePorts(
            self.source, self.cards, self.corrections, self.snapshots, self.files, self.blobs,
            self.engines,
        )  # fmt: skip
        return Hands(
            Extracting(
                self.source, self.engines, self.blobs, write_shard, work=self.folder / "work"
            ),
            Assembling(self.engines, self.blobs, self.files, features, work=self.folder / "work"),
            Judging(gate, self.rules, ImageLimits(), photograph=self.photograph),
        )

    def index(self):
        ports = RebuildPorts(
            self.source, self.cards, self.ledger, self.snapshots, self.servings, self.files,
            self.blobs, self.leases, self.farm or LocalFarm(self.hands()), self.corrections,
        )  # fmt: skip
        engines = self.engines
        options = RebuildOptions(
            self.folder / "work", engines.features_key, engines.index_form, **self.options
        )
        return IndexRebuild(
            ports, options, on_refusal=lambda: self.refused.append(1), clock=lambda: self.now
        )

    async def rebuild(self, *, force=False, watcher=None):
        """The report of one rebuild, which begins a day after the one before."""
        self.now += timedelta(days=1)
        self.source.asked.clear()
        return await self.index().run(watcher or self.tell, holder="node-a", force=force)

    async def tell(self, progress):
        self.told.append(progress)

    async def published(self):
        found = await self.snapshots.published("cards")
        return found.version if found else None

    async def engine(self):
        version = await self.published()
        return self.engines.open(await self.files.fetch("cards", version), version=version)

    async def stored_shards(self):
        with suppress(FileNotFoundError):
            return sorted(
                [each.path async for some in self.blobs.list("features") for each in some]
            )
        return []
