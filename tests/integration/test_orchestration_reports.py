"""What follows publication: the sensor that has reports written, and the job that writes them and judges."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.test_utils import create_run_for_test

from orchestration.assets.quality import FILE_REPORT
from orchestration.definitions import build_definitions
from orchestration.jobs import AFTERWARDS, INGEST, REPORT, ingest_config
from orchestration.report_sensor import build_report_sensor
from orchestration.resources import Footfall
from tests.integration.flawed import DAY, good_day
from tests.integration.orchestrating import Ticks, checks, run_job, told, value
from validation.expectations import EXPECTATIONS
from validation.reports import prose
from warehouse.connections import Warehouse


@pytest.fixture
def ticks(footfall: Footfall, instance: dg.DagsterInstance) -> Ticks:
    return Ticks(build_report_sensor, footfall, instance)


def ingest(footfall: Footfall, instance: dg.DagsterInstance, **files: bytes) -> Any:
    for name, content in files.items():
        (footfall.settings.landing / f"{name}.csv").write_bytes(content)
    return run_job(footfall, instance, INGEST, ingest_config([f"{name}.csv" for name in files], quiet=True))


def asked(ticks: Ticks) -> list[int] | None:
    """The files that a tick asks to be reported on; None where it asks for nothing."""
    result = ticks.tick()
    if not result.run_requests:
        return None
    (request,) = result.run_requests
    (op,) = request.run_config["ops"].values()
    return list(op["config"]["files"])


def reason(ticks: Ticks) -> str | None:
    """Why a tick asks for nothing."""
    skipped = ticks.tick().skip_reason
    return None if skipped is None else skipped.skip_message  # type: ignore[union-attr]


def page(footfall: Footfall, file_id: int) -> Path:
    return footfall.settings.reports / "files" / str(file_id) / "index.html"


def test_a_loaded_file_is_reported_on_and_then_judged_by_what_is_expected(
    footfall: Footfall, instance: dg.DagsterInstance, warehouse: Warehouse, ticks: Ticks
) -> None:
    assert asked(ticks) is None
    result = ingest(footfall, instance, first=good_day(DAY), bad=b"a,b\n1,2\n")
    version = value(warehouse, "select max(version) from marts.data_version")
    assert not page(footfall, 1).exists()

    files = asked(ticks)
    assert files == [1, 2]
    # Not twice at once, and not at once again what was asked for in vain.
    assert asked(ticks) is None
    run = run_job(footfall, instance, REPORT, {"ops": {"write_reports": {"config": {"files": files}}}})
    assert run.success
    assert reason(ticks) == "Every file has its report."

    metadata = told(run, FILE_REPORT)
    assert metadata["reports"] == 2
    assert metadata["1. page"] == "http://127.0.0.1:8000/reports/files/1/"
    assert "first.csv" in metadata["1. report"]
    assert "bad.csv" in metadata["2. report"]
    found = checks(run)
    assert set(found) == {one.name for one in EXPECTATIONS}
    assert {check.severity for check in found.values()} == {dg.AssetCheckSeverity.WARN}
    links = {check.metadata["more"].value for check in found.values()}
    docs = footfall.settings.reports / "expectations" / run.run_id
    for link in links:
        address, _, anchor = link.partition("#")
        assert address.startswith(f"http://127.0.0.1:8000/reports/expectations/{run.run_id}/")
        assert f'id="{anchor}"' in (docs / address.rpartition("/")[2]).read_text()
    # The second report has the expectations in it, and nothing of this moved the data version.
    second = page(footfall, 1).with_name("report.md").read_text()
    for one in EXPECTATIONS:
        assert prose(one.title) in second
        assert prose(one.title) not in metadata["1. report"]
    with warehouse.connect("loader") as connection:
        reports = connection.execute("select file_id, run_id, expectations_run_id from raw.file_reports").fetchall()
        layers = connection.execute("select distinct run_id, layer from raw.check_outcomes").fetchall()
    assert sorted(reports) == [(1, run.run_id, run.run_id), (2, run.run_id, run.run_id)]
    assert set(layers) == {(result.run_id, "rows"), (result.run_id, "relations"), (run.run_id, "expectations")}
    assert value(warehouse, "select max(version) from marts.data_version") == version


def test_a_file_waits_for_the_run_that_has_it_and_a_while_for_those_that_load_others(
    footfall: Footfall,
    instance: dg.DagsterInstance,
    warehouse: Warehouse,
    ticks: Ticks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ingest(footfall, instance, first=good_day(DAY))
    run = create_run_for_test(instance, job_name=INGEST, status=DagsterRunStatus.STARTED)
    with warehouse.connect("loader") as connection:
        connection.execute("update raw.files set run_id = %s", [run.run_id])
    assert asked(ticks) is None
    ingest(footfall, instance, second=good_day(DAY + timedelta(days=1)))
    assert reason(ticks) == "Files are being loaded; reports come after them."
    monkeypatch.setattr("orchestration.report_sensor.PATIENCE", timedelta(0))
    assert asked(ticks) == [2]
    instance.report_run_failed(run)
    assert asked(ticks) == [1, 2]


def test_only_one_run_writes_reports_at_a_time(footfall: Footfall, instance: dg.DagsterInstance, ticks: Ticks) -> None:
    ingest(footfall, instance, first=good_day(DAY))
    run = create_run_for_test(instance, job_name=REPORT, status=DagsterRunStatus.STARTED)
    assert reason(ticks) == "Reports are being written."
    instance.report_run_failed(run)
    assert asked(ticks) == [1]
    # That run did not come to it either: patience grows, and a new file is asked for at once.
    assert "in vain" in str(reason(ticks))
    ingest(footfall, instance, second=good_day(DAY + timedelta(days=1)))
    assert asked(ticks) == [1, 2]


def test_what_is_expected_and_cannot_be_asked_is_not_green(
    footfall: Footfall, instance: dg.DagsterInstance, warehouse: Warehouse
) -> None:
    ingest(footfall, instance, first=good_day(DAY))
    with warehouse.connect("transformer") as connection:
        connection.execute("alter table marts.camera_daily rename to elsewhere")
    run = run_job(footfall, instance, REPORT, {"ops": {"write_reports": {"config": {"files": [1]}}}})
    assert run.success
    could_not = [check for check in checks(run).values() if check.metadata["status"].value == "could not check"]
    assert could_not
    assert not any(check.passed for check in could_not)
    assert all(check.description.startswith("Could not be checked. ") for check in could_not)


def test_nobody_waits_for_reports(footfall: Footfall) -> None:
    definitions = build_definitions(footfall)
    assert {REPORT} == AFTERWARDS
    graph = definitions.resolve_job_def(INGEST).asset_layer
    names = {key.path[0] for key in graph.executable_asset_keys}
    assert "quality" not in names
