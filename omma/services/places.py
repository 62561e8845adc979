"""Places for open streams: so many in all, fewer of one subject, and few for anybody."""

from collections.abc import Generator
from contextlib import contextmanager

from omma.domain.errors import Overloaded, RateLimited

RETRY_AFTER_S = 5
PUBLIC_SHARE = 4  # who shows no token has one place in so many: the rest stays for tokens


class Places:
    """Counts open streams; the event loop's thread alone calls it."""

    def __init__(self, most: int, most_per_subject: int) -> None:
        self._most = most
        self._most_per_subject = most_per_subject
        self._taken: dict[str | None, int] = {}  # by subject; None is everybody without a token

    @property
    def taken(self) -> int:
        """How many are open."""
        return sum(self._taken.values())

    @contextmanager
    def hold(self, subject: str | None) -> Generator[None]:
        """One more until the block ends; raises `Overloaded`, or `RateLimited` for the subject."""
        self._require(subject)
        self._taken[subject] = self._taken.get(subject, 0) + 1
        try:
            yield
        finally:
            self._taken[subject] -= 1
            if not self._taken[subject]:
                del self._taken[subject]

    def _require(self, subject: str | None) -> None:
        own, taken = self._taken.get(subject, 0), self.taken
        if taken >= self._most:
            raise Overloaded(f"{taken} event streams are open", RETRY_AFTER_S)
        if subject is None and own >= max(1, self._most // PUBLIC_SHARE):
            raise Overloaded(f"{own} event streams without a token are open", RETRY_AFTER_S)
        if subject is not None and own >= self._most_per_subject:
            raise RateLimited(
                f"expected at most {self._most_per_subject} event streams of one subject",
                RETRY_AFTER_S,
            )
