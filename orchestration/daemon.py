"""Dagster's daemon as it is, at a quicker pace, with its connections held open.

What `dagster-daemon run` does, but for three things that it has no setting for:

- sensors are looked after every half second instead of every five: a tick that has ended, because it found a file, is
  followed by the next one at once, and another file is seen while the first is being loaded;
- the queue of runs is looked at every half second, the step in which its loop waits, instead of once per second;
- its storage's connections are kept (`storage.py`); with them the quicker pace costs less than Dagster's own does.

Where `warm` is false the stack runs Dagster's own daemon instead.

    python -m orchestration.daemon WORKSPACE_FILE
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import dagster as dg
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon import sensor as sensor_loop
from dagster._daemon.controller import create_daemons_from_instance, daemon_controller_from_instance
from dagster._daemon.daemon import DagsterDaemon
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster._utils.interrupts import capture_interrupts, setup_interrupt_handlers

from orchestration.storage import hold_connections

SENSOR_LOOP_SECONDS: Final = 0.5
QUEUE_SECONDS: Final = 0.5
_PACE: Final = "MIN_INTERVAL_LOOP_TIME"


def quicken_sensors() -> None:
    """Set the pace of the loop over the sensors, for which Dagster has a constant and no setting."""
    if not hasattr(sensor_loop, _PACE):
        raise RuntimeError(
            f"This version of Dagster ({dg.__version__}) has no {sensor_loop.__name__}.{_PACE} any more, which sets "
            "how often sensors are looked after. Find what it is called now and correct orchestration/daemon.py; "
            "until then set FOOTFALL_WARM=false."
        )
    setattr(sensor_loop, _PACE, SENSOR_LOOP_SECONDS)


def daemons(instance: dg.DagsterInstance) -> Sequence[DagsterDaemon[Any]]:
    """Return the daemons that the instance needs, the queue's at our pace."""
    return [
        QueuedRunCoordinatorDaemon(QUEUE_SECONDS) if isinstance(daemon, QueuedRunCoordinatorDaemon) else daemon
        for daemon in create_daemons_from_instance(instance)
    ]


def main(workspace: Path) -> None:
    """Run until somebody asks to stop."""
    quicken_sensors()
    setup_interrupt_handlers()
    with contextlib.suppress(KeyboardInterrupt), capture_interrupts(), dg.DagsterInstance.get() as instance:
        hold_connections(instance)
        with daemon_controller_from_instance(
            instance, WorkspaceFileTarget([str(workspace)]), gen_daemons=daemons, code_server_log_level="warning"
        ) as controller:
            controller.check_daemon_loop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
