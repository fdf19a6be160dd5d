"""The heat map, live occupancy, the headline numbers and the dates, held against cases worked out by hand."""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from uuid import UUID

import pytest

from tests.reference.buckets import Level
from tests.reference.choices import Choice
from tests.reference.dates import CalendarDate, dates_of
from tests.reference.events import Camera, Event, Parameters, Store
from tests.reference.heatmap import Cell, Heat, heatmap_of
from tests.reference.histories import moment_of
from tests.reference.kpis import Kpis, kpis_of
from tests.reference.live import Live, live_of
from tests.reference.sessions import history_of


def event(number: int, person: str, camera: str, kind: str, at: str, end: str | None = None, **more: object) -> Event:
    until = None if end is None else moment_of(end)
    return Event(UUID(int=number), person, camera, kind, moment_of(at), until, **more)  # type: ignore[arg-type]


def listed(zone: str = "UTC", **capacities: int | None) -> dict[str, Camera]:
    """Cameras of one site called mall."""
    return {camera: Camera(camera, "mall", zone, capacity) for camera, capacity in capacities.items()}


# --- the heat map ------------------------------------------------------------------------------------------


def heatmap(*events: Event, zone: str = "UTC") -> dict[Cell, Heat]:
    store = Store(events, listed(zone, door=None, till=None))
    return heatmap_of(store, history_of(store))


def test_hours_of_one_kind_are_taken_together() -> None:
    # Wednesday 1 May 2024, and the Wednesday after it.
    found = heatmap(
        event(1, "ann", "door", "entry", "2024-05-01 09:30"),
        event(2, "ann", "door", "exit", "2024-05-01 10:15"),
        event(3, "ann", "till", "appearance", "2024-05-08 09:00", "2024-05-08 09:20"),
        event(4, "bob", "door", "appearance", "2024-05-08 09:10", "2024-05-08 09:20"),
    )
    # Eight days: two Wednesdays, one of each other day.
    assert len(found) == 7 * 24
    assert found["mall", 3, 9] == Heat(
        hours=2,
        events=3,
        entries=1,
        occupied_seconds=Fraction(30 * 60 + 20 * 60 + 10 * 60),
        avg_occupancy=Fraction(3600, 2 * 3600),
        peak_occupancy=2,
    )
    assert found["mall", 3, 10] == Heat(2, 1, 0, Fraction(900), Fraction(900, 7200), 1)
    empty = Heat(1, 0, 0, Fraction(0), Fraction(0), 0)
    assert all(cell[1] == 3 or heat == empty for cell, heat in found.items())


def test_the_day_on_which_somebody_is_only_inside_counts() -> None:
    found = heatmap(event(1, "ann", "door", "appearance", "2024-05-01 23:00", "2024-05-03 01:00"))
    assert {weekday for _, weekday, _ in found} == {3, 4, 5}
    assert found["mall", 4, 12] == Heat(1, 0, 0, Fraction(3600), Fraction(1), 1)
    assert found["mall", 5, 1] == Heat(1, 0, 0, Fraction(0), Fraction(0), 0)


def test_the_clock_is_the_site_s() -> None:
    # 20:00 UTC on Wednesday is 01:30 on Thursday in Kolkata: the hour that begins at 19:30 UTC.
    found = heatmap(event(1, "ann", "door", "other", "2024-05-01 20:00"), zone="Asia/Kolkata")
    assert {cell for cell, heat in found.items() if heat.events} == {("mall", 4, 1)}
    assert {weekday for _, weekday, _ in found} == {4}


def test_a_day_of_25_hours_has_one_hour_twice_and_one_of_23_lacks_one() -> None:
    # Sunday 3 November 2024 in New York: 1 o'clock at 05:00 and at 06:00 UTC.
    autumn = heatmap(
        event(1, "ann", "door", "other", "2024-11-03 05:59"),
        event(2, "ann", "door", "other", "2024-11-03 06:00"),
        zone="America/New_York",
    )
    assert (autumn["mall", 7, 1].hours, autumn["mall", 7, 1].events) == (2, 2)
    assert sum(heat.hours for heat in autumn.values()) == 25
    spring = heatmap(event(1, "ann", "door", "other", "2024-03-10 12:00"), zone="America/New_York")
    assert ("mall", 7, 2) not in spring
    assert sum(heat.hours for heat in spring.values()) == 23


def test_an_hour_has_its_real_length() -> None:
    # Lord Howe, Sunday 7 April 2024: from 02:00 back to 01:30, so that the hour of one o'clock lasts 90 minutes.
    found = heatmap(
        event(1, "ann", "door", "appearance", "2024-04-06 14:00", "2024-04-06 14:45"), zone="Australia/Lord_Howe"
    )
    assert found["mall", 7, 1].avg_occupancy == Fraction(45, 90)


def test_the_hour_of_an_event_is_exact() -> None:
    found = heatmap(event(1, "ann", "door", "other", "2024-05-01 09:59:59.999999"))
    assert {cell for cell, heat in found.items() if heat.events} == {("mall", 3, 9)}


# --- live occupancy ----------------------------------------------------------------------------------------


def live(*events: Event, cameras: dict[str, Camera], **parameters: object) -> dict[tuple[Level, str], Live]:
    store = Store(events, cameras, Parameters(**parameters))  # type: ignore[arg-type]
    return live_of(store, history_of(store))


def test_who_is_inside_now() -> None:
    now = moment_of("2024-05-01 12:00")
    found = live(
        event(1, "ann", "door", "entry", "2024-05-01 11:00"),
        event(2, "ann", "till", "entry", "2024-05-01 11:30"),
        event(3, "bob", "door", "entry", "2024-05-01 10:00"),
        event(4, "bob", "door", "exit", "2024-05-01 11:59"),
        event(5, "cid", "till", "appearance", "2024-05-01 11:50", "2024-05-01 12:10"),
        event(6, "dan", "till", "appearance", "2024-05-01 11:50", "2024-05-01 12:00"),
        event(7, "eve", "till", "appearance", "2024-05-01 12:00", "2024-05-01 12:00"),
        event(8, "guard", "door", "entry", "2024-05-01 11:55"),
        event(9, "-1", "door", "entry", "2024-05-01 11:56"),
        cameras=listed(door=10, till=5, hall=3),
        excluded_ids=("guard",),
    )
    assert found == {
        ("camera", "door"): Live(now, 1, 10, moment_of("2024-05-01 11:59")),
        # Dan's stay ends at the instant, Eve's has no length: neither holds it.
        ("camera", "till"): Live(now, 2, 5, now),
        ("camera", "hall"): Live(now, 0, 3, None),
        # Ann stands in front of both cameras.
        ("site", "mall"): Live(now, 2, 18, now),
    }


def test_an_entry_of_long_ago_is_nobody_inside() -> None:
    found = live(
        event(1, "ann", "door", "entry", "2024-05-01 00:00"),
        event(2, "bob", "till", "other", "2024-05-01 12:00:00.000001"),
        cameras=listed(door=1, till=None),
    )
    assert found["camera", "door"].persons_inside == 0
    assert found["site", "mall"].capacity is None


def test_events_later_than_their_file_are_not_now() -> None:
    noon = moment_of("2024-05-01 12:00")
    found = live(
        event(1, "ann", "door", "entry", "2024-05-01 12:00"),
        event(2, "bob", "door", "other", "2024-05-01 13:00", arrived_at=noon),
        cameras=listed(door=None),
    )
    assert found["camera", "door"] == Live(noon, 1, None, noon)


def test_nothing_has_happened_yet() -> None:
    assert live(cameras=listed(door=4)) == {
        ("camera", "door"): Live(None, 0, 4, None),
        ("site", "mall"): Live(None, 0, 4, None),
    }


def test_an_unlisted_camera_has_no_capacity() -> None:
    found = live(event(1, "ann", "lift", "entry", "2024-05-01 12:00"), cameras={})
    assert found["camera", "lift"].capacity is found["site", "default"].capacity is None
    assert found["site", "default"].persons_inside == 1


# --- the headline numbers ----------------------------------------------------------------------------------

SHOP = Store(
    (
        event(1, "ann", "door", "entry", "2024-05-01 10:00:00"),
        event(2, "ann", "door", "entry", "2024-05-01 10:00:30"),
        event(3, "ann", "door", "exit", "2024-05-01 10:10:00"),
        event(4, "ann", "till", "appearance", "2024-05-01 10:05:00", "2024-05-01 10:25:00"),
        event(5, "ann", "door", "entry", "2024-05-02 10:00:00"),
        event(6, "ann", "door", "exit", "2024-05-02 10:01:00"),
        event(7, "bob", "door", "entry", "2024-05-01 11:00:00"),
        event(8, "cid", "till", "exit", "2024-05-02 12:00:00"),
        event(9, "-1", "yard", "entry", "2024-05-02 12:00:00"),
        event(10, "guard", "hall", "entry", "2024-05-02 12:00:00"),
    ),
    listed(door=None, till=None),
    Parameters(excluded_ids=("guard",)),
)


def kpis(**choice: object) -> Kpis:
    return kpis_of(SHOP, history_of(SHOP), Choice(**choice))  # type: ignore[arg-type]


def test_everything() -> None:
    # Dwell: 600, 1200 and 60 seconds, all Ann's. Sessions: those and Bob's, which lacks its exit.
    assert kpis() == Kpis(
        total_events=9,
        entries=4,
        exits=3,
        unique_visitors=3,
        active_cameras=3,
        sessions=4,
        completed_sessions=3,
        share_without_exit=Fraction(1, 4),
        dwell_seconds_total=Fraction(1860),
        dwell_seconds_per_person=Fraction(1860),
        dwell_seconds_per_session=Fraction(620),
        dwell_seconds_median=Fraction(600),
        dwell_seconds_max=Fraction(1200),
        visits=3,
        repeat_visitors=1,
        repeat_visitor_share=Fraction(1, 3),
    )


def test_dwell_per_person_is_over_those_with_a_complete_session() -> None:
    line = (
        event(1, "ann", "door", "appearance", "2024-05-01 10:00", "2024-05-01 10:10"),
        event(2, "ann", "door", "appearance", "2024-05-01 11:00", "2024-05-01 11:10"),
        event(3, "bob", "door", "appearance", "2024-05-01 10:00", "2024-05-01 10:40"),
        event(4, "cid", "door", "entry", "2024-05-01 10:00"),
    )
    store = Store(line, listed(door=None))
    found = kpis_of(store, history_of(store))
    assert (found.dwell_seconds_per_person, found.dwell_seconds_per_session) == (1800, 1200)


def test_a_range_holds_its_start_and_not_its_end() -> None:
    first_day = kpis(start=moment_of("2024-05-01 10:00"), end=moment_of("2024-05-02 10:00"))
    assert (first_day.total_events, first_day.sessions, first_day.visits) == (5, 3, 2)
    assert (first_day.repeat_visitors, first_day.repeat_visitor_share) == (0, 0)
    second_day = kpis(start=moment_of("2024-05-02 10:00"))
    assert (second_day.total_events, second_day.sessions, second_day.dwell_seconds_total) == (4, 1, 60)
    assert second_day.share_without_exit == 0


def test_a_person_inside_is_a_visitor_of_a_range_without_events() -> None:
    inside = kpis(start=moment_of("2024-05-01 10:24"), end=moment_of("2024-05-01 10:30"))
    # Her session began before the range: neither it nor its dwell is counted.
    assert (inside.total_events, inside.unique_visitors, inside.sessions) == (0, 1, 0)
    assert inside.dwell_seconds_median is inside.dwell_seconds_per_person is inside.share_without_exit is None
    after = kpis(start=moment_of("2024-05-01 10:25"), end=moment_of("2024-05-01 10:30"))
    assert (after.unique_visitors, after.repeat_visitor_share) == (0, None)


@pytest.mark.parametrize(
    ("cameras", "events", "sessions", "visits", "active"),
    [
        pytest.param(("till",), 2, 1, 1, 1, id="a visit that holds a session there"),
        pytest.param(("door",), 6, 3, 3, 1, id="the other camera"),
        pytest.param(("door", "till"), 8, 4, 3, 2, id="a visit at two of them counts once"),
        pytest.param(("hall",), 0, 0, 0, 0, id="nothing but what is ignored"),
        pytest.param((), 0, 0, 0, 0, id="none of them"),
    ],
)
def test_of_some_cameras(cameras: tuple[str, ...], events: int, sessions: int, visits: int, active: int) -> None:
    found = kpis(cameras=cameras)
    assert (found.total_events, found.sessions, found.visits, found.active_cameras) == (
        events,
        sessions,
        visits,
        active,
    )


def test_of_some_persons() -> None:
    found = kpis(persons=("bob", "-1"))
    assert (found.total_events, found.unique_visitors, found.sessions, found.visits) == (2, 1, 1, 1)
    assert (found.share_without_exit, found.dwell_seconds_total, found.dwell_seconds_max) == (1, 0, None)


def test_two_dates_at_two_sites_do_not_make_a_repeat_visitor() -> None:
    cameras = {"door": Camera("door", "mall", "UTC"), "yard": Camera("yard", "farm", "UTC")}
    line = (
        event(1, "ann", "door", "entry", "2024-05-01 10:00"),
        event(2, "ann", "yard", "entry", "2024-05-02 10:00"),
    )
    store = Store(line, cameras)
    assert kpis_of(store, history_of(store)).repeat_visitors == 0


# --- dates -------------------------------------------------------------------------------------------------


def dates(*events: Event, zone: str = "UTC") -> dict[date, CalendarDate]:
    store = Store(events, listed(zone, door=None))
    return {each.day: each for each in dates_of(store, history_of(store))}


def test_every_date_of_the_years_with_a_day() -> None:
    found = dates(
        event(1, "ann", "door", "other", "2024-05-01 10:00"), event(2, "ann", "door", "other", "2026-05-01 10:00")
    )
    assert len(found) == 366 + 365
    assert {day.year for day in found} == {2024, 2026}
    # 30 December 2024, a Monday, begins the first ISO week of 2025.
    assert found[date(2024, 12, 30)] == CalendarDate(
        day=date(2024, 12, 30),
        year=2024,
        quarter=4,
        month=12,
        iso_year=2025,
        iso_week=1,
        iso_weekday=1,
        is_weekend=False,
    )
    assert [found[date(2024, 5, day)].is_weekend for day in (3, 4, 5, 6)] == [False, True, True, False]
    assert [found[date(2024, month, 1)].quarter for month in range(1, 13)] == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]


def test_the_year_is_that_of_the_local_day() -> None:
    found = dates(event(1, "ann", "door", "other", "2023-12-31 20:00"), zone="Asia/Kolkata")
    assert {day.year for day in found} == {2024}


def test_a_year_that_somebody_only_stays_into_counts() -> None:
    found = dates(event(1, "ann", "door", "appearance", "2023-12-31 20:00", "2024-01-01 00:00:00.000001"))
    assert {day.year for day in found} == {2023, 2024}
    found = dates(event(1, "ann", "door", "appearance", "2023-12-31 20:00", "2024-01-01 00:00"))
    assert {day.year for day in found} == {2023}
