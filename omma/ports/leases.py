"""What keeps two processes from doing the same chore."""

from typing import Protocol


class Leases(Protocol):
    """Named rights that one holder has at a time, by the database's clock."""

    async def acquire(self, name: str, holder: str, *, ttl_s: float) -> bool:
        """Take or prolong it; False while another holds it."""
        ...

    async def release(self, name: str, holder: str) -> None:
        """Give it back; nothing happens to one that another holds."""
        ...

    async def holder(self, name: str) -> str | None:
        """Who holds it now; None where nobody does."""
        ...
