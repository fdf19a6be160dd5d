"""The state of a file as it changes, as server-sent events: `progress` each time, `done` at the end.

What a state is, `files` says. Streams are few and do not last: each asks the database twice a second.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Collection
from typing import Final

import psycopg
from fastapi.sse import format_sse_event

from serving.api.problems import Problem
from serving.files import Files, FileState

MEDIA_TYPE: Final = "text/event-stream"
# An answer that grows is neither kept nor held back by whoever is in between.
HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
MOST_STREAMS: Final = 50
ASK_SECONDS: Final = 0.5
HEARTBEAT_SECONDS: Final = 15.0
LONGEST_SECONDS: Final = 3600.0
# A browser comes back after so long by itself.
_RETRY_MILLISECONDS: Final = 3000

_log = logging.getLogger(__name__)


class FileEvents:
    """The streams of a server."""

    def __init__(
        self,
        files: Files,
        *,
        most_streams: int = MOST_STREAMS,
        ask_seconds: float = ASK_SECONDS,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        longest_seconds: float = LONGEST_SECONDS,
    ) -> None:
        self._files = files
        self._most_streams = most_streams
        self._ask_seconds = ask_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._longest_seconds = longest_seconds
        self._open = 0

    async def stream(self, file_id: str, sites: Collection[str] | None = None) -> AsyncIterator[bytes] | None:
        """Return the events of a content, to be sent as they come; None for one that is not known (see `Files.state`).

        It ends with the last state, with `LONGEST_SECONDS`, or when it is closed. Raises `Problem` 503 where too many
        are open, and `psycopg.Error` as `Files.state`.
        """
        if self._open >= self._most_streams:
            raise _too_many(self._most_streams)
        first = await self._files.state(file_id, sites)
        return None if first is None else self._events(file_id, sites, first)

    async def _events(
        self, file_id: str, sites: Collection[str] | None, state: FileState | None
    ) -> AsyncIterator[bytes]:
        self._open += 1
        try:
            yield format_sse_event(retry=_RETRY_MILLISECONDS)
            if self._open > self._most_streams:  # They were all opened at the same moment.
                return
            ends = time.monotonic() + self._longest_seconds
            told: FileState | None = None
            told_at = time.monotonic()
            while True:
                if state is not None and state != told:
                    yield _event("progress", state)
                    told, told_at = state, time.monotonic()
                if told is not None and told.is_final:
                    yield _event("done", told)
                    return
                if time.monotonic() >= ends:
                    return
                if time.monotonic() - told_at >= self._heartbeat_seconds:
                    yield format_sse_event(comment="still there")
                    told_at = time.monotonic()
                await asyncio.sleep(self._ask_seconds)
                state = await self._ask(file_id, sites)
        finally:
            self._open -= 1

    async def _ask(self, file_id: str, sites: Collection[str] | None) -> FileState | None:
        """Return the state, None where the database is away for a moment."""
        try:
            return await self._files.state(file_id, sites)
        except psycopg.OperationalError as error:
            _log.warning("The state of a file cannot be read: %s", error)
            return None


def _event(name: str, state: FileState) -> bytes:
    return format_sse_event(event=name, data_str=json.dumps(state.as_json(), ensure_ascii=False))


def _too_many(streams: int) -> Problem:
    return Problem(
        503,
        "Too many streams are open",
        f"No more than {streams} files can be watched at once. Ask for the file's state now and then instead.",
        headers={"Retry-After": "10"},
    )
