"""The sensor that watches the landing folder.

It only saves work, it never decides: what a file is and whether it is loaded already, the ledger knows. So nothing is
lost with its cursor, and a file that is asked for twice is loaded once.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import dagster as dg
from dagster import DagsterRunStatus

from orchestration.change_sensor import change_sensor
from orchestration.jobs import ASSET_JOB, CORRECTIONS, INGEST, files_of, ingest_config, loads_files, unfinished_runs
from orchestration.resources import Footfall
from validation.landing import LandingFolder, Waiting
from validation.ledger import Ledger

EVERY_SECONDS: Final = 2
LINGER_SECONDS: Final = 5.0
# How long a file that was asked for and still lies there waits before it is asked for again: the loader quarantines
# it at the third failed attempt, so more than three means that runs do not even come to look at it.
PATIENCE_SECONDS: Final = (0.0, 5.0, 15.0, 60.0, 300.0)
RESUME_TAG: Final = "footfall/resume"
RESUMES: Final = 4
# Among so many runs, of whatever job, the last of ours is looked for.
_LOOKED_BACK: Final = 20


def build_sensors() -> list[dg.SensorDefinition]:
    """Return all sensors."""
    return [landing_sensor, change_sensor]


@dg.sensor(
    job_name=INGEST,
    minimum_interval_seconds=EVERY_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks for one run per batch of files that are ready in the landing folder.",
)
def landing_sensor(context: dg.SensorEvaluationContext, footfall: dg.ResourceParam[Footfall]) -> dg.SensorResult:
    """Ask for a run for the files that are finished, wait for nobody and are not being loaded already."""
    settings = footfall.settings
    memory = json.loads(context.cursor) if context.cursor else {}
    folder = LandingFolder(settings.landing, settings.settle_seconds)
    there = {waiting.shown_name for waiting in folder.look()}
    asked: dict[str, Any] = {name: ask for name, ask in memory.get("asked", {}).items() if name in there}
    unfinished = unfinished_runs(context.instance, INGEST, ASSET_JOB, *CORRECTIONS)
    runs = [run for run in unfinished if loads_files(run)]

    def due_at(now: float, looks: Mapping[str, Any]) -> tuple[list[Waiting], dict[str, Any], bool]:
        ready, looks = folder.ready(looks, now)
        due = [waiting for waiting in ready if not _is_covered(waiting, runs) and _is_due(waiting, asked, now)]
        return due, looks, len(ready) < len(looks["seen"])

    now = time.time()
    due, looks, some_unfinished = due_at(now, memory.get("looks", {}))
    if some_unfinished and not due:
        # The second look need not wait for the next tick.
        time.sleep(min(settings.settle_seconds, LINGER_SECONDS))
        now = time.time()
        due, looks, _ = due_at(now, looks)
    attempts = _attempts(footfall, due) if due else {}
    due = [waiting for waiting in due if waiting.shown_name in attempts]
    for waiting in due:
        before = _earlier_asks(waiting, asked)
        asked[waiting.shown_name] = {"fingerprint": waiting.fingerprint, "times": before + 1, "at": now}
    cursor = json.dumps({"looks": looks, "asked": asked})
    if due:
        return dg.SensorResult(run_requests=[_request(due, asked, attempts)], cursor=cursor)
    resume = _resume(context.instance, now) if not unfinished else None
    if resume is not None:
        return dg.SensorResult(run_requests=[resume], cursor=cursor)
    reason = (
        f"{len(there)} files are not finished yet or are being loaded." if there else "The landing folder is empty."
    )
    return dg.SensorResult(skip_reason=reason, cursor=cursor)


def _is_covered(waiting: Waiting, runs: Sequence[dg.DagsterRun]) -> bool:
    """Whether an unfinished run loads that file; one without a list of files takes whatever waits."""
    return any(files is None or waiting.shown_name in files for files in map(files_of, runs))


def _earlier_asks(waiting: Waiting, asked: Mapping[str, Any]) -> int:
    """How often this file, exactly as it lies there now, was asked for before."""
    ask = asked.get(waiting.shown_name)
    return int(ask["times"]) if ask is not None and ask["fingerprint"] == waiting.fingerprint else 0


def _is_due(waiting: Waiting, asked: Mapping[str, Any], now: float) -> bool:
    times = _earlier_asks(waiting, asked)
    if times == 0:
        return True
    pause = PATIENCE_SECONDS[min(times, len(PATIENCE_SECONDS) - 1)]
    return bool(now - asked[waiting.shown_name]["at"] >= pause)


def _attempts(footfall: Footfall, files: Sequence[Waiting]) -> dict[str, int]:
    """Ask the ledger which of the files are to be loaded, and the number of the attempt that this would be."""
    with footfall.warehouse.connect("loader", autocommit=True) as connection:
        return {due.waiting.shown_name: due.attempt for due in Ledger(connection).due(files)}


def _request(due: Sequence[Waiting], asked: Mapping[str, Any], attempts: Mapping[str, int]) -> dg.RunRequest:
    # The attempt is in the key: Dagster suppresses a key for ever, that of a failed run too. So is how often we asked:
    # a run that failed before it came to the files made no attempt.
    names = [waiting.shown_name for waiting in due]
    told = sorted(f"{one.fingerprint} {attempts[one.shown_name]} {asked[one.shown_name]['times']}" for one in due)
    return dg.RunRequest(
        run_key=hashlib.sha256("\n".join(told).encode()).hexdigest(),
        run_config=ingest_config(names),
        tags={"footfall/files": str(len(names)), "footfall/attempt": str(max(attempts[name] for name in names))},
    )


def _resume(instance: dg.DagsterInstance, now: float) -> dg.RunRequest | None:
    """Ask once more for the models if the last run failed: what it did to files may not be in the marts yet."""
    records = instance.get_run_records(limit=_LOOKED_BACK)
    last = next((one for one in records if one.dagster_run.job_name in {INGEST, *CORRECTIONS}), None)
    if last is None or last.dagster_run.status != DagsterRunStatus.FAILURE:
        return None
    failed = last.dagster_run
    times = int(failed.tags.get(RESUME_TAG, "0"))
    ended = last.end_time or now
    if times >= RESUMES or now - ended < 5.0 * 3**times:
        return None
    return dg.RunRequest(
        run_key=f"resume {failed.run_id}",
        run_config=ingest_config([]),
        tags={RESUME_TAG: str(times + 1)},
    )
