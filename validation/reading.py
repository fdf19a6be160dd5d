"""Bytes of a file to text records with row numbers: every dialect, in bounded memory, cells verbatim.

A file passes through three stages: dialects.py makes a stream of UTF-8 of it, records.py finds where its records end,
and chunks.py divides them into cells. What the header says and how much is held at once is decided here. A row that
cannot be one is set aside in chunks.py; whether a cell's text makes sense is judged later, in cleaning.py.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from validation.chunks import Block, Chunk, RecordParser, plain_text
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
from validation.problems import FileProblem, Notice
from validation.records import Fault, Records, allow_long_cells, find_records

_MIB = 2**20
BLOCK_SIZE = 8 * _MIB
LONGEST_RECORD = 4 * _MIB
_SMALLEST_READ = 64 * 1024
_UNCLOSED_ALLOWED = 100


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file whose dialect and header are known.

    `header` are the names of the columns, each only once; `header_text` is the header as it stands in the file.
    """

    path: Path
    size_bytes: int
    dialect: Dialect
    header: tuple[str, ...]
    header_text: str
    notices: list[Notice]
    _opening: _Opening = field(repr=False)
    _block_size: int = field(repr=False)
    _longest_record: int = field(repr=False)

    def chunks(self, rows: int = 100_000) -> Iterator[Chunk]:
        """Yield all records behind the header, at most `rows` at a time, fewer where they are long; anew at each call.

        Raises FileProblem where the file turns out to be damaged further down.
        """
        parser = RecordParser(self.header, self.dialect.delimiter, self._longest_record)
        row = self._opening.header_row + 1
        for block in self._blocks(rows):
            found = block.records.ends.size
            pieces = -(-found // rows)
            for piece in range(pieces):
                first, last = found * piece // pieces, found * (piece + 1) // pieces
                yield parser.chunk(block, first, last, row + first)
            row += found

    def allowing(self, longest_record: int) -> SourceFile:
        """Return the same file, but with rows of up to so many bytes."""
        return replace(self, _longest_record=longest_record)

    def _blocks(self, rows: int) -> Iterator[Block]:
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
                yield Block(data, records, position)
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
        header_text=plain_text(text[: records.ends[0]]),
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
