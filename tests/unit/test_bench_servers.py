"""A server is measured when it has nothing to do of its own."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest

from benchmarks import servers

JOBS = [("index_rebuild", "pending"), ("index_rebuild", "processing"), ("infer", "processing")]


@pytest.fixture
def port():
    """A server whose jobs end one by one: one for each time that it is asked what runs."""
    left = list(JOBS)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked = {name: value for name, [value] in parse_qs(urlsplit(self.path).query).items()}
            found = [
                {"task_type": task}
                for task, status in left[:1]
                if status == asked["status"] and task == asked.get("task_type", task)
            ]
            if found:
                left.pop(0)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"jobs": found}).encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_it_is_measured_after_its_rebuilds_and_jobs_and_that_is_said(port, capsys):
    servers.await_rest(port, pause_s=0)

    assert "after index_rebuild, infer" in capsys.readouterr().out


def test_of_a_server_at_rest_nothing_is_said(port, capsys, monkeypatch):
    monkeypatch.setattr(servers, "_working", lambda _port: set())

    servers.await_rest(port, pause_s=0)

    assert capsys.readouterr().out == ""


def test_one_that_never_rests_is_not_measured(port, monkeypatch):
    monkeypatch.setattr(servers, "REST_S", -1)

    with pytest.raises(TimeoutError, match="index_rebuild"):
        servers.await_rest(port, pause_s=0)
