"""`footfall ingest`: which files it takes, and how those from elsewhere come into the landing folder.

How the job runs is in `running`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from rich.console import Console

from orchestration.problems import Problem
from orchestration.running import started
from orchestration.settings import Settings
from validation.landing import LandingFolder, Waiting, free_path, shown


class IngestProblem(Problem):
    """Nothing could be ingested; the message says why."""


def ingest_files(settings: Settings, files: Sequence[Path], out: Console) -> int:
    """Ingest files, or what waits in the landing folder; print the verdicts and return the exit code.

    Raises `IngestProblem` for a file that cannot be read, before anything is done.
    """
    _refuse_unreadable(files)
    folder = LandingFolder(settings.landing, settings.settle_seconds)
    with started(settings, out) as runner, Dropping(folder) as dropping:
        from orchestration.jobs import INGEST, ingest_config

        names = [dropping.prepare(file) for file in files] or [waiting.shown_name for waiting in folder.settled()]
        # First the run is written down, then the files appear: the sensor sees that somebody takes them already.
        ended = runner.run(INGEST, ingest_config(names, quiet=True), dropping.finish)
    if ended.error is None and not ended.outcomes:
        out.print(f"Nothing waits in {settings.landing}.", markup=False)
    return ended.exit_code


def _refuse_unreadable(files: Sequence[Path]) -> None:
    for file in files:
        if not file.is_file():
            raise IngestProblem(f"{file} is not a file{'' if file.exists() else ': there is nothing of that name'}.")
        if not os.access(file, os.R_OK):
            raise IngestProblem(f"{file} cannot be read: permission denied.")


class Dropping:
    """Copies files into the landing folder in two steps, so that they appear at a moment of our choosing."""

    def __init__(self, folder: LandingFolder) -> None:
        self._folder = folder
        self._copies: list[tuple[Path, Path]] = []

    def __enter__(self) -> Dropping:
        return self

    def __exit__(self, *exception: object) -> None:
        for partial, _ in self._copies:
            partial.unlink(missing_ok=True)

    def prepare(self, file: Path) -> str:
        """Copy a file from elsewhere under a hidden name; return the name under which it is going to appear."""
        absolute = Path(os.path.abspath(file))  # noqa: PTH100 - a link is to stay one
        with contextlib.suppress(FileNotFoundError, ValueError):
            return Waiting.at(absolute, self._folder.folder).shown_name
        taken = {target for _, target in self._copies}
        target = free_path(self._folder.folder / absolute.name)
        while target in taken:
            target = free_path(target.with_name(f"{uuid4().hex[:6]} {absolute.name}"))
        partial = target.with_name(f".{uuid4().hex}.part")
        self._copies.append((partial, target))
        shutil.copyfile(absolute, partial)
        return shown(target.name)

    def finish(self) -> None:
        """Let the files appear."""
        for partial, target in self._copies:
            partial.rename(target)
