"""A file's report in both its forms: that they say the same, and that nothing a file holds can break out of them."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from validation import pictures
from validation.checks import CheckOutcome
from validation.outcomes import Account, Correction, Detected, Outcome, Problem, duration
from validation.problems import Notice, Reject
from validation.report_facts import (
    Bar,
    CameraLine,
    CheckLine,
    Drift,
    Drop,
    Events,
    FileReport,
    Links,
    Neighbour,
    Publication,
    Reason,
    Related,
    Silence,
)
from validation.report_pages import markdown, page

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)


def a_report(name: str = "cam-north 14:00.csv", text: str = "CAM-1") -> FileReport:
    """A report that has something to say in each of its parts; `text` stands wherever a file's own text does."""
    outcome = Outcome(
        state="loaded",
        name=name,
        site=text,
        size_bytes=1234,
        arrived_at=NOON,
        account=Account(10_000, rows_loaded=9_931, rows_rejected=69),
        max_rejected_share=0.05,
        detected=Detected(
            text, "utf-8", "gzip", ";", "CRLF", "MDY", (text, "b"), {text: 10_000}, local_zones={text: "Europe/Vienna"}
        ),
        reject_counts={"missing_value": 69},
        notices=(Notice("date_order_ambiguous", text, 317),),
    )
    before = Neighbour(11, name, "loaded", NOON - timedelta(days=1), 9_000, 18)
    window = (replace(before, file_id=12, arrived_at=NOON), before, replace(before, file_id=10, state="quarantined"))
    failed = CheckOutcome(
        "no", text, "marts", text, "relations", "failed", text, 10, 3, sample=(text,), link="x y.html"
    )
    links = Links(501, 502, 503, 504, 505, 506)
    return FileReport(
        12,
        "loaded",
        outcome,
        told_of=NOON,
        publication=Publication(7, "load", 9_931, 0, 4711, NOON, timedelta(seconds=4)),
        checks=[CheckLine(failed, 26, 30, before), CheckLine(replace(failed, name="ok", status="passed"), 30, 30)],
        reasons=(Reason("missing_value", 69, (2, 5, 9), (text,)),),
        samples=(Reject(2, text, "missing_value", text, text),),
        earlier=window,
        drift=Drift(before, (text,), (f"{text}2",), ((text, f"{text}3"),), (text,), (text,), 7),
        first_event=NOON - timedelta(hours=5),
        last_event=NOON - timedelta(minutes=35),
        usual_lag=timedelta(minutes=5),
        events=Events(
            9_931,
            276,
            5,
            "hour",
            (Bar(NOON - timedelta(hours=5), 9_000), Bar(NOON - timedelta(hours=1), 931)),
            (
                CameraLine(
                    text,
                    9_931,
                    NOON - timedelta(hours=5),
                    NOON + timedelta(hours=2, minutes=3),
                    NOON - timedelta(hours=5),
                    NOON - timedelta(hours=1),
                    timedelta(seconds=48),
                    links,
                ),
            ),
            (Silence(text, NOON - timedelta(hours=4), NOON - timedelta(hours=1), 41.6),),
            "",
            links,
        ),
        repairs=Related(3, name, "loaded", NOON),
        repaired_by=(Related(15, name, "retracted", NOON),),
        drops=(Drop(name, NOON, "loaded"),),
        has_rejects_file=True,
    )


UNUSABLE = replace(
    a_report(),
    state="quarantined",
    outcome=replace(
        a_report().outcome,
        state="quarantined",
        account=Account(10, rows_rejected=4, rows_held=6),
        problem=Problem("too_many_rejected_rows", "4 of 10 rows (40 %) were rejected.", ""),
    ),
    publication=None,
    events=Events(),
)


class Parts(HTMLParser):
    """The elements of a page with their attributes, and its text without that of pictures and styles."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._silent = 0
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._silent += tag in {"figure", "style", "head"}

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in {"figure", "style", "head"}

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def figures(text: str) -> list[str]:
    return sorted(re.findall(r"\d+(?:[,.:]\d+)*", text))


CLEAN = {"account": Account(3, rows_loaded=3), "reject_counts": {}, "notices": ()}


class TestVerdict:
    def test_it_is_one_sentence_with_all_that_a_manager_asks(self) -> None:
        assert a_report().verdict == (
            "Usable, with warnings: cam-north 14:00.csv, 9,931 of 10,000 rows loaded, 69 rejected (0.7 %), "
            "0 duplicates, in the marts 4 s after arrival; rejected for missing values; CAM-1; "
            "CAM-1 is silent in hours in which there usually are events; CAM-1 is ahead of the time."
        )

    def test_silence_is_a_warning(self) -> None:
        quiet = replace(a_report(), outcome=replace(a_report().outcome, **CLEAN))
        assert quiet.headline == "Usable, with warnings"
        assert "CAM-1 is silent" in quiet.verdict
        nothing = replace(quiet, events=Events())
        assert nothing.headline == "Usable"
        assert nothing.verdict.endswith("in the marts 4 s after arrival.")

    @pytest.mark.parametrize(
        ("publication", "words"),
        [
            (Publication(7, "load"), "0 duplicates, not in the marts yet; "),
            (Publication(7, "replay", after=timedelta(minutes=2)), "in the marts 2 min after the replay; "),
            (
                Publication(7, "load", held_back="a check failed: no row is lost."),
                "not in the marts: the data version was held back because a check failed: no row is lost; ",
            ),
        ],
    )
    def test_it_says_what_became_of_it_in_the_marts(self, publication: Publication, words: str) -> None:
        assert replace(a_report(), publication=publication).verdict.partition("rejected for")[0].endswith(words)

    def test_files_that_are_not_loaded(self) -> None:
        assert "where at most 5 % are allowed. Nothing was loaded; rejected for missing values" in UNUSABLE.verdict
        taken_back = replace(UNUSABLE, outcome=replace(UNUSABLE.outcome, correction=Correction("replay", 0, 0, 6)))
        assert "6 events were taken back; " in taken_back.verdict
        retracted = replace(a_report(), state="retracted", publication=Publication(8, "retract", 0, 2000))
        assert retracted.verdict == (
            "Retracted: cam-north 14:00.csv, 2,000 events were taken back, not in the marts yet."
        )
        failed = replace(a_report(), state="failed", publication=None, error="The disk is full.")
        assert failed.verdict == (
            "Not loaded: cam-north 14:00.csv could not be processed, for no fault of its own. The disk is full."
        )

    @pytest.mark.parametrize(
        ("length", "text"),
        [
            (timedelta(milliseconds=300), "under 1 s"),
            (timedelta(seconds=4.2), "4 s"),
            (timedelta(seconds=130), "2 min 10 s"),
            (timedelta(hours=1), "1 h"),
            (timedelta(days=1, hours=4, minutes=9), "1 day 4 h"),
            (timedelta(days=3, minutes=9), "3 days"),
            (-timedelta(seconds=7), "7 s"),
        ],
    )
    def test_lengths_of_time(self, length: timedelta, text: str) -> None:
        assert duration(length) == text


class TestBothForms:
    @pytest.mark.parametrize("report", [a_report(), UNUSABLE])
    def test_they_carry_the_same_figures(self, report: FileReport) -> None:
        listed = re.sub(r"^\d+\. ", "", markdown(report), flags=re.MULTILINE)
        without_addresses = re.sub(r"\]\([^)]*\)", "]", listed)
        assert figures(Parts(page(report)).text) == figures(html.unescape(without_addresses))

    def test_every_part_is_there(self) -> None:
        text = markdown(a_report())
        for told in (
            "| rejected | 69 | 0.7 % |",
            "- This file repairs [`cam-north 14:00.csv`](../../files/3/index.html) (loaded, 2024-06-01 12:00 UTC).",
            "- It is repaired by [`cam-north 14:00.csv`](../../files/15/index.html) (retracted, 2024-06-01 12:00 UTC).",
            "Open [the rejected rows](../../files/12/rejects.csv)",
            "| passed in 26 of the last 30; failing since `cam-north 14:00.csv` on 2024-05-31 |",
            "[More](../../x%20y.html)",
            "| missing value | 69 | 0.7 % | 2, 5, 9 … | `CAM-1` | Fill in the value, or leave the row out. |",
            "- Column `CAM-1` is now called `CAM-13`, it seems.",
            "- New column: `CAM-1`.",
            "- Column that is missing: `CAM-12`.",
            "- A camera that no earlier file told of: `CAM-1`.",
            "- Event words that the 7 files before it did not have: `CAM-1`.",
            "- From 2024-06-01 07:00 UTC to 2024-06-01 11:25 UTC: 4 h 25 min.",
            "- The newest event was 35 min old when the file arrived; usually that is 5 min.",
            "- Camera `CAM-1` was silent from 2024-06-01 08:00 to 2024-06-01 11:00, where it usually has 42 events",
            "- The clock of `CAM-1` is ahead by 2 h 3 min at least: its newest event is of 2024-06-01 14:03 UTC.",
            "That is close to whole hours: is its time zone right?",
            "- Data version 4,711, published 2024-06-01 12:00 UTC.",
            "- Sessions: 503; without exit 504, still open 505; exits without entry 506.",
            "| 4 h from 2024-06-01 07:00 | 48 s | 503 | 504 | 505 | 506 |",
            "month first; taken from the settings, for nothing in the file tells (317 rows",
            "`Europe/Vienna` (1 camera)",
        ):
            assert told in text

    def test_a_reader_elsewhere_gets_whole_addresses(self) -> None:
        text = markdown(a_report(), "http://localhost:8000/reports")
        assert "](http://localhost:8000/reports/files/12/rejects.csv)" in text
        assert "](../" not in text

    def test_nothing_is_said_of_what_is_not_known(self) -> None:
        bare = FileReport(1, "quarantined", Outcome("quarantined", "x.csv"), told_of=NOON)
        text = markdown(replace(bare, outcome=replace(bare.outcome, problem=Problem("empty_file", "It is empty.", ""))))
        assert "None" not in text
        assert "rejects.csv" not in text
        assert "1. It is empty.\n2. Correct the file" in text


class TestThePage:
    def test_it_works_offline_and_for_everybody(self) -> None:
        parts = Parts(page(a_report()))
        assert parts.all("html") == [{"lang": "en"}]
        assert not {tag for tag, _ in parts.elements} & {"script", "img", "link", "iframe", "object", "form"}
        assert len(parts.all("svg")) == 3
        assert all(svg["role"] == "img" and svg["aria-label"] for svg in parts.all("svg"))
        assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in parts.all("meta")
        assert len(parts.all("h1")) == len(parts.all("main")) == 1
        # What a table's columns are is told by heads, and what passed is folded away.
        assert parts.all("th")
        assert parts.all("details")

    EVIL = (
        "<script>alert(1)</script>",
        "</title><img src=x onerror=alert(1)>",
        "[a](http://evil/) ![b](http://evil/i.png) <http://evil> http://evil www.evil.example a@evil.example",
        "a`b`|c\\|d\n# heading\n- list\n\n| x | y |\n| - | - |\r\n",
        "\u202egnp.exe\x1b[2J\0\ud800",
        '"><svg onload=alert(1)>&lt;script&gt;{{ 7 * 7 }}{% raw %}',
        "javascript:alert(1)",
        "x" * 5000,
    )

    @pytest.mark.parametrize("evil", EVIL)
    def test_hostile_text_stays_text(self, evil: str) -> None:
        self.is_harmless(a_report(evil, evil))

    @settings(max_examples=60, deadline=None)
    @given(st.text(st.sampled_from(list("`|<>&*_[]()#!\\\"'=+-@~:/.{}%\n\r\t\0\x1b\u202e aw1")), max_size=60))
    @example("`|<")
    @example("> quote")
    @example("# a")
    @example("1. a")
    @example("-")
    @example("    a")
    def test_any_text_stays_text(self, text: str) -> None:
        self.is_harmless(a_report(text or "x", text or "x"))

    def is_harmless(self, report: FileReport) -> None:
        source = page(report)
        parts, plain = Parts(source), Parts(page(a_report()))
        tags = [tag for tag, _ in parts.elements]
        # As many of each as with harmless text: nothing was added, and no table has lost its shape.
        for tag in ("table", "tr", "th", "td", "h1", "h2", "li", "svg", "title", "details", "section"):
            assert tags.count(tag) == len(plain.all(tag)), tag
        assert set(tags) <= {tag for tag, _ in plain.elements}
        assert {link["href"] for link in parts.all("a")} == {link["href"] for link in plain.all("a")}
        assert not [name for _, attributes in parts.elements for name in attributes if name.startswith("on")]
        # No character that cannot be seen stands in either form as it is.
        for form in (source, markdown(report)):
            assert all(character.isprintable() or character == "\n" for character in form)
        source.encode("utf-8")


class TestPictures:
    def test_the_bar_says_in_words_where_the_rows_went(self) -> None:
        picture = pictures.account_bar(Account(1000, rows_loaded=990, rows_rejected=1, rows_duplicate=9))
        assert picture is not None
        assert picture.caption == "Of 1,000 rows: 990 loaded, 1 rejected, 9 duplicates."
        assert 'aria-label="Of 1,000 rows: 990 loaded, 1 rejected, 9 duplicates."' in picture.svg
        widths = [float(width) for width in re.findall(r'width="([\d.]+)" height="24.0"', picture.svg)]
        assert len(widths) == 3
        assert sum(widths) == pytest.approx(640, abs=0.2)
        assert min(widths) > 2, "what is there can be seen"
        assert pictures.account_bar(Account(0)) is None

    def test_bars_stand_where_their_time_is(self) -> None:
        picture = pictures.events_chart([Bar(NOON, 50), Bar(NOON + timedelta(hours=3), 100)], "hour")
        assert picture.caption == "Events per hour (UTC): 150 in all, 100 at most."
        boxes = [
            tuple(map(float, found))
            for found in re.findall(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)" height="([\d.]+)"', picture.svg)
        ]
        (first, width, low), (second, _, high) = boxes
        assert second - first == pytest.approx(3 * (width + 1), abs=0.5)
        assert high == pytest.approx(2 * low)

    def test_a_trend_names_its_files_and_what_is_allowed(self) -> None:
        files = [Neighbour(n, f"<{n}>.csv", "loaded", NOON, 100, n) for n in range(1, 4)]
        picture = pictures.reject_trend(files, 0.05)
        assert "&lt;2&gt;.csv: 2 %" in picture.svg
        assert "allowed: 5 %" in picture.svg
        assert "this one 3 %" in picture.caption
