"""Groups of people and their buckets, held against cases worked out by hand."""

from __future__ import annotations

from fractions import Fraction
from uuid import UUID

import pytest

from tests.reference.buckets import Measures
from tests.reference.demographics import Group, age_group_of, demographics_of, gender_of
from tests.reference.events import HOUR, MINUTE, SECOND, Camera, Event, Store
from tests.reference.histories import moment_of
from tests.reference.sessions import history_of

DAY = moment_of("2024-05-01 00:00")


def event(number: int, person: str, kind: str, at: int, **told: object) -> Event:
    return Event(UUID(int=number), person, "door", kind, DAY + at, **told)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("age", "band"),
    [
        (0, "under 18"),
        (17, "under 18"),
        (18, "18-24"),
        (24, "18-24"),
        (25, "25-34"),
        (34, "25-34"),
        (35, "35-44"),
        (44, "35-44"),
        (45, "45-54"),
        (54, "45-54"),
        (55, "55-64"),
        (64, "55-64"),
        (65, "65+"),
        (120, "65+"),
        (None, "unknown"),
    ],
)
def test_bands_of_age(age: int | None, band: str) -> None:
    assert age_group_of(event(1, "ann", "entry", 0, age=age)) == band


def test_what_is_written_goes_before_the_age() -> None:
    assert age_group_of(event(1, "ann", "entry", 0, age=70, age_group="Senior")) == "Senior"
    assert gender_of(event(1, "ann", "entry", 0, gender="F")) == "F"
    assert gender_of(event(1, "ann", "entry", 0)) == "unknown"


def groups(*events: Event, **cameras: Camera) -> dict[tuple[str, str], Measures]:
    store = Store(events, cameras or {"door": Camera("door", "mall", "UTC")})
    found = demographics_of(store, history_of(store))
    assert {(key.site_id, start) for key, start in found} == {("mall", DAY)}
    return {(key.age_group, key.gender): row for (key, _), row in found.items()}


def test_a_session_belongs_to_the_group_of_the_event_that_opens_it() -> None:
    found = groups(
        event(1, "ann", "entry", 0, age=30, gender="F"),
        event(2, "ann", "exit", 10 * MINUTE, age=36, gender="F"),
        event(3, "bob", "entry", 5 * MINUTE, age=31, gender="F"),
        event(4, "bob", "exit", 15 * MINUTE, age=31, gender="F"),
        event(5, "-1", "other", HOUR),
    )
    younger, older, unknown = found["25-34", "F"], found["35-44", "F"], found["unknown", "unknown"]
    assert len(found) == 3
    assert (younger.events, younger.entries, younger.exits) == (3, 2, 1)
    assert (younger.unique_visitors, younger.completed_sessions) == (2, 2)
    assert (younger.occupied_seconds, younger.peak_occupancy) == (1200, 2)
    assert younger.avg_occupancy == Fraction(1200, 24 * 3600)
    # Ann's exit tells another group: there she is a visitor with an event and no session.
    assert (older.events, older.exits, older.unique_visitors) == (1, 1, 1)
    assert (older.sessions_started, older.occupied_seconds) == (0, 0)
    assert (unknown.events, unknown.unique_visitors) == (1, 0)


def test_of_identical_intervals_the_smallest_id_tells_the_group() -> None:
    found = groups(
        event(2, "ann", "appearance", 0, end=DAY + MINUTE, gender="M"),
        event(1, "ann", "appearance", 0, end=DAY + MINUTE, gender="F"),
    )
    assert found["unknown", "F"].sessions_started == 1
    assert found["unknown", "M"].sessions_started == 0
    # Both have her as a visitor, by her events.
    assert found["unknown", "M"].unique_visitors == 1


def test_a_group_is_inside_on_a_day_without_its_events() -> None:
    line = (
        event(1, "ann", "entry", 23 * HOUR, gender="F"),
        event(2, "ann", "exit", 25 * HOUR, gender="M"),
    )
    store = Store(line, {"door": Camera("door", "mall", "UTC")})
    found = demographics_of(store, history_of(store))
    women, men = Group("mall", "unknown", "F"), Group("mall", "unknown", "M")
    assert found.keys() == {(women, DAY), (women, DAY + 24 * HOUR), (men, DAY + 24 * HOUR)}
    second = found[women, DAY + 24 * HOUR]
    assert (second.events, second.unique_visitors, second.occupied_seconds) == (0, 1, 3600)


def test_two_persons_of_one_group_overlap_one_person_of_two_cameras_does_not() -> None:
    cameras = {name: Camera(name, "mall", "UTC") for name in ("door", "till")}
    at_door = event(1, "ann", "appearance", 0, end=DAY + 10 * SECOND)
    at_till = Event(UUID(int=2), "ann", "till", "appearance", DAY + 5 * SECOND, DAY + 20 * SECOND)
    row = groups(at_door, at_till, **cameras)["unknown", "unknown"]
    assert (row.occupied_seconds, row.peak_occupancy, row.dwell_seconds_total) == (20, 1, 25)
