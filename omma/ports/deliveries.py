"""What telling others of ended jobs needs: a durable list of what is to be told, and a sender."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from omma.domain.jobs import Job


class DeliveryKind(StrEnum):
    """Whom a delivery tells."""

    CALLBACK = "callback"
    MEDIA_STORE = "media_store"


@dataclass(frozen=True, slots=True)
class Delivery:
    """Something that one sender is to tell, until its lease ends."""

    id: int
    kind: DeliveryKind
    job: Job
    tries: int  # before this one


@dataclass(frozen=True, slots=True)
class Delivered:
    """What came of a delivery: ``error`` empty for success, ``delay_s`` None to give up."""

    delivery: Delivery
    error: str = ""
    delay_s: float | None = None


class Deliveries(Protocol):
    """The durable list; rows enter it in the transaction that ends a job."""

    async def due(self, *, limit: int, lease_s: float) -> list[Delivery]:
        """Take some whose time has come; nobody else gets them before the lease ends."""
        ...

    async def settle(self, outcomes: Sequence[Delivered]) -> None:
        """Record successes, next tries and defeats.

        A defeated post to the media store makes its job `SYNC_FAILED`.
        """
        ...


class Poster(Protocol):
    """Posts to URLs that clients name, guarded as fetching is."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Send it and see a 2xx, or raise `UrlRefused`, `UrlTimeout`, `UrlUnreachable`."""
        ...
