"""Each check of rows and tables, passing and failing: what Dagster is told of it and what is kept."""

from __future__ import annotations

from typing import Any, get_args

import dagster as dg
import pytest

from orchestration.assets.events import EVENTS
from orchestration.assets.relations import title_of
from orchestration.checks import check_result
from orchestration.jobs import INGEST, ingest_config
from orchestration.resources import Footfall
from tests.integration.orchestrating import checks, run_job
from validation import check_log
from validation.checks import CheckOutcome, Layer, Status, severity
from validation.reports import ADVICE
from validation.row_checks import ROW_CHECKS
from warehouse.connections import Warehouse

GOOD = "2024-05-01 10:{minute:02d}:00,p{minute},CAM-1,entry"
# One row, or several, that fail a check; the header has an end time besides.
FLAWS = {
    "rows_are_whole": ["2024-05-01 11:00:00,p,CAM-1"],
    "required_values_present": [",,CAM-1,entry,", "2024-05-01 11:00:00,,CAM-1,entry,"],
    "timestamps_readable": ["some day,p,CAM-1,entry,"],
    "timestamps_in_range": ["1970-01-20 11:00:00,p,CAM-1,entry,"],
    "ids_valid": [f"2024-05-01 11:00:00,{'p' * 101},CAM-1,entry,"],
    "intervals_valid": ["2024-05-01 11:00:00,p,CAM-1,appearance,2024-05-01 10:00:00"],
}


def drop(footfall: Footfall, name: str, rows: list[str], good_rows: int = 58) -> None:
    good = [GOOD.format(minute=minute) + "," for minute in range(good_rows)]
    lines = ["timestamp,person_id,camera_id,event_type,end_time", *good, *rows, ""]
    (footfall.settings.landing / name).write_text("\n".join(lines))


def ingest(footfall: Footfall, instance: dg.DagsterInstance, *files: str, **options: Any) -> Any:
    return run_job(footfall, instance, INGEST, ingest_config(files, quiet=True), **options)


def kept(warehouse: Warehouse, run_id: str, layer: Layer) -> dict[str, CheckOutcome]:
    with warehouse.connect("loader") as connection:
        (file_id,) = connection.execute("select max(file_id) from raw.files").fetchone() or (None,)
        found = check_log.outcomes_of(connection, [run_id], file_id)
    return {one.name: one for one in found if one.layer == layer}


def test_every_code_that_rejects_a_row_belongs_to_one_check() -> None:
    codes = [code for check in ROW_CHECKS for code in check.codes]
    assert len(codes) == len(set(codes))
    assert set(codes) == set(ADVICE)
    assert set(FLAWS) == {check.name for check in ROW_CHECKS}


def test_each_check_of_rows_fails_by_its_own_flaw_alone(
    footfall: Footfall, instance: dg.DagsterInstance, warehouse: Warehouse
) -> None:
    names = []
    for check, rows in FLAWS.items():
        names.append(f"{check}.csv")
        drop(footfall, names[-1], rows)
    result = ingest(footfall, instance, *names)
    assert result.success
    with warehouse.connect("loader") as connection:
        files = dict(connection.execute("select file_name, file_id from raw.files").fetchall())
        by_file = {
            check: {
                one.name: one
                for one in check_log.outcomes_of(connection, [result.run_id], files[f"{check}.csv"])
                if one.file_id is not None
            }
            for check in FLAWS
        }
    for check, rows in FLAWS.items():
        for other, outcome in by_file[check].items():
            assert outcome.status == ("failed" if other == check else "passed"), (check, other)
            assert outcome.checked == 58 + len(rows)
            assert outcome.failed == (len(rows) if other == check else 0)
        assert by_file[check][check].sample[0].startswith("Row 60: ")
    for check, flaws in FLAWS.items():
        evaluation = checks(result)[check]
        facts = {name: entry.value for name, entry in evaluation.metadata.items()}
        assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert facts["rows_failed"] == len(flaws)
        assert facts["rows_checked"] == sum(58 + len(rows) for rows in FLAWS.values())
        assert "Row 60" in facts["sample"]
        assert f"{check}.csv" in evaluation.description


def test_a_row_with_two_reasons_counts_once_in_a_check(
    footfall: Footfall, instance: dg.DagsterInstance, warehouse: Warehouse
) -> None:
    drop(footfall, "two.csv", [",,CAM-1,entry,"])
    result = ingest(footfall, instance, "two.csv")
    assert kept(warehouse, result.run_id, "rows")["required_values_present"].failed == 1


def test_checks_of_a_clean_file_pass_in_all_layers(
    footfall: Footfall, instance: dg.DagsterInstance, warehouse: Warehouse
) -> None:
    drop(footfall, "clean.csv", [])
    result = ingest(footfall, instance, "clean.csv")
    found = checks(result)
    assert all(check.passed for check in found.values())
    assert found["required_values_present"].metadata["rows_checked"].value == 58
    assert {one.status for one in kept(warehouse, result.run_id, "rows").values()} == {"passed"}
    relations = kept(warehouse, result.run_id, "relations")
    assert {one.status for one in relations.values()} == {"passed"}
    # What is kept is what Dagster was told.
    raw = {check.check_name for check in found.values() if check.asset_key == EVENTS}
    assert set(relations) == set(found) - raw
    assert {one.severity for one in relations.values()} == {"error"}
    assert any(one.checked for one in relations.values())


def test_a_file_that_cannot_be_read_is_not_green(
    footfall: Footfall, instance: dg.DagsterInstance, warehouse: Warehouse
) -> None:
    (footfall.settings.landing / "other.csv").write_text("a,b\n1,2\n")
    result = ingest(footfall, instance, "other.csv")
    for check in ROW_CHECKS:
        evaluation = checks(result)[check.name]
        assert not evaluation.passed
        assert evaluation.description.startswith("Could not be checked. other.csv: ")
        assert evaluation.metadata["status"].value == "could not check"
        assert kept(warehouse, result.run_id, "rows")[check.name].status == "could_not_check"


def test_a_table_that_breaks_its_rule_holds_the_version_back_and_shows_the_rows(
    footfall: Footfall, instance: dg.DagsterInstance, warehouse: Warehouse
) -> None:
    drop(footfall, "first.csv", [])
    assert ingest(footfall, instance, "first.csv").success
    with warehouse.connect("transformer") as connection:
        connection.execute("update marts.site_daily set dwell_seconds_total = dwell_seconds_total + 7")
    drop(footfall, "second.csv", ["2024-07-02 11:00:00,<b>q,CAM-1,entry,"], good_rows=0)
    result = ingest(footfall, instance, "second.csv", raise_on_error=False)
    assert not result.success
    evaluation = checks(result)["buckets_conserve_dwell"]
    facts = {name: entry.value for name, entry in evaluation.metadata.items()}
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert facts["rows_failed"] == 1
    assert "site\\_daily" in facts["sample"] or "site_daily" in facts["sample"]
    outcome = kept(warehouse, result.run_id, "relations")["buckets_conserve_dwell"]
    assert (outcome.status, outcome.failed, outcome.gates) == ("failed", 1, True)
    assert "dwell_microseconds 7000000" in outcome.sample[0]
    (versions,) = _one(warehouse, "select count(*) from marts.data_version")
    assert versions == 1


def test_a_check_behind_a_step_that_failed_could_not_look(
    footfall: Footfall, instance: dg.DagsterInstance, warehouse: Warehouse
) -> None:
    drop(footfall, "first.csv", [])
    assert ingest(footfall, instance, "first.csv").success
    with warehouse.connect("transformer") as connection:
        connection.execute(
            "create function intermediate.no() returns trigger language plpgsql as 'begin raise ''no''; end'"
        )
        connection.execute(
            "create trigger no before insert or update on intermediate.int_sessions"
            " for each row execute function intermediate.no()"
        )
    drop(footfall, "second.csv", ["2024-05-02 11:00:00,q,CAM-1,entry,"])
    result = ingest(footfall, instance, "second.csv", raise_on_error=False)
    assert not result.success
    evaluation = checks(result)["buckets_conserve_dwell"]
    assert not evaluation.passed
    assert evaluation.description.startswith("Could not be checked. ")
    assert "rows_failed" not in evaluation.metadata
    assert kept(warehouse, result.run_id, "relations")["buckets_conserve_dwell"].status == "could_not_check"


@pytest.mark.parametrize("status", get_args(Status))
@pytest.mark.parametrize(("layer", "name"), [("rows", "rows_add_up"), ("rows", "ids_valid"), ("expectations", "x")])
def test_only_what_passed_is_green_and_the_policy_says_what_the_rest_is(
    status: Status, layer: Layer, name: str
) -> None:
    outcome = CheckOutcome(name, "Demand.", "raw", "events", layer, status, "Found.", 10, 3, sample=("a | <b>",))
    result = check_result(outcome)
    assert result.passed == (status == "passed")
    is_error = severity(layer, name) == "error"
    assert is_error == (name == "rows_add_up")
    assert (result.severity == dg.AssetCheckSeverity.ERROR) == is_error
    assert outcome.gates == (is_error and status != "passed")
    assert result.metadata["failed_share"].value == "30 %"
    assert "<b>" not in str(result.metadata["sample"].value)


def test_titles_of_tests_are_sentences(footfall: Footfall) -> None:
    manifest = _manifest(footfall)
    tests = [node for node in manifest["nodes"].values() if node["resource_type"] == "test"]
    assert tests
    for node in tests:
        title = title_of(node)
        assert title.endswith("."), title
        assert not title.lower().startswith(("not_null", "unique_", "holds_in", "accepted_values", "relationships"))


def _manifest(footfall: Footfall) -> Any:
    from orchestration.assets.models import read_manifest

    return read_manifest(footfall)


def _one(warehouse: Warehouse, query: str) -> tuple[Any, ...]:
    with warehouse.connect("bi_reader") as connection:
        row = connection.execute(query).fetchone()  # type: ignore[call-overload]
    assert row is not None
    return tuple(row)
