"""Revocations in Redis."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError

from omma.domain.errors import CannotStart, StoreUnavailable

TIMEOUT_S = 2.0
RETRY_AFTER_S = 5
KEPT_S = 3600  # beyond expiry: clocks differ, and tokens get some leeway


class RedisBlocklist:
    """`Blocklist` of keys that expire.

    A key is a token's bare id: so the authentication services that share the list write it.
    """

    def __init__(self, url: str) -> None:
        try:
            # Any: the client's own annotations leave half of every type open
            client = cast("Any", Redis)
            self._redis = client.from_url(
                url,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                retry=Retry(NoBackoff(), 1),  # for a connection that Redis has closed meanwhile
            )
        except ValueError:
            raise CannotStart("expected a redis, rediss or unix URL of the revocations") from None

    async def revoke(self, token_id: str, expires_at: datetime) -> None:
        kept_s = max(0, int((expires_at - datetime.now(UTC)).total_seconds())) + KEPT_S
        with _translated():
            await self._redis.set(token_id, "", ex=kept_s)

    async def is_revoked(self, token_id: str) -> bool:
        with _translated():
            return bool(await self._redis.exists(token_id))

    async def close(self) -> None:
        """Close every connection."""
        await self._redis.aclose()


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        is_refused = any(isinstance(each, AuthenticationError) for each in (error, error.__cause__))
        fault = "refuses us" if is_refused else "does not answer"
        raise StoreUnavailable(f"Redis, with the revocations, {fault}", RETRY_AFTER_S) from None
