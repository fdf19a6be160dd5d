"""What runs by the clock."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg

from orchestration.jobs import audit, prune
from orchestration.resources import Footfall


def build_schedules(footfall: Callable[[], Footfall]) -> list[dg.ScheduleDefinition]:
    """Return all schedules; `footfall` is asked when one is due."""

    def has_data(_context: dg.ScheduleEvaluationContext) -> bool:
        """Whether anything was ever dropped: before that there is nothing to audit, and its checks would fail."""
        with footfall().warehouse.connect("loader") as connection:
            return connection.execute("select exists (select from raw.files)").fetchone() == (True,)

    return [
        dg.ScheduleDefinition(
            name="nightly_pruning",
            job=prune,
            cron_schedule="20 3 * * *",
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="Deletes Dagster's old runs.",
        ),
        dg.ScheduleDefinition(
            name="nightly_audit",
            job=audit,
            should_execute=has_data,
            cron_schedule="50 3 * * *",
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="Runs the checks that new data do not: those of views.",
        ),
    ]
