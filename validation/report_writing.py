"""Putting reports where people find them: `reports/files/NUMBER/`, with a page, the same as Markdown, and the rejects.

Which files are due, writing them, and removing the oldest is here; what they say is made in `file_report` and
`report_pages`.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psycopg

from validation.archive import Archive
from validation.file_report import read_report
from validation.outcomes import WITH_WARNINGS
from validation.quarantine import rejects_of, write_rejects_file
from validation.report_facts import FileReport, Related
from validation.report_pages import markdown, page
from validation.storable import storable

PAGE: Final = "index.html"
TEXT: Final = "report.md"
REJECTS: Final = "rejects.csv"
_FILES: Final = "files"
# People other than the one who runs Footfall may read reports where the folder lets them.
_MODE: Final = 0o644

# More folders than that are not looked for in one call.
_PRUNED_AT_ONCE: Final = 200


@dataclass(frozen=True, slots=True)
class Written:
    """A report that was written: the verdict, the page, and the same in Markdown, whose links lead to the web page."""

    file_id: int
    verdict: str
    path: Path
    markdown: str


@dataclass(frozen=True, slots=True)
class Due:
    """A file to be reported on: the run that decided its newest state, and when."""

    file_id: int
    run_id: str | None
    decided_at: datetime


def files_to_report(connection: psycopg.Connection[Any], limit: int) -> list[Due]:
    """Return the files whose newest state no report tells of, or of whose repair none does; the oldest first."""
    rows = connection.execute(
        """
        select files.file_id, files.run_id, greatest(files.finished_at, repairs.finished_at)
        from raw.files
        left join raw.file_reports as reports using (file_id)
        left join (
            select repairs_file_id as file_id, max(finished_at) as finished_at
            from raw.files
            where repairs_file_id is not null
            group by repairs_file_id
        ) as repairs using (file_id)
        where files.state in ('loaded', 'quarantined', 'retracted', 'failed')
            and (reports.file_id is null or greatest(files.finished_at, repairs.finished_at) > reports.told_of)
        order by files.finished_at, files.file_id
        limit %s
        """,
        (limit,),
    ).fetchall()
    return [Due(*row) for row in rows]


def write_report(
    connection: psycopg.Connection[Any],
    file_id: int,
    run_id: str,
    *,
    folder: Path,
    archive: Path,
    address: str,
    expectations_run_id: str | None = None,
) -> Written:
    """Write a file's report anew, and note which state it tells of.

    The connection is one in autocommit mode, of the role `maintainer`. `folder` is the folder of all reports, `address`
    where people find it in a browser (`http://localhost:8000/reports`), `archive` that of the archived files.
    `expectations_run_id` as in `read_report`. Raises NoSuchFile, and OSError where the folder cannot be written to.
    """
    report = read_report(connection, file_id, expectations_run_id=expectations_run_id)
    mine = folder / _FILES / str(file_id)
    mine.mkdir(parents=True, exist_ok=True)
    rejects = _write_rejects(connection, report, mine / REJECTS, Archive(archive))
    report = _without_dead_links(connection, replace(report, has_rejects_file=rejects), folder)
    _replace(mine / TEXT, markdown(report))
    _replace(mine / PAGE, page(report))
    connection.execute(
        """
        insert into raw.file_reports (file_id, told_of, run_id, expectations_run_id, verdict, has_warnings)
        values (%s, %s, %s, %s, %s, %s)
        on conflict (file_id) do update set
            told_of = excluded.told_of, run_id = excluded.run_id, verdict = excluded.verdict, written_at = now(),
            has_warnings = excluded.has_warnings, expectations_run_id = excluded.expectations_run_id
        """,
        (
            file_id,
            report.told_of,
            run_id,
            report.expectations_run_id,
            storable(report.verdict),
            report.headline == WITH_WARNINGS,
        ),
    )
    return Written(file_id, report.verdict, mine / PAGE, markdown(report, address.rstrip("/")))


def prune_reports(folder: Path, keep: int) -> int:
    """Remove the oldest reports beyond so many, a bounded number at once; returns how many. The ledger keeps them."""
    numbered = sorted((int(one.name) for one in _folders(folder)), reverse=True)
    old = numbered[keep:][-_PRUNED_AT_ONCE:]
    for file_id in old:
        shutil.rmtree(folder / _FILES / str(file_id), ignore_errors=True)
    return len(old)


def _folders(folder: Path) -> list[Path]:
    with suppress(FileNotFoundError):
        return [one for one in (folder / _FILES).iterdir() if one.name.isdecimal() and one.is_dir()]
    return []


def _write_rejects(connection: psycopg.Connection[Any], report: FileReport, target: Path, archive: Archive) -> bool:
    """Write the rejected rows beside the report, to be corrected and dropped again; returns whether they are there."""
    target.unlink(missing_ok=True)
    original = archive.find(report.outcome.sha256 or "")
    if not report.has_rejects_file or original is None:
        return False
    write_rejects_file(
        target,
        report.outcome,
        original,
        rejects_of(connection, report.file_id),
        only_rejected=report.state == "loaded",
    )
    return True


def _without_dead_links(connection: psycopg.Connection[Any], report: FileReport, folder: Path) -> FileReport:
    """Leave out links to pages that are not there and will not be."""

    def linked(one: Related) -> Related:
        return replace(one, has_page=_has_page(connection, one.file_id, folder))

    checks = [
        line
        if line.outcome.link is None or _leads_somewhere(line.outcome.link, folder)
        else replace(line, outcome=replace(line.outcome, link=None))
        for line in report.checks
    ]
    return replace(
        report,
        checks=checks,
        repairs=linked(report.repairs) if report.repairs is not None else None,
        repaired_by=tuple(linked(one) for one in report.repaired_by),
    )


def _has_page(connection: psycopg.Connection[Any], file_id: int, folder: Path) -> bool:
    """Whether a file has a page, or is to get one soon; a page that was removed does not come back."""
    if (folder / _FILES / str(file_id) / PAGE).is_file():
        return True
    told = connection.execute("select from raw.file_reports where file_id = %s", (file_id,)).fetchone()
    return told is None


def _leads_somewhere(link: str, folder: Path) -> bool:
    return link.startswith(("http://", "https://")) or (folder / link.partition("#")[0].lstrip("/")).is_file()


def _replace(path: Path, text: str) -> None:
    """Write a file so that readers see the old one or the new one."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(text, encoding="utf-8")
    partial.chmod(_MODE)
    partial.replace(path)
