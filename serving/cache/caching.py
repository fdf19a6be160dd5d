"""Answers from the cache, or computed and kept: never older than the newest version, never a mixture of two.

A build changes the marts model by model, so a query in the middle of it sees some of the old and some of the new. An
answer is kept only if the snapshot that it was computed in says that the marts are just what its version published, and
under that version. What is asked for is always the version that is the newest once the question has come. How that is
known, `state` tells; what else an answer depends on, `keys`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import DictRow

from serving.cache.answers import Answer
from serving.cache.backends import Guarded
from serving.cache.in_memory import Memory
from serving.cache.keys import KeyParts, key_of
from serving.cache.state import Looks, PresentState, Snapshot, read_present_state

KEPT_SECONDS: Final = 3600.0
# A backend does not tell how much of an answer's hour is left; a copy of it in memory lives no longer than this.
_COPIED_SECONDS: Final = 60.0

Compute = Callable[[psycopg.AsyncConnection[DictRow], PresentState], Awaitable[Answer]]
"""Computes an answer on a snapshot; told its state, which `Answer.data_version` and the answer's meta are to repeat."""


@dataclass
class _Flight:
    """One computation, and how many wait for it."""

    task: asyncio.Task[Answer]
    waiting: int = 0


class AnswerCache:
    """Answers requests: each different one is computed once an hour and version, however many ask at a time."""

    def __init__(
        self,
        snapshot: Snapshot,
        backend: Guarded,
        *,
        looks: Snapshot | None = None,
        memory: Memory | None = None,
        kept_seconds: float = KEPT_SECONDS,
    ) -> None:
        """`snapshot` gives computations their connections, `looks` (else the same) the looks at the version."""
        self._snapshot = snapshot
        self._looks = Looks(looks or snapshot)
        self._backend = backend
        self._memory = memory or Memory()
        self._seconds = kept_seconds
        self._flights: dict[str, _Flight] = {}
        self._keeping: set[asyncio.Task[Any]] = set()

    async def answer(self, parts: KeyParts, compute: Compute) -> Answer:
        """Return the answer to a request, computed where it is not kept.

        Raises DatabaseProblem where the marts cannot be read, and whatever `compute` raises: so it does to all who wait
        for the same, and nothing of it is kept.
        """
        key = key_of(parts, await self._looks.present())
        if (kept := self._memory.get(key)) is not None:
            return kept
        flight = self._flights.get(key)
        if flight is None or flight.task.done():
            flight = self._start(key, parts, compute)
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._end(key, flight)
                flight.task.cancel()

    async def close(self) -> None:
        """Stop what is being computed and let go of the backend."""
        tasks = [*(flight.task for flight in self._flights.values()), *self._keeping]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._backend.close()

    def _start(self, key: str, parts: KeyParts, compute: Compute) -> _Flight:
        flight = _Flight(asyncio.create_task(self._find_or_compute(key, parts, compute)))
        self._flights[key] = flight
        flight.task.add_done_callback(lambda _task: self._end(key, flight))
        return flight

    def _end(self, key: str, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if flight.task.done() and not flight.task.cancelled():
            flight.task.exception()  # looked at, or asyncio complains where all who waited have gone

    async def _find_or_compute(self, key: str, parts: KeyParts, compute: Compute) -> Answer:
        kept = await self._backend.get(key)
        if kept is not None:
            self._memory.put(key, kept, min(_COPIED_SECONDS, self._seconds))
            return kept
        async with self._snapshot() as connection:
            state = await read_present_state(connection)
            answer = await compute(connection, state)
        if answer.data_version != state.version:
            raise ValueError(f"an answer of version {answer.data_version} was computed from version {state.version}")
        if state.is_settled:
            # Another key than that which was asked for where a version was published meanwhile.
            self._keep(key_of(parts, state), answer)
        return answer

    def _keep(self, key: str, answer: Answer) -> None:
        """Keep an answer without letting anybody wait for the backend."""
        self._memory.put(key, answer, self._seconds)
        task = asyncio.create_task(self._backend.put(key, answer, self._seconds))
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)
