from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from deployments.metrics import scrape, shown

SCRAPED = """\
# HELP ray_omma_batch_size Items in one batch.
# TYPE ray_omma_batch_size histogram
ray_omma_batch_size_bucket{le="1.0"} 3.0
ray_node_cpu_count{SessionName="s"} 2.0
# HELP ray_node_cpu_count Cores.
ray_serve_num_http_requests{route="/"} 7.0
"""


def test_omma_and_serve_are_shown_and_omma_under_its_own_name():
    assert (
        shown(SCRAPED)
        == """\
# HELP omma_batch_size Items in one batch.
# TYPE omma_batch_size histogram
omma_batch_size_bucket{le="1.0"} 3.0
ray_serve_num_http_requests{route="/"} 7.0
"""
    )


class Agent(BaseHTTPRequestHandler):
    """Answers as Ray's agent does."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(SCRAPED.encode())

    def log_message(self, *_arguments):
        """Say nothing."""


@pytest.fixture
def agent_port():
    with HTTPServer(("127.0.0.1", 0), Agent) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_proxy_is_never_asked_for_this_nodes_metrics(agent_port, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")

    assert scrape(agent_port) == SCRAPED
