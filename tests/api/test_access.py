"""Who is let in where: by route, by permission, and what the answer says."""

import logging
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI, WebSocket

from omma.api import access, errors
from omma.api.access import Owner, Rule, public, require, rules_of
from omma.api.app import ApiOptions, build_api
from omma.api.requests import RequestIds
from omma.domain.errors import StoreUnavailable
from omma.domain.tokens import SUPPORT, Principal
from omma.services.tokens import Gatekeeper, RateLimits
from omma.settings import AuthSettings
from omma.stores.tokens.opening import open_verifier
from tests.fakes import picture
from tests.service_fakes import fake_services
from tests.token_fakes import SECRET, MemoryBlocklist, claims, es256, hs256, public_pem, user_claims

FRAMEWORKS_OWN = {"/openapi.json", "/docs-assets"}  # the docs' parts: as public as /docs
DETECT = "/api/v1/faces/detect"
Asker = Annotated[Principal, Depends(require(SUPPORT))]


@pytest.fixture
def blocklist():
    return MemoryBlocklist()


@pytest.fixture
def gate(tmp_path, blocklist):
    path = tmp_path / "public.pem"
    path.write_bytes(public_pem())
    trust = AuthSettings(public_key_path=path, secret=SECRET)
    return Gatekeeper(open_verifier(trust, blocklist), RateLimits(0.001, 20))


@pytest.fixture
def app(gate):
    return build_api(fake_services(gate=gate), ApiOptions())


@pytest.fixture
async def client(app):
    """Asks the whole application, which trusts our keys."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        yield client


def bearing(token):
    return {"authorization": f"Bearer {token}"}


async def detect(client, token):
    headers = {"content-type": "image/jpeg", **bearing(token)}
    return await client.post(DETECT, content=picture(1), headers=headers)


async def test_every_route_has_a_rule(app):
    unruled = {each.path for each in rules_of(app) if each.rule is None}

    assert unruled == FRAMEWORKS_OWN


async def test_every_route_is_public_on_purpose_or_asks_for_a_token(app, client):
    for each in rules_of(app):
        if each.rule is None or each.method == "WS":
            continue
        path = each.path.replace("{", "").replace("}", "")
        answer = await client.request(each.method, path)
        assert (answer.status_code == 401) == (not each.rule.is_public), each
        if not each.rule.is_public:
            assert answer.headers["www-authenticate"] == "Bearer"


async def shake_hands(app, path, query="", host=b"api"):
    """What a socket is told from its handshake on, as ASGI messages."""
    told, asked = [], [{"type": "websocket.connect"}]
    scope = {
        "type": "websocket", "path": path, "raw_path": path.encode(),
        "query_string": query.encode(), "headers": [(b"host", host)],
        "subprotocols": [], "root_path": "", "scheme": "ws",
        "extensions": {"websocket.http.response": {}},
    }  # fmt: skip

    async def receive():
        return asked.pop() if asked else {"type": "websocket.disconnect", "code": 1001}

    async def send(message):
        told.append(message)

    await app(scope, receive, send)
    return told


async def test_every_socket_asks_for_a_token(app):
    sockets = [each for each in rules_of(app) if each.method == "WS" and each.rule]

    for each in sockets:
        told = await shake_hands(app, each.path)
        assert not each.rule.is_public
        assert "websocket.send" not in [message["type"] for message in told]
        assert told[-1].get("code", 4401) == 4401


async def test_every_route_with_a_permission_refuses_who_lacks_it(app, client):
    for number, each in enumerate(rules_of(app)):
        if (
            each.rule is None
            or each.method == "WS"
            or not (each.rule.permission or each.rule.admin)
        ):
            continue
        poor = es256(claims(sub=f"poor {number}", permissions=["another"]))
        path = each.path.replace("{", "").replace("}", "")
        answer = await client.request(each.method, path, headers=bearing(poor))
        wanted = "Admin access required" if each.rule.admin else "Missing required permission: "
        assert answer.status_code == 403, each
        assert wanted in answer.text


async def test_a_token_with_the_permission_is_let_in(client):
    assert (await detect(client, es256())).status_code == 200


async def test_an_administrator_needs_no_permission(client):
    answer = await detect(client, es256(claims(permissions=[], is_admin=True)))

    assert answer.status_code == 200


async def test_a_missing_permission_is_named(client):
    answer = await detect(client, hs256())

    assert (answer.status_code, answer.json()["code"]) == (403, "permission_missing")
    assert answer.json()["detail"] == "Missing required permission: ai_inference_support"


async def test_a_revoked_token_gets_the_documented_detail(client, blocklist):
    blocklist.revoked.add("token-1")

    answer = await detect(client, hs256())

    assert (answer.status_code, answer.json()["code"]) == (403, "token_revoked")
    assert answer.json()["detail"] == {
        "error": "This token is invalid or has been revoked",
        "resolution": "Please get new token",
    }


async def test_a_refresh_token_gets_the_documented_detail(client):
    answer = await detect(client, hs256(user_claims(refresh=True)))

    assert (answer.status_code, answer.json()["code"]) == (403, "refresh_token")
    assert answer.json()["detail"] == "Please provide an access token"


BAD_TOKENS = {
    "expired": es256(claims(exp=1)), "garbage": "garbage", "cut": es256()[:-5], "long": "x" * 9000,
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_TOKENS)
async def test_a_bad_token_is_unauthorized_and_told_how_to_sign_in(client, kind, caplog):
    with caplog.at_level(logging.DEBUG):
        answer = await detect(client, BAD_TOKENS[kind])

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["code"] == ("token_expired" if kind == "expired" else "token_invalid")
    assert BAD_TOKENS[kind] not in answer.text
    assert not any(BAD_TOKENS[kind] in str(vars(each)) for each in caplog.records)


@pytest.mark.parametrize("header", ["Basic YWRhOmFkYQ==", "Bearer", "", "token"])
async def test_another_scheme_is_no_token(client, header):
    answer = await client.post(DETECT, content=picture(1), headers={"authorization": header})

    assert (answer.status_code, answer.json()["code"]) == (401, "token_missing")


async def test_bytes_that_are_no_token_are_unauthorized(client):
    for odd in (b"Bearer \xff\xfe\x80", b"Bearer a.b.c\xe9", "Bearer ü.ü.ü".encode()):
        answer = await client.post(DETECT, content=b"x", headers=[(b"authorization", odd)])
        assert answer.status_code == 401


async def test_two_tokens_are_unauthorized(client):
    headers = [("authorization", f"Bearer {es256()}"), ("authorization", "Bearer x")]

    assert (await client.post(DETECT, content=b"x", headers=headers)).status_code == 401


async def test_nobody_is_let_in_while_revocations_cannot_be_read(client, blocklist):
    blocklist.fault = StoreUnavailable("the list does not answer", 5)

    answer = await detect(client, hs256())

    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert answer.headers["retry-after"] == "5"


async def test_who_asks_too_often_is_told_when_to_come_back(client):
    token = es256(claims(sub="busy"))
    for _ in range(20):
        assert (await detect(client, token)).status_code == 200

    answer = await detect(client, token)
    other = await detect(client, es256())

    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert answer.headers["retry-after"] == "1000"
    assert other.status_code == 200


async def test_a_token_in_the_query_opens_no_ordinary_route(client):
    answer = await client.post(f"{DETECT}?access_token={es256()}", content=picture(1))

    assert answer.status_code == 401


def test_the_document_shows_the_scheme_where_it_is_asked_for(app):
    spec = app.openapi()

    assert spec["components"]["securitySchemes"] == {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    }
    assert spec["paths"][DETECT]["post"]["security"] == [{"bearer": []}]
    assert "security" not in spec["paths"]["/health"]["get"]


class Small(FastAPI):
    """Routes of every kind of rule."""

    def __init__(self, gate):
        super().__init__()
        self.state.context = self
        self.services = self
        self.options = ApiOptions(cors_origins=("http://friend.test",))
        self.gate = gate
        errors.install(self)
        self.add_middleware(RequestIds, echo=True)
        self.get("/admin", dependencies=[Depends(require(admin=True))])(self.nothing)
        self.get("/any", dependencies=[Depends(require())])(self.nothing)
        self.get("/open", dependencies=[Depends(public)])(self.nothing)
        stream = require(SUPPORT, owner=Owner.SUBJECT, in_query=True)
        self.get("/stream")(self.name(stream))
        self.websocket("/socket", dependencies=[Depends(stream)])(self.greet)

    async def nothing(self) -> None:
        """Answer nothing."""

    @staticmethod
    def name(guard):
        async def name(asker: Annotated[Principal, Depends(guard)]) -> str:
            return asker.subject

        return name

    @staticmethod
    async def greet(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()


@pytest.fixture
async def small(gate):
    transport = httpx.ASGITransport(Small(gate))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        yield client


HERE = "http://127.0.0.1:8000"
FOREIGN, OWN = {"origin": "http://evil.test"}, {"origin": HERE}
FRIENDLY = {"origin": "http://friend.test"}


async def ask_the_open(app, path, headers):
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=HERE) as client:
        return await client.get(path, headers=headers)


@pytest.mark.parametrize(("headers", "status"), [(FOREIGN, 403), (OWN, 200), (FRIENDLY, 200)])
async def test_without_tokens_pages_of_other_sites_may_not_ask(headers, status):
    answer = await ask_the_open(Small(Gatekeeper(None)), "/admin", headers)

    assert answer.status_code == status


OWN_HOSTS = [
    "localhost", "localhost:8000", "LOCALHOST", "127.0.0.1", "127.1.2.3:80", "[::1]:8000",
    "friend.test", "friend.test:8443",
]  # fmt: skip
STRANGE_HOSTS = [
    "evil.test", "evil.test:8000", "localhost.evil.test", "127.0.0.1.evil.test", "0.0.0.0:8000",
    "192.168.1.2", "evil@localhost.test", "[::1", "", "a b", "localhost:x@evil.test",
]  # fmt: skip


@pytest.mark.parametrize("path", ["/admin", "/open"])
@pytest.mark.parametrize("host", OWN_HOSTS)
async def test_without_tokens_this_machine_is_asked_by_its_own_names(host, path):
    answer = await ask_the_open(Small(Gatekeeper(None)), path, {"host": host})

    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/admin", "/open"])
@pytest.mark.parametrize("host", STRANGE_HOSTS)
async def test_without_tokens_a_name_that_leads_here_is_refused(host, path):
    """DNS rebinding: the browser believes that the page and the server are one."""
    headers = {"host": host, "origin": f"http://{host}"}
    for sent in (headers, {"host": host}):
        answer = await ask_the_open(Small(Gatekeeper(None)), path, sent)

        assert (answer.status_code, answer.json()["code"]) == (403, "host_refused")
    assert "Host" in answer.json()["detail"]


async def test_without_tokens_a_socket_of_such_a_name_is_refused():
    app = build_api(fake_services(gate=Gatekeeper(None)), ApiOptions())

    for host in (b"evil.test", b""):
        told = await shake_hands(app, "/ws/queue", host=host)
        assert "websocket.accept" not in [message["type"] for message in told]


async def test_the_gateway_refuses_such_a_name_in_its_own_words():
    app = build_api(fake_services(gate=Gatekeeper(None)), ApiOptions())

    answer = await ask_the_open(app, "/api/v1/queue/status/x", {"host": "evil.test"})

    assert (answer.status_code, answer.json()["error_code"]) == (403, "host_refused")


async def test_with_a_token_any_host_may_be_asked(small):
    answer = await small.get("/any", headers={**bearing(es256()), "host": "omma.test"})

    assert answer.status_code == 200


async def test_with_a_token_any_page_may_ask(small):
    answer = await small.get("/any", headers={**bearing(es256()), **FOREIGN})

    assert answer.status_code == 200


async def test_only_administrators_are_let_in_where_that_is_asked(small):
    refused = await small.get("/admin", headers=bearing(es256()))
    admitted = await small.get("/admin", headers=bearing(es256(claims(is_admin=True))))

    assert (refused.status_code, refused.json()["code"]) == (403, "admin_required")
    assert refused.json()["detail"] == "Admin access required"
    assert admitted.status_code == 200


async def test_any_token_opens_a_route_without_permission(small):
    assert (await small.get("/any", headers=bearing(hs256()))).status_code == 200
    assert (await small.get("/any")).status_code == 401


async def test_a_public_route_asks_for_nothing_and_minds_nothing(small):
    assert (await small.get("/open")).status_code == 200
    assert (await small.get("/open", headers=bearing("garbage"))).status_code == 200


async def test_a_stream_takes_its_token_from_the_query_too_and_no_log_has_it(small, caplog):
    token = es256()
    with caplog.at_level(logging.DEBUG):
        answer = await small.get("/stream", params={"access_token": token})
        refused = await small.get("/stream", params={"access_token": f"{token}x"})

    assert answer.json() == "ada"
    assert refused.status_code == 401
    ours = [each for each in caplog.records if each.name.startswith("omma")]
    assert ours
    assert not any(token in str(vars(each)) for each in ours)
    assert token not in refused.text


async def test_a_header_wins_over_the_query(small):
    headers = bearing(es256(claims(sub="bob")))

    answer = await small.get("/stream", params={"access_token": es256()}, headers=headers)

    assert answer.json() == "bob"


async def test_a_socket_takes_its_token_from_the_query_too(gate):
    told = await shake_hands(Small(gate), "/socket", f"access_token={es256()}")

    assert {"type": "websocket.send", "text": "hello"} in told


REFUSED = {
    "none": (lambda: "", 401),
    "bad": (lambda: "access_token=garbage", 401),
    "poor": (lambda: f"access_token={hs256()}", 403),  # made in time: it expires
}


@pytest.mark.parametrize(("query", "status"), REFUSED.values(), ids=REFUSED)
async def test_a_socket_without_a_good_token_is_never_accepted(gate, query, status):
    told = await shake_hands(Small(gate), "/socket", query())

    first = told[0]
    assert (first["type"], first["status"]) == ("websocket.http.response.start", status)


def test_the_rules_can_be_read_off_an_application(gate):
    rules = {each.path: each.rule for each in rules_of(Small(gate)) if each.rule}

    assert rules == {
        "/admin": Rule(admin=True),
        "/any": Rule(),
        "/open": access.public.rule,
        "/stream": Rule(SUPPORT, owner=Owner.SUBJECT, in_query=True),
        "/socket": Rule(SUPPORT, owner=Owner.SUBJECT, in_query=True),
    }
