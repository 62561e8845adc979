"""Named rights kept by Redis, for clusters that have one."""

from omma.stores.redis import open_redis, translated

CONTENT = "the leases"
PREFIX = "omma:lease:"  # others may use the same Redis

# A script runs as one step: nobody gets between the look and the deed.
RENEW = """
if redis.call("get", KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call("pexpire", KEYS[1], ARGV[2])
"""
RELEASE = """
if redis.call("get", KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call("del", KEYS[1])
"""


class RedisLeases:
    """Leases as keys that expire by the server's clock; a key's value is its holder."""

    def __init__(self, url: str) -> None:
        self._redis = open_redis(url, CONTENT)
        self._renew = self._redis.register_script(RENEW)
        self._release = self._redis.register_script(RELEASE)

    async def acquire(self, name: str, holder: str, *, ttl_s: float) -> bool:
        key, ttl_ms = PREFIX + name, max(1, round(ttl_s * 1000))
        with translated(CONTENT):
            if await self._redis.set(key, holder, px=ttl_ms, nx=True):
                return True
            return bool(await self._renew(keys=[key], args=[holder, ttl_ms]))

    async def release(self, name: str, holder: str) -> None:
        with translated(CONTENT):
            await self._release(keys=[PREFIX + name], args=[holder])

    async def holder(self, name: str) -> str | None:
        with translated(CONTENT):
            held: bytes | None = await self._redis.get(PREFIX + name)
        return None if held is None else held.decode()

    async def close(self) -> None:
        """Close every connection."""
        await self._redis.aclose()
