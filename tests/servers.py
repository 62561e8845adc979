"""Servers that the cluster suite starts as a user starts them."""

import os
import random
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import yaml

from deployments.instance import of_home, read_instance
from deployments.reaping import marked, reap
from deployments.sizes import DEFAULT
from deployments.surroundings import free_port

SPLIT = DEFAULT.with_name("split.yaml")  # every engine in a replica of its own
START_S = 300.0  # on a busy machine of two cores
STOP_S = 60.0
QUICK = {  # autoscaling looks ten times as often as it does by default
    "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "0.5",
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "0.5",
}


def unused_port():
    """A port between those of Ray's workers and those that the system hands out."""
    return free_port(random.randrange(20_000, 32_000))  # noqa: S311


def until(condition, patience_s=180.0):
    """Wait for a true answer of ``condition`` and return it."""
    deadline = time.monotonic() + patience_s
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"waited {patience_s} s in vain for {condition}"
        time.sleep(0.1)
    return answer


def bright_patches(count=1):
    """A JPEG in which the fake detector sees ``count`` faces."""
    image = np.zeros((96, 64 * count, 3), np.uint8)
    for n in range(count):
        image[20:60, 64 * n + 10 : 64 * n + 50] = 255
    return cv2.imencode(".jpg", image)[1].tobytes()


class Server:
    """`omma up` in a home and with a configuration of its own."""

    def __init__(self, home, models_file):
        self.home, self.models_file = home, models_file
        self.config = home / "config.yaml"
        self.log = home / "omma.log"
        self.port = unused_port()
        self.process = None
        self.cards = "none"  # else the first start begins with a rebuild of the sample's index
        self.write_config()

    def write_config(self, change=lambda _deployments: None):
        document = yaml.safe_load(SPLIT.read_text())
        [application] = document["applications"]
        change({each["name"]: each for each in application["deployments"]})
        self.config.write_text(yaml.safe_dump(document))

    def command(self, *words):
        options = ["--home", str(self.home), "--config", str(self.config)]
        return [sys.executable, "-m", *words, *options]

    def environment(self):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        ours = {
            "OMMA_MODELS_FILE": str(self.models_file),
            "OMMA_CARDS__SOURCE__TYPE": self.cards,
        }
        return kept | QUICK | ours

    def start(self, *words, output=None):
        command = [*self.command(*(words or ("omma.cli.main", "up"))), "--port", str(self.port)]
        with self.log.open("a") as log:
            streams = dict.fromkeys(("stdout", "stderr"), log if output is None else output)
            self.process = subprocess.Popen(  # noqa: S603
                command, env=self.environment(), **streams, start_new_session=True
            )

    def run(self, *words):
        return subprocess.run(  # noqa: S603
            self.command(*words),
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def await_ray(self):
        self._await(lambda: self.named("raylet") and self.named("gcs_server"))

    def await_ready(self):
        self._await(lambda: self._is_ready)

    def _await(self, condition):
        """Wait as long as a start may take; one that fails shows its log."""
        deadline = time.monotonic() + START_S
        while not condition():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    @property
    def _is_ready(self):
        """Not by the word of one that was killed: its record stays."""
        instance = self.instance
        return instance is not None and instance.is_alive and instance.is_ready

    @property
    def instance(self):
        return read_instance(self.home)

    @property
    def processes(self):
        return marked(of_home(self.home))

    def named(self, name):
        return [process for process in self.processes if name in process.command]

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_S)

    def redeploy(self, change=lambda _deployments: None):
        """Deploy again on the Ray that runs, with other sizes."""
        self.write_config(change)
        result = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "deployments.deploying", self.home],
            env=self.environment() | self.ray_environment(),
            input=f"{self.instance.ray_address}\n",
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stdout + result.stderr

    def ray_environment(self):
        environ = (f"/proc/{self.instance.process.pid}/environ", "rb")
        with open(*environ) as file:  # noqa: PTH123
            pairs = [pair.partition("=") for pair in file.read().decode().split("\0")]
        return {name: value for name, _, value in pairs if name.startswith("RAY_")}

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        reap(of_home(self.home), grace_s=5)
        if self.instance is not None:
            self.instance.forget()
