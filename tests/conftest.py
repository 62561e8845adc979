"""Fixtures of every suite."""

from tests.databases import (
    clock,
    database,
    database_url,
    empty_url,
    postgres,
    postgres_database,
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
    "postgres_template",
    "postgres_url",
    "sqlite_database",
    "sqlite_template",
    "sqlite_url",
    "timed_database",
]
