"""Dagster's daemon as it is, but prompt, and with its connections held open.

What `dagster-daemon run` does, but for what it has no setting for:

- Dagster looks after its sensors every five seconds. Here that is done as soon as a tick has ended, so that a file
  which comes while another is being asked for is seen, too;
- the queue of runs is looked at as soon as a tick has ended, which may have put a run there, and else every other
  second;
- its storage's connections are kept (`storage.py`);
- the code server's definitions are read again when it has others (`polling.py`), and else every ten minutes, not every
  minute.

All of the work on sensors, queue and the rest is done by Dagster's own code; ours is when. Where `warm` is false the
stack runs Dagster's own daemon instead.

    python -m orchestration.daemon WORKSPACE_FILE
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from threading import Event
from typing import Any, Final

import dagster as dg
from dagster._core.workspace.context import IWorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon import controller as controller_module
from dagster._daemon.controller import create_daemons_from_instance, daemon_controller_from_instance
from dagster._daemon.daemon import DaemonIterator, DagsterDaemon, SensorDaemon, SpanMarker
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._daemon.utils import DaemonErrorCapture
from dagster._utils.interrupts import capture_interrupts, setup_interrupt_handlers

from orchestration.polling import ask_seldom
from orchestration.storage import hold_connections

# While ticks are under way, one of another sensor may become due.
BUSY_SECONDS: Final = 4.0
# While none is, one will be within a second: a sensor that found something rests for that long.
RESTING_SECONDS: Final = 0.25
AFTER_ERROR_SECONDS: Final = 5.0
# Runs that no sensor asked for (the web page's, a schedule's) wait for no tick.
QUEUE_SECONDS: Final = 2.0
# Changed definitions are noticed without (`polling.py`).
REREAD_SECONDS: Final = 600


class PromptSensors(SensorDaemon):
    """Looks after the sensors whenever one of their ticks has ended, and rings then."""

    def __init__(self, settings: Any, ring: Event) -> None:
        super().__init__(settings)
        if self._threadpool_executor is None:
            raise RuntimeError("Sensors that wait need threads: see `sensors` in dagster.yaml.")
        self._ring = ring

    def core_loop(
        self, workspace_process_context: IWorkspaceProcessContext[Any], shutdown_event: Event
    ) -> DaemonIterator:
        """As Dagster's, but for the pauses."""
        ticks: dict[str, Future[Any]] = {}
        heard_of: set[Future[Any]] = set()
        while True:
            yield SpanMarker.START_SPAN
            try:
                yield from execute_sensor_iteration(
                    workspace_process_context,
                    self._logger,
                    threadpool_executor=self._threadpool_executor,
                    submit_threadpool_executor=self._submit_threadpool_executor,
                    sensor_tick_futures=ticks,
                )
            except Exception:
                yield DaemonErrorCapture.process_exception(
                    exc_info=sys.exc_info(), logger=self._logger, log_message="SensorDaemon caught an error"
                )
                shutdown_event.wait(AFTER_ERROR_SECONDS)
            yield SpanMarker.END_SPAN
            if under_way := [tick for tick in ticks.values() if not tick.done()]:
                wait(under_way, BUSY_SECONDS, FIRST_COMPLETED)
            else:
                shutdown_event.wait(RESTING_SECONDS)
            ended = {tick for tick in ticks.values() if tick.done()}
            if ended - heard_of:
                self._ring.set()
            heard_of = ended
            yield None


class PromptQueue(QueuedRunCoordinatorDaemon):
    """Looks at the queue every other second and whenever it hears the ring."""

    def __init__(self, ring: Event) -> None:
        super().__init__(QUEUE_SECONDS)
        self._ring = ring

    def core_loop(
        self, workspace_process_context: IWorkspaceProcessContext[Any], shutdown_event: Event
    ) -> DaemonIterator:
        """As Dagster's, but for the pauses."""
        while not shutdown_event.is_set():
            yield SpanMarker.START_SPAN
            try:
                yield from self.run_iteration(workspace_process_context)
            except Exception:
                yield DaemonErrorCapture.process_exception(
                    exc_info=sys.exc_info(), logger=self._logger, log_message="The queue could not be looked at"
                )
            yield SpanMarker.END_SPAN
            self._ring.wait(QUEUE_SECONDS)
            self._ring.clear()
            yield None


def daemons(instance: dg.DagsterInstance) -> Sequence[DagsterDaemon[Any]]:
    """Return the daemons that the instance needs; those of the sensors and of the queue are ours."""
    ring = Event()
    return [_prompt(daemon, instance, ring) for daemon in create_daemons_from_instance(instance)]


def _prompt(daemon: DagsterDaemon[Any], instance: dg.DagsterInstance, ring: Event) -> DagsterDaemon[Any]:
    if isinstance(daemon, SensorDaemon):
        with daemon:  # It is not going to work.
            return PromptSensors(instance.get_sensor_settings(), ring)
    return PromptQueue(ring) if isinstance(daemon, QueuedRunCoordinatorDaemon) else daemon


def main(workspace: Path) -> None:
    """Run until somebody asks to stop."""
    setup_interrupt_handlers()
    with contextlib.suppress(KeyboardInterrupt), capture_interrupts(), dg.DagsterInstance.get() as instance:
        hold_connections(instance)
        ask_seldom()
        controller_module.RELOAD_WORKSPACE_INTERVAL = REREAD_SECONDS
        with daemon_controller_from_instance(
            instance, WorkspaceFileTarget([str(workspace)]), gen_daemons=daemons, code_server_log_level="warning"
        ) as controller:
            controller.check_daemon_loop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
