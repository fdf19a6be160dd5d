"""Sessions as the models find them: each rule on a history small enough to be judged by eye."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.integration.modelling import Models, Signal, at, stay
from warehouse.connections import Warehouse

NOON = at("2024-05-01 12:00:00")
HOUR = 3600


def signals(person: str, text: str, start: datetime = NOON) -> list[Signal]:
    """`+0 -600 -600#7` for an entry at once and two exits after ten minutes, the second with event id 7."""
    found = []
    for word in text.split():
        seconds, _, number = word[1:].partition("#")
        found.append(
            Signal(
                person,
                "CAM",
                {"+": "entry", "-": "exit", "~": "other"}[word[0]],
                start + timedelta(seconds=float(seconds)),
                number=int(number) if number else None,
            )
        )
    return found


# One history per rule. Sessions as (start, end or None, status), all in seconds after noon; then unmatched exits and
# repeats. A newest event 100 hours on sets what is open apart from what has no exit.
HISTORIES: dict[str, tuple[str, list[tuple[float, float | None, str]], list[float], list[float]]] = {
    "an entry and its exit": ("+0 -600", [(0, 600, "complete")], [], []),
    "an entry alone": ("+0", [(0, None, "missing_exit")], [], []),
    "an exit alone": ("-0", [], [0], []),
    "two entries, one exit": ("+0 +100 -600", [(0, None, "missing_exit"), (100, 600, "complete")], [], []),
    "one entry, two exits": ("+0 -600 -700", [(0, 600, "complete")], [700], []),
    "exactly twelve hours": ("+0 -43200", [(0, 43200, "complete")], [], []),
    "a microsecond more than twelve hours": ("+0 -43200.000001", [(0, None, "missing_exit")], [43200.000001], []),
    "a repeat at exactly sixty seconds": ("+0 +60 -600", [(0, 600, "complete")], [], [60]),
    "no repeat a microsecond later": (
        "+0 +60.000001 -600",
        [(0, None, "missing_exit"), (60.000001, 600, "complete")],
        [],
        [],
    ),
    "repeats chain": ("+0 +50 +100 +150 -600 -650", [(0, 600, "complete")], [], [50, 100, 150, 650]),
    "a repeat must follow immediately": ("+0 -10 +20 -30", [(0, 10, "complete"), (20, 30, "complete")], [], []),
    "a repeat at the limit closes by its first exit": ("+0 -43190 -43230", [(0, 43190, "complete")], [], [43230]),
    "other events between are not seen": ("+0 ~10 -600", [(0, 600, "complete")], [], []),
    "a stay of no time": ("+0 -0", [(0, 0, "complete")], [], []),
    "back in the second of the exit": ("+0 +600 -600 -900", [(0, 600, "complete"), (600, 900, "complete")], [], []),
    "outside, so in and out at once": ("+0 -300 +600 -600", [(0, 300, "complete"), (600, 600, "complete")], [], []),
    "going back over mixed instants": (
        "+0 +100 -100 +200 -200 -300",
        [(0, 100, "complete"), (100, 200, "complete"), (200, 300, "complete")],
        [],
        [],
    ),
    "going back over mixed instants from outside": (
        "-0 +100 -100 +200 -200",
        [(100, 100, "complete"), (200, 200, "complete")],
        [0],
        [],
    ),
    "a step of exactly twelve hours still tells": (
        "+0 +43200 -43200",
        [(0, 43200, "complete"), (43200, None, "missing_exit")],
        [],
        [],
    ),
    "a longer step tells nothing": (
        "+0 +43200.000001 -43200.000001",
        [(0, None, "missing_exit"), (43200.000001, 43200.000001, "complete")],
        [],
        [],
    ),
    "nor does what lies behind it": (
        "+0 +43201 -43201 +50000 -50000",
        [(0, None, "missing_exit"), (43201, 43201, "complete"), (50000, 50000, "complete")],
        [],
        [],
    ),
    "a repeat, too, says who is inside": (
        "+0 +30 +60 -60",
        [(0, 60, "complete"), (60, None, "missing_exit")],
        [],
        [30],
    ),
    "several of one type at a mixed instant": (
        "+0 +600#1 +600#2 -600#3 -600#4 -900",
        [(0, 600, "complete"), (600, 900, "complete")],
        [],
        [600, 600],
    ),
}  # fmt: skip


def seconds(instant: datetime | None) -> float | None:
    return None if instant is None else (instant - NOON) / timedelta(seconds=1)


def test_rules_of_order_repeats_and_pairing(models: Models) -> None:
    for person, (text, *_) in HISTORIES.items():
        models.load(signals(person, text))
    models.load([Signal("later", "ELSEWHERE", "other", NOON + timedelta(hours=100))])
    models.build()
    sessions = models.rows("person_sessions", "person_id, entry_time, exit_time, status", "1, 2, 3")
    exits = models.rows("unmatched_exits", "person_id, exit_time", "1, 2")
    repeats = [row for row in models.rows("camera_events", "person_id, event_time, is_repeat", "1, 2") if row[2]]
    found = {
        person: (
            [(seconds(start), seconds(end), status) for who, start, end, status in sessions if who == person],
            [seconds(time) for who, time in exits if who == person],
            [seconds(time) for who, time, _ in repeats if who == person],
        )
        for person in HISTORIES
    }
    assert found == {
        person: expected for person, (_, *expected_) in HISTORIES.items() for expected in [tuple(expected_)]
    }


def test_of_one_type_at_one_instant_the_smallest_event_id_comes_first(models: Models) -> None:
    models.load(signals("p", "+0#9 +0#3 +0#5 -600"))
    models.run()
    assert [row[0].int for row in models.rows("person_sessions", "session_id")] == [3]
    assert [row[0].int for row in models.rows("camera_events", "event_id", "event_id") if row[0].int < 10] == [3, 5, 9]


def test_no_repeats_when_turned_off(models: Models) -> None:
    models.set_parameters(repeat_seconds=0)
    models.load(signals("p", "+0#1 +0#2 -600"))
    models.run()
    assert models.rows("person_sessions", "session_id::text, status") == [
        ("00000000-0000-0000-0000-000000000001", "missing_exit"),
        ("00000000-0000-0000-0000-000000000002", "complete"),
    ]


def test_open_is_measured_from_the_newest_event_that_counts(models: Models) -> None:
    models.set_parameters(excluded_ids=["staff"])
    arrival = NOON + timedelta(hours=12)
    models.load(signals("p", "+0") + signals("q", f"+{2 * HOUR} -{100 * HOUR}"), arrived_at=arrival)
    models.load(signals("staff", f"~{50 * HOUR}"))
    models.run()
    # q's exit is later than its file's arrival and staff is ignored: the newest event is q's entry.
    status = {row[0]: row[1] for row in models.rows("person_sessions", "person_id, status")}
    assert status == {"p": "open", "q": "missing_exit"}  # an exit follows q's entry, if too late
    models.load(signals("anonymous", f"~{12 * HOUR}"))
    models.run()
    assert dict(models.rows("person_sessions", "person_id, status"))["p"] == "open"
    models.load(signals("anonymous", f"~{12 * HOUR + 0.000001}"))
    models.run()
    assert dict(models.rows("person_sessions", "person_id, status"))["p"] == "missing_exit"


def test_a_repeat_does_not_keep_a_session_from_being_open(models: Models) -> None:
    models.load(signals("p", "+0 +30"))
    models.run()
    assert models.rows("person_sessions", "status") == [("open",)]


def test_intervals_are_sessions_by_themselves(models: Models) -> None:
    end = NOON + timedelta(days=3)
    models.load(
        [
            Signal("p", "CAM", "appearance", NOON, end, number=5),
            Signal("p", "CAM", "appearance", NOON, end, number=4),
            Signal("p", "CAM", "appearance", NOON, NOON, number=6),
            Signal("p", "CAM", "appearance", NOON, None, number=7),
            Signal("p", "CAM", "entry", NOON + timedelta(hours=1), number=8),
            Signal("p", "CAM", "exit", NOON + timedelta(hours=2), number=9),
            Signal(" Unknown", "CAM", "appearance", NOON, end, number=10),
        ]
    )
    models.run()
    sessions = models.rows("person_sessions", "session_id, dwell_seconds, status, is_interval")
    assert [(row[0].int, *row[1:]) for row in sessions] == [
        (4, 3 * 24 * HOUR, "complete", True),
        (6, 0, "complete", True),
        (8, HOUR, "complete", False),
    ]
    named = {row[0].int: row[1] and row[1].int for row in models.rows("camera_events", "event_id, session_id")}
    assert named == {4: 4, 5: 4, 6: 6, 7: None, 8: 8, 9: 8, 10: None}


def test_an_event_carries_its_session_and_dwell(models: Models) -> None:
    models.load(signals("p", "+0 +10 -600 -5000"))
    models.run()
    events = models.records("camera_events", "event_time")
    columns = ("is_entry", "is_exit", "is_repeat", "is_unmatched_exit", "dwell_seconds")
    assert [tuple(event[column] for column in columns) for event in events] == [
        (True, False, False, False, 600.0),
        (True, False, True, False, None),
        (False, True, False, False, 600.0),
        (False, True, False, True, None),
    ]
    first, repeat, closing, unmatched = events
    assert first["session_id"] == closing["session_id"] is not None
    assert repeat["session_id"] is None
    assert unmatched["session_id"] is None


def test_anonymous_persons_are_counted_and_make_no_session(models: Models) -> None:
    models.set_parameters(anonymous_ids=["  Niemand "])
    models.load(signals("NIEMAND", "+0 +1 -600") + signals("unknown", "+0 -600"))
    models.run()
    assert models.rows("person_sessions", "person_id") == [("unknown",)]
    assert models.rows("unmatched_exits") == []
    (day,) = models.records("site_daily")
    assert (day["events"], day["entries"], day["exits"], day["unique_visitors"]) == (5, 3, 2, 1)


def test_ignored_events_take_part_in_nothing(models: Models) -> None:
    models.set_parameters(excluded_ids=["STAFF"], min_confidence=0.5)
    low, enough = {"confidence": 0.4999}, {"confidence": 0.5}
    models.load(
        [
            *signals("staff", "+0 -600"),
            Signal("p", "CAM", "entry", NOON, **enough),
            Signal("p", "CAM", "exit", NOON + timedelta(seconds=100), **low),
            Signal("p", "CAM", "exit", NOON + timedelta(seconds=200)),
        ]
    )
    models.run()
    assert models.rows("person_sessions", "person_id, dwell_seconds") == [("p", 200.0)]
    ignored = models.rows("camera_events", "person_id, event_type", "1, 2")
    assert len(ignored) == 5
    (day,) = models.records("site_daily")
    assert (day["events"], day["unique_visitors"]) == (2, 1)


def test_a_changed_parameter_refreshes_what_it_acts_on(models: Models) -> None:
    models.load(stay("p", "CAM", "2024-05-01 00:00:00", 13 * HOUR))
    models.run()
    assert models.rows("person_sessions", "status") == [("missing_exit",)]
    models.set_parameters(max_session_hours=13)
    models.run()
    assert models.rows("person_sessions", "status") == [("complete",)]
    assert [hour["peak_occupancy"] for hour in models.records("camera_hourly", "bucket_start")] == [1] * 13 + [0]


@pytest.mark.parametrize("missing", ["max_session_hours", "min_confidence", "anonymous_ids"])
def test_a_missing_parameter_stops_the_build(warehouse: Warehouse, missing: str) -> None:
    with closing(Models(warehouse)) as models:
        models.owner.execute("delete from raw.parameters where name = %s", [missing])
        result = models.dbt("build")
    assert not result.success
    failed: list[Any] = [each.node.name for each in result.result.results if str(each.status) == "fail"]  # type: ignore[union-attr]
    assert any(name.startswith("source_includes_values_raw_parameters") for name in failed)
    with warehouse.connect("transformer") as connection:
        assert connection.execute("select to_regclass('marts.person_sessions')").fetchone() == (None,)
