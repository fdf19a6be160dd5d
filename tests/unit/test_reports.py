"""Verdicts and reports: what people are told, and that nothing a file holds can break out of it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from validation import reports
from validation.outcomes import Account, Correction, Detected, Earlier, Outcome, Problem, on_one_line, percent
from validation.problems import CAUSES, FileProblem, Notice, Reject

LOADED = Outcome(
    state="loaded",
    name="cam-north 14:00.csv",
    size_bytes=1234,
    arrived_at=datetime(2024, 6, 1, 12, tzinfo=UTC),
    account=Account(10_000, rows_loaded=9_931, rows_rejected=69),
    detected=Detected("generic", "utf-8", "gzip", ";", "CRLF", "MDY", ("timestamp", "person_id"), {"ISO 8601": 10_000}),
    reject_counts={"missing_value": 9, "timestamp_unreadable": 60},
    first_rejects=(Reject(7, "when", "timestamp_unreadable", "Row 7: the timestamp 'x' is none.", "x,P,C,in"),),
    notices=(Notice("date_order_ambiguous", "3 rows have dates that could be read both ways.", 3),),
)
UNUSABLE = replace(
    LOADED,
    state="quarantined",
    account=Account(10, rows_rejected=4, rows_held=6),
    max_rejected_share=0.05,
    problem=Problem("too_many_rejected_rows", "4 of 10 rows (40 %) were rejected.", "Look at the commonest reasons."),
    moved_to=Path("/landing/rejected/cam-north 14:00.csv"),
)

hostile = st.text(st.sampled_from(list("`|<>&*_[]()#!\\\"'=+-@~:/.\n\r\t\0\x1b\u202e«» ab1wW")), max_size=60)


class TestVerdicts:
    def test_a_usable_file(self) -> None:
        clean = replace(LOADED, account=Account(3, rows_loaded=2, rows_duplicate=1), notices=())
        assert clean.verdict == "Usable: cam-north 14:00.csv, 2 of 3 rows loaded, 0 rejected, 1 duplicates."

    def test_a_usable_file_with_warnings(self) -> None:
        assert LOADED.verdict == (
            "Usable, with warnings: cam-north 14:00.csv, 9,931 of 10,000 rows loaded, 69 rejected (0.7 %), "
            "0 duplicates."
        )

    @pytest.mark.parametrize(
        ("correction", "words"),
        [
            (Correction("retract"), "no event was taken back: it had none."),
            (
                Correction("retract", events_kept=3),
                "no event was taken back; all 3 that other files also brought stay.",
            ),
            (Correction("retract", events_removed=1), "1 event was taken back."),
            (
                Correction("retract", events_removed=2000, events_kept=1000),
                "2,000 events were taken back; 1,000 that other files also brought stay.",
            ),
        ],
    )
    def test_a_retracted_file(self, correction: Correction, words: str) -> None:
        retracted = replace(LOADED, state="retracted", correction=correction)
        assert retracted.verdict == f"Retracted: cam-north 14:00.csv, {words}"

    def test_a_replayed_and_a_released_file(self) -> None:
        rows = "cam-north 14:00.csv, 9,931 of 10,000 rows loaded, 69 rejected (0.7 %), 0 duplicates"
        changes = Correction("replay", events_added=1200, events_changed=3, events_removed=1)
        told = {
            Correction("replay"): f"Replayed: {rows}; no event has changed.",
            changes: f"Replayed: {rows}; events: 1,200 new, 3 changed, 1 taken back.",
            Correction("release", events_added=9_931): f"Released: {rows}.",
        }
        for correction, sentence in told.items():
            assert replace(LOADED, correction=correction).verdict == sentence

    def test_a_file_that_a_replay_found_unusable(self) -> None:
        replayed = replace(UNUSABLE, correction=Correction("replay", events_removed=6))
        assert replayed.verdict.endswith("at most 5 % are allowed. 6 events were taken back.")
        assert "correct them and replay it" in reports.report(replayed)

    def test_cameras_that_are_not_listed_are_no_warning(self) -> None:
        clean = replace(LOADED, account=Account(1, rows_loaded=1), notices=(Notice("unlisted_cameras", "1 camera."),))
        assert not clean.has_warnings

    def test_too_many_rejected_rows(self) -> None:
        assert UNUSABLE.verdict == (
            "Not usable: cam-north 14:00.csv, 4 of 10 rows rejected (40 %) where at most 5 % are allowed. "
            "Nothing was loaded."
        )

    def test_a_file_that_is_no_table(self) -> None:
        problem = Problem.of(FileProblem("empty_file", "The file holds nothing.", "Export it again."))
        outcome = Outcome("quarantined", "x.csv", problem=problem)
        assert outcome.verdict == "Not usable: x.csv. The file holds nothing. Nothing was loaded."

    @pytest.mark.parametrize(
        ("earlier_site", "site", "told"),
        [
            (None, None, ""),
            ("North", "North", ""),
            ("North", "South", " for site North"),
            (None, "South", " for no site in particular"),
        ],
    )
    def test_nothing_new(self, earlier_site: str | None, site: str | None, told: str) -> None:
        earlier = Earlier("first.csv", earlier_site, datetime(2024, 5, 1, 8, 30, tzinfo=UTC))
        assert Outcome("already_loaded", "x.csv", site=site, earlier=earlier).verdict == (
            f"Nothing new: x.csv has the same content as first.csv, loaded on 2024-05-01 08:30 UTC{told}; nothing was "
            "loaded twice."
        )

    def test_a_name_cannot_break_the_line(self) -> None:
        sentence = replace(LOADED, name="a\nUsable: b\x1b[2J\u202e.csv").verdict
        assert "a\\nUsable: b\\x1b[2J\\u202e.csv" in sentence

    def test_behind_the_figures_stand_the_commonest_cause_and_the_first_thing_worth_knowing(self) -> None:
        told = LOADED.sentence.removeprefix(LOADED.verdict.removesuffix("."))
        assert (
            told == "; rejected mostly for times that cannot be read; 3 rows have dates that could be read both ways."
        )
        quiet = replace(LOADED, notices=())
        assert replace(quiet, reject_counts={"missing_value": 69}).remarks == ["rejected for missing values"]
        many = replace(quiet, reject_counts={"missing_value": 3, "not_text": 2, "id_too_long": 2})
        assert many.remarks == ["rejected first of all for missing values"]
        assert replace(LOADED, notices=LOADED.notices * 3).remarks[-1] == "2 more to know of"
        assert replace(LOADED, state="already_loaded").remarks == []

    def test_every_code_has_its_words(self) -> None:
        assert set(CAUSES) == set(reports.ADVICE)


class TestAccount:
    def test_it_adds_up_or_is_none(self) -> None:
        with pytest.raises(ValueError, match="10 rows were read but 9 are accounted for"):
            Account(10, rows_loaded=9)

    def test_a_file_without_rows_has_no_rejected_share(self) -> None:
        assert Account(0).rejected_share == 0

    @pytest.mark.parametrize(
        ("share", "text"),
        [
            (0, "0 %"),
            (0.0069, "0.7 %"),
            (0.12, "12 %"),
            (0.0001, "under 0.1 %"),
            (0.99999, "over 99.9 %"),
            (1, "100 %"),
        ],
    )
    def test_percent(self, share: float, text: str) -> None:
        assert percent(share) == text


class TestReport:
    def test_a_loaded_file(self) -> None:
        text = reports.report(LOADED)
        assert text.startswith("# Usable, with warnings: `cam-north 14:00.csv`\n\nUsable, with warnings: ")
        assert "(1,234 bytes, arrived 2024-06-01 12:00 UTC.)" in text
        assert "| read | 10,000 |  |" in text
        assert "| rejected | 69 | 0.7 % |" in text
        assert "| 7 | `when` | Row 7: the timestamp 'x' is none. | `x,P,C,in` |" in text
        assert "- 3 rows have dates that could be read both ways." in text
        assert "| encoding | UTF-8, compressed (gzip) |" in text
        assert "| delimiter | semicolon |" in text
        assert "| dates | month first; taken from the settings, for nothing in the file tells (3 rows could" in text
        assert "What to do" not in text

    def test_the_commonest_reason_comes_first_with_advice(self) -> None:
        advice = "Write the time as 2024-03-11 14:05:00; a source profile can name another format."
        lines = [line for line in reports.reasons_table(LOADED).splitlines() if "60" in line or "| 9 |" in line]
        assert lines == [
            f"| timestamp unreadable | 60 | Row 7: the timestamp 'x' is none. | {advice} |",
            "| missing value | 9 |  | Fill in the value, or leave the row out. |",
        ]

    def test_an_unusable_file_says_what_to_do(self) -> None:
        text = reports.report(UNUSABLE)
        assert "| held back (good rows of a file that was not loaded) | 6 |" in text
        assert "1. Look at the commonest reasons.\n2. The file now lies in `/landing/rejected` as" in text
        assert "Put the corrected file into the landing folder again, under any name." in text

    @pytest.mark.parametrize("outcome", [Outcome("waiting", "x"), Outcome("gone", "x"), Outcome("already_loaded", "x")])
    def test_there_is_a_report_for_every_outcome(self, outcome: Outcome) -> None:
        assert outcome.headline in reports.report(outcome)


class TestHostileText:
    @example("\\|", "\\|")
    @given(hostile, hostile)
    def test_a_table_keeps_its_shape(self, cell: str, sentence: str) -> None:
        table = reports.rejects_table([Reject(2, cell, "code", sentence, cell)])
        lines = table.split("\n")
        assert len(lines) == 3
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", lines[2].replace("\\\\", ""))) == 5

    @given(hostile)
    def test_a_code_span_ends_where_it_should(self, text: str) -> None:
        span = reports.code(text)
        if text:
            fence = re.match("`+", span)
            assert fence is not None
            inner = span[len(fence[0]) : -len(fence[0])]
            assert fence[0] not in re.findall("`+", inner)
            assert inner.strip() == on_one_line(text).replace("|", "\\|").strip()

    @given(hostile)
    def test_prose_holds_no_tag_link_or_span(self, text: str) -> None:
        told = reports.prose(text)
        assert "<" not in told
        assert "://" not in told
        assert "@" not in told
        assert "www." not in told.lower()
        assert "\n" not in told
        assert not re.search(r"(?<!\\)(?:\\\\)*[`*\[\]|~]", told)

    def test_a_whole_report(self) -> None:
        evil = "<script>alert(1)</script>|`x`|[a](http://evil)\n# Not a heading ![i](http://evil/i.png)"
        outcome = replace(
            UNUSABLE,
            name=evil,
            site=evil,
            problem=Problem("x", evil, evil),
            first_rejects=(Reject(2, evil, "code", evil, evil),),
            notices=(Notice("x", evil),),
            detected=Detected(evil, "utf-8", None, "|", "LF", None, (evil,), {evil: 1}),
        )
        outside_spans = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", reports.report(outcome))
        assert "<script" not in outside_spans
        assert "http://" not in outside_spans
        assert not re.search(r"^# Not a", outside_spans, re.MULTILINE)

    def test_long_text_is_bounded(self) -> None:
        assert len(reports.code("x" * 10_000)) < 200


class TestRejectsFile:
    def test_the_text_of_a_row_is_not_changed(self) -> None:
        raw = '=cmd|x,"a ""b"",\nc"'
        rejects = [Reject(4, "=a", "one", "Row 4: a.", raw), Reject(4, "b", "two", "Row 4: b.", raw)]
        assert reports.rejects_line(4, rejects, raw, "ab") == (
            "4", "rejected", "«=a, b»", "one, two", "Row 4: a. Row 4: b.", f"«{raw}»", "sha256:ab"
        )  # fmt: skip
        assert reports.rejects_line(5, (), raw, None) == ("5", "held back", "", "", "", f"«{raw}»", "")

    @pytest.mark.parametrize("code", ["not_text", "record_too_long", "not_between_marks"])
    @pytest.mark.parametrize("raw", ["a,b", "a,»", "«a,b…", "«a,b"])
    def test_a_text_that_is_not_the_row_is_not_closed(self, code: str, raw: str) -> None:
        rejects = [Reject(4, None, "other", "Other.", raw), Reject(4, None, code, "Not whole.", raw)]
        assert reports.rejects_line(4, rejects, raw, "ab")[5] == f"«{raw.strip('«…')}…"

    def test_the_header_line_tells_how_to_read_the_others(self) -> None:
        note = "Leave this line as it is: with it the rows below can be read when this file is dropped again."
        assert reports.header_line("=a\tb", "\t", "ab") == ("", "header", "", "tab", note, "«=a\tb»", "sha256:ab")
        assert reports.header_line("a^b", "^", None) == ("", "header", "", "«^»", note, "«a^b»", "")

    def test_a_file_that_was_not_judged_has_one_line(self) -> None:
        assert reports.problem_line(UNUSABLE) == (
            "",
            "not judged",
            "",
            "too_many_rejected_rows",
            "4 of 10 rows (40 %) were rejected. Look at the commonest reasons.",
            "",
            "",
        )

    @given(hostile, hostile, hostile)
    def test_no_cell_begins_as_a_formula_does(self, column: str, sentence: str, raw: str) -> None:
        lines = [
            reports.rejects_line(2, [Reject(2, column, "code", sentence, raw)], raw, "ab"),
            reports.rejects_line(2, [Reject(2, column, "not_text", sentence, raw)], raw, "ab"),
            reports.header_line(raw, "\t", "ab"),
            *(reports.header_line(raw, delimiter, "ab") for delimiter in "=+-@"),
            reports.problem_line(replace(UNUSABLE, problem=Problem("code", sentence, sentence), sha256="ab")),
        ]
        for cell in (cell for line in lines for cell in line):
            assert not re.match(r"[=+\-@\t\r]", cell.lstrip(" "))
