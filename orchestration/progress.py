"""How a run shows on a terminal: what it says, line by line, and a bar with rows per second, percent and time left."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn

from orchestration.assets.run_log import RunLog, progress_line
from validation.outcomes import Outcome
from validation.progress import Progress as LoadProgress

if TYPE_CHECKING:
    from dagster import DagsterLogManager

EVERY_SECONDS: Final = 5.0


class ProgressBar:
    """A listener that draws, and keeps what it heard. Where the output is no terminal it writes a line now and then."""

    def __init__(self, out: Console) -> None:
        self.outcomes: list[Outcome] = []
        self.problems: list[str] = []
        self._log: RunLog | None = None
        # Dagster redirects the standard streams while an op runs; the bar keeps the terminal to itself.
        stream = os.fdopen(os.dup(out.file.fileno()), "w", encoding="utf-8")
        self._out = Console(file=stream, highlight=False, soft_wrap=True)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[rows]}"),
            TimeRemainingColumn(),
            console=self._out,
            transient=True,
            disable=not self._out.is_terminal,
        )
        self._task: TaskID | None = None
        self._next: float | None = None

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()
        self._out.file.close()

    def beside(self, log: DagsterLogManager) -> ProgressBar:
        """Have the run's log hear everything too."""
        self._log = RunLog(log)
        return self

    def on_progress(self, progress: LoadProgress) -> None:
        """Move the bar."""
        if self._log is not None:
            self._log.on_progress(progress)
        if self._out.is_terminal:
            if self._task is None:
                self._task = self._bar.add_task("", total=1.0, rows="")
            self._bar.update(
                self._task,
                description=f"{progress.name}: {progress.stage}",
                total=1.0 if progress.bytes_done else None,
                completed=progress.share,
                rows=f"{progress.rows:,} rows, {progress.rows_per_second:,.0f} rows/s"
                if progress.rows and progress.bytes_done
                else "",
            )
            return
        now = time.monotonic()
        self._next = self._next or now + EVERY_SECONDS
        if now >= self._next:
            self._next = now + EVERY_SECONDS
            self._out.print(progress_line(progress), markup=False)

    def on_outcome(self, outcome: Outcome) -> None:
        """Finish the bar of this file, and say what became of it."""
        if self._log is not None:
            self._log.on_outcome(outcome)
        self.outcomes.append(outcome)
        self._drop()
        self._say(outcome.sentence)
        if outcome.moved_to is not None:
            self._say(f"  See {outcome.moved_to}.report.md")

    def on_problem(self, sentence: str) -> None:
        """Say why nothing could be done with a file."""
        if self._log is not None:
            self._log.on_problem(sentence)
        self.problems.append(sentence)
        self._drop()
        self._say(sentence)

    def on_note(self, sentence: str) -> None:
        """Say it."""
        if self._log is not None:
            self._log.on_note(sentence)
        self._say(sentence)

    def on_model(self, name: str) -> None:
        """Show which model was brought up to date."""
        if self._task is None:
            self._task = self._bar.add_task("", total=None, rows="")
        self._bar.update(self._task, description=f"Marts: {name}", total=None)

    def _say(self, sentence: str) -> None:
        self._out.print(sentence, markup=False)

    def _drop(self) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
