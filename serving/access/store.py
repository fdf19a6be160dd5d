"""The one connection that access has of its own: keys are found however busy the data are.

It writes as the role api, which may write in schema `serving` only. What is asked is `keys`' and `audit`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, LiteralString

import psycopg
from psycopg.rows import TupleRow

from warehouse.connections import Warehouse
from warehouse.problems import WarehouseProblem

_OPTIONS: Final[Mapping[str, Any]] = {"application_name": "footfall access", "connect_timeout": 3, "autocommit": True}
_STATEMENT_MILLISECONDS: Final = 3000


class StoreProblem(Exception):
    """Keys cannot be looked up now: the database does not answer."""


class Store:
    """Runs one statement at a time, each its own transaction; finds the warehouse anew when it was away."""

    def __init__(self, find: Callable[[], Warehouse]) -> None:
        """`find` opens the warehouse; it is called in a thread."""
        self._find = find
        self._connection: psycopg.AsyncConnection[TupleRow] | None = None
        self._turn = asyncio.Lock()

    async def run(self, statement: LiteralString, values: Mapping[str, Any]) -> list[TupleRow]:
        """Run a statement and return its rows, none where it gives none. Raises `StoreProblem`."""
        async with self._turn:
            try:
                return await self._run(statement, values)
            except (psycopg.Error, WarehouseProblem) as error:
                raise StoreProblem(str(error)) from error

    async def _run(self, statement: LiteralString, values: Mapping[str, Any]) -> list[TupleRow]:
        if self._connection is not None:
            try:
                return await _rows(self._connection, statement, values)
            except psycopg.OperationalError:
                # A statement that took too long leaves the connection whole; a server that restarted does not.
                if not self._connection.closed:
                    raise
                self._connection = None
        self._connection = await self._connect()
        return await _rows(self._connection, statement, values)

    async def _connect(self) -> psycopg.AsyncConnection[TupleRow]:
        parameters = (await asyncio.to_thread(self._find)).parameters("api")
        connection = await psycopg.AsyncConnection.connect(**{**parameters, **_OPTIONS})
        await connection.execute("select set_config('statement_timeout', %s, false)", [str(_STATEMENT_MILLISECONDS)])
        return connection

    async def close(self) -> None:
        """Close the connection; the next statement opens another."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


async def _rows(
    connection: psycopg.AsyncConnection[TupleRow], statement: LiteralString, values: Mapping[str, Any]
) -> list[TupleRow]:
    cursor = await connection.execute(statement, values)
    return await cursor.fetchall() if cursor.description is not None else []
