"""`omma tokens`: what it prints, what it refuses, and that it shows no secret."""

import asyncio
import json
import stat

import pytest
from typer.testing import CliRunner

from omma.cli import tokens
from omma.domain.tokens import SUPPORT
from omma.stores.records.database import Database
from omma.stores.records.tokens import SqlBlocklist
from omma.stores.tokens.redis import RedisBlocklist
from tests.redis_servers import redis_url
from tests.token_fakes import SECRET, claims, es256, hs256, user_claims

__all__ = ["redis_url"]


@pytest.fixture
def omma(tmp_path, monkeypatch):
    monkeypatch.setenv("OMMA_HOME", str(tmp_path / "var"))
    (tmp_path / "var").mkdir()

    def omma(*arguments, answer=None, **environ):
        return CliRunner().invoke(tokens.app, list(map(str, arguments)), input=answer, env=environ)

    return omma


@pytest.fixture
def keys(omma, tmp_path):
    folder = tmp_path / "keys"
    assert omma("keygen", folder).exit_code == 0
    return folder / "private_key.pem", folder / "public_key.pem"


def test_keygen_says_what_the_files_are_for(omma, tmp_path):
    answer = omma("keygen", tmp_path / "k")

    assert "signs tokens" in answer.stdout
    assert f"PUBLIC_KEY_PATH={tmp_path}/k/public_key.pem" in answer.stdout
    assert stat.S_IMODE((tmp_path / "k" / "private_key.pem").stat().st_mode) == 0o600


def test_keygen_overwrites_nothing(omma, keys):
    before = keys[0].read_bytes()

    answer = omma("keygen", keys[0].parent)

    assert (answer.exit_code, keys[0].read_bytes()) == (1, before)
    assert "is there already" in answer.stderr


def test_keygen_where_nothing_can_be_written_says_so(omma, tmp_path):
    (tmp_path / "file").touch()

    answer = omma("keygen", tmp_path / "file" / "below")

    assert answer.exit_code == 1
    assert answer.stderr.startswith("error: ")


def test_a_token_is_issued_and_trusted(omma, keys):
    issued = omma("issue", "--subject", "ada", "--permission", SUPPORT, "--key", keys[0])
    told = omma("inspect", issued.stdout.strip(), OMMA_AUTH__PUBLIC_KEY_PATH=str(keys[1]))

    assert issued.exit_code == told.exit_code == 0
    assert json.loads(told.stdout) | {"exp": 0, "iat": 0, "jti": "", "expires_at": ""} == {
        "sub": "ada", "permissions": [SUPPORT], "is_admin": False, "is_trusted": True, "fault": "",
        "exp": 0, "iat": 0, "jti": "", "expires_at": "",
    }  # fmt: skip


@pytest.mark.parametrize("way", ["file", "variable"])
def test_a_shared_secret_signs_too_and_is_never_shown(omma, tmp_path, way):
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    how = {"file": (["--secret", path], {}), "variable": ([], {"OMMA_AUTH__SECRET": SECRET})}
    options, environ = how[way]

    issued = omma("issue", "--subject", "ada", "--admin", *options, **environ)
    told = omma("inspect", "-", answer=issued.stdout, OMMA_AUTH__SECRET=SECRET)

    assert json.loads(told.stdout)["user"] == {"user_uid": "ada"}
    assert json.loads(told.stdout)["is_trusted"]
    assert SECRET not in issued.output + told.output


def test_standard_output_has_the_token_alone(omma, keys):
    answer = omma("issue", "--subject", "ada", "--key", keys[0], "--expires", "7d")

    assert answer.stdout.count("\n") == 1
    assert answer.stdout.count(".") == 2
    assert "for ada, until " in answer.stderr


MISTAKES = [
    (["issue", "--subject", "ada"], 1, "nothing to sign with"),
    (["issue", "--subject", "ada", "--key", "/nowhere.pem"], 1, "cannot read the private key"),
    (["issue", "--subject", "", "--key", "KEY"], 1, "sub"),
    (["issue", "--subject", "a", "--key", "KEY", "--expires", "soon"], 2, "30m, 12h or 7d"),
    (["issue", "--subject", "a", "--key", "KEY", "--secret", "KEY"], 2, "not both"),
    (["inspect", "nonsense"], 1, "expected a JSON Web Token"),
    (["revoke", "a.b.c"], 1, "not base64url"),
    (["revoke", ""], 1, "no id"),
]


@pytest.mark.parametrize(("words", "code", "told"), MISTAKES, ids=str)
def test_a_mistake_is_told_without_a_traceback(omma, keys, words, code, told):
    answer = omma(*(keys[0] if word == "KEY" else word for word in words))

    assert answer.exit_code == code
    assert told in answer.stderr
    assert "Traceback" not in answer.output


@pytest.mark.parametrize("setting", [{}, {"OMMA_AUTH__SECRET": "another secret " * 3}])
def test_inspect_says_why_a_token_is_not_trusted(omma, setting):
    answer = omma("inspect", hs256(), **setting)

    told = json.loads(answer.stdout)
    assert (answer.exit_code, told["is_trusted"]) == (0, False)
    assert told["fault"]


def is_revoked(url, token_id):
    async def ask():
        database = Database(url)
        try:
            return await SqlBlocklist(database).is_revoked(token_id)
        finally:
            await database.close()

    return asyncio.run(ask())


@pytest.mark.parametrize("what", ["token", "id", "input"])
def test_a_token_is_revoked_in_the_database(omma, tmp_path, what):
    token = es256(claims(jti="one"))
    words = {"token": [token], "id": ["one"], "input": ["-"]}[what]

    answer = omma("revoke", *words, answer=token)

    assert answer.exit_code == 0
    assert answer.stdout.startswith("revoked one in sqlite")
    assert is_revoked(f"sqlite:///{tmp_path}/var/omma.db", "one")


def test_a_token_is_revoked_in_redis_where_that_is_configured(omma, redis_url):
    answer = omma("revoke", hs256(user_claims(jti="two")), OMMA_AUTH__REDIS_URL=redis_url)

    async def ask():
        blocklist = RedisBlocklist(redis_url)
        try:
            return await blocklist.is_revoked("two")
        finally:
            await blocklist.close()

    assert answer.stdout == "revoked two in Redis\n"
    assert asyncio.run(ask())


def test_a_revocation_that_could_not_be_written_is_a_failure(omma):
    answer = omma("revoke", "three", OMMA_AUTH__REDIS_URL="redis://127.0.0.1:1/0")

    assert answer.exit_code == 1
    assert "does not answer" in answer.stderr


def test_a_token_without_an_id_cannot_be_revoked(omma):
    answer = omma("revoke", es256())

    assert answer.exit_code == 1
    assert "no id" in answer.stderr
