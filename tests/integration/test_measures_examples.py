"""The functions of the marts on examples worked out by hand, beside the bucket tables, and what they read."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from tests.integration.modelling import CAMERAS, Models, Signal, at, random_signals, stay

MINUTE = 60
HOUR = 3600
DAY = "array[timestamptz '2024-05-01', '2024-05-02']"


@pytest.fixture(autouse=True)
def cameras(models: Models, functions: None) -> None:
    models.set_cameras(
        {"camera_id": "DOOR", "site_id": "shop", "timezone": "Europe/Berlin"},
        {"camera_id": "TILL", "site_id": "shop", "timezone": "Europe/Berlin"},
        {"camera_id": "GATE", "site_id": "yard", "timezone": "UTC"},
    )


def measured(models: Models, arguments: str, columns: str) -> list[tuple[Any, ...]]:
    return models.rows(f"measures_between({arguments})", columns, order="group_key, bucket_start")


# --- measures ------------------------------------------------------------------------------------------------------


def test_a_person_in_front_of_two_of_the_cameras_is_one(models: Models) -> None:
    models.load(
        [
            *stay("ann", "DOOR", "2024-05-01 10:00", 20 * MINUTE),
            *stay("ann", "TILL", "2024-05-01 10:10", 20 * MINUTE),
            *stay("bob", "GATE", "2024-05-01 10:05", 5 * MINUTE),
        ]
    )
    models.run()
    columns = "group_key, events, unique_visitors, sessions_started, occupied_seconds, peak_occupancy"
    cameras = "cameras => array['DOOR', 'TILL', 'GATE']"
    assert measured(models, f"{DAY}, {cameras}", columns) == [(None, 6, 2, 3, 35.0 * MINUTE, 2)]
    assert measured(models, f"{DAY}, {cameras}, group_by => 'camera'", columns) == [
        ("DOOR", 2, 1, 1, 20.0 * MINUTE, 1),
        ("GATE", 2, 1, 1, 5.0 * MINUTE, 1),
        ("TILL", 2, 1, 1, 20.0 * MINUTE, 1),
    ]
    assert measured(models, f"{DAY}, {cameras}, group_by => 'site'", columns) == [
        ("shop", 4, 1, 2, 30.0 * MINUTE, 1),
        ("yard", 2, 1, 1, 5.0 * MINUTE, 1),
    ]
    assert measured(models, f"{DAY}, array['TILL', 'GATE', 'TILL', 'nowhere']", columns) == [
        (None, 4, 2, 2, 25.0 * MINUTE, 1)
    ]
    assert measured(models, f"{DAY}, array[]::text[]", columns) == []


def test_who_came_before_a_bucket_and_is_inside_is_a_visitor_of_it(models: Models) -> None:
    models.load(
        [
            *stay("ann", "DOOR", "2024-05-01 09:00", 4 * HOUR),
            *stay("stays", "DOOR", "2024-05-01 09:59"),
            Signal("long", "DOOR", "appearance", at("2023-01-01 00:00"), at("2024-05-01 11:30")),
        ]
    )
    models.run()
    starts = "array[timestamptz '2024-05-01 10:00', '2024-05-01 11:00', '2024-05-01 11:30', '2024-05-01 12:00']"
    columns = "bucket_start, bucket_end, events, unique_visitors, completed_sessions, occupied_seconds, avg_occupancy"
    assert measured(models, f"{starts}, array['DOOR']", columns) == [
        (at("2024-05-01 10:00"), at("2024-05-01 11:00"), 0, 2, 0, 2.0 * HOUR, 2.0),
        (at("2024-05-01 11:00"), at("2024-05-01 11:30"), 0, 2, 0, 1.0 * HOUR, 2.0),
        (at("2024-05-01 11:30"), at("2024-05-01 12:00"), 0, 1, 0, 0.5 * HOUR, 1.0),
    ]
    numbers = models.rows(
        "kpis_between('2024-05-01 11:05', '2024-05-01 11:10', array['DOOR'])", "unique_visitors, events"
    )
    assert numbers == [(2, 0)]
    for too_few in ("array[timestamptz '2024-05-01 10:00']", "array[]::timestamptz[]", "null"):
        assert measured(models, f"{too_few}, array['DOOR']", columns) == []


def test_repeats_anonymous_and_ignored_events(models: Models) -> None:
    models.set_parameters(excluded_ids=["guard"])
    models.load(
        [
            *stay("ann", "DOOR", "2024-05-01 10:00:00"),
            *stay("ann", "DOOR", "2024-05-01 10:00:30", 90),  # a repeat, and the exit
            Signal("unknown", "DOOR", "entry", at("2024-05-01 10:01:00")),
            *stay("guard", "DOOR", "2024-05-01 10:00:00", HOUR),
            *stay("at once", "DOOR", "2024-05-01 10:05:00", 0),
        ]
    )
    models.run()
    columns = (
        "events, entries, exits, unique_visitors, sessions_started, dwell_seconds_total, dwell_seconds_min,"
        " occupied_seconds, peak_occupancy"
    )
    assert measured(models, f"{DAY}, array['DOOR']", columns) == [(6, 3, 2, 2, 2, 120.0, 0.0, 120.0, 1)]
    assert measured(models, f"{DAY}, array['DOOR'], persons => array['ann', 'guard']", columns) == [
        (3, 1, 1, 1, 1, 120.0, 120.0, 120.0, 1)
    ]


def test_a_session_is_of_the_groups_of_the_event_that_opens_it(models: Models) -> None:
    entry, leaving = at("2024-05-01 10:00"), at("2024-05-01 10:10")
    models.load(
        [
            Signal("ann", "DOOR", "entry", entry, age=30, gender="F"),
            Signal("ann", "DOOR", "exit", leaving, age=44),
            Signal("bob", "DOOR", "entry", entry, age_group="Senior", age=30, gender="F"),
        ]
    )
    models.run()
    columns = "group_key, events, exits, unique_visitors, sessions_started, completed_sessions, occupied_seconds"
    asked = f"{DAY}, array['DOOR']"
    assert measured(models, f"{asked}, group_by => 'age_group'", columns) == [
        ("25-34", 1, 0, 1, 1, 1, 600.0),
        ("35-44", 1, 1, 1, 0, 0, 0.0),
        ("Senior", 1, 0, 1, 1, 0, 0.0),
    ]
    assert measured(models, f"{asked}, group_by => 'gender'", columns) == [
        ("F", 2, 0, 2, 2, 1, 600.0),
        ("unknown", 1, 1, 1, 0, 0, 0.0),
    ]
    assert measured(models, f"{asked}, genders => array['unknown']", columns) == [(None, 1, 1, 1, 0, 0, 0.0)]
    assert measured(models, f"{asked}, age_groups => array['25-34'], genders => array['F']", columns) == [
        (None, 1, 0, 1, 1, 1, 600.0)
    ]


def test_whole_buckets_of_one_place_are_those_of_the_bucket_tables(models: Models) -> None:
    models.set_cameras(
        {"camera_id": "out/C1", "site_id": "out", "timezone": "Europe/Berlin"},
        {"camera_id": "out/C2", "site_id": "out", "timezone": "Europe/Berlin"},
    )
    models.load(random_signals(random.Random(7), 400))
    models.run()
    measures = (
        "bucket_start, bucket_end, events, entries, exits, unique_visitors, sessions_started, completed_sessions,"
        " dwell_seconds_total, dwell_seconds_avg, dwell_seconds_median, dwell_seconds_p90, dwell_seconds_max,"
        " occupied_seconds, avg_occupancy, peak_occupancy"
    )
    sites = {"default": ["C1", "C2"], "out": ["out/C1", "out/C2"]}
    zones = {"default": "UTC", "out": "Europe/Berlin"}
    places = [("camera", camera, [camera], zones["out" if "/" in camera else "default"]) for camera in CAMERAS]
    places += [("site", site, cameras, zones[site]) for site, cameras in sites.items()]
    compared = 0
    for place, name, cameras, zone in places:
        for grain, table in (("hour", "hourly"), ("day", "daily"), ("week", "weekly")):
            stored = models.rows(f"{place}_{table} where {place}_id = '{name}'", measures)
            starts = f"marts.bucket_starts('{grain}', '{stored[0][0]}', '{stored[-1][1]}', '{zone}')"
            assert measured(models, f"{starts}, array{cameras}", measures) == stored, (name, grain)
            compared += len(stored)
    assert compared > 100


# --- the other functions -------------------------------------------------------------------------------------------


def test_buckets_of_a_range_are_cut_to_it(models: Models) -> None:
    def starts(arguments: str) -> list[str]:
        ((found,),) = models.rows(f"bucket_starts({arguments}) as starts")
        return [f"{start.astimezone(at('2024-01-01').tzinfo):%m-%d %H:%M}" for start in found]

    berlin = "'Europe/Berlin'"
    # Its clock goes back from 3 to 2 on 27 October.
    night = "'2024-10-27 01:30+02', '2024-10-27 03:15+01'"
    assert starts(f"'hour', {night}, {berlin}") == [
        *("10-26 23:30", "10-27 00:00", "10-27 01:00", "10-27 02:00", "10-27 02:15"),
    ]
    days = "'2024-10-26', '2024-10-28'"
    assert starts(f"'day', {days}, {berlin}") == ["10-26 00:00", "10-26 22:00", "10-27 23:00", "10-28 00:00"]
    assert starts(f"'week', {days}, {berlin}") == ["10-26 00:00", "10-27 23:00", "10-28 00:00"]
    assert starts(f"'day', '2024-10-26 00:00+02', '2024-10-27 00:00+02', {berlin}") == ["10-25 22:00", "10-26 22:00"]
    assert starts(f"'day', '2024-10-26', '2024-10-26', {berlin}") == []


def test_a_dwell_at_an_edge_is_in_the_band_that_begins_there(models: Models) -> None:
    models.load(
        [
            *stay("a", "DOOR", "2024-05-01 10:00", 0),
            *stay("b", "DOOR", "2024-05-01 10:00", 59.999999),
            *stay("c", "DOOR", "2024-05-01 10:00", 60),
            *stay("d", "TILL", "2024-05-01 10:00", 7200),
            *stay("e", "TILL", "2024-05-01 10:00"),
            *stay("f", "TILL", "2024-04-30 23:59", 7200),
        ]
    )
    models.run()
    asked = "'2024-05-01', '2024-05-02', array[60, 300, 600], array['DOOR', 'TILL', 'GATE']"
    assert models.rows(f"dwell_bands_between({asked})", order="band_from") == [
        (None, 0.0, 60.0, 2),
        (None, 60.0, 300.0, 1),
        (None, 300.0, 600.0, 0),
        (None, 600.0, None, 1),
    ]
    found = models.rows(f"dwell_bands_between({asked}, group_by => 'camera')", "group_key, sessions", "1, band_from")
    assert found == [("DOOR", 2), ("DOOR", 1), ("DOOR", 0), ("DOOR", 0), *[("TILL", n) for n in (0, 0, 0, 1)]]
    nobody = f"dwell_bands_between({asked}, persons => array['nobody'])"
    assert [count for (count,) in models.rows(nobody, "sessions")] == [0, 0, 0, 0]
    assert models.rows("dwell_bands_between('2024-05-01', '2024-05-02', '{}', array['DOOR'])") == [(None, 0.0, None, 3)]


def test_the_heat_of_a_range(models: Models) -> None:
    models.load(stay("ann", "DOOR", "2024-05-01 08:45", HOUR))  # a Wednesday; at 10:45 in Berlin
    models.run()
    columns = "group_key, weekday, hour, hours, events, occupied_seconds, avg_occupancy, peak_occupancy"

    def heat(more: str) -> list[tuple[Any, ...]]:
        asked = "'2024-05-01 08:30', '2024-05-01 10:00', 'Europe/Berlin', array['DOOR', 'GATE']"
        return models.rows(f"heatmap_between({asked}, {more})", columns, "1, 2, 3")

    # Of the first hour the range has half.
    assert heat("null") == [(None, 3, 10, 1, 1, 900.0, 0.5, 1), (None, 3, 11, 1, 1, 2700.0, 0.75, 1)]
    assert heat("group_by => 'site'") == [
        ("shop", 3, 10, 1, 1, 900.0, 0.5, 1),
        ("shop", 3, 11, 1, 1, 2700.0, 0.75, 1),
        ("yard", 3, 10, 1, 0, 0.0, 0.0, 0),
        ("yard", 3, 11, 1, 0, 0.0, 0.0, 0),
    ]
    models.load(
        [
            *stay("ann", "DOOR", "2024-05-08 08:00", HOUR / 2),
            *stay("bob", "DOOR", "2024-05-08 08:00", HOUR / 4),
        ]
    )
    models.run()
    weeks = "heatmap_between('2024-04-28', '2024-05-13', 'Europe/Berlin', array['DOOR'])"
    assert len(models.rows(weeks)) == 7 * 24
    assert models.rows(f"{weeks} where weekday = 3 and hour in (10, 11)", columns) == [
        (None, 3, 10, 2, 5, 3600.0, 0.5, 2),
        (None, 3, 11, 2, 1, 2700.0, 0.375, 1),
    ]


def test_visitors_of_a_range(models: Models) -> None:
    models.load(
        [
            *stay("ann", "DOOR", "2024-04-20 10:00", MINUTE),
            *stay("ann", "DOOR", "2024-05-01 10:00", MINUTE),
            *stay("ann", "TILL", "2024-05-01 10:10", 2 * MINUTE),  # the same visit
            *stay("ann", "DOOR", "2024-05-03 21:50", MINUTE),
            *stay("ann", "DOOR", "2024-05-03 22:30", MINUTE),  # the next day, there
            *stay("ann", "GATE", "2024-05-04 10:00", MINUTE),
            *stay("bob", "DOOR", "2024-05-01 10:00", MINUTE),
            *stay("bob", "DOOR", "2024-05-01 15:00", MINUTE),
            Signal("cid", "DOOR", "exit", at("2024-05-02 10:00")),
            # The visit begins in the range, at the till, and comes to the door when the range is over.
            *stay("dan", "TILL", "2024-05-09 23:40", MINUTE),
            Signal("dan", "DOOR", "entry", at("2024-05-10 00:05"), gender="M"),
            Signal("dan", "DOOR", "exit", at("2024-05-10 00:06")),
            *stay("dan", "GATE", "2024-05-10 00:05", MINUTE),
            *stay("dan", "TILL", "2024-05-02 10:00", MINUTE),
            *stay("dan", "DOOR", "2024-05-02 10:05", MINUTE),
        ]
    )
    models.run()
    asked = "'2024-05-01', '2024-05-10', array['DOOR', 'GATE']"
    columns = "site_id, person_id, events, visits, visit_days, dwell_seconds_total, is_returning, is_repeat_visitor"
    assert models.rows(f"visitors_between({asked})", columns, "1, 2") == [
        ("shop", "ann", 6, 3, 3, 180.0, True, True),
        ("shop", "bob", 4, 2, 1, 120.0, False, False),
        ("shop", "cid", 1, 0, 0, 0.0, None, False),
        ("shop", "dan", 2, 2, 2, 60.0, False, True),
        ("yard", "ann", 2, 1, 1, 60.0, False, False),
    ]
    assert models.rows(f"repeat_visitors_between({asked})", order="1, 2") == [
        ("shop", "ann", 3, 3, date(2024, 5, 1), date(2024, 5, 4), 300.0),
        ("shop", "dan", 2, 2, date(2024, 5, 2), date(2024, 5, 10), 240.0),
    ]
    numbers = models.rows(f"kpis_between({asked})", "unique_visitors, visits, repeat_visitors")
    assert numbers == [(4, 8, 2)]
    # That which the visit holds after the range counts for it only if it is chosen, and there.
    for more, visits in (("genders => array['M']", 1), ("genders => array['F']", 0)):
        assert models.rows(f"kpis_between({asked}, {more})", "visits") == [(visits,)]
    assert models.rows("kpis_between('2024-05-09', '2024-05-10', array['GATE'])", "visits") == [(0,)]


# --- what they read ------------------------------------------------------------------------------------------------

DAYS = 200
PER_DAY = 120


@pytest.fixture
def history(models: Models) -> Models:
    """Some two hundred days at two cameras, the same each day, and an interval over all of it."""
    models.load(
        [
            Signal("first", "DOOR", "entry", at("2024-01-01 00:00")),
            Signal("long", "DOOR", "appearance", at("2023-12-31 00:00"), at("2024-12-31 00:00")),
        ]
    )
    with models.owner.transaction():
        models.owner.execute(
            "insert into raw.batches (kind, file_id) select 'load', max(file_id) from raw.files;"
            " insert into raw.events (event_id, person_id, camera_id, event_type, event_word, event_time, file_id,"
            " row_number, batch_id) select gen_random_uuid(), 'p' || (day % 20) * 1000 + number,"
            " case when number % 2 = 0 then 'DOOR' else 'TILL' end, kind, kind,"
            " timestamptz '2024-01-01' + day * interval '1 day' + number * interval '9 minutes'"
            " + case when kind = 'exit' then interval '14 minutes' else interval '0' end,"
            " (select max(file_id) from raw.files), number, (select max(batch_id) from raw.batches)"
            f" from generate_series(0, {DAYS} - 1) as days (day),"
            f" generate_series(1, {PER_DAY}) as numbers (number), unnest(array['entry', 'exit']) as kinds (kind)"
        )
    models.run()
    with models.warehouse.connect("transformer", autocommit=True) as connection:
        for table in ("int_linked_events", "int_sessions", "int_visits", "int_first_visits"):
            connection.execute(f"vacuum analyze intermediate.{table}")
    return models


def scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes of a plan that read a stored model."""
    if plan.get("Relation Name", "").startswith("int_"):
        yield plan
    for part in plan.get("Plans", ()):
        yield from scans(part)


@pytest.mark.parametrize(
    "call",
    [
        "measures_between({starts}, array['DOOR', 'TILL'])",
        "measures_between({starts}, array['DOOR'], group_by => 'gender', age_groups => array['unknown'])",
        "kpis_between({range})",
        "kpis_between({range}, array['DOOR', 'TILL'])",
        "kpis_between({range}, array['TILL'], null, array['unknown'])",
        "dwell_bands_between({range}, array[60], array['DOOR', 'TILL'])",
        "heatmap_between({range}, 'Europe/Berlin', array['DOOR', 'TILL'])",
        "visitors_between({range}, array['DOOR'])",
        "repeat_visitors_between({range}, array['DOOR'])",
    ],
)
def test_what_is_read_follows_the_range_not_the_history(history: Models, call: str) -> None:
    starts = "'{2024-06-01 00:00+00, 2024-06-01 07:00+00, 2024-06-02 00:00+00}'"
    called = call.format(range="'2024-06-01', '2024-06-02'", starts=starts)
    with history.warehouse.connect("api", autocommit=True) as connection:
        row = connection.execute(f"explain (analyze, format json) select * from marts.{called}").fetchone()
    assert row is not None
    read: Counter[str] = Counter()
    for scan in scans(row[0][0]["Plan"]):
        removed = scan.get("Rows Removed by Filter", 0) + scan.get("Rows Removed by Index Recheck", 0)
        read[scan["Relation Name"]] += round((scan["Actual Rows"] + removed) * scan["Actual Loops"])
    assert PER_DAY <= read["int_linked_events"] <= 2 * PER_DAY, read
    assert read.total() <= 6 * PER_DAY, read
