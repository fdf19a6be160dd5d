"""What is told of files, days of arrival and failed checks: every state of a file, repairs, lateness, days' edges."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.dropping import Dropping, csv_of, good_rows
from tests.integration.modelling import Models
from validation import check_log
from validation.checks import CheckOutcome
from validation.corrections import retract_file

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
_ROWS = ("rows_read", "rows_loaded", "rows_rejected", "rows_duplicate", "rows_held")


def put(models: Models, name: str, state: str = "loaded", **values: Any) -> int:
    """Write a file into the ledger, and return its number."""
    row = {
        "sha256": name,
        "file_name": name,
        "size_bytes": 1,
        "state": state,
        "arrived_at": NOON,
        "finished_at": None if state == "loading" else NOON,
        **(dict.fromkeys(_ROWS[:4], 0) if state == "loaded" else {}),
        **values,
    }
    columns, marks = ", ".join(row), ", ".join(["%s"] * len(row))
    statement = f"insert into raw.files ({columns}) values ({marks}) returning file_id"
    (file_id,) = models.owner.execute(statement, [*row.values()]).fetchone() or (0,)  # type: ignore[arg-type]
    return int(file_id)


def test_a_quarantine_is_open_until_a_loaded_file_repairs_it(models: Models) -> None:
    waits = put(models, "waits", "quarantined")
    repaired = put(models, "repaired", "quarantined")
    put(models, "first repair", repairs_file_id=repaired)
    newest = put(models, "newest repair", repairs_file_id=repaired)
    put(models, "retracted repair", "retracted", repairs_file_id=repaired)
    tried = put(models, "tried", "quarantined")
    failed_try = put(models, "a repair that was no use", "quarantined", repairs_file_id=tried)
    in_the_end = put(models, "its repair", repairs_file_id=failed_try)
    vain = put(models, "in vain", "quarantined")
    vain_try = put(models, "no use either", "quarantined", repairs_file_id=vain)
    flawed = put(models, "flawed", rows_read=2, rows_loaded=1, rows_rejected=1)
    mended = put(models, "mended", repairs_file_id=flawed)
    circle = put(models, "circle")
    models.owner.execute("update raw.files set repairs_file_id = file_id where file_id = %s", [circle])
    models.run()
    told = {row["file_id"]: row for row in models.records("file_quality")}
    open_ones = {file_id for file_id, row in told.items() if row["is_open_quarantine"]}
    assert open_ones == {waits, vain, vain_try}
    repairs = {file_id: row["repaired_by_file_id"] for file_id, row in told.items() if row["repaired_by_file_id"]}
    assert repairs == {repaired: newest, tried: in_the_end, failed_try: in_the_end, flawed: mended}


def test_a_file_is_late_whose_newest_event_is_more_than_a_day_older(models: Models) -> None:
    day = timedelta(days=1)
    times = {"day": NOON - day, "more": NOON - day - timedelta(microseconds=1), "future": NOON + day}
    for name, newest in times.items():
        put(models, name, first_event_time=newest - day, last_event_time=newest)
    put(models, "none")
    models.run()
    columns = "file_name, is_late, lag_seconds"
    assert models.rows("file_quality", columns) == [
        ("day", False, 86400.0),
        ("future", False, -86400.0),
        ("more", True, 86400.000001),
        ("none", False, None),
    ]


def test_a_verdict_is_told_while_it_is_of_the_files_present_state(models: Models) -> None:
    now, loading = put(models, "now"), put(models, "loading", "loading")
    changed = put(models, "changed", finished_at=NOON + timedelta(seconds=1))
    put(models, "none")
    for file_id in (now, loading, changed):
        models.owner.execute(
            "insert into raw.file_reports (file_id, told_of, run_id, verdict) values (%s, %s, 'r', 'Usable.')",
            [file_id, NOON],
        )
    models.run()
    verdicts = dict(models.rows("file_quality", "file_name, verdict"))
    assert verdicts == {"now": "Usable.", "loading": None, "changed": None, "none": None}


@pytest.mark.soak
def test_a_report_makes_no_new_data_version(models: Models) -> None:
    file_id = put(models, "a")
    models.build()
    before = models.rows("data_version", "version")
    models.owner.execute(
        "insert into raw.file_reports (file_id, told_of, run_id, verdict) values (%s, now(), 'r', 'Usable.')", [file_id]
    )
    models.build()
    assert models.rows("data_version", "version") == before


def test_days_of_arrival(models: Models) -> None:
    """Every state at once, on both sides of midnight in UTC, whatever the zone of whoever reads."""
    last, first = datetime(2024, 6, 1, 23, 59, 59, 999999, UTC), datetime(2024, 6, 2, tzinfo=UTC)
    put(models, "a", arrived_at=last, **dict(zip(_ROWS, (10, 6, 1, 3, None), strict=True)))
    put(models, "b", "quarantined", arrived_at=last, **dict(zip(_ROWS, (4, None, 3, 0, 1), strict=True)))
    put(models, "c", "failed", arrived_at=last)
    put(models, "d", "retracted", arrived_at=last, **dict(zip(_ROWS, (5, None, 1, 0, 4), strict=True)))
    put(models, "e", "loading", arrived_at=last)
    put(models, "f", "quarantined", arrived_at=last)
    put(models, "g", arrived_at=last, site="shop", notices='[{"code": "mixed_line_endings", "sentence": "…"}]')
    put(models, "h", arrived_at=first, last_event_time=last - timedelta(days=2), first_event_time=last - timedelta(9))
    models.build()
    with models.warehouse.connect("bi_reader") as reader:
        reader.execute("set timezone = 'Pacific/Kiritimati'")
        rows = reader.execute(
            """
            select
                arrival_date, site_id, files_received, files_usable, files_with_warnings, files_quarantined,
                files_retracted, files_failed, files_loading, files_late, open_quarantines, rows_read, rows_loaded,
                rows_rejected, rows_duplicate, rows_held, rejected_share
            from marts.quality_daily
            order by arrival_date, site_id nulls first
            """
        ).fetchall()
    assert rows == [
        (date(2024, 6, 1), None, 6, 1, 1, 2, 1, 1, 1, 0, 2, 19, 6, 5, 3, 5, 5 / 19),
        (date(2024, 6, 1), "shop", 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, None),
        (date(2024, 6, 2), None, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, None),
    ]


def outcome(name: str, status: Any, layer: Any = "relations", **values: Any) -> CheckOutcome:
    return CheckOutcome(name, name.upper(), "marts", "kpis", layer, status, f"{name} {status}", **values)


def test_a_failed_check_is_told_of_until_it_passes(models: Models) -> None:
    runs = {
        "run 1": [outcome("a", "failed"), outcome("b", "passed"), outcome("c", "failed", "expectations")],
        "run 2": [outcome("a", "passed"), outcome("b", "could_not_check")],
        "run 3": [outcome("rows", "failed", "rows", file_id=1), outcome("rows", "passed", "rows", file_id=2)],
    }
    for run_id, outcomes in runs.items():
        with models.warehouse.connect("loader") as loader:
            check_log.record(loader, run_id, outcomes)
    models.run()
    columns = "check_name, title, file_id, severity, status, sentence"
    assert models.rows("failed_checks", columns) == [
        ("b", "B", None, "error", "could_not_check", "b could_not_check"),
        ("c", "C", None, "warning", "failed", "c failed"),
        ("rows", "ROWS", 1, "warning", "failed", "rows failed"),
    ]


@pytest.fixture
def house(models: Models, tmp_path: Path) -> Dropping:
    landing = tmp_path / "landing"
    landing.mkdir()
    return Dropping(models.warehouse, tmp_path / "home", landing)


def test_loaded_files_have_warnings_as_their_verdicts_say(house: Dropping, models: Models) -> None:
    bad = "not a time,p,CAM-1,entry"
    contents = {
        "clean.csv": csv_of(good_rows(60)),
        "rejects.csv": csv_of([*good_rows(60, "Q"), bad]),
        "crlf.csv": csv_of(good_rows(60, "R")).replace(b"\n", b"\r\n", 7),
        "empty.csv": csv_of([]),
        "quarantined.csv": csv_of([*good_rows(3, "S"), bad]),
    }
    outcomes = {name: house.load(content, name) for name, content in contents.items()}
    outcomes["clean.csv "] = house.load(csv_of(good_rows(60, "T")), "clean.csv ")
    retract_file(str(house.load(csv_of([*good_rows(60, "U"), bad]), "gone.csv").sha256), house.context())
    models.build()
    told = dict(models.rows("file_quality", "file_id, has_warnings"))
    for name, found in outcomes.items():
        assert told[found.file_id] == (found.state == "loaded" and found.has_warnings), name
    assert set(told.values()) == {True, False}
    assert models.rows("file_quality", "has_warnings", "file_id")[-1] == (False,), "a retracted one has none"
    notices = {name: len(found.notices) for name, found in outcomes.items()}
    counted = dict(models.rows("file_quality", "file_name, notice_count"))
    assert {name: counted[found.name] for name, found in outcomes.items()} == notices
    assert any(notices.values())


def test_the_models_know_the_same_harmless_notices(models: Models) -> None:
    from validation.outcomes import _NO_WARNINGS

    macro = (Path(__file__).parents[2] / "dbt_project" / "macros" / "notices.sql").read_text()
    path = macro.split("? (")[1].split(")'")[0]
    assert {part.split('"')[1] for part in path.split("&&")} == _NO_WARNINGS


def test_rejected_rows_with_each_of_their_reasons(models: Models) -> None:
    file_id = put(models, "flawed", rows_read=2, rows_loaded=1, rows_rejected=1)
    for reason, column in enumerate(("timestamp", None), start=1):
        models.owner.execute(
            "insert into raw.rejects (file_id, row_number, reason, column_name, code, sentence, raw_text)"
            " values (%s, 3, %s, %s, 'code', 'What is wrong.', 'a,b')",
            [file_id, reason, column],
        )
    models.run()
    columns = "file_id, row_number, reason, column_name, code, sentence, raw_text"
    assert models.rows("file_rejects", columns, "reason") == [
        (file_id, 3, 1, "timestamp", "code", "What is wrong.", "a,b"),
        (file_id, 3, 2, None, "code", "What is wrong.", "a,b"),
    ]
    with models.warehouse.connect("api") as connection:
        assert connection.execute("select count(*) from marts.file_rejects").fetchone() == (2,)
