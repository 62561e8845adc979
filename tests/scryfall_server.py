"""A web server that speaks as Scryfall's API does, over cards of its own, badly when told to."""

import asyncio
import contextlib
import gzip
import hashlib
import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

import cv2

from benchmarks.drawing import draw_card, sample_specs

BULK = "/file/default-cards.json"
PNG, LARGE = "png", "large"


@dataclass
class Fault:
    """What happens to requests for paths that begin with ``prefix``, as often as it says."""

    prefix: str
    status: int = 200
    times: int = 1  # -1 for ever
    retry_after: str = ""
    cut_at: int | None = None  # bytes of the body, after which the connection ends
    body: bytes | None = None  # in place of the right one
    wait_s: float = 0.0
    location: str = ""


@dataclass
class Asked:
    path: str
    query: str
    headers: dict
    status: int = 0
    sent: int = 0  # bytes of the body


@dataclass
class Scryfall:
    """Cards that may change while it runs; use it as `async with` or, from threads, `with`."""

    page_size: int = 175
    is_packed: bool = True  # bulk files travel as gzip where that is accepted
    has_etag: bool = True
    cards: dict = field(default_factory=dict)  # id to Scryfall's object, in order
    pictures: dict = field(default_factory=dict)  # path to bytes, or a function that makes them
    faults: list = field(default_factory=list)
    asked: list = field(default_factory=list)
    updates: int = 0
    port: int = 0
    _connections: dict = field(default_factory=dict)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    # Cards

    def add(self, spec, **changes):
        """Add what the spec draws, as Scryfall would describe it; ``changes`` overwrite fields."""
        sides = [spec, *([spec.back] if spec.back else [])]
        card = {
            "object": "card",
            "id": spec.card_id,
            "name": " // ".join(side.name for side in sides),
            "lang": "en",
            "layout": "transform" if spec.back else "normal",
            "set": spec.set_code,
            "set_name": f"Set {spec.set_code}",
            "collector_number": spec.collector_number,
            "games": ["paper"],
            "digital": False,
            "promo": False,
            "finishes": ["nonfoil", "foil"],
            "prices": {"usd": "0.25", "eur": None},
            "released_at": "2024-02-02",
            "image_status": "highres_scan",
            "highres_image": True,
            "illustration_id": spec.illustration,
        }
        faces = [self._face(spec.card_id, number, side) for number, side in enumerate(sides)]
        if spec.back:
            card |= {"card_faces": faces, "image_uris": None}
            del card["illustration_id"]
        else:
            card |= {"image_uris": faces[0]["image_uris"]}
        self.cards[spec.card_id] = card | changes
        self.touch()
        return spec.card_id

    def add_sample(self, count, seed=0):
        """Drawn cards of which some are reprints and one has two faces; their ids."""
        return [self.add(spec) for spec in sample_specs(count, seed)]

    def remove(self, card_id):
        del self.cards[card_id]
        self.touch()

    def change(self, card_id, **fields):
        self.cards[card_id] |= fields
        self.touch()

    def repaint(self, card_id, spec, number=0):
        """Another picture for a face: its URL has another time behind the question mark."""
        self.touch()
        face = self._face(card_id, number, spec)
        card = self.cards[card_id]
        target = card["card_faces"][number] if card.get("card_faces") else card
        target["image_uris"] = face["image_uris"]

    def touch(self):
        """The bulk file is another from now on."""
        self.updates += 1

    def _face(self, card_id, number, spec):
        changed = 1_700_000_000 + self.updates
        side = "back" if number else "front"
        uris = {}
        for kind, suffix in ((PNG, "png"), (LARGE, "jpg")):
            path = f"/{kind}/{side}/{card_id}.{suffix}"
            self.pictures[path] = lambda spec=spec, suffix=suffix: _encoded(spec, f".{suffix}")
            uris[kind] = f"{path}?{changed}"
        return {
            "object": "card_face",
            "name": spec.name,
            "illustration_id": spec.illustration,
            "image_uris": uris,
        }

    # Faults and counts

    def fail(self, prefix, status=200, **more):
        """Requests for paths with this prefix go wrong: once, or as often as ``times`` says."""
        self.faults.append(Fault(prefix, status, **more))

    def count(self, prefix="/"):
        return sum(each.path.startswith(prefix) for each in self.asked)

    @property
    def counts(self):
        return Counter(each.path for each in self.asked)

    @property
    def fetched_pictures(self):
        """Paths of pictures that were asked for, in order of their first request."""
        return list(dict.fromkeys(each.path for each in self.asked if each.path in self.pictures))

    def forget(self):
        """Start counting anew."""
        self.asked.clear()

    # Answers

    def _answer(self, asked):
        """Status, headers and body."""
        if asked.path == "/bulk-data":
            return self._json(self._bulk_list())
        if asked.path == BULK:
            return self._bulk_file(asked)
        if asked.path == "/cards/search":
            return self._search(asked)
        if asked.path in self.pictures:
            return 200, {"content-type": "image/png"}, self._picture(asked.path)
        return self._json({"object": "error", "code": "not_found", "status": 404}, 404)

    def _json(self, body, status=200):
        return (
            status,
            {"content-type": "application/json; charset=utf-8"},
            json.dumps(body).encode(),
        )

    def _picture(self, path):
        made = self.pictures[path]
        if callable(made):
            made = self.pictures[path] = made()
        return made

    def _objects(self):
        """Cards with whole URLs."""
        text = json.dumps(list(self.cards.values()))
        for kind in (PNG, LARGE):
            text = text.replace(f'"/{kind}/', f'"{self.url}/{kind}/')
        return text

    def _bulk_list(self):
        day, second = divmod(self.updates, 86400)
        entry = {
            "object": "bulk_data",
            "id": "e2ef41e3-5778-4bc2-af3f-78eca4dd9c23",
            "type": "default_cards",
            "updated_at": f"2024-01-{day + 1:02}T{second // 3600:02}:{second // 60 % 60:02}"
            f":{second % 60:02}.000+00:00",
            "uri": f"{self.url}/bulk-data/e2ef41e3-5778-4bc2-af3f-78eca4dd9c23",
            "name": "Default Cards",
            "size": len(self._objects()),
            "download_uri": f"{self.url}{BULK}",
            "content_type": "application/json",
            "content_encoding": "gzip",
        }
        other = entry | {"type": "oracle_cards", "download_uri": f"{self.url}/file/oracle.json"}
        return {"object": "list", "has_more": False, "data": [other, entry]}

    def _bulk_file(self, asked):
        body = self._objects().encode()
        headers = {"content-type": "application/json", "accept-ranges": "bytes"}
        if self.is_packed and "gzip" in asked.headers.get("accept-encoding", ""):
            body = gzip.compress(body, mtime=0)
            headers["content-encoding"] = "gzip"
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if self.has_etag:
            headers["etag"] = etag
        if self.has_etag and asked.headers.get("if-none-match") == etag:
            return 304, headers, b""
        start = _range_start(asked.headers.get("range", ""))
        if start is None or asked.headers.get("if-range", etag) != etag:
            return 200, headers, body
        if start >= len(body):
            return 416, headers | {"content-range": f"bytes */{len(body)}"}, b""
        headers["content-range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        return 206, headers, body[start:]

    def _search(self, asked):
        query = parse_qs(asked.query)
        page, size = int(query.get("page", ["1"])[0]), self.page_size
        cards = json.loads(self._objects())
        found = cards[(page - 1) * size : page * size]
        if not found:
            return self._json({"object": "error", "code": "not_found", "status": 404}, 404)
        answer = {"object": "list", "total_cards": len(cards), "has_more": page * size < len(cards)}
        if answer["has_more"]:
            more = urlencode({"q": query["q"][0], "unique": "prints", "page": page + 1})
            answer["next_page"] = f"{self.url}/cards/search?{more}"
        return self._json(answer | {"data": found})

    # Connections

    async def _serve(self, reader, writer):
        self._connections[asyncio.current_task()] = writer
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._one(reader, writer):
                pass
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def _one(self, reader, writer):
        """Answer one request; whether the connection stays."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        target = urlsplit(head[0].split(" ")[1])
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in headers.items()}
        asked = Asked(target.path, target.query, headers)
        self.asked.append(asked)
        fault = self._fault(target.path)
        await asyncio.sleep(fault.wait_s)
        status, answer, body = await asyncio.to_thread(self._answer, asked)
        if fault.status != 200:
            status, answer, body = fault.status, {}, b'{"object": "error"}'
        if fault.body is not None:
            status, body = fault.status, fault.body
        if fault.retry_after:
            answer["retry-after"] = fault.retry_after
        if fault.location:
            answer["location"] = fault.location
        asked.status = status
        answer |= {} if status == 304 else {"content-length": len(body)}
        lines = [f"HTTP/1.1 {status} Any", *(f"{name}: {value}" for name, value in answer.items())]
        sent = body if fault.cut_at is None else body[: fault.cut_at]
        asked.sent = len(sent)
        writer.write("\r\n".join([*lines, "\r\n"]).encode() + sent)
        await writer.drain()
        return fault.cut_at is None

    def _fault(self, path):
        for fault in self.faults:
            if fault.times and path.startswith(fault.prefix):
                fault.times -= 1
                return fault
        return Fault("")

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for writer in self._connections.values():
            writer.transport.abort()
        await asyncio.gather(*self._connections)
        await self._server.wait_closed()

    def __enter__(self):
        """Serve from a thread, for tests whose own loop is busy or absent."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.__aenter__(), self._loop).result(10)
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self.__aexit__(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


def _range_start(value):
    return int(value.removeprefix("bytes=").rstrip("-")) if value else None


def _encoded(spec, suffix):
    bgr = cv2.cvtColor(draw_card(spec), cv2.COLOR_RGB2BGR)
    return cv2.imencode(suffix, bgr)[1].tobytes()
