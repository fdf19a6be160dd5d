"""What a process forked by the run template does: execute one run, or report that another's process died.

The template itself never opens the storage; whatever needs it happens here, in a process of its own. How processes are
forked and reaped is `run_template.py`'s.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import traceback
from contextlib import ExitStack
from typing import Final

from orchestration.launcher import begin_work, worker_of
from orchestration.run_socket import DONE, GO, Request, answer
from orchestration.settings import PROJECT

# How long a worker waits for "go", which the launcher sends without delay.
_GO_SECONDS: Final = 10.0
# A launch that failed is reported by the launcher; this is how long its word is waited for.
_LAUNCHER_SECONDS: Final = 1.0
_NICENESS: Final = 10
_REPORT_PAUSES: Final = (0.0, 1.0, 2.0, 4.0, 8.0)


def work(request: Request, connection: socket.socket) -> int:
    """Execute a run as Dagster's default launcher has it executed; return the process's exit code.

    Interrupts count from the first moment: one that comes early is kept until the run can end as canceled.
    """
    from dagster._utils.interrupts import capture_interrupts

    with capture_interrupts(), ExitStack() as held:
        hear_signals()
        answer(connection, worker=os.getpid())
        try:
            from dagster import DagsterInstance, DagsterRunStatus
            from dagster._core.instance.ref import InstanceRef
            from dagster._serdes import deserialize_value

            from orchestration.storage import hold_connections

            _draw_other_numbers()
            ref = deserialize_value(request.instance, InstanceRef)
            instance = held.enter_context(DagsterInstance.from_ref(ref))
            hold_connections(instance)
            begin_work(instance, request.run_id)
            # Only now: what is written of the run from here on keeps the worker's name.
            run = instance.get_run_by_id(request.run_id)
            assert run is not None  # noqa: S101 - `begin_work` would have said so
        except Exception as error:
            traceback.print_exc()
            answer(connection, error=f"{type(error).__name__}: {error}")
            return DONE
        answer(connection, ready=True)
        if not _heard_go(connection):
            return DONE
        connection.close()
        if run.status == DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, "It was canceled before it began.")
            return DONE
        _execute(request, instance, run)
    _give_back()
    return DONE


def report_death(run_id: str, serialized_instance: str, pid: int, code: int) -> int:
    """Report a run whose process ended before it did, unless somebody has; return this process's exit code."""
    from dagster import DagsterInstance
    from dagster._core.instance.ref import InstanceRef
    from dagster._serdes import deserialize_value

    hear_signals()
    for pause in _REPORT_PAUSES:
        time.sleep(pause)
        try:
            with DagsterInstance.from_ref(deserialize_value(serialized_instance, InstanceRef)) as instance:
                _report_death(instance, run_id, pid, code)
            return DONE
        except Exception:  # The storage may be on its way down or up again.
            traceback.print_exc()
    return 1


def hear_signals() -> None:
    """Hear signals again, which the template does not want between a fork and the first words of a new process."""
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


def _execute(request: Request, instance: object, run: object) -> None:
    # After `dagster._grpc.impl._run_in_subprocess`, event for event.
    from dagster import DagsterInstance, DagsterRun
    from dagster._core.code_pointer import ModuleCodePointer
    from dagster._core.definitions.reconstruct import ReconstructableRepository
    from dagster._core.events import EngineEventData
    from dagster._grpc.impl import core_execute_run

    from orchestration.jobs import AFTERWARDS

    assert isinstance(instance, DagsterInstance)  # noqa: S101
    assert isinstance(run, DagsterRun)  # noqa: S101
    pid = os.getpid()
    pointer = ModuleCodePointer("orchestration.preloading", "repository", str(PROJECT))
    job = ReconstructableRepository(pointer).get_reconstructable_job(request.job)
    if request.job in AFTERWARDS:
        os.nice(_NICENESS)
    instance.report_engine_event(f"Started process for run (pid: {pid}).", run, EngineEventData.in_process(pid))
    try:
        for _ in core_execute_run(job, run, instance, inject_env_vars=False):
            pass
    except BaseException:  # It has told the run's log already.
        traceback.print_exc()
    finally:
        instance.report_engine_event(f"Process for run exited (pid: {pid}).", run)


def _give_back() -> None:
    """Give the machine back the locks that dbt made in this process, which ends without Python's own clearing up."""
    if multiprocessing := sys.modules.get("multiprocessing.util"):
        multiprocessing._run_finalizers()


def _draw_other_numbers() -> None:
    """Give this process random numbers of its own where the library does not see to it after a fork itself."""
    if numbers := sys.modules.get("numpy.random"):
        numbers.seed()


def _heard_go(connection: socket.socket) -> bool:
    connection.settimeout(_GO_SECONDS)
    try:
        return connection.recv(len(GO)) == GO
    except OSError:
        return False


def _report_death(instance: object, run_id: str, pid: int, code: int) -> None:
    from dagster import DagsterInstance, DagsterRunStatus
    from dagster._utils import get_run_crash_explanation

    assert isinstance(instance, DagsterInstance)  # noqa: S101
    run = instance.get_run_by_id(run_id)
    if run is not None and run.status == DagsterRunStatus.STARTING:
        time.sleep(_LAUNCHER_SECONDS)
        run = instance.get_run_by_id(run_id)
    begun = {DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING}
    if run is None or run.status not in begun:
        return
    worker = worker_of(run)
    if worker is not None and worker.identity.pid != pid:  # It was started again meanwhile.
        return
    message = get_run_crash_explanation(f"The process ({pid}) of this run", code)
    if run.status == DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, message)
        return
    instance.report_engine_event(message, run)
    instance.report_run_failed(run, message)
