"""The way to a Redis, and what goes wrong on it as our errors."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError

from omma.domain.errors import CannotStart, StoreUnavailable

TIMEOUT_S = 2.0
RETRY_AFTER_S = 5


def open_redis(url: str, content: str) -> Any:
    """A client that gives up soon; ``content`` is what is kept there, as in "the revocations"."""
    try:
        # Any: the client's own annotations leave half of every type open
        client = cast("Any", Redis)
        return client.from_url(
            url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 1),  # for a connection that Redis has closed meanwhile
        )
    except ValueError:
        raise CannotStart(f"expected a redis, rediss or unix URL of {content}") from None


@contextmanager
def translated(content: str) -> Generator[None]:
    """Whatever keeps Redis from answering is `StoreUnavailable`."""
    try:
        yield
    except (RedisError, OSError) as error:
        is_refused = any(isinstance(each, AuthenticationError) for each in (error, error.__cause__))
        fault = "refuses us" if is_refused else "does not answer"
        raise StoreUnavailable(f"Redis, with {content}, {fault}", RETRY_AFTER_S) from None
