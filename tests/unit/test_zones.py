"""Local times as instants: summer time both ways, odd zones, far dates; against datetime's own arithmetic."""

# ruff: noqa: DTZ001 - what a local clock shows has no zone

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from validation.timestamps import DateOrder, Localised, localise, parse
from validation.zones import LATEST, instants, is_zone, zone

EPOCH = datetime(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)
NEW_YORK = "America/New_York"


def wall(*moments: datetime) -> np.ndarray:
    return np.array([(moment - EPOCH) // MICROSECOND for moment in moments], dtype=np.int64)


def local(starts: Sequence[str], ends: Sequence[str] | None = None, zone_name: str = NEW_YORK) -> Localised:
    columns = [parse(pa.array(texts), DateOrder.DMY) if texts is not None else None for texts in (starts, ends)]
    return localise(columns[0], columns[1], [zone_name], np.zeros(len(starts), np.int64))


def shown(micros: np.ndarray | None) -> list[str]:
    assert micros is not None
    return [(EPOCH + timedelta(microseconds=int(value))).isoformat(sep=" ") for value in micros]


def test_a_zone_is_known_by_its_exact_name() -> None:
    assert all(
        map(is_zone, ["UTC", "Europe/Paris", NEW_YORK, "Asia/Kolkata", "America/Argentina/Ushuaia", "Etc/GMT+5"])
    )
    for name in [
        "",
        "utc",
        "europe/paris",
        "America",
        "../UTC",
        "/etc/localtime",
        "localtime",
        "UTC+1",
        "Europe/Paris ",
    ]:
        assert not is_zone(name)
        with pytest.raises(ValueError, match="not the name of a time zone"):
            zone(name)


def test_the_repeated_hour_is_its_first_occurrence() -> None:
    times = local(["2016-11-06 00:59:59", "2016-11-06 01:00:00", "2016-11-06 01:59:59.999999", "2016-11-06 02:00:00"])
    assert shown(times.start) == [
        "2016-11-06 04:59:59",
        "2016-11-06 05:00:00",
        "2016-11-06 05:59:59.999999",
        "2016-11-06 07:00:00",
    ]
    assert times.repeated.tolist() == [False, True, True, False]
    assert not times.skipped.any()
    assert times.end is None


def test_the_skipped_hour_is_shifted_forward_by_the_gap() -> None:
    times = local(["2016-03-13 01:59:59", "2016-03-13 02:00:00", "2016-03-13 02:30:00", "2016-03-13 03:00:00"])
    assert shown(times.start) == [
        "2016-03-13 06:59:59",
        "2016-03-13 07:00:00",  # 03:00 in summer time
        "2016-03-13 07:30:00",  # 03:30
        "2016-03-13 07:00:00",
    ]
    assert times.skipped.tolist() == [False, True, True, False]
    assert not times.repeated.any()


@pytest.mark.parametrize(
    ("start", "end", "instants_", "repeated"),
    [
        # a ride of the Citi Bike data: 1,116 seconds, not minus 2,484
        ("2016-11-06 01:45:28", "2016-11-06 01:04:04", ("2016-11-06 05:45:28", "2016-11-06 06:04:04"), True),
        # both in the hour and in order: both are the first
        ("2016-11-06 01:04:04", "2016-11-06 01:45:28", ("2016-11-06 05:04:04", "2016-11-06 05:45:28"), True),
        ("2016-11-06 01:30:00", "2016-11-06 01:30:00", ("2016-11-06 05:30:00", "2016-11-06 05:30:00"), True),
        # only the end is in it
        ("2016-11-06 00:50:00", "2016-11-06 01:10:00", ("2016-11-06 04:50:00", "2016-11-06 05:10:00"), True),
        # only the start is
        ("2016-11-06 01:50:00", "2016-11-06 02:10:00", ("2016-11-06 05:50:00", "2016-11-06 07:10:00"), True),
        # negative either way: the first
        ("2016-11-06 02:10:00", "2016-11-06 01:50:00", ("2016-11-06 07:10:00", "2016-11-06 05:50:00"), True),
        # one side is an instant already
        ("2016-11-06T06:20:00Z", "2016-11-06 01:30:00", ("2016-11-06 06:20:00", "2016-11-06 06:30:00"), True),
        ("2016-11-06T06:30:00Z", "2016-11-06 01:30:00", ("2016-11-06 06:30:00", "2016-11-06 06:30:00"), True),
        ("2016-11-06T06:31:00Z", "2016-11-06 01:30:00", ("2016-11-06 06:31:00", "2016-11-06 05:30:00"), True),
        ("2016-11-06 01:30:00", "2016-11-06T05:20:00Z", ("2016-11-06 05:30:00", "2016-11-06 05:20:00"), True),
        ("2016-11-06 01:30:00", "2016-11-06T06:45:00Z", ("2016-11-06 05:30:00", "2016-11-06 06:45:00"), True),
        (
            "2016-11-06T01:30:00-05:00",
            "2016-11-06T01:45:00-05:00",
            ("2016-11-06 06:30:00", "2016-11-06 06:45:00"),
            False,
        ),
        # an end that cannot be read changes nothing
        ("2016-11-06 01:45:28", "never", ("2016-11-06 05:45:28", "1970-01-01 00:00:00"), True),
        ("never", "2016-11-06 01:30:00", ("1970-01-01 00:00:00", "2016-11-06 05:30:00"), True),
    ],
)
def test_only_an_end_is_ever_the_second_occurrence(
    start: str, end: str, instants_: tuple[str, str], repeated: bool
) -> None:
    times = local([start], [end])
    assert (*shown(times.start), *shown(times.end)) == instants_
    assert times.repeated.tolist() == [repeated]


def test_an_interval_across_the_gap() -> None:
    times = local(["2016-03-13 01:50:00", "2016-03-13 02:50:00"], ["2016-03-13 02:10:00", "2016-03-13 03:20:00"])
    assert shown(times.start) == ["2016-03-13 06:50:00", "2016-03-13 07:50:00"]
    # The start in the gap is moved past an end that is not in it: such an interval ends before it starts.
    assert shown(times.end) == ["2016-03-13 07:10:00", "2016-03-13 07:20:00"]
    assert times.skipped.tolist() == [True, True]


def test_lord_howe_shifts_by_half_an_hour() -> None:
    times = local(
        ["2016-04-03 01:29:59", "2016-04-03 01:30:00", "2016-04-03 01:59:59", "2016-04-03 02:00:00"],
        ["2016-04-03 01:45:00", "2016-04-03 01:31:00", "2016-04-03 01:40:00", "2016-04-03 02:00:00"],
        "Australia/Lord_Howe",
    )
    assert shown(times.start) == [f"2016-04-02 {at}" for at in ("14:29:59", "14:30:00", "14:59:59", "15:30:00")]
    assert shown(times.end) == [f"2016-04-02 {at}" for at in ("14:45:00", "14:31:00", "15:10:00", "15:30:00")]
    spring = local(["2016-10-02 02:00:00", "2016-10-02 02:29:59", "2016-10-02 02:30:00"], None, "Australia/Lord_Howe")
    assert shown(spring.start) == [f"2016-10-01 {at}" for at in ("15:30:00", "15:59:59", "15:30:00")]
    assert spring.skipped.tolist() == [True, True, False]


def test_apia_skipped_a_whole_day() -> None:
    times = local(["2011-12-29 23:59:59", "2011-12-30 10:00:00", "2011-12-31 10:00:00"], None, "Pacific/Apia")
    assert shown(times.start) == ["2011-12-30 09:59:59", "2011-12-30 20:00:00", "2011-12-30 20:00:00"]
    assert times.skipped.tolist() == [False, True, False]


def test_each_row_is_local_to_its_own_zone() -> None:
    texts = ["2016-07-01 12:00"] * 4 + ["2016-07-01T12:00Z"]
    times = localise(
        parse(pa.array(texts), DateOrder.DMY),
        None,
        ["Asia/Kolkata", NEW_YORK, "UTC", "Asia/Kathmandu"],
        np.array([1, 0, 3, 2, 0]),
    )
    assert [moment[11:16] for moment in shown(times.start)] == ["16:00", "06:30", "06:15", "12:00", "12:00"]


def test_far_dates_follow_the_standing_rule_and_the_ends_of_time_are_kept() -> None:
    summer, winter = wall(datetime(2750, 7, 1, 12), datetime(2750, 1, 1, 12))
    found = instants(np.array([summer, winter]), NEW_YORK)
    assert ((found.first - [summer, winter]) // 3_600_000_000).tolist() == [4, 5]
    ends = instants(wall(datetime(9999, 12, 31, 23, 59), datetime(1, 1, 1)), NEW_YORK)
    assert ends.first[0] == LATEST
    assert ends.first[1] > wall(datetime(1, 1, 1))[0]
    assert instants(wall(datetime(1, 1, 1)), "Asia/Tokyo").first[0] == wall(datetime(1, 1, 1))[0]
    assert instants(wall(), NEW_YORK).first.size == 0


zones = st.sampled_from(
    [
        *(NEW_YORK, "Europe/London", "Europe/Dublin", "Europe/Paris", "Asia/Kolkata", "Asia/Tehran", "Asia/Gaza"),
        *("Australia/Lord_Howe", "Australia/Sydney", "America/Santiago", "Africa/Casablanca", "Africa/Monrovia"),
        *("Pacific/Apia", "Pacific/Kwajalein", "America/Caracas", "Antarctica/Troll", "UTC", "America/Nuuk"),
    ]
)
plausible = st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1))
# Most changes of clocks are made on Sundays before four in the morning.
sundays = st.builds(
    lambda week, second: datetime(1995, 1, 1) + timedelta(weeks=week, seconds=second),
    st.integers(0, 52 * 45),
    st.integers(-3600, 4 * 3600),
)


@settings(max_examples=300)
@given(st.lists(plausible | sundays, min_size=1, max_size=20), zones)
def test_both_readings_are_those_of_datetime(moments: list[datetime], name: str) -> None:
    found = instants(wall(*moments), name)
    for fold, micros in enumerate(found):
        expected = [moment.replace(tzinfo=zone(name), fold=fold).astimezone(UTC) for moment in moments]
        assert micros.tolist() == wall(*(moment.replace(tzinfo=None) for moment in expected)).tolist()


# The calendar repeats every 400 years, which are 146,097 days.
far_sundays = st.builds(lambda moment, turns: moment + timedelta(days=146_097 * turns), sundays, st.integers(1, 19))


@settings(max_examples=100)
@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)) | far_sundays, zones, st.sampled_from([0, 1]))
def test_so_they_are_in_any_year(moment: datetime, name: str, fold: int) -> None:
    expected = moment.replace(tzinfo=zone(name), fold=fold).astimezone(UTC).replace(tzinfo=None)
    assert instants(wall(moment), name)[fold].tolist() == wall(expected).tolist()


@settings(max_examples=300)
@given(st.lists(st.tuples(sundays, st.integers(-7200, 7200)), min_size=1, max_size=20), zones)
def test_the_rule_for_intervals_against_the_rule_in_words(pairs: list[tuple[datetime, int]], name: str) -> None:
    starts, ends = [start for start, _ in pairs], [start + timedelta(seconds=length) for start, length in pairs]
    times = local([str(start) for start in starts], [str(end) for end in ends], name)
    assert times.end is not None

    def first_and_second(moment: datetime) -> tuple[int, int]:
        aware = (moment.replace(tzinfo=zone(name), fold=fold).astimezone(UTC) for fold in (0, 1))
        first, second = ((instant.replace(tzinfo=None) - EPOCH) // MICROSECOND for instant in aware)
        return first, second

    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        starts_at, (first, second) = first_and_second(start), first_and_second(end)
        ends_at = second if first < starts_at[0] <= second else first
        assert (times.start[row], times.end[row]) == (starts_at[0], ends_at)
        assert times.repeated[row] == (starts_at[0] < starts_at[1] or first < second)
        assert times.skipped[row] == (starts_at[0] > starts_at[1] or first > second)


def test_the_rides_of_a_real_november_last_as_long_as_their_operator_says(public_data: Path) -> None:
    with (public_data / "JC-201611-citibike-tripdata.csv").open(encoding="utf-8") as file:
        rides = list(csv.DictReader(file))
    times = local([ride["Start Time"] for ride in rides], [ride["Stop Time"] for ride in rides])
    assert times.end is not None
    seconds = (times.end - times.start) // 1_000_000
    published = np.array([int(ride["Trip Duration"]) for ride in rides])
    assert len(rides) == 21_832
    assert published.sum() == 18_052_099
    assert set((seconds - published).tolist()) == {0, 1}
    known = next(row for row, ride in enumerate(rides) if ride["Start Time"] == "2016-11-06 01:45:28")
    assert seconds[known] == 1_116
    assert times.repeated.any()
    assert not times.skipped.any()
