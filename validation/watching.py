"""What happens in the landing folder, told by the kernel (inotify) as it happens.

It only saves waiting: whoever looks by himself now and then misses nothing where the kernel tells nothing (a network
file system, another system than Linux, no watch left). What lies there and what of it is finished, `landing` says.

Two things are told: that something happened, and which files were renamed into place. A listing cannot tell the
latter unless it fell between the writing and the renaming, and waiting for a file to settle takes seconds.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from validation.landing import REJECTED, is_temporary

_MOVED_FROM: Final = 0x40
_MOVED_TO: Final = 0x80
_CREATE: Final = 0x100
_DELETE: Final = 0x200
_CLOSE_WRITE: Final = 0x8
_MOVE_SELF: Final = 0x800
_IGNORED: Final = 0x8000
_IS_FOLDER: Final = 0x4000_0000
_ONLY_FOLDERS: Final = 0x0100_0000
_NO_LINKS: Final = 0x0200_0000
_ASKED_FOR: Final = _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _CLOSE_WRITE | _MOVE_SELF | _ONLY_FOLDERS | _NO_LINKS
_EVENT: Final = struct.Struct("iIII")
_AT_ONCE: Final = 64 * 1024
# Both halves of a rename come one after the other; a first half without a second went out of the folder.
_PENDING: Final = 1000


class FolderWatch:
    """The landing folder and the folders of its sites, watched as long as this object lives.

    `problem` says why the kernel tells nothing, None while it does. Not to be used by two threads at once.
    """

    def __init__(self, folder: Path) -> None:
        self.problem: str | None = None
        self._folder = folder
        self._descriptor: int | None = None
        self._libc: Any = None
        self._folders: dict[int, Path] = {}
        self._left: dict[int, str] = {}
        self._in_place: set[Path] = set()
        self._watch()

    def wait(self, seconds: float) -> bool:
        """Wait until something happens in the folder, but no longer than this; return whether anything did."""
        self._watch()
        if self._descriptor is None or self.problem is not None:
            select.select([], [], [], max(seconds, 0))
            return False
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        if not poll.poll(max(seconds, 0) * 1000):
            return False
        self._hear()
        return True

    def renamed_into_place(self) -> list[str]:
        """Return, once, the files that were renamed into place, as `LandingFolder.ready` remembers files.

        They had a temporary name before, or came from outside, whole in either case.
        """
        if self._descriptor is not None:
            self._hear()
        found = []
        for path in self._in_place:
            with suppress(OSError):
                status = path.lstat()
                found.append(f"{status.st_dev}:{status.st_ino}")
        self._in_place.clear()
        return found

    def close(self) -> None:
        """Watch no more."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None
        self._folders.clear()

    def _watch(self) -> None:
        """Watch the folder and those in it, whichever are not watched yet; the kernel knows which."""
        try:
            if self._descriptor is None:
                self._libc = ctypes.CDLL(None, use_errno=True)
                self._descriptor = self._ask(self._libc.inotify_init1, os.O_CLOEXEC | os.O_NONBLOCK)
            self._folders = {self._watch_one(self._folder): self._folder}
            for folder in self._sites():
                # One that has just gone, or that we may not read: whoever looks says so.
                with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                    self._folders[self._watch_one(folder)] = folder
        except AttributeError:
            self.problem = "this system has no inotify"
        except OSError as error:
            self.problem = str(error.strerror)
        else:
            self.problem = None

    def _watch_one(self, folder: Path) -> int:
        return self._ask(self._libc.inotify_add_watch, self._descriptor, os.fsencode(folder), _ASKED_FOR)

    def _sites(self) -> Iterator[Path]:
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.name != REJECTED and entry.is_dir(follow_symlinks=False):
                    yield Path(entry.path)

    @staticmethod
    def _ask(function: Any, *arguments: Any) -> int:
        answer = int(function(*arguments))
        if answer < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return answer

    def _hear(self) -> None:
        """Take in all that has happened."""
        new_folder = False
        for number, what, cookie, name in self._events():
            folder = self._folders.get(number)
            if what & _MOVE_SELF:
                # What happens in a folder that is elsewhere by now is no business of ours.
                self._libc.inotify_rm_watch(self._descriptor, number)
            elif folder is None or what & _IGNORED:
                continue
            elif what & _IS_FOLDER:
                new_folder = new_folder or bool(what & (_CREATE | _MOVED_TO))
            elif what & _MOVED_FROM:
                self._left[cookie] = name
                self._in_place.discard(folder / name)
            elif what & _MOVED_TO:
                before = self._left.pop(cookie, None)
                if not is_temporary(name) and (before is None or is_temporary(before)):
                    self._in_place.add(folder / name)
            elif what & (_CREATE | _DELETE):
                self._in_place.discard(folder / name)
        while len(self._left) > _PENDING:
            del self._left[next(iter(self._left))]
        if new_folder:
            self._watch()

    def _events(self) -> Iterator[tuple[int, int, int, str]]:
        """Watched folder, what happened, what ties the halves of a rename together, and the name."""
        while self._descriptor is not None:
            try:
                heard = os.read(self._descriptor, _AT_ONCE)
            except BlockingIOError:
                return
            at = 0
            while at < len(heard):
                number, what, cookie, length = _EVENT.unpack_from(heard, at)
                at += _EVENT.size
                yield number, what, cookie, os.fsdecode(heard[at : at + length].rstrip(b"\0"))
                at += length
