"""Where answers are kept: in the Redis that a setting names, else in the warehouse's own table."""

from __future__ import annotations

from serving.cache.backends import Backend, Guarded
from serving.cache.caching import AnswerCache
from serving.cache.in_table import Connections, InTable
from serving.cache.state import Snapshot


def open_cache(
    snapshot: Snapshot, connections: Connections, redis_url: str | None, *, looks: Snapshot | None = None
) -> AnswerCache:
    """Return a cache on the backend that is set up, which is first asked for something when a request comes.

    `snapshot` and `looks` are as `AnswerCache` has them; on `connections` the table is read and written. Raises
    ValueError where the URL is not one of Redis.
    """
    return AnswerCache(snapshot, Guarded(open_backend(connections, redis_url)), looks=looks)


def open_backend(connections: Connections, redis_url: str | None) -> Backend:
    """Return where answers are kept, unguarded."""
    if redis_url is None:
        return InTable(connections)
    from serving.cache.in_redis import InRedis

    return InRedis(redis_url)
