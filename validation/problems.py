"""The words in which a file, a row or a load is found wanting.

Every module that judges input speaks through these types, so that reports, logs and checks say the same
thing in the same words. What decides that something is wrong lives with the code that looks at it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# What rows are rejected for, by code, in the fewest words.
CAUSES: Final = {
    "missing_value": "missing values",
    "timestamp_unreadable": "times that cannot be read",
    "timestamp_too_coarse": "times cut short by a spreadsheet",
    "timestamp_out_of_range": "times out of range",
    "interval_negative": "intervals that end before they start",
    "interval_too_long": "intervals that are too long",
    "id_too_long": "ids that are too long",
    "control_characters": "ids with characters that cannot be seen",
    "wrong_field_count": "a wrong number of cells",
    "unclosed_quote": "quotation marks that are not closed",
    "record_too_long": "rows without an end",
    "not_text": "damaged text",
    "not_between_marks": "cells that lost their « and »",
    "several_rows_in_a_cell": "several rows in one cell",
}


class FileProblem(Exception):
    """A whole file cannot be used; it is quarantined with this account.

    `code` is stable and machine-readable, `sentence` says what happened in plain words, `advice` says what
    to do next.
    """

    def __init__(self, code: str, sentence: str, advice: str) -> None:
        super().__init__(f"{sentence} {advice}")
        self.code = code
        self.sentence = sentence
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Reject:
    """One reason why one row was set aside; a row with several reasons has several of these.

    `row_number` is what a spreadsheet shows (the header is row 1). `column` is the header name as written,
    or None where the row as a whole is at fault. `raw_text` is the record as it stands in the file.
    """

    row_number: int
    column: str | None
    code: str
    sentence: str
    raw_text: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth knowing about a file that was loaded all the same.

    `rows` counts the rows concerned (0 where the whole file is).
    """

    code: str
    sentence: str
    rows: int = 0
