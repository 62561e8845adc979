"""Names of snapshots and shards, which sort by age."""

import uuid
from datetime import UTC, datetime


def version_of(moment: datetime) -> str:
    """What versions made at that moment begin with: ``20260102T030405Z``."""
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def new_version(moment: datetime) -> str:
    """One that nobody else has."""
    return f"{version_of(moment)}-{uuid.uuid4().hex[:8]}"
