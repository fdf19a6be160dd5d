"""Log files of ours: a JSON object per line, bounded in size, for any number of processes that write at once.

What is written, and where from, is `log_writer.py`'s (what the stack's parts print) and `event_log.py`'s (what became
of files and builds). Nothing here knows either.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

LIMIT_BYTES: Final = 10_000_000
# The one that is written to and those before it (`x.log`, `x.log.1` … `x.log.4`).
KEPT: Final = 5

Level = Literal["debug", "info", "warning", "error", "critical"]


@dataclass(frozen=True)
class LogFile:
    """One log and the full ones before it. A line is written whole or not at all, and never to a file that was full."""

    path: Path
    limit_bytes: int = LIMIT_BYTES
    kept: int = KEPT

    def write(self, *records: Mapping[str, Any]) -> None:
        """Append records, a line each. Raises OSError where they cannot be written; then none of them is."""
        lines = b"".join(map(line, records))
        with self._opened() as (descriptor, size):
            written = 0
            try:
                while written < len(lines):
                    written += os.write(descriptor, lines[written:])
            except OSError:
                os.ftruncate(descriptor, size)
                raise

    @contextmanager
    def _opened(self) -> Iterator[tuple[int, int]]:
        """Have the file open and to ourselves; a full one is put aside first."""
        while True:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                there = os.fstat(descriptor)
                with suppress(FileNotFoundError):
                    # Another process may have put it aside while this one waited.
                    if os.path.samestat(there, self.path.stat()):
                        if there.st_size < self.limit_bytes:
                            yield descriptor, there.st_size
                            return
                        self._put_aside()
            finally:
                os.close(descriptor)

    def _put_aside(self) -> None:
        for number in range(self.kept - 1, 0, -1):
            with suppress(FileNotFoundError):
                self._older(number - 1).replace(self._older(number))

    def _older(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}") if number else self.path


def record(part: str, level: Level, message: str, **more: Any) -> dict[str, Any]:
    """Return a record as all of our logs have it: when, who, how grave, what, and whatever else there is to it."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"time": now, "part": part, "level": level, **more, "message": message}


def line(record: Mapping[str, Any]) -> bytes:
    r"""Return a record as a line of plain ASCII: whatever a text holds, it neither ends the line nor moves a cursor.

    A lone surrogate, which many readers of JSON refuse, is shown as `\udcff` is, by its number.
    """
    told = {name: _whole(value) if isinstance(value, str) else value for name, value in record.items()}
    return json.dumps(told, default=str).replace("\x7f", "\\u007f").encode("ascii") + b"\n"


def _whole(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
