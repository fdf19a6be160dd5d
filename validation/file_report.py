"""Gathering all that a file's report says, from the database alone: it can be written at any time, and again.

What the ledger, the checks and the files before it say is read here; what its rows say as events, in `report_events`.
How it is worded is `report_pages`' business, where it is written `report_writing`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from statistics import median
from typing import Any, Final

import psycopg
from psycopg.rows import class_row, dict_row

from validation import check_log, report_events
from validation.headers import compare_headers
from validation.ledger import Ledger
from validation.masking import masked, with_masked_samples
from validation.outcomes import Correction, Outcome, Problem
from validation.problems import Reject
from validation.report_facts import (
    CheckLine,
    Drift,
    Drop,
    FileReport,
    Neighbour,
    Publication,
    Reason,
    Related,
)

# How far back trends look.
FILES_BACK: Final = 30
# Rows of the files before that are looked at for words and cameras: so many times the file's own, between these.
_ROWS_BACK: Final = 3
_ROWS_BACK_BOUNDS: Final = (100_000, 500_000)
_FIRST_ROWS: Final = 5
_SAMPLES_OF_A_REASON: Final = 2
_SAMPLES: Final = 20
_LISTED: Final = 100


class NoSuchFile(Exception):
    """The ledger has no file with this number that was judged to the end."""


def read_report(
    connection: psycopg.Connection[Any], file_id: int, *, expectations_run_id: str | None = None
) -> FileReport:
    """Gather the report on a file, in one snapshot of the database.

    The connection is in autocommit mode and reads `raw` and `marts` (the role `maintainer`). `expectations_run_id` is
    the run whose expectations are told of; without it, the one that the last report on the same state told of. Raises
    NoSuchFile.
    """
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read")
        with connection.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute(
                """
                select
                    files.*,
                    greatest(
                        files.finished_at,
                        (select max(finished_at) from raw.files as repair where repair.repairs_file_id = files.file_id)
                    ) as told_of,
                    reports.expectations_run_id, reports.told_of >= files.finished_at as is_told_of
                from raw.files
                left join raw.file_reports as reports using (file_id)
                where files.file_id = %s
                """,
                (file_id,),
            ).fetchone()
        if row is None or row["finished_at"] is None:
            raise NoSuchFile(f"The ledger has no file {file_id} that was judged to the end.")
        run = expectations_run_id or (row["expectations_run_id"] if row["is_told_of"] else None)
        return _Reading(connection, row, run).report()


@dataclass(frozen=True)
class _Reading:
    """One report in the making; `row` is what the ledger has of the file."""

    connection: psycopg.Connection[Any]
    row: Mapping[str, Any]
    expectations_run_id: str | None

    @property
    def file_id(self) -> int:
        return int(self.row["file_id"])

    def report(self) -> FileReport:
        row, state = self.row, self.row["state"]
        outcome = Ledger(self.connection).recorded(row["sha256"])
        publication = self._publication()
        window = self._window()
        neighbours = tuple(neighbour for neighbour, _, _ in window)
        samples = self._samples(outcome)
        is_loaded = state == "loaded"
        report = FileReport(
            self.file_id,
            state,
            self._completed(outcome, publication, samples),
            told_of=row["told_of"],
            error=row["error"],
            released=row["released"],
            publication=publication,
            checks=self._checks(window),
            expectations_run_id=self.expectations_run_id,
            reasons=self._reasons(),
            samples=samples,
            earlier=neighbours,
            drift=self._drift_of_columns(outcome, neighbours),
            first_event=row["first_event_time"],
            last_event=row["last_event_time"],
            usual_lag=self._usual_lag(neighbours[1:]),
            repairs=next(iter(self._related("file_id = %s", row["repairs_file_id"])), None),
            repaired_by=self._related("repairs_file_id = %s", self.file_id),
            drops=self._drops(),
            has_rejects_file=bool(outcome.reject_counts) or state == "quarantined",
        )
        return self._with_events(report, publication) if is_loaded else report

    def _completed(self, outcome: Outcome, publication: Publication | None, samples: tuple[Reject, ...]) -> Outcome:
        """Add what the ledger has besides: why the file cannot be used, and what became of its events."""
        row = self.row
        problem = Problem(row["error_code"], row["error"] or "", "") if row["error_code"] else None
        correction = None
        if row["state"] == "quarantined" and publication is not None and publication.taken_back:
            correction = Correction("replay", events_removed=publication.taken_back)
        share = (row["rules"] or {}).get("max_rejected_share")
        return replace(
            outcome,
            problem=problem,
            correction=correction,
            max_rejected_share=share,
            first_rejects=samples,
        )

    # What became of it

    def _publication(self) -> Publication | None:
        """Find the data version that was the first to tell of the file's last batch, or what holds it back."""
        if self.row["batch_id"] is None:
            return None
        batch_id, kind, created_at, events, taken_back = self._one(
            """
            select
                batch_id, kind, created_at,
                (select count(*) from raw.events where events.batch_id = batches.batch_id),
                (select count(*) from raw.retracted_events where retracted_events.batch_id = batches.batch_id)
            from raw.batches where batch_id = %s
            """,
            self.row["batch_id"],
        )
        known = Publication(batch_id, kind, events, taken_back)
        if self._is_there("marts.data_version"):
            found = self.connection.execute(
                "select version, published_at from marts.data_version where %s = any(batches) order by version limit 1",
                (batch_id,),
            ).fetchone()
            if found is not None:
                version, published_at = found
                since = self.row["arrived_at"] if kind == "load" else created_at
                after = max(published_at - since, timedelta())
                return replace(known, version=version, published_at=published_at, after=after)
        held = self.connection.execute(
            """
            select title, sentence from raw.check_outcomes
            where severity = 'error' and status <> 'passed' and decided_at >= %s
            order by status = 'failed' desc, decided_at desc limit 1
            """,
            (created_at,),
        ).fetchone()
        return replace(known, held_back=f"this check did not pass: {held[0]} {held[1]}") if held else known

    def _related(self, condition: str, file_id: int | None) -> tuple[Related, ...]:
        if file_id is None:
            return ()
        rows = self.connection.execute(
            f"select file_id, file_name, state, finished_at from raw.files where {condition} order by file_id"  # noqa: S608
            " limit 100",
            (file_id,),
        ).fetchall()
        return tuple(Related(*row) for row in rows)

    def _drops(self) -> tuple[Drop, ...]:
        with self.connection.cursor(row_factory=class_row(Drop)) as cursor:
            return tuple(
                cursor.execute(
                    "select path, arrived_at, outcome from raw.arrivals where sha256 = %s"
                    " order by arrival_id desc limit 20",
                    (self.row["sha256"],),
                )
            )

    # The files before it

    def _window(self) -> list[tuple[Neighbour, str | None, str | None]]:
        """Return the last files of the source up to this one, newest first, with the runs that judged them.

        Files are in the order in which their contents were first seen; what could not be read fits any profile.
        """
        rows = self.connection.execute(
            """
            select
                files.file_id, file_name, state, arrived_at, rows_read, rows_rejected,
                files.run_id, reports.expectations_run_id
            from raw.files
            left join raw.file_reports as reports using (file_id)
            where files.file_id <= %(file_id)s and site is not distinct from %(site)s
                and (profile = %(profile)s or profile is null or %(profile)s::text is null)
                and (state in ('loaded', 'quarantined') or files.file_id = %(file_id)s)
            order by files.file_id desc
            limit %(limit)s
            """,
            {**self.row, "limit": FILES_BACK},
        ).fetchall()
        return [(Neighbour(*row[:6]), row[6], row[7]) for row in rows]

    def _checks(self, window: Sequence[tuple[Neighbour, str | None, str | None]]) -> tuple[CheckLine, ...]:
        """Return what was checked for the file, what did not pass first, with how often it passed of late."""
        runs = [run for run in (self.row["run_id"], self.expectations_run_id) if run]
        found = check_log.outcomes_of(self.connection, runs, self.file_id)
        history = self._history(window)
        lines = []
        for outcome in found:
            key = (outcome.schema, outcome.table, outcome.name)
            judged = [(one, status) for one, _, _ in window if (status := history.get((*key, one.file_id)))]
            passed = sum(status == "passed" for _, status in judged)
            since = None
            for neighbour, status in judged:
                if status == "passed":
                    break
                since = neighbour
            lines.append(
                CheckLine(with_masked_samples(outcome), passed, len(judged), since if not outcome.passed else None)
            )
        return tuple(sorted(lines, key=lambda line: (line.outcome.passed, line.outcome.severity != "error")))

    def _history(
        self, window: Sequence[tuple[Neighbour, str | None, str | None]]
    ) -> dict[tuple[str, str, str, int], str]:
        """Return how each check ended for each file: the last word on it, or of the runs that it came through."""
        files_of: dict[str, set[int]] = {}
        for one, run, expectations_run in window:
            told_of = self.expectations_run_id if one.file_id == self.file_id else expectations_run
            for run_id in (run, told_of):
                if run_id is not None:
                    files_of.setdefault(run_id, set()).add(one.file_id)
        rows = self.connection.execute(
            """
            select schema_name, table_name, name, file_id, run_id, status, decided_at
            from raw.check_outcomes
            where file_id = any(%(files)s) and status <> 'could_not_check'
            union all
            select schema_name, table_name, name, null, run_id, status, decided_at
            from raw.check_outcomes
            where run_id = any(%(runs)s) and file_id is null and status <> 'could_not_check'
            order by decided_at
            """,
            {"files": [one.file_id for one, _, _ in window], "runs": list(files_of)},
        ).fetchall()
        history = {}
        for schema, table, name, file_id, run_id, status, _ in rows:
            for concerned in files_of.get(run_id, ()) if file_id is None else (file_id,):
                history[schema, table, name, concerned] = status
        return history

    def _usual_lag(self, before: Sequence[Neighbour]) -> timedelta | None:
        rows = self.connection.execute(
            "select extract(epoch from arrived_at - last_event_time) from raw.files"
            " where file_id = any(%s) and last_event_time is not null",
            ([one.file_id for one in before],),
        ).fetchall()
        return timedelta(seconds=float(median(lag for (lag,) in rows))) if rows else None

    # Rejected rows

    def _reasons(self) -> tuple[Reason, ...]:
        rows = self.connection.execute(
            """
            select
                code,
                count(distinct row_number),
                (array_agg(row_number order by row_number))[1:%(first)s],
                (array_agg(distinct column_name) filter (where column_name is not null))[1:%(first)s]
            from raw.rejects
            where file_id = %(file_id)s
            group by code
            order by 2 desc, 1
            """,
            {"file_id": self.file_id, "first": _FIRST_ROWS},
        ).fetchall()
        return tuple(
            Reason(code, count, tuple(dict.fromkeys(numbers)), tuple(columns or ()))
            for code, count, numbers, columns in rows
        )

    def _samples(self, outcome: Outcome) -> tuple[Reject, ...]:
        rows = self.connection.execute(
            """
            select row_number, column_name, code, sentence, raw_text
            from (
                select *, row_number() over (partition by code order by row_number, reason) as place
                from raw.rejects where file_id = %s
            ) as ranked
            where place <= %s
            order by row_number, reason
            limit %s
            """,
            (self.file_id, _SAMPLES_OF_A_REASON, _SAMPLES),
        ).fetchall()
        detected = outcome.detected
        return tuple(masked(Reject(*row), detected.header, detected.delimiter or ",") for row in rows)

    # What is new

    def _drift_of_columns(self, outcome: Outcome, neighbours: Sequence[Neighbour]) -> Drift:
        header = outcome.detected.header
        before = next((one for one in neighbours[1:] if one.state == "loaded"), None)
        if before is None or not header:
            return Drift()
        (names,) = self._one("select header from raw.files where file_id = %s", before.file_id)
        new, missing, renamed = compare_headers(names or (), header)
        return Drift(before, new, missing, renamed)

    def _with_events(self, report: FileReport, publication: Publication | None) -> FileReport:
        """Add what the rows of a loaded file say."""
        connection = self.connection
        report_events.gather_rows(connection, self.file_id)
        read = self._files_to_compare(report)
        words, _ = report_events.words_and_cameras(connection)
        words_before, cameras_before = report_events.words_and_cameras_of(connection, read)
        in_marts = publication is not None and publication.version is not None
        events = report_events.read_events(
            connection, in_marts=in_marts, earlier_files=len(read), cameras_before=cameras_before
        )
        drift = replace(
            report.drift,
            new_cameras=report_events.new_cameras(connection, self.file_id)
            if report.drift.compared_with and self._is_there("marts.camera_events")
            else None,
            new_words=tuple(sorted(words - words_before))[:_LISTED] if read else (),
            files_read=len(read),
        )
        first, last = report.first_event, report.last_event
        if events.cameras and (first is None or last is None):
            first, last = min(one.first for one in events.cameras), max(one.last for one in events.cameras)
        return replace(report, drift=drift, events=events, first_event=first, last_event=last)

    def _files_to_compare(self, report: FileReport) -> list[int]:
        """Return the loaded files before this one whose rows are looked at; the cost is to follow this file."""
        least, most = _ROWS_BACK_BOUNDS
        account = report.outcome.account
        rows = min(max(_ROWS_BACK * (account.rows_read if account else 0), least), most)
        found: list[int] = []
        for one in report.earlier[1:]:
            rows -= one.rows_read or 0
            if rows < 0:
                break
            if one.state == "loaded":
                found.append(one.file_id)
        return found

    def _is_there(self, relation: str) -> bool:
        return bool(self._one("select to_regclass(%s) is not null", relation)[0])

    def _one(self, query: str, *values: object) -> tuple[Any, ...]:
        row = self.connection.execute(query, values).fetchone()
        assert row is not None  # noqa: S101 - a row that is known to be there, or an aggregate
        return tuple(row)
