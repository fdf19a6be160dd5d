"""What every place to keep answers in can do, and the guard that keeps a bad one from doing harm.

The places themselves are `in_memory`, `in_table` and `in_redis`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol, TypeVar

from serving.cache.answers import Answer

PATIENCE_SECONDS: Final = 0.25
REST_SECONDS: Final = 5.0
_LINGER_SECONDS: Final = 4.0
_LOG_SECONDS: Final = 60.0
_MOST_AT_ONCE: Final = 64
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Backend(Protocol):
    """Keeps answers for a while. It may lose any of them at any time, and may raise whatever it likes."""

    async def get(self, key: str) -> Answer | None:
        """Return what was put under the key, if it is still there."""

    async def put(self, key: str, answer: Answer, seconds: float) -> None:
        """Keep an answer for so long."""

    async def close(self) -> None:
        """Let go of connections."""


class Guarded:
    """A backend that never fails and never takes longer than a quarter of a second.

    One that failed or was too slow is left alone for some seconds; then one caller tries it, and if it answers
    everybody uses it again. The log tells of it at most once a minute.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        rest_seconds: float = REST_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` tells seconds."""
        self._backend = backend
        self._patience = patience_seconds
        self._rest = rest_seconds
        self._clock = clock
        self._resting_until: float | None = None
        self._told_at: float | None = None
        self._is_told = False
        self._under_way: set[asyncio.Task[Any]] = set()

    async def get(self, key: str) -> Answer | None:
        """Return what was put under the key; None too where the backend cannot say."""
        return await self._ask(self._backend.get(key))

    async def put(self, key: str, answer: Answer, seconds: float) -> None:
        """Keep an answer, if the backend can."""
        await self._ask(self._backend.put(key, answer, seconds))

    async def close(self) -> None:
        """Let go of the backend, whatever it is doing."""
        for task in self._under_way:
            task.cancel()
        closing = asyncio.create_task(self._backend.close())
        done, _ = await asyncio.wait({closing}, timeout=self._patience)
        if not done:
            closing.cancel()
        elif (error := closing.exception()) is not None:
            _log.info("The cache could not be closed: %s", error)

    async def _ask(self, what: Coroutine[Any, Any, _T]) -> _T | None:
        if not self._may_be_asked():
            what.close()
            return None
        task = asyncio.create_task(what)
        self._under_way.add(task)
        task.add_done_callback(self._forget)
        try:
            done, _ = await asyncio.wait({task}, timeout=self._patience)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not done:
            # It goes on for a while: a connection that takes long to make is there for who asks next.
            asyncio.get_running_loop().call_later(_LINGER_SECONDS, task.cancel)
            self._leave_alone(f"it takes longer than {self._patience:g} seconds")
            return None
        if task.cancelled():
            return None
        if (error := task.exception()) is not None:
            self._leave_alone(" ".join(str(error).split()) or type(error).__name__)
            return None
        if self._resting_until is not None:
            self._resting_until = None
            if self._is_told:
                _log.warning("The cache answers again.")
                self._is_told = False
        return task.result()

    def _may_be_asked(self) -> bool:
        if len(self._under_way) >= _MOST_AT_ONCE:
            return False
        now = self._clock()
        if self._resting_until is not None:
            if now < self._resting_until:
                return False
            self._resting_until = now + self._rest  # while this one tries, others go on without
        return True

    def _leave_alone(self, reason: str) -> None:
        now = self._clock()
        self._resting_until = now + self._rest
        if self._told_at is None or now >= self._told_at + _LOG_SECONDS:
            self._told_at = now
            self._is_told = True
            _log.warning("The cache cannot be used now, so answers are computed anew: %s.", reason.rstrip("."))

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, or asyncio complains that nobody did
