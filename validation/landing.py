"""What lies in the landing folder, and which of it is finished.

Looks only: nothing here opens a file. Copying is done in `archive`, judging in `loading`. Names in the folder are
hostile: they may hold newlines, quotes, leading dashes, or bytes that are no UTF-8.

What counts as dropped is a regular file that is not hidden and bears no temporary name, in the folder itself or in a
folder in it, which then names the site. Files deeper down are shown too, so that they can be refused aloud. Links,
pipes, devices, `rejected/` at the top, Markdown, companions (`x.csv.done`) and what Windows leaves behind are no drops.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import uuid4

ENDINGS = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
REJECTED = "rejected"
COMPANION = ".done"
_TEMPORARY = (".part", ".partial", ".filepart", ".crdownload", ".download", ".opdownload", ".tmp", ".temp", ".swp", "~")
_NO_DROPS = (".md", COMPANION)
_LEFT_BY_WINDOWS = ("thumbs.db", "desktop.ini")
_LONGEST_NAME = 255  # bytes


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """Which file, in which state: any write, rename or replacement changes it, whatever is done to its mtime."""

    device: int
    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        """From what stat tells."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file in the landing folder.

    `name` is its path within the folder, with `/`; bytes that are no UTF-8 stand in it as surrogates, as everywhere
    in Python. `site` is the folder it lies in, or None.
    """

    path: Path
    name: str
    site: str | None
    size_bytes: int
    modified_ns: int
    identity: Identity

    @classmethod
    def at(cls, path: Path, landing: Path) -> Waiting:
        """Look at the regular file at a path in the landing folder. Raises FileNotFoundError where there is none."""
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(f"{shown(str(path))} is not a regular file")
        name = path.relative_to(landing).as_posix()
        return cls(path, name, site_of(name), status.st_size, status.st_mtime_ns, Identity.of(status))

    @property
    def shown_name(self) -> str:
        """The name as text that a database and a page can hold."""
        return shown(self.name)

    @property
    def fingerprint(self) -> str:
        """A short text that is another one as soon as the name or anything about the file changes."""
        told = f"{self.identity}\0{self.name}".encode("utf-8", "surrogateescape")
        return blake2b(told, digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Stray:
    """Something in the landing folder that is not read, and why."""

    name: str
    reason: str


def shown(name: str) -> str:
    r"""Make valid text of a file name: a byte that is no UTF-8 is shown as `\xff`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def is_too_deep(name: str) -> bool:
    """Whether a file of this name in the landing folder lies further down than a site's folder."""
    return name.count("/") > 1


def site_of(name: str) -> str | None:
    """Tell for which site a file of this name in the landing folder is dropped."""
    folder, slash, _ = name.partition("/")
    return unicodedata.normalize("NFC", folder) if slash else None


def ending_of(name: str) -> str | None:
    """Give the supported ending of a file's name, in lower case, or None."""
    return max((ending for ending in ENDINGS if name.lower().endswith(ending)), key=len, default=None)


class LandingFolder:
    """The watched folder."""

    def __init__(self, folder: Path, settle_seconds: float = 3.0) -> None:
        """`settle_seconds`: how long a file must have stayed as it is to count as finished."""
        self.folder = folder
        self.settle_seconds = settle_seconds

    def look(self) -> list[Waiting]:
        """Every file that lies there, finished or not, those that were changed first coming first.

        Raises OSError where the folder itself cannot be read.
        """
        found = (entry for entry in self._entries() if isinstance(entry, Waiting) and _is_drop(entry.path.name))
        return sorted(found, key=lambda waiting: (waiting.modified_ns, waiting.name))

    def strays(self) -> list[Stray]:
        """List what lies there and is not going to be read although somebody may expect it to be."""
        return sorted((entry for entry in self._entries() if isinstance(entry, Stray)), key=lambda stray: stray.name)

    def ready(self, memory: Mapping[str, Any], now: float) -> tuple[list[Waiting], dict[str, Any]]:
        """Return the finished files, and what to remember for the next look (plain values, fit for JSON).

        Finished at once: what was seen under a temporary or hidden name before and has been renamed since, and what
        has a companion `NAME.done` that was made after it. Anything else: what was found exactly like this at an
        earlier look, at least `settle_seconds` ago. `now` is in seconds, from any clock that all looks share.
        """
        seen: Mapping[str, list[Any]] = memory.get("seen", {})
        unfinished = set(memory.get("unfinished", ()))
        ready: list[Waiting] = []
        remembered: dict[str, list[Any]] = {}
        temporary: list[str] = []
        for entry in self._entries():
            if not isinstance(entry, Waiting):
                continue
            key = f"{entry.identity.device}:{entry.identity.inode}"
            if is_temporary(entry.path.name):
                temporary.append(key)
            elif _is_drop(entry.path.name):
                state = [entry.size_bytes, entry.modified_ns, entry.identity.changed_ns]
                *before, since = seen.get(key, [None, now])
                if before != state or since > now:
                    since = now
                if key in unfinished or _has_companion(entry):
                    since = now - self.settle_seconds
                remembered[key] = [*state, since]
                if now - since >= self.settle_seconds:
                    ready.append(entry)
        ready.sort(key=lambda waiting: (waiting.modified_ns, waiting.name))
        return ready, {"seen": remembered, "unfinished": temporary}

    def settled(self) -> list[Waiting]:
        """Return the finished files, found by two looks with a pause between them."""
        _, memory = self.ready({}, time.monotonic())
        if memory["seen"]:
            time.sleep(self.settle_seconds)
        return self.ready(memory, time.monotonic())[0]

    def drop(self, source: Path, site: str | None = None) -> Waiting:
        """Copy a file from elsewhere into the folder, so that it appears there whole; an older drop is never replaced.

        Raises OSError where the file cannot be read or the copy not be written, ValueError for an impossible site.
        """
        if site is not None and (site in {"", ".", "..", REJECTED} or "/" in site or site.startswith(".")):
            raise ValueError(f"'{site}' cannot be the name of a site's folder.")
        folder = self.folder if site is None else self.folder / site
        folder.mkdir(exist_ok=True)
        partial = folder / f".{uuid4().hex}.part"
        try:
            shutil.copyfile(source, partial)
            target = free_path(folder / source.name)
            partial.rename(target)
        finally:
            partial.unlink(missing_ok=True)
        return Waiting.at(target, self.folder)

    def _entries(self) -> Iterator[Waiting | Stray]:
        """Every regular file that is not ours, and what is neither file nor folder."""
        yield from self._entries_in(self.folder, "")

    def _entries_in(self, folder: Path, prefix: str) -> Iterator[Waiting | Stray]:
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            if not prefix:
                raise
            yield Stray(shown(prefix.rstrip("/")), f"This folder cannot be read: {error.strerror}.")
            return
        for entry in entries:
            name = prefix + entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    if not entry.name.startswith(".") and name != REJECTED:
                        yield from self._entries_in(Path(entry.path), name + "/")
                elif entry.is_file(follow_symlinks=False):
                    yield Waiting.at(Path(entry.path), self.folder)
                elif entry.is_symlink():
                    yield Stray(shown(name), "It is a link; links are not followed. Drop the file itself.")
                else:
                    yield Stray(shown(name), "It is no regular file (a pipe, socket or device).")
            except FileNotFoundError:
                continue


def free_path(path: Path) -> Path:
    """Return the path, or, where something lies there already, the first of `x (2).csv`, `x (3).csv` … that is free."""
    stem, dot, suffixes = path.name.partition(".")
    number = 1
    while os.path.lexists(path):
        number += 1
        path = path.with_name(fitting(stem, f" ({number}){dot}{suffixes}"))
    return path


def fitting(stem: str, suffix: str) -> str:
    """Join the two to one file name; the stem is cut where that would be longer than a file system allows."""
    return os.fsdecode(os.fsencode(stem)[: max(_LONGEST_NAME - len(os.fsencode(suffix)), 0)]) + suffix


def is_temporary(name: str) -> bool:
    """Whether a file of this name is hidden, or says that it is not finished."""
    return name.startswith((".", "~$")) or name.lower().endswith(_TEMPORARY)


def _is_drop(name: str) -> bool:
    lowered = name.lower()
    return not (is_temporary(name) or lowered.endswith(_NO_DROPS) or lowered in _LEFT_BY_WINDOWS)


def companion_of(path: Path) -> Path:
    """Where a file would say that it is finished."""
    return path.with_name(path.name + COMPANION)


def _has_companion(waiting: Waiting) -> bool:
    """Whether somebody says that the file is finished, and has said so after its last change."""
    try:
        status = companion_of(waiting.path).lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_ctime_ns >= waiting.identity.changed_ns
