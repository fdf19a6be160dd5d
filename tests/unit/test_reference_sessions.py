"""The sequential account of sessions, held against cases worked out by hand.

A history is written as a line: `+` an entry, `-` an exit, each with its time in seconds. Results are written
the same way, so that each case can be checked by reading it.
"""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.reference.events import HOUR, MINUTE, SECOND, Event, Parameters, Store
from tests.reference.sessions import History, history_of, in_order


def events(line: str, person: str = "ann", camera: str = "door") -> list[Event]:
    """`+0 -10.5` → an entry at 0 s and an exit at 10.5 s; ids ascend in the order written."""
    return [
        Event(
            event_id=UUID(int=number),
            person_id=person,
            camera_id=camera,
            event_type="entry" if word[0] == "+" else "exit",
            time=round(float(word[1:]) * SECOND),
        )
        for number, word in enumerate(line.split(), start=1)
    ]


def judge(line: str, later: str = "", **parameters: object) -> History:
    """The history of one line; `later` is somebody else's line that only moves the newest event."""
    others = [
        Event(UUID(int=1000 + e.event_id.int), "somebody else", "elsewhere", "other", e.time) for e in events(later)
    ]
    return history_of(Store(tuple(events(line) + others), {}, Parameters(**parameters)))  # type: ignore[arg-type]


def written(history: History) -> list[str]:
    """Sessions as `entry-exit` or `entry status`, unmatched exits as `-exit`, in the order of time."""

    def seconds(time: int) -> str:
        return f"{time / SECOND:g}"

    lines = [
        (s.entry_time, f"{seconds(s.entry_time)}-{seconds(s.exit_time)}")
        if s.exit_time is not None
        else (s.entry_time, f"{seconds(s.entry_time)} {s.status}")
        for s in history.sessions
    ]
    lines += [(e.time, f"-{seconds(e.time)}") for e in history.unmatched_exits]
    return [text for _, text in sorted(lines)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("+0 -100", ["0-100"], id="one stay"),
        pytest.param("+0 -100 +200 -300", ["0-100", "200-300"], id="two stays"),
        pytest.param("-100 +0", ["0-100"], id="file order means nothing"),
        pytest.param("-100", ["-100"], id="an exit alone"),
        pytest.param("+0 -100 -300", ["-300", "0-100"], id="a second exit is unmatched"),
        pytest.param("+0 +200 -300", ["0 missing_exit", "200-300"], id="the later entry takes the exit"),
        pytest.param("+0", ["0 open"], id="an entry that is the newest event"),
        pytest.param("+0.25 -0.5", ["0.25-0.5"], id="less than a second"),
        pytest.param("+0 -43200", ["0-43200"], id="exactly L later closes"),
        pytest.param("+0 -43200.000001", ["-43200", "0 missing_exit"], id="a microsecond over L does not"),
    ],
)
def test_pairing(line: str, expected: list[str]) -> None:
    assert sorted(written(judge(line))) == sorted(expected)


@pytest.mark.parametrize(
    ("line", "repeats", "expected"),
    [
        pytest.param("+0 +60 -100", {2}, ["0-100"], id="exactly R later is a repeat"),
        pytest.param("+0 +60.000001 -100", set(), ["0 missing_exit", "60-100"], id="a microsecond more is not"),
        pytest.param("+0 +50 +100 +150 -200", {2, 3, 4}, ["0-200"], id="repeats chain"),
        pytest.param("+0 -100 -130 -170", {3, 4}, ["0-100"], id="exits repeat too"),
        pytest.param("+0 -10 +20 -30", set(), ["0-10", "20-30"], id="another type between them"),
        pytest.param("+0 +0 -100", {2}, ["0-100"], id="two entries at one instant, the smaller id first"),
    ],
)
def test_repeats(line: str, repeats: set[int], expected: list[str]) -> None:
    history = judge(line)
    assert {event.int for event in history.repeats} == repeats
    assert sorted(written(history)) == sorted(expected)


def test_no_repeats_when_turned_off_even_at_one_instant() -> None:
    history = judge("+0 +0 -100", repeat_seconds=0)
    assert history.repeats == set()
    assert [(s.opened_by.int, s.status) for s in history.sessions] == [(1, "missing_exit"), (2, "complete")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("+100 -100", ["100-100"], id="nobody inside: a stay of zero seconds"),
        pytest.param("-100 +100", ["100-100"], id="whatever the ids say"),
        pytest.param("+0 -100 +100 -200", ["0-100", "100-200"], id="inside: a re-entry in the second of the exit"),
        pytest.param("+0 -100 +100 -200 +200 -300", ["0-100", "100-200", "200-300"], id="two re-entries in a row"),
        pytest.param("-0 -100 +100 +200 -200", ["-0", "100-100", "200-200"], id="two zero stays in a row"),
        pytest.param("+0 -43200 +43200", ["0-43200", "43200 open"], id="a step of exactly L is inside"),
        pytest.param("+0 -43201 +43201", ["0 missing_exit", "43201-43201"], id="a longer step is not"),
        # Steps of L each, from mixed instant to mixed instant, reach the entry 3 L back.
        pytest.param(
            "+0 -43200 +43200 -86400 +86400 -129600 +129600",
            ["0-43200", "43200-86400", "86400-129600", "129600 open"],
            id="each step by itself is measured against L",
        ),
    ],
)
def test_mixed_instants(line: str, expected: list[str]) -> None:
    assert sorted(written(judge(line))) == sorted(expected)


def test_repeated_entry_before_a_mixed_instant_means_inside() -> None:
    assert written(judge("+0 +30 -60 +60 -90")) == ["0-60", "60-90"]


def test_a_zero_stay_after_an_exit_within_r_is_not_touched_by_it() -> None:
    history = judge("+0 -100 +130 -130")
    assert written(history) == ["0-100", "130-130"]
    assert history.repeats == set()


def test_repeats_across_a_mixed_instant() -> None:
    # Inside at 30: the exit comes first, then the entry; the entry at 50 repeats the one at 30.
    history = judge("+0 -30 +30 +50 -80")
    assert {event.int for event in history.repeats} == {4}
    assert written(history) == ["0-30", "30-80"]


def test_order_within_one_type_goes_by_event_id() -> None:
    line = events("+5 +5 -5 -5")
    assert [e.event_id.int for e in in_order(reversed(line), 12 * HOUR)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("line", "later", "expected"),
    [
        pytest.param("+0", "+43200", ["0 open"], id="L before the newest event"),
        pytest.param("+0", "+43201", ["0 missing_exit"], id="longer before it"),
        pytest.param("+0 +20", "", ["0 open"], id="a repeat does not count as following"),
        pytest.param("+0 -43201", "", ["-43201", "0 missing_exit"], id="an exit too late follows all the same"),
        pytest.param(
            "+0 -43201 -43210", "", ["-43201", "0 missing_exit"], id="its repeat is no further unmatched exit"
        ),
    ],
)
def test_open_or_missing(line: str, later: str, expected: list[str]) -> None:
    assert sorted(written(judge(line, later))) == sorted(expected)


def test_newest_event_leaves_out_what_is_ignored_or_later_than_its_arrival() -> None:
    seen = Event(UUID(int=1), "ann", "door", "entry", 0)
    staff = Event(UUID(int=2), "Guard ", "door", "other", 20 * HOUR)
    early = Event(UUID(int=3), "bob", "door", "other", 21 * HOUR, arrived_at=21 * HOUR - 1)
    doubtful = Event(UUID(int=4), "eve", "door", "other", 22 * HOUR, confidence=0.2)
    store = Store((seen, staff, early, doubtful), {}, Parameters(excluded_ids=(" guard",), min_confidence=0.5))
    assert store.newest_event() == 0
    assert [s.status for s in history_of(store).sessions] == ["open"]
    anonymous = Event(UUID(int=5), "-1", "door", "other", 23 * HOUR)
    store = Store((*store.events, anonymous), {}, store.parameters)
    assert store.newest_event() == 23 * HOUR
    assert [s.status for s in history_of(store).sessions] == ["missing_exit"]


def test_confidence_at_the_limit_or_unknown_is_not_ignored() -> None:
    store = Store((), {}, Parameters(min_confidence=0.5))
    assert not store.is_ignored(Event(UUID(int=1), "a", "c", "entry", 0, confidence=0.5))
    assert not store.is_ignored(Event(UUID(int=1), "a", "c", "entry", 0, confidence=None))
    assert store.is_ignored(Event(UUID(int=1), "a", "c", "entry", 0, confidence=0.49))


@pytest.mark.parametrize("person", ["-1", "Unknown", " ANONYMOUS "])
def test_anonymous_events_make_nothing(person: str) -> None:
    line = events("+0 +10 -100 -500", person=person)
    history = history_of(Store((*line, Event(UUID(int=9), person, "door", "appearance", 0, 5))))
    assert history == History()


def test_ignored_events_take_part_in_no_rule() -> None:
    good = Event(UUID(int=1), "ann", "door", "entry", 0, confidence=0.9)
    doubtful = Event(UUID(int=2), "ann", "door", "exit", 5 * MINUTE, confidence=0.1)
    leaving = Event(UUID(int=3), "ann", "door", "exit", 10 * MINUTE, confidence=0.9)
    history = history_of(Store((good, doubtful, leaving), {}, Parameters(min_confidence=0.5)))
    assert written(history) == ["0-600"]
    assert doubtful.event_id not in history.session_of_event


def test_persons_and_cameras_are_apart() -> None:
    others = [Event(UUID(int=50), "Ann", "door", "exit", 50 * SECOND), Event(UUID(int=51), "ann", "till", "exit", 1)]
    history = history_of(Store((*events("+0 -100"), *others)))
    assert [s.dwell for s in history.sessions] == [100 * SECOND]
    assert {e.event_id.int for e in history.unmatched_exits} == {50, 51}


def test_intervals_are_sessions_by_themselves() -> None:
    def interval(number: int, start: int, end: int | None) -> Event:
        return Event(UUID(int=number), "ann", "door", "appearance", start, end)

    rows = (
        interval(7, 0, 40 * HOUR),  # L does not limit it
        interval(5, 10, 20),
        interval(3, 10, 20),  # identical: the smaller id names the one session
        interval(4, 10, 21),  # overlaps: kept
        interval(9, 30, None),  # no end, no session
        interval(8, 50, 50),
    )
    history = history_of(Store((*rows, *events("+0 -100"))))
    found = {s.opened_by.int: (s.entry_time, s.exit_time) for s in history.sessions}
    assert found == {7: (0, 40 * HOUR), 3: (10, 20), 4: (10, 21), 8: (50, 50), 1: (0, 100 * SECOND)}
    assert history.session_of_event[UUID(int=5)].opened_by == UUID(int=3)
    assert UUID(int=9) not in history.session_of_event


def test_events_carry_the_session_that_they_open_or_close() -> None:
    history = judge("+0 +10 -100 -500")
    assert {event.int: s.opened_by.int for event, s in history.session_of_event.items()} == {1: 1, 3: 1}
