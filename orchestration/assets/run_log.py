"""How a run tells of itself in its log; a load in progress does so in a line now and then, not with every chunk."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from validation.outcomes import Outcome
from validation.progress import Progress

if TYPE_CHECKING:
    from dagster import DagsterLogManager

EVERY_SECONDS: Final = 4.0


class RunLog:
    """A listener that writes to the run's log."""

    def __init__(self, log: DagsterLogManager) -> None:
        self._log = log
        self._next: float | None = None

    def on_progress(self, progress: Progress) -> None:
        """Write a line every few seconds; a load that is done by then needs none."""
        now = time.monotonic()
        self._next = self._next or now + EVERY_SECONDS
        if now >= self._next:
            self._next = now + EVERY_SECONDS
            self._log.info(progress_line(progress))

    def on_outcome(self, outcome: Outcome) -> None:
        """Write what became of a file."""
        self._log.info(outcome.sentence)

    def on_problem(self, sentence: str) -> None:
        """Write why nothing could be done with a file."""
        self._log.warning(sentence)

    def on_note(self, sentence: str) -> None:
        """Write what else is worth knowing."""
        self._log.info(sentence)

    def on_model(self, name: str) -> None:
        """Say nothing: Dagster writes an event of its own."""


def progress_line(progress: Progress) -> str:
    """Return, say, "visits.csv: reading, 42 %, 680,000 rows, 310,000 rows/s, 3 s left"."""
    parts = [f"{progress.name}: {progress.stage}"]
    if progress.bytes_done:
        parts.append(f"{progress.share:.0%}")
    if progress.rows:
        parts.append(f"{progress.rows:,} rows")
    # Where no bytes are counted all rows are worked on at once, and nobody knows for how long.
    if progress.bytes_done and progress.rows:
        parts.append(f"{progress.rows_per_second:,.0f} rows/s")
    if progress.bytes_done and progress.seconds_left is not None:
        parts.append(f"{progress.seconds_left:.0f} s left")
    return ", ".join(parts)
