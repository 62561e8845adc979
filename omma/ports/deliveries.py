"""What telling others of ended jobs needs: a durable list of what is to be told, and a sender."""

from collections.abc import Collection, Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class Shares:
    """What may be taken at once, so that nobody who is slow takes the places of others."""

    kinds: Collection[DeliveryKind] = tuple(DeliveryKind)
    each: int = 1_000_000  # of one owner, and of one origin
    without_owners: Collection[str] = ()
    without_origins: Collection[str] = ()


EVERYBODY = Shares()


def origin_of(callback_url: str) -> str:
    """Scheme, host and port of a URL, as they are written; empty for the operator's own URL."""
    return callback_url[:8] + callback_url[8:].partition("/")[0]


class Deliveries(Protocol):
    """The durable list; rows enter it in the transaction that ends a job."""

    async def due(
        self, *, limit: int, lease_s: float, shares: Shares = EVERYBODY
    ) -> list[Delivery]:
        """Take some whose time has come; nobody else gets them before the lease ends.

        Owners take turns, and each gets what is due first.
        """
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
