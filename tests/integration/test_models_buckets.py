"""Buckets: where they begin and end on a local clock, and what each measure counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.rows import tuple_row

from tests.integration.modelling import Models, Signal, at, stay, unchanged

SECOND = timedelta(seconds=1)


def camera(camera_id: str, site_id: str, timezone: str) -> dict[str, Any]:
    return {"camera_id": camera_id, "site_id": site_id, "timezone": timezone}


def spans(rows: list[dict[str, Any]], measure: str = "occupied_seconds") -> list[tuple[str, str, float]]:
    def text(instant: datetime) -> str:
        return instant.astimezone(UTC).strftime("%d %H:%M")

    return [(text(row["bucket_start"]), text(row["bucket_end"]), row[measure]) for row in rows]


def test_what_each_measure_counts(models: Models) -> None:
    models.load(
        [
            *stay("a", "CAM-1", "2024-05-01 10:10:00", 600),
            Signal("a", "CAM-1", "exit", at("2024-05-01 10:20:30")),  # a repeat
            *stay("b", "CAM-1", "2024-05-01 10:15:00", 6 * 3600),  # inside until 16:15
            *stay("c", "CAM-1", "2024-05-01 10:20:00", 1800),  # comes as a leaves
            *stay("d", "CAM-1", "2024-05-01 10:59:00"),  # never leaves
            *stay("e", "CAM-1", "2024-05-01 12:00:00", 0),
            Signal("f", "CAM-1", "exit", at("2024-05-01 10:30:00")),
            Signal("g", "CAM-1", "other", at("2024-05-01 10:31:00")),
            Signal("unknown", "CAM-1", "entry", at("2024-05-01 10:32:00")),
        ]
    )
    models.build()
    hours = {row["bucket_start"].astimezone(UTC).hour: row for row in models.records("camera_hourly", "bucket_start")}
    assert list(hours) == [10, 11, 12, 13, 14, 15, 16]
    ten = hours[10]
    assert (ten["events"], ten["entries"], ten["exits"]) == (10, 5, 3)
    assert ten["unique_visitors"] == 6  # a b c d f g, of whom g only loiters
    assert (ten["sessions_started"], ten["completed_sessions"]) == (4, 3)
    assert ten["dwell_seconds_total"] == 600 + 21600 + 1800
    assert ten["dwell_seconds_avg"] == 8000
    assert ten["dwell_seconds_median"] == 1800
    assert ten["dwell_seconds_p90"] == pytest.approx(1800 + 0.8 * (21600 - 1800))
    assert ten["dwell_seconds_max"] == 21600
    assert ten["occupied_seconds"] == 600 + 45 * 60 + 1800
    assert ten["avg_occupancy"] == 5100 / 3600
    assert ten["peak_occupancy"] == 2
    thirteen = hours[13]  # nothing happens, b is inside
    assert (thirteen["events"], thirteen["unique_visitors"], thirteen["sessions_started"]) == (0, 1, 0)
    assert thirteen["dwell_seconds_total"] == 0
    assert [thirteen[f"dwell_seconds_{name}"] for name in ("avg", "median", "p90", "max")] == [None] * 4
    assert (thirteen["occupied_seconds"], thirteen["avg_occupancy"], thirteen["peak_occupancy"]) == (3600, 1, 1)
    twelve = hours[12]  # e's stay of no time is a session, but occupies nothing
    assert (twelve["completed_sessions"], twelve["dwell_seconds_max"], twelve["peak_occupancy"]) == (1, 0, 1)
    (day,) = models.records("site_daily")
    assert day["unique_visitors"] == 7
    assert day["occupied_seconds"] == pytest.approx(sum(hour["occupied_seconds"] for hour in hours.values()))
    assert day["dwell_seconds_total"] == sum(hour["dwell_seconds_total"] for hour in hours.values())


def test_one_person_is_counted_once_at_a_time(models: Models) -> None:
    noon = at("2024-05-01 12:00:00")

    def interval(camera_id: str, start: int, end: int, person: str = "p") -> Signal:
        return Signal(person, camera_id, "appearance", noon + timedelta(minutes=start), noon + timedelta(minutes=end))

    models.load(
        [
            interval("CAM-1", 0, 20),
            interval("CAM-1", 10, 30),
            interval("CAM-1", 12, 14),
            interval("CAM-2", 25, 40),
            interval("CAM-2", 25, 40, person="q"),
        ]
    )
    models.run()
    measured = {row["camera_id"]: row for row in models.records("camera_hourly", "camera_id")}
    assert (measured["CAM-1"]["occupied_seconds"], measured["CAM-1"]["peak_occupancy"]) == (1800, 1)
    assert (measured["CAM-2"]["occupied_seconds"], measured["CAM-2"]["peak_occupancy"]) == (1800, 2)
    assert measured["CAM-1"]["dwell_seconds_total"] == 2520  # sessions stay as they are
    (day,) = models.records("site_daily")
    assert (day["occupied_seconds"], day["peak_occupancy"], day["unique_visitors"]) == (40 * 60 + 15 * 60, 2, 2)
    assert (day["sessions_started"], day["dwell_seconds_total"]) == (5, 2520 + 1800)


@dataclass(frozen=True)
class OnAClock:
    """A person inside from `start` to `end` (UTC), and the buckets that this makes: bounds (UTC), seconds inside."""

    why: str
    size: str
    zone: str
    start: str
    end: str
    buckets: list[tuple[str, str, float]]
    dates: list[str] = field(default_factory=list)


CLOCKS = [
    OnAClock(
        "a zone 45 minutes off the hour",
        "hourly",
        "Asia/Kathmandu",
        "2024-05-01 10:00:00",
        "2024-05-01 11:30:00",
        [("01 09:15", "01 10:15", 900), ("01 10:15", "01 11:15", 3600), ("01 11:15", "01 12:15", 900)],
    ),
    OnAClock(
        "one o'clock twice",
        "hourly",
        "America/New_York",
        "2024-11-03 05:30:00",
        "2024-11-03 07:10:00",
        [("03 05:00", "03 06:00", 1800), ("03 06:00", "03 07:00", 3600), ("03 07:00", "03 08:00", 600)],
    ),
    OnAClock(
        "an hour of 90 minutes",
        "hourly",
        "Australia/Lord_Howe",
        "2024-04-06 13:30:00",
        "2024-04-06 15:40:00",
        [("06 13:00", "06 14:00", 1800), ("06 14:00", "06 15:30", 5400), ("06 15:30", "06 16:30", 600)],
    ),
    OnAClock(
        "an hour of 30 minutes",
        "hourly",
        "America/Caracas",
        "2016-05-01 05:45:00",
        "2016-05-01 07:15:00",
        [("01 05:30", "01 06:30", 2700), ("01 06:30", "01 07:00", 1800), ("01 07:00", "01 08:00", 900)],
    ),
    OnAClock(
        "25 hours",
        "daily",
        "America/New_York",
        "2024-11-03 00:00:00",
        "2024-11-04 06:00:00",
        [("02 04:00", "03 04:00", 14400), ("03 04:00", "04 05:00", 90000), ("04 05:00", "05 05:00", 3600)],
        ["2024-11-02", "2024-11-03", "2024-11-04"],
    ),
    OnAClock(
        "a day without midnight",
        "daily",
        "Asia/Beirut",
        "2024-03-30 21:00:00",
        "2024-03-31 22:00:00",
        [("29 22:00", "30 22:00", 3600), ("30 22:00", "31 21:00", 82800), ("31 21:00", "01 21:00", 3600)],
        ["2024-03-30", "2024-03-31", "2024-04-01"],
    ),
    OnAClock(
        "a date that never was",
        "daily",
        "Pacific/Apia",
        "2011-12-30 09:00:00",
        "2011-12-30 12:00:00",
        [("29 10:00", "30 10:00", 3600), ("30 10:00", "31 10:00", 7200)],
        ["2011-12-29", "2011-12-31"],
    ),
    OnAClock(
        "back over midnight",
        "daily",
        "America/St_Johns",
        "2011-11-06 02:00:00",
        "2011-11-06 03:00:00",
        [("05 02:30", "06 02:30", 1800), ("06 02:30", "07 03:30", 1800)],
        ["2011-11-05", "2011-11-06"],
    ),
    OnAClock(
        "over New Year, into the first week of 2025 as ISO counts",
        "weekly",
        "Europe/Berlin",
        "2024-12-29 22:00:00",
        "2025-01-06 01:00:00",
        [("22 23:00", "29 23:00", 3600), ("29 23:00", "05 23:00", 7 * 86400), ("05 23:00", "12 23:00", 7200)],
        ["2024-12-23", "2024-12-30", "2025-01-06"],
    ),
    OnAClock(
        "Monday comes earlier in Tokyo",
        "weekly",
        "Asia/Tokyo",
        "2024-12-29 14:00:00",
        "2024-12-29 16:00:00",
        [("22 15:00", "29 15:00", 3600), ("29 15:00", "05 15:00", 3600)],
        ["2024-12-23", "2024-12-30"],
    ),
    OnAClock(
        "167 hours",
        "weekly",
        "America/New_York",
        "2024-03-04 05:00:00",
        "2024-03-11 05:00:00",
        [("04 05:00", "11 04:00", 167 * 3600), ("11 04:00", "18 04:00", 3600)],
        ["2024-03-04", "2024-03-11"],
    ),
    OnAClock(
        "169 hours",
        "weekly",
        "Europe/Berlin",
        "2024-10-27 22:30:00",
        "2024-10-27 23:30:00",
        [("20 22:00", "27 23:00", 1800), ("27 23:00", "03 23:00", 1800)],
        ["2024-10-21", "2024-10-28"],
    ),
]


def test_buckets_on_local_clocks(models: Models) -> None:
    models.set_cameras(*(camera(each.why, f"site of {each.why}", each.zone) for each in CLOCKS))
    models.run()
    models.load(Signal("p", each.why, "appearance", at(each.start), at(each.end)) for each in CLOCKS)
    models.run()
    for each in CLOCKS:
        for place in ("camera", "site"):
            rows = [
                row
                for row in models.records(f"{place}_{each.size}", "bucket_start")
                if row[f"{place}_id"].endswith(each.why)
            ]
            assert spans(rows) == each.buckets, each.why
            assert [row["bucket_date"].isoformat() for row in rows if "bucket_date" in row] == each.dates, each.why
            for row in rows:
                length = (row["bucket_end"] - row["bucket_start"]).total_seconds()
                assert row["avg_occupancy"] == row["occupied_seconds"] / length, each.why
    with unchanged(models.warehouse):
        models.build("--full-refresh")


def test_every_size_of_bucket_measures_the_same_history(models: Models) -> None:
    models.set_cameras(camera("A", "shop", "Europe/Berlin"), camera("B", "shop", "Europe/Berlin"))
    models.load(
        [
            *stay("p", "A", "2024-05-01 10:00:00", 5400),
            *stay("p", "B", "2024-05-01 11:00:00", 3600),  # in front of both until 11:30
            *stay("q", "A", "2024-05-01 10:30:00", 600),
            *stay("q", "A", "2024-05-02 21:30:00", 3600),  # over midnight
            *stay("r", "B", "2024-05-05 21:59:00", 120),  # over midnight, into Monday
        ]
    )
    models.build()

    def told(table: str, *measures: str) -> list[tuple[Any, ...]]:
        return models.rows(table, ", ".join(measures), "bucket_start")

    hours = told("site_hourly", "unique_visitors", "completed_sessions", "occupied_seconds", "peak_occupancy")
    assert hours == [
        (2, 2, 4200, 2),
        (1, 1, 3600, 1),
        (1, 0, 0, 0),  # p leaves
        (1, 1, 1800, 1),
        (1, 0, 1800, 1),
        (1, 1, 60, 1),
        (1, 0, 60, 1),
    ]
    days = told("camera_daily", "camera_id", "bucket_date::text", "unique_visitors", "occupied_seconds")
    assert sorted(days) == [
        ("A", "2024-05-01", 2, 6000),
        ("A", "2024-05-02", 1, 1800),
        ("A", "2024-05-03", 1, 1800),
        ("B", "2024-05-01", 1, 3600),
        ("B", "2024-05-05", 1, 60),
        ("B", "2024-05-06", 1, 60),
    ]
    weeks = told(
        "site_weekly", "bucket_date::text", "events", "unique_visitors", "dwell_seconds_median", "occupied_seconds"
    )
    assert weeks == [("2024-04-29", 9, 3, 3600, 2 * 3600 + 600 + 3600 + 60), ("2024-05-06", 1, 1, None, 60)]


def test_age_groups_and_genders(models: Models) -> None:
    noon = at("2024-05-01 12:00:00")
    ages = (0, 17, 18, 24, 25, 34, 35, 44, 45, 54, 55, 64, 65, 120, None)
    models.load(
        [
            *(Signal(f"aged {age}", "CAM", "other", noon, age=age, gender="f") for age in ages),
            Signal("told", "CAM", "other", noon, age=30, age_group="Adult"),
        ]
    )
    models.build()
    counted = {(age_group, gender): events for age_group, gender, events in _groups(models, "events")}
    bands = ("under 18", "18-24", "25-34", "35-44", "45-54", "55-64", "65+")
    assert counted == {**{(band, "f"): 2 for band in bands}, ("unknown", "f"): 1, ("Adult", "unknown"): 1}


def test_a_session_belongs_to_the_group_of_the_event_that_opens_it(models: Models) -> None:
    ten = at("2024-05-01 10:00:00")
    until_next_day = [
        Signal("a", "CAM", "entry", at("2024-05-01 23:00:00"), age_group="young", gender="f"),
        Signal("a", "CAM", "exit", at("2024-05-02 01:00:00"), age_group="old", gender="f"),
    ]
    models.load(
        [
            Signal("a", "CAM", "appearance", ten, ten + timedelta(minutes=20), age_group="young", gender="f"),
            # The same time again: two groups, each of which holds the person once.
            Signal("a", "CAM", "appearance", ten, ten + timedelta(minutes=30), age_group="old", gender="f"),
            Signal("a", "CAM", "appearance", ten, ten + timedelta(minutes=10), age_group="old", gender="f"),
            *until_next_day,
        ]
    )
    models.build()
    measures = "events, exits, unique_visitors, sessions_started, dwell_seconds_total, occupied_seconds, peak_occupancy"
    columns = f"extract(day from bucket_date)::int as day, {measures}"
    assert _groups(models, columns) == [
        ("old", "f", 1, 2, 0, 1, 2, 2400, 1800, 1),
        ("old", "f", 2, 1, 1, 1, 0, 0, 0, 0),
        ("young", "f", 1, 2, 0, 1, 2, 1200 + 7200, 1200 + 3600, 1),
        ("young", "f", 2, 0, 0, 1, 0, 0, 3600, 1),
    ]
    (day, _) = models.records("site_daily", "bucket_start")
    assert (day["unique_visitors"], day["occupied_seconds"]) == (1, 1800 + 3600)

    # A better row of the entry: the session changes its group, on both days, and no time of it changes.
    untouched = models.rows("site_daily")
    models.restate(until_next_day[0], 0.9, age_group="old")
    models.run()
    assert _groups(models, columns) == [
        ("old", "f", 1, 3, 0, 1, 3, 2400 + 7200, 1800 + 3600, 1),
        ("old", "f", 2, 1, 1, 1, 0, 0, 3600, 1),
        ("young", "f", 1, 1, 0, 1, 1, 1200, 1200, 1),
    ]
    assert models.rows("site_daily") == untouched
    with unchanged(models.warehouse):
        models.build("--full-refresh")


def _groups(models: Models, columns: str) -> list[tuple[Any, ...]]:
    return models.rows("demographics_daily", f"age_group, gender, {columns}", "age_group, gender, bucket_start")


def test_an_increment_finds_sessions_of_every_length(models: Models) -> None:
    """Of each class of length one that reaches into the touched hour by a second, and one that ends as it begins."""
    touched = at("2024-05-01 12:00:00")
    models.load(
        [
            Signal(
                f"{hours} h {more} s", "CAM", "appearance", touched - timedelta(hours=hours), touched + more * SECOND
            )
            for hours in (0.5, 1, 1.5, 2, 3, 4, 5, 8, 30, 64, 65, 1000, 8000)
            for more in (0, 1)
        ]
    )
    models.load([Signal("z", "CAM", "other", touched - timedelta(days=3))])
    models.run()
    models.load([Signal("late", "CAM", "other", touched)])
    models.run()
    (hour,) = (row for row in models.records("camera_hourly") if row["bucket_start"] == touched)
    assert (hour["unique_visitors"], hour["peak_occupancy"], hour["occupied_seconds"]) == (14, 13, 13)
    with unchanged(models.warehouse):
        models.run("--full-refresh")


def test_a_later_event_leaves_the_bucket_of_the_last_signal_before_it_alone(models: Models) -> None:
    """That signal's row does change, but in nothing that is measured: what is long past is not measured again."""
    models.load(stay("p", "CAM", "2024-05-01 12:00:00"))
    models.run()
    models.load(stay("p", "CAM", "2024-06-01 12:00:00", 60))
    models.run("--exclude", "camera_hourly")
    with models.warehouse.connect("transformer", row_factory=tuple_row) as connection:
        changes = connection.execute(
            "select event_time from intermediate.int_linked_events_changes order by event_time"
        ).fetchall()
        connection.execute("create temporary table claimed as select max(batch_id) as batch_id from raw.batches")
        connection.execute(models.compile_inline("{{ touch_buckets('camera_id', 'hour') }}"))  # type: ignore[arg-type]
        touched = connection.execute("select bucket_start from touched_keys").fetchall()
    assert changes[0] == (at("2024-05-01 12:00:00"),)
    assert touched == [(at("2024-06-01 12:00:00"),)]


def test_cameras_and_sites(models: Models) -> None:
    models.set_parameters(default_timezone="Europe/Berlin")
    models.set_cameras(
        {**camera("A", "mall", "Asia/Tokyo"), "camera_name": "Door", "zone": "North", "capacity": 40},
        camera("quiet", "mall", "Asia/Tokyo"),
        camera("annex/listed", "mall", "Asia/Tokyo"),
    )
    for name, site in (("A", None), ("B", None), ("hall/B", None), ("annex", None), ("annex/B", "annex")):
        models.load([Signal("p", name, "other", at("2024-05-01 12:00:00"))], site=site)
    models.load([Signal("p", "annex/listed", "other", at("2024-05-01 12:00:00"))], site="annex")
    models.load([Signal("p", "B", "other", at("2024-05-03 12:00:00"))], arrived_at=at("2024-05-02 12:00:00"))
    models.build()
    cameras = models.rows("dim_cameras", "camera_id, camera_name, zone, site_id, timezone, capacity, is_listed")
    assert cameras == [
        ("A", "Door", "North", "mall", "Asia/Tokyo", 40, True),
        ("B", "B", None, "default", "Europe/Berlin", None, False),
        ("annex", "annex", None, "default", "Europe/Berlin", None, False),
        ("annex/B", "annex/B", None, "annex", "Europe/Berlin", None, False),
        ("annex/listed", "annex/listed", None, "mall", "Asia/Tokyo", None, True),
        ("hall/B", "hall/B", None, "default", "Europe/Berlin", None, False),
        ("quiet", "quiet", None, "mall", "Asia/Tokyo", None, True),
    ]
    last = dict(models.rows("dim_cameras", "camera_id, last_event_time"))
    assert last["quiet"] is None
    assert last["B"] == at("2024-05-01 12:00:00")
    sites = models.rows("dim_sites", "site_id, timezone, camera_count")
    assert sites == [("annex", "Europe/Berlin", 1), ("default", "Europe/Berlin", 3), ("mall", "Asia/Tokyo", 3)]


def test_kpis(models: Models) -> None:
    models.load(
        [
            *stay("a", "CAM-1", "2024-05-01 10:00:00", 600),
            *stay("a", "CAM-2", "2024-05-02 10:00:00", 1200),
            *stay("b", "CAM-1", "2024-05-01 10:00:00", 300),
            *stay("c", "CAM-1", "2024-05-01 10:00:00"),
            # Before and after midnight, but one visit: no repeat visitor.
            *stay("b", "CAM-1", "2024-05-02 23:50:00", 900),
            *stay("b", "CAM-1", "2024-05-03 00:35:00", 900),
            Signal("unknown", "CAM-3", "other", at("2024-05-01 10:00:00")),
        ]
    )
    models.build()
    (kpis,) = models.records("kpis")
    total = 600 + 1200 + 300 + 900 + 900
    assert kpis == {
        "unique_visitors": 3,
        "visits": 5,
        "entries": 6,
        "exits": 5,
        "completed_sessions": 5,
        "dwell_seconds_total": total,
        "dwell_seconds_avg_per_person": total / 2,
        "dwell_seconds_avg": total / 5,
        "dwell_seconds_median": 900.0,
        "dwell_seconds_max": 1200.0,
        "events": 12,
        "active_cameras": 3,
        "repeat_visitors": 2,
        "repeat_visitor_share": 2 / 3,
        "sessions": 6,
        "share_without_exit": 1 / 6,
    }


def test_nothing_loaded_gives_empty_tables(models: Models) -> None:
    models.build()
    (kpis,) = models.records("kpis")
    assert (kpis["events"], kpis["unique_visitors"], kpis["repeat_visitor_share"]) == (0, 0, None)
    assert all(models.rows(mart) == [] for mart in ("person_sessions", "camera_hourly", "site_daily", "dim_sites"))
