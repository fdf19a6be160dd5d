"""Dropped files on a real PostgreSQL: what is loaded, what is set aside, and what everybody is told."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.integration.dropping import ARRIVAL, HEADER, Dropping, csv_of, good_rows
from validation.cameras import Camera
from validation.ledger import Ledger
from validation.loading import load_file
from warehouse.connections import Warehouse

BAD_TIME = "yesterday,P1,CAM-1,entry"


@pytest.fixture
def house(warehouse: Warehouse, tmp_path: Path) -> Dropping:
    (tmp_path / "landing").mkdir()
    (tmp_path / "home").mkdir()
    return Dropping(warehouse, tmp_path / "home", tmp_path / "landing")


def test_a_plain_file_becomes_events(house: Dropping) -> None:
    content = csv_of(
        [
            "2024-05-01T10:00:00Z,Ann,CAM-1,Entry,0.9,34,hall,blue",
            "2024-05-01T10:05:00+02:00,Ann,CAM-1,exit,,,,",
        ],
        HEADER + ",confidence,age,zone,coat",
    )

    outcome = house.load(content, "cam north.csv")

    assert outcome.state == "loaded"
    assert outcome.sentence == "Usable: cam north.csv, 2 of 2 rows loaded, 0 rejected, 0 duplicates."
    assert house.rows(
        "select person_id, camera_id, event_type, event_word, event_time, end_time, confidence, age, zone, attributes,"
        " row_number from raw.events order by row_number"
    ) == [
        ("Ann", "CAM-1", "entry", "entry", datetime(2024, 5, 1, 10, tzinfo=UTC), None, 0.9, 34, "hall",
         {"coat": "blue"}, 2),
        ("Ann", "CAM-1", "exit", "exit", datetime(2024, 5, 1, 8, 5, tzinfo=UTC), None, None, None, None, None, 3),
    ]  # fmt: skip
    assert house.value("select count(distinct (file_id, batch_id)) from raw.events") == 1
    assert house.waiting() == []
    digest = hashlib.sha256(content).hexdigest()
    assert (house.home / "archive" / digest[:2] / f"{digest}.csv").read_bytes() == content


def test_the_ledger_tells_everything_about_a_load(house: Dropping) -> None:
    content = "﻿timestamp;person_id;camera_id;event_type\r\n25.12.2023 10:00;Ann;C;in\r\n1703500000;;C;in\r\n"
    house = house.with_rules(max_rejected_share=0.5, default_timezone="Europe/Paris")

    outcome = house.load(content.encode(), "shop/x.csv.gz")

    row = house.row(
        "select sha256, file_name, site, size_bytes, state, attempts, arrived_at, finished_at, run_id, profile,"
        " encoding, compression, delimiter, line_ending, date_order, header, time_formats, rows_read, rows_loaded,"
        " rows_rejected, rows_duplicate, rows_held, reject_counts, rules, error, batch_id from raw.files"
    )
    assert row[1:3] == ("shop/x.csv.gz", "shop")
    assert row[3] == outcome.size_bytes
    assert row[4:9] == ("loaded", 1, ARRIVAL, ARRIVAL, "run-1")
    assert row[9:15] == ("generic", "utf-8", "gzip", ";", "CRLF", "DMY")
    assert row[15] == ["timestamp", "person_id", "camera_id", "event_type"]
    assert sum(row[16].values()) == 2
    assert row[17:22] == (2, 1, 1, 0, None)
    assert row[22] == {"missing_value": 1}
    assert row[23]["default_timezone"] == "Europe/Paris"
    assert datetime.fromisoformat(row[23]["earliest_event"]) == house.rules.earliest_event
    assert row[24] is None
    assert house.row("select batch_id, kind, file_id from raw.batches") == (row[25], "load", outcome.file_id)
    assert house.value("select event_time from raw.events") == datetime(2023, 12, 25, 9, tzinfo=UTC)
    assert house.value("select camera_id from raw.events") == "shop/C"
    assert house.row(
        "select path, site, size_bytes, arrived_at, attempts, sha256, run_id, outcome, error, finished_at"
        " from raw.arrivals"
    ) == ("shop/x.csv.gz", "shop", row[3], ARRIVAL, 1, row[0], "run-1", "loaded", None, ARRIVAL)


def test_bad_rows_are_set_aside_with_every_reason_and_the_others_load(house: Dropping) -> None:
    rows = good_rows(100)
    rows[10] = "yesterday,,CAM-1,entry"
    rows[20] = "2024-05-01 10:00:00,P1,CAM-1"

    outcome = house.load(rows, "cam 14:00.csv")

    assert outcome.verdict == (
        "Usable, with warnings: cam 14:00.csv, 98 of 100 rows loaded, 2 rejected (2 %), 0 duplicates."
    )
    stored = house.rows(
        "select row_number, reason, column_name, code, raw_text from raw.rejects order by row_number, reason"
    )
    assert {(row, column, code, raw) for row, _, column, code, raw in stored} == {
        (12, "timestamp", "timestamp_unreadable", rows[10]),
        (12, "person_id", "missing_value", rows[10]),
        (22, None, "wrong_field_count", rows[20]),
    }
    assert [reason for _, reason, *_ in stored] == [1, 2, 1]
    assert outcome.reject_counts == {"missing_value": 1, "timestamp_unreadable": 1, "wrong_field_count": 1}
    assert len(outcome.first_rejects) == 3
    house.accounts_add_up()


def test_content_that_is_loaded_is_not_loaded_again_under_any_name(house: Dropping) -> None:
    house.load(good_rows(3), "first.csv")
    before = house.snapshot()
    house.now += timedelta(days=1)

    again = house.load(good_rows(3), "A/second.csv")

    assert again.state == "already_loaded"
    assert again.sentence == (
        "Nothing new: A/second.csv has the same content as first.csv, loaded on 2024-06-01 12:00 UTC for no site in "
        "particular; nothing was loaded twice."
    )
    assert house.snapshot() == before
    assert house.waiting() == []
    assert house.count("batches") == 1
    assert house.rows("select path, outcome from raw.arrivals order by arrival_id") == [
        ("first.csv", "loaded"),
        ("A/second.csv", "already_loaded"),
    ]


class TestOneEventInSeveralRows:
    ROW = "2024-05-01 10:00:00,Ann,CAM-1,entry,{}"

    def content(self, *cells: str) -> bytes:
        return csv_of([self.ROW.format(cell) for cell in cells], HEADER + ",confidence,zone")

    def test_exact_copies_within_a_file_count_once(self, house: Dropping) -> None:
        outcome = house.load(self.content("0.5,hall", "0.5,hall", "0.5,hall"))

        assert outcome.sentence == "Usable: x.csv, 1 of 3 rows loaded, 0 rejected, 2 duplicates."
        assert house.rows("select row_number from raw.events") == [(2,)]
        assert house.rows("select row_number from raw.duplicates order by 1") == [(3,), (4,)]
        house.accounts_add_up()

    @pytest.mark.parametrize("cells", [("0.5,a", "0.9,b", ",c"), (",c", "0.5,a", "0.9,b"), ("0.9,b", ",c", "0.5,a")])
    def test_the_highest_confidence_wins_within_a_file(self, house: Dropping, cells: tuple[str, ...]) -> None:
        outcome = house.load(self.content(*cells))

        assert outcome.account is not None
        assert outcome.account.rows_loaded == 1
        row = 2 + cells.index("0.9,b")
        assert house.rows("select zone, confidence, row_number from raw.events") == [("b", 0.9, row)]
        house.accounts_add_up()

    def test_a_better_row_of_a_later_file_takes_the_event_over(self, house: Dropping) -> None:
        first = house.load(self.content("0.5,a"), "first.csv")
        second = house.load(self.content("0.9,b"), "second.csv")

        assert house.rows("select zone, confidence, file_id, batch_id from raw.events") == [
            ("b", 0.9, second.file_id, second.batch_id)
        ]
        assert house.rows("select zone, file_id from raw.duplicates") == [("a", first.file_id)]
        assert second.account is not None
        assert (second.account.rows_loaded, second.account.rows_duplicate) == (1, 0)
        # The account of the first file is the account of what is its own now.
        assert house.row("select rows_loaded, rows_duplicate from raw.files where file_id = %s", first.file_id) == (
            0,
            1,
        )
        house.accounts_add_up()

    def test_a_worse_row_of_a_later_file_changes_nothing(self, house: Dropping) -> None:
        first = house.load(self.content("0.9,b"), "first.csv")
        before = house.rows("select * from raw.events")
        second = house.load(self.content("0.5,a"), "second.csv")

        assert house.rows("select * from raw.events") == before
        assert house.rows("select zone, file_id from raw.duplicates") == [("a", second.file_id)]
        assert first.account is not None
        assert second.account is not None
        assert (second.account.rows_loaded, second.account.rows_duplicate) == (0, 1)
        house.accounts_add_up()

    def test_equal_confidence_is_settled_by_content_not_by_order(self, house: Dropping) -> None:
        winners = set()
        for order in (["0.5,a", "0.5,b", "0.5,c"], ["0.5,c", "0.5,b", "0.5,a"], ["0.5,b", "0.5,c", "0.5,a"]):
            house.empty()
            for number, cell in enumerate(order):
                house.load(self.content(cell), f"{number}.csv")
            winners.add(house.value("select zone from raw.events"))
            house.accounts_add_up()
        assert len(winners) == 1

    def test_many_claims_in_one_file_are_all_settled(self, house: Dropping) -> None:
        one = csv_of(good_rows(500), HEADER)
        house.load(one, "one.csv")
        rows = [row + ",0.7" for row in good_rows(1000)] * 2

        outcome = house.load(csv_of(rows, HEADER + ",confidence"), "two.csv")

        assert outcome.account is not None
        assert (outcome.account.rows_loaded, outcome.account.rows_duplicate) == (1000, 1000)
        assert house.value("select count(*) from raw.events where confidence = 0.7") == 1000
        house.accounts_add_up()


class TestQuarantine:
    def test_too_many_rejected_rows_hold_the_whole_file_back(self, house: Dropping) -> None:
        content = csv_of([*good_rows(8), BAD_TIME, "2024-05-01 10:00:00,,CAM-1,entry"])

        outcome = house.load(content, "bad one.csv")

        assert outcome.state == "quarantined"
        assert outcome.verdict == (
            "Not usable: bad one.csv, 2 of 10 rows rejected (20 %) where at most 5 % are allowed. Nothing was loaded."
        )
        assert (house.count("events"), house.count("batches"), house.count("rejects")) == (0, 0, 2)
        assert house.row(
            "select state, rows_read, rows_loaded, rows_rejected, rows_duplicate, rows_held, error_code from raw.files"
        ) == ("quarantined", 10, None, 2, 0, 8, "too_many_rejected_rows")
        assert house.waiting() == []
        rejected = house.landing / "rejected"
        assert {path.name for path in rejected.iterdir()} == {
            "bad one.csv",
            "bad one.csv.rejects.csv",
            "bad one.csv.report.md",
        }
        assert (rejected / "bad one.csv").read_bytes() == content
        assert outcome.moved_to == rejected / "bad one.csv"

    def test_its_rejects_file_holds_every_row_and_no_formula(self, house: Dropping) -> None:
        rows = [*good_rows(2), '=HYPERLINK("http://x"),"a ""b"",\nc",=1+1,entry', "", "@x,+1,-2,=3,4", "x,P,C,in"]
        house.load(rows, "x.csv")

        with (house.landing / "rejected" / "x.csv.rejects.csv").open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file))

        assert [line[0] for line in lines] == ["row", "", "2", "3", "4", "6", "7"]
        verdicts = ["header", "held back", "held back", "rejected", "rejected", "rejected"]
        assert [line[1] for line in lines[1:]] == verdicts
        assert lines[1][-2] == f"«{HEADER}»"
        assert {line[-1] for line in lines[1:]} == {f"sha256:{house.value('select sha256 from raw.files')}"}
        assert lines[4][-2] == f"«{rows[2]}»"
        assert lines[6][2:4] == ["«timestamp»", "timestamp_unreadable"]
        assert "Row 7" in lines[6][4]
        assert not [cell for line in lines for cell in line if cell[:1] in {"=", "+", "-", "@", "\t", "\r"}]

    def test_the_share_is_compared_exactly(self, house: Dropping) -> None:
        # In floating point 0.29 * 100 is less than 29.
        rows = [*good_rows(71), *[BAD_TIME] * 29]
        assert house.with_rules(max_rejected_share=0.29).load(rows, "x.csv").state == "loaded"
        assert house.with_rules(max_rejected_share=0.28).load([*rows, ""], "y.csv").state == "quarantined"

    def test_quarantined_content_is_judged_afresh(self, house: Dropping) -> None:
        rows = [*good_rows(8), BAD_TIME]
        first = house.load(rows)
        house.now += timedelta(hours=1)
        second = house.load(rows)
        third = house.with_rules(max_rejected_share=0.5).load(rows)

        assert [first.state, second.state, third.state] == ["quarantined", "quarantined", "loaded"]
        assert first.file_id == second.file_id == third.file_id
        assert {path.name for path in (house.landing / "rejected").glob("x*.csv")} >= {"x.csv", "x (2).csv"}
        assert house.row("select state, rows_loaded, rows_held, error_code, arrived_at from raw.files") == (
            "loaded",
            8,
            None,
            None,
            house.now,
        )
        assert house.count("rejects") == 1
        house.accounts_add_up()

    @pytest.mark.parametrize(
        ("name", "content", "code"),
        [
            ("x.xlsx", b"PK\x03\x04 a workbook", "unknown_ending"),
            ("noending", csv_of(good_rows(1)), "unknown_ending"),
            ("a/b/x.csv", csv_of(good_rows(1)), "too_deep"),
            ("empty.csv", b"", "empty_file"),
            ("picture.csv", b"\x89PNG\r\n\x1a\n" + bytes(100), None),
            ("x.csv", b"colour,size\nred,2\n", "no_profile_fits"),
            ("x.csv", csv_of(["12/31/2023 10:00,P,C,in", "31/12/2023 10:00,P,C,in"]), "mixed_date_order"),
        ],
    )
    def test_a_file_that_cannot_be_used_is_moved_with_a_reason(
        self, house: Dropping, name: str, content: bytes, code: str | None
    ) -> None:
        outcome = house.load(content, name)

        assert outcome.state == "quarantined"
        assert outcome.problem is not None
        assert code in {outcome.problem.code, None}
        assert outcome.problem.sentence in outcome.sentence
        assert house.row("select state, error_code, rows_read from raw.files") == (
            "quarantined",
            outcome.problem.code,
            None,
        )
        moved = house.landing / "rejected" / name
        assert moved.read_bytes() == content
        report = moved.with_name(f"{moved.name}.report.md").read_text(encoding="utf-8")
        assert report.startswith("# Not usable: ")
        assert outcome.problem.advice.split(".")[0].replace("_", "")[:20] in report.replace("_", "")
        assert house.waiting() == []

    def test_a_cut_off_archive_is_told(self, house: Dropping) -> None:
        whole = gzip.compress(csv_of(good_rows(50_000)), mtime=0)

        outcome = house.load(whole[:-2000], "x.csv.gz")

        assert outcome.problem is not None
        assert outcome.problem.code == "compressed_truncated"
        assert outcome.account is None

    def test_rows_staged_before_the_file_turned_out_unusable_leave_nothing_behind(self, house: Dropping) -> None:
        rows = [f"2024-05-01 10:00:00,P{i},C,in" for i in range(120_000)]
        rows[0] = BAD_TIME
        rows[-2:] = ["13/05/2024 10:00,P,C,in", "05/13/2024 10:00,P,C,in"]

        outcome = house.load(rows)

        assert outcome.problem is not None
        assert outcome.problem.code == "mixed_date_order"
        assert outcome.detected.profile == "generic"
        assert (house.count("events"), house.count("rejects"), outcome.first_rejects) == (0, 0, ())

    def test_a_rejected_folder_that_cannot_be_made_is_told_and_not_tried_for_ever(self, house: Dropping) -> None:
        (house.landing / "rejected").write_text("a file where the folder should be")
        waiting = house.drop(b"colour\nred\n")
        for attempt in (1, 2, 3):
            outcome = load_file(waiting, house.context())
            assert (outcome.state, outcome.attempt) == ("quarantined", attempt)
            assert [notice.code for notice in outcome.notices] == ["left_in_landing"]
        with house.warehouse.connect("loader", autocommit=True) as connection:
            assert Ledger(connection).due([waiting]) == []


def test_an_empty_table_is_loaded_and_said_to_be_empty(house: Dropping) -> None:
    outcome = house.load(csv_of([]))
    assert outcome.sentence == "Usable, but empty: x.csv has a header and no rows."
    assert house.row("select state, rows_read from raw.files") == ("loaded", 0)


@pytest.mark.parametrize(
    "name",
    [
        "with space.csv",
        'it\'s "quoted".csv',
        "-rf.csv",
        "Zürich 店.csv",
        "two\nlines.csv",
        "%s {} $HOME `id`.csv",
        "x" * 251 + ".csv",
        b"not utf-8 \xff\xfe.csv",
    ],
    ids=ascii,
)
@pytest.mark.parametrize("usable", [True, False])
def test_names_of_every_kind(house: Dropping, name: str | bytes, usable: bool) -> None:
    name = os.fsdecode(name)
    content = csv_of(good_rows(2) if usable else [*good_rows(2), BAD_TIME])
    outcome = house.load(content, name)

    assert outcome.state == ("loaded" if usable else "quarantined")
    assert house.waiting() == []
    assert house.value("select file_name from raw.files") == name.encode("utf-8", "surrogateescape").decode(
        "utf-8", "backslashreplace"
    )
    if not usable:
        assert (house.landing / "rejected" / name).read_bytes() == content
        assert len(list((house.landing / "rejected").iterdir())) == 3


def test_a_subfolder_is_a_site_and_its_cameras_bear_its_name(house: Dropping) -> None:
    house.cameras = [Camera("North/CAM-1", "Door", None, "North", "America/New_York", None)]
    house.load(["2024-05-01 10:00:00,P,CAM-1,in"], "North/x.csv")
    house.load(["2024-05-01 10:00:00,P,CAM-1,in", ""], "South/x.csv")

    assert house.rows("select camera_id, event_time from raw.events order by 1") == [
        ("North/CAM-1", datetime(2024, 5, 1, 14, tzinfo=UTC)),
        ("South/CAM-1", datetime(2024, 5, 1, 10, tzinfo=UTC)),
    ]


class TestDateOrder:
    @pytest.mark.parametrize("decisive", ["13/05/2024 10:00", "05/13/2024 10:00"])
    def test_one_late_value_decides_for_all_rows_before_it(self, house: Dropping, decisive: str) -> None:
        # The decisive value is several chunks behind the first one that it decides about.
        rows = [f"2024-05-01 10:00:00,P{i},C,in" for i in range(120_000)]
        rows[0] = "03/04/2024 10:00,P,C,in"
        rows[-1] = f"{decisive},P,C,in"

        outcome = house.load(rows)

        day, month = (3, 4) if decisive.startswith("13") else (4, 3)
        assert house.value("select event_time from raw.events where row_number = 2") == datetime(
            2024, month, day, 10, tzinfo=UTC
        )
        assert outcome.account is not None
        assert outcome.account.rows_loaded == 120_000
        assert not outcome.has_warnings

    def test_values_that_come_late_are_no_less_ambiguous(self, house: Dropping) -> None:
        # Rows before them have been staged by then, and must not be staged twice.
        rows = [f"2024-05-01 10:00:00,P{i},C,in" for i in range(120_000)]
        rows[5] = "never,P,C,in"
        rows[-1] = "03/04/2024 10:00,P,C,in"

        outcome = house.load(rows)

        assert house.value("select event_time from raw.events where row_number = 120001") == datetime(
            2024, 4, 3, 10, tzinfo=UTC
        )
        assert ("date_order_ambiguous", 1) in {(notice.code, notice.rows) for notice in outcome.notices}
        assert house.row("select rows_read, rows_loaded, rows_rejected from raw.files") == (120_000, 119_999, 1)
        house.accounts_add_up()

    def test_the_configured_order_stands_in_where_nothing_decides(self, house: Dropping) -> None:
        house.with_rules(date_order="MDY").load(["03/04/2024 10:00,P,C,in"])
        assert house.value("select event_time from raw.events") == datetime(2024, 3, 4, 10, tzinfo=UTC)


def test_now_is_the_recorded_arrival(house: Dropping) -> None:
    limit = house.now + timedelta(hours=house.rules.future_tolerance_hours)
    rows = [f"{limit:%Y-%m-%d %H:%M:%S},in,C,in", f"{limit + timedelta(seconds=1):%Y-%m-%d %H:%M:%S},late,C,in"]
    house.with_rules(max_rejected_share=0.5).load(rows)
    assert house.rows("select person_id from raw.events") == [("in",)]


def test_attributes_are_json_in_the_database(house: Dropping) -> None:
    nasty = '"quotes "" and \\ back, and ünïcode 店 😀"'
    house.load(csv_of([f"2024-05-01 10:00:00,P,C,in,{nasty}"], HEADER + ",a note"))
    assert house.value("select attributes from raw.events") == {"a note": 'quotes " and \\ back, and ünïcode 店 😀'}
    assert json.loads(house.value("select attributes::text from raw.events"))
