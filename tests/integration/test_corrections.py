"""Retracting, releasing and replaying files: what becomes of their rows, and what is said of it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.dropping import ARRIVAL, HEADER, Dropping, csv_of, good_rows
from validation.cameras import Camera
from validation.corrections import CorrectionProblem, release_file, replay_file, retract_file
from validation.finding import find_file, find_files
from validation.loading import load_file
from validation.outcomes import Account, Correction, Outcome
from validation.profiles import load_profiles
from validation.reports import report
from warehouse.connections import Warehouse

WITH_CONFIDENCE = HEADER + ",confidence"
FLAWED = csv_of([*good_rows(8), "never,P,CAM-1,entry", "2024-05-01 10:00:00,,CAM-1,entry"])


@pytest.fixture
def house(warehouse: Warehouse, tmp_path: Path) -> Dropping:
    (tmp_path / "landing").mkdir()
    (tmp_path / "home").mkdir()
    return Dropping(warehouse, tmp_path / "home", tmp_path / "landing")


def rated(*confidences: str, person: str = "P") -> bytes:
    """A file that states one event per confidence given; '-' leaves the event out."""
    rows = good_rows(len(confidences), person)
    return csv_of(
        [f"{row},{confidence}" for row, confidence in zip(rows, confidences, strict=True) if confidence != "-"],
        WITH_CONFIDENCE,
    )


def sha256(outcome: Outcome) -> str:
    assert outcome.sha256 is not None
    return outcome.sha256


def retract(house: Dropping, outcome: Outcome) -> Outcome:
    return retract_file(sha256(outcome), house.context())


def replay(house: Dropping, outcome: Outcome) -> Outcome:
    return replay_file(sha256(outcome), house.context())


def contents(house: Dropping) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table that an untouched replay must leave as it is, down to its place on the disk."""
    events = "select ctid, events.* from raw.events order by ctid"
    return {
        "events": house.rows(events),
        "duplicates": house.rows("select ctid, duplicates.* from raw.duplicates order by ctid"),
        "retracted": house.rows("select * from raw.retracted_events"),
        "rejects": house.rows("select * from raw.rejects order by file_id, row_number, reason"),
        "files": house.rows(
            "select to_jsonb(files) - array['batch_id', 'run_id', 'finished_at', 'seconds', 'stage_seconds']"
            " from raw.files"
            " order by file_id"
        ),
        "arrivals": house.rows("select * from raw.arrivals order by arrival_id"),
    }


def last_batch(house: Dropping) -> tuple[int, str, int]:
    return house.row("select batch_id, kind, file_id from raw.batches order by batch_id desc limit 1")  # type: ignore[return-value]


class TestRetract:
    def test_takes_a_files_events_back_and_tells_the_models(self, house: Dropping) -> None:
        kept = house.load(rated("", "", person="Q"), "q.csv")
        loaded = house.load(csv_of([*good_rows(30), *good_rows(2), "never,P,CAM-1,entry"]))
        events = house.rows(
            "select event_id, person_id, camera_id, event_time, end_time from raw.events where file_id = %s order by 1",
            loaded.file_id,
        )

        outcome = retract(house, loaded)

        assert outcome.sentence == "Retracted: x.csv, 30 events were taken back."
        assert outcome.correction == Correction("retract", events_removed=30)
        assert outcome.account == Account(33, rows_rejected=1, rows_held=32)
        assert last_batch(house) == (outcome.batch_id, "retract", loaded.file_id)
        assert (
            house.rows(
                "select event_id, person_id, camera_id, event_time, end_time from raw.retracted_events"
                " where batch_id = %s order by 1",
                outcome.batch_id,
            )
            == events
        )
        assert house.rows("select distinct file_id from raw.events") == [(kept.file_id,)]
        assert house.count("duplicates") == 0
        assert house.count("rejects") == 1
        assert house.row(
            "select state, rows_read, rows_loaded, rows_rejected, rows_duplicate, rows_held, batch_id, finished_at"
            " from raw.files where file_id = %s",
            loaded.file_id,
        ) == ("retracted", 33, None, 1, 0, 32, outcome.batch_id, ARRIVAL)
        assert "Retracted: `x.csv`" in report(outcome)

    def test_passes_an_event_on_to_the_best_of_the_other_files_rows(self, house: Dropping) -> None:
        files = {
            name: house.load(rated(*confidences), f"{name}.csv")
            for name, confidences in {
                "best": ["0.9", "0.9", "0.9", "-"],
                "second": ["0.7", "-", "0.2", "0.1"],
                "third": ["0.5", "-", "0.3", "-"],
            }.items()
        }

        outcome = retract(house, files["best"])

        assert outcome.sentence == (
            "Retracted: best.csv, 1 event was taken back; 2 that other files also brought stay."
        )
        assert outcome.correction == Correction("retract", events_changed=2, events_removed=1, events_kept=2)
        assert house.rows(
            "select person_id, file_name, confidence, events.batch_id = %s"
            " from raw.events join raw.files using (file_id) order by 1",
            outcome.batch_id,
        ) == [
            ("P0", "second.csv", 0.7, True),
            ("P2", "third.csv", 0.3, True),
            ("P3", "second.csv", 0.1, False),
        ]
        assert house.rows("select person_id from raw.retracted_events") == [("P1",)]
        assert house.rows(
            "select person_id, file_name from raw.duplicates join raw.files using (file_id) order by 1"
        ) == [("P0", "third.csv"), ("P2", "second.csv")]
        house.accounts_add_up()

    def test_of_a_file_whose_events_others_give_changes_no_event(self, house: Dropping) -> None:
        house.load(rated("0.9", "0.9"), "a.csv")
        second = house.load(rated("0.5", "0.5"), "b.csv")
        events = house.rows("select ctid, events.* from raw.events order by 1")

        outcome = retract(house, second)

        assert outcome.sentence == (
            "Retracted: b.csv, no event was taken back; all 2 that other files also brought stay."
        )
        assert house.rows("select ctid, events.* from raw.events order by 1") == events
        assert house.count("duplicates") == house.count("retracted_events") == 0
        house.accounts_add_up()

    def test_of_an_empty_file(self, house: Dropping) -> None:
        assert retract(house, house.load([])).sentence == "Retracted: x.csv, no event was taken back: it had none."

    def test_is_forgotten_when_the_content_is_dropped_again(self, house: Dropping) -> None:
        first = house.load(rated("0.9", "0.5"), "a.csv")
        house.load(rated("0.7", "0.7"), "b.csv")
        before = house.snapshot()
        retract(house, first)
        house.now += timedelta(days=1)

        again = house.load(rated("0.9", "0.5"), "a.csv")

        assert (again.state, again.arrived_at) == ("loaded", house.now)
        after = house.snapshot()
        assert (after["events"], after["duplicates"]) == (before["events"], before["duplicates"])
        house.accounts_add_up()

    def test_is_done_by_the_maintainer(self, house: Dropping) -> None:
        """Not by the loader, whose rights need not reach so far."""
        loaded = house.load(good_rows(3))
        with house.warehouse.connect("owner") as connection:
            connection.execute("revoke insert on raw.retracted_events from footfall_loader")
            connection.commit()
            try:
                assert retract(house, loaded).state == "retracted"
            finally:
                connection.execute("grant insert on raw.retracted_events to footfall_loader")

    def test_before_the_file_could_be_removed_leaves_it_retracted(self, house: Dropping) -> None:
        """The load was broken off after its commit; the file still lies in the landing folder."""
        waiting = house.drop(good_rows(3))

        class Stopped(BaseException):
            pass

        def stop(progress: Any) -> None:
            if progress.stage == "committed":
                raise Stopped

        with pytest.raises(Stopped):
            load_file(waiting, house.context(stop))
        (digest,) = house.row("select sha256 from raw.files")
        retract_file(digest, house.context())

        outcome = load_file(waiting, house.context())

        assert outcome.sentence == "Retracted: x.csv had been taken back before it left the landing folder."
        assert house.waiting() == []
        assert house.count("events") == 0

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (FLAWED, r"x\.csv is in quarantine, so nothing of it is loaded\. There is nothing to take back\."),
            (b"a,b\n1,2\n", r"x\.csv is in quarantine"),
        ],
    )
    def test_of_what_is_not_loaded_is_refused(self, house: Dropping, content: bytes, words: str) -> None:
        with pytest.raises(CorrectionProblem, match=words):
            retract(house, house.load(content))
        assert house.count("batches") == 0

    def test_twice_is_refused(self, house: Dropping) -> None:
        loaded = house.load(good_rows(2))
        retract(house, loaded)
        with pytest.raises(CorrectionProblem, match=r"^x\.csv is retracted already\.$") as problem:
            retract(house, loaded)
        assert problem.value.code == "already_retracted"

    def test_of_what_was_never_dropped_is_refused(self, house: Dropping) -> None:
        with pytest.raises(CorrectionProblem, match="No file in the ledger has the hash ab"):
            retract_file("ab" * 32, house.context())


class TestReplay:
    def test_under_the_same_settings_changes_nothing(self, house: Dropping) -> None:
        house.load(rated("0.9", "-", "0.1", ""), "a.csv")
        loaded = house.load(
            csv_of([*good_rows(60), *good_rows(3), "never,P,CAM-1,entry", "04/05/2024 10:00,P,C,loitering"]), "b.csv"
        )
        before = contents(house)
        house.now += timedelta(days=400)

        outcome = replay(house, loaded)

        assert contents(house) == before
        assert outcome.verdict == (
            "Replayed: b.csv, 59 of 65 rows loaded, 1 rejected (1.5 %), 5 duplicates; no event has changed."
        )
        assert outcome.correction == Correction("replay")
        assert (outcome.account, outcome.notices, outcome.arrived_at) == (
            loaded.account,
            loaded.notices,
            loaded.arrived_at,
        )
        assert last_batch(house) == (outcome.batch_id, "replay", loaded.file_id)
        assert house.rows("select count(*) from raw.events where batch_id = %s", outcome.batch_id) == [(0,)]

    def test_of_everything_in_any_order_changes_nothing(self, house: Dropping) -> None:
        files = [house.load(rated(*"0123"[i:], *"0123"[:i]), f"{i}.csv") for i in range(4)]
        before = contents(house)
        for outcome in (*reversed(files), *files):
            replay(house, outcome)
        assert contents(house) == before

    def test_under_another_zone_of_a_camera_moves_its_instants_alone(self, house: Dropping) -> None:
        rows = [
            "2024-05-01 10:00:00,P,CAM-1,entry",
            "2024-05-01 10:00:00Z,P,CAM-1,exit",
            "2024-05-01 10:00:00,P,CAM-2,entry",
        ]
        loaded = house.load(rows)
        moved = replace(house, cameras=[Camera("CAM-1", "CAM-1", None, "default", "Europe/Berlin", None)])

        outcome = replay(moved, loaded)

        assert outcome.correction == Correction("replay", events_added=1, events_removed=1)
        assert outcome.sentence == (
            "Replayed: x.csv, 3 of 3 rows loaded, 0 rejected, 0 duplicates; events: 1 new, 1 taken back."
        )
        assert house.rows(
            "select camera_id, event_type, event_time::text, batch_id = %s from raw.events order by 1, 2",
            outcome.batch_id,
        ) == [
            ("CAM-1", "entry", "2024-05-01 08:00:00+00", True),
            ("CAM-1", "exit", "2024-05-01 10:00:00+00", False),
            ("CAM-2", "entry", "2024-05-01 10:00:00+00", False),
        ]
        assert house.rows("select batch_id, event_time::text from raw.retracted_events") == [
            (outcome.batch_id, "2024-05-01 10:00:00+00")
        ]
        house.accounts_add_up()

    def test_gives_what_a_first_load_under_these_settings_would(self, house: Dropping) -> None:
        contents = {f"{i}.csv": rated(*"0123"[i:], *"0123"[:i]) for i in range(3)}
        abroad = replace(house, cameras=[Camera("CAM-1", "CAM-1", None, "default", "Asia/Kolkata", None)])
        for name, content in contents.items():
            abroad.load(content, name)
        expected = house.snapshot()
        house.empty()
        files = [house.load(content, name) for name, content in contents.items()]
        # In between, one file's rows lie elsewhere in time than the others', which state the same events again later.
        for outcome in files:
            replay(abroad, outcome)
            house.accounts_add_up()
        assert house.snapshot() == expected

    def test_takes_over_an_event_that_only_changes_its_columns(self, house: Dropping, tmp_path: Path) -> None:
        """The profile says now that another column is the zone: the event stays the same one."""
        folder = tmp_path / "profiles"
        folder.mkdir()

        def with_zone(column: str) -> Dropping:
            (folder / "mine.yml").write_text(
                "name: mine\ndescription: d\nrecognised_by: [floor, aisle]\nfields:\n  timestamp: timestamp\n"
                f"  person_id: person_id\n  camera_id: camera_id\n  event_type: event_type\n  zone: {column}\n",
                encoding="utf-8",
            )
            return replace(house, profiles=load_profiles(folder))

        rows = [f"{row},F{i},A{i}" for i, row in enumerate(good_rows(3))]
        loaded = with_zone("floor").load(csv_of(rows, HEADER + ",floor,aisle"))

        outcome = replay(with_zone("aisle"), loaded)

        assert outcome.correction == Correction("replay", events_changed=3)
        assert house.count("retracted_events") == 0
        assert house.rows("select zone, attributes from raw.events order by person_id") == [
            (f"A{i}", {"floor": f"F{i}"}) for i in range(3)
        ]
        house.accounts_add_up()

    def test_uses_the_recorded_arrival_as_now(self, house: Dropping) -> None:
        loaded = house.load([*good_rows(40), "2024-06-05 12:00:00,P,CAM-1,entry"])
        house.now += timedelta(days=30)
        assert replay(house, loaded).account == loaded.account

    @pytest.mark.parametrize("why", ["no profile", "too many"])
    def test_that_finds_the_file_unusable_takes_its_events_back_and_shows_it(self, house: Dropping, why: str) -> None:
        other = house.load(rated("0.5", "0.5", "-"), "other.csv")
        content = rated("0.9", "-", "0.9")
        loaded = house.load(content, "North/x.csv")
        same_site = house.load(rated("0.1", "-", "-"), "North/y.csv")
        today = replace(house, profiles=[]) if why == "no profile" else house.with_rules(max_interval_days=366.0)
        if why == "too many":
            today = house.with_rules(earliest_event=ARRIVAL)

        outcome = replay(today, loaded)

        assert outcome.state == "quarantined"
        assert outcome.correction == Correction("replay", events_changed=1, events_removed=1)
        assert outcome.verdict.endswith("1 event was taken back.")
        assert house.rows("select distinct file_id from raw.events order by 1") == [
            (other.file_id,),
            (same_site.file_id,),
        ]
        assert house.row("select state, rows_loaded from raw.files where file_id = %s", loaded.file_id) == (
            "quarantined",
            None,
        )
        folder = house.landing / "rejected" / "North"
        assert outcome.moved_to == folder / "x.csv"
        assert {path.name for path in folder.iterdir()} == {"x.csv", "x.csv.rejects.csv", "x.csv.report.md"}
        assert (folder / "x.csv").read_bytes() == content
        assert "correct them and replay it" in (folder / "x.csv.report.md").read_text(encoding="utf-8")
        house.accounts_add_up()

        # Again: nothing new lies there. And back under the old settings: as it was.
        assert replay(today, loaded).correction == Correction("replay")
        assert {path.name for path in folder.iterdir()} == {"x.csv", "x.csv.rejects.csv", "x.csv.report.md"}
        back = replay(house, loaded)
        assert (back.state, back.correction) == ("loaded", Correction("replay", events_added=1, events_changed=1))
        assert back.account == loaded.account
        house.accounts_add_up()

    def test_forgets_what_an_earlier_judgement_rejected(self, house: Dropping) -> None:
        loaded = house.load([*good_rows(40), "never,P,CAM-1,entry"])
        replay(replace(house, profiles=[]), loaded)
        assert house.count("rejects") == 0
        assert house.row("select rows_read, reject_counts, error_code from raw.files") == (None, {}, "no_profile_fits")

    def test_loads_a_quarantined_file_that_has_become_usable(self, house: Dropping) -> None:
        held = house.load(FLAWED)
        assert held.state == "quarantined"
        house.now += timedelta(days=3)
        outcome = replay(house.with_rules(max_rejected_share=0.5), held)
        assert (outcome.state, outcome.arrived_at) == ("loaded", ARRIVAL)
        assert outcome.account == Account(10, rows_loaded=8, rows_rejected=2)
        house.accounts_add_up()

    def test_of_a_file_that_was_refused_for_its_name_refuses_it_again(self, house: Dropping) -> None:
        for name in ("a/b/c.csv", "x.xlsx"):
            outcome = replay(house, house.load(good_rows(2), name))
            assert outcome.state == "quarantined"
        assert house.count("events") == 0

    def test_of_a_retracted_file_is_refused(self, house: Dropping) -> None:
        loaded = house.load(good_rows(2))
        retract(house, loaded)
        with pytest.raises(CorrectionProblem, match=r"x\.csv is retracted\. To load it again, drop it again\."):
            replay(house, loaded)
        assert house.count("events") == 0

    def test_without_its_original_is_refused(self, house: Dropping) -> None:
        loaded = house.load(good_rows(2))
        shutil.rmtree(house.home / "archive")
        with pytest.raises(CorrectionProblem, match=r"x\.csv cannot be replayed: its original .* is not in .*archive"):
            replay(house, loaded)
        assert house.count("events") == 2


class TestRelease:
    def test_loads_the_good_rows_whatever_the_share(self, house: Dropping) -> None:
        held = house.load(FLAWED)
        house.now += timedelta(days=3)

        outcome = release_file(sha256(held), house.context())

        assert outcome.verdict == "Released: x.csv, 8 of 10 rows loaded, 2 rejected (20 %), 0 duplicates."
        assert (outcome.state, outcome.arrived_at) == ("loaded", ARRIVAL)
        assert outcome.correction == Correction("release", events_added=8)
        assert house.row("select state, released, rows_held, error from raw.files") == ("loaded", True, None, None)
        assert last_batch(house) == (outcome.batch_id, "release", held.file_id)
        assert house.count("events") == 8
        assert house.count("rejects") == 2
        house.accounts_add_up()

    def test_is_honoured_by_replays_but_not_by_another_drop(self, house: Dropping) -> None:
        held = house.load(FLAWED)
        release_file(sha256(held), house.context())
        before = contents(house)
        assert replay(house, held).state == "loaded"
        assert contents(house) == before

        retract(house, held)
        assert house.value("select released from raw.files") is False
        assert house.load(FLAWED).state == "quarantined"

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (csv_of(good_rows(2)), r"x\.csv is loaded\. Only a file in quarantine can be released\."),
            (b"a,b\n1,2\n", r"x\.csv cannot be released: .*No source profile fits"),
        ],
    )
    def test_of_anything_else_is_refused(self, house: Dropping, content: bytes, words: str) -> None:
        loaded = house.load(content)
        before = contents(house)
        with pytest.raises(CorrectionProblem, match=words):
            release_file(sha256(loaded), house.context())
        assert contents(house) == before


class TestWhichFileIsMeant:
    def ask(self, house: Dropping, what: str) -> list[str]:
        with house.warehouse.connect("maintainer") as connection:
            return [file.name for file in find_files(connection, what)]

    def test_by_hash_name_or_copy(self, house: Dropping, tmp_path: Path) -> None:
        house.load(good_rows(1), "North/x.csv")
        outcome = house.load(good_rows(2), "y.csv")
        digest = sha256(outcome)
        copy = tmp_path / "another name"
        copy.write_bytes(csv_of(good_rows(2)))
        for what in (digest, digest[:8], digest[:12].upper(), "y.csv", str(copy)):
            assert self.ask(house, what) == ["y.csv"]
        for what in ("x.csv", "North/x.csv"):
            assert self.ask(house, what) == ["North/x.csv"]
        for what in (digest[:7], "", "%", "_.csv", "csv", "orth/x.csv", str(tmp_path), "\0", "x.csv\0", "f" * 64):
            assert self.ask(house, what) == []

    def test_a_whole_name_comes_before_the_last_part_of_another(self, house: Dropping) -> None:
        house.load(good_rows(1), "North/x.csv")
        house.load(good_rows(2), "x.csv")
        assert self.ask(house, "x.csv") == ["x.csv"]

    def test_several_are_listed_and_none_is_guessed(self, house: Dropping) -> None:
        first = house.load(good_rows(1), "x.csv")
        second = house.load(good_rows(2), "x.csv")
        with house.warehouse.connect("maintainer", autocommit=True) as connection:
            with pytest.raises(CorrectionProblem) as problem:
                find_file(connection, "x.csv", "retract")
            assert problem.value.code == "ambiguous"
            assert [file.sha256 for file in problem.value.files] == [first.sha256, second.sha256]
            assert str(problem.value) == (
                f"'x.csv' could be any of 2 files: x.csv ({sha256(first)[:12]}, loaded 2024-06-01 12:00 UTC); x.csv "
                f"({sha256(second)[:12]}, loaded 2024-06-01 12:00 UTC). Give the digits of the one that you mean."
            )
            retract(house, first)
            assert find_file(connection, "x.csv", "retract").sha256 == second.sha256
            with pytest.raises(CorrectionProblem, match="No file in the ledger is 'nothing"):
                find_file(connection, "nothing\n", "retract")

    @pytest.mark.parametrize(
        "name",
        [
            "a\nb.csv",
            "-rf.csv",
            "'; drop table raw.files; --.csv",
            "%s%%.csv",
            b"\xff\xfe.csv".decode("utf-8", "surrogateescape"),
        ],
    )
    def test_hostile_names(self, house: Dropping, name: str) -> None:
        loaded = house.load(good_rows(3), name)
        (digest,) = {sha256(loaded)}
        with house.warehouse.connect("maintainer") as connection:
            assert find_file(connection, name, "retract").sha256 == digest
        assert replay(house, loaded).state == "loaded"
        shown = replay(replace(house, profiles=[]), loaded)
        assert shown.moved_to is not None
        assert shown.moved_to.read_bytes() == csv_of(good_rows(3))
        assert "\n" not in shown.sentence
        replay(house, loaded)
        outcome = retract(house, loaded)
        assert "\n" not in outcome.sentence
        assert house.count("events") == 0


class TestFilesOfOneName:
    def test_are_loaded_side_by_side_and_the_second_says_so(self, house: Dropping) -> None:
        first = house.load(good_rows(3))
        second = house.load(good_rows(5))

        assert (second.state, second.headline) == ("loaded", "Usable")
        assert house.count("events") == 5
        how = f"To take them back: footfall retract {sha256(first)[:12]}"
        assert [notice.sentence for notice in second.notices if notice.code == "same_name"] == [
            f"A file of this name was loaded on 2024-06-01 12:00 UTC with other content; its events stay. {how}"
        ]
        # It is no part of what is known of the content: a replay, or another order, must come to the same.
        assert "same_name" not in str(house.value("select notices from raw.files where file_id = %s", second.file_id))

    def test_say_nothing_where_the_other_is_not_loaded(self, house: Dropping) -> None:
        retract(house, house.load(good_rows(3)))
        house.load(FLAWED)
        assert not [notice for notice in house.load(good_rows(5)).notices if notice.code == "same_name"]
