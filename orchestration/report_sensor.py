"""The sensor that has reports written: of each file whose state was decided after its last report.

Which files that are, PostgreSQL knows; the cursor only remembers what was asked for in vain.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import dagster as dg

from orchestration.assets.quality import AT_ONCE, report_config
from orchestration.jobs import ASSET_JOB, CORRECTIONS, INGEST, REPORT, unfinished_runs
from orchestration.patience import Asked
from orchestration.resources import Footfall
from orchestration.storage import instance_of
from validation.report_writing import Due, files_to_report

EVERY_SECONDS: Final = 5
# While files are being loaded, which people wait for, reports are put off; not for ever.
PATIENCE: Final = timedelta(seconds=30)


def build_report_sensor(footfall: Callable[[], Footfall]) -> dg.SensorDefinition:
    """Return the sensor; `footfall` is asked at each tick."""

    @dg.sensor(
        job_name=REPORT,
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Has a report written of each file that was loaded, quarantined or corrected.",
    )
    def report_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return _look_for_files(context, footfall())

    return report_sensor


def _look_for_files(context: dg.SensorEvaluationContext, footfall: Footfall) -> dg.SensorResult:
    memory: dict[str, Any] = json.loads(context.cursor) if context.cursor else {}
    with footfall.warehouse.connect("loader", autocommit=True) as connection:
        due = files_to_report(connection, AT_ONCE)
    if not due:
        return dg.SensorResult(skip_reason="Every file has its report.", cursor=json.dumps({}))
    if unfinished_runs(instance_of(context), REPORT):
        return dg.SensorResult(skip_reason="Reports are being written.", cursor=context.cursor)
    loading = unfinished_runs(instance_of(context), INGEST, ASSET_JOB, *CORRECTIONS)
    due = _published(due, {run.run_id for run in loading})
    if not due:
        return dg.SensorResult(skip_reason="The run that has the files is still under way.", cursor=context.cursor)
    if loading and datetime.now(UTC) - min(one.decided_at for one in due) < PATIENCE:
        return dg.SensorResult(skip_reason="Files are being loaded; reports come after them.", cursor=context.cursor)
    asked = Asked.remembered(memory).of([f"{one.file_id} {one.decided_at}" for one in due])
    if asked.is_too_soon:
        reason = f"Asked for {asked.times} times, in vain: see the last run of {REPORT}."
        return dg.SensorResult(skip_reason=reason, cursor=context.cursor)
    # No run key: Dagster suppresses one for ever, and a report may be wanted again.
    request = dg.RunRequest(
        run_config=report_config([one.file_id for one in due]), tags={"footfall/files": str(len(due))}
    )
    return dg.SensorResult(run_requests=[request], cursor=json.dumps(asked.once_more().as_memory()))


def _published(due: list[Due], under_way: Collection[str]) -> list[Due]:
    """Those of the files whose run has ended: only then is known whether they are in the marts."""
    return [one for one in due if one.run_id not in under_way]
