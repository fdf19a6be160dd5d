"""How long a run's files waited before its work began: for the sensor, in the queue, and for a process to start.

The sensor writes two moments into the run's tags; the rest is in Dagster's own events. A run that no sensor asked for
waited for nothing that is told here.
"""

from __future__ import annotations

import time
from typing import Final

import dagster as dg

# When the newest file of a run was complete, and when the run was asked for (Unix time).
READY_TAG: Final = "footfall/ready"
NOTICED_TAG: Final = "footfall/noticed"


def waiting_tags(ready: float, noticed: float) -> dict[str, str]:
    """Return the tags by which a sensor tells a run of two moments (Unix time)."""
    return {READY_TAG: f"{ready:.3f}", NOTICED_TAG: f"{noticed:.3f}"}


def seconds_waited(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dict[str, float]:
    """Return the seconds by stage until now; to be asked when the run's first op begins."""
    if READY_TAG not in run.tags or NOTICED_TAG not in run.tags:
        return {}
    now, ready, noticed = time.time(), float(run.tags[READY_TAG]), float(run.tags[NOTICED_TAG])
    launches = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.PIPELINE_STARTING).records
    launched = launches[-1].timestamp if launches else now
    moments = {"sensor": (ready, noticed), "queue": (noticed, launched), "start": (launched, now)}
    # Clocks of files and of processes differ by some milliseconds.
    return {stage: max(end - begin, 0.0) for stage, (begin, end) in moments.items()}
