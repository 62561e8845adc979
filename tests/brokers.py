"""A real broker that speaks MQTT 5: mosquitto where there is one, else mqttools' own.

`make test` installs the latter into `.venv-broker`; it knows QoS 0 alone.
"""

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.servers import unused_port

MQTTOOLS = Path(__file__).parents[1] / ".venv-broker/bin/mqttools"
PATIENCE_S = 15.0


class BrokerProcess:
    """A broker on a port of its own; it may be killed, stopped for a while, and started again."""

    def __init__(self, folder):
        self.folder = folder
        self.port = unused_port()
        self.process = None

    def start(self):
        log = (self.folder / "broker.log").open("a")
        with log:
            self.process = subprocess.Popen(self._command(), stdout=log, stderr=log)  # noqa: S603
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "broker.log").read_text()
            assert time.monotonic() < deadline, "the broker did not begin to listen"
            time.sleep(0.02)

    def _command(self):
        if mosquitto := shutil.which("mosquitto"):
            config = self.folder / "mosquitto.conf"
            config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
            return [mosquitto, "-c", config]
        return [MQTTOOLS, "broker", "--host", "127.0.0.1", "--port", str(self.port)]

    def _answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def freeze(self):
        """Keep the port open and answer nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def broker(tmp_path):
    if not shutil.which("mosquitto") and not MQTTOOLS.exists():
        pytest.skip("no broker: `make test` installs one")
    broker = BrokerProcess(tmp_path)
    broker.start()
    yield broker
    broker.kill()
