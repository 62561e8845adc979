"""The records of cards and indexes in memory, by clocks that tests set.

Each fake is one port. Set ``is_down`` and it raises `StoreUnavailable`.
"""

import json
import uuid
from collections import defaultdict
from dataclasses import dataclass, field, replace

from omma.domain.cards import ItemId
from omma.domain.errors import (
    PublishConflict,
    QuotaExceeded,
    SessionNotFound,
    SnapshotNotFound,
    StoreUnavailable,
)
from omma.domain.indexes import Published, Serving, SnapshotState
from omma.ports.cards import Unextracted
from omma.ports.sessions import SessionState
from omma.stores.records.database import from_ms, to_ms
from omma.stores.records.names import name_key


@dataclass(kw_only=True)
class _Store:
    """A clock, and whether anything answers."""

    now_ms: int = 1_700_000_000_000
    is_down: bool = False

    def advance(self, seconds):
        self.now_ms += round(seconds * 1000)

    def check(self):
        if self.is_down:
            raise StoreUnavailable("the database does not answer", 5)


@dataclass
class Made:
    """What was last made of a face's present picture; ``key`` is the engine's."""

    key: str
    shard: str = ""
    tries: int = 0
    error: str = ""
    is_final: bool = False


@dataclass
class MemoryCardRecords(_Store):
    """CardRecords; ``made`` is what its `MemoryFeatureLedger` keeps."""

    cards: dict = field(default_factory=dict)  # card_id: Card
    seen: dict = field(default_factory=dict)  # card_id: pass
    removed: set = field(default_factory=set)
    made: dict = field(default_factory=dict)  # ItemId: Made

    async def upsert(self, cards, *, seen_in):
        self.check()
        return sum(self._upsert(card, seen_in) for card in {c.card_id: c for c in cards}.values())

    def _upsert(self, card, seen_in):
        before = self.cards.get(card.card_id)
        is_news = before != card or card.card_id in self.removed
        pictures = {face.number: face.image_key for face in card.faces}
        for face in before.faces if before else ():
            if pictures.get(face.number) != face.image_key:
                self.made.pop(ItemId(card.card_id, face.number), None)
        self.cards[card.card_id] = card
        self.seen[card.card_id] = max(seen_in, self.seen.get(card.card_id, ""))
        self.removed.discard(card.card_id)
        return is_news

    async def remove_unseen(self, seen_in):
        self.check()
        gone = {card for card, seen in self.seen.items() if seen < seen_in} - self.removed
        self.removed |= gone
        return len(gone)

    async def get(self, card_ids):
        self.check()
        return {card.card_id: card for card in self.there() if card.card_id in card_ids}

    async def search(self, text, *, limit):
        self.check()
        wanted = name_key(text)
        found = [
            ((name != wanted, not name.startswith(wanted)), name, card.card_id)
            for card in self.there()
            if wanted and wanted in (name := name_key(card.name))
        ]
        return [self.cards[card_id] for *_, card_id in sorted(found)[:limit]]

    async def count(self):
        self.check()
        return len(self.there()), sum(len(card.faces) for card in self.there())

    def there(self):
        """Those not removed, in order of their ids."""
        kept = sorted(self.cards.keys() - self.removed)
        return [self.cards[card_id] for card_id in kept]

    def pictures(self):
        """Every face not removed by its item, in their order."""
        return {
            ItemId(card.card_id, face.number): face
            for card in self.there()
            for face in sorted(card.faces, key=lambda face: face.number)
        }


class MemoryFeatureLedger:
    """FeatureLedger over the faces of a `MemoryCardRecords`."""

    def __init__(self, records):
        self.records = records

    async def missing(self, features_key, *, limit, max_tries):
        self.records.check()
        new, failed = [], []
        for item, face in sorted(self.records.pictures().items()):
            made = self._made(item, features_key)
            if made is None:
                new.append(Unextracted(item.card_id, face, 0))
            elif made.error and not made.is_final and made.tries < max_tries:
                failed.append(Unextracted(item.card_id, face, made.tries))
        return [*new, *sorted(failed, key=lambda each: each.tries)][:limit]

    async def count_missing(self, features_key, *, max_tries):
        return len(await self.missing(features_key, limit=None, max_tries=max_tries))

    async def given(self, features_key, *, limit):
        self.records.check()
        pairs = sorted(self.records.pictures().items())
        made = [(self._made(item, features_key), face) for item, face in pairs]
        return [face for each, face in made if each and each.shard][:limit]

    async def record(self, features_key, found):
        self.records.check()
        for each in found:
            self._record(features_key, each)

    def _record(self, key, found):
        card = self.records.cards.get(found.item.card_id)
        faces = {face.number: face.image_key for face in card.faces} if card else {}
        if faces.get(found.item.face) != found.image_key:
            return
        before = self._made(found.item, key)
        if not found.error:
            self.records.made[found.item] = Made(key, found.shard)
        elif before is None or before.error:
            tries = max(before.tries if before else 0, found.tries + found.is_counted)
            is_final = found.is_final or bool(before and before.is_final)
            self.records.made[found.item] = Made(
                key, tries=tries, error=found.error, is_final=is_final
            )

    async def forget(self, shards):
        self.records.check()
        for item in [item for item, made in self.records.made.items() if made.shard in shards]:
            del self.records.made[item]

    async def shards(self, features_key):
        self.records.check()
        found = defaultdict(list)
        for item in self.records.pictures():
            made = self._made(item, features_key)
            if made and made.shard:
                found[made.shard].append(item)
        return dict(sorted(found.items()))

    async def kept(self):
        self.records.check()
        return {made.shard for made in self.records.made.values() if made.shard}

    async def failures(self, features_key, *, limit):
        self.records.check()
        pairs = [(item, self._made(item, features_key)) for item in self.records.pictures()]
        return [(item, made.error) for item, made in pairs if made and made.error][:limit]

    def _made(self, item, features_key):
        made = self.records.made.get(item)
        return made if made and made.key == features_key else None


@dataclass
class MemoryCorrections(_Store):
    """Corrections."""

    added: dict = field(default_factory=dict)  # correction_id: Correction

    async def add(self, correction):
        self.check()
        at = from_ms(to_ms(correction.created_at))
        self.added.setdefault(correction.correction_id, replace(correction, created_at=at))

    async def recent(self, *, limit, skip=0):
        self.check()
        found = sorted(self.added.values(), key=lambda each: each.correction_id)
        newest = sorted(found, key=lambda each: each.created_at, reverse=True)
        return newest[skip : skip + limit]

    async def count(self, owner, *, within_s):
        self.check()
        since = from_ms(self.now_ms - round(within_s * 1000))
        mine = [each for each in self.added.values() if each.created_by == owner]
        return sum(each.created_at > since for each in mine)

    async def remove(self, correction_ids):
        self.check()
        for correction_id in correction_ids:
            self.added.pop(correction_id, None)


@dataclass
class MemoryServings(_Store):
    """Servings."""

    reports: dict = field(default_factory=dict)  # (name, replica): (version, seen_at, until)

    async def report(self, name, replica, version, *, ttl_s):
        self.check()
        until = self.now_ms + round(ttl_s * 1000)
        self.reports[name, replica] = version, self.now_ms, until

    async def leave(self, name, replica):
        self.check()
        self.reports.pop((name, replica), None)

    async def listed(self, name):
        self.check()
        return [
            Serving(index, replica, version, from_ms(seen_at))
            for (index, replica), (version, seen_at, until) in sorted(self.reports.items())
            if index == name and until > self.now_ms
        ]


@dataclass
class MemorySnapshots(_Store):
    """Snapshots; those that ``servings`` name are not removed."""

    servings: MemoryServings = field(default_factory=MemoryServings)
    kept: dict = field(default_factory=dict)  # (name, version): Snapshot
    now_served: dict = field(default_factory=dict)  # name: Published

    async def add(self, snapshot):
        self.check()
        at = from_ms(to_ms(snapshot.created_at))
        as_recorded = replace(snapshot, created_at=at, report=_json(snapshot.report))
        self.kept.setdefault((snapshot.name, snapshot.version), as_recorded)

    async def judge(self, name, version, state, report):
        self.check()
        before = self._known(name, version)
        was_out = before.state in {SnapshotState.PUBLISHED, SnapshotState.RETIRED}
        state = before.state if was_out else state
        self.kept[name, version] = replace(before, state=state, report=_json(report))

    async def publish(self, name, version, *, expected=None):
        self.check()
        snapshot = self._known(name, version)
        before = self.now_served.get(name, Published("", 0))
        if before.version == version:
            return before
        if expected not in {None, before.sequence}:
            raise PublishConflict(
                f"expected publication {expected} of {name!r}, there is {before.sequence}"
            )
        if before.version:
            old = self.kept[name, before.version]
            self.kept[name, before.version] = replace(old, state=SnapshotState.RETIRED)
        self.kept[name, version] = replace(
            snapshot, state=SnapshotState.PUBLISHED, published_at=from_ms(self.now_ms)
        )
        self.now_served[name] = Published(version, before.sequence + 1)
        return self.now_served[name]

    async def published(self, name):
        self.check()
        return self.now_served.get(name)

    async def listed(self, name):
        self.check()
        mine = [snapshot for (index, _), snapshot in self.kept.items() if index == name]
        return sorted(mine, key=lambda each: (each.created_at, each.version), reverse=True)

    async def remove(self, name, version):
        self.check()
        served = {each.version for each in await self.servings.listed(name)}
        published = self.now_served.get(name, Published("", 0)).version
        if version == published or version in served:
            return False
        return self.kept.pop((name, version), None) is not None

    def _known(self, name, version):
        if (name, version) not in self.kept:
            raise SnapshotNotFound(f"no snapshot {version!r} of the index {name!r}")
        return self.kept[name, version]


@dataclass
class MemoryCardSessions(_Store):
    """CardSessions."""

    opened: dict = field(default_factory=dict)  # session_id: (until, SessionState)
    owners: dict = field(default_factory=dict)  # session_id: owner

    async def create(self, owner, *, ttl_s, max_open, max_own):
        self.check()
        there = [name for name, (until, _) in self.opened.items() if until > self.now_ms]
        own = [name for name in there if self.owners[name] == owner]
        if len(there) >= max_open or len(own) >= max_own:
            raise QuotaExceeded("as many sessions are open as there may be", 60)
        session_id = str(uuid.uuid4())
        self.owners[session_id] = owner
        self.opened[session_id] = self.now_ms + round(ttl_s * 1000), SessionState("waiting")
        return session_id

    async def submit(self, session_id, result):
        until, _ = self._open(session_id)
        self.opened[session_id] = until, SessionState("done", _json(result))

    async def result(self, session_id):
        return self._open(session_id)[1]

    async def expire(self, limit):
        self.check()
        over = [name for name, (until, _) in self.opened.items() if until <= self.now_ms]
        for session_id in over[:limit]:
            del self.opened[session_id]
        return len(over[:limit])

    def _open(self, session_id):
        self.check()
        until, state = self.opened.get(session_id, (0, None))
        if until <= self.now_ms:
            raise SessionNotFound(f"no open session {session_id!r}")
        return until, state


def _json(value):
    return json.loads(json.dumps(value))
