"""An upload on the disk: written under a hidden name, then renamed into place, so that nobody reads half of it.

All of it blocks and belongs into a thread; which bytes come, and how many may, `uploads` decides.

A name that is taken is never taken over: a file may wait under it, and another upload may end at the same moment. The
kernel refuses such a rename by itself (RENAME_NOREPLACE), and the next name is tried: `x (2).csv`. A hard link would
do as well, but is no rename, by which the landing folder knows a finished file. Where the file system knows no such
rename, the name is reserved by an empty file; whoever dies at that moment leaves it, and it is quarantined as empty.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final
from uuid import uuid4

# What a killed server left behind is removed after so long.
LEFT_SECONDS: Final = 86_400.0
_OURS: Final = re.compile(r"\.[0-9a-f]{32}\.part")
_HERE: Final = -100
_NO_REPLACE: Final = 1
_UNKNOWN_TO_THE_FILE_SYSTEM: Final = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}


class Part:
    """A file that is being written.

    `remove` may come from another thread at any time, also before `open`: nothing is written or made after it.
    """

    def __init__(self, folder: Path) -> None:
        """`folder` is made where it is missing, but not the one that it lies in."""
        self._folder = folder
        self._path = folder / f".{uuid4().hex}.part"
        self._hash = hashlib.sha256()
        self._descriptor: int | None = None
        self._lock = Lock()
        self._made_folder = False
        self._is_over = False

    @property
    def sha256(self) -> str:
        """The hash of what was written so far, hexadecimal."""
        return self._hash.hexdigest()

    def open(self) -> None:
        """Make the file. Raises NotADirectoryError where the folder is none or a link, and OSError."""
        with self._lock:
            while not self._is_over and self._descriptor is None:
                self._make_folder()
                # An upload that came to nothing may take its folder away just now.
                with suppress(FileNotFoundError):
                    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                    self._descriptor = os.open(self._path, flags, 0o666)

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir()
            self._made_folder = True
        except FileExistsError:
            # The landing folder itself may be a link; one in it is not followed by whoever looks there.
            if not self._folder.is_dir() or self._folder.is_symlink():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(self._folder)) from None

    def write(self, block: bytes | bytearray) -> None:
        """Write a block at the end. Raises OSError."""
        with self._lock:
            if self._descriptor is None:
                return
            self._hash.update(block)
            left = memoryview(block)
            while left:
                left = left[os.write(self._descriptor, left) :]

    def finish(self) -> None:
        """See that all of it is on the disk. Raises OSError."""
        with self._lock:
            if self._descriptor is not None:
                os.fsync(self._descriptor)

    def place(self, name: str) -> str:
        """Rename it into place and return the name that was free. Raises OSError."""
        with self._lock:
            for free in _names(name):
                with suppress(FileExistsError):
                    _rename(self._path, self._folder / free)
                    self._is_over = True
                    self._close()
                    _sync_folder(self._folder)
                    return free
        raise AssertionError  # The names do not end.

    def remove(self) -> None:
        """Leave nothing of it, unless it is in place."""
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            self._close()
            # What cannot be removed now is a leftover; a folder stays if something else has come into it.
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
                if self._made_folder:
                    self._folder.rmdir()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None


def remove_leftovers(landing: Path, now: float | None = None) -> int:
    """Remove what uploads left that were broken off by a kill more than a day ago, and say how many there were."""
    before = (time.time() if now is None else now) - LEFT_SECONDS
    removed = 0
    for path in _parts(landing):
        with suppress(OSError):
            if path.lstat().st_mtime < before:
                path.unlink()
                removed += 1
    return removed


def _parts(landing: Path) -> Iterator[Path]:
    folders = [landing]
    for folder in folders:
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if _OURS.fullmatch(entry.name):
                    yield Path(entry.path)
                elif folder == landing and entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))


def _names(name: str) -> Iterator[str]:
    """Yield the name, then `x (2).csv`, `x (3).csv` …, as whoever drops a file by hand gets them."""
    yield name
    stem, dot, suffixes = name.partition(".")
    number = 2
    while True:
        yield f"{stem} ({number}){dot}{suffixes}"
        number += 1


def _rename(source: Path, target: Path) -> None:
    """Rename a file. Raises FileExistsError where there is something of the new name, and OSError."""
    try:
        if ctypes.CDLL(None, use_errno=True).renameat2(
            _HERE, os.fsencode(source), _HERE, os.fsencode(target), _NO_REPLACE
        ):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(target))
    except AttributeError:  # Another system than Linux.
        _rename_reserved(source, target)
    except OSError as error:
        if error.errno not in _UNKNOWN_TO_THE_FILE_SYSTEM:
            raise
        _rename_reserved(source, target)


def _rename_reserved(source: Path, target: Path) -> None:
    """Do the same where it takes two steps: reserve the name, then rename over the reservation."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    try:
        source.replace(target)
    except BaseException:
        target.unlink()
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
