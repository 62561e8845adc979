"""What the API needs to read an image that a client names by URL."""

from typing import Protocol


class UrlFetcher(Protocol):
    """Fetches what clients name, and nothing they should not reach through us."""

    async def fetch(self, url: str, *, max_bytes: int) -> bytes:
        """The body of a successful answer, at most ``max_bytes``.

        Raises `UrlRefused`, `UrlDenied`, `UrlTimeout`, `UrlUnreachable` or `TooManyBytes`.
        """
        ...
