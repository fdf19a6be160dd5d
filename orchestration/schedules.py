"""What runs by the clock."""

from __future__ import annotations

import dagster as dg

from orchestration.jobs import audit, prune


def build_schedules() -> list[dg.ScheduleDefinition]:
    """Return all schedules."""
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
            cron_schedule="50 3 * * *",
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="Runs the checks that new data do not: those of views.",
        ),
    ]
