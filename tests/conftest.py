"""Fixtures of every suite."""

import logging

import pytest
from hypothesis import settings

from tests.databases import (
    clock,
    database,
    database_url,
    empty_url,
    postgres,
    postgres_database,
    postgres_pool,
    postgres_template,
    postgres_url,
    sqlite_database,
    sqlite_template,
    sqlite_url,
    timed_database,
)
from tests.small_records import ports

__all__ = [
    "clock",
    "database",
    "database_url",
    "empty_url",
    "ports",
    "postgres",
    "postgres_database",
    "postgres_pool",
    "postgres_template",
    "postgres_url",
    "sqlite_database",
    "sqlite_template",
    "sqlite_url",
    "timed_database",
]


# Other examples every time: many runs see what one of them would take minutes for.
settings.register_profile("omma", max_examples=25, deadline=None)
settings.load_profile("omma")


@pytest.fixture(autouse=True)
def own_loggers():
    """Loggers as a fresh process has them: replicas built in other tests take them over."""
    for name in ("omma", "deployments"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        logger.setLevel(logging.NOTSET)
