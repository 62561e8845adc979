"""Omma's log records in the replicas: structured, with request ids, beside Serve's own."""

import logging
from collections.abc import Iterable
from logging.handlers import MemoryHandler

from ray.serve.schema import LoggingConfig

from omma.settings import LogSettings

PACKAGES = ("omma", "deployments")

log = logging.getLogger(__name__)


class Losses(logging.Handler):
    """Counts what the handlers before it could not write, and says so when they can again."""

    def __init__(self, handlers: Iterable[logging.Handler]) -> None:
        super().__init__()
        self.lost = 0
        for handler in handlers:
            handler.handleError = self._note
            if isinstance(handler, MemoryHandler) and handler.target:
                handler.target.handleError = self._note

    def emit(self, record: logging.LogRecord) -> None:
        """Say how many were lost, behind a record that was not."""
        if not self.lost or hasattr(record, "is_lost"):
            return
        lost, self.lost = self.lost, 0
        log.warning("the log had no room for some records", extra={"records": lost})
        if self.lost:  # nor for this one
            self.lost += lost

    def _note(self, record: logging.LogRecord) -> None:
        record.is_lost = True
        self.lost += 1


def adopt_logs(settings: LogSettings) -> None:
    """Let omma's loggers write where Serve writes: the files of the session's folder.

    Serve shows nothing of a library below WARNING otherwise; its handlers know the request.
    Call it inside a replica, as often as classes live there; elsewhere it changes nothing.
    """
    serve = logging.getLogger("ray.serve")
    if not serve.handlers:
        return
    # Else `logging` complains on stderr, which is a logger in a replica, of what it cannot write:
    # that raises, and with it ends a request or a loop.
    logging.raiseExceptions = False
    if not any(isinstance(each, Losses) for each in serve.handlers):
        serve.addHandler(Losses(serve.handlers))
    for package in PACKAGES:
        logger = logging.getLogger(package)
        logger.handlers = list(serve.handlers)
        logger.setLevel(settings.level)
        logger.propagate = False  # the root logger would repeat each record


def serve_logging(settings: LogSettings) -> LoggingConfig:
    """How Serve's own components log: JSON lines in the session's folder."""
    return LoggingConfig(encoding="JSON", log_level=settings.level)
