"""Heat map, live occupancy, dates, files' accounts and headline numbers, on examples worked out by hand."""

from __future__ import annotations

from datetime import date
from typing import Any

from tests.integration.modelling import Models, Signal, at, stay

MINUTE = 60
HOUR = 3600


def heat(models: Models, site: str) -> dict[tuple[int, int], tuple[Any, ...]]:
    """By weekday and hour: hours, events, entries, occupied seconds, average and peak occupancy."""
    columns = "weekday, hour, hours, events, entries, occupied_seconds, avg_occupancy, peak_occupancy, site_id"
    return {row[:2]: row[2:8] for row in models.rows("occupancy_heatmap", columns, "1, 2") if row[8] == site}


def test_heat_map(models: Models) -> None:
    """Berlin goes back an hour on Sunday, 27 October 2024, at 3; Chicago forward on Sunday, 10 March 2024, at 2."""
    models.set_cameras(
        {"camera_id": "B", "site_id": "berlin", "timezone": "Europe/Berlin"},
        {"camera_id": "C", "site_id": "chicago", "timezone": "America/Chicago"},
        {"camera_id": "L", "site_id": "lord howe", "timezone": "Australia/Lord_Howe"},
        {"camera_id": "quiet", "site_id": "quiet", "timezone": "UTC"},
    )
    models.load(
        [
            # From Saturday to Sunday week: two Saturdays and Sundays, one of every other day.
            *stay("p", "B", "2024-10-26 12:30:00+02:00", HOUR),
            *stay("q", "B", "2024-10-26 12:45:00+02:00", 15 * MINUTE),
            *stay("q", "B", "2024-11-02 12:00:00+01:00", HOUR),
            # Over both hours that begin at 2.
            *stay("p", "B", "2024-10-27 02:00:00+02:00", 2 * HOUR),
            Signal("unknown", "B", "other", at("2024-11-03 23:59:59+01:00")),
            *stay("p", "C", "2024-03-10 01:30:00-06:00", HOUR),
            # At 2 its clock goes back by half an hour: the hour that begins at 1 lasts 90 minutes.
            *stay("p", "L", "2024-04-07 01:15:00+11:00", HOUR),
        ]
    )
    models.build()
    berlin = heat(models, "berlin")
    assert len(berlin) == 7 * 24
    assert berlin[6, 12] == (2, 3, 3, 1.75 * HOUR, 1.75 / 2, 2)
    assert berlin[6, 13] == (2, 3, 0, 30 * MINUTE, 0.25, 1)
    assert berlin[7, 2] == (3, 1, 1, 2 * HOUR, 2 / 3, 1)
    assert berlin[7, 3] == (2, 1, 0, 0.0, 0.0, 0)
    assert berlin[7, 23] == (2, 1, 0, 0.0, 0.0, 0)
    assert berlin[1, 9] == (1, 0, 0, 0.0, 0.0, 0)
    chicago = heat(models, "chicago")
    assert {weekday for weekday, _ in chicago} == {7}
    assert sorted(hour for _, hour in chicago) == [0, 1, *range(3, 24)]
    assert chicago[7, 1] == (1, 1, 1, 30 * MINUTE, 0.5, 1)
    assert chicago[7, 3] == (1, 1, 0, 30 * MINUTE, 0.5, 1)
    howe = heat(models, "lord howe")
    assert len(howe) == 24
    assert howe[7, 1] == (1, 2, 1, HOUR, HOUR / (90 * MINUTE), 1)
    assert heat(models, "quiet") == {}


def live(models: Models) -> dict[str, tuple[Any, ...]]:
    """Of each camera and site: persons inside, capacity, newest event."""
    columns = "coalesce(camera_id, 'site ' || site_id), persons_inside, capacity, last_event_time"
    return {row[0]: row[1:] for row in models.rows("live_occupancy", columns)}


def test_live_occupancy(models: Models) -> None:
    models.run()
    assert models.rows("live_occupancy") == []
    models.set_cameras(
        {"camera_id": "A1", "site_id": "a", "timezone": "UTC", "capacity": 10},
        {"camera_id": "A2", "site_id": "a", "timezone": "UTC", "capacity": 5},
        {"camera_id": "B1", "site_id": "b", "timezone": "UTC", "capacity": 7},
        {"camera_id": "B2", "site_id": "b", "timezone": "UTC"},
    )
    models.load(
        [
            *stay("open", "A1", "2024-05-01 11:00:00"),
            *stay("open", "A2", "2024-05-01 11:30:00"),
            *stay("just open", "A1", "2024-05-01 00:00:00"),
            *stay("no longer open", "A1", "2024-04-30 23:59:59"),
            Signal("stays on", "A2", "appearance", at("2024-03-01 00:00:00"), at("2024-05-01 12:00:01")),
            Signal("has left", "A2", "appearance", at("2024-05-01 11:00:00"), at("2024-05-01 12:00:00")),
            Signal("comes", "A2", "appearance", at("2024-05-01 12:00:00"), at("2024-05-01 12:10:00")),
            *stay("gone", "A1", "2024-05-01 11:00:00", 30 * MINUTE),
            Signal("unknown", "B1", "entry", at("2024-05-01 10:00:00")),
            *stay("unlisted", "C", "2024-05-01 09:00:00", 2 * HOUR),
        ],
        arrived_at=at("2024-05-01 12:30:00"),
    )
    # Later than its file's arrival, and nobody's newest event.
    models.load([Signal("p", "B2", "exit", at("2024-05-01 13:00:00"))], arrived_at=at("2024-05-01 12:30:00"))
    models.build()
    assert live(models) == {
        "A1": (2, 10, at("2024-05-01 11:30:00")),
        "A2": (3, 5, at("2024-05-01 12:00:00")),
        "B1": (0, 7, at("2024-05-01 10:00:00")),
        "B2": (0, None, None),
        "C": (0, None, at("2024-05-01 11:00:00")),
        "site a": (4, 15, at("2024-05-01 12:00:00")),
        "site b": (0, None, at("2024-05-01 10:00:00")),
        "site default": (0, None, at("2024-05-01 11:00:00")),
    }
    columns = "level, as_of"
    assert {*models.rows("live_occupancy", columns)} == {
        ("camera", at("2024-05-01 12:00:00")),
        ("site", at("2024-05-01 12:00:00")),
    }


def test_dates(models: Models) -> None:
    models.load(stay("p", "CAM", "2021-01-01 10:00:00", HOUR) + stay("p", "CAM", "2024-12-31 23:30:00", MINUTE))
    models.run()
    dates = {row["date"]: row for row in models.records("dim_dates")}
    assert len(dates) == 365 + 366
    assert (min(dates), max(dates)) == (date(2021, 1, 1), date(2024, 12, 31))
    assert date(2022, 5, 1) not in dates
    assert dates[date(2021, 1, 1)] == {
        "date": date(2021, 1, 1),
        "year": 2021,
        "quarter": 1,
        "month": 1,
        "iso_year": 2020,
        "iso_week": 53,
        "iso_weekday": 5,
        "is_weekend": False,
    }
    last = dates[date(2024, 12, 31)]
    assert (last["quarter"], last["iso_year"], last["iso_week"], last["iso_weekday"]) == (4, 2025, 1, 2)
    assert [dates[date(2024, 6, day)]["is_weekend"] for day in (7, 8, 9, 10)] == [False, True, True, False]


def test_file_quality(models: Models) -> None:
    models.owner.execute(
        "insert into raw.files (sha256, file_name, site, size_bytes, state, arrived_at, rows_read, rows_loaded,"
        " rows_rejected, rows_duplicate, rows_held) values"
        " ('a', 'a.csv', null, 1, 'loaded', now(), 10, 6, 1, 3, null),"
        " ('b', 'shop/b.csv', 'shop', 1, 'quarantined', now(), 4, null, 3, 0, 1),"
        " ('c', 'c.csv', null, 1, 'failed', now(), null, null, null, null, null),"
        " ('d', 'd.csv', null, 1, 'retracted', now(), 2, 0, 0, 2, null),"
        " ('e', 'e.csv', null, 1, 'loaded', now(), 0, 0, 0, 0, null)"
    )
    models.run()
    columns = "sha256, site_id, state, rows_read, loaded_share, rejected_share, duplicate_share, held_share"
    assert models.rows("file_quality", columns) == [
        ("a", None, "loaded", 10, 0.6, 0.1, 0.3, None),
        ("b", "shop", "quarantined", 4, None, 0.75, 0.0, 0.25),
        ("c", None, "failed", None, None, None, None, None),
        ("d", None, "retracted", 2, 0.0, 0.0, 1.0, None),
        ("e", None, "loaded", 0, None, None, None, None),
    ]


def between(models: Models, arguments: str = "", columns: str = "*") -> tuple[Any, ...]:
    (row,) = models.rows(f"kpis_between({arguments})", columns)
    return row


def test_headline_numbers(models: Models) -> None:
    # As an earlier version left it: beside its successor, a call of either would be ambiguous.
    with models.warehouse.connect("transformer") as connection:
        connection.execute(
            "create function marts.kpis_between(timestamptz default null, timestamptz default null,"
            " text[] default null, text[] default null) returns integer language sql as 'select 1'"
        )
    models.build()
    nothing = between(models)
    assert models.rows("kpis") == [nothing]
    assert (nothing[5], nothing[0], nothing[8]) == (0, 0, None)
    models.load(
        [
            *stay("a", "C1", "2024-05-01 10:00:00", 600),
            *stay("a", "C2", "2024-05-01 10:15:00", 1200),  # the same visit
            *stay("a", "C2", "2024-05-02 10:00:00", 900),
            *stay("b", "C1", "2024-05-01 23:00:00", 2 * HOUR),
            *stay("c", "C1", "2024-05-02 12:00:00"),
            *stay("c", "C1", "2024-05-02 12:00:30"),  # a repeat
            Signal("c", "C2", "exit", at("2024-05-02 15:00:00")),  # unmatched
            Signal("unknown", "C3", "entry", at("2024-05-03 00:00:00")),
        ]
    )
    models.build()
    (everything,) = models.records("kpis")
    total = 600 + 1200 + 900 + 7200
    assert everything == {
        "unique_visitors": 3,
        "dwell_seconds_avg_per_person": total / 2,
        "dwell_seconds_avg": total / 4,
        "dwell_seconds_median": 1050.0,
        "dwell_seconds_max": 7200.0,
        "events": 12,
        "active_cameras": 3,
        "repeat_visitors": 1,
        "repeat_visitor_share": 1 / 3,
        "sessions": 5,
        "share_without_exit": 1 / 5,
        "entries": 6,
        "exits": 5,
        "completed_sessions": 4,
        "dwell_seconds_total": total,
        "visits": 4,
    }
    assert between(models) == tuple(everything.values())

    columns = (
        "events, entries, exits, unique_visitors, active_cameras, sessions, dwell_seconds_total, visits,"
        " repeat_visitors"
    )
    of = {
        # b came the day before and is inside until 1: a visitor of the day, and an exit, but no session or visit of it.
        "'2024-05-02', '2024-05-03'": (6, 2, 3, 3, 2, 2, 900.0, 2, 0),
        # The range holds its start, not its end.
        "'2024-05-01 10:00', '2024-05-01 10:10'": (1, 1, 0, 1, 1, 1, 600.0, 1, 0),
        "'2024-05-02 10:15', '2024-05-02 10:15'": (0, 0, 0, 0, 0, 0, 0.0, 0, 0),
        # b just left.
        "'2024-05-02 01:00:00.000001', '2024-05-02 09:00'": (0, 0, 0, 0, 0, 0, 0.0, 0, 0),
        # b is inside all the time, and there is no event.
        "'2024-05-02 00:10', '2024-05-02 00:20'": (0, 0, 0, 1, 0, 0, 0.0, 0, 0),
        "range_end => '2024-05-02'": (5, 3, 2, 2, 2, 3, 9000.0, 2, 0),
        "range_start => '2024-05-03'": (1, 1, 0, 0, 1, 0, 0.0, 0, 0),
        # The visit that begins at C1 holds a session at C2.
        "cameras => array['C2']": (5, 2, 3, 2, 1, 2, 2100.0, 2, 1),
        "cameras => array['C1', 'C3']": (7, 4, 2, 3, 2, 3, 7800.0, 3, 0),
        "cameras => array[]::text[]": (0, 0, 0, 0, 0, 0, 0.0, 0, 0),
        "persons => array['a']": (6, 3, 3, 1, 2, 3, 2700.0, 2, 1),
        "persons => array['a'], cameras => array['C1']": (2, 1, 1, 1, 1, 1, 600.0, 1, 0),
        "null, null, null, null": (12, 6, 5, 3, 3, 5, 9900.0, 4, 1),
    }
    assert {arguments: between(models, arguments, columns) for arguments in of} == of
