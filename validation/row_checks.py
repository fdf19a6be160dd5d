"""What Pandera and the reader found wrong with rows, gathered into a few checks per file and for the table of events.

Each check stands for some of the codes under which rows are rejected; every code belongs to exactly one. The codes
themselves come from `schemas` and `cleaning`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from validation.checks import CheckOutcome, Status
from validation.outcomes import Outcome, on_one_line, percent

_SAMPLES: Final = 5


@dataclass(frozen=True, slots=True)
class RowCheck:
    """One check of rows: its name, what it demands, and the codes of the rows that fail it."""

    name: str
    title: str
    codes: tuple[str, ...]


ROW_CHECKS: Final = (
    RowCheck(
        "rows_are_whole",
        "Every row can be read and has as many fields as the header.",
        (
            "wrong_field_count",
            "unclosed_quote",
            "record_too_long",
            "not_text",
            "not_between_marks",
            "several_rows_in_a_cell",
        ),
    ),
    RowCheck("required_values_present", "Every row names a time, a person, a camera and an event.", ("missing_value",)),
    RowCheck(
        "timestamps_readable",
        "Every time can be read, to the second.",
        ("timestamp_unreadable", "timestamp_too_coarse"),
    ),
    RowCheck(
        "timestamps_in_range",
        "No time lies before the earliest event allowed or in the future.",
        ("timestamp_out_of_range",),
    ),
    RowCheck(
        "ids_valid", "Ids are not too long and hold no control characters.", ("id_too_long", "control_characters")
    ),
    RowCheck(
        "intervals_valid",
        "No interval ends before it starts or is longer than allowed.",
        ("interval_negative", "interval_too_long"),
    ),
)


def row_outcomes(connection: psycopg.Connection[Any], outcomes: Sequence[Outcome]) -> Iterator[CheckOutcome]:
    """Judge each file that was read, or could not be: one outcome per file and check."""
    judged = [one for one in outcomes if one.file_id is not None and one.state in {"loaded", "quarantined"}]
    failed = _failed_rows(connection, [one.file_id for one in judged if one.reject_counts])
    for outcome in judged:
        for check in ROW_CHECKS:
            yield _of_file(check, outcome, failed)


def _failed_rows(connection: psycopg.Connection[Any], file_ids: Sequence[int | None]) -> Mapping[tuple[int, str], int]:
    """Count the rows that failed a check, by file and check: a row with two reasons of one check counts once."""
    if not file_ids:
        return {}
    codes = [(code, check.name) for check in ROW_CHECKS for code in check.codes]
    rows = connection.execute(
        """
        select rejects.file_id, checks.name, count(distinct rejects.row_number)
        from raw.rejects
        inner join unnest(%s::text[], %s::text[]) as checks (code, name) on rejects.code = checks.code
        where rejects.file_id = any(%s)
        group by rejects.file_id, checks.name
        """,
        ([code for code, _ in codes], [name for _, name in codes], list(file_ids)),
    )
    return {(file_id, name): count for file_id, name, count in rows}


def over_all(check: RowCheck, outcomes: Sequence[CheckOutcome]) -> CheckOutcome:
    """Put together what a check found in all files of a run."""
    judged = [one for one in outcomes if one.name == check.name]
    unread = [one for one in judged if one.status == "could_not_check"]
    checked = sum(one.checked or 0 for one in judged)
    failed = sum(one.failed or 0 for one in judged)
    told = [one.sentence for one in judged if not one.passed]
    if failed:
        sample = [text for one in judged for text in one.sample]
        return _outcome(check, "failed", " ".join(told), checked=checked, failed=failed, sample=sample)
    if unread:
        return _outcome(check, "could_not_check", " ".join(told), checked=checked, failed=0)
    files = f"{len(judged)} files" if len(judged) != 1 else "1 file"
    sentence = f"All {checked:,} rows of {files}." if judged else "No file was judged in this run."
    return _outcome(check, "passed", sentence, checked=checked, failed=0)


def _of_file(check: RowCheck, outcome: Outcome, failed_rows: Mapping[tuple[int, str], int]) -> CheckOutcome:
    name = on_one_line(outcome.name)
    if outcome.account is None:
        why = f"{name}: its rows were not judged, because the file as a whole cannot be used."
        return _outcome(check, "could_not_check", why, checked=None, failed=None, file_id=outcome.file_id)
    read = outcome.account.rows_read
    failed = failed_rows.get((outcome.file_id or 0, check.name), 0)
    if not failed:
        told = f"{name}: all {read:,} rows."
        return _outcome(check, "passed", told, checked=read, failed=0, file_id=outcome.file_id)
    sentence = f"{name}: {failed:,} of {read:,} rows fail ({percent(failed / read)})."
    sample = [reject.sentence for reject in outcome.first_rejects if reject.code in check.codes]
    return _outcome(check, "failed", sentence, checked=read, failed=failed, sample=sample, file_id=outcome.file_id)


def _outcome(
    check: RowCheck,
    status: Status,
    sentence: str,
    *,
    checked: int | None,
    failed: int | None,
    sample: Sequence[str] = (),
    file_id: int | None = None,
) -> CheckOutcome:
    return CheckOutcome(
        name=check.name,
        title=check.title,
        schema="raw",
        table="events",
        layer="rows",
        status=status,
        sentence=sentence,
        checked=checked,
        failed=failed,
        sample=tuple(sample[:_SAMPLES]),
        file_id=file_id,
    )
