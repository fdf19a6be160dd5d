"""Whatever a table holds and however it is written, it is read back as Python's csv module reads it."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from validation.reading import LONGEST_RECORD, SourceFile, open_source


@dataclass
class Told:
    """What a file says: cells and raw text by row, and what was set aside by row."""

    rows: dict[int, list[str]] = field(default_factory=dict)
    raw: dict[int, str] = field(default_factory=dict)
    rejects: dict[int, tuple[str, str]] = field(default_factory=dict)


def plain_reference(text: str, delimiter: str, width: int, longest: int = LONGEST_RECORD) -> Told:
    """Records behind a header of one line, found slowly: lines are added until the csv module sees a closed record."""
    lines = list(io.StringIO(text, newline=""))[1:]
    told = Told()
    row, first = 2, 0
    while first < len(lines):
        size, last, cells = 0, first, None
        while cells is None and last < len(lines):
            size += len(lines[last].encode())
            last += 1
            if size > longest:
                break
            # Within an open quotation mark the blank line that is put behind would be part of the record.
            parsed = list(csv.reader([*lines[first:last], "\n"], delimiter=delimiter))
            cells = parsed[0] if len(parsed) == 2 else None
        if cells is None:
            code = "record_too_long" if len(lines[first].encode()) > longest else "unclosed_quote"
            raw = lines[first].encode()[: longest if code == "record_too_long" else None].decode(errors="ignore")
            told.rejects[row] = code, raw.rstrip("\r\n").replace("\0", "\ufffd")
            last = first + 1
        elif cells:
            raw = "".join(lines[first:last])
            raw = raw.removesuffix("\n").removesuffix("\r")
            if "\0" in raw:
                told.rejects[row] = "not_text", raw.replace("\0", "\ufffd")
            elif len(cells) != width:
                told.rejects[row] = "wrong_field_count", raw
            else:
                told.rows[row] = cells
                told.raw[row] = raw
        first = last
        row += 1
    return told


def told_by(source: SourceFile, rows: int) -> Told:
    told = Told()
    before = 1
    for chunk in source.chunks(rows):
        numbers = chunk.row_numbers.tolist()
        assert len(numbers) + len(chunk.rejects) <= rows
        assert chunk.table.column_names == list(source.header)
        assert all(column.null_count == 0 for column in chunk.table.columns)
        cells = [column.to_pylist() for column in chunk.table.columns]
        told.rows |= dict(zip(numbers, map(list, zip(*cells, strict=True)), strict=True))
        told.raw |= dict(zip(numbers, chunk.raw_text(range(len(numbers))), strict=True))
        told.rejects |= {reject.row_number: (reject.code, reject.raw_text) for reject in chunk.rejects}
        seen = sorted([*numbers, *(reject.row_number for reject in chunk.rejects)])
        assert seen == sorted(set(seen))
        assert not seen or seen[0] > before
        before = seen[-1] if seen else before
        assert 0 < chunk.bytes_read <= source.size_bytes
    return told


def read(content: bytes, rows: int = 100_000, **limits: int) -> tuple[SourceFile, Told]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export.csv"
        path.write_bytes(content)
        source = open_source(path, **limits)
        told = told_by(source, rows)
        assert told_by(source, rows) == told
        return source, told


CHARACTERS = st.one_of(
    st.sampled_from(list('",;|\t\n\r \ufeff\u2028\x85\x1céñ€😀')),
    st.characters(exclude_categories=["Cs", "Cc"]),
)
ENCODINGS = {
    "utf-8": (b"", "utf-8", "utf-8"),
    "utf-8 with mark": (codecs.BOM_UTF8, "utf-8", "utf-8"),
    "utf-16 little": (codecs.BOM_UTF16_LE, "utf-16-le", "utf-16"),
    "utf-16 big": (codecs.BOM_UTF16_BE, "utf-16-be", "utf-16"),
    "windows-1252": (b"", "cp1252", "windows-1252"),
}


@st.composite
def written_tables(draw: st.DrawFn) -> tuple[list[list[str]], str, str, int, str]:
    width = draw(st.integers(1, 5))
    encoding = draw(st.sampled_from(sorted(ENCODINGS)))
    cell = st.text(CHARACTERS, max_size=8)
    if encoding == "windows-1252":
        cell = cell.map(lambda text: text.encode("cp1252", "ignore").decode("cp1252"))
    rows = draw(st.lists(st.lists(cell, min_size=width, max_size=width), max_size=12))
    # The last name makes any Windows-1252 file one that is not UTF-8 by chance.
    header = [f"name {i}" for i in range(width - 1)] + ["café"]
    delimiter = draw(st.sampled_from(",;\t|")) if width > 1 else ","
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    ending = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    if quoting == csv.QUOTE_MINIMAL:
        # Quoted at need are only line ends of the kind that ends the rows.
        rows = [["".join(c for c in cell if c not in "\r\n" or c in ending) for cell in row] for row in rows]
    return [header, *rows], delimiter, ending, quoting, encoding


@given(
    written_tables(),
    st.sampled_from(["plain", "gzip", "gzip in two parts"]),
    st.integers(1, 7),
    st.one_of(st.integers(1, 64), st.just(8 * 2**20)),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_what_was_written_is_read(
    table: tuple[list[list[str]], str, str, int, str], packing: str, rows: int, block_size: int, ends: bool
) -> None:
    (header, *records), delimiter, ending, quoting, encoding = table
    bom, codec, name = ENCODINGS[encoding]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator=ending, quoting=quoting).writerows([header, *records])
    content = bom + (text.getvalue() if ends else text.getvalue().removesuffix(ending)).encode(codec)
    if packing == "gzip":
        content = gzip.compress(content)
    elif packing == "gzip in two parts":
        content = gzip.compress(content[:9]) + gzip.compress(content[9:])

    source, told = read(content, rows, block_size=block_size)

    assert source.header == tuple(header)
    assert told.rows == dict(enumerate(records, start=2))
    assert told.rejects == {}
    assert (source.dialect.encoding, source.dialect.has_bom) == (name, bool(bom))
    assert source.dialect.delimiter == delimiter
    assert source.dialect.compression == (None if packing == "plain" else "gzip")


HOSTILE = st.text(st.sampled_from(list('aab"""",,\n\n\r\0é')), max_size=60)


@given(HOSTILE, st.integers(1, 80), st.integers(1, 5), st.sampled_from([12, 25, LONGEST_RECORD]))
@settings(max_examples=500, deadline=None)
@example('a,"b\nc,d\n', 3, 1, LONGEST_RECORD)
@example('a",b,"c\n' * 6, 5, 5, 25)
def test_hostile_text_is_read_as_the_csv_module_reads_it(text: str, block_size: int, rows: int, longest: int) -> None:
    text = "one,two\n" + text

    _, told = read(text.encode(), rows, block_size=block_size, longest_record=longest)

    assert told == plain_reference(text, ",", 2, longest)


TRICKY = (
    "one,two\r\n"
    'a,"b\r\n""c"""\r\n'
    "\r\n"
    'd,"e, f"\n'
    "ragged\r"
    '"",""\n\r'
    "\ufeffé,😀\n"
    'inch 5",g\n'
    '"h"i,"j""k"l"\n'
    "nul\0,m\n"
    f"{'x' * 70},n\r\n"
    '"o\n",p\n'
    'q,"unclosed\n'
    "r,s\r\n"
    "t,u"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8 with mark", "utf-16 little", "utf-16 big"])
def test_no_block_border_changes_what_is_read(encoding: str) -> None:
    bom, codec, _ = ENCODINGS[encoding]
    content = bom + TRICKY.encode(codec)
    expected = plain_reference(TRICKY, ",", 2, longest=64)
    assert sorted(code for code, _ in expected.rejects.values()) == [
        "not_text",
        "record_too_long",
        "unclosed_quote",
        "wrong_field_count",
    ]

    for block_size in range(1, len(content) + 2):
        assert read(content, block_size=block_size, longest_record=64)[1] == expected, block_size
