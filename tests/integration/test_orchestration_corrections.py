"""Corrections, run whole on a real warehouse: what becomes of files, marts and data version, and in which words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from rich.console import Console

from orchestration import correcting
from orchestration.assets.events import EVENTS, RAW_KEYS
from orchestration.correcting import CorrectingProblem, correct_files, replay_outdated
from orchestration.jobs import INGEST, RELEASE, REPLAY, RETRACT, correction_config, ingest_config
from orchestration.resources import Footfall
from orchestration.running import Runner
from tests.integration.orchestrating import checks, installation, run_job, said, told, value
from warehouse.connections import Warehouse

HEADER = "timestamp,person_id,camera_id,event_type\n"
MORNING = ["2024-05-01 09:00:00,ann,C1,entry", "2024-05-01 09:30:00,ann,C1,exit"]
EVENING = ["2024-05-01 18:00:00,cat,C1,entry", "2024-05-01 18:10:00,cat,C1,exit"]
NOON = ["2024-05-01 12:00:00,bob,C1,entry", "2024-05-01 12:10:00,bob,C1,exit"]


def drop(footfall: Footfall, name: str, *rows: str) -> None:
    (footfall.settings.landing / name).write_text(HEADER + "".join(f"{row}\n" for row in rows))


def ingest(footfall: Footfall, instance: dg.DagsterInstance, *files: str) -> Any:
    return run_job(footfall, instance, INGEST, ingest_config(files, quiet=True))


def correct(footfall: Footfall, instance: dg.DagsterInstance, job: str, *files: str, **options: Any) -> Any:
    config = correction_config(job, list(files) or None, quiet=True)
    return run_job(footfall, instance, job, config, **options)


def visits(warehouse: Warehouse) -> Any:
    """Who came when, in UTC."""
    told_of = "person_id || to_char(start_time at time zone 'UTC', ' HH24:MI')"
    return value(warehouse, f"select array_agg({told_of} order by start_time) from marts.visits")


def test_files_are_retracted_dropped_again_replayed_and_released(
    footfall: Footfall, instance: dg.DagsterInstance, warehouse: Warehouse
) -> None:
    drop(footfall, "a.csv", *MORNING, *NOON)
    drop(footfall, "b.csv", *NOON)
    drop(footfall, "c.csv", *EVENING)
    first = ingest(footfall, instance, "a.csv", "b.csv", "c.csv")
    assert visits(warehouse) == ["ann 09:00", "bob 12:00", "cat 18:00"]
    assert "Data version 1 published." in said(instance, first)

    # Retracted: what b.csv also brought stays.
    retracted = correct(footfall, instance, RETRACT, "a.csv")
    assert retracted.success
    assert visits(warehouse) == ["bob 12:00", "cat 18:00"]
    assert "Retracted: a.csv" in said(instance, retracted)
    assert "Data version 2 published." in said(instance, retracted)
    assert (
        "Retracted: `a.csv`" in told(retracted, EVENTS)["verdicts"]
        or "Retracted: a.csv" in told(retracted, EVENTS)["verdicts"]
    )
    assert {"rows_add_up", "files_usable"} < set(checks(retracted))
    assert all(check.passed for check in checks(retracted).values())
    made = {event.asset_key for event in retracted.all_events if event.is_step_materialization}
    assert made > RAW_KEYS
    assert dg.AssetKey(["marts", "data_version"]) in made

    # Dropped again under another time zone, of which the run says whom else it concerns.
    footfall.settings.cameras_file.write_text("camera_id,timezone\nC1,Europe/Berlin\n")
    drop(footfall, "a.csv", *MORNING)
    drop(footfall, "bad.csv", "2024-05-01 21:00:00,eve,C1,entry", "never,eve,C1,exit")
    load = ingest(footfall, instance, "a.csv", "bad.csv")
    assert visits(warehouse) == ["ann 07:00", "bob 12:00", "cat 18:00"]
    assert "Camera C1 is on the camera list now." in said(instance, load)
    assert "2 files were loaded under other settings (b.csv: " in said(instance, load)
    assert not checks(load)["files_usable"].passed

    # Replayed, but for one whose original is gone: that is told, and the marts follow all the same.
    originals = (footfall.settings.home / "archive").rglob("*.csv")
    next(path for path in originals if "cat" in path.read_text()).unlink()
    replayed = correct(footfall, instance, REPLAY)
    assert replayed.success
    assert visits(warehouse) == ["ann 07:00", "bob 10:00", "cat 18:00"]
    assert "b.csv is replayed: camera 'C1' is in time zone Europe/Berlin now" in said(instance, replayed)
    assert "c.csv cannot be replayed: its original" in said(instance, replayed)
    usable = checks(replayed)["files_usable"]
    assert (usable.passed, usable.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "c.csv cannot be replayed" in usable.description

    # Released: the good rows of a file that was quarantined whole.
    released = correct(footfall, instance, RELEASE, "bad.csv")
    assert released.success
    assert "bad.csv" in said(instance, released)
    assert visits(warehouse) == ["ann 07:00", "bob 10:00", "cat 18:00", "eve 19:00"]

    # What nobody ever dropped stops the run before anything is done.
    refused = correct(footfall, instance, RETRACT, "a.csv", "absent.csv", raise_on_error=False)
    assert not refused.success
    assert "absent.csv" in refused.failure_data_for_node("load_files").user_failure_data.description
    nobody = run_job(footfall, instance, RETRACT, raise_on_error=False)
    assert "Name them." in nobody.failure_data_for_node("load_files").user_failure_data.description
    assert value(warehouse, "select count(*) from marts.visits") == 4


def test_a_failing_check_leaves_the_data_version_where_it_was(
    footfall: Footfall, instance: dg.DagsterInstance, warehouse: Warehouse, tmp_path: Path
) -> None:
    drop(footfall, "a.csv", *MORNING)
    ingest(footfall, instance, "a.csv")
    drop(footfall, "b.csv", *NOON)
    with warehouse.connect("owner", autocommit=True) as connection:
        connection.execute(
            "create function raw.wrong() returns trigger language plpgsql as"
            " $$ begin delete from raw.parameters where name = 'repeat_seconds'; return null; end $$"
        )
        connection.execute("create trigger wrong after insert on raw.files execute function raw.wrong()")
    result = run_job(footfall, instance, INGEST, ingest_config(["b.csv"], quiet=True), raise_on_error=False)
    assert not result.success
    assert "dbt's steps failed" in result.failure_data_for_node("build_models").user_failure_data.description
    assert "Data version 1 stays: a step or a check failed." in said(instance, result)
    assert value(warehouse, "select array_agg(version) from marts.data_version") == [1]

    # Put right, and with another setting of the models: the log says what that leads to.
    with warehouse.connect("owner", autocommit=True) as connection:
        connection.execute("drop trigger wrong on raw.files")
    changed = said(instance, ingest(installation(tmp_path, warehouse, visit_gap_minutes=10), instance))
    assert "visit_gap_minutes was 30, is 10." in changed
    assert "int_visits is refreshed fully: visit_gap_minutes is 10" in changed
    assert "Data version 2 published." in changed
    assert visits(warehouse) == ["ann 09:00", "bob 12:00"]


@pytest.fixture
def commands(footfall: Footfall, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Footfall:
    """The commands find the test's warehouse running, and keep Dagster's storage in a folder."""
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))

    @contextlib.contextmanager
    def started(settings: Any, out: Console) -> Iterator[Runner]:
        yield Runner(settings, footfall.warehouse, out)

    monkeypatch.setattr(correcting, "started", started)
    return footfall


@pytest.mark.soak
def test_the_commands_say_what_was_done_and_how_to_undo_it(
    commands: Footfall, instance: dg.DagsterInstance, warehouse: Warehouse, tmp_path: Path
) -> None:
    settings = commands.settings

    def command(kind: Any, *names: str) -> tuple[int, str]:
        with (tmp_path / "out").open("w+", encoding="utf-8") as stream:
            out = Console(file=stream, soft_wrap=True, highlight=False)
            if names:
                code = correct_files(settings, kind, names, out)
            else:
                code = replay_outdated(settings, out, all_loaded=kind == "all")
            stream.flush()
            return code, (tmp_path / "out").read_text(encoding="utf-8")

    assert command("all") == (3, "Nothing to replay: every loaded file was judged by the settings of today.\n")
    for site in ("north", "south"):
        (settings.landing / site).mkdir()
    drop(commands, "north/a.csv", *MORNING)
    drop(commands, "south/a.csv", *NOON)
    drop(commands, "bad.csv", *EVENING, "never,eve,C1,exit")
    ingest(commands, instance, "north/a.csv", "south/a.csv", "bad.csv")

    with pytest.raises(CorrectingProblem) as problem:
        command("retract", "north/a.csv", "absent.csv")
    assert str(problem.value).startswith("No file in the ledger is 'absent.csv'.")
    with pytest.raises(CorrectingProblem) as problem:
        command("retract", "a.csv")
    assert str(problem.value).startswith("'a.csv' could be any of 2 files: north/a.csv (")
    code, out = command("retract", "north/a.csv")
    assert code == 0
    assert "Retracted: north/a.csv" in out
    assert "Data version 2 published." in out
    assert "To undo it, drop the file again. The archive keeps the original:\n  north/a.csv: " in out
    assert "09:00:00,ann" in Path(out.splitlines()[-1].split(": ")[1]).read_text()
    assert visits(warehouse) == ["bob 12:00"]
    assert command("retract", "north/a.csv") == (3, "north/a.csv is retracted already.\n")

    code, out = command("release", "bad.csv")
    assert (code, "bad.csv" in out, "`footfall retract FILE`" in out) == (0, True, True)
    assert visits(warehouse) == ["bob 12:00", "cat 18:00"]
    assert command("release", "bad.csv") == (3, "bad.csv is loaded already.\n")
    assert command("replay")[0] == 3
    code, out = command("all")
    assert code == 0
    assert "Replayed: south/a.csv" in out
    assert "Replayed: bad.csv" in out
    assert visits(warehouse) == ["bob 12:00", "cat 18:00"]
