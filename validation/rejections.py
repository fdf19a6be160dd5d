"""The sentences that a rejected row is told.

Each names the row, the column as written in the file and the value, and says what is wrong with it. That something is
wrong is decided in `cleaning` and `schemas`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from validation import schemas
from validation.cells import Cells
from validation.matching import Match, Source
from validation.problems import Reject
from validation.profiles import FieldName
from validation.zones import SECOND

_SHOWN = 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TOO_LONG = {"person_id": schemas.MAX_PERSON_ID, "camera_id": schemas.MAX_CAMERA_ID}

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Finding:
    """Rows (positions in the chunk, ascending) whose field is wrong for one reason."""

    field: FieldName
    code: str
    positions: Int64s


def quoted(text: str) -> str:
    """Quote a value as a sentence may show it: bounded, on one line, without characters that cannot be seen."""
    shown = text[:_SHOWN]
    if not shown.isprintable():
        shown = "".join(mark if mark.isprintable() else f"\\u{ord(mark):04x}" for mark in shown)
    return f"'{shown}…'" if len(text) > _SHOWN else f"'{shown}'"


def naming_its_row(reject: Reject) -> Reject:
    """Give a reject whose sentence begins with its row, as all of them do in a report."""
    sentence = reject.sentence
    if sentence.startswith("Row "):
        return reject
    return replace(reject, sentence=f"Row {reject.row_number}: {sentence[:1].lower()}{sentence[1:]}")


def _in_column(source: Source) -> str:
    if not source.columns:
        return "given by the source profile"
    if len(source.columns) == 1:
        return f"in column {quoted(source.columns[0])}"
    return f"from columns {' and '.join(quoted(column) for column in source.columns)}"


def _days(micros: int) -> str:
    return f"{micros / SECOND / 86_400:,.1f} days"


def _plain(number: float) -> str:
    return f"{number:g}"


class Describer:
    """Turns the findings in one chunk into rejects."""

    def __init__(self, match: Match, limits: schemas.Limits, future_tolerance_hours: float) -> None:
        self._sources = match.sources
        self._limits = limits
        self._tolerance = future_tolerance_hours

    def describe(
        self,
        finding: Finding,
        cells: Cells,
        instants: Mapping[FieldName, Int64s],
        row_numbers: Int64s,
        raw_texts: Mapping[int, str],
    ) -> list[Reject]:
        """One reject per row of the finding.

        `instants` holds the starts and ends in UTC microseconds, `raw_texts` the record at each position.
        """
        if finding.code == "missing_value":
            return self._missing(finding, cells, row_numbers, raw_texts)
        source = self._sources[finding.field]
        texts = cells.text(source).take(finding.positions).to_pylist()
        column, where, name = ", ".join(source.columns) or None, _in_column(source), finding.field.replace("_", " ")
        rejects = []
        for position, text in zip(finding.positions.tolist(), texts, strict=True):
            row = int(row_numbers[position])
            at = {name: int(values[position]) for name, values in instants.items()}
            sentence = f"Row {row}: the {name} {quoted(text)} {where} {self._what_is_wrong(finding, text, at)}."
            rejects.append(Reject(row, column, finding.code, sentence, raw_texts[position]))
        return rejects

    def _missing(
        self, finding: Finding, cells: Cells, row_numbers: Int64s, raw_texts: Mapping[int, str]
    ) -> list[Reject]:
        """Name the columns that are empty: a template may have several."""
        source = self._sources[finding.field]
        name = finding.field.replace("_", " ")
        present = {column: cells.present(column).take(finding.positions).to_pylist() for column in source.columns}
        rejects = []
        for index, position in enumerate(finding.positions.tolist()):
            row = int(row_numbers[position])
            empty = [column for column, texts in present.items() if texts[index] is None]
            where = f"column{'s' if len(empty) > 1 else ''} {' and '.join(quoted(column) for column in empty)}"
            sentence = f"Row {row}: the {name} is missing ({where} {'say' if len(empty) > 1 else 'says'} nothing)."
            rejects.append(Reject(row, ", ".join(empty), finding.code, sentence, raw_texts[position]))
        return rejects

    def _what_is_wrong(self, finding: Finding, text: str, at: Mapping[FieldName, int]) -> str:
        match finding.code:
            case "timestamp_unreadable":
                return "could not be read as a date and time"
            case "timestamp_too_coarse":
                return "is coarser than a second (a spreadsheet has rounded it), so the time itself is gone"
            case "timestamp_out_of_range":
                return self._out_of_range(at[finding.field])
            case "id_too_long":
                return f"has {len(text)} characters; at most {_TOO_LONG[finding.field]} are allowed"
            case "control_characters":
                return "holds control characters"
            case "interval_negative":
                return f"comes before the row's start, by {_seconds(at['timestamp'] - at['end_time'])}"
            case "interval_too_long":
                longest = _plain(self._limits.longest_interval / timedelta(days=1))
                stay = _days(at["end_time"] - at["timestamp"])
                return f"lies {stay} after the row's start; at most {longest} are allowed"
        raise AssertionError(f"no sentence for {finding.code}")

    def _out_of_range(self, instant: int) -> str:
        moment = _EPOCH + timedelta(microseconds=instant)
        if moment < self._limits.earliest:
            return f"lies before {self._limits.earliest:%Y-%m-%d %H:%M} UTC, the earliest time that is accepted"
        return (
            f"lies more than {_plain(self._tolerance)} hours after the file arrived, that is after "
            f"{self._limits.latest:%Y-%m-%d %H:%M} UTC"
        )


def _seconds(micros: int) -> str:
    return f"{micros / SECOND:,.6f}".rstrip("0").rstrip(".") + " seconds"
