"""The jobs: from files to marts (`ingest`), corrections of what is loaded, an `audit` of all models, `report`, `prune`.

`ingest`, `retract`, `replay` and `release` are one job that does different things with files: the raw tables, then the
models, with all of their checks. `report` follows them: what it finds holds nothing back.
"""

import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter

from orchestration.assets.events import LOAD_OP, RAW_KEYS
from orchestration.assets.models import OP_NAME as BUILD_OP
from orchestration.assets.quality import FILE_REPORT, check_expectations
from orchestration.resources import Footfall
from validation import alerts, check_log

INGEST: Final = "ingest"
RETRACT: Final = "retract"
REPLAY: Final = "replay"
RELEASE: Final = "release"
AUDIT: Final = "audit"
REPORT: Final = "report"
CORRECTIONS: Final = (RETRACT, REPLAY, RELEASE)
# What Dagster calls a run of hand-picked assets ("Materialize").
ASSET_JOB: Final = "__ASSET_JOB"
UNFINISHED: Final = [
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
# Whoever waits for marts does not wait for these: they are done with what is left of the machine.
AFTERWARDS: Final = frozenset({REPORT})
_QUALITY: Final = dg.AssetSelection.assets(FILE_REPORT) | dg.AssetSelection.checks(check_expectations)
_QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_AT_ONCE: Final = 500


def ingest_config(files: Iterable[str], *, quiet: bool = False) -> dict[str, Any]:
    """Return the run configuration by which a run loads these files (names relative to the landing folder).

    A `quiet` run prints nothing; what it says is kept in Dagster's storage all the same.
    """
    return _config({"files": sorted(files)}, quiet=quiet)


def correction_config(
    job: str, files: Sequence[str] | None = None, *, all_loaded: bool = False, quiet: bool = False
) -> dict[str, Any]:
    """Return the run configuration of a correction of these files (names or SHA-256).

    None leaves it to a replay to find those that were loaded under other settings; `all_loaded` takes the others too.
    """
    config: dict[str, Any] = {"do": job}
    if files is not None:
        config["files"] = list(files)
    if all_loaded:
        config["all_loaded"] = True
    return _config(config, quiet=quiet)


def _config(load: Mapping[str, Any], *, quiet: bool) -> dict[str, Any]:
    return {"ops": {LOAD_OP: {"config": load}}} | (_QUIET if quiet else {})


def files_of(run: dg.DagsterRun) -> list[str] | None:
    """Return the files that a run was asked to load; None where it takes whatever waits."""
    config: Mapping[str, Any] = run.run_config
    for key in ("ops", LOAD_OP, "config"):
        config = config.get(key) or {}
    return config.get("files")


def loads_files(run: dg.DagsterRun) -> bool:
    """Whether a run takes files from the landing folder: neither a correction does nor one of hand-picked models."""
    if run.job_name == ASSET_JOB:
        return run.asset_selection is None or not RAW_KEYS.isdisjoint(run.asset_selection)
    return run.job_name == INGEST


def unfinished_runs(instance: dg.DagsterInstance, *jobs: str) -> list[dg.DagsterRun]:
    """Return the runs of these jobs that have not ended yet, queued ones included."""
    return [run for run in instance.get_runs(RunsFilter(statuses=UNFINISHED)) if run.job_name in jobs]


def _job(name: str, description: str, config: Mapping[str, Any] | None = None) -> Any:
    """Define a job on all raw tables and models. It runs in one process: starting one per step costs more."""
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.all() - _QUALITY,
        executor_def=dg.in_process_executor,
        description=description,
        config=config,
    )


ingest: Final = _job(
    INGEST, "Files from the landing folder to fresh marts. Without configuration: whatever waits there."
)
retract: Final = _job(
    RETRACT,
    "Takes the events of loaded files back, but for those that other files also brought. Dropping a file again undoes "
    "it.",
    correction_config(RETRACT, []),
)
replay: Final = _job(
    REPLAY,
    "Judges archived originals again under the settings of today. As it is: those of all files that were loaded under "
    "other settings.",
    correction_config(REPLAY),
)
release: Final = _job(
    RELEASE,
    "Loads the good rows of files that were quarantined for their share of rejected rows.",
    correction_config(RELEASE, []),
)


audit: Final = dg.define_asset_job(
    AUDIT,
    selection=dg.AssetSelection.all() - dg.AssetSelection.assets(*RAW_KEYS) - _QUALITY,
    executor_def=dg.in_process_executor,
    description="Makes all models, views included, and runs every check of them; loads no file.",
    config={"ops": {BUILD_OP: {"config": {"everything": True}}}},
)


report: Final = dg.define_asset_job(
    REPORT,
    selection=_QUALITY,
    executor_def=dg.in_process_executor,
    description="Reports on files, and what Great Expectations finds in them and in the marts. Holds nothing back.",
)


def build_jobs() -> list[Any]:
    """Return all jobs."""
    return [ingest, retract, replay, release, audit, report, prune]


@dg.op(description="Delete runs, with all that is kept of them, that ended longer ago than the settings keep them.")
def prune_runs(context: dg.OpExecutionContext, footfall: dg.ResourceParam[Footfall]) -> None:
    """Delete old finished runs; one that holds the latest word on an asset stays."""
    keep_days = footfall.settings.keep_runs_days
    gone = delete_old_runs(context.instance, before=time.time() - keep_days * 86_400)
    for run_id in gone:
        shutil.rmtree(footfall.settings.dagster_home / "storage" / run_id, ignore_errors=True)
    with footfall.warehouse.connect("loader") as connection:
        check_log.forget(connection, keep_days)
        alerts.forget(connection, keep_days)
    context.log.info(f"{len(gone)} runs that ended more than {keep_days} days ago were deleted.")
    context.add_output_metadata({"deleted_runs": len(gone)})


@dg.job(executor_def=dg.in_process_executor, description="Keeps Dagster's storage from growing without end.")
def prune() -> None:
    """One op: see `prune_runs`."""
    prune_runs()


def delete_old_runs(instance: dg.DagsterInstance, before: float) -> list[str]:
    """Delete finished runs created before a Unix time, and return their ids."""
    latest = {
        record.asset_entry.last_materialization_record.run_id
        for record in instance.get_asset_records()
        if record.asset_entry.last_materialization_record is not None
    }
    gone: list[str] = []
    cursor = None
    while True:
        records = instance.get_run_records(
            RunsFilter(created_before=datetime.fromtimestamp(before, tz=UTC)),
            limit=_AT_ONCE,
            cursor=cursor,
        )
        for record in records:
            run = record.dagster_run
            if run.is_finished and run.run_id not in latest:
                instance.delete_run(run.run_id)
                gone.append(run.run_id)
        if len(records) < _AT_ONCE:
            return gone
        cursor = records[-1].dagster_run.run_id
