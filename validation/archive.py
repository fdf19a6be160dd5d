"""The archive: every file that was ever judged, under the hash of its content, and never changed again.

A file is hashed while it is copied, so that it is read once and what was hashed is what is kept. The copy is on the
disk, name and all, when `take` returns. What happens to the file in the landing folder is decided in `loading`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from validation.landing import Identity, Waiting, ending_of

_BLOCK = 2**20
_INCOMING = "incoming"


class StillBeingWritten(Exception):
    """The file is not what it was at the last look, or changed while it was copied."""


class Gone(Exception):
    """There is no such regular file any more."""


@dataclass(frozen=True, slots=True)
class Archived:
    """A file's content (hexadecimal SHA-256) and where it is kept."""

    sha256: str
    path: Path


class Archive:
    """The folder `archive/` of a Footfall; its files lie in `ab/` by the first two digits of their hash."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, waiting: Waiting, on_bytes: Callable[[int], None] = lambda _copied: None) -> Archived:
        """Copy and hash a file; `on_bytes` hears from time to time how many bytes are done.

        Raises StillBeingWritten, Gone, or OSError where the file cannot be read or the copy not be written.
        """
        with _opened(waiting) as source, self._incoming() as (partial, target):
            digest = _copy(waiting, source, target, on_bytes)
            _check_unchanged(waiting, source)
            path = self.find(digest)
            if path is None or path.stat().st_size != waiting.size_bytes:
                path = path or self.folder / digest[:2] / f"{digest}{ending_of(waiting.name) or ''}"
                path.parent.mkdir(mode=0o700, exist_ok=True)
                os.fsync(target)
                partial.rename(path)
        # Also where the copy was there already: the one who made it may have died before this.
        for folder in (path.parent, self.folder, self.folder.parent):
            _sync_folder(folder)
        return Archived(digest, path)

    def find(self, digest: str) -> Path | None:
        """Where content is kept, if it is."""
        return next(iter(sorted((self.folder / digest[:2]).glob(f"{digest}*"))), None)

    @contextmanager
    def _incoming(self) -> Iterator[tuple[Path, int]]:
        """Make a file to copy into, locked for as long as its writer lives; remove what dead writers left."""
        folder = self.folder / _INCOMING
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in folder.iterdir():
            with suppress(OSError), left.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()
        while True:
            partial = folder / uuid4().hex
            target = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(target, fcntl.LOCK_EX)
            if os.fstat(target).st_nlink:
                break
            os.close(target)  # Another process took it for a dead writer's before it was locked.
        try:
            yield partial, target
        finally:
            os.close(target)
            partial.unlink(missing_ok=True)


@contextmanager
def _opened(waiting: Waiting) -> Iterator[int]:
    """Open the file, following no link and waiting for no pipe, if it still is the one that was seen."""
    try:
        source = os.open(waiting.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO}:
            raise Gone(waiting.shown_name) from None
        raise
    try:
        status = os.fstat(source)
        if not stat.S_ISREG(status.st_mode):
            raise Gone(waiting.shown_name)
        if Identity.of(status) != waiting.identity:
            raise StillBeingWritten(waiting.shown_name)
        yield source
    finally:
        os.close(source)


def _copy(waiting: Waiting, source: int, target: int, on_bytes: Callable[[int], None]) -> str:
    digest = sha256()
    copied = 0
    while block := os.read(source, _BLOCK):
        digest.update(block)
        written = 0
        while written < len(block):
            written += os.write(target, block[written:])
        copied += len(block)
        if copied > waiting.size_bytes:
            raise StillBeingWritten(waiting.shown_name)  # perhaps for ever
        on_bytes(copied)
    return digest.hexdigest()


def _check_unchanged(waiting: Waiting, source: int) -> None:
    if Identity.of(os.fstat(source)) != waiting.identity or not is_still(waiting):
        raise StillBeingWritten(waiting.shown_name)


def is_still(waiting: Waiting) -> bool:
    """Whether the very file that was seen, unchanged, still lies where it was."""
    try:
        return Identity.of(waiting.path.lstat()) == waiting.identity
    except OSError:
        return False


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
