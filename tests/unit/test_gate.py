"""From the settings to who is let in, and what is said at the start."""

from types import SimpleNamespace

import pytest

from deployments.gate import check_auth, demo_warning, open_gate
from deployments.ingress import Ingress
from deployments.sizes import DEFAULT, read_plan
from omma.domain.errors import CannotStart
from omma.domain.tokens import DEMO
from omma.settings import AuthSettings, Settings
from tests.token_fakes import SECRET, MemoryBlocklist, hs256

KEYED = AuthSettings(secret=SECRET)


@pytest.mark.parametrize("auth", [AuthSettings(), AuthSettings(secret=SECRET, disabled=True)])
async def test_everybody_is_the_demo_user_and_who_starts_it_is_told(auth):
    gate = open_gate(auth, MemoryBlocklist())

    assert gate.is_open
    assert await gate.admit(None) is DEMO
    assert demo_warning(auth).startswith("warning: ")


async def test_with_a_key_there_is_nothing_to_warn_of():
    gate = open_gate(KEYED, MemoryBlocklist())

    assert not gate.is_open
    assert (await gate.admit(hs256())).subject == "ada"
    assert demo_warning(KEYED) == ""


def test_a_mistake_in_the_keys_or_their_addresses_is_told_before_the_start(tmp_path):
    for wrong in (
        {"secret": "short"},
        {"public_key_path": tmp_path / "none.pem"},
        {"jwks": "ftp://keys.test/"},
        {"secret": SECRET, "redis_url": "memcached://x"},
        {"secret": SECRET, "algorithm": "ES256"},
    ):
        with pytest.raises(CannotStart):
            check_auth(AuthSettings(**wrong))


@pytest.mark.parametrize("auth", [AuthSettings(), AuthSettings(secret=SECRET, disabled=True)])
async def test_a_replica_refuses_to_let_strangers_in_however_it_was_started(auth, tmp_path):
    settings = Settings(home=tmp_path, http={"host": "0.0.0.0"}, auth=auth)  # noqa: S104
    replica = SimpleNamespace()  # Serve's own would have to be closed

    with pytest.raises(CannotStart, match="will not listen"):
        await Ingress.__init__(replica, settings, None, None)

    assert not list(tmp_path.iterdir())


def test_a_mistake_never_shows_the_secret():
    with pytest.raises(CannotStart) as caught:
        check_auth(AuthSettings(secret="hunter2"))  # noqa: S106

    assert "hunter2" not in str(caught.value)


def test_relative_paths_of_keys_become_absolute_for_replicas_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMMA_AUTH__PUBLIC_KEY_PATH", "public.pem")
    monkeypatch.setenv("OMMA_AUTH__JWKS", "keys.json")

    auth = read_plan(DEFAULT).settings.auth

    assert (auth.public_key_path, auth.jwks) == (tmp_path / "public.pem", f"{tmp_path}/keys.json")


def test_the_address_of_a_key_set_stays_as_it_is(monkeypatch):
    monkeypatch.setenv("OMMA_AUTH__JWKS", "https://issuer.test/keys")

    assert read_plan(DEFAULT).settings.auth.jwks == "https://issuer.test/keys"
