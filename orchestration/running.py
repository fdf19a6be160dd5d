"""Jobs of ours, run by a command in its own process: the very jobs that Dagster runs, with a progress bar.

A run is written to Dagster's storage like any other, so it appears in the web page, and the sensors know of it.
Where nothing runs, PostgreSQL is started for the time it takes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from orchestration.places import LOCATION, code_socket, dagster_environment, make_places
from orchestration.progress import ProgressBar
from orchestration.server import Server
from orchestration.settings import Settings, set_environment
from validation.outcomes import Outcome

if TYPE_CHECKING:
    from dagster import DagsterInstance
    from dagster._core.remote_origin import RemoteJobOrigin

    from warehouse.connections import Warehouse

DONE: Final = 0
FAILED: Final = 1
NOTHING_TO_DO: Final = 3
QUARANTINED: Final = 4
CANCELED: Final = 130  # what a shell makes of a Ctrl-C
_CANCELED: Final = (
    "The run was canceled. A file that was loaded by then stays loaded, and goes on to the marts with the next run; "
    "the others lie where they lay."
)


@dataclass
class Ended:
    """What came of a run: the outcome of each file, what could not be done with one, and what made the run fail."""

    outcomes: list[Outcome] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    error: str | None = None
    canceled: bool = False

    @property
    def exit_code(self) -> int:
        """0 done, 1 an error, 3 nothing new, 4 a file was quarantined, 130 canceled; the worst counts."""
        states = {outcome.state for outcome in self.outcomes}
        if self.canceled:
            return CANCELED
        if self.error is not None or self.problems:
            return FAILED
        if "quarantined" in states:
            return QUARANTINED
        return DONE if states & {"loaded", "retracted"} else NOTHING_TO_DO


@dataclass
class Runner:
    """Runs jobs on a running warehouse; what they say appears on the screen meanwhile."""

    settings: Settings
    warehouse: Warehouse
    out: Console

    def run(self, job: str, config: Mapping[str, Any], once_written_down: Callable[[], None] = lambda: None) -> Ended:
        """Run a job to its end. `once_written_down` is called when the sensors can see the run, before it begins."""
        import dagster as dg
        from dagster._core.definitions.job_base import InMemoryJob
        from dagster._core.errors import DagsterExecutionInterruptedError
        from dagster._core.execution.api import execute_run

        from orchestration.definitions import build_definitions
        from orchestration.resources import Footfall
        from orchestration.storage import hold_connections

        with ProgressBar(self.out) as bar, dg.DagsterInstance.get() as instance:
            hold_connections(instance)
            footfall = Footfall(self.settings, bar.beside, self.warehouse, quiet=True, interrupt_cancels=True)
            job_def = build_definitions(footfall).resolve_job_def(job)
            run = instance.create_run_for_job(
                job_def=job_def,
                run_config=config,
                tags={"footfall/started_by": f"footfall {job}"},
                remote_job_origin=job_origin(self.settings, job),
            )
            once_written_down()
            _free_pool(instance)
            succeeded = canceled = False
            try:
                succeeded = execute_run(InMemoryJob(job_def), run, instance).success
            except (KeyboardInterrupt, DagsterExecutionInterruptedError):
                canceled = True
            ended = instance.get_run_by_id(run.run_id)
            # It depends on the moment of an interrupt whether Dagster passes it on.
            canceled = canceled or (ended is not None and ended.status == dg.DagsterRunStatus.CANCELED)
            error = _CANCELED if canceled else None if succeeded else _what_failed(instance, run.run_id)
        if error is not None:
            self.out.print(error, markup=False)
        return Ended(bar.outcomes, bar.problems, error, canceled)


@contextlib.contextmanager
def started(settings: Settings, out: Console) -> Iterator[Runner]:
    """Have the warehouse running for a while, and this process know Dagster's storage."""
    make_places(settings)
    out.print("Starting …", markup=False)
    with Server(settings).in_use() as warehouse:
        set_environment(dagster_environment(settings, warehouse))
        yield Runner(settings, warehouse, out)


def _free_pool(instance: DagsterInstance) -> None:
    """Take the models' pool from runs that have ended or whose process is gone.

    A run that was interrupted leaves it taken. Dagster's daemon frees it after a while, but only where one runs.
    """
    from orchestration.assets.models import POOL
    from orchestration.launcher import worker_of

    info = instance.event_log_storage.get_concurrency_info(POOL)
    for run_id in {one.run_id for one in info.claimed_slots} | {one.run_id for one in info.pending_steps}:
        run = instance.get_run_by_id(run_id)
        worker = worker_of(run) if run is not None else None
        is_gone = worker is not None and not worker.is_elsewhere and worker.identity.process() is None
        if run is None or run.is_finished or is_gone:
            instance.event_log_storage.free_concurrency_slots_for_run(run_id)


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
