"""A rejects file, whatever a spreadsheet made of it, gives back the rows that were put into it."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.test_reading_properties import HOSTILE, Told, told_by
from validation.outcomes import Account, Outcome
from validation.problems import FileProblem, Reject
from validation.quarantine import write_rejects_file
from validation.reading import SourceFile
from validation.repairing import RejectsFile, open_content
from validation.reports import REJECTS_HEADER, header_line, problem_line, rejects_line

SHA256 = "ab" * 32
HEADER = "time,person,camera,type"
GOOD = "2024-05-01 10:00,P1,C1,entry"

Lines = list[tuple[str, ...]]


def lines_of(rows: Iterable[str], header: str = HEADER, delimiter: str = ",") -> Lines:
    wrapped = [rejects_line(number, (), row, SHA256) for number, row in enumerate(rows, start=2)]
    return [REJECTS_HEADER, header_line(header, delimiter, SHA256), *wrapped]


def saved(lines: Lines, **dialect: object) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, **dialect).writerows(lines)  # type: ignore[arg-type]
    return text.getvalue()


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[Lines | bytes], SourceFile | RejectsFile]:
    def write(content: Lines | bytes) -> SourceFile | RejectsFile:
        path = tmp_path / "x.csv.rejects.csv"
        path.write_bytes(content if isinstance(content, bytes) else saved(content).encode("utf-8-sig"))
        return open_content(path)

    return write


def told(source: SourceFile | RejectsFile, rows: int = 100_000) -> Told:
    assert isinstance(source, RejectsFile)
    return told_by(source, rows)


class TestUnwrapping:
    def test_the_rows_come_back_with_the_numbers_of_the_lines(self, opened: Callable[[Lines], RejectsFile]) -> None:
        lines = lines_of([GOOD, 'x,"P\n""2""",C1,exit', "ragged", "p,q,r,s"])
        del lines[2]

        source = opened(lines)

        assert source.header == ("time", "person", "camera", "type")
        assert source.header_text == HEADER
        assert source.original == SHA256
        assert told(source) == Told(
            rows={3: ["x", 'P\n"2"', "C1", "exit"], 5: ["p", "q", "r", "s"]},
            raw={3: 'x,"P\n""2""",C1,exit', 5: "p,q,r,s"},
            rejects={4: ("wrong_field_count", "ragged")},
        )

    @pytest.mark.parametrize(
        ("dialect", "encoding"),
        [
            ({"delimiter": ";", "quoting": csv.QUOTE_MINIMAL, "lineterminator": "\r\n"}, "cp1252"),
            ({"delimiter": "\t", "quoting": csv.QUOTE_MINIMAL, "lineterminator": "\r\n"}, "utf-16"),
            ({"delimiter": ",", "quoting": csv.QUOTE_ALL, "lineterminator": "\n"}, "utf-8-sig"),
            ({"delimiter": ",", "quoting": csv.QUOTE_NONNUMERIC, "lineterminator": "\n"}, "utf-8"),
        ],
    )
    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "^"])
    def test_however_a_spreadsheet_saves_it(
        self,
        opened: Callable[[bytes], RejectsFile],
        dialect: dict[str, object],
        encoding: str,
        delimiter: str,
    ) -> None:
        rows = [cells.replace(",", delimiter) for cells in (GOOD, "«é»,»«,;|\t^,x", "=1+1,00012,1e5,-")]
        lines = lines_of(rows, HEADER.replace(",", delimiter), delimiter)

        source = opened(saved(lines, **dialect).encode(encoding))

        assert source.dialect.delimiter == delimiter
        assert source.header == ("time", "person", "camera", "type")
        seen = told(source)
        assert {**seen.raw, **{row: text for row, (_, text) in seen.rejects.items()}} == dict(enumerate(rows, start=3))
        assert seen.rows[5] == ["=1+1", "00012", "1e5", "-"]

    def test_packed_moved_and_renamed_columns(self, opened: Callable[[bytes], RejectsFile]) -> None:
        moved = [(*line[::-1], "a note") for line in lines_of([GOOD])]
        moved[0] = ("FILE", "The Row As It Stands in the file", "Reasons", "CODES", "columns", " Verdict ", "ROW", "")
        assert told(opened(gzip.compress(saved(moved).encode()))).raw == {3: GOOD}

    def test_without_the_column_file_the_original_is_not_known(self, opened: Callable[[Lines], RejectsFile]) -> None:
        source = opened([line[:-1] for line in lines_of([GOOD])])
        assert source.original is None
        assert told(source).raw == {3: GOOD}

    def test_the_lines_may_be_sorted(self, opened: Callable[[Lines], RejectsFile]) -> None:
        first, header, *rows = lines_of([GOOD, *["a,b,c,d"] * 3000])
        assert len(told(opened([first, *rows, header])).rows) == 3001

    def test_cleared_lines_and_emptied_cells_are_no_rows(self, opened: Callable[[Lines], RejectsFile]) -> None:
        lines = lines_of([GOOD, "", GOOD])
        lines.insert(3, ("",) * 7)
        source = opened(lines)
        assert told(source) == Told(rows={n: GOOD.split(",") for n in (3, 6)}, raw={3: GOOD, 6: GOOD})

    def test_nothing_left(self, opened: Callable[[Lines], RejectsFile]) -> None:
        assert told(opened(lines_of([]))) == Told()

    def test_line_ends_around_a_row_do_not_count(self, opened: Callable[[Lines], RejectsFile]) -> None:
        assert told(opened(lines_of([f"\r\n{GOOD}\n\n"]))).raw == {3: GOOD}

    @pytest.mark.parametrize("cell", [GOOD, f"«{GOOD}", f"{GOOD}»", "", f"«{GOOD}…"])
    def test_a_row_without_its_marks_is_set_aside(self, opened: Callable[[Lines], RejectsFile], cell: str) -> None:
        lines = lines_of([GOOD, GOOD])
        lines[2] = (*lines[2][:5], cell, *lines[2][6:])
        seen = told(opened(lines))
        assert seen.rejects == {3: ("not_between_marks", cell)}
        assert seen.raw == {4: GOOD}

    def test_two_rows_in_one_cell_are_set_aside(self, opened: Callable[[Lines], RejectsFile]) -> None:
        seen = told(opened(lines_of([GOOD, f"{GOOD}\n{GOOD}", "e,f,g,h"])))
        assert seen.rejects == {4: ("several_rows_in_a_cell", f"{GOOD}\n{GOOD}")}
        assert seen.raw == {3: GOOD, 5: "e,f,g,h"}

    def test_an_open_quotation_mark_does_not_reach_into_the_next_row(
        self, opened: Callable[[Lines], RejectsFile]
    ) -> None:
        seen = told(opened(lines_of([GOOD, 'a,"b,c,d', GOOD, 'e,f",g,h', *['"'] * 300])))
        assert {row: code for row, (code, _) in seen.rejects.items()} == {
            4: "unclosed_quote", **dict.fromkeys(range(7, 307), "unclosed_quote")
        }  # fmt: skip
        assert seen.raw == {3: GOOD, 5: GOOD, 6: 'e,f",g,h'}

    def test_a_row_of_any_length_that_a_file_may_have(self, opened: Callable[[Lines], RejectsFile]) -> None:
        longest = 'a,b,c,"' + '""' * (2 * 2**20 - 10) + '"'
        seen = told(opened(lines_of([GOOD, longest, f"a,b,c,{'x' * 2**22}"])))
        assert seen.raw == {3: GOOD, 4: longest}
        assert seen.rejects[5][0] == "record_too_long"

    def test_the_rejects_of_all_lines_stand_in_order(self, opened: Callable[[bytes], RejectsFile]) -> None:
        lines = lines_of(["ragged", GOOD])
        text = saved(lines) + "too,few\r\n" + saved([(*lines[3][:5], "no marks", "")]) + "\0,,,,,,\r\n"
        (chunk,) = opened(text.encode()).chunks()
        assert [(reject.row_number, reject.code) for reject in chunk.rejects] == [
            (3, "wrong_field_count"),
            (5, "wrong_field_count"),
            (6, "not_between_marks"),
            (7, "not_text"),
        ]


class TestWhatCannotBeRead:
    @pytest.mark.parametrize(
        "header", [None, "«»", HEADER, f"«{HEADER}", f"®{HEADER}¯", f"«{HEADER}\n{HEADER}»"], ids=repr
    )
    def test_without_the_header_of_the_original(
        self, opened: Callable[[Lines], RejectsFile], header: str | None
    ) -> None:
        lines = lines_of([GOOD])
        lines[1] = (*lines[1][:5], header or "", lines[1][6])
        if header is None:
            del lines[1]
        with pytest.raises(FileProblem, match=r"header.*save it as CSV in UTF-8") as raised:
            opened(lines)
        assert raised.value.code == "rejects_file_damaged"

    def test_the_rejects_file_of_a_file_that_could_not_be_read(self, opened: Callable[[Lines], RejectsFile]) -> None:
        problem = FileProblem("no_profile_fits", "No source profile fits.", "Rename the columns.")
        outcome = Outcome("quarantined", "x.csv", sha256=SHA256, problem=problem)  # type: ignore[arg-type]
        with pytest.raises(FileProblem, match="holds no rows") as raised:
            opened([REJECTS_HEADER, problem_line(outcome)])
        assert raised.value.code == "rejects_file_without_rows"

    def test_rejects_files_put_together(self, opened: Callable[[Lines], RejectsFile]) -> None:
        other = [(*line[:6], f"sha256:{'cd' * 32}") for line in lines_of([GOOD])]
        source = opened([*lines_of([GOOD]), *other[1:]])
        with pytest.raises(FileProblem, match=r"row 4 is of another.*by itself") as raised:
            told(source)
        assert raised.value.code == "several_originals"

    def test_another_file_is_no_rejects_file(self, tmp_path: Path) -> None:
        path = tmp_path / "x.csv"
        path.write_text("row,verdict,columns,codes,reasons,text,file\n1,header,,,,«a»,\n", encoding="utf-8")
        assert isinstance(open_content(path), SourceFile)


def written_again(content: bytes, reasons: dict[int, Sequence[Reject]], *, only_rejected: bool) -> Lines:
    """The rejects file of a file with this content."""
    with tempfile.TemporaryDirectory() as folder:
        original, target = Path(folder) / "original", Path(folder) / "rejects.csv"
        original.write_bytes(content)
        outcome = Outcome("quarantined", "x.csv", sha256=SHA256, account=Account(0))
        write_rejects_file(
            target,
            outcome,
            original,
            lambda first, last: {row: found for row, found in reasons.items() if first <= row <= last},
            only_rejected=only_rejected,
        )
        with target.open(encoding="utf-8-sig", newline="") as file:
            return [tuple(line) for line in csv.reader(file)]


def read_content(content: bytes) -> tuple[SourceFile | RejectsFile, Told]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.csv"
        path.write_bytes(content)
        source = open_content(path)
        return source, told_by(source, 100_000)


@given(
    HOSTILE.filter(lambda text: "\0" not in text),
    st.sampled_from(",;\t|"),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["utf-8", "utf-8-sig", "cp1252", "utf-16"]),
    st.sampled_from([codecs.BOM_UTF8, b""]),
)
@settings(max_examples=200, deadline=None)
@example('a,"b\nc",d\n«»,»\n', ";", csv.QUOTE_MINIMAL, "\r\n", "cp1252", b"")
def test_what_is_wrapped_comes_back(
    text: str, delimiter: str, quoting: int, ending: str, encoding: str, mark: bytes
) -> None:
    content = mark + f"one,tw\xe9\n{text}".encode()
    original, expected = read_content(content)

    lines = written_again(content, {}, only_rejected=False)
    again = saved(lines, delimiter=delimiter, quoting=quoting, lineterminator=ending).encode(encoding)
    source, seen = read_content(again)

    assert isinstance(source, RejectsFile)
    assert source.header == original.header
    # Every row of the original is a line; the header line is one more.
    places = dict(enumerate(sorted([*expected.rows, *expected.rejects]), start=3))
    assert seen.rows == {line: expected.rows[row] for line, row in places.items() if row in expected.rows}
    assert seen.raw == {line: expected.raw[row] for line, row in places.items() if row in expected.raw}
    assert seen.rejects == {line: expected.rejects[row] for line, row in places.items() if row in expected.rejects}
    for cell in (cell for line in lines for cell in line):
        assert not re.match(r"[=+\-@\t\r]", cell.lstrip(" "))


def test_only_the_rejected_rows_can_be_written() -> None:
    content = f"{HEADER}\n{GOOD}\n=bad,P,C,in\nragged\n\n{GOOD}\n".encode()
    reasons: dict[int, Sequence[Reject]] = {
        3: [Reject(3, "time", "timestamp_unreadable", "Row 3: no time.", "=bad,P,C,in")],
        4: [Reject(4, None, "wrong_field_count", "Row 4: ragged.", "ragged")],
    }

    lines = written_again(content, reasons, only_rejected=True)

    assert [line[1:6:4] for line in lines[1:]] == [
        ("header", f"«{HEADER}»"),
        ("rejected", "«=bad,P,C,in»"),
        ("rejected", "«ragged»"),
    ]


def test_what_could_not_be_shown_as_it_stands_is_not_taken_for_the_row() -> None:
    content = b"one,two\na,\0b\xc3\xa9\n" + b"c," + b"x" * (5 * 2**20) + b"\n"
    _, first = read_content(content)
    reasons: dict[int, Sequence[Reject]] = {
        row: [Reject(row, None, code, "It is none.", text)] for row, (code, text) in first.rejects.items()
    }
    assert {found[0].code for found in reasons.values()} == {"not_text", "record_too_long"}

    for _ in range(2):
        again = saved(written_again(content, reasons, only_rejected=False)).encode()
        _, seen = read_content(again)
        assert seen.rows == {}
        assert {code for code, _ in seen.rejects.values()} == {"not_between_marks"}
        content = again
        reasons = {row: [Reject(row, None, code, "It is none.", text)] for row, (code, text) in seen.rejects.items()}
