"""Revocations in Redis."""

from datetime import UTC, datetime

from omma.stores.redis import open_redis, translated

CONTENT = "the revocations"
KEPT_S = 3600  # beyond expiry: clocks differ, and tokens get some leeway


class RedisBlocklist:
    """`Blocklist` of keys that expire.

    A key is a token's bare id: so the authentication services that share the list write it.
    """

    def __init__(self, url: str) -> None:
        self._redis = open_redis(url, CONTENT)

    async def revoke(self, token_id: str, expires_at: datetime) -> None:
        kept_s = max(0, int((expires_at - datetime.now(UTC)).total_seconds())) + KEPT_S
        with translated(CONTENT):
            await self._redis.set(token_id, "", ex=kept_s)

    async def is_revoked(self, token_id: str) -> bool:
        with translated(CONTENT):
            return bool(await self._redis.exists(token_id))

    async def close(self) -> None:
        """Close every connection."""
        await self._redis.aclose()
