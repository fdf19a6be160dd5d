"""Records to cells: chunks of a file's rows, each with its row number, its cells verbatim and its text.

A record that cannot be a row (ragged, no text, a quotation mark that never closes) is set aside here, one by one. Where
records end is found in records.py; whether a cell's text makes sense is judged later, in cleaning.py. The cells come
from pyarrow's parser, which divides a record as the csv module does.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from validation.dialects import NOT_TEXT
from validation.problems import FileProblem, Reject
from validation.records import CR, LF, Fault, Records

_Offsets = NDArray[np.int64]
_Reason = tuple[str, str]  # a reject's code and sentence

# Of a line too long to be a record, this much is shown; the rest is in the archived original.
_SHOWN_BYTES = 10_000


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some consecutive records of a file.

    `table` has a string column per header name and a row per good record, in file order; nothing is null, an empty cell
    is ''. `row_numbers` (int64) are the rows of `table` as a spreadsheet counts them. `rejects` are the records between
    them that were set aside, one Reject each. `bytes_read` is how much of the file on disk has been taken in so far.
    """

    table: pa.Table
    row_numbers: NDArray[np.int64]
    rejects: list[Reject]
    bytes_read: int
    _data: bytes = field(repr=False)
    _starts: _Offsets = field(repr=False)
    _ends: _Offsets = field(repr=False)

    def raw_text(self, positions: Sequence[int]) -> list[str]:
        """Return the records at these positions of `table` as they stand in the file, without their line ends."""
        wanted = np.asarray(positions, dtype=np.int64)
        spans = zip(self._starts[wanted].tolist(), self._ends[wanted].tolist(), strict=True)
        return [plain_text(self._data[start:end]) for start, end in spans]


@dataclass(frozen=True, slots=True)
class Block:
    """Whole records, blank lines among them, and the position in the file on disk behind them."""

    data: bytes
    records: Records
    position: int


class RecordParser:
    """Divides records into cells."""

    def __init__(self, header: tuple[str, ...], delimiter: str, longest_record: int) -> None:
        self._header = header
        self._longest_record = longest_record
        self._delimiter = delimiter
        self._schema = pa.schema([(name, pa.string()) for name in header])
        self._conversion = pa.csv.ConvertOptions(column_types=self._schema, strings_can_be_null=False, null_values=[])

    def chunk(self, block: Block, first: int, last: int, row: int) -> Chunk:
        """Make a chunk of the records from `first` up to `last` of a block, the first of which is at `row`."""
        data, all_ends = block.data, block.records.ends
        ends = all_ends[first:last]
        if first == last:
            return Chunk(self._schema.empty_table(), ends, [], block.position, data, ends, ends)
        starts = np.concatenate([all_ends[first - 1 : first] if first else [0], ends[:-1]])
        reasons = self._not_text(data, starts, ends)
        reasons |= {i - first: self._cut_off(fault) for i, fault in block.records.faults.items() if first <= i < last}

        initials = np.frombuffer(data, dtype=np.uint8)[starts]
        is_good = (initials != LF) & (initials != CR)  # else it is a blank line
        is_good[list(reasons)] = False
        candidates = np.flatnonzero(is_good)
        table, ragged = self._cells(_without(data, starts, ends, sorted(reasons)), candidates.size)
        if ragged:
            numbers, widths = zip(*ragged, strict=True)
            aside = candidates[np.array(numbers) - 1]
            is_good[aside] = False
            for index, start, end, width in zip(
                aside.tolist(), starts[aside].tolist(), ends[aside].tolist(), widths, strict=True
            ):
                lines = len(data[start:end].splitlines()) if data.find(b'"', start, end) >= 0 else 1
                reasons[index] = "wrong_field_count", _wrong_field_count(width, len(self._header), lines)
        good = np.flatnonzero(is_good)
        if good.size != table.num_rows:
            raise RuntimeError(f"From row {row} on, {good.size} records were found but {table.num_rows} were parsed.")
        return Chunk(
            table=table,
            row_numbers=good + row,
            rejects=self._rejects(reasons, data, starts, ends, row),
            bytes_read=block.position,
            _data=data,
            _starts=starts[good],
            _ends=ends[good],
        )

    def _rejects(
        self, reasons: dict[int, _Reason], data: bytes, starts: _Offsets, ends: _Offsets, row: int
    ) -> list[Reject]:
        indices = sorted(reasons)
        begins = starts[indices]
        # Of a line too long to be a record the beginning must do.
        stops = np.where(
            ends[indices] - begins > self._longest_record,
            begins + min(self._longest_record, _SHOWN_BYTES),
            ends[indices],
        )
        return [
            Reject(row + index, None, *reasons[index], plain_text(data[begin:stop]))
            for index, begin, stop in zip(indices, begins.tolist(), stops.tolist(), strict=True)
        ]

    def _cells(self, text: bytes | memoryview, records: int) -> tuple[pa.Table, list[tuple[int, int]]]:
        """Return the cells of the records of the right width, and of the others their number (from 1) and width."""
        ragged: list[tuple[int, int]] = []

        def set_aside(record: pa.csv.InvalidRow) -> str:
            ragged.append((record.number, record.actual_columns))
            return "skip"

        if not records:
            return self._schema.empty_table(), ragged
        if text[: len(codecs.BOM_UTF8)] == codecs.BOM_UTF8:
            text = b"\n" + text  # within a file these bytes are text; pyarrow would drop them
        try:
            table = pa.csv.read_csv(
                pa.BufferReader(text),
                read_options=pa.csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=self._header),
                parse_options=pa.csv.ParseOptions(
                    delimiter=self._delimiter, newlines_in_values=True, invalid_row_handler=set_aside
                ),
                convert_options=self._conversion,
            )
        except pa.ArrowInvalid as error:  # that it is UTF-8 was known when it was opened
            raise FileProblem(
                "changed_while_read",
                f"The file was changed while it was read ({error}).",
                "Drop it again when it is complete.",
            ) from error
        return table, ragged

    def _cut_off(self, fault: Fault) -> _Reason:
        limit = f"{self._longest_record:,} bytes"
        if fault is Fault.TOO_LONG:
            return fault.value, f"The line is longer than {limit}, the most a row may take; here is its beginning."
        return fault.value, (
            f"A quotation mark opened in the row is not closed within {limit} or before the end of the file. "
            "The line was set aside by itself, and reading went on with the next one."
        )

    @staticmethod
    def _not_text(data: bytes, starts: _Offsets, ends: _Offsets) -> dict[int, _Reason]:
        begin, end = int(starts[0]), int(ends[-1])
        if data.find(NOT_TEXT.encode(), begin, end) < 0:
            return {}
        zeros = np.flatnonzero(np.frombuffer(data, dtype=np.uint8)[begin:end] == 0) + begin
        sentence = "The row holds zero bytes or other bytes that are no text, shown here as \N{REPLACEMENT CHARACTER}."
        return {int(i): ("not_text", sentence) for i in np.unique(np.searchsorted(ends, zeros, side="right"))}


def _without(data: bytes, starts: _Offsets, ends: _Offsets, left_out: list[int]) -> bytes | memoryview:
    """Return the records' bytes without those of some."""
    begins = [int(starts[0]), *(int(ends[i]) for i in left_out)]
    stops = [*(int(starts[i]) for i in left_out), int(ends[-1])]
    view = memoryview(data)
    if not left_out:
        return view[begins[0] : stops[0]]
    return b"".join(view[begin:stop] for begin, stop in zip(begins, stops, strict=True))


def plain_text(record: bytes) -> str:
    """Return a record as text that any table can hold, without its line end.

    What is no character is left out: where too long a line was shortened, its end may be half of one.
    """
    text = record.removesuffix(b"\n").removesuffix(b"\r").decode(errors="ignore")
    return text.replace(NOT_TEXT, "\N{REPLACEMENT CHARACTER}")


@lru_cache(maxsize=1000)
def _wrong_field_count(cells: int, columns: int, lines: int) -> str:
    sentence = f"The row has {_counted(cells, 'cell')}, the header {columns:,}."
    if lines > 1:
        sentence += f" It spans {lines:,} lines, since a quotation mark opened in it is closed only in the last one."
    return sentence


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
