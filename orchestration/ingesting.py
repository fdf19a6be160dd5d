"""`footfall ingest`: the very job that Dagster runs, in this process, with a progress bar.

The run is written to Dagster's storage like any other, so it appears in the web page, and the sensor leaves its files
alone. Where nothing runs, PostgreSQL is started for the time it takes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from rich.console import Console

from orchestration.places import LOCATION, code_socket, dagster_environment, make_places
from orchestration.problems import Problem
from orchestration.progress import ProgressBar
from orchestration.server import Server
from orchestration.settings import Settings, set_environment
from validation.landing import LandingFolder, Waiting, free_path, shown
from validation.outcomes import Outcome

if TYPE_CHECKING:
    from dagster import DagsterInstance
    from dagster._core.remote_origin import RemoteJobOrigin

    from warehouse.connections import Warehouse

LOADED: Final = 0
FAILED: Final = 1
NOTHING_NEW: Final = 3
QUARANTINED: Final = 4


class IngestProblem(Problem):
    """Nothing could be ingested; the message says why."""


@dataclass
class Ingested:
    """What came of it: the outcome of each file, and what went wrong besides."""

    outcomes: list[Outcome] = field(default_factory=list)
    error: str | None = None

    @property
    def exit_code(self) -> int:
        """0 loaded, 1 an error, 3 nothing new, 4 a file was quarantined; the worst counts."""
        states = {outcome.state for outcome in self.outcomes}
        if self.error is not None:
            return FAILED
        if "quarantined" in states:
            return QUARANTINED
        return LOADED if "loaded" in states else NOTHING_NEW


def ingest_files(settings: Settings, files: Sequence[Path], out: Console) -> int:
    """Ingest files, or what waits in the landing folder; print the verdicts and return the exit code.

    Raises `IngestProblem` for a file that cannot be read, before anything is done.
    """
    make_places(settings)
    folder = LandingFolder(settings.landing, settings.settle_seconds)
    _refuse_unreadable(files)
    out.print("Starting …", markup=False)
    with Server(settings).in_use() as warehouse:
        set_environment(dagster_environment(settings, warehouse))
        with ProgressBar(out) as bar:
            result = _run(settings, warehouse, folder, files, bar)
    for outcome in result.outcomes:
        out.print(outcome.sentence, markup=False)
        if outcome.moved_to is not None:
            out.print(f"  See {outcome.moved_to}.report.md", markup=False)
    if result.error is not None:
        out.print(result.error, markup=False)
    elif not result.outcomes:
        out.print(f"Nothing waits in {settings.landing}.", markup=False)
    return result.exit_code


def _refuse_unreadable(files: Sequence[Path]) -> None:
    for file in files:
        if not file.is_file():
            raise IngestProblem(f"{file} is not a file{'' if file.exists() else ': there is nothing of that name'}.")
        if not os.access(file, os.R_OK):
            raise IngestProblem(f"{file} cannot be read: permission denied.")


def _run(
    settings: Settings, warehouse: Warehouse, folder: LandingFolder, files: Sequence[Path], bar: ProgressBar
) -> Ingested:
    import dagster as dg
    from dagster._core.definitions.job_base import InMemoryJob
    from dagster._core.execution.api import execute_run

    from orchestration.definitions import build_definitions
    from orchestration.jobs import INGEST, ingest_config
    from orchestration.resources import Footfall

    result = Ingested()
    bar.on_file_done = result.outcomes.append
    footfall = Footfall(settings, lambda _log: bar, warehouse, quiet=True)
    job = build_definitions(resource_overrides={"footfall": footfall}).resolve_job_def(INGEST)
    with dg.DagsterInstance.get() as instance, Dropping(folder) as dropping:
        names = [dropping.prepare(file) for file in files] or [waiting.shown_name for waiting in folder.settled()]
        # First the run is written down, then the files appear: the sensor sees that somebody takes them already.
        run = instance.create_run_for_job(
            job_def=job,
            run_config=ingest_config(names, quiet=True),
            tags={"footfall/files": str(len(names)), "footfall/started_by": "footfall ingest"},
            remote_job_origin=job_origin(settings, INGEST),
        )
        dropping.finish()
        if not execute_run(InMemoryJob(job), run, instance).success:
            result.error = _what_failed(instance, run.run_id)
    return result


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


def job_origin(settings: Settings, job: str) -> RemoteJobOrigin:
    """Return what ties a run to the code location that the web page shows."""
    from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

    location = GrpcServerCodeLocationOrigin(host="localhost", socket=str(code_socket(settings)), location_name=LOCATION)
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), job)


def _what_failed(instance: DagsterInstance, run_id: str) -> str:
    """Return the first failure's own words."""
    from dagster import DagsterEventType

    for entry in instance.all_logs(run_id, of_type={DagsterEventType.STEP_FAILURE, DagsterEventType.RUN_FAILURE}):
        data: Any = entry.dagster_event.event_specific_data if entry.dagster_event else None
        told = getattr(data, "user_failure_data", None)
        if told is not None and told.description:
            return str(told.description)
        error = getattr(data, "error", None)
        if error is not None:
            return str((error.cause or error).message).strip()
    return f"The run {run_id} did not succeed; the web page shows why."
