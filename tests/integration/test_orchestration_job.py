"""The jobs, run whole on a real warehouse: files, models, checks, and what Dagster is told of them."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.test_utils import create_run_for_test

from orchestration.assets.events import EVENTS, RAW_KEYS
from orchestration.assets.run_log import progress_line
from orchestration.definitions import build_definitions
from orchestration.inputs import store_parameters
from orchestration.jobs import AUDIT, INGEST, delete_old_runs, ingest_config
from orchestration.launcher import WORKER_TAG
from orchestration.resources import Footfall
from tests.integration.orchestrating import checks, said, told, value
from validation import load_progress
from validation.progress import Progress
from validation.row_checks import ROW_CHECKS
from validation.sample import write_sample
from warehouse.connections import Warehouse


@pytest.fixture
def definitions(footfall: Footfall) -> dg.Definitions:
    return build_definitions(footfall)


def ingest(definitions: dg.Definitions, instance: dg.DagsterInstance, *files: str, **options: Any) -> Any:
    config = ingest_config(files, quiet=True)
    if not files:
        del config["ops"]
    return definitions.resolve_job_def(INGEST).execute_in_process(config, instance, **options)


@pytest.mark.soak
def test_a_sample_comes_out_as_its_truth_says(
    footfall: Footfall, definitions: dg.Definitions, instance: dg.DagsterInstance, warehouse: Warehouse
) -> None:
    truth = write_sample(footfall.settings.landing / "day 1.csv", 2000, 1, 7)
    result = ingest(definitions, instance)
    assert result.success

    metadata = told(result, EVENTS)
    assert (metadata["rows_read"], metadata["rows_rejected"], metadata["rows_duplicate"]) == (
        truth.rows,
        truth.rejected,
        truth.duplicates,
    )
    assert metadata["rows_loaded"] == metadata["dagster/row_count"] == truth.events
    assert metadata["rows_per_second"] > 0
    assert "day 1.csv" in metadata["verdicts"]
    assert "the row |" in metadata["first_rejects"]
    assert "missing value" in metadata["reject_reasons"]
    assert "event_id" in [column.name for column in metadata["dagster/column_schema"].columns]
    of_rows = {check.name for check in ROW_CHECKS}
    assert all(check.passed for name, check in checks(result).items() if name not in of_rows)
    assert not checks(result)["required_values_present"].passed
    assert {"rows_add_up", "files_usable"} < set(checks(result))

    # The models, their row counts, and every asset of the job.
    assert value(warehouse, "select count(*) from marts.camera_events") == truth.events
    sessions = value(warehouse, "select count(*) from marts.person_sessions where status = 'complete'")
    assert sessions == truth.complete_sessions
    assert told(result, dg.AssetKey(["marts", "camera_events"]))["dagster/row_count"] == truth.events
    made = {e.asset_key for e in result.all_events if e.is_step_materialization}
    assert made > RAW_KEYS
    groups = definitions.resolve_asset_graph()
    assert {groups.get(key).group_name for key in made} == {"raw", "staging", "intermediate", "marts"}
    assert all(groups.get(key).owners and groups.get(key).kinds and groups.get(key).description for key in made)

    # From the landing folder to the marts there is a way.
    reached = {dg.AssetKey(["landing", "files"])}
    while len(reached) < len(reached := reached | {c for key in reached for c in groups.get(key).child_keys}):
        pass
    assert dg.AssetKey(["marts", "kpis"]) in reached

    # The run says which process it is.
    assert WORKER_TAG in instance.get_run_by_id(result.run_id).tags  # type: ignore[union-attr]

    # The same content under another name: green, and nothing twice.
    write_sample(footfall.settings.landing / "again.csv", 2000, 1, 7)
    again = ingest(definitions, instance)
    assert again.success
    assert "Nothing new" in told(again, EVENTS)["verdicts"]
    assert value(warehouse, "select count(*) from marts.camera_events") == truth.events
    assert not list(footfall.settings.landing.glob("*.csv"))

    # "Materialize" on any one asset, without configuration, is green, with or without something to do.
    write_sample(footfall.settings.landing / "more.csv", 300, 1, 8, flaws=False)
    job = definitions.resolve_implicit_global_asset_job_def()
    for keys in (RAW_KEYS, *([key] for key in one_of_each_kind(made - RAW_KEYS))):
        alone = job.execute_in_process(instance=instance, asset_selection=list(keys))
        assert alone.success, keys
        assert {e.asset_key for e in alone.all_events if e.is_step_materialization} >= set(keys)
        if keys == [dg.AssetKey(["marts", "data_version"])]:
            assert "Data version 2 published." in said(instance, alone), (
                "all that it is made from was built and checked"
            )
    assert "Data version 2 stays: this run was of hand-picked models." in said(instance, alone)
    assert "Data version 2 stays: nothing changed." in said(instance, ingest(definitions, instance))
    assert value(warehouse, "select count(*) from marts.camera_events") > truth.events


def test_a_run_shows_how_far_its_loads_are(
    footfall: Footfall,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(load_progress, "EVERY_SECONDS", 0.0)
    with warehouse.connect("owner") as connection:
        connection.execute("create table raw.shown as select file_name, stage from raw.load_progress")
        connection.execute(
            "create function raw.keep() returns trigger language plpgsql security definer as"
            " $$begin insert into raw.shown values (new.file_name, new.stage); return new; end$$"
        )
        connection.execute(
            "create trigger keep after insert or update on raw.load_progress for each row execute function raw.keep()"
        )
    write_sample(footfall.settings.landing / "day 1.csv", 2000, 1, 7)
    config = ingest_config(["day 1.csv"], quiet=True)
    job = definitions.resolve_job_def(INGEST)
    assert job.execute_in_process(config, instance, asset_selection=list(RAW_KEYS)).success
    with warehouse.connect("owner") as connection:
        shown = connection.execute("select file_name, stage from raw.shown").fetchall()
        assert connection.execute("select count(*) from raw.load_progress").fetchone() == (0,)
    assert {name for name, _ in shown} == {"day 1.csv"}
    assert {stage for _, stage in shown} >= {"copying", "reading", "merging", "committing"}


def test_new_data_rebuild_no_views_but_a_missing_one_is_made_again(
    footfall: Footfall, definitions: dg.Definitions, instance: dg.DagsterInstance, warehouse: Warehouse
) -> None:
    def made(number: int) -> set[str]:
        """Names of the assets that a run makes, which publishes that version."""
        write_sample(footfall.settings.landing / f"{number}.csv", 50, 1, number, flaws=False)
        result = ingest(definitions, instance)
        assert f"Data version {number} published." in said(instance, result)
        return {e.asset_key.path[-1] for e in result.all_events if e.is_step_materialization}

    assert {"kpis", "stg_events", "site_daily", "data_version"} <= made(1)
    again = made(2)
    assert {"int_sessions", "site_daily", "data_version"} <= again
    assert not again & {"kpis", "stg_events", "person_sessions"}
    with warehouse.connect("transformer") as connection:
        connection.execute("drop view marts.live_occupancy cascade")
    assert {"kpis", "live_occupancy"} <= made(3)
    audit = definitions.resolve_job_def(AUDIT).execute_in_process(instance=instance)
    assert {"kpis", "site_daily"} <= {e.asset_key.path[-1] for e in audit.all_events if e.is_step_materialization}
    assert any(name.startswith("accepted_values_person_sessions") for name in checks(audit))


def one_of_each_kind(keys: set[dg.AssetKey]) -> list[dg.AssetKey]:
    """A view and a table of each layer that has them, and what comes last of all."""
    names = {"stg_events", "int_sessions", "dim_cameras", "site_daily", "person_sessions", "kpis", "data_version"}
    return [key for key in sorted(keys) if key.path[-1] in names]


def test_a_quarantined_file_is_a_warning_and_the_others_load(
    footfall: Footfall, definitions: dg.Definitions, instance: dg.DagsterInstance, warehouse: Warehouse
) -> None:
    (footfall.settings.landing / "bad | <b>.csv").write_text("a,b\n1,2\n")
    truth = write_sample(footfall.settings.landing / "good.csv", 200, 1, 7, flaws=False)
    result = ingest(definitions, instance, "bad | <b>.csv", "good.csv", "absent.csv")
    assert result.success
    check = checks(result)["files_usable"]
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert "Not usable" in told(result, EVENTS)["verdicts"]
    assert "<b>" not in told(result, EVENTS)["verdicts"].replace("`bad | <b>.csv`", "").replace("\\<b", "")
    assert value(warehouse, "select count(*) from marts.camera_events") == truth.events
    assert (footfall.settings.landing / "rejected" / "bad | <b>.csv").exists()


def test_a_wrong_camera_list_fails_the_run_in_words(
    footfall: Footfall, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    footfall.settings.cameras_file.write_text("camera_id,timezone\nCAM-1,Mars/Olympus\n")
    dropped = footfall.settings.landing / "good.csv"
    write_sample(dropped, 50, 1, 7, flaws=False)
    result = ingest(definitions, instance, "good.csv", raise_on_error=False)
    assert not result.success
    failure = result.failure_data_for_node("load_files")
    assert "Mars/Olympus" in failure.user_failure_data.description
    assert dropped.exists()


def test_a_failing_test_of_dbt_turns_the_run_red_and_says_which(
    footfall: Footfall, definitions: dg.Definitions, instance: dg.DagsterInstance, warehouse: Warehouse
) -> None:
    write_sample(footfall.settings.landing / "good.csv", 50, 1, 7, flaws=False)
    with warehouse.connect("owner") as connection:
        connection.execute("create function raw.no() returns trigger language plpgsql as 'begin return null; end'")
        connection.execute("create trigger no before insert on raw.parameters for each row execute function raw.no()")
    result = ingest(definitions, instance, "good.csv", raise_on_error=False)
    assert not result.success
    assert "dbt's steps failed" in result.failure_data_for_node("build_models").user_failure_data.description
    assert any(not check.passed for check in checks(result).values())


BUILD = """
import pickle, signal, sys, threading
from pathlib import Path
from orchestration.assets.run_log import RunLog
from orchestration.resources import Footfall
settings, warehouse = pickle.loads(Path(sys.argv[1]).read_bytes())
signal.signal(signal.SIGINT, signal.default_int_handler)  # which whoever runs the tests may have had ignored
try:
    list(Footfall(settings, RunLog, warehouse, quiet=True).dbt.build(warehouse, ["--select", "fqn:*"], quiet=True))
except KeyboardInterrupt:
    print("interrupted;", "dbt" in {thread.name for thread in threading.enumerate()})
"""


@pytest.mark.soak
def test_an_interrupted_build_stops_its_statement_and_begins_nothing_more(
    footfall: Footfall, warehouse: Warehouse, tmp_path: Path
) -> None:
    with warehouse.connect("loader") as connection:
        store_parameters(connection, footfall.settings.model_parameters)
    (tmp_path / "who").write_bytes(pickle.dumps((footfall.settings, warehouse)))
    command = [sys.executable, "-c", BUILD, str(tmp_path / "who")]
    with warehouse.connect("owner") as blocker:
        blocker.execute("lock table raw.files in access exclusive mode")
        # A process of its own, as a run has: Ctrl-C concerns all of one.
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as build:
            deadline = time.monotonic() + 120
            while not waiting(warehouse) and build.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
            build.send_signal(signal.SIGINT)
            try:
                told, _ = build.communicate(timeout=60)
            finally:
                build.kill()
        assert told.splitlines()[-1] == "interrupted; False"
        assert not waiting(warehouse)


def waiting(warehouse: Warehouse) -> bool:
    """Whether a session of dbt waits for a lock in this database."""
    with warehouse.connect("owner") as connection:
        (count,) = connection.execute(
            "select count(*) from pg_locks join pg_database d on d.oid = database"
            " where not granted and datname = current_database()"
        ).fetchone() or (0,)
    return bool(count)


def test_parameters_are_written_when_they_change(warehouse: Warehouse) -> None:
    with warehouse.connect("loader") as connection:
        assert store_parameters(connection, {"repeat_seconds": 60.0, "min_confidence": None, "excluded_ids": ["a"]})
        assert not store_parameters(connection, {"excluded_ids": ["a"], "min_confidence": None, "repeat_seconds": 60})
        assert store_parameters(connection, {"repeat_seconds": 0.0})
        assert connection.execute("select name, value from raw.parameters").fetchall() == [("repeat_seconds", 0.0)]


def test_pruning_keeps_what_is_young_unfinished_or_the_latest_word_on_an_asset(instance: dg.DagsterInstance) -> None:
    @dg.asset
    def thing() -> None: ...

    old = [dg.materialize([thing], instance=instance).run_id for _ in range(3)]
    unfinished = create_run_for_test(instance, status=DagsterRunStatus.STARTED).run_id
    failed = create_run_for_test(instance, status=DagsterRunStatus.FAILURE).run_id
    assert delete_old_runs(instance, before=time.time() - 3600) == []
    assert set(delete_old_runs(instance, before=time.time() + 3600)) == {old[0], old[1], failed}
    assert {run.run_id for run in instance.get_runs()} == {old[2], unfinished}


def test_the_progress_of_a_load_is_a_line() -> None:
    half = Progress("a.csv", "reading", 50, 100, 1_000_000, 4.0)
    assert progress_line(half) == "a.csv: reading, 50%, 1,000,000 rows, 250,000 rows/s, 4 s left"
    assert progress_line(Progress("a.csv", "merging", 0, 100, 2000, 4.0)) == "a.csv: merging, 2,000 rows"
