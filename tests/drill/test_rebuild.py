"""The nightly rebuild, whole: against a server like Scryfall's, killed wherever it may be."""

import json
import os
import signal
import subprocess
import sys

import pytest

from benchmarks.drawing import sample_specs
from omma.domain.indexes import Stage
from tests.scryfall_server import Scryfall

pytestmark = [pytest.mark.drill, pytest.mark.timeout(900)]

CARDS = 10
STAGES = [each for each in Stage if each is not Stage.WAITING]


class Node:
    """Rebuilds in processes of their own, over one database and one folder of blobs."""

    def __init__(self, home, server, *, holder="node-a", **settings):
        own = {
            "HOME": home,
            "CARDS__SOURCE__TYPE": "scryfall",
            "CARDS__SOURCE__URL": server.url,
            "CARDS__SOURCE__REQUESTS_PER_S": 1000,
            "CARDS__SOURCE__CONTACT": "drill@example.org",
            "INDEXES__SHARD_ITEMS": 4,
            "INDEXES__GATE__CANARIES": 20,
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OMMA_")}
        own |= settings
        self.environ = kept | {f"OMMA_{name}": str(value) for name, value in own.items()}
        self.environ["DRILL_HOLDER"] = holder
        self.blobs = home / "blobs"

    def start(self, stage=""):
        command = [sys.executable, "-m", "tests.drill.rebuild", *([stage] if stage else [])]
        return subprocess.Popen(command, env=self.environ, stdout=subprocess.PIPE)  # noqa: S603

    def run(self, stage=""):
        return report_of(self.start(stage))

    def kill_at(self, stage):
        process = self.start(stage)
        process.communicate(timeout=600)
        assert process.returncode == -signal.SIGKILL

    def files(self, folder):
        return sorted(path.name for path in (self.blobs / folder).glob("*"))


@pytest.fixture
def server():
    with Scryfall() as server:
        yield server


def report_of(process):
    told, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    return json.loads(told)


def test_a_rebuild_that_is_killed_at_every_stage_is_completed(server, tmp_path):
    server.add_sample(CARDS)
    node = Node(tmp_path, server)
    for stage in STAGES:
        node.kill_at(stage)

    report = node.run()

    faces = len(server.pictures) // 2  # each as PNG and as JPEG
    assert report["is_published"], report
    assert (report["cards"], report["faces"], report["fetched"]) == (CARDS, faces, 0)
    assert node.files("indexes/cards") == [report["version"]]
    assert all(server.counts[path] for path in server.pictures if path.startswith("/large"))


def test_a_second_night_fetches_only_what_changed(server, tmp_path):
    ids = server.add_sample(CARDS)
    node = Node(tmp_path, server)
    first = node.run()
    server.forget()
    same = node.run()
    untouched = list(server.fetched_pictures), server.count("/file")
    another, new = sample_specs(CARDS + 2, seed=3)[-2:]
    server.repaint(ids[0], another)
    server.add(new)

    changed = node.run()

    assert first["is_published"]
    assert (same["version"], untouched) == ("", ([], 0))
    assert changed["is_published"], changed
    assert changed["fetched"] == 2 + bool(new.back)


def test_a_server_on_a_bad_day_costs_what_is_broken_and_no_more(server, tmp_path):
    ids = server.add_sample(CARDS)
    bare = server.add(sample_specs(CARDS + 1, seed=4)[-1], image_uris=None, card_faces=None)
    picture = "/large/front/{}.jpg".format
    server.fail("/bulk-data", 429, retry_after="0")
    server.fail("/file", cut_at=700)
    server.fail(picture(ids[0]), 429, retry_after="0")
    server.fail(picture(ids[1]), 500)
    server.fail(picture(ids[2]), cut_at=300)
    server.pictures[picture(ids[3])] = b"\x89PNG\r\n\x1a\n and then nothing"
    server.fail(picture(ids[4]), 404, times=-1)
    server.fail(picture(ids[5]), 503, times=-1)

    report = Node(tmp_path, server).run()

    failed = {card_id: error.partition(":")[0] for card_id, error in report["failed"]}
    assert report["is_published"], report
    assert report["cards"] == CARDS + 1
    assert bare not in failed
    assert failed.keys() == {ids[3], ids[4], ids[5]}
    assert (failed[ids[4]], failed[ids[5]]) == ("media_not_found", "source_fault")


def test_of_two_nodes_one_rebuilds_and_one_says_who_does(server, tmp_path, postgres_url):
    server.add_sample(CARDS)
    server.fail("/large", wait_s=1, times=-1)
    shared = {"DATABASE__URL": postgres_url, "BLOBS__URL": tmp_path / "blobs"}
    nodes = [Node(tmp_path / name, server, holder=name, **shared) for name in ("node-a", "node-b")]

    reports = [report_of(process) for process in [node.start() for node in nodes]]

    published = [report for report in reports if report.get("is_published")]
    [refused] = [report for report in reports if "code" in report]
    winner = "node-b" if refused is reports[0] else "node-a"
    assert len(published) == 1
    assert refused["code"] == "rebuild_running"
    assert repr(winner) in refused["message"]


def test_a_poisoned_source_leaves_the_old_snapshot_published(server, tmp_path):
    ids = server.add_sample(CARDS)
    node = Node(tmp_path, server)
    first = node.run()
    whole = dict(server.cards)
    for card_id in ids[CARDS // 2 :]:
        server.remove(card_id)
    halved = node.run()
    server.cards = whole
    _exchange_pictures(server)
    exchanged = node.run()
    server.forget()

    assert first["is_published"]
    assert halved["code"] == "snapshot_refused"
    assert not exchanged["is_published"]
    assert "may have exchanged" in " ".join(exchanged["reasons"])


def _exchange_pictures(server):
    """Each single-faced card gets the picture of the next."""
    ids = [card_id for card_id, card in server.cards.items() if card["image_uris"]]
    uris = [server.cards[card_id]["image_uris"] for card_id in ids]
    for card_id, other in zip(ids, [*uris[1:], uris[0]], strict=True):
        server.change(card_id, image_uris=other)
