"""A rejects file that is dropped again after somebody has put its rows right: the rows that it holds, as of any file.

Each line of a rejects file holds a row of another file, unchanged, between « and » (see `reports`); whatever a
spreadsheet made of the lines, the rows in them keep the dialect of the file that they came from. Only the unwrapping is
here: which file that was and what follows from it is decided in `judging`.

Row numbers are those of the rejects file as a spreadsheet shows it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from validation.chunks import Block, Chunk, RecordParser
from validation.dialects import Dialect, choose_delimiter, name_columns
from validation.matching import normalise
from validation.problems import FileProblem, Notice, Reject
from validation.reading import LONGEST_RECORD, SourceFile, open_source
from validation.records import Fault, Records, allow_long_cells, find_records
from validation.reports import DELIMITER_NAMES, HEADER_VERDICT, NOT_JUDGED, REJECTS_HEADER

_VERDICT, _CODES, _TEXT, _FILE = 1, 3, 5, 6  # places in REJECTS_HEADER
# A row with all its quotation marks doubled, and what stands beside it.
LONGEST_LINE = 2 * LONGEST_RECORD + 2**20
_DELIMITERS = {name: delimiter for delimiter, name in DELIMITER_NAMES.items()}
_ADVICE = (
    "Take the rejects file as it was written, change nothing but the rows between « and », save it as CSV in UTF-8 and "
    "drop that; or correct the original and drop it."
)


def open_content(path: Path) -> SourceFile | RejectsFile:
    """Open a file that was dropped: as what it is, or, if it is a rejects file, as the rows that it holds.

    Raises FileProblem and OSError as `open_source` does, FileProblem also where a rejects file lacks its header line.
    """
    lines = open_source(path)
    named = {normalise(name): name for name in lines.header}
    columns = [named.get(normalise(name)) for name in REJECTS_HEADER]
    if None in columns[:_FILE]:
        return lines
    return _opened(lines.allowing(LONGEST_LINE), columns)


@dataclass(frozen=True, slots=True)
class RejectsFile:
    """The rows in a rejects file; to be read like a SourceFile.

    `original` is the hash of the file that they came from, None where that is not told.
    """

    path: Path
    size_bytes: int
    dialect: Dialect
    header: tuple[str, ...]
    header_text: str
    notices: list[Notice]
    original: str | None
    _lines: SourceFile = field(repr=False)
    _columns: list[str | None] = field(repr=False)
    _original_cell: str = field(repr=False)

    def chunks(self, rows: int = 100_000) -> Iterator[Chunk]:
        """Yield all rows, at most `rows` at a time; anew at each call. Raises FileProblem as SourceFile does."""
        parser = RecordParser(self.header, self.dialect.delimiter, LONGEST_RECORD)
        for chunk in self._lines.chunks(rows):
            yield self._unwrapped(chunk, parser)

    def _unwrapped(self, chunk: Chunk, parser: RecordParser) -> Chunk:
        numbers: list[int] = []
        records: list[bytes] = []
        rejects = list(chunk.rejects)
        for number, line in zip(chunk.row_numbers.tolist(), _cells(chunk, self._columns), strict=True):
            if not any(line):
                continue  # what a spreadsheet leaves of a line whose cells were cleared
            self._check_original(number, line)
            if _verdict(line) == HEADER_VERDICT:
                continue
            text = _between_marks(line[_TEXT])
            if text is None:
                rejects.append(Reject(number, None, "not_between_marks", _NOT_BETWEEN_MARKS, line[_TEXT]))
            elif text:  # else it is a blank line, as in any file
                numbers.append(number)
                records.append(text.encode() + b"\n")
        several, faults = self._oddities(records)
        for index, count in several.items():
            sentence = f"The cell holds {count:,} rows, where a line of a rejects file holds one."
            text = records[index].decode().removesuffix("\n")
            rejects.append(Reject(numbers[index], None, "several_rows_in_a_cell", sentence, text))
        kept = [index for index in range(len(records)) if index not in several]
        ends = np.cumsum([len(records[index]) for index in kept], dtype=np.int64)
        found = Records(ends, {place: faults[index] for place, index in enumerate(kept) if index in faults})
        data = b"".join(records[index] for index in kept)
        rows = parser.chunk(Block(data, found, chunk.bytes_read), 0, len(kept), 0)
        at = np.array([numbers[index] for index in kept], dtype=np.int64)
        rejects += [replace(reject, row_number=int(at[reject.row_number])) for reject in rows.rejects]
        rejects.sort(key=lambda reject: reject.row_number)
        return replace(rows, row_numbers=at[rows.row_numbers], rejects=rejects)

    def _check_original(self, number: int, line: tuple[str, ...]) -> None:
        """Refuse lines of several rejects files in one: each has its own site and its own order of dates."""
        if line[_FILE] == self._original_cell:
            return
        other = _hash(line[_FILE])
        if other is not None and self.original is not None and other != self.original:
            raise FileProblem(
                "several_originals",
                f"The rejects files of several files were put together: row {number:,} is of another than the first.",
                "Drop each of them by itself.",
            )

    def _oddities(self, records: list[bytes]) -> tuple[dict[int, int], dict[int, Fault]]:
        """Find the texts that are not one row each: how many rows they hold, or what is wrong with the one."""
        delimiter, longest = self.dialect.delimiter, LONGEST_RECORD
        try:
            found = find_records(b"".join(records), delimiter, longest=longest, at_end=True, unclosed_allowed=0)
        except FileProblem:
            pass  # A quotation mark that is not closed in its cell must not reach into the next one.
        else:
            if not found.faults and found.ends.tolist() == np.cumsum([len(record) for record in records]).tolist():
                return {}, {}
        several: dict[int, int] = {}
        faults: dict[int, Fault] = {}
        for index, record in enumerate(records):
            found = find_records(record, delimiter, longest=longest, at_end=True)
            if found.ends.size > 1:
                several[index] = found.ends.size
            elif found.faults:
                faults[index] = found.faults[0]
        return several, faults


_NOT_BETWEEN_MARKS = (
    "The row does not stand between « and », as the rows of a rejects file do. (One that ends in … could not be shown "
    "as it stands in its file: put it right, and write » in place of the …)"
)


def _opened(lines: SourceFile, columns: list[str | None]) -> RejectsFile:
    line = _header_line(lines, columns)
    text = _between_marks(line[_TEXT])
    if not text:
        raise FileProblem(
            "rejects_file_damaged",
            "The first line of the rejects file, with the verdict 'header', must hold the header of the original "
            "between « and »; it does not, or these marks were lost when the file was saved.",
            _ADVICE,
        )
    delimiter = _delimiter(line[_CODES].strip()) or choose_delimiter(text)
    allow_long_cells(len(text))
    records = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    if len(records) != 1:
        raise FileProblem("rejects_file_damaged", "The header of the original is not one row any more.", _ADVICE)
    header, renamed = name_columns(records[0])
    return RejectsFile(
        path=lines.path,
        size_bytes=lines.size_bytes,
        dialect=replace(lines.dialect, delimiter=delimiter),
        header=header,
        header_text=text,
        notices=lines.notices + renamed,
        original=_hash(line[_FILE]),
        _lines=lines,
        _columns=columns,
        _original_cell=line[_FILE],
    )


def _header_line(lines: SourceFile, columns: list[str | None]) -> tuple[str, ...]:
    """Find the line that holds the original's header: the first, unless somebody has sorted the lines."""
    was_judged = True
    for chunk in lines.chunks(100):
        for line in _cells(chunk, columns):
            if _verdict(line) == HEADER_VERDICT:
                return line
            was_judged &= _verdict(line) != NOT_JUDGED
    if not was_judged:
        raise FileProblem(
            "rejects_file_without_rows",
            "This is the rejects file of a file that could not be read at all, so it holds no rows to put right.",
            "Correct the original as its report says, and drop that.",
        )
    raise FileProblem(
        "rejects_file_damaged",
        "The first line of the rejects file, the one with the verdict 'header', is missing; without it the rows below "
        "cannot be read.",
        _ADVICE,
    )


def _cells(chunk: Chunk, columns: list[str | None]) -> Iterator[tuple[str, ...]]:
    """Yield the lines of a chunk, their cells in the order of REJECTS_HEADER whatever the order in the file."""
    blank = [""] * chunk.table.num_rows
    yield from zip(*(chunk.table[name].to_pylist() if name else blank for name in columns), strict=True)


def _verdict(line: tuple[str, ...]) -> str:
    return line[_VERDICT].strip().casefold()


def _between_marks(cell: str) -> str | None:
    """Return what stands between « and », without line ends around it; None where the marks are missing."""
    marked = cell.strip()
    if len(marked) < 2 or marked[0] != "«" or marked[-1] != "»":
        return None
    return marked[1:-1].strip("\r\n")


def _hash(cell: str) -> str | None:
    named = re.fullmatch(r"sha256:([0-9a-f]{64})", cell.strip().lower())
    return named[1] if named else None


def _delimiter(told: str) -> str | None:
    marked = re.fullmatch(r"«([!#-/:-@\[-`{-~])»", told)
    return marked[1] if marked else _DELIMITERS.get(told.casefold())
