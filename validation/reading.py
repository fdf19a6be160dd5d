"""Bytes of a file to text records with row numbers: every dialect, in bounded memory, cells verbatim.

A row that cannot be one (ragged, no text, a quotation mark that never closes) is set aside here, one by one. Whether a
cell's text makes sense is judged later, in cleaning.py.

A file passes through three stages: dialects.py makes a stream of UTF-8 of it, records.py finds where its records end,
and the cells come from pyarrow's parser, which divides a record as the csv module does.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from validation.dialects import (
    DELIMITERS,
    NOT_TEXT,
    ByteSource,
    Dialect,
    Encoding,
    LineEnding,
    choose_delimiter,
    declared_delimiter,
    find_encoding,
    name_columns,
    refuse_what_is_no_text,
    utf8_blocks,
)
from validation.problems import FileProblem, Notice, Reject
from validation.records import CR, LF, Fault, Records, allow_long_cells, find_records

_MIB = 2**20
BLOCK_SIZE = 8 * _MIB
LONGEST_RECORD = 4 * _MIB
_SMALLEST_READ = 64 * 1024
_UNCLOSED_ALLOWED = 100

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
        return [_text(self._data[start:end]) for start, end in spans]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file whose dialect and header are known. `header` are the names of the columns, each only once."""

    path: Path
    size_bytes: int
    dialect: Dialect
    header: tuple[str, ...]
    notices: list[Notice]
    _opening: _Opening = field(repr=False)
    _block_size: int = field(repr=False)
    _longest_record: int = field(repr=False)

    def chunks(self, rows: int = 100_000) -> Iterator[Chunk]:
        """Yield all records behind the header, at most `rows` at a time, fewer where they are long; anew at each call.

        Raises FileProblem where the file turns out to be damaged further down.
        """
        parser = _Parser(self.header, self.dialect.delimiter, self._longest_record)
        row = self._opening.header_row + 1
        for block in self._blocks(rows):
            found = block.records.ends.size
            pieces = -(-found // rows)
            for piece in range(pieces):
                first, last = found * piece // pieces, found * (piece + 1) // pieces
                yield parser.chunk(block, first, last, row + first)
            row += found

    def _blocks(self, rows: int) -> Iterator[_Block]:
        """Divide the file behind its header into blocks of whole records."""
        opening = self._opening
        size = min(self._block_size, max(int(rows * opening.bytes_per_record), _SMALLEST_READ))
        before_records = opening.header_end
        unclosed_allowed = _UNCLOSED_ALLOWED
        data = b""
        is_cut = False  # data is the beginning of a line that is too long to be kept
        for text, position, at_end in utf8_blocks(opening.source, opening.encoding, size):
            skip = min(before_records, len(text))
            before_records -= skip
            if is_cut:
                line_end = re.search(rb"[\r\n]", text)
                skip = line_end.start() if line_end else len(text)
                is_cut = line_end is None
            data += text[skip:]
            records = find_records(
                data,
                self.dialect.delimiter,
                longest=self._longest_record,
                at_end=at_end,
                unclosed_allowed=unclosed_allowed,
            )
            if records.ends.size:
                unclosed_allowed -= sum(fault is Fault.UNCLOSED for fault in records.faults.values())
                yield _Block(data, records, position)
                data = data[records.ends[-1] :]
            elif len(data) > self._longest_record and not data.endswith(b"\r"):  # the CR could be its end
                data = data[: self._longest_record + 1]
                is_cut = True


def open_source(path: Path, *, block_size: int = BLOCK_SIZE, longest_record: int = LONGEST_RECORD) -> SourceFile:
    """Find out how a file is written and what its columns are called.

    `block_size` is the most that is read at once, `longest_record` the most that one record may take, both in bytes.
    Raises FileProblem where the file is empty, no delimited text, or damaged, and OSError where it cannot be read.
    """
    source = ByteSource.of(path)
    head, _ = next(source.blocks(_MIB), (b"", 0))
    refuse_what_is_no_text(head, is_packed=source.compression is not None)
    encoding, notices = find_encoding(source, head)
    sample, is_whole = _sample(source, encoding, longest_record + _MIB)
    start, row, declared = _before_header(sample)
    text = sample[start:]
    delimiter = declared or choose_delimiter(text.decode(errors="replace"))
    records = find_records(text, delimiter, longest=longest_record, at_end=is_whole)
    header, renamed = name_columns(_header_cells(text, records, delimiter))
    return SourceFile(
        path=path,
        size_bytes=source.size_bytes,
        dialect=Dialect(
            encoding=encoding.name,
            has_bom=bool(encoding.bom),
            delimiter=delimiter,
            line_ending=_line_ending(text, records),
            compression=source.compression,
        ),
        header=header,
        notices=notices + renamed,
        _opening=_Opening(
            source=source,
            encoding=encoding,
            header_end=start + int(records.ends[0]),
            header_row=row,
            bytes_per_record=int(records.ends[-1]) / records.ends.size,
        ),
        _block_size=block_size,
        _longest_record=longest_record,
    )


@dataclass(frozen=True, slots=True)
class _Opening:
    """What is needed to read on behind the header; `header_end` counts bytes of the stream of UTF-8."""

    source: ByteSource
    encoding: Encoding
    header_end: int
    header_row: int
    bytes_per_record: float


@dataclass(frozen=True, slots=True)
class _Block:
    """Whole records, blank lines among them, and the position in the file on disk behind them."""

    data: bytes
    records: Records
    position: int


def _sample(source: ByteSource, encoding: Encoding, size: int) -> tuple[bytes, bool]:
    """Return the file's first text, `size` bytes or a little more, and whether that is all of it."""
    sample = b""
    for text, _, at_end in utf8_blocks(source, encoding, _MIB):
        sample += text
        if at_end or len(sample) >= size:
            return sample, at_end
    return sample, True


def _before_header(sample: bytes) -> tuple[int, int, str | None]:
    """Pass over what may stand above the header: Excel's hidden `sep=` line, and rows with nothing in them.

    Returns where the header begins, its row, and the delimiter if one is declared.
    """
    offset, row, declared = 0, 1, None
    for match in re.finditer(rb"[^\r\n]*(?:\r\n?|\n|\Z)", sample):
        line = match[0]
        if offset == 0 and (declared := declared_delimiter(line.decode(errors="replace"))):
            offset = len(line)
        elif line.strip(b" \t\r\n\f\v" + DELIMITERS.encode()):
            return offset, row, declared
        else:
            offset += len(line)
            row += 1
    raise FileProblem(
        "empty_file",
        "The file holds nothing but white space.",
        "Export it again, unless there were no events; it needs a header at least.",
    )


def _header_cells(data: bytes, records: Records, delimiter: str) -> list[str]:
    advice = "The first row must hold the names of the columns. Export the file again, or drop the right one."
    if not records.ends.size or 0 in records.faults:
        sentence = "The header has no end: it opens a quotation mark that is never closed, or is no header at all."
        raise FileProblem("header_unreadable", sentence, advice)
    text = data[: records.ends[0]].decode(errors="replace")
    if NOT_TEXT in text:
        raise FileProblem("header_unreadable", "The header holds bytes that are no text.", advice)
    allow_long_cells(len(text))
    return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def _line_ending(data: bytes, records: Records) -> LineEnding:
    found: set[LineEnding] = set()
    for end in records.ends[:1000]:
        match data[max(end - 2, 0) : end]:
            case b"\r\n":
                found.add("CRLF")
            case last if last.endswith(b"\n"):
                found.add("LF")
            case last if last.endswith(b"\r"):
                found.add("CR")
    return found.pop() if len(found) == 1 else "mixed" if found else "LF"


class _Parser:
    """Divides records into cells."""

    def __init__(self, header: tuple[str, ...], delimiter: str, longest_record: int) -> None:
        self._header = header
        self._longest_record = longest_record
        self._delimiter = delimiter
        self._schema = pa.schema([(name, pa.string()) for name in header])
        self._conversion = pa.csv.ConvertOptions(column_types=self._schema, strings_can_be_null=False, null_values=[])

    def chunk(self, block: _Block, first: int, last: int, row: int) -> Chunk:
        """Make a chunk of the records from `first` up to `last` of a block, the first of which is at `row`."""
        data, all_ends = block.data, block.records.ends
        ends = all_ends[first:last]
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
            Reject(row + index, None, *reasons[index], _text(data[begin:stop]))
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


def _text(record: bytes) -> str:
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
