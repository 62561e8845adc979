"""`omma up|down|status` where no Ray runs: mistakes, interruptions and what is left behind."""

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from deployments import lifecycle
from deployments.instance import of_home
from deployments.reaping import MARKER, marked
from tests.model_fakes import CONTENT, write_catalogue
from tests.servers import STOP_S, until, unused_port

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "omma.cli.main")
# Makes what stdin is the controlling terminal, whose end the kernel then tells with SIGHUP.
IN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
SLEEPS = "print(flush=True); import signal; signal.pause()"


@pytest.fixture
def command(tmp_path):
    """Run `deployments.lifecycle` on a home of its own."""

    def command(*words, **environ):
        return subprocess.run(  # noqa: S603
            [sys.executable, "-m", "deployments.lifecycle", *words],
            env=os.environ | {"OMMA_HOME": str(tmp_path)} | environ,
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return command


@pytest.fixture
def left_behind(tmp_path):
    """A process that an instance under this home has left."""
    environ = os.environ | {MARKER: f"gone@{tmp_path}"}
    command = [sys.executable, "-c", SLEEPS]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) as child:  # noqa: S603
        child.stdout.readline()
        yield child
        child.kill()


@pytest.fixture
def slow_npm(tmp_path):
    """The environment of an `up` that pulls a model through an npm that does not get on."""
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text("#!/bin/sh\nsleep 600 & wait\n")
    npm.chmod(0o700)
    catalogue = tmp_path / "models.yaml"
    write_catalogue(catalogue, CONTENT, source="npm:shop@1!m.onnx")
    return os.environ | {
        "PATH": f"{npm.parent}:{os.environ['PATH']}",
        "OMMA_HOME": str(tmp_path),
        "OMMA_MODELS_FILE": str(catalogue),
        "OMMA_FACES__EMBEDDERS": "[]",
        "OMMA_FACES__DEFAULT_EMBEDDERS": "[]",
        "OMMA_EMBEDDING__MODEL": "m",
    }


@pytest.fixture
def start(slow_npm, tmp_path):
    """Start a program, which ends in `up`, and wait until that downloads."""
    with ExitStack() as stack:

        def start(*program, **streams):
            command = [*program, "up", "--port", str(unused_port())]
            process = subprocess.Popen(command, env=slow_npm, cwd=ROOT, **streams)  # noqa: S603
            stack.enter_context(process)
            stack.callback(process.kill)
            until(lambda: any(each.name == "sleep" for each in marked(of_home(tmp_path))))
            return process

        yield start


@pytest.fixture
def downloading(start):
    """`up` while it downloads."""
    return start(sys.executable, "-m", "deployments.lifecycle")


def test_a_stop_during_the_download_ends_the_download(downloading, tmp_path):
    downloading.terminate()

    assert downloading.wait(30) == 0
    assert marked(of_home(tmp_path)) == []


def test_a_terminal_that_is_closed_ends_what_was_started_there(start, tmp_path):
    terminal, inside = os.openpty()
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), inside)
    process = start(sys.executable, "-c", IN_TERMINAL, *COMMAND, **streams, start_new_session=True)
    os.close(inside)

    os.close(terminal)

    assert process.wait(STOP_S) == 0
    assert marked(of_home(tmp_path)) == []


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_pipe_that_nobody_reads_any_more_is_a_closed_terminal(start, tmp_path, stream):
    reader, writer = os.pipe()
    process = start(*COMMAND, **{stream: writer})
    os.close(writer)

    os.close(reader)

    assert process.wait(STOP_S) == 0
    assert marked(of_home(tmp_path)) == []


def test_who_was_started_to_outlive_its_terminal_does(start, tmp_path):
    reader, writer = os.pipe()
    process = start("nohup", *COMMAND, stdout=writer, stderr=writer)
    os.close(writer)
    os.close(reader)
    until(lambda: _heeds(process.pid, signal.SIGTERM))
    [server] = psutil.Process(process.pid).children()

    heeding = [_heeds(pid, signal.SIGHUP) for pid in (process.pid, server.pid)]

    process.terminate()
    assert heeding == [False, False]
    assert process.wait(STOP_S) == 0
    assert marked(of_home(tmp_path)) == []


def _heeds(pid, number):
    """Whether this process has a handler of its own for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    [caught] = [line for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def test_who_is_not_listened_to_goes_on():
    reader, writer = os.pipe()
    os.close(reader)
    program = "from deployments.speech import say; say('stopping'); print('went on')"

    command = [sys.executable, "-c", program]
    output = subprocess.check_output(command, stderr=writer, cwd=ROOT, text=True)  # noqa: S603

    os.close(writer)
    assert output == "went on\n"


def test_down_finds_a_download_and_ends_it(downloading, command, tmp_path):
    result = command("down")

    assert (result.returncode, "had to be reaped" in result.stderr) == (0, True)
    assert downloading.wait(30) == 1
    assert marked(of_home(tmp_path)) == []


def test_down_spares_who_calls_it(command, left_behind, tmp_path):
    result = command("down", **{MARKER: f"inherited@{tmp_path}"})

    assert (result.returncode, "1 processes" in result.stderr) == (0, True)
    assert left_behind.wait(10) == -signal.SIGTERM


def test_status_does_not_count_who_asks(command, tmp_path):
    result = command("status", **{MARKER: f"inherited@{tmp_path}"})

    assert json.loads(result.stdout)["processes"] == []


def test_down_names_what_it_could_not_end(left_behind, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lifecycle, "reap", lambda *_arguments, **_options: [])

    code = lifecycle.main(["down", "--home", str(tmp_path)])

    assert code == 1
    assert f"could not end {left_behind.pid} (" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["down", "status"])
def test_a_mistyped_setting_keeps_nobody_from_stopping(command, verb):
    result = command(verb, OMMA_HTTP__PORTT="1", OMMA_FACES__PACK="none")

    assert "settings" not in result.stderr
    assert "Traceback" not in result.stderr


def test_a_port_that_no_machine_has_is_refused_in_one_line(command):
    result = command("up", "--port", "70000")

    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert line.startswith("cannot start: http.port: ")
    assert "65535" in line


def test_a_pack_without_a_model_for_an_embedder_is_named_before_anything_is_pulled(
    command, tmp_path
):
    path = tmp_path / "models.yaml"
    write_catalogue(path, CONTENT)

    result = command("up", "--port", str(unused_port()), OMMA_MODELS_FILE=str(path))

    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert line.startswith("cannot start: pack 'open' has no model for the embedders arcface,")


def test_strangers_are_not_served_without_a_key_and_the_way_out_is_named(command):
    result = command("up", "--host", "0.0.0.0", "--port", str(unused_port()))  # noqa: S104

    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert line.startswith("cannot start: will not listen on '0.0.0.0' without a key")
    assert "omma tokens keygen" in line


def test_a_key_that_cannot_be_read_is_told_in_one_line(command, tmp_path):
    path = tmp_path / "nowhere.pem"

    result = command("up", "--port", str(unused_port()), OMMA_AUTH__PUBLIC_KEY_PATH=str(path))

    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert line == (
        f"cannot start: cannot read the public key at '{path}': No such file or directory"
    )


@pytest.mark.parametrize("verb", ["up", "down", "status"])
def test_a_home_that_cannot_be_made_is_told_in_one_line(command, verb, tmp_path):
    (tmp_path / "file").touch()

    result = command(verb, "--home", str(tmp_path / "file" / "home"))

    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert f"cannot make '{tmp_path}/file/home/run' (Not a directory)" in line


def test_a_variable_that_sets_nothing_is_told_at_the_start(command):
    result = command("up", "--port", "70000", OMMA_HTTP_HOST="0.0.0.0")  # noqa: S104

    assert result.stderr.splitlines()[0] == (
        "warning: OMMA_HTTP_HOST sets nothing; OMMA_HTTP__HOST would"
    )
