"""Inserting what may be there already, in each database's own words."""

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite


def upsert(table: Table, *, is_sqlite: bool) -> "postgresql.Insert | sqlite.Insert":
    """An insert that can say what happens ``on_conflict_do_update``."""
    return sqlite.insert(table) if is_sqlite else postgresql.insert(table)
