"""A server that takes posts and hands out files: well, with status 500, or never."""

import contextlib
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

WELL, FAILING, HANGING = 200, 500, 0
LONGEST_S = 60.0


@dataclass(frozen=True)
class Asked:
    """A request, and how it was answered."""

    method: str
    path: str
    headers: dict
    body: bytes
    status: int


@dataclass
class Receiver:
    """Answers as it is told; a file's content is its path."""

    statuses: dict = field(default_factory=lambda: {"GET": WELL, "POST": WELL})
    asked: list = field(default_factory=list)
    url: str = ""
    released: threading.Event = field(default_factory=threading.Event)

    def turn(self, **statuses):
        """Answer these methods so from now on; who waits in vain is let go."""
        self.statuses |= statuses
        self.released.set()
        self.released = threading.Event()

    def answered(self, method, status):
        """The requests of ``method`` that were answered so."""
        return [each for each in self.asked if (each.method, each.status) == (method, status)]

    def taken(self, request, body):
        status, released = self.statuses[request.command], self.released
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append(Asked(request.command, request.path, headers, body, status))
        if status == HANGING:
            released.wait(LONGEST_S)
        return status


@pytest.fixture
def receiver():
    with running(Receiver()) as receiver:
        yield receiver


@contextlib.contextmanager
def running(receiver):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(b"")

        def do_POST(self):
            self.answer(self.rfile.read(int(self.headers["content-length"])))

        def answer(self, body):
            status = receiver.taken(self, body)
            if status == HANGING:
                return  # the connection ends without a word
            content = self.path.encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        receiver.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield receiver
        receiver.turn()
        server.shutdown()
