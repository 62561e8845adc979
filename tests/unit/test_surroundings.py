import socket
import stat
import subprocess
import sys

import pytest
from ray.serve._private.constants import RAY_SERVE_HAPROXY_TUNE_BUFSIZE

from deployments.instance import Instance, run_dir
from deployments.reaping import MARKER, itself
from deployments.sizes import ROOT
from deployments.surroundings import (
    PORTS_TRIED,
    free_port,
    prune_sessions,
    refuse_open_ports,
    require_port,
    surroundings,
    token_path,
)
from omma.domain.errors import CannotStart
from omma.settings import AuthSettings
from tests.servers import unused_port


@pytest.fixture
def taken():
    """A port on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def environment(tmp_path):
    run_dir(tmp_path)
    instance = Instance(
        home=str(tmp_path),
        mark="the mark",
        process=itself(),
        config="",
        host="127.0.0.1",
        port=8000,
        short_home=str(tmp_path),
    )
    return surroundings(instance, {"RAY_ADDRESS": "theirs", "RAY_AUTH_TOKEN": "x", "HOME": "/h"})


def test_sockets_take_every_line_that_haproxy_lets_through(environment):
    script = "from websockets.http11 import MAX_LINE_LENGTH; print(MAX_LINE_LENGTH)"
    command = [sys.executable, "-c", script]

    read = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)  # noqa: S603

    assert int(read.stdout) > RAY_SERVE_HAPROXY_TUNE_BUFSIZE


def test_the_token_is_made_once_for_our_eyes_only(tmp_path):
    path = token_path(tmp_path)
    token = path.read_text()

    assert len(token) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token_path(tmp_path).read_text() == token


def test_a_token_that_was_never_written_is_made_again(tmp_path):
    (run_dir(tmp_path) / "ray_token").touch()

    assert len(token_path(tmp_path).read_text()) == 64
    assert [path.name for path in run_dir(tmp_path).iterdir()] == ["ray_token"]


def test_a_host_may_have_other_memory_arenas(environment, tmp_path):
    instance = Instance(
        str(tmp_path), "", itself(), "", "127.0.0.1", 8000, short_home=str(tmp_path)
    )

    other = surroundings(instance, {"MALLOC_ARENA_MAX": "8"})

    assert (environment["MALLOC_ARENA_MAX"], other["MALLOC_ARENA_MAX"]) == ("2", "8")


def test_every_process_is_marked_and_let_in(environment, tmp_path):
    assert environment[MARKER] == "the mark"
    assert environment["RAY_AUTH_MODE"] == "token"
    assert environment["RAY_AUTH_TOKEN_PATH"] == str(token_path(tmp_path))
    assert environment["HOME"] == "/h"


def test_other_clusters_and_tokens_are_not_inherited(environment):
    assert not {"RAY_ADDRESS", "RAY_AUTH_TOKEN"} & set(environment)


def test_neither_loopback_nor_grpc_goes_through_a_proxy(environment):
    assert {"localhost", "127.0.0.1", "::1"} <= set(environment["no_proxy"].split(","))
    assert environment["grpc_proxy"] == ""


def test_all_of_haproxys_files_lie_in_the_home(environment, tmp_path):
    paths = [
        value for name, value in environment.items()
        if name.startswith("RAY_SERVE_HAPROXY") and "/" in value
    ]  # fmt: skip

    assert len(paths) >= 5
    assert all(path.startswith(str(tmp_path)) for path in paths)


STRANGERS = ["0.0.0.0", "::", "192.0.2.1", "example.com"]  # noqa: S104
NO_KEY, SECRET = AuthSettings(), AuthSettings(secret="s" * 32)


@pytest.mark.parametrize("host", STRANGERS)
def test_an_address_that_strangers_reach_is_refused_without_a_key(host):
    with pytest.raises(CannotStart, match="PUBLIC_KEY_PATH, JWT_SECRET"):
        refuse_open_ports(host, {}, NO_KEY)


@pytest.mark.parametrize("host", STRANGERS)
def test_with_a_key_it_may_listen_anywhere(host):
    refuse_open_ports(host, {}, SECRET)


@pytest.mark.parametrize("host", STRANGERS)
def test_authentication_is_switched_off_on_loopback_only(host):
    disabled = SECRET.model_copy(update={"disabled": True})

    refuse_open_ports("127.0.0.1", {}, disabled)
    with pytest.raises(CannotStart, match="AUTH_DISABLED=true"):
        refuse_open_ports(host, {}, disabled)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_loopback_is_served(host):
    refuse_open_ports(host, {"RAY_AUTH_MODE": "TOKEN"}, NO_KEY)


@pytest.mark.parametrize("auth", [NO_KEY, SECRET])
def test_ray_without_a_token_is_refused(auth):
    with pytest.raises(CannotStart, match="RAY_AUTH_MODE"):
        refuse_open_ports("127.0.0.1", {"RAY_AUTH_MODE": "disabled"}, auth)


def test_a_port_that_is_taken_is_named(taken):
    with pytest.raises(CannotStart, match=f"port {taken}"):
        require_port("127.0.0.1", taken)


def test_a_port_for_http_is_taken_by_who_will_listen_there():
    port = unused_port()
    asking = f"from deployments.surroundings import require_port; require_port('127.0.0.1', {port})"
    command = [sys.executable, "-c", asking]

    def another():
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603

    first = another()
    require_port("127.0.0.1", port)
    second = another()

    assert (first.returncode, second.returncode) == (0, 1)
    assert f"port {port} on 127.0.0.1 is taken" in second.stderr


def test_a_free_port_is_the_preferred_one_or_another(taken):
    other = free_port(taken)

    assert other != taken
    assert other - taken < PORTS_TRIED


def test_a_port_is_given_to_one_instance_though_nobody_listens_there_yet():
    asking = "from deployments.surroundings import free_port; print(free_port({}))"

    def in_another_process(preferred):
        command = [sys.executable, "-c", asking.format(preferred)]
        return int(subprocess.check_output(command, cwd=ROOT))  # noqa: S603

    port = in_another_process(24_000)

    assert free_port(port) == port  # the other process has ended
    assert in_another_process(port) != port


def test_only_the_newest_sessions_are_kept(tmp_path):
    for day in range(1, 7):
        (tmp_path / "ray" / f"session_2026-01-0{day}_x").mkdir(parents=True)
    (tmp_path / "ray" / "session_latest").symlink_to(tmp_path / "ray" / "session_2026-01-06_x")

    prune_sessions(tmp_path)

    kept = sorted(path.name for path in (tmp_path / "ray").iterdir())
    assert kept == [*(f"session_2026-01-0{day}_x" for day in (4, 5, 6)), "session_latest"]
