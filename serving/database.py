"""How the database is asked: as the role api, all of an answer from one snapshot, never longer than a few seconds.

What is asked is each page's and each endpoint's own. Where the database cannot be asked, a `DatabaseProblem` says so
in words.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from warehouse.connections import Warehouse
from warehouse.problems import WarehouseProblem

Connection = psycopg.AsyncConnection[DictRow]

_CONNECT_SECONDS: Final = 3
_IDLE_SECONDS: Final = 60.0
_log = logging.getLogger(__name__)


class DatabaseProblem(Exception):
    """The database cannot be read now; the message says why, for whoever asked."""


class Database:
    """The warehouse, found when it is first needed, and again after it was away: it may be elsewhere by then.

    Its connections belong to the event loop in which it was first asked; `close` ends them.
    """

    def __init__(
        self,
        find: Callable[[], Warehouse],
        *,
        statement_seconds: float = 5.0,
        at_most: int = 8,
        wait_seconds: float = 3.0,
    ) -> None:
        """`find` opens the warehouse. No more than `at_most` connections are open at once; others wait for theirs."""
        self._find = find
        self._found: Warehouse | None = None
        self._at_most = at_most
        self._wait_seconds = wait_seconds
        # What a filter leaves out is not planned at all, if the plan is made for its values.
        milliseconds = round(statement_seconds * 1000)
        self._settings = f"-c timezone=UTC -c plan_cache_mode=force_custom_plan -c statement_timeout={milliseconds}"
        self._pool: AsyncConnectionPool[Connection] | None = None
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """Lend a connection whose queries all see the same state and change nothing. Raises `DatabaseProblem`."""
        async with self._lent() as connection:
            await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
            await connection.set_read_only(True)
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Connection]:
        """Lend a connection for one transaction, which is committed at the end. Raises `DatabaseProblem`."""
        async with self._lent() as connection:
            await connection.set_isolation_level(None)
            await connection.set_read_only(None)
            yield connection

    async def close(self) -> None:
        """End all connections; the next question opens new ones."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[Connection]:
        pool = await self._opened()
        try:
            async with pool.connection() as connection:
                yield connection
        except psycopg.errors.QueryCanceled:
            raise DatabaseProblem("The database is too busy to answer. Try again in a moment.") from None
        except PoolTimeout:
            if pool.get_stats()["pool_size"] >= self._at_most:
                raise DatabaseProblem("Too much is being asked at once. Try again in a moment.") from None
            self._found = None
            raise DatabaseProblem(_AWAY) from None
        except (psycopg.OperationalError, WarehouseProblem) as error:
            _log.warning("The database cannot be read: %s", error)
            raise DatabaseProblem(_AWAY) from None

    async def _opened(self) -> AsyncConnectionPool[Connection]:
        async with self._opening:
            if self._pool is None:
                pool = AsyncConnectionPool(
                    kwargs=self._parameters,
                    connection_class=Connection,
                    min_size=0,
                    max_size=self._at_most,
                    timeout=self._wait_seconds,
                    max_idle=_IDLE_SECONDS,
                    reconnect_timeout=self._wait_seconds,
                    check=AsyncConnectionPool.check_connection,
                    name="footfall pages",
                    open=False,
                )
                await pool.open()
                self._pool = pool
            return self._pool

    async def _parameters(self) -> dict[str, Any]:
        if self._found is None:
            self._found = await asyncio.to_thread(self._find)
        parts = self._found.parameters("api")
        return {
            **parts,
            "options": f"{parts.get('options', '')} {self._settings}".strip(),
            "application_name": "footfall pages",
            "connect_timeout": _CONNECT_SECONDS,
            "row_factory": dict_row,
        }


_AWAY: Final = (
    "The database does not answer. If Footfall is just being started, try again in a few seconds; "
    "otherwise `footfall status` and `footfall doctor` say more."
)
