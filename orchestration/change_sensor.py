"""The sensor that notices edited settings, camera lists and source profiles.

What they are compared with is in the warehouse: what each loaded file was judged by, and what the models were told
last. The cursor only saves work: it remembers that nothing was outdated, and what was asked for in vain.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import dagster as dg
import psycopg

from orchestration.inputs import InputProblem, Inputs
from orchestration.jobs import (
    ASSET_JOB,
    INGEST,
    REPLAY,
    correction_config,
    ingest,
    ingest_config,
    replay,
    unfinished_runs,
)
from orchestration.patience import Asked
from orchestration.resources import Footfall
from orchestration.settings import SettingsProblem
from orchestration.storage import instance_of

EVERY_SECONDS: Final = 15


def build_change_sensor(footfall: Callable[[], Footfall]) -> dg.SensorDefinition:
    """Return the sensor; `footfall` is asked at each tick."""

    @dg.sensor(
        jobs=[ingest, replay],
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Has files replayed that were loaded under other settings than today's, and models refreshed.",
    )
    def change_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return _look_for_changes(context, footfall())

    return change_sensor


def _look_for_changes(context: dg.SensorEvaluationContext, footfall: Footfall) -> dg.SensorResult:
    """Ask for a replay where files are outdated; for a run without files where only the models are concerned."""
    try:
        inputs = Inputs.read(footfall.reread())
    except (InputProblem, SettingsProblem) as problem:
        return dg.SensorResult(skip_reason=f"What is wrong has to be put right first: {problem}", cursor=context.cursor)
    memory: dict[str, Any] = json.loads(context.cursor) if context.cursor else {}
    with footfall.warehouse.connect("loader", autocommit=True) as connection:
        changes = inputs.changes(connection)
        state = f"{inputs.fingerprint} {_newest_batch(connection)}"
        outdated = inputs.outdated(connection) if memory.get("settled") != state else []
    if not outdated and not changes:
        return _skip("Everything was loaded under the settings of today, and the models know them.", {"settled": state})
    if unfinished_runs(instance_of(context), INGEST, REPLAY, ASSET_JOB):
        return _skip("A run is under way that may bring it about.", memory)
    why = [f"{one.file.name}: {'; '.join(one.reasons)}" for one in outdated] + changes
    asked = Asked.remembered(memory.get("asked")).of(why)
    if asked.is_too_soon:
        return _skip(f"Asked for {asked.times} times, in vain: see the last run. {why[0]}", memory)
    memory = {"asked": asked.once_more().as_memory()}
    context.log.info("\n".join(why))
    tags = {"footfall/why": why[0][:200]}
    # No run key: Dagster suppresses one for ever, and what was changed may be changed back and forth.
    if outdated:
        request = dg.RunRequest(job_name=REPLAY, run_config=correction_config(REPLAY), tags=tags)
    else:
        request = dg.RunRequest(job_name=INGEST, run_config=ingest_config([]), tags=tags)
    return dg.SensorResult(run_requests=[request], cursor=json.dumps(memory))


def _newest_batch(connection: psycopg.Connection[Any]) -> int:
    """Return the last batch that changed what is loaded; 0 before the first."""
    (newest,) = connection.execute("select coalesce(max(batch_id), 0) from raw.batches").fetchone() or (0,)
    return int(newest)


def _skip(reason: str, memory: Mapping[str, Any]) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=reason, cursor=json.dumps(memory))
