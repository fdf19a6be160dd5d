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
from dagster import DagsterRunStatus, RunsFilter

from orchestration.jobs import ASSET_JOB, INGEST, UNFINISHED, files_of, ingest_config, loads_files
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


def build_sensors() -> list[dg.SensorDefinition]:
    """Return all sensors."""
    return [landing_sensor]


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
    runs = unfinished_runs(context.instance)

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
    resume = _resume(context.instance, now) if not runs else None
    if resume is not None:
        return dg.SensorResult(run_requests=[resume], cursor=cursor)
    reason = (
        f"{len(there)} files are not finished yet or are being loaded." if there else "The landing folder is empty."
    )
    return dg.SensorResult(skip_reason=reason, cursor=cursor)


def unfinished_runs(instance: dg.DagsterInstance) -> Sequence[dg.DagsterRun]:
    """Return the runs that load files and have not ended yet, queued ones included."""
    runs = instance.get_runs(RunsFilter(statuses=UNFINISHED))
    return [run for run in runs if run.job_name in {INGEST, ASSET_JOB} and loads_files(run)]


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
    """Ask once more for the models if the last run failed: its files may be loaded and not be in the marts yet."""
    records = instance.get_run_records(RunsFilter(job_name=INGEST), limit=1)
    if not records or records[0].dagster_run.status != DagsterRunStatus.FAILURE:
        return None
    failed = records[0].dagster_run
    times = int(failed.tags.get(RESUME_TAG, "0"))
    ended = records[0].end_time or now
    if times >= RESUMES or now - ended < 5.0 * 3**times:
        return None
    return dg.RunRequest(
        run_key=f"resume {failed.run_id}",
        run_config=ingest_config([]),
        tags={RESUME_TAG: str(times + 1)},
    )
