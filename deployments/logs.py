"""Omma's log records in the replicas: structured, with request ids, beside Serve's own."""

import logging

from ray.serve.schema import LoggingConfig

from omma.settings import LogSettings

PACKAGES = ("omma", "deployments")


def adopt_logs(settings: LogSettings) -> None:
    """Let omma's loggers write where Serve writes: the files of the session's folder.

    Serve shows nothing of a library below WARNING otherwise; its handlers know the request.
    Call it inside a replica, as often as classes live there; elsewhere it changes nothing.
    """
    handlers = list(logging.getLogger("ray.serve").handlers)
    if not handlers:
        return
    for package in PACKAGES:
        logger = logging.getLogger(package)
        logger.handlers = handlers
        logger.setLevel(settings.level)
        logger.propagate = False  # the root logger would repeat each record


def serve_logging(settings: LogSettings) -> LoggingConfig:
    """How Serve's own components log: JSON lines in the session's folder."""
    return LoggingConfig(encoding="JSON", log_level=settings.level)
