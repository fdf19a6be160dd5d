"""Buckets: where they begin and end on a local clock, and what each measure counts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.modelling import Models, Signal, at, stay
from warehouse.connections import Warehouse


@pytest.fixture
def models(warehouse: Warehouse) -> Iterator[Models]:
    models = Models(warehouse)
    yield models
    models.close()


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


@pytest.mark.parametrize(
    ("zone", "start", "end", "hours"),
    [
        pytest.param(
            "Asia/Kathmandu",
            "2024-05-01 10:00:00",
            "2024-05-01 11:30:00",
            [("01 09:15", "01 10:15", 900), ("01 10:15", "01 11:15", 3600), ("01 11:15", "01 12:15", 900)],
            id="a zone 45 minutes off the hour",
        ),
        pytest.param(
            "America/New_York",
            "2024-11-03 05:30:00",
            "2024-11-03 07:10:00",
            [("03 05:00", "03 06:00", 1800), ("03 06:00", "03 07:00", 3600), ("03 07:00", "03 08:00", 600)],
            id="one o'clock twice",
        ),
        pytest.param(
            "Australia/Lord_Howe",
            "2024-04-06 13:30:00",
            "2024-04-06 15:40:00",
            [("06 13:00", "06 14:00", 1800), ("06 14:00", "06 15:30", 5400), ("06 15:30", "06 16:30", 600)],
            id="an hour of 90 minutes",
        ),
        pytest.param(
            "America/Caracas",
            "2016-05-01 05:45:00",
            "2016-05-01 07:15:00",
            [("01 05:30", "01 06:30", 2700), ("01 06:30", "01 07:00", 1800), ("01 07:00", "01 08:00", 900)],
            id="an hour of 30 minutes",
        ),
    ],
)
def test_hours_on_a_local_clock(
    models: Models, zone: str, start: str, end: str, hours: list[tuple[str, str, float]]
) -> None:
    models.set_cameras(camera("CAM", "shop", zone))
    models.run()
    models.load(stay("p", "CAM", start, (at(end) - at(start)).total_seconds()))
    models.run()
    assert spans(models.records("camera_hourly", "bucket_start")) == hours
    models.run("--full-refresh")
    assert spans(models.records("camera_hourly", "bucket_start")) == hours
    for row in models.records("camera_hourly"):
        length = (row["bucket_end"] - row["bucket_start"]).total_seconds()
        assert row["avg_occupancy"] == row["occupied_seconds"] / length


@pytest.mark.parametrize(
    ("zone", "start", "end", "days"),
    [
        pytest.param(
            "America/New_York",
            "2024-11-03 00:00:00",
            "2024-11-04 06:00:00",
            [("02 04:00", "03 04:00", 14400), ("03 04:00", "04 05:00", 90000), ("04 05:00", "05 05:00", 3600)],
            id="25 hours",
        ),
        pytest.param(
            "Asia/Beirut",
            "2024-03-30 21:00:00",
            "2024-03-31 22:00:00",
            [("29 22:00", "30 22:00", 3600), ("30 22:00", "31 21:00", 82800), ("31 21:00", "01 21:00", 3600)],
            id="a day without midnight",
        ),
        pytest.param(
            "Pacific/Apia",
            "2011-12-30 09:00:00",
            "2011-12-30 12:00:00",
            [("29 10:00", "30 10:00", 3600), ("30 10:00", "31 10:00", 7200)],
            id="a date that never was",
        ),
        pytest.param(
            "America/St_Johns",
            "2011-11-06 02:00:00",
            "2011-11-06 03:00:00",
            [("05 02:30", "06 02:30", 1800), ("06 02:30", "07 03:30", 1800)],
            id="back over midnight",
        ),
    ],
)
def test_days_on_a_local_clock(
    models: Models, zone: str, start: str, end: str, days: list[tuple[str, str, float]]
) -> None:
    models.set_parameters(max_session_hours=48)
    models.set_cameras(camera("CAM", "shop", zone))
    models.run()
    models.load(stay("p", "CAM", start, (at(end) - at(start)).total_seconds()))
    models.run()
    assert spans(models.records("site_daily", "bucket_start")) == days
    models.run("--full-refresh")
    assert spans(models.records("site_daily", "bucket_start")) == days


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
