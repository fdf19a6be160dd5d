"""What follows publication: reports on files, and what Great Expectations finds; neither holds anything back.

A report is written at once, and again when the expectations are known: those take much longer. What stands in a
report is `validation.file_report`'s, what is expected `validation.expectations`'.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import dagster as dg
from pydantic import Field

from orchestration.addresses import pages_address
from orchestration.checks import check_result
from orchestration.launcher import begin_work
from orchestration.resources import Footfall
from validation import check_log
from validation.data_docs import prune_docs
from validation.expectations import EXPECTATIONS, judge_expectations
from validation.file_report import Written, write_report
from validation.report_log import files_reported_by, files_to_report, prune_reports, runs_of

FILE_REPORT: Final = dg.AssetKey(["quality", "file_report"])
PUBLISHED: Final = dg.AssetKey(["marts", "data_version"])
REPORT_OP: Final = "write_reports"
EXPECTATIONS_OP: Final = "check_expectations"
_AT_ONCE: Final = 50
_KEPT_REPORTS: Final = 1_000
_KEPT_DOCS: Final = 100
# Longer Markdown makes a page that nobody reads; every report is a page of its own besides.
_REPORTS_TOLD: Final = 5


class WriteReports(dg.Config):
    """Which files are reported on."""

    files: list[int] = Field(
        [], description="file_id of each, from raw.files. None: those whose state was decided after their last report."
    )


def report_config(files: Sequence[int]) -> dict[str, Any]:
    """Return the run configuration by which a run reports on these files."""
    return {"ops": {REPORT_OP: {"config": {"files": list(files)}}}}


@dg.asset(
    name="file_report",
    key_prefix="quality",
    op_name=None,
)
def _unused() -> None: ...
