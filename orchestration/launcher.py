"""Who executes a run: written down by its process, asked by run monitoring and by whoever cancels the run.

Dagster's default launcher knows neither: a run whose process was killed would stay "started" for ever, and the files it
covers would wait for ever. So every run writes down who it is (`begin_work`), those started on the command line too.
How a process is started is Dagster's default here; the way without a new interpreter is `warm_launcher.py`'s.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from dataclasses import dataclass
from typing import Final

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

from orchestration.supervisor import Identity

WORKER_TAG: Final = "footfall/worker"
# Between its start and its own first words a run may take a little while.
SILENCE_SECONDS: Final = 60.0
# How long whoever cancels a run waits for its process to say who it is.
_DECLARATION_SECONDS: Final = 3.0

_declared: tuple[int, str] | None = None


@dataclass(frozen=True)
class Worker:
    """The process that executes a run, and the machine it is on."""

    host: str
    identity: Identity

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is another machine's, of which nothing is known here."""
        return self.host != socket.gethostname()


def begin_work(instance: DagsterInstance, run_id: str) -> None:
    """Write down, once, with the run, which process executes it, and have its storage keep connections open.

    Dagster's storage opens one per event otherwise, with a password exchange each. Its one switch for a pool bears the
    web server's name.
    """
    global _declared  # noqa: PLW0603
    if _declared == (os.getpid(), run_id):
        return
    instance.optimize_for_webserver(statement_timeout=60_000, pool_recycle=3600, max_overflow=5)
    me = Identity.of(os.getpid())
    instance.add_run_tags(run_id, worker_tag(run_id, me))
    _declared = (me.pid, run_id)


def worker_tag(run_id: str, identity: Identity) -> dict[str, str]:
    """Return the tag by which a process of this machine is known as the run's worker."""
    worker = {"run": run_id, "host": socket.gethostname(), "pid": identity.pid, "created": identity.created}
    return {WORKER_TAG: json.dumps(worker)}


def worker_of(run: DagsterRun) -> Worker | None:
    """Return the process that declared itself the run's worker."""
    declared = run.tags.get(WORKER_TAG)
    if declared is None:
        return None
    worker = json.loads(declared)
    if worker.get("run", run.run_id) != run.run_id:  # Dagster copies tags to the run that tries another one again.
        return None
    return Worker(worker["host"], Identity(worker["pid"], worker["created"]))


class WatchedRunLauncher(DefaultRunLauncher):
    """`DefaultRunLauncher` with health checks, and with a way to end runs that no code server started."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """True: see `check_run_worker_health`."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Judge a started run by the process that declared itself its worker."""
        worker = worker_of(run)
        if worker is None:
            record = self._instance.get_run_record_by_id(run.run_id)
            started = record.start_time if record is not None else None
            if started is not None and time.time() - started > SILENCE_SECONDS:
                return CheckRunHealthResult(WorkerStatus.FAILED, "No process declared itself this run's worker.")
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if worker.is_elsewhere:
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"It runs on {worker.host}.")
        if worker.identity.process() is None:
            return CheckRunHealthResult(WorkerStatus.FAILED, f"Its process ({worker.identity.pid}) is gone.")
        return CheckRunHealthResult(WorkerStatus.RUNNING)

    def terminate(self, run_id: str) -> bool:
        """Have a run end as canceled; False where there is nothing to end. May be called in any process.

        A run that a code server started is ended by that; any other by a signal to the process that declared itself its
        worker, on which Dagster interrupts what it is doing.
        """
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        if GRPC_INFO_TAG in run.tags:
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        self._instance.report_run_canceling(run)
        worker = self._declared_worker(run_id)
        if worker is None:
            # Its process asks for the run's state after it has declared itself, so it will see that it is not to begin.
            self._tell(run, "No process has begun this run yet; it will end as canceled when one does.")
            return True
        pid = worker.identity.pid
        if worker.is_elsewhere:
            self._tell(run, f"It runs on {worker.host} (process {pid}), where a signal from here does not reach it.")
            return False
        if not worker.identity.signal(signal.SIGINT):
            run = self._instance.get_run_by_id(run_id)
            if run is not None and run.status == DagsterRunStatus.CANCELING:
                self._instance.report_run_canceled(run, f"Its process ({pid}) was gone already.")
        return True

    def _declared_worker(self, run_id: str) -> Worker | None:
        deadline = time.monotonic() + _DECLARATION_SECONDS
        while True:
            run = self._instance.get_run_by_id(run_id)
            worker = worker_of(run) if run is not None else None
            if worker is not None or run is None or run.is_finished or time.monotonic() > deadline:
                return worker
            time.sleep(0.1)

    def _tell(self, run: DagsterRun, sentence: str) -> None:
        self._instance.report_engine_event(sentence, run, cls=type(self))
