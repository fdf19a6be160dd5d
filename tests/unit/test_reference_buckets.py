"""The walked bucket starts and the plain measures, held against cases worked out by hand."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from fractions import Fraction
from uuid import UUID

import pytest

from tests.reference.buckets import Level, Measures, buckets_of, peak, quantile, union
from tests.reference.events import HOUR, MINUTE, SECOND, Camera, Event, Parameters, Store
from tests.reference.instants import BucketSize, bucket_date, bucket_end, bucket_start
from tests.reference.sessions import history_of


def utc(text: str) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * SECOND


@pytest.mark.parametrize(
    ("zone", "size", "instant", "start", "end"),
    [
        pytest.param("UTC", "hour", "2024-05-01 10:59:59", "2024-05-01 10:00", "2024-05-01 11:00", id="plain hour"),
        pytest.param("UTC", "hour", "2024-05-01 11:00:00", "2024-05-01 11:00", "2024-05-01 12:00", id="on the hour"),
        pytest.param("UTC", "week", "2024-05-05 23:00", "2024-04-29 00:00", "2024-05-06 00:00", id="a Sunday's week"),
        pytest.param("Asia/Kolkata", "hour", "2024-05-01 10:29", "2024-05-01 09:30", "2024-05-01 10:30", id="+5:30"),
        pytest.param("Asia/Kathmandu", "day", "2024-05-01 18:14", "2024-04-30 18:15", "2024-05-01 18:15", id="+5:45"),
        # New York, 3 November 2024, 06:00 UTC: 02:00 becomes 01:00 again.
        pytest.param(
            "America/New_York", "hour", "2024-11-03 05:30", "2024-11-03 05:00", "2024-11-03 06:00", id="first 01:30"
        ),
        pytest.param(
            "America/New_York", "hour", "2024-11-03 06:30", "2024-11-03 06:00", "2024-11-03 07:00", id="second 01:30"
        ),
        pytest.param(
            "America/New_York", "day", "2024-11-03 12:00", "2024-11-03 04:00", "2024-11-04 05:00", id="25 hours"
        ),
        pytest.param(
            "America/New_York", "day", "2024-03-10 12:00", "2024-03-10 05:00", "2024-03-11 04:00", id="23 hours"
        ),
        pytest.param(
            "America/New_York", "week", "2024-03-08 12:00", "2024-03-04 05:00", "2024-03-11 04:00", id="a week less 1 h"
        ),
        # Lord Howe shifts by half an hour: 02:00 becomes 01:30 (7 April 2024, 15:00 UTC the day before) ...
        pytest.param(
            "Australia/Lord_Howe", "hour", "2024-04-06 15:10", "2024-04-06 14:00", "2024-04-06 15:30", id="90 minutes"
        ),
        # ... and 02:00 becomes 02:30 (6 October 2024, 15:30 UTC the day before), so that no clock strikes two.
        pytest.param(
            "Australia/Lord_Howe",
            "hour",
            "2024-10-05 15:45",
            "2024-10-05 14:30",
            "2024-10-05 16:00",
            id="no two o'clock",
        ),
        # Beirut skips midnight: 31 March 2024 begins at 01:00 local, 22:00 UTC.
        pytest.param(
            "Asia/Beirut", "day", "2024-03-31 10:00", "2024-03-30 22:00", "2024-03-31 21:00", id="no midnight"
        ),
        # Beirut repeats 23:00 of 26 October 2024; the 27th begins after both.
        pytest.param(
            "Asia/Beirut", "day", "2024-10-26 21:30", "2024-10-25 21:00", "2024-10-26 22:00", id="23:30 twice"
        ),
        # Apia had no 30 December 2011.
        pytest.param("Pacific/Apia", "day", "2011-12-30 09:59", "2011-12-29 10:00", "2011-12-30 10:00", id="the 29th"),
        pytest.param("Pacific/Apia", "day", "2011-12-30 10:00", "2011-12-30 10:00", "2011-12-31 10:00", id="the 31st"),
        # St John's went back from 00:01 to 23:01 (6 November 2011, 02:31 UTC): its 6th had begun a minute before.
        pytest.param("America/St_Johns", "day", "2011-11-06 03:00", "2011-11-06 02:30", "2011-11-07 03:30", id="00:01"),
        # Caracas moved from 02:30 to 03:00 on 1 May 2016 (07:00 UTC): half an hour of two o'clock.
        pytest.param(
            "America/Caracas", "hour", "2016-05-01 06:45", "2016-05-01 06:30", "2016-05-01 07:00", id="30 minutes"
        ),
    ],
)
def test_bucket_starts_and_ends(zone: str, size: BucketSize, instant: str, start: str, end: str) -> None:
    assert bucket_start(utc(instant) + 999_999, zone, size) == utc(start)
    assert bucket_end(utc(start), zone, size) == utc(end)


@pytest.mark.parametrize(
    ("zone", "size", "instant", "named"),
    [
        pytest.param("Asia/Kolkata", "day", "2024-04-30 18:30", "2024-05-01", id="a day"),
        pytest.param("Asia/Kolkata", "day", "2024-04-30 18:29", "2024-04-30", id="the day before"),
        pytest.param("Asia/Kolkata", "week", "2024-05-05 18:29", "2024-04-29", id="a week, by its Monday"),
        pytest.param("Asia/Beirut", "day", "2024-03-31 10:00", "2024-03-31", id="no midnight"),
        # The clock reads 23:30 of the 5th again; the 6th has begun.
        pytest.param("America/St_Johns", "day", "2011-11-06 03:00", "2011-11-06", id="not what the clock reads"),
    ],
)
def test_a_bucket_is_called_by_the_date_on_which_it_begins(
    zone: str, size: BucketSize, instant: str, named: str
) -> None:
    assert bucket_date(bucket_start(utc(instant), zone, size), zone).isoformat() == named


def test_union_counts_time_once() -> None:
    assert union([(5, 9), (0, 3), (3, 4), (6, 7), (8, 12)]) == [(0, 4), (5, 12)]


def test_peak_is_half_open() -> None:
    assert peak([(0, 10), (10, 20)]) == 1
    assert peak([(0, 10), (9, 20), (9, 11)]) == 3
    assert peak([]) == 0


def test_quantiles_interpolate() -> None:
    assert quantile([], Fraction(1, 2)) is None
    assert quantile([SECOND], Fraction(9, 10)) == 1
    assert quantile([0, 10 * SECOND], Fraction(9, 10)) == 9
    assert quantile([1, 2, 4], Fraction(1, 2)) == Fraction(2, SECOND)


DAY = "2024-05-01"


def event(number: int, person: str, camera: str, what: str, at: str, end: str | None = None) -> Event:
    return Event(
        event_id=UUID(int=number),
        person_id=person,
        camera_id=camera,
        event_type=what,  # type: ignore[arg-type]
        time=utc(f"{DAY} {at}"),
        end=None if end is None else utc(f"{DAY} {end}"),
    )


LIST = {
    "door": Camera("door", "mall", "Asia/Kolkata"),
    "till": Camera("till", "mall", "Asia/Kolkata"),
    "yard": Camera("yard", "farm", "UTC"),
}


def rows(*events: Event, level: Level = "camera", size: BucketSize = "hour") -> dict[tuple[str, int], Measures]:
    store = Store(events, LIST, Parameters(excluded_ids=("guard",)))
    return buckets_of(store, history_of(store), level, size)


def test_an_hour_at_a_camera() -> None:
    found = rows(
        event(1, "ann", "yard", "entry", "10:00:00"),
        event(2, "ann", "yard", "entry", "10:00:30"),  # repeat: an event, no entry
        event(3, "ann", "yard", "exit", "10:10:00"),
        event(4, "bob", "yard", "entry", "10:05:00"),
        event(5, "bob", "yard", "exit", "11:20:00"),
        event(6, "-1", "yard", "entry", "10:20:00"),  # an event and an entry, nobody's visit
        event(7, "eve", "yard", "other", "10:30:00"),  # an event and a visitor
        event(8, "guard", "yard", "entry", "10:31:00"),  # nothing
    )
    ten = found["yard", utc(f"{DAY} 10:00")]
    assert ten == Measures(
        events=6,
        entries=3,
        exits=1,
        unique_visitors=3,
        sessions_started=2,
        completed_sessions=2,
        dwell_seconds_total=Fraction(600 + 4500),
        dwell_seconds_avg=Fraction(2550),
        dwell_seconds_median=Fraction(2550),
        dwell_seconds_p90=Fraction(600) + Fraction(9, 10) * 3900,
        dwell_seconds_max=Fraction(4500),
        occupied_seconds=Fraction(600 + 55 * 60),
        avg_occupancy=Fraction(600 + 55 * 60, 3600),
        peak_occupancy=2,
    )
    eleven = found["yard", utc(f"{DAY} 11:00")]
    assert (eleven.events, eleven.unique_visitors, eleven.occupied_seconds) == (1, 1, 1200)
    assert eleven.dwell_seconds_total == 0
    assert eleven.dwell_seconds_avg is eleven.dwell_seconds_median is eleven.dwell_seconds_max is None
    assert set(found) == {("yard", utc(f"{DAY} {hour}")) for hour in ("10:00", "11:00")}


def test_an_hour_without_events_is_stored_when_somebody_is_inside() -> None:
    found = rows(event(1, "ann", "yard", "entry", "09:59:00"), event(2, "ann", "yard", "exit", "12:00:00"))
    assert [start for _, start in sorted(found)] == [utc(f"{DAY} {hour}:00") for hour in ("09", "10", "11", "12")]
    assert found["yard", utc(f"{DAY} 11:00")].occupied_seconds == 3600
    assert found["yard", utc(f"{DAY} 11:00")].unique_visitors == 1
    # The exit at 12:00:00 falls into the twelfth hour, the stay does not.
    assert found["yard", utc(f"{DAY} 12:00")].occupied_seconds == 0
    assert found["yard", utc(f"{DAY} 12:00")].exits == 1


def test_a_zero_length_session_adds_no_occupancy() -> None:
    found = rows(event(1, "ann", "yard", "appearance", "10:00:00", "10:00:00"))
    ten = found["yard", utc(f"{DAY} 10:00")]
    assert (ten.completed_sessions, ten.occupied_seconds, ten.peak_occupancy, ten.dwell_seconds_max) == (1, 0, 0, 0)


def test_one_person_in_front_of_two_cameras_is_one_person() -> None:
    line = (
        event(1, "ann", "door", "appearance", "10:00:00", "10:10:00"),
        event(2, "ann", "till", "appearance", "10:05:00", "10:20:00"),
        event(3, "bob", "till", "appearance", "10:20:00", "10:25:00"),
        event(4, "ann", "yard", "appearance", "10:05:00", "10:06:00"),
    )
    found = rows(*line, level="site", size="day")
    mall = found["mall", utc("2024-04-30 18:30")]
    assert (mall.unique_visitors, mall.peak_occupancy, mall.occupied_seconds) == (2, 1, 25 * 60)
    assert mall.dwell_seconds_total == (10 + 15 + 5) * 60
    assert found["farm", utc(f"{DAY} 00:00")].occupied_seconds == 60
    # Overlapping intervals of one person at one camera count once as well.
    overlapping = (
        event(1, "a", "yard", "appearance", "10:00", "10:30"),
        event(2, "a", "yard", "appearance", "10:20", "10:40"),
    )
    ten = rows(*overlapping)["yard", utc(f"{DAY} 10:00")]
    assert (ten.occupied_seconds, ten.peak_occupancy, ten.dwell_seconds_total) == (2400, 1, 3000)


def test_a_week_is_no_sum_of_its_days() -> None:
    # Kolkata's week begins on Sunday, 18:30 UTC. One person on two of its days, inside over a midnight of its own.
    sunday, monday = Event(UUID(int=1), "ann", "door", "other", utc("2024-05-05 18:29")), utc("2024-05-05 18:30")
    line = (
        Event(UUID(int=2), "ann", "door", "appearance", monday, monday + HOUR),
        Event(UUID(int=3), "ann", "till", "appearance", monday + 23 * HOUR, monday + 25 * HOUR),
    )
    found = rows(sunday, *line, level="site", size="week")
    assert found.keys() == {("mall", monday - 7 * 24 * HOUR), ("mall", monday)}
    week = found["mall", monday]
    assert (week.events, week.unique_visitors, week.completed_sessions) == (2, 1, 2)
    assert (week.occupied_seconds, week.peak_occupancy) == (3 * 3600, 1)
    assert week.avg_occupancy == Fraction(3, 7 * 24)
    assert week.dwell_seconds_median == Fraction(3, 2) * 3600


def test_an_unlisted_camera_belongs_to_its_subfolder_or_to_default() -> None:
    unlisted = Event(UUID(int=1), "ann", "north/door", "entry", 0, file_site="north")
    top_level = Event(UUID(int=2), "ann", "hall/door", "entry", 0)
    store = Store((unlisted, top_level), LIST, Parameters(default_timezone="Asia/Kolkata"))
    assert store.site_of_camera() == {"north/door": "north", "hall/door": "default"}
    known = dataclasses.replace(store, barren_subfolders=frozenset({"hall"}))
    assert known.site_of_camera() == {"north/door": "north", "hall/door": "hall"}
    assert set(buckets_of(store, history_of(store), "site", "day")) == {
        ("north", -5 * HOUR - 30 * MINUTE),
        ("default", -5 * HOUR - 30 * MINUTE),
    }
