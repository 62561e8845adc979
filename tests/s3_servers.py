"""A real S3 server: rclone's, over a folder."""

import contextlib
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from omma.stores.blobs import S3Access
from tests.servers import until, unused_port

KEY, SECRET = "OMMATESTKEY", "ommatestsecret"  # very short ones are refused
BUCKET = "omma"


@dataclass(frozen=True)
class S3Server:
    port: int
    folder: Path

    @property
    def access(self):
        return S3Access(f"http://127.0.0.1:{self.port}", "us-east-1", KEY, SECRET, timeout_s=10)

    def is_up(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


def rclone():
    """The program, of the package beside this interpreter."""
    beside = Path(sys.executable).with_name("rclone")
    return str(beside) if beside.exists() else shutil.which("rclone")


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("s3")
    (folder / BUCKET).mkdir()  # folders of the folder are buckets
    server = S3Server(unused_port(), folder)
    address = ["--addr", f"127.0.0.1:{server.port}", "--auth-key", f"{KEY},{SECRET}"]
    options = ["--config", str(folder.parent / "rclone.conf"), "--quiet"]
    process = subprocess.Popen(  # noqa: S603
        [rclone(), "serve", "s3", *address, *options, str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(server.is_up, 30)
    yield server
    process.kill()  # asked to end, it waits for idle connections
    process.wait()
