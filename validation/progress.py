"""How far a load is, told to whoever listens while it goes on.

Only telling: which stages there are, and what happens in them, is decided in `loading`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

Stage = Literal["copying", "archived", "surveying", "reading", "merging", "committing", "committed", "finished"]

_HEARTBEAT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the load of a file is: bytes of its size and rows so far, in a stage that began `seconds` ago.

    `sha256` is its content, None while that is not known.
    """

    name: str
    stage: Stage
    bytes_done: int
    bytes_total: int
    rows: int
    seconds: float
    sha256: str | None = None

    @property
    def share(self) -> float:
        """How much of the stage is done, from 0 to 1."""
        return min(self.bytes_done / self.bytes_total, 1.0) if self.bytes_total else 1.0

    @property
    def rows_per_second(self) -> float:
        """Rows per second in this stage."""
        return self.rows / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long the stage will take if it goes on like this; None where nothing can be said yet."""
        return self.seconds * (1 - self.share) / self.share if self.share > 0 else None


class Reporter:
    """Tells a listener of one load; calling it is a report. `sha256` is to be set once it is known."""

    def __init__(
        self, name: str, size_bytes: int, listener: Callable[[Progress], None], sha256: str | None = None
    ) -> None:
        self.sha256 = sha256
        self._name = name
        self._size_bytes = size_bytes
        self._listener = listener
        self._stage: Stage = "copying"
        self._stage_began = self._reported = time.monotonic()
        self._rows = 0

    def __call__(self, stage: Stage, bytes_done: int | None = None, rows: int | None = None) -> None:
        """Report; without numbers, all bytes are done, and as many rows as were reported last."""
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._stage_began = stage, self._reported
        self._reported = now
        self._rows = self._rows if rows is None else rows
        done = self._size_bytes if bytes_done is None else bytes_done
        seconds = now - self._stage_began
        self._listener(Progress(self._name, stage, done, self._size_bytes, self._rows, seconds, self.sha256))

    @contextmanager
    def heartbeat(self, stage: Stage) -> Iterator[None]:
        """Report from time to time that a stage goes on of which nobody knows how long it takes."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(_HEARTBEAT_SECONDS):
                self(stage, 0)

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
