"""Dagster's default run launcher, which in addition tells whether the process of a run still lives.

The default launcher does not support health checks: a run whose process was killed would stay "started" for ever, and
the files it covers would wait for ever. So every run writes down who it is (`begin_work`), and run monitoring
asks here. Runs started on the command line declare themselves in the same way.
"""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Final

from dagster import DagsterInstance, DagsterRun
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus

from orchestration.supervisor import Identity

WORKER_TAG: Final = "footfall/worker"
# Between its start and its own first words a run may take a little while.
SILENCE_SECONDS: Final = 60.0


def begin_work(instance: DagsterInstance, run_id: str) -> None:
    """Write down, with the run, which process executes it, and have its storage keep connections open.

    Dagster's storage opens one per event otherwise, with a password exchange each. Its one switch for a pool bears the
    web server's name.
    """
    instance.optimize_for_webserver(statement_timeout=60_000, pool_recycle=3600, max_overflow=5)
    me = Identity.of(os.getpid())
    worker = {"host": socket.gethostname(), "pid": me.pid, "created": me.created}
    instance.add_run_tags(run_id, {WORKER_TAG: json.dumps(worker)})


class WatchedRunLauncher(DefaultRunLauncher):
    """`DefaultRunLauncher` with health checks (a run that is not alive is failed by run monitoring)."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """True: see `check_run_worker_health`."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Judge a started run by the process that declared itself its worker."""
        declared = run.tags.get(WORKER_TAG)
        if declared is None:
            record = self._instance.get_run_record_by_id(run.run_id)
            started = record.start_time if record is not None else None
            if started is not None and time.time() - started > SILENCE_SECONDS:
                return CheckRunHealthResult(WorkerStatus.FAILED, "No process declared itself this run's worker.")
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        worker = json.loads(declared)
        if worker["host"] != socket.gethostname():
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"It runs on {worker['host']}.")
        if Identity(worker["pid"], worker["created"]).process() is None:
            return CheckRunHealthResult(WorkerStatus.FAILED, f"Its process ({worker['pid']}) is gone.")
        return CheckRunHealthResult(WorkerStatus.RUNNING)
