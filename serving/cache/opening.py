"""Where answers are kept: in the Redis that a setting names, else in the warehouse's own table."""

from __future__ import annotations

from serving.cache.backends import Backend
from serving.cache.in_table import Connections, InTable


def open_backend(connections: Connections, redis_url: str | None) -> Backend:
    """Return the backend; it connects when it is first asked. Raises ValueError where the URL is not one of Redis."""
    if redis_url is None:
        return InTable(connections)
    from serving.cache.in_redis import InRedis

    return InRedis(redis_url)
