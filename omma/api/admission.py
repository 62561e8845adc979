"""How much work may be in the house at once; what is over the limit is refused at the door."""

from collections import Counter
from collections.abc import Generator, Hashable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from omma.domain.errors import Overloaded, RateLimited, TooManyBytes
from omma.domain.faces import Lane

MAX_BYTES = 512 * 1024 * 1024
MAX_FETCHES = 16

Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class Ticket:
    """What one request holds of the house; grows as its body is read."""

    admission: "Admission"
    lane: Lane
    images: int = 0
    size_bytes: int = 0
    subject: str | None = None  # of the token that its body came under

    def add(self, images: int = 1) -> None:
        """Take more places, or raise `Overloaded` and take none."""
        self.admission.take(self.lane, images)
        self.images += images

    def hold(self, size_bytes: int) -> None:
        """Have room for so many bytes in all, or raise `Overloaded`, `TooManyBytes` for ever."""
        more = max(0, size_bytes - self.size_bytes)
        self.admission.take_bytes(more, held=self.size_bytes, subject=self.subject)
        self.size_bytes += more

    @contextmanager
    def uploading(self, subject: str | None) -> Generator[None]:
        """Hold a place among the uploads of ``subject``, or raise `RateLimited`."""
        with self.admission.upload(self.lane, subject):
            self.subject = subject
            yield

    @contextmanager
    def fetching(self) -> Generator[None]:
        """Trade the places for one among the fetches, and back when the fetch has its image."""
        images = self.images
        with self.admission.fetch():
            self.add(-images)
            yield
        self.add(images)


class Admission:
    """Counts what is in work, images by lane; the event loop's thread alone calls it."""

    def __init__(
        self,
        limits: Mapping[Lane, int],
        retry_after_s: int,
        *,
        max_bytes: int = MAX_BYTES,
        max_fetches: int = MAX_FETCHES,
        upload_share: float = 1.0,
    ) -> None:
        self._limits = dict(limits)
        self._in_work = dict.fromkeys(limits, 0)
        self._retry_after_s = retry_after_s
        self._max_bytes = max_bytes
        self._bytes = 0
        self._max_fetches = max_fetches
        self._fetches = 0
        self._upload_share = upload_share
        self._uploads: Counter[tuple[Lane, str]] = Counter()
        self._bytes_of: Counter[str] = Counter()  # by subject

    def in_work(self, lane: Lane) -> int:
        """Images admitted and not yet answered."""
        return self._in_work[lane]

    @property
    def bytes_in_work(self) -> int:
        """Bytes that requests hold or have announced."""
        return self._bytes

    def take(self, lane: Lane, images: int) -> None:
        """Count ``images`` in, all or none."""
        wanted = self._in_work[lane] + images
        if wanted > self._limits[lane]:
            raise self._full(f"{self._in_work[lane]} images are in work", self._limits[lane])
        self._in_work[lane] = wanted

    def take_bytes(self, size_bytes: int, *, held: int, subject: str | None = None) -> None:
        """Count ``size_bytes`` in for a request that has ``held`` already.

        A subject's share is for all of its requests together; a single one may have more.
        """
        if held + size_bytes > self._max_bytes:
            raise TooManyBytes(f"expected at most {self._max_bytes} bytes")
        own, share = self._bytes_of[subject or ""], int(self._max_bytes * self._upload_share)
        if subject and size_bytes and own > held and own + size_bytes > share:
            raise self._too_much(f"{share} bytes")
        if self._bytes + size_bytes > self._max_bytes:
            raise self._full(f"{self._bytes} bytes are in work", self._max_bytes)
        self._bytes += size_bytes
        self._bytes_of[subject or ""] += size_bytes

    @contextmanager
    def upload(self, lane: Lane, subject: str | None) -> Generator[None]:
        """Hold one of the subject's places for uploads until the block ends."""
        if subject is None:
            yield
            return
        key, most = (lane, subject), max(1, int(self._limits[lane] * self._upload_share))
        if self._uploads[key] >= most:
            raise self._too_much(f"{most} uploads")
        self._uploads[key] += 1
        try:
            yield
        finally:
            _give_back(self._uploads, key, 1)

    @contextmanager
    def fetch(self) -> Generator[None]:
        """Hold a place for one fetch of a URL until the block ends."""
        if self._fetches >= self._max_fetches:
            raise self._full(f"{self._fetches} URLs are being fetched", self._max_fetches)
        self._fetches += 1
        try:
            yield
        finally:
            self._fetches -= 1

    @contextmanager
    def admit(self, lane: Lane, *, images: int = 1) -> Generator[Ticket]:
        """Hold places for so many images until the block ends, however it ends."""
        ticket = Ticket(self, lane)
        ticket.add(images)
        try:
            yield ticket
        finally:
            self._in_work[lane] -= ticket.images
            self._bytes -= ticket.size_bytes
            _give_back(self._bytes_of, ticket.subject or "", ticket.size_bytes)

    def _too_much(self, share: str) -> RateLimited:
        reason = f"expected at most {share} of one subject at once"
        return RateLimited(reason, self._retry_after_s)

    def _full(self, state: str, limit: int) -> Overloaded:
        return Overloaded(f"{state}, the limit is {limit}", self._retry_after_s)


def _give_back(counts: Counter[Key], key: Key, number: int) -> None:
    counts[key] -= number
    if not counts[key]:
        del counts[key]  # who holds nothing takes no memory
