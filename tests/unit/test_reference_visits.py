"""The sequential account of visits and visitors, held against cases worked out by hand.

Stays are written as `camera start-end` in seconds, `camera start-` for one whose exit is missing.
"""

from __future__ import annotations

import dataclasses
from datetime import date
from uuid import UUID

import pytest

from tests.reference.events import HOUR, MINUTE, SECOND, Camera, Event, EventType, Parameters, Store
from tests.reference.histories import moment_of
from tests.reference.sessions import history_of
from tests.reference.visits import Visit, Visitor, visitors_of, visits_of

MALL = {name: Camera(name, "mall", "America/New_York") for name in ("door", "till")}
CAMERAS = {**MALL, "yard": Camera("yard", "farm", "UTC")}

# Just not one visit with what came before.
G = 30 * MINUTE // SECOND


def stays(*written: str, person: str = "ann", first_id: int = 1, origin: int = 0) -> list[Event]:
    """Each stay as an entry with its exit; ids ascend in the order written."""
    events: list[Event] = []

    def add(kind: EventType, camera: str, at: str) -> None:
        number = UUID(int=first_id + len(events))
        events.append(Event(number, person, camera, kind, origin + round(float(at) * SECOND)))

    for stay in written:
        camera, span = stay.split()
        entry, _, leaving = span.partition("-")
        add("entry", camera, entry)
        if leaving:
            add("exit", camera, leaving)
    return events


def store_of(*events: Event, **parameters: object) -> Store:
    return Store(events, CAMERAS, Parameters(**parameters))  # type: ignore[arg-type]


def visits(*events: Event, **parameters: object) -> list[Visit]:
    store = store_of(*events, **parameters)
    return visits_of(store, history_of(store))


def written(found: list[Visit]) -> list[str]:
    return [f"{one.visit_id.int}: {one.start_time / SECOND:g}-{one.end_time / SECOND:g}" for one in found]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(("door 0-100",), ["1: 0-100"], id="one stay"),
        pytest.param(("door 0-100", f"door {100 + G}-2000"), ["1: 0-2000"], id="exactly G later"),
        pytest.param(("door 0-100", f"door {100 + G}.000001-2000"), ["1: 0-100", "3: 1900-2000"], id="1 µs more"),
        pytest.param(("door 0-100", f"till {100 + G}-2000"), ["1: 0-2000"], id="at another camera of the site"),
        pytest.param(("door 0-100", "yard 110-120"), ["1: 0-100", "3: 110-120"], id="each site by itself"),
        # The second stay ends long before the first: what counts is the latest end so far.
        pytest.param(("door 0-5000", "till 10-20", "till 6000-6001"), ["1: 0-6001"], id="the latest end so far"),
        pytest.param(("door 0-1700", "door 3000-4000", "door 5000-6000"), ["1: 0-6000"], id="gaps chain"),
        # An entry at 0 without exit counts as the instant 0.
        pytest.param(("door 0-", "door 1800-1900"), ["1: 0-1900"], id="without exit: G after the entry"),
        pytest.param(("door 0-", "door 1801-1900"), ["1: 0-0", "2: 1801-1900"], id="without exit: longer after it"),
        pytest.param(("till 50-60", "door 50-90"), ["1: 50-90"], id="of two at one instant the smaller id first"),
    ],
)
def test_what_one_visit_is(line: tuple[str, ...], expected: list[str]) -> None:
    assert written(visits(*stays(*line))) == expected


def test_sessions_that_touch_are_one_visit_even_without_a_gap() -> None:
    line = stays("door 0-100", "till 100-200", "door 200.000001-300")
    assert written(visits(*line, visit_gap_minutes=0)) == ["1: 0-200", "5: 200-300"]


def test_persons_are_apart() -> None:
    assert len(visits(*stays("door 0-10"), *stays("door 5-15", person="Ann", first_id=10))) == 2


def test_nobody_in_particular_has_no_visit() -> None:
    assert visits(*stays("door 0-10", person="-1")) == []


def test_columns() -> None:
    (visit,) = visits(*stays("door 0-100", "till 50-160", "door 200-", "till 400-410"))
    # Covered: 0-160 and 400-410. The entry at 200 counts as an instant.
    assert visit.dwell == 170 * SECOND
    assert visit.elapsed == 410 * SECOND
    assert (visit.session_count, visit.camera_count) == (4, 2)
    assert not visit.is_complete
    assert [session.entry_time // SECOND for session in visit.sessions] == [0, 50, 200, 400]


def test_a_visit_of_nothing_but_an_entry() -> None:
    (visit,) = visits(*stays("door 7-"))
    assert (visit.elapsed, visit.dwell, visit.is_complete, visit.is_bounce) == (0, 0, False, False)


@pytest.mark.parametrize(
    ("line", "bounce_seconds", "is_bounce"),
    [
        pytest.param(("door 0-29.999999",), 30, True, id="shorter than B"),
        pytest.param(("door 0-30",), 30, False, id="exactly B"),
        pytest.param(("door 0-5", "till 20-29"), 30, True, id="elapsed, not dwell: short"),
        pytest.param(("door 0-5", "till 25-31"), 30, False, id="elapsed, not dwell: long"),
        pytest.param(("door 0-5", "till 7-"), 30, False, id="not complete"),
        pytest.param(("door 0-0",), 0, False, id="nothing is shorter than 0"),
    ],
)
def test_bounces(line: tuple[str, ...], bounce_seconds: float, is_bounce: bool) -> None:
    assert [visit.is_bounce for visit in visits(*stays(*line), bounce_seconds=bounce_seconds)] == [is_bounce]


def test_dates_are_those_of_the_site_and_visits_are_not_split_at_midnight() -> None:
    # New York, 4 h behind UTC in May: midnight is 04:00 UTC.
    midnight = moment_of("2024-05-02 04:00")
    before = stays("door 0-7201", origin=midnight - SECOND)
    after = stays("door 20000-20001", origin=midnight, first_id=3)
    next_day = stays("door 100000-100001", origin=midnight, first_id=5)
    found = visits(*before, *after, *next_day)
    dates = [date(2024, 5, 1), date(2024, 5, 2), date(2024, 5, 3)]
    assert [visit.visit_date for visit in found] == dates
    assert [visit.is_returning for visit in found] == [False, True, True]
    # Without the visit that began a second before midnight, the same day's is a first one.
    assert [visit.is_returning for visit in visits(*after, *next_day)] == [False, True]


def test_a_second_visit_on_one_date_or_at_another_site_does_not_return() -> None:
    noon = moment_of("2024-05-02 12:00")
    line = stays("door 0-10", "door 7200-7210", "yard 86400-86410", origin=noon)
    assert [visit.is_returning for visit in visits(*line)] == [False, False, False]


def test_the_date_is_that_of_the_bucket_where_the_clock_goes_back_over_midnight() -> None:
    # St John's, 6 November 2011, 02:31 UTC: from 00:01 back to 23:01 of the 5th. The 6th had begun at 02:30.
    cameras = {"door": Camera("door", "mall", "America/St_Johns")}
    line = stays("door 0-10", origin=moment_of("2011-11-06 02:29"))
    again = stays("door 0-10", origin=moment_of("2011-11-06 03:00"), first_id=3)
    store = Store((*line, *again), cameras, Parameters(visit_gap_minutes=1))
    found = visits_of(store, history_of(store))
    assert [visit.visit_date for visit in found] == [date(2011, 11, 5), date(2011, 11, 6)]
    assert [visit.is_returning for visit in found] == [False, True]


def test_visitors() -> None:
    noon = moment_of("2024-05-02 12:00")
    ann = stays("door 0-10", "till 7200-7230", "door 90000-90005", origin=noon)
    farm = stays("yard 20-25", origin=noon, first_id=20)
    seen = Event(UUID(int=30), "ann", "till", "other", noon + 40 * HOUR)
    # An exit that nobody entered for: an event and no visit.
    bob = Event(UUID(int=31), "bob", "door", "exit", noon)
    staff = Event(UUID(int=32), "guard", "door", "entry", noon)
    nobody = Event(UUID(int=33), "-1", "door", "entry", noon)
    store = store_of(*ann, *farm, seen, bob, staff, nobody, excluded_ids=("guard",))
    found = {(one.person_id, one.site_id): one for one in visitors_of(store, visits_of(store, history_of(store)))}
    assert found.keys() == {("ann", "mall"), ("ann", "farm"), ("bob", "mall")}
    assert found["ann", "mall"] == Visitor(
        person_id="ann",
        site_id="mall",
        first_event_time=noon,
        last_event_time=noon + 40 * HOUR,
        event_count=7,
        visit_count=3,
        visit_days=2,
        first_visit_date=date(2024, 5, 2),
        last_visit_date=date(2024, 5, 3),
        dwell_total=45 * SECOND,
        is_repeat_visitor=True,
    )
    assert not found["ann", "farm"].is_repeat_visitor
    bobs = found["bob", "mall"]
    assert (bobs.event_count, bobs.visit_count, bobs.visit_days, bobs.dwell_total) == (1, 0, 0, 0)
    assert bobs.first_visit_date is bobs.last_visit_date is None


def test_the_last_event_of_a_visitor_is_by_its_start() -> None:
    long = Event(UUID(int=1), "ann", "yard", "appearance", 0, 5 * HOUR)
    store = store_of(long, dataclasses.replace(long, event_id=UUID(int=2), event_type="other", time=HOUR, end=None))
    (visitor,) = visitors_of(store, visits_of(store, history_of(store)))
    assert visitor.last_event_time == HOUR
