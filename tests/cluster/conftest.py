"""One server for the whole suite, with models that need no weights."""

import hashlib

import httpx
import pytest
import yaml

from tests.servers import Server


@pytest.fixture(scope="session")
def models_file(tmp_path_factory):
    """A catalogue whose models are pulled like others, and are fakes."""
    folder = tmp_path_factory.mktemp("models")
    recogniser = {"dimension": 512}
    catalogue = {
        "licences": {},
        "models": {
            "detector": _fake(folder / "detector", slot="detection"),
            "arc": _fake(folder / "arc", slot="arcface", alignment="arcface_112", **recogniser),
            "net": _fake(folder / "net", slot="facenet", alignment="facenet_160", **recogniser),
            "resnet50_embedding": _fake(
                folder / "whole", slot="embedding", framing="stretch_224", **recogniser
            ),
        },
        "packs": {
            "open": {"detector": "detector", "recognisers": {"arcface": "arc", "facenet": "net"}}
        },
    }
    path = folder / "models.yaml"
    path.write_text(yaml.safe_dump(catalogue))
    return path


@pytest.fixture(scope="session")
def new_server(tmp_path_factory, models_file):
    """Make servers; nothing of them outlives the suite."""
    servers = []

    def new_server():
        servers.append(Server(tmp_path_factory.mktemp("home"), models_file))
        return servers[-1]

    yield new_server
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def server(new_server):
    """The server that tests share; who deploys other sizes puts the old ones back."""
    server = new_server()
    server.start()
    server.await_ready()
    yield server
    server.stop()


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.instance.url, timeout=60, trust_env=False) as client:
        yield client


def _fake(path, **fields):
    path.write_bytes(b"none")
    return fields | {
        "family": "fake",
        "source": f"file:{path}",
        "sha256": hashlib.sha256(b"none").hexdigest(),
        "size_bytes": 4,
        "download_bytes": 4,
        "licence": "MIT",
        "input": "anything",
    }
