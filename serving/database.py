"""How pages read: as the role api, all of a page from one snapshot, never longer than a few seconds.

What is asked is each page's own. Where the database cannot be asked, a `DatabaseProblem` says so in words.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import Any, Final

import psycopg
from psycopg.rows import DictRow, dict_row

from warehouse.connections import Warehouse
from warehouse.problems import WarehouseProblem

_CONNECT_SECONDS: Final = 3
_log = logging.getLogger(__name__)


class DatabaseProblem(Exception):
    """The database cannot be read now; the message says why, for whoever looks at the page."""


class Database:
    """The warehouse, found when it is first needed, and again after it was away: it may be elsewhere by then."""

    def __init__(
        self,
        find: Callable[[], Warehouse],
        *,
        statement_seconds: float = 5.0,
        at_most: int = 4,
        wait_seconds: float = 5.0,
    ) -> None:
        """`find` opens the warehouse. No more than `at_most` connections are open at once; others wait for theirs."""
        self._find = find
        self._found: Warehouse | None = None
        self._statement_milliseconds = round(statement_seconds * 1000)
        self._wait_seconds = wait_seconds
        self._free = BoundedSemaphore(at_most)

    @contextmanager
    def snapshot(self) -> Iterator[psycopg.Connection[DictRow]]:
        """Open a connection whose queries all see the same state and change nothing. Raises `DatabaseProblem`."""
        if not self._free.acquire(timeout=self._wait_seconds):
            raise DatabaseProblem("Too many pages are being made at once. Try again in a moment.")
        try:
            with self._connect() as connection:
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                connection.read_only = True
                connection.execute(
                    "select set_config('timezone', 'UTC', true), set_config('statement_timeout', %s, true)",
                    [str(self._statement_milliseconds)],
                )
                yield connection
        except psycopg.errors.QueryCanceled:
            raise DatabaseProblem("The database is too busy to answer. Try again in a moment.") from None
        except (psycopg.OperationalError, WarehouseProblem) as error:
            _log.warning("The database cannot be read: %s", error)
            raise DatabaseProblem(
                "The database does not answer. If Footfall is just being started, try again in a few seconds; "
                "otherwise `footfall status` and `footfall doctor` say more."
            ) from None
        finally:
            self._free.release()

    def _connect(self) -> psycopg.Connection[DictRow]:
        if self._found is not None:
            try:
                return _open(self._found)
            except psycopg.OperationalError:
                self._found = None
        found = self._find()
        connection = _open(found)
        self._found = found
        return connection


def _open(warehouse: Warehouse) -> psycopg.Connection[DictRow]:
    options: dict[str, Any] = {"application_name": "footfall pages", "connect_timeout": _CONNECT_SECONDS}
    return psycopg.Connection[DictRow].connect(**{**warehouse.parameters("api"), **options}, row_factory=dict_row)
