"""What follows publication: reports on files, and what Great Expectations finds; neither holds anything back.

A report is written at once, and again when the expectations are known: those take much longer. What stands in a
report is made in `validation.file_report`, what is expected stands in `validation.expectations`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import dagster as dg
import psycopg
from pydantic import Field

from orchestration.addresses import api_address
from orchestration.checks import asset_of, check_result
from orchestration.launcher import begin_work
from orchestration.resources import Footfall
from orchestration.settings import Settings
from validation import check_log
from validation.data_docs import prune_docs
from validation.expectations import EXPECTATIONS
from validation.expecting import judge_expectations
from validation.outcomes import on_one_line
from validation.report_writing import Written, files_to_report, prune_reports, write_report

FILE_REPORT: Final = dg.AssetKey(["quality", "file_report"])
REPORT_OP: Final = "write_reports"
EXPECTATIONS_OP: Final = "check_expectations"
_PUBLISHED: Final = dg.AssetKey(["marts", "data_version"])
# So many files go into one run; the next run takes the others.
AT_ONCE: Final = 50
_DOCS: Final = "expectations"
_KEPT_REPORTS: Final = 1_000
_KEPT_DOCS: Final = 100
# Longer Markdown makes a page that nobody reads; every report has a page of its own besides.
_REPORTS_TOLD: Final = 3


class WriteReports(dg.Config):
    """Which files are reported on."""

    files: list[int] = Field(
        [], description="file_id of each, from raw.files. None: those whose state was decided after their last report."
    )


def report_config(files: Sequence[int]) -> dict[str, Any]:
    """Return the run configuration by which a run reports on these files."""
    return {"ops": {REPORT_OP: {"config": {"files": list(files)}}}}


@dg.multi_asset(
    name=REPORT_OP,
    specs=[
        dg.AssetSpec(
            FILE_REPORT,
            deps=[_PUBLISHED],
            description="What became of each file, in words, figures and pictures.",
            group_name="quality",
            kinds={"python", "html"},
            owners=["team:operations"],
        )
    ],
)
def write_reports(
    context: dg.AssetExecutionContext, config: WriteReports, footfall: dg.ResourceParam[Footfall]
) -> dg.MaterializeResult[None]:
    """Write the report of each file."""
    begin_work(context.instance, context.run_id)
    settings = footfall.settings
    with footfall.warehouse.connect("maintainer", autocommit=True) as connection:
        files = config.files or [due.file_id for due in files_to_report(connection, AT_ONCE)]
        written = [_write(connection, footfall, file_id, context.run_id) for file_id in files]
    prune_reports(settings.reports, _KEPT_REPORTS)
    for one in written:
        context.log.info(on_one_line(one.verdict))
    return dg.MaterializeResult(asset_key=FILE_REPORT, metadata=_metadata(settings, written))


def _write(
    connection: psycopg.Connection[Any],
    footfall: Footfall,
    file_id: int,
    run_id: str,
    expectations_run_id: str | None = None,
) -> Written:
    settings = footfall.settings
    return write_report(
        connection,
        file_id,
        run_id,
        folder=settings.reports,
        archive=settings.home / "archive",
        address=_reports_address(settings),
        expectations_run_id=expectations_run_id,
    )


def _reports_address(settings: Settings) -> str:
    return f"{api_address(settings)}/reports"


def _metadata(settings: Settings, written: Sequence[Written]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"reports": len(written)}
    for number, one in enumerate(written[:_REPORTS_TOLD], 1):
        # They are shown by name, and the page is to stand before the text.
        label = f"{number}. " if len(written) > 1 else ""
        metadata[f"{label}page"] = dg.MetadataValue.url(f"{_reports_address(settings)}/files/{one.file_id}/")
        metadata[f"{label}report"] = dg.MetadataValue.md(one.markdown)
    return metadata


@dg.multi_asset_check(
    name=EXPECTATIONS_OP,
    can_subset=True,
    specs=[
        dg.AssetCheckSpec(
            one.name,
            asset=dg.AssetKey([one.schema, one.table]),
            description=one.title,
            additional_deps=[FILE_REPORT],
        )
        for one in EXPECTATIONS
    ],
)
def check_expectations(
    context: dg.AssetCheckExecutionContext, footfall: dg.ResourceParam[Footfall]
) -> Iterator[dg.AssetCheckResult]:
    """Judge what is new in this run's files, and the marts; then write the reports once more, with what was found."""
    settings, run_id = footfall.settings, context.run.run_id
    with footfall.warehouse.connect("maintainer", autocommit=True) as connection:
        reported = connection.execute(
            "select file_id, files.run_id from raw.file_reports inner join raw.files using (file_id)"
            " where file_reports.run_id = %s order by file_id",
            (run_id,),
        ).fetchall()
        outcomes = judge_expectations(
            footfall.warehouse,
            sorted({loaded_by for _, loaded_by in reported if loaded_by is not None}),
            settings.reports / _DOCS / run_id,
            f"{_reports_address(settings)}/{_DOCS}/{run_id}",
        )
        check_log.record(connection, run_id, outcomes)
        for file_id, _ in reported:
            _write(connection, footfall, file_id, run_id, run_id)
    prune_docs(settings.reports / _DOCS, _KEPT_DOCS)
    # Who picks a table by hand picks its checks with it, and nobody else's.
    for outcome in outcomes:
        if dg.AssetCheckKey(asset_of(outcome), outcome.name) in context.selected_asset_check_keys:
            yield check_result(outcome)
