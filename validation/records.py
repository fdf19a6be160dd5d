"""Where the records of delimited text begin and end.

Works on a block of UTF-8 bytes and knows quotation marks and line ends, nothing else: what the cells say,
which row of the file a record is and what becomes of a bad one is decided by the caller (reading.py).

The rules are those of Python's csv module in its default mode, which are those of spreadsheets: LF, CRLF and CR
all end a record; a quotation mark counts only where a cell begins; in a quoted cell two of them are one; text after
the closing one belongs to the cell. Two limits are added, so that one bad character cannot swallow a file: a line
longer than `longest` bytes is a record by itself (TOO_LONG), and where a quoted cell is still open that far from its
record's start, or at the end of the file, the record's first line is cut off alone (UNCLOSED) and the next line begins
anew.
"""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from validation.problems import FileProblem

LF, CR, QUOTE = b'\n\r"'


class Fault(StrEnum):
    """Why a record has no trustworthy end."""

    UNCLOSED = "unclosed_quote"
    TOO_LONG = "record_too_long"


@dataclass(frozen=True, slots=True)
class Records:
    """The whole records of a block, in order, without gaps: record i is `data[ends[i - 1]:ends[i]]`.

    `ends` (int64, n) are byte offsets just past each record's line end; blank lines are records too. `faults`
    names, by index, those that were cut off where a limit demanded it.
    """

    ends: NDArray[np.int64]
    faults: dict[int, Fault] = field(default_factory=dict)


def find_records(data: bytes, delimiter: str, *, longest: int, at_end: bool, unclosed_allowed: int = 100) -> Records:
    """Find the records that are whole within `data`, which begins where a record begins.

    With `at_end` nothing follows `data`, and all of it is divided. Otherwise the caller keeps what lies behind the last
    end and comes again with more. Every unclosed quotation mark costs a look at `longest` bytes, and a file made of
    them would take days: with more than are allowed, FileProblem('unclosed_quotes') is raised.
    """
    complete = len(data) if at_end else _last_line_end(data)
    view = np.frombuffer(data, dtype=np.uint8)[:complete]
    ends = _line_ends(view)
    if data.find(b'"', 0, complete) >= 0:
        quotes = np.flatnonzero(view == QUOTE)
        if not _well_placed(view, quotes, delimiter):
            return _walk(data, complete, delimiter, longest=longest, at_end=at_end, unclosed_allowed=unclosed_allowed)
        # An even number of quotation marks lies before every line end that is outside quoted cells.
        ends = ends[np.searchsorted(quotes, ends) % 2 == 0]
    divided = int(ends[-1]) if ends.size else 0
    rest = len(data) - divided
    if np.diff(ends, prepend=0).max(initial=rest) > longest or (at_end and rest):
        return _walk(data, complete, delimiter, longest=longest, at_end=at_end, unclosed_allowed=unclosed_allowed)
    return Records(ends)


def allow_long_cells(longest: int) -> None:
    """Lift the csv module's limit on the length of a cell, which it keeps for the whole process; never lowers it."""
    if csv.field_size_limit() < longest:
        csv.field_size_limit(longest)


def _last_line_end(data: bytes) -> int:
    """Offset behind the last line end that is certain; a CR at the very end may be half of a CRLF."""
    return max(data.rfind(b"\n"), data.rfind(b"\r", 0, max(len(data) - 1, 0))) + 1


def _line_ends(view: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Offsets behind every LF, CRLF and lone CR, and behind a last line that has no end."""
    ends = np.flatnonzero(view == LF) + 1
    returns = np.flatnonzero(view == CR) + 1
    if returns.size:
        is_last = returns == view.size
        lone = is_last | (view[np.where(is_last, 0, returns)] != LF)
        if lone.any():
            ends = np.sort(np.concatenate([ends, returns[lone]]))
    if view.size and (not ends.size or ends[-1] < view.size):
        ends = np.append(ends, view.size)
    return ends


def _well_placed(view: NDArray[np.uint8], quotes: NDArray[np.int64], delimiter: str) -> bool:
    """Whether quotation marks open and close in turn: each odd one at a cell's beginning, each even one at its end.

    Where one touches another, the two stand for one within a cell, and the turn is kept.
    """
    edge = np.zeros(256, dtype=bool)
    edge[[LF, CR, QUOTE, ord(delimiter)]] = True
    opening, closing = quotes[0::2], quotes[1::2]
    if opening[0] == 0:
        opening = opening[1:]
    if closing.size and closing[-1] == view.size - 1:
        closing = closing[:-1]
    return bool(edge[view[opening - 1]].all() and edge[view[closing + 1]].all())


def _walk(data: bytes, complete: int, delimiter: str, *, longest: int, at_end: bool, unclosed_allowed: int) -> Records:
    """Find the records one by one with the csv module: for quotation marks in odd places, and for the limits."""
    allow_long_cells(longest)
    # One character per byte, so that positions are byte offsets; what tells records apart is ASCII.
    text = io.StringIO(data[:complete].decode("latin-1"), newline="")
    ends = array("q")
    faults: dict[int, Fault] = {}
    start = position = 0
    starved = False

    def lines() -> Iterator[str]:
        nonlocal position, starved
        for line in text:
            position += len(line)
            if position - start > longest:
                break
            yield line
        starved = True

    while start < complete:
        text.seek(start)
        position, starved = start, False
        for _ in csv.reader(lines(), delimiter=delimiter):
            if starved:  # it asked for more than there is: a quoted cell is still open
                break
            start = position
            ends.append(start)
        if start == complete:
            break
        text.seek(start)
        first_line = len(text.readline())
        if first_line > longest:
            fault = Fault.TOO_LONG
        elif not at_end and len(data) - start <= longest:
            break
        else:
            fault = Fault.UNCLOSED
            unclosed_allowed -= 1
            if unclosed_allowed < 0:
                raise FileProblem(
                    "unclosed_quotes",
                    "Again and again a quotation mark in the file opens a cell that is never closed.",
                    "Export it again with quotation marks doubled within quoted cells, or without any.",
                )
        faults[len(ends)] = fault
        start += first_line
        ends.append(start)
    return Records(np.array(ends, dtype=np.int64), faults)
