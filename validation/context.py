"""What every load and every correction needs: where things are, by which rules files are judged, a connection.

How a fault of ours or of the machine is told is here too. What is done with all of it is decided in `loading` and
`corrections`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from validation.archive import Archive
from validation.cameras import Camera
from validation.profiles import Profile
from validation.progress import Progress
from validation.rules import LoadingRules
from warehouse.connections import Role, Warehouse


@dataclass(frozen=True)
class LoadContext:
    """What a load needs besides the file: where things are, and by which rules it is judged.

    `on_progress` may be called from another thread, but never twice at a time.
    """

    warehouse: Warehouse
    home: Path
    landing: Path
    rules: LoadingRules
    profiles: Sequence[Profile]
    cameras: Sequence[Camera]
    run_id: str
    on_progress: Callable[[Progress], None] = lambda _progress: None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    @property
    def archive(self) -> Archive:
        """Where originals are kept."""
        return Archive(self.home / "archive")


class LoadingFailed(Exception):
    """A file could not be loaded or corrected for no fault of its own; everything is as it was before."""

    def __init__(self, sentence: str, advice: str) -> None:
        super().__init__(f"{sentence} {advice}")
        self.sentence = sentence
        self.advice = advice


def connect(warehouse: Warehouse, role: Role) -> psycopg.Connection[Any]:
    """Connect as one who changes what is loaded; every statement commits by itself outside `transaction` blocks."""
    connection = warehouse.connect(role, autocommit=True)
    for setting in (
        "synchronous_commit = on",  # a file is removed once its rows are committed
        "client_connection_check_interval = '1s'",  # the locks of a killed process go with it
        "work_mem = '256MB'",
        "temp_buffers = '64MB'",
        "timezone = 'UTC'",
    ):
        connection.execute(f"set {setting}")
    return connection


def cause(error: Exception) -> str:
    """Tell an error of ours or of the machine in one sentence."""
    first_line = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__


def is_disk_full(error: Exception) -> bool:
    """Whether a disk is full, ours or PostgreSQL's: no fault of a file, and over once there is room."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    return isinstance(error, psycopg.errors.DiskFull)


def failure(what: str, error: Exception, consequence: str) -> LoadingFailed:
    """Tell what could not be done, why, what to do about it and what comes of it (`consequence`, a sentence)."""
    advice = f"{consequence} Run 'footfall doctor' to see what is wrong."
    if is_disk_full(error):
        advice = f"The disk is full: make room. {consequence}"
    elif isinstance(error, PermissionError):
        advice = f"Give Footfall the right to read it. {consequence}"
    elif isinstance(error, psycopg.OperationalError):
        advice = f"PostgreSQL cannot be reached or gave up. {consequence}"
    return LoadingFailed(f"{what}. {cause(error)}.", advice)
