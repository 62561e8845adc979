import logging
from logging.handlers import MemoryHandler

import pytest

from deployments.logs import PACKAGES, adopt_logs
from omma.settings import LogSettings


@pytest.fixture
def loggers():
    """Serve's logger and ours, put back afterwards."""
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

    for each in ours:
        assert each.handlers == serve.handlers
        assert (each.level, each.propagate) == (logging.DEBUG, False)


def test_outside_of_a_replica_nothing_is_changed(loggers):
    _, *ours = loggers

    adopt_logs(LogSettings(level="DEBUG"))

    assert all(each.propagate and not each.handlers for each in ours)
