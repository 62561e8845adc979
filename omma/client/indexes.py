"""Indexes, looked at and changed from here; changes are for administrators."""

from urllib.parse import quote

from omma.client.connection import Connection
from omma.wire.indexes import (
    IndexAnswer,
    IndexesAnswer,
    PublishedAnswer,
    PublishRequest,
    RebuildRequest,
    RollbackRequest,
    SnapshotAnswer,
)
from omma.wire.jobs import JobAnswer


class IndexCalls(Connection):
    """What one may ask about indexes."""

    async def indexes(self) -> IndexesAnswer:
        """All of them, with what is published."""
        return await self._read_from(IndexesAnswer, "GET", "/api/v1/indexes")

    async def index(self, name: str) -> IndexAnswer:
        """One with its snapshots, the newest first."""
        return await self._read_from(IndexAnswer, "GET", _index(name))

    async def snapshot(self, name: str, version: str) -> SnapshotAnswer:
        """One snapshot with its report."""
        path = f"{_index(name)}/snapshots/{quote(version, safe='')}"
        return await self._read_from(SnapshotAnswer, "GET", path)

    async def rebuild(self, name: str, wanted: RebuildRequest | None = None) -> JobAnswer:
        """The job that rebuilds it; while one waits or runs, that one."""
        body = (wanted or RebuildRequest()).model_dump()
        return await self._read_from(JobAnswer, "POST", f"{_index(name)}/rebuild", json=body)

    async def publish(self, name: str, wanted: PublishRequest) -> PublishedAnswer:
        """Let a snapshot be served."""
        path, body = f"{_index(name)}/publish", wanted.model_dump()
        return await self._read_from(PublishedAnswer, "POST", path, json=body)

    async def rollback(self, name: str, wanted: RollbackRequest | None = None) -> PublishedAnswer:
        """Let the snapshot be served that was published before this one."""
        body = (wanted or RollbackRequest()).model_dump()
        return await self._read_from(PublishedAnswer, "POST", f"{_index(name)}/rollback", json=body)


def _index(name: str) -> str:
    return f"/api/v1/indexes/{quote(name, safe='')}"
