"""Answers in the warehouse's table serving.analytics_cache: the backend where no other is set up.

The table is unlogged: a crash of the server empties it, and nothing waits for a disk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import psycopg
from psycopg.rows import tuple_row

from serving.cache.answers import Answer, unpacked

Connections = Callable[[], AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]]
"""Opens a connection that may write; what is done on it is committed when it is given back."""

MOST_BYTES: Final = 256 * 1024**2
MOST_ROWS: Final = 20_000
_SWEEP_SECONDS: Final = 60.0
_SWEPT_AT_ONCE: Final = 2_000
_log = logging.getLogger(__name__)

_GET: Final = "select answer from serving.analytics_cache where cache_key = %s and expires_at > clock_timestamp()"

_PUT: Final = """
insert into serving.analytics_cache (cache_key, answer, media_type, etag, data_version, expires_at)
values (%s, %s, %s, %s, %s, clock_timestamp() + %s * interval '1 second')
on conflict (cache_key) do update
set
    answer = excluded.answer,
    media_type = excluded.media_type,
    etag = excluded.etag,
    data_version = excluded.data_version,
    expires_at = excluded.expires_at
"""

# What nobody will ask for again, and, where too much is left, what expires first. Rows that another sweep is about to
# remove are left to it. The length of a value that is stored aside is known without reading it.
_SWEEP: Final = """
with

ranked as (
    select
        cache_key,
        expires_at,
        data_version,
        row_number() over newest_first as place,
        sum(octet_length(answer)) over newest_first as bytes_so_far
    from serving.analytics_cache
    window newest_first as (order by expires_at desc, cache_key)
),

superfluous as (
    select cached.cache_key
    from serving.analytics_cache as cached
    inner join ranked on cached.cache_key = ranked.cache_key
    where
        ranked.expires_at <= clock_timestamp()
        or ranked.data_version < %(version)s
        or ranked.place > %(most_rows)s
        or ranked.bytes_so_far > %(most_bytes)s
    limit %(at_once)s
    for update of cached skip locked
)

delete from serving.analytics_cache
where cache_key in (select superfluous.cache_key from superfluous)
"""


class InTable:
    """Keeps answers in the table; what is over or too much is swept out once a minute and after much was put."""

    def __init__(
        self,
        connections: Connections,
        *,
        most_bytes: int = MOST_BYTES,
        most_rows: int = MOST_ROWS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Between two sweeps the table may grow beyond `most_bytes` by an eighth. `clock` tells seconds."""
        self._connections = connections
        self._most_bytes = most_bytes
        self._most_rows = most_rows
        self._clock = clock
        self._swept_at = clock()
        self._put_bytes = 0
        self._put_rows = 0
        self._sweeping: asyncio.Task[None] | None = None

    async def get(self, key: str) -> Answer | None:
        """Return what was put under the key. Raises psycopg.Error."""
        async with self._connections() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(_GET, [key], binary=True)
            row = await cursor.fetchone()
        return None if row is None else unpacked(row[0])

    async def put(self, key: str, answer: Answer, seconds: float) -> None:
        """Keep an answer, unless it is very large. Raises psycopg.Error."""
        packed = answer.packed()
        if len(packed) > self._most_bytes // 64:
            return
        async with self._connections() as connection:
            values = [key, packed, answer.media_type, answer.etag, answer.data_version, seconds]
            await connection.execute(_PUT, values)
        self._put_bytes += len(packed)
        self._put_rows += 1
        if self._is_sweep_due() and (self._sweeping is None or self._sweeping.done()):
            # Nobody's answer waits for it.
            self._sweeping = asyncio.create_task(self._sweep_quietly(answer.data_version))

    async def sweep(self, version: int | None) -> int:
        """Remove what is over, what is of a version older than this one, and what is too much; return how many rows.

        Raises psycopg.Error.
        """
        self._swept_at, self._put_bytes, self._put_rows = self._clock(), 0, 0
        values = {
            "version": version,
            "most_rows": self._most_rows,
            "most_bytes": self._most_bytes,
            "at_once": _SWEPT_AT_ONCE,
        }
        swept = 0
        while True:
            async with self._connections() as connection:
                removed = (await connection.execute(_SWEEP, values)).rowcount
            swept += removed
            if removed < _SWEPT_AT_ONCE:
                return swept

    async def close(self) -> None:
        """Stop sweeping. The connections are not ours."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait({self._sweeping})

    async def _sweep_quietly(self, version: int | None) -> None:
        try:
            await self.sweep(version)
        except Exception as error:
            _log.info("The cache's table could not be swept, which is tried again: %s", error)

    def _is_sweep_due(self) -> bool:
        return (
            self._clock() >= self._swept_at + _SWEEP_SECONDS
            or self._put_bytes > self._most_bytes // 8
            or self._put_rows > self._most_rows // 8
        )
