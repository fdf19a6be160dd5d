"""Quarantine and back: a rejects file whose rows were put right is dropped again, and what is right of it loads."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.integration.dropping import HEADER, Dropping, csv_of, good_rows
from validation.corrections import release_file, replay_file, retract_file
from validation.ledger import Ledger
from validation.loading import load_file
from validation.outcomes import Outcome
from validation.outdated import outdated_files
from validation.quarantine import rejects_of, write_rejects_file
from warehouse.connections import Warehouse

BAD = ["never,Q1,CAM-1,entry", "2024-05-02 10:00:00,,CAM-1,entry"]
FIXED = {BAD[0]: "2024-05-02 09:00:00,Q1,CAM-1,entry", BAD[1]: "2024-05-02 10:00:00,Q2,CAM-1,entry"}
FLAWED = csv_of([*good_rows(8), *BAD])

Line = list[str]


@pytest.fixture
def house(warehouse: Warehouse, tmp_path: Path) -> Dropping:
    (tmp_path / "landing").mkdir()
    (tmp_path / "home").mkdir()
    return Dropping(warehouse, tmp_path / "home", tmp_path / "landing")


def lines_in(path: Path) -> list[Line]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def rejects_file(house: Dropping, name: str = "x.csv") -> list[Line]:
    """What a person finds in the folder of the rejected files."""
    return lines_in(house.landing / "rejected" / f"{name}.rejects.csv")


def saved(lines: Iterable[Line], fixes: dict[str, str] | None = None, encoding: str = "utf-8", **dialect: str) -> bytes:
    """The lines with some rows put right, as a spreadsheet might save them."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, **{"delimiter": ";", "lineterminator": "\r\n", **dialect})  # type: ignore[arg-type]
    for line in lines:
        cells = list(line)
        for wrong, right in (fixes or {}).items():
            cells[5] = cells[5].replace(wrong, right)
        writer.writerow(cells)
    return text.getvalue().encode(encoding)


def recorded(house: Dropping, outcome: Outcome) -> Outcome:
    assert outcome.sha256 is not None
    with house.warehouse.connect("loader") as connection:
        return Ledger(connection).recorded(outcome.sha256)


def files(house: Dropping) -> list[tuple[object, ...]]:
    return house.rows(
        "select file_name, state, rows_read, rows_loaded, rows_rejected, rows_duplicate, rows_held, repairs_file_id"
        " from raw.files order by file_id"
    )


def told(outcome: Outcome, code: str) -> str:
    """The one notice of this kind."""
    (sentence,) = (notice.sentence for notice in outcome.notices if notice.code == code)
    return sentence


def files_id(house: Dropping, name: str) -> int:
    return int(house.value("select file_id from raw.files where file_name = %s", name))


class TestFromQuarantine:
    @pytest.mark.parametrize(
        ("encoding", "dialect"),
        [("utf-8-sig", {"delimiter": ","}), ("cp1252", {}), ("utf-16", {"delimiter": "\t"})],
        ids=["comma", "semicolon", "tab"],
    )
    def test_what_was_put_right_loads(self, house: Dropping, encoding: str, dialect: dict[str, str]) -> None:
        original = house.load(FLAWED)

        outcome = house.load(saved(rejects_file(house), FIXED, encoding, **dialect), "mended.csv")

        assert outcome.verdict == (
            f"{outcome.headline}: mended.csv (repairs x.csv), 10 of 10 rows loaded, 0 rejected, 0 duplicates."
        )
        assert outcome.repairs is not None
        assert outcome.repairs.file_id == original.file_id
        assert files(house) == [
            ("x.csv", "quarantined", 10, None, 2, 0, 8, None),
            ("mended.csv", "loaded", 10, 10, 0, 0, None, original.file_id),
        ]
        assert recorded(house, outcome).repairs == outcome.repairs
        assert (house.landing / "rejected" / "x.csv").is_file()
        house.accounts_add_up()

    def test_it_is_up_to_date_once_it_is_loaded(self, house: Dropping) -> None:
        house.load([*(row.replace("2024-05-01", "05/25/2024") for row in good_rows(8)), "05/03/2024 10:00,,C,entry"])
        header, first, *rest = rejects_file(house)
        mended = saved([header, first, rest[-1]], {"10:00,,C": "10:00,Q,C"})
        assert house.load(mended, "north/mended.csv").detected.date_order == "MDY"
        for order in ("auto", "DMY", "MDY"):
            rules = house.with_rules(date_order=order).rules
            with house.warehouse.connect("loader") as connection:
                assert outdated_files(connection, rules, house.profiles, house.cameras) == []

    def test_only_the_rows_that_are_left_are_read(self, house: Dropping) -> None:
        house.load(FLAWED)
        header, first, *rows = rejects_file(house)
        outcome = house.load(saved([header, first, *rows[-2:]], FIXED))
        assert outcome.account is not None
        assert (outcome.account.rows_read, outcome.account.rows_loaded) == (2, 2)
        assert house.rows("select person_id, row_number from raw.events order by 1") == [("Q1", 3), ("Q2", 4)]

    def test_what_is_not_put_right_is_rejected_again_and_can_be_put_right_then(self, house: Dropping) -> None:
        house.load(FLAWED)
        second = house.load(saved(rejects_file(house), {BAD[0]: FIXED[BAD[0]]}), "second.csv")
        assert second.verdict == (
            "Not usable: second.csv (repairs x.csv), 1 of 10 rows rejected (10 %) where at most 5 % are allowed. "
            "Nothing was loaded."
        )
        # Row 12 as a spreadsheet shows it: below the header and the line with the original's header.
        assert house.rows("select row_number, code, raw_text from raw.rejects where file_id = %s", second.file_id) == [
            (12, "missing_value", BAD[1])
        ]

        third = house.load(saved(rejects_file(house, "second.csv"), FIXED), "third.csv")

        assert third.state == "loaded"
        assert files(house)[1:] == [
            ("second.csv", "quarantined", 10, None, 1, 0, 9, files_id(house, "x.csv")),
            ("third.csv", "loaded", 10, 10, 0, 0, None, second.file_id),
        ]
        house.accounts_add_up()

    def test_nothing_is_doubled_when_the_original_is_released_later(self, house: Dropping) -> None:
        original = house.load(FLAWED)
        house.load(saved(rejects_file(house), FIXED), "mended.csv")
        assert original.sha256 is not None

        released = release_file(original.sha256, house.context())

        assert released.account is not None
        assert (released.account.rows_read, released.account.rows_rejected) == (10, 2)
        assert house.count("events") == 10
        assert house.value("select state from raw.files where file_id = %s", original.file_id) == "loaded"
        house.accounts_add_up()

    def test_dropped_twice_loads_once(self, house: Dropping) -> None:
        house.load(FLAWED)
        mended = saved(rejects_file(house), FIXED)
        house.load(mended, "mended.csv")
        again = house.load(mended, "again.csv")
        assert again.sentence.startswith("Nothing new: again.csv (repairs x.csv) has the same content as mended.csv")
        assert house.count("events") == 10

    def test_corrections_of_what_repairs_another_file(self, house: Dropping) -> None:
        original = house.load(FLAWED)
        mended = house.load(saved(rejects_file(house), FIXED), "mended.csv")
        assert mended.sha256 is not None
        before = house.snapshot()

        replayed = replay_file(mended.sha256, house.context())
        assert replayed.sentence.endswith("no event has changed.")
        assert replayed.repairs == mended.repairs
        assert house.snapshot() == before
        assert files(house)[1][-1] == original.file_id

        retracted = retract_file(mended.sha256, house.context())
        assert retracted.sentence == "Retracted: mended.csv (repairs x.csv), 10 events were taken back."
        assert house.count("events") == 0

        loaded = house.load((house.home / "archive" / mended.sha256[:2] / f"{mended.sha256}.csv").read_bytes(), "b.csv")
        assert (loaded.state, files(house)[1][-1]) == ("loaded", original.file_id)

    def test_one_that_is_quarantined_again_can_be_released(self, house: Dropping) -> None:
        original = house.load(FLAWED)
        second = house.load(saved(rejects_file(house), {BAD[0]: FIXED[BAD[0]]}), "second.csv")
        assert second.sha256 is not None
        released = release_file(second.sha256, house.context())
        assert released.verdict == (
            "Released: second.csv (repairs x.csv), 9 of 10 rows loaded, 1 rejected (10 %), 0 duplicates."
        )
        assert files(house)[1] == ("second.csv", "loaded", 10, 9, 1, 0, None, original.file_id)
        house.accounts_add_up()

    @pytest.mark.parametrize(
        ("content", "name"),
        [
            (FLAWED.replace(b",", b";"), "x.csv"),
            ("\ufeff".encode("utf-16-le") + FLAWED.decode().replace(",", "\t").encode("utf-16-le"), "x.tsv"),
            (b"sep=^\r\n" + FLAWED.replace(b",", b"^"), "x.csv"),
            (FLAWED, "x.csv.gz"),
            (FLAWED.replace(b"CAM-1", b"Eing\xe4nge"), "x.csv"),
        ],
        ids=["semicolon", "utf-16", "declared delimiter", "gzip", "windows-1252"],
    )
    def test_the_rows_keep_the_dialect_of_the_original(self, house: Dropping, content: bytes, name: str) -> None:
        original = house.load(content, name)
        delimiter = original.detected.delimiter or ""
        camera = "Eingänge" if b"\xe4" in content else "CAM-1"
        fixes = {
            **{wrong.replace(",", delimiter): right.replace(",", delimiter) for wrong, right in FIXED.items()},
            **{
                wrong.replace(",", delimiter).replace("CAM-1", camera): right.replace(",", delimiter)
                for wrong, right in FIXED.items()
            },
        }
        outcome = house.load(saved(rejects_file(house, name), fixes), "mended.csv")
        assert outcome.sentence.endswith("(repairs " + name + "), 10 of 10 rows loaded, 0 rejected, 0 duplicates.")
        assert outcome.detected.delimiter == delimiter
        persons = house.rows("select person_id from raw.events where event_time > '2024-05-02' order by 1")
        assert persons == [("Q1",), ("Q2",)]

    def test_held_rows_come_out_as_they_would_have_from_the_original(self, house: Dropping) -> None:
        notes = ["", "«", "00012", "=1+1", '"a\n""b"","']
        rows = [*(f"{row},{note}" for row, note in zip(good_rows(5), notes, strict=True)), *["soon,P,C,entry,»"] * 3]
        flawed = csv_of(rows, HEADER + ",note")
        original = house.load(flawed)
        assert original.sha256 is not None
        house.load(saved(rejects_file(house)[:7]), "held.csv")
        columns = "event_id, person_id, camera_id, event_type, event_time, attributes"
        mended = house.rows(f"select {columns} from raw.events order by event_id")
        assert len(mended) == 5
        house.empty()
        house.load(flawed)
        release_file(original.sha256, house.context())
        assert house.rows(f"select {columns} from raw.events order by event_id") == mended


class TestFromALoadedFile:
    def test_three_rejected_rows_put_right_load_and_nothing_else(self, house: Dropping, tmp_path: Path) -> None:
        bad = ["never,Q1,CAM-1,entry", "2024-05-02 10:00:00,,CAM-1,entry", "2024-05-02 11:00:00,Q3,CAM-1"]
        rows = good_rows(97)
        rows[50:50] = bad
        original = house.load(rows, "big.csv")
        assert original.account is not None
        assert (original.state, original.account.rows_rejected) == ("loaded", 3)
        assert original.sha256 is not None
        target = tmp_path / "rejects.csv"
        archived = house.context().archive.find(original.sha256)
        assert archived is not None

        with house.warehouse.connect("loader") as connection:
            write_rejects_file(target, original, archived, rejects_of(connection, original.file_id), only_rejected=True)
        lines = lines_in(target)
        fixes = {
            bad[0]: "2024-05-02 09:00:00,Q1,CAM-1,entry",
            bad[1]: "2024-05-02 10:00:00,Q2,CAM-1,entry",
            bad[2]: "2024-05-02 11:00:00,Q3,CAM-1,exit",
        }
        outcome = house.load(saved(lines, fixes), "mended.csv")

        assert [line[:2] for line in lines[1:]] == [["", "header"], *[[str(n), "rejected"] for n in (52, 53, 54)]]
        assert outcome.verdict == (
            "Usable: mended.csv (repairs big.csv), 3 of 3 rows loaded, 0 rejected, 0 duplicates."
        )
        assert house.count("events") == 100
        assert files(house) == [
            ("big.csv", "loaded", 100, 97, 3, 0, None, None),
            ("mended.csv", "loaded", 3, 3, 0, 0, None, original.file_id),
        ]
        house.accounts_add_up()


class TestWhatTheOriginalKnows:
    def test_its_site_holds_wherever_the_rejects_file_is_dropped(self, house: Dropping) -> None:
        house.load(FLAWED, "north/x.csv")
        lines = rejects_file(house, "north/x.csv")

        outcome = house.load(saved(lines, FIXED), "mended.csv")

        assert outcome.site == "north"
        assert told(outcome, "site_of_original") == (
            "It was dropped for no site in particular, but repairs north/x.csv, which was dropped for site north; its "
            "rows were read for that one, too."
        )
        assert house.rows("select distinct camera_id from raw.events") == [("north/CAM-1",)]
        assert house.rows("select site from raw.files") == [("north",), ("north",)]
        before = house.snapshot()
        assert outcome.sha256 is not None
        assert replay_file(outcome.sha256, house.context()).notices == outcome.notices
        assert house.snapshot() == before

    def test_in_the_folder_of_its_site_there_is_nothing_to_say(self, house: Dropping) -> None:
        house.load(FLAWED, "north/x.csv")
        outcome = house.load(saved(rejects_file(house, "north/x.csv"), FIXED), "north/mended.csv")
        assert (outcome.site, [notice.code for notice in outcome.notices]) == ("north", ["unlisted_cameras"])

    def test_its_order_of_dates_holds_where_the_rows_do_not_tell(self, house: Dropping) -> None:
        rows = [*(row.replace("2024-05-01", "05/25/2024") for row in good_rows(8)), "05/03/2024 10:00,,C,entry"]
        original = house.load(rows)
        assert original.detected.date_order == "MDY"
        header, first, *rest = rejects_file(house)
        fixes = {"10:00,,C": "10:00,Q,C"}

        outcome = house.load(saved([header, first, rest[-1]], fixes), "mended.csv")

        assert outcome.detected.date_order == "MDY"
        assert house.rows("select event_time from raw.events") == [(datetime(2024, 5, 3, 10, tzinfo=UTC),)]
        assert told(outcome, "date_order_of_original") == (
            "Dates that could be read day first or month first (in 1 row) were read month first, as those of x.csv, "
            "which it repairs."
        )
        assert outcome.headline == "Usable"
        assert house.with_rules(date_order="DMY").load(saved([header, first, rest[-1]], {}), "no.csv").problem

    def test_what_a_setting_decided_is_decided_by_the_setting_of_today(self, house: Dropping) -> None:
        house.load(["05/03/2024 10:00,,C,entry", "never,P,C,entry"])
        header, first, *rest = rejects_file(house)
        mended = saved([header, first, rest[0]], {"10:00,,C": "10:00,Q,C"})
        outcome = house.with_rules(date_order="MDY").load(mended, "mended.csv")
        assert house.rows("select event_time from raw.events") == [(datetime(2024, 5, 3, 10, tzinfo=UTC),)]
        assert "date_order_ambiguous" in {notice.code for notice in outcome.notices}

    def test_rows_that_tell_otherwise_decide_and_that_is_told(self, house: Dropping) -> None:
        house.load([*(row.replace("2024-05-01", "05/25/2024") for row in good_rows(8)), "never,Q,C,entry"])
        header, first, *rest = rejects_file(house)
        mended = saved([header, first, rest[-1]], {"never": "25/05/2024 10:00"})
        outcome = house.load(mended, "mended.csv")
        assert outcome.detected.date_order == "DMY"
        assert told(outcome, "date_order_differs") == (
            "x.csv, which it repairs, writes dates with the month first, but this file has values that can only have "
            "the day first, so the whole file was read that way."
        )

    def test_an_original_that_the_ledger_does_not_know(self, house: Dropping) -> None:
        house.load(FLAWED, "north/x.csv")
        mended = saved(rejects_file(house, "north/x.csv"), FIXED)
        house.empty()

        outcome = house.load(mended, "south/mended.csv")

        assert (outcome.state, outcome.repairs, outcome.site) == ("loaded", None, "south")
        assert told(outcome, "original_unknown") == (
            "It is not known here which file this rejects file belongs to, so it was read as any other file: for site "
            "south, with the order of day and month that its own rows tell."
        )
        assert house.value("select repairs_file_id from raw.files") is None
        assert house.count("events") == 10


class TestHostileRejectsFiles:
    @pytest.mark.parametrize(
        ("spoil", "words"),
        [
            (lambda lines: [line for line in lines if line[1] != "header"], "verdict 'header', is missing"),
            (lambda lines: [[*line[:5], line[5].strip("«»"), *line[6:]] for line in lines], "marks were lost"),
            (lambda lines: [*lines, [*lines[-1][:6], "sha256:" + "0" * 64]], "put together: row 13 is of another"),
        ],
        ids=["no header line", "no marks", "two files in one"],
    )
    def test_what_cannot_be_read_is_told_in_a_sentence(
        self, house: Dropping, spoil: Callable[[list[Line]], list[Line]], words: str
    ) -> None:
        house.load(FLAWED)
        outcome = house.load(saved(spoil(rejects_file(house))), "spoilt.csv")
        assert outcome.state == "quarantined"
        assert words in outcome.sentence
        assert house.count("events") == 0
        # Its own rejects file has no rows; that is told as well, however often it is dropped.
        again = house.load(saved(rejects_file(house, "spoilt.csv")), "again.csv")
        assert "could not be read at all, so it holds no rows" in again.sentence

    def test_a_rejects_file_of_an_unreadable_file(self, house: Dropping) -> None:
        house.load(b"a,b\n1,2\n")
        outcome = house.load(saved(rejects_file(house)), "again.csv")
        assert outcome.problem is not None
        assert outcome.problem.code == "rejects_file_without_rows"

    def test_names_in_it_are_shown_on_one_line(self, house: Dropping) -> None:
        house.load(FLAWED, "a\nb<script>.csv")
        (left,) = (house.landing / "rejected").glob("*.rejects.csv")
        outcome = house.load(saved(lines_in(left), FIXED), "mended.csv")
        assert "mended.csv (repairs a\\nb<script>.csv), 10 of 10" in outcome.sentence

    def test_moved_back_out_of_the_folder_of_the_rejected(self, house: Dropping) -> None:
        house.load(FLAWED)
        left = house.landing / "rejected" / "x.csv.rejects.csv"
        left.write_bytes(saved(rejects_file(house), FIXED))
        assert house.waiting() == []
        shutil.move(left, house.landing / left.name)
        (waiting,) = house.waiting()
        assert load_file(waiting, house.context()).state == "loaded"


class TestWorkInHand:
    """A rejects file that somebody is working on in the folder of the rejected is never written over."""

    def judged_again(self, house: Dropping, outcome: Outcome) -> set[str]:
        assert outcome.sha256 is not None
        assert replay_file(outcome.sha256, house.context()).state == "quarantined"
        return {path.name for path in (house.landing / "rejected").glob("*.csv")}

    def test_stays_when_the_original_is_judged_again(self, house: Dropping) -> None:
        original = house.load(FLAWED)
        left = house.landing / "rejected" / "x.csv.rejects.csv"
        assert self.judged_again(house, original) == {"x.csv", "x.csv.rejects.csv"}

        for edited in (saved(rejects_file(house), FIXED, delimiter=","), saved(rejects_file(house), FIXED, "cp1252")):
            left.write_bytes(edited)
            names = self.judged_again(house, original)
            assert left.read_bytes() == edited
            assert names == {"x.csv", "x.csv.rejects.csv", "x (2).csv.rejects.csv"}
            (house.landing / "rejected" / "x (2).csv.rejects.csv").replace(left)
        assert len(rejects_file(house)) == 12

    def test_reasons_of_today_replace_those_of_yesterday(self, house: Dropping) -> None:
        house.load(rows := [*good_rows(8), "1999-01-01 10:00:00,P,CAM-1,entry"])
        (sha256,) = house.row("select sha256 from raw.files")
        house = house.with_rules(earliest_event=datetime(1998, 1, 1, tzinfo=UTC), future_tolerance_hours=-24 * 40)
        assert replay_file(sha256, house.context()).reject_counts == {"timestamp_out_of_range": 8}
        assert [line[1] for line in rejects_file(house)[2:]] == ["rejected"] * 8 + ["held back"]
        assert [line[5] for line in rejects_file(house)[2:]] == [f"«{row}»" for row in rows]


class TestSpanOfTime:
    def span(self, house: Dropping, outcome: Outcome) -> tuple[datetime | None, datetime | None]:
        found = recorded(house, outcome)
        assert (found.first_event_time, found.last_event_time) == house.row(
            "select first_event_time, last_event_time from raw.files where file_id = %s", outcome.file_id
        )
        assert (outcome.first_event_time, outcome.last_event_time) == (found.first_event_time, found.last_event_time)
        return found.first_event_time, found.last_event_time

    def test_is_that_of_the_good_rows_ends_included(self, house: Dropping) -> None:
        rows = [
            "2024-05-02 10:00:00,P,C,walk,2024-05-03 11:00:00",
            "2024-05-01 10:00:00,P,C,walk,2024-05-01 11:00:00",
            "2024-04-01 10:00:00,,C,walk,2024-06-01 11:00:00",
            "2024-05-02 12:00:00,P,C,entry,2024-05-31 11:00:00",
        ]
        whole = (datetime(2024, 5, 1, 10, tzinfo=UTC), datetime(2024, 5, 3, 11, tzinfo=UTC))
        held = house.load(csv_of(rows, HEADER + ",end_time"))
        assert (held.state, self.span(house, held)) == ("quarantined", whole)
        assert held.sha256 is not None
        released = release_file(held.sha256, house.context())
        assert (released.state, self.span(house, released)) == ("loaded", whole)
        replayed = replay_file(held.sha256, house.with_rules(default_timezone="Europe/Paris").context())
        assert self.span(house, replayed) == tuple(time - timedelta(hours=2) for time in whole)

    def test_does_not_count_what_was_read_before_the_order_of_dates_was_known(self, house: Dropping) -> None:
        outcome = house.load(["03/05/2024 10:00,P,C,entry", "05/25/2024 10:00,P,C,entry"])
        assert self.span(house, outcome) == (
            datetime(2024, 3, 5, 10, tzinfo=UTC),
            datetime(2024, 5, 25, 10, tzinfo=UTC),
        )

    def test_of_nothing_is_none(self, house: Dropping) -> None:
        assert self.span(house, house.load(HEADER.encode())) == (None, None)
        assert self.span(house, house.load(["never,P,C,entry"])) == (None, None)
        assert self.span(house, house.load(b"a,b\n1,2\n")) == (None, None)
