import logging
from contextlib import redirect_stderr, suppress
from logging.handlers import MemoryHandler, RotatingFileHandler

import pytest
from ray.serve._private.logging_utils import StreamToLogger

from deployments.logs import PACKAGES, adopt_logs
from omma.settings import LogSettings


@pytest.fixture
def loggers(monkeypatch):
    """Serve's logger and ours, put back afterwards."""
    monkeypatch.setattr(logging, "raiseExceptions", True)
    chosen = [logging.getLogger(name) for name in ("ray.serve", *PACKAGES)]
    before = [(each, each.handlers, each.level, each.propagate) for each in chosen]
    for each in chosen:
        each.handlers, each.propagate = [], True  # pytest listens at those that do not propagate
    yield chosen
    for each, handlers, level, propagate in before:
        each.handlers, each.propagate = handlers, propagate
        each.setLevel(level)


def test_classes_that_share_a_replica_adopt_its_logs_once(loggers):
    serve, *ours = loggers
    serve.handlers = [MemoryHandler(10, target=logging.NullHandler())]

    adopt_logs(LogSettings(level="DEBUG"))
    adopt_logs(LogSettings(level="DEBUG"))

    assert len(serve.handlers) == 2
    for each in ours:
        assert each.handlers == serve.handlers
        assert (each.level, each.propagate) == (logging.DEBUG, False)


def test_outside_of_a_replica_nothing_is_changed(loggers):
    _, *ours = loggers

    adopt_logs(LogSettings(level="DEBUG"))

    assert all(each.propagate and not each.handlers for each in ours)


@pytest.fixture
def full_log(loggers):
    """What Serve gives a replica, on a disk that is full until its stream is another."""
    serve, *_ = loggers
    file = RotatingFileHandler("/dev/full", maxBytes=10_000, backupCount=1)
    serve.handlers = [MemoryHandler(1, target=file)]
    with redirect_stderr(StreamToLogger(serve, logging.INFO, None)):
        yield file
    with suppress(OSError):
        file.close()


def make_room(file, path):
    file.acquire()
    full, file.stream = file.stream, path.open("a")
    file.release()
    with pytest.raises(OSError, match="No space"):
        full.close()


def test_a_record_that_finds_no_room_raises_nothing_though_stderr_is_a_log_too(full_log):
    adopt_logs(LogSettings(level="INFO"))
    serve = logging.getLogger("ray.serve")
    serve.handlers = [full_log]  # Serve makes its handlers anew now and then
    full_log.__dict__.pop("handleError")

    for name in ("ray.serve", "omma.services", "deployments"):
        logging.getLogger(name).error("the disk is full")

    assert full_log.stream.name == "/dev/full"


def test_what_found_no_room_is_counted_in_a_line_once_there_is_some(full_log, tmp_path):
    adopt_logs(LogSettings(level="INFO"))
    full_log.setFormatter(logging.Formatter("%(message)s %(records)s", defaults={"records": ""}))
    ours = logging.getLogger("omma.services")
    for _ in range(3):
        ours.info("lost")

    make_room(full_log, tmp_path / "log")
    for _ in range(2):
        ours.info("kept")

    said = (tmp_path / "log").read_text().split("\n")
    assert said == ["kept ", "the log had no room for some records 3", "kept ", ""]


@pytest.mark.usefixtures("full_log")
def test_a_disk_that_is_full_again_when_the_count_is_told_loses_no_count():
    adopt_logs(LogSettings(level="INFO"))
    [buffer, losses] = logging.getLogger("ray.serve").handlers
    logging.getLogger("omma").info("lost")

    losses.handle(logging.makeLogRecord({"msg": "kept"}))  # the count finds no room

    assert isinstance(buffer, MemoryHandler)
    assert losses.lost == 2
