"""Answers in a Redis, which several Footfalls may share. It forgets them by itself when their time is over.

How much it holds is Redis' own setting: `maxmemory`, with the policy `volatile-lru` or `allkeys-lru`.
"""

from __future__ import annotations

from typing import Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from serving.cache.answers import Answer, unpacked

LARGEST_BYTES: Final = 4 * 1024**2
_PREFIX: Final = "footfall:answer:"
_CONNECTIONS: Final = 8
# Of a connection; whoever waits for an answer has less, see `Guarded`.
_PATIENCE_SECONDS: Final = 2.0


class InRedis:
    """Keeps answers in the Redis at a URL: redis://, rediss:// (TLS, the certificate is verified) or unix://."""

    def __init__(self, url: str) -> None:
        """Nothing is opened before it is needed. Raises ValueError where it is no such URL."""
        pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=_PATIENCE_SECONDS,
            socket_timeout=_PATIENCE_SECONDS,
            socket_connect_timeout=_PATIENCE_SECONDS,
            # `Guarded` decides when there is a second try.
            retry=Retry(NoBackoff(), 0),
        )
        self._redis: Redis = Redis.from_pool(pool)

    async def get(self, key: str) -> Answer | None:
        """Return what was put under the key. Raises redis.RedisError."""
        packed = await self._redis.get(_PREFIX + key)
        return unpacked(packed) if isinstance(packed, bytes) else None

    async def put(self, key: str, answer: Answer, seconds: float) -> None:
        """Keep an answer, unless it is very large. Raises redis.RedisError."""
        packed = answer.packed()
        if len(packed) <= LARGEST_BYTES:
            await self._redis.set(_PREFIX + key, packed, px=max(round(seconds * 1000), 1))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
