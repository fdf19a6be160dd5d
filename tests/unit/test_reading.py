"""Files as they are found in the wild, and files made to hurt."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from validation.problems import FileProblem, Reject
from validation.reading import SourceFile, open_source

HEADER = "timestamp,person_id,camera_id\n"


@pytest.fixture
def written(tmp_path: Path):
    numbers = itertools.count()

    def write(content: str | bytes, name: str = "export.csv") -> Path:
        path = tmp_path / str(next(numbers)) / name
        path.parent.mkdir()
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def rows_of(source: SourceFile) -> list[tuple[int, list[str]]]:
    return [
        (int(number), list(record.values()))
        for chunk in source.chunks()
        for number, record in zip(chunk.row_numbers, chunk.table.to_pylist(), strict=True)
    ]


def rejects_of(source: SourceFile) -> list[Reject]:
    return [reject for chunk in source.chunks() for reject in chunk.rejects]


def problem_of(path: Path) -> FileProblem:
    with pytest.raises(FileProblem) as caught:
        for _ in open_source(path).chunks():
            pass
    return caught.value


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize(("ending", "name"), [("\n", "LF"), ("\r\n", "CRLF"), ("\r", "CR")])
def test_delimiter_and_line_ends_are_found(written, delimiter: str, ending: str, name: str) -> None:
    text = f"a{delimiter}b{delimiter}c{ending}1{delimiter}2{delimiter}3{ending}"

    source = open_source(written(text))

    assert (source.dialect.delimiter, source.dialect.line_ending) == (delimiter, name)
    assert source.header == ("a", "b", "c")
    assert rows_of(source) == [(2, ["1", "2", "3"])]


def test_other_delimiters_within_cells_do_not_mislead(written) -> None:
    decimal_commas = "time;person, or card;x\n1;anna, b;1,5\n2;bob, c;2,5\n"
    commas = "time,person;card,note|s\n" + "1,a;b;c,x|y|z\n" * 5

    assert open_source(written(decimal_commas)).header == ("time", "person, or card", "x")
    assert open_source(written(commas)).header == ("time", "person;card", "note|s")


def test_a_header_is_enough_to_tell_the_delimiter_where_every_row_is_ragged(written) -> None:
    source = open_source(written("a;b;c\n1;2;3;\n4;5;6;\n"))

    assert source.header == ("a", "b", "c")
    assert [(reject.row_number, reject.code, reject.raw_text) for reject in rejects_of(source)] == [
        (2, "wrong_field_count", "1;2;3;"),
        (3, "wrong_field_count", "4;5;6;"),
    ]


def test_mixed_line_ends(written) -> None:
    source = open_source(written("a,b\r\n1,2\n3,4\r5,6"))

    assert source.dialect.line_ending == "mixed"
    assert rows_of(source) == [(2, ["1", "2"]), (3, ["3", "4"]), (4, ["5", "6"])]


def test_the_delimiter_that_excel_declares_is_obeyed_and_its_line_is_no_row(written) -> None:
    source = open_source(written("sep=;\r\na,x;b\r\n1,2;3\r\n"))
    tabs = open_source(written("sep=\t\na\tb\n1\t2\n"))
    other = open_source(written('"sep=^"\na^b\n1^2\n'))

    assert (source.header, rows_of(source)) == (("a,x", "b"), [(2, ["1,2", "3"])])
    assert (tabs.header, rows_of(tabs)) == (("a", "b"), [(2, ["1", "2"])])
    assert (other.header, rows_of(other)) == (("a", "b"), [(2, ["1", "2"])])


def test_blank_lines_are_rows_of_the_spreadsheet_but_no_records(written) -> None:
    source = open_source(written("\n,,\na,b\n\n1,2\n\r\n\n3,4\n\n"))

    assert source.header == ("a", "b")
    assert rows_of(source) == [(5, ["1", "2"]), (8, ["3", "4"])]
    assert rejects_of(source) == []


def test_a_row_is_one_however_many_lines_it_spans(written) -> None:
    source = open_source(written('a,b\n"x\ny\n\nz",1\n2,3\n'))

    assert rows_of(source) == [(2, ["x\ny\n\nz", "1"]), (3, ["2", "3"])]
    (chunk,) = source.chunks()
    assert chunk.raw_text([1, 0]) == ["2,3", '"x\ny\n\nz",1']


def test_cells_are_verbatim(written) -> None:
    cells = ["00123", "NA", "", "null", "  spaced ", "TRUE", "1e5", '5" display', "#N/A"]
    source = open_source(written(",".join("abcdefghi") + "\n" + ",".join(cells) + "\n"))

    assert rows_of(source) == [(2, cells)]


def test_a_ragged_row_is_rejected_alone_with_its_text(written) -> None:
    source = open_source(written(HEADER + '1,a,c\n2,a\n\n"3","b, c",d,e\n4,a,c\n'))

    assert rows_of(source) == [(2, ["1", "a", "c"]), (6, ["4", "a", "c"])]
    assert rejects_of(source) == [
        Reject(3, None, "wrong_field_count", "The row has 2 cells, the header 3.", "2,a"),
        Reject(5, None, "wrong_field_count", "The row has 4 cells, the header 3.", '"3","b, c",d,e'),
    ]


def test_a_quotation_mark_that_closes_far_away_is_told(written) -> None:
    source = open_source(written(HEADER + '1,"a,c\n2,a,c\n3,a",c\n4,a,c,d"\n5,a,c\n'))

    assert [number for number, _ in rows_of(source)] == [2, 4]
    source = open_source(written(HEADER + '1,"a,c\n2,a,c\n3,a",c,d\n5,a,c\n'))
    (reject,) = rejects_of(source)
    assert (reject.row_number, reject.code) == (2, "wrong_field_count")
    assert "It spans 3 lines, since a quotation mark" in reject.sentence
    assert rows_of(source) == [(3, ["5", "a", "c"])]


def test_an_unclosed_quotation_mark_costs_its_own_row_only(written) -> None:
    good = [f"{i},a,c" for i in range(2, 30)]
    at_the_end = open_source(written(HEADER + '0,a,c\n1,"a,c\n' + "\n".join(good)))
    too_far = open_source(written(HEADER + '0,a,c\n1,"a,c\n' + "\n".join([*good, '99,a",c'])), longest_record=100)

    for source in (at_the_end, too_far):
        (reject,) = rejects_of(source)
        assert (reject.row_number, reject.code, reject.raw_text) == (3, "unclosed_quote", '1,"a,c')
        assert [number for number, _ in rows_of(source)][:29] == [2, *range(4, 32)]


def test_a_file_of_nothing_but_unclosed_quotation_marks_is_refused(written) -> None:
    problem = problem_of(written(HEADER + 'a",b,"c\n' * 500))

    assert problem.code == "unclosed_quotes"


def test_rows_with_zero_bytes_are_set_aside(written) -> None:
    good = "".join(f"{i},anna,c\n" for i in range(50))
    source = open_source(written(HEADER + good + '99,"an\0na",c\n' + good))

    assert len(rows_of(source)) == 100
    (reject,) = rejects_of(source)
    assert (reject.row_number, reject.code, reject.raw_text) == (52, "not_text", '99,"an\ufffdna",c')


def test_control_characters_are_text(written) -> None:
    source = open_source(written(HEADER + "1,a\x07b\x1b\x0b\x0c\x1c,c\n"))

    assert rows_of(source) == [(2, ["1", "a\x07b\x1b\x0b\x0c\x1c", "c"])]


def test_a_byte_order_mark_within_the_file_is_text(written) -> None:
    source = open_source(written("\ufeff" + HEADER + "\ufeff1,a,c\n" * 3), block_size=14)

    assert source.dialect.has_bom
    assert source.header[0] == "timestamp"
    assert [record[0] for _, record in rows_of(source)] == ["\ufeff1"] * 3


def test_one_byte_that_is_not_utf8_makes_the_whole_file_windows_1252(written) -> None:
    lines = [f"{i},José,c\n".encode() for i in range(100_000)]
    lines[90_000] = b"90000,\x80uro \x81,c\n"
    source = open_source(written(HEADER.encode() + b"".join(lines)))

    assert source.dialect.encoding == "windows-1252"
    (notice,) = source.notices
    assert notice.code == "windows_1252"
    assert "on line 90,002," in notice.sentence
    records = rows_of(source)
    assert records[0] == (2, ["0", "JosÃ©", "c"])
    assert records[90_000] == (90_002, ["90000", "€uro \x81", "c"])
    assert rejects_of(source) == []


def test_all_bytes_are_something_in_windows_1252(written) -> None:
    cell = bytes(sorted(set(range(1, 256)) - set(b'\r\n",')))
    source = open_source(written(HEADER.encode() + b"1," + cell + b",c\n" + b"2,anna,c\n" * 100))

    _, record = rows_of(source)[0]
    assert len(record[1]) == len(cell)
    assert record[1].encode("cp1252", "replace").count(b"?") == 1 + 5


def test_a_character_cut_off_by_the_end_of_the_file_is_not_utf8(written) -> None:
    assert open_source(written((HEADER + "1,a,é").encode()[:-1])).dialect.encoding == "windows-1252"


def test_a_file_marked_as_utf8_stays_utf8_and_loses_only_its_broken_rows(written) -> None:
    source = open_source(written(b"\xef\xbb\xbf" + HEADER.encode() + "1,José,c\n".encode() + b"2,Jos\xe9,c\n3,\xc3"))

    assert source.dialect.encoding == "utf-8"
    assert [notice.code for notice in source.notices] == ["invalid_utf8"]
    assert rows_of(source) == [(2, ["1", "José", "c"])]
    assert [(reject.row_number, reject.code, reject.raw_text) for reject in rejects_of(source)] == [
        (3, "not_text", "2,Jos\ufffd,c"),
        (4, "not_text", "3,\ufffd"),
    ]


@pytest.mark.parametrize("block_size", [1, 3, 1000])
def test_broken_utf16_costs_the_broken_rows_only(written, block_size: int) -> None:
    text = "\ufeff" + HEADER + "1,😀,c\n2,\ud83d,c\n3,a,c\n4,a,c"
    source = open_source(written(text.encode("utf-16-le", "surrogatepass") + b"x"), block_size=block_size)

    assert source.dialect.encoding == "utf-16"
    assert rows_of(source) == [(2, ["1", "😀", "c"]), (4, ["3", "a", "c"])]
    assert [(reject.row_number, reject.code) for reject in rejects_of(source)] == [(3, "not_text"), (5, "not_text")]


def test_names_of_columns(written) -> None:
    source = open_source(written("\ufeff time , floor,time,Time,,time (2),\xa0floor,\n1,2,3,4,5,6,7,8\n"))

    assert source.header == ("time", "floor", "time (3)", "Time", "column 5", "time (2)", "floor (2)", "column 8")
    assert [(notice.code, notice.sentence) for notice in source.notices] == [
        ("unnamed_columns", "Columns without a name in the header were named 'column 5', 'column 8'."),
        ("repeated_columns", "Columns whose name occurs before them were named 'time (3)', 'floor (2)'."),
    ]
    assert rows_of(source) == [(2, list("12345678"))]


def test_a_delimiter_at_the_end_of_every_line_is_an_unnamed_column(written) -> None:
    source = open_source(written("a,b,\n1,2,\n3,4,\n"))

    assert source.header == ("a", "b", "column 3")
    assert rows_of(source) == [(2, ["1", "2", ""]), (3, ["3", "4", ""])]


def test_the_header_may_be_quoted_and_span_lines(written) -> None:
    source = open_source(written('"a\nb","c,d"\r\n1,2\r\n'))

    assert source.header == ("a\nb", "c,d")
    assert rows_of(source) == [(2, ["1", "2"])]


@pytest.mark.parametrize("content", ["a,b,c", "a,b,c\n", "\ufeffa,b,c\r\n", "a,b,c\r\n\r\n\n"])
def test_a_header_alone_is_a_file_without_rows(written, content: str) -> None:
    source = open_source(written(content))

    assert source.header == ("a", "b", "c")
    assert rows_of(source) == []


def test_a_single_column(written) -> None:
    source = open_source(written('person\nanna\n\n""\nbob;x\na,b\n'))

    assert rows_of(source) == [(2, ["anna"]), (4, [""]), (5, ["bob;x"])]
    assert [reject.row_number for reject in rejects_of(source)] == [6]


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b" \t\r\n\n  \n", b"\xef\xbb\xbf", b"\xff\xfe", b"\xef\xbb\xbf\n,,,\n", gzip.compress(b"", mtime=0)],
)
def test_a_file_with_nothing_in_it_is_refused(written, content: bytes) -> None:
    assert problem_of(written(content)).code == "empty_file"


def _workbook() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return buffer.getvalue()


def _archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("export.csv", HEADER)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "looks_like", "advice"),
    [
        (_workbook(), "Excel workbook", "CSV"),
        (_archive(), "ZIP archive", "Unpack"),
        (
            b"PK\x03\x04".ljust(30, b"\0") + b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet",
            "OpenDocument",
            "CSV",
        ),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 504, "old Excel workbook", "CSV"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "PNG", "wrong file"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "PDF", "wrong file"),
        (gzip.compress(gzip.compress(HEADER.encode(), mtime=0), mtime=0), "compressed twice", "Unpack"),
        (gzip.compress(b"x.csv".ljust(257, b"\0") + b"ustar", mtime=0), "tar archive", "Unpack"),
        (HEADER.encode("utf-16-le"), "UTF-16 text without", "UTF-8"),
        (HEADER.encode("utf-16-be"), "UTF-16 text without", "UTF-8"),
        (HEADER.encode("utf-32"), "UTF-32", "UTF-8"),
        (b"\0" * 5000, "zero bytes", "again"),
        (b"<!DOCTYPE html>\n<html>", "HTML", "Download"),
        (b'<?xml version="1.0"?>\n<events/>', "XML", "CSV"),
        (b'[\n  {"person_id": 1}\n]', "JSON", "CSV"),
        (b'{"events": []}', "JSON", "CSV"),
        (bytes((i * 7919 + i * i * 31) % 256 for i in range(5000)), "binary", "wrong file"),
    ],
)
def test_what_is_no_csv_is_named(written, content: bytes, looks_like: str, advice: str) -> None:
    problem = problem_of(written(content))

    assert problem.code == "not_delimited_text"
    assert looks_like in problem.sentence
    assert advice in problem.advice


def test_compression_is_told_by_content_not_by_name(written) -> None:
    packed = open_source(written(gzip.compress((HEADER + "1,a,c\n").encode()), "export.csv"))
    plain = open_source(written(HEADER + "1,a,c\n", "export.csv.gz"))

    assert (packed.dialect.compression, plain.dialect.compression) == ("gzip", None)
    assert rows_of(packed) == rows_of(plain) == [(2, ["1", "a", "c"])]


@pytest.mark.parametrize("codec", ["utf-8", "utf-16"])
def test_a_compressed_file_that_ends_too_early_is_refused(written, codec: str) -> None:
    text = HEADER + "".join(f"{i},{i * i},{i**3 % 977}\n" for i in range(30_000))
    content = gzip.compress(text.encode(codec))

    assert problem_of(written(content[: len(content) // 2])).code == "compressed_truncated"
    assert problem_of(written(content[:-3])).code == "compressed_truncated"
    middle = len(content) // 2
    damaged = content[:middle] + bytes(byte ^ 0x55 for byte in content[middle : middle + 20]) + content[middle + 20 :]
    assert problem_of(written(damaged)).code == "compressed_damaged"
    assert problem_of(written(content + b"and more")).code == "compressed_damaged"


def test_a_file_that_changes_while_it_is_read_is_refused(written) -> None:
    path = written(HEADER + "1,a,c\n")
    source = open_source(path)
    path.write_bytes(HEADER.encode() + b"1,\xff,c\n")

    with pytest.raises(FileProblem, match="changed"):
        list(source.chunks())


@pytest.mark.parametrize("content", ['a,"b\n1,2\n', "a,b\0\n" + "1,2\n" * 100])
def test_a_header_that_is_none_is_refused(written, content: str) -> None:
    assert problem_of(written(content)).code == "header_unreadable"


def test_a_header_that_does_not_end_is_refused(written) -> None:
    with pytest.raises(FileProblem) as caught:
        open_source(written("a,b" * 100_000), longest_record=1000)
    assert caught.value.code == "header_unreadable"
    assert problem_of(written("a," * 5_000_000)).code == "header_unreadable"


def test_cells_of_a_megabyte_and_lines_without_end(written) -> None:
    cell, quoted, endless = "x" * 2**20, '"' + "y\n" * 2**19 + '"', "z" * 9 * 2**20
    source = open_source(written(f"{HEADER}1,{cell},c\n2,{quoted},c\n{endless},c\n4,a,c\n"))

    assert rows_of(source) == [(2, ["1", cell, "c"]), (3, ["2", quoted[1:-1], "c"]), (5, ["4", "a", "c"])]
    (reject,) = rejects_of(source)
    assert (reject.row_number, reject.code) == (4, "record_too_long")
    assert reject.raw_text == endless[:10_000]


def test_ten_thousand_columns(written) -> None:
    records = [[str(i * j) for j in range(10_000)] for i in range(1, 30)]
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows([[f"c{j}" for j in range(10_000)], *records])

    source = open_source(written(buffer.getvalue()))

    assert len(source.header) == 10_000
    assert [record for _, record in rows_of(source)] == records


def test_many_columns_of_one_name_and_too_many_columns(written) -> None:
    source = open_source(written(",".join(["a"] * 10_000) + "\n"))

    assert source.header[:3] == ("a", "a (2)", "a (3)")
    assert len(set(source.header)) == 10_000
    assert "and 9,989 more" in source.notices[0].sentence
    assert problem_of(written("a," * 20_000 + "\n")).code == "too_many_columns"


def test_chunks_are_of_the_size_asked_for_and_can_be_read_again(written) -> None:
    source = open_source(written(HEADER + "1,a,c\n" * 1000))

    assert [chunk.table.num_rows for chunk in source.chunks(400)] == [333, 333, 334]
    assert sum(chunk.table.num_rows for chunk in source.chunks()) == 1000


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("JC-201611-citibike-tripdata.csv", 21_832),
        ("vast2016-proxOut-MC2.csv", 29_763),
        ("vast2016-proxMobileOut-MC2.csv", 11_592),
    ],
)
def test_public_files(public_data: Path, name: str, count: int) -> None:
    path = public_data / name
    with path.open(newline="") as file:
        header, *records = csv.reader(file)

    source = open_source(path)

    assert source.header == tuple(cell.strip() for cell in header)
    assert len(records) == count
    assert rows_of(source) == list(enumerate(records, start=2))


def _peak_memory(script: str) -> int:
    """Run a script, which prints a figure in MB, in a process of its own: peak memory never goes down again."""
    program = textwrap.dedent(
        """
        import pathlib, sys
        from validation.problems import FileProblem
        from validation.reading import open_source
        def peak():
            status = pathlib.Path("/proc/self/status").read_text()
            return int(status.split("VmHWM:")[1].split()[0]) // 1024
        def read(path):
            try:
                return sum(len(chunk.row_numbers) for chunk in open_source(pathlib.Path(path)).chunks())
            except FileProblem as problem:
                return problem.code
        {script}
        """
    ).format(script=script)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        (lambda: gzip.compress(b"a,b\n" + b"1,2\n" * 2**25 * 3, compresslevel=1), "compressed_too_far"),
        (lambda: gzip.compress(b"a,b\n" + b"x" * 150 * 2**20, compresslevel=1), 0),
        (lambda: gzip.compress(b'a,b\n"' + b"x,y\n" * 4 * 2**20, compresslevel=1), 4 * 2**20 - 1),
        (lambda: gzip.compress(b"a,b\n" + b"\n" * 60 * 2**20, compresslevel=1), 0),
        (lambda: b"a,b\n" + b"1234567,abcdefg\n" * 8 * 2**20, 8 * 2**20),
    ],
    ids=["bomb", "endless line", "endless cell", "blank lines", "plain"],
)
def test_memory_is_bounded_whatever_the_file_holds(written, content: Callable[[], bytes], outcome: str | int) -> None:
    small, large = written("a,b\n1,2\n", "small.csv"), written(content(), "large.csv")

    used = _peak_memory(
        f"read({str(small)!r}); before = peak(); got = read({str(large)!r}); "
        f"assert got == {outcome!r}, got; print(peak() - before)"
    )

    assert used < 200
