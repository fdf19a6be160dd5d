"""How an upload comes into the landing folder: in pieces, within bounds of memory and disk, and whole or not at all.

Which names may be is in `upload_names`, what happens on the disk in `upload_parts`, what became of the file in `files`.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import psycopg

from serving.api.problems import FieldError, Problem
from serving.upload_names import checked_name, checked_site
from serving.upload_parts import Part, remove_leftovers

MOST_BYTES: Final = 2 * 2**30
IDLE_SECONDS: Final = 300.0
_BLOCK: Final = 2**20
_LOOK_EVERY: Final = 64 * 2**20
_GIGABYTE: Final = 1_000_000_000
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}

# Of their own: a disk that is slow keeps nobody else from threads.
_THREADS: Final = 8

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Received:
    """A file that was received: its content (hexadecimal SHA-256), where it lies in the landing folder, since when."""

    sha256: str
    file_name: str
    site_id: str | None
    size_bytes: int
    received_at: datetime


Record = Callable[[Received], Awaitable[None]]


async def _nothing(_received: Received) -> None:
    """Record nothing."""


class Uploads:
    """The landing folder, for those who upload."""

    def __init__(
        self,
        landing: Path,
        *,
        most_bytes: int = MOST_BYTES,
        min_free_bytes: int = _GIGABYTE,
        idle_seconds: float = IDLE_SECONDS,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        """`min_free_bytes` stay free on the disk; for `idle_seconds` an upload may bring nothing before it is given up.

        `free_bytes` tells how much room is left on the disk of a folder.
        """
        self._landing = landing
        self._most_bytes = most_bytes
        self._min_free_bytes = min_free_bytes
        self._idle_seconds = idle_seconds
        self._clock = clock
        self._free_bytes = free_bytes
        # What uploads have announced and not written yet: those that go on together must fit together.
        self._to_come: dict[Part, int] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="upload")

    def remove_leftovers(self) -> int:
        """Remove what a killed server left behind, at the start; return how many files that were."""
        return remove_leftovers(self._landing)

    async def receive(
        self,
        body: AsyncIterator[bytes],
        name: str,
        site_id: str | None = None,
        *,
        announced: int | None = None,
        record: Record = _nothing,
    ) -> Received:
        """Receive a file, and have it appear in the landing folder, where it is taken at once.

        `announced` is the length that the request states, if it does. `record` is awaited before the file appears, so
        that nobody hears of a file that is not recorded, and once more if it had to get another name; should it fail
        the first time, nothing is received.

        Raises `Problem`: 400 for a name or site that cannot be, an empty body or one of another length than announced,
        408 for one that does not go on, 409 for a site that has no folder of its own, 413 for too many bytes, 503 where
        the folder cannot be written, 507 for too little room. Whatever is raised, `body`'s own errors included,
        nothing is left behind.
        """
        checked_name(name)
        folder = self._landing if site_id is None else self._landing / (site_id := checked_site(site_id))
        if announced == 0:
            raise _empty()
        self._refuse_length(announced or 0)
        part = Part(folder)
        self._to_come[part] = announced or 0
        try:
            await self._demand_room(part)
            await self._on_disk(part.open)
            size = await self._write(body, part, announced)
            await self._on_disk(part.finish)
            received = Received(part.sha256, name, site_id, size, self._clock())
            await record(received)
            placed = replace(received, file_name=await self._on_disk(part.place, name))
        finally:
            del self._to_come[part]
            # Shielded: the thread does this even where the request is not waited for any more.
            await asyncio.shield(self._in_thread(part.remove))
        if placed != received:
            try:
                await record(placed)
            except Exception:
                # It is received all the same; once it is loaded, the ledger knows its name.
                _log.exception("The name %r of an upload could not be recorded.", placed.file_name)
        return placed

    async def _write(self, body: AsyncIterator[bytes], part: Part, announced: int | None) -> int:
        """Write what comes and return how many bytes that were."""
        size, looked_at = 0, 0
        gathered = bytearray()
        while (chunk := await self._next(body)) is not None:
            size += len(chunk)
            self._refuse_length(size)
            if announced is not None and size > announced:
                raise _other_length(size, announced)
            gathered += chunk
            if len(gathered) >= _BLOCK:
                block, gathered = gathered, bytearray()
                await self._on_disk(part.write, block)
                self._to_come[part] = max((announced or 0) - size, 0)
                if size - looked_at >= _LOOK_EVERY:
                    looked_at = size
                    await self._demand_room(part)
        await self._on_disk(part.write, gathered)
        if announced is not None and size != announced:
            raise _other_length(size, announced)
        if not size:
            raise _empty()
        return size

    async def _next(self, body: AsyncIterator[bytes]) -> bytes | None:
        try:
            async with asyncio.timeout(self._idle_seconds):
                return await anext(body, None)
        except TimeoutError:
            raise Problem(
                408,
                "The upload did not go on",
                f"Nothing came for {self._idle_seconds:g} seconds; nothing was kept. Upload the file again.",
                headers={"Connection": "close"},
            ) from None

    def _refuse_length(self, size: int) -> None:
        if size > self._most_bytes:
            most = f"{self._most_bytes / 2**30:g} GiB"
            raise Problem(
                413,
                "The file is too large",
                f"A file may have {most} ({self._most_bytes:,} bytes) at most; nothing was kept. Split it, pack it "
                "with gzip, or put it into the landing folder by hand.",
                errors=[FieldError("body", "It is too large.", f"at most {self._most_bytes} bytes")],
            )

    async def _demand_room(self, part: Part) -> None:
        """Raise `Problem` 507 where what is still to come would leave less free on the disk than there must be."""
        free = await self._on_disk(self._free_bytes, self._landing)
        others = sum(left for other, left in self._to_come.items() if other is not part)
        if free < (need := self._to_come[part]) + others + self._min_free_bytes:
            parts = {
                "for this file": need,
                "for others that are being uploaded": others,
                "to stay free (the setting min_free_gb)": self._min_free_bytes,
            }
            wanted = [f"{_gigabytes(size)} GB {what}" for what, size in parts.items() if size]
            raise Problem(
                507,
                "There is too little room",
                f"{_gigabytes(free)} GB are free on the disk with the landing folder, where {' and '.join(wanted)} are "
                "needed; nothing was kept. Have room made, then upload the file again.",
            )

    async def _on_disk(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """Do in a thread what may take its time."""
        try:
            return await self._in_thread(work, *arguments)
        except NotADirectoryError:
            raise Problem(
                409, "There can be no such site", "In the landing folder this name is taken by a link or a file."
            ) from None
        except OSError as error:
            if error.errno in _FULL:
                detail = "The disk with the landing folder is full; nothing was kept. Have room made, then try again."
                raise Problem(507, "There is too little room", detail) from None
            detail = f"The landing folder cannot be written ({error.strerror}); nothing was kept."
            raise Problem(503, "Nothing can be received now", detail, headers={"Retry-After": "30"}) from error

    def _in_thread(self, work: Callable[..., _T], *arguments: Any) -> asyncio.Future[_T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


def record_in(
    connect: Callable[[], AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]], key_id: int | None
) -> Record:
    """Return what records an upload in `serving.uploads`; `connect()` lends a psycopg AsyncConnection.

    Content that was uploaded before keeps one row, that of its last upload.
    """

    async def record(received: Received) -> None:
        async with connect() as connection, connection.transaction():
            await connection.execute(
                """
                insert into serving.uploads (upload_id, file_name, site_id, size_bytes, received_at, key_id)
                values (%s, %s, %s, %s, %s, %s)
                on conflict (upload_id) do update set
                    file_name = excluded.file_name, site_id = excluded.site_id, size_bytes = excluded.size_bytes,
                    received_at = excluded.received_at, key_id = excluded.key_id
                """,
                [
                    received.sha256,
                    received.file_name,
                    received.site_id,
                    received.size_bytes,
                    received.received_at,
                    key_id,
                ],
            )

    return record


def _empty() -> Problem:
    return Problem(
        400,
        "The file is empty",
        "The request's body has no bytes in it; it must be the file itself.",
        errors=[FieldError("body", "It is empty.", "the bytes of the file")],
    )


def _other_length(size: int, announced: int) -> Problem:
    how = f"{size:,}" if size < announced else "more"
    return Problem(
        400,
        "The file did not come whole",
        f"{announced:,} bytes were announced, but {how} came; nothing was kept. Upload the file again.",
        errors=[FieldError("Content-Length", "The body has another length.", "the length of the body in bytes")],
    )


def _gigabytes(size: int) -> str:
    return f"{size / _GIGABYTE:,.2f}".rstrip("0").rstrip(".")
