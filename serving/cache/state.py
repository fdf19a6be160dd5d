"""Which state the marts are in, as `marts.present_state` tells, and how many requests share one look at it.

What a state is, that model says; what follows from it for an answer, `caching`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg.rows import DictRow, class_row

from serving.database import DatabaseProblem

Snapshot = Callable[[], AbstractAsyncContextManager[psycopg.AsyncConnection[DictRow]]]
"""Opens a connection whose queries all see one state of the database and change nothing."""

NO_FIGURES: Final = (
    "There are no figures yet: they are made when a file has arrived, so put one into the landing folder. "
    "After an update of Footfall they are made anew, which takes a minute."
)
_STATE: Final = "select version, published_at, is_settled, views from marts.present_state"


class NoFigures(DatabaseProblem):
    """The marts have not been made yet."""


@dataclass(frozen=True, slots=True)
class PresentState:
    """The newest data version, if there is one, and whether the marts are just what it published."""

    version: int | None
    published_at: datetime | None
    is_settled: bool
    views: str | None


async def read_present_state(connection: psycopg.AsyncConnection[Any]) -> PresentState:
    """Return the state that this connection's snapshot sees. Raises NoFigures where there are no marts."""
    try:
        async with connection.cursor(row_factory=class_row(PresentState)) as cursor:
            await cursor.execute(_STATE)
            state = await cursor.fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        state = None
    if state is None:
        raise NoFigures(NO_FIGURES)
    return state


class Looks:
    """Looks at the state for all who asked before the look began: who asks later waits for the next one.

    So everybody is told of a state that held after they asked, and a thousand who ask at once cost one query or two.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._waiting: list[asyncio.Future[PresentState]] = []
        self._looking: asyncio.Task[None] | None = None

    async def present(self) -> PresentState:
        """Return the state. Raises what the look raised."""
        asked: asyncio.Future[PresentState] = asyncio.get_running_loop().create_future()
        self._waiting.append(asked)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_on())
        return await asked

    async def _look_on(self) -> None:
        try:
            while self._waiting:
                asked, self._waiting = self._waiting, []
                await self._look_for(asked)
        finally:
            self._looking = None

    async def _look_for(self, asked: list[asyncio.Future[PresentState]]) -> None:
        try:
            async with self._snapshot() as connection:
                state = await read_present_state(connection)
        except Exception as error:
            for one in asked:
                if not one.done():
                    one.set_exception(error)
        except BaseException:
            for one in asked:
                one.cancel()
            raise
        else:
            for one in asked:
                if not one.done():
                    one.set_result(state)
