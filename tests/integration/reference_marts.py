"""Every mart against the plain reference, row for row and column for column.

A mart or a column for which nothing here says what it should hold is a failure, unless it is named as one that no rule
tells of. How events come into a warehouse is in `reference_models`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from tests.integration.modelling import model_names
from tests.integration.reference_models import moment
from tests.reference.buckets import Level, Measures, buckets_of
from tests.reference.choices import opening_events
from tests.reference.dates import dates_of
from tests.reference.demographics import age_group_of, demographics_of, gender_of
from tests.reference.events import HOUR, SECOND, Camera, Event, Store
from tests.reference.heatmap import heatmap_of
from tests.reference.instants import BucketSize, bucket_date, bucket_end
from tests.reference.kpis import kpis_of
from tests.reference.live import live_of
from tests.reference.sessions import History, history_of
from tests.reference.visits import Visit, visitors_of, visits_of

Key = tuple[Any, ...]
Row = Mapping[str, Any]

# Of these marts the reference knows nothing: they tell of builds and of files.
NOT_OF_EVENTS = {
    "data_version",
    "present_state",
    "file_quality",
    "file_rejects",
    "quality_daily",
    "failed_checks",
}

# Interpolated in floating point by the database; everything else is one division of integers, and exact.
_INTERPOLATED = {"dwell_seconds_median", "dwell_seconds_p90"}

# What the reference calls otherwise.
KPIS = {
    "total_events": "events",
    "dwell_seconds_per_person": "dwell_seconds_avg_per_person",
    "dwell_seconds_per_session": "dwell_seconds_avg",
}

# Columns that a file tells and that no rule alters.
_AS_TOLD = {
    "camera_events": {"event_word", "zone", "attributes", "file_id", "row_number"},
    "dim_cameras": {"camera_name", "zone"},
}


@dataclass(frozen=True)
class Truth:
    """What the reference makes of a store."""

    store: Store

    @cached_property
    def history(self) -> History:
        return history_of(self.store)

    @cached_property
    def sites(self) -> dict[str, str]:
        return self.store.site_of_camera()

    @cached_property
    def visits(self) -> list[Visit]:
        return visits_of(self.store, self.history)

    def zone_of(self, level: Level, place: str) -> str:
        return self.store.zone_of_site(self.sites[place] if level == "camera" else place)


def seconds(micros: int | None) -> Fraction | None:
    return None if micros is None else Fraction(micros, SECOND)


def _person_sessions(truth: Truth) -> dict[Key, Row]:
    intervals = {event.event_id for event in truth.store.events if event.event_type == "appearance"}
    openings = opening_events(truth.store, truth.history)
    return {
        (session.opened_by,): {
            "person_id": session.person_id,
            "camera_id": session.camera_id,
            "site_id": truth.sites[session.camera_id],
            "entry_time": moment(session.entry_time),
            "exit_time": moment(session.exit_time),
            "status": session.status,
            "dwell_seconds": seconds(session.dwell),
            "is_interval": session.opened_by in intervals,
            "age_group": age_group_of(openings[session]),
            "gender": gender_of(openings[session]),
            "length_class": _length_class(session.dwell),
        }
        for session in truth.history.sessions
    }


def _length_class(dwell: int | None) -> int | None:
    """The least k such that it is at most 2 ^ k hours."""
    return None if dwell is None else next(k for k in range(64) if dwell <= 2**k * HOUR)


def _unmatched_exits(truth: Truth) -> dict[Key, Row]:
    return {
        (event.event_id,): {
            "person_id": event.person_id,
            "camera_id": event.camera_id,
            "exit_time": moment(event.time),
        }
        for event in truth.history.unmatched_exits
    }


def _camera_events(truth: Truth) -> dict[Key, Row]:
    unmatched = {event.event_id for event in truth.history.unmatched_exits}

    def row(event: Event) -> Row:
        session = truth.history.session_of_event.get(event.event_id)
        return {
            "person_id": event.person_id,
            "camera_id": event.camera_id,
            "event_type": event.event_type,
            "event_time": moment(event.time),
            "end_time": moment(event.end),
            "is_entry": event.event_type == "entry",
            "is_exit": event.event_type == "exit",
            "is_repeat": event.event_id in truth.history.repeats,
            "is_unmatched_exit": event.event_id in unmatched,
            "is_anonymous": truth.store.is_anonymous(event),
            "is_ignored": truth.store.is_ignored(event),
            "session_id": session.opened_by if session else None,
            "dwell_seconds": seconds(session.dwell) if session else None,
            "confidence": event.confidence,
            "age": event.age,
            "age_group": event.age_group,
            "gender": event.gender,
            "opens_session": session is not None and session.opened_by == event.event_id,
            "age_band": age_group_of(event),
        }

    return {(event.event_id,): row(event) for event in truth.store.events}


def _visits(truth: Truth) -> dict[Key, Row]:
    return {
        (visit.visit_id,): {
            "person_id": visit.person_id,
            "site_id": visit.site_id,
            "start_time": moment(visit.start_time),
            "end_time": moment(visit.end_time),
            "elapsed_seconds": seconds(visit.elapsed),
            "dwell_seconds": seconds(visit.dwell),
            "session_count": visit.session_count,
            "camera_count": visit.camera_count,
            "is_complete": visit.is_complete,
            "is_bounce": visit.is_bounce,
            "visit_date": visit.visit_date,
            "is_returning": visit.is_returning,
        }
        for visit in truth.visits
    }


def _visitors(truth: Truth) -> dict[Key, Row]:
    return {
        (visitor.site_id, visitor.person_id): {
            "first_event_time": moment(visitor.first_event_time),
            "last_event_time": moment(visitor.last_event_time),
            "event_count": visitor.event_count,
            "visit_count": visitor.visit_count,
            "visit_days": visitor.visit_days,
            "first_visit_date": visitor.first_visit_date,
            "last_visit_date": visitor.last_visit_date,
            "dwell_seconds_total": seconds(visitor.dwell_total),
            "is_repeat_visitor": visitor.is_repeat_visitor,
        }
        for visitor in visitors_of(truth.store, truth.visits)
    }


def _bucket(measures: Measures, start: int, zone: str, size: BucketSize) -> Row:
    row = {"bucket_end": moment(bucket_end(start, zone, size))}
    if size != "hour":
        row["bucket_date"] = bucket_date(start, zone)
    return row | {field.name: getattr(measures, field.name) for field in dataclasses.fields(measures)}


def _buckets(level: Level, size: BucketSize) -> Callable[[Truth], dict[Key, Row]]:
    def buckets(truth: Truth) -> dict[Key, Row]:
        return {
            (place, moment(start)): _bucket(measures, start, truth.zone_of(level, place), size)
            for (place, start), measures in buckets_of(truth.store, truth.history, level, size).items()
        }

    return buckets


def _demographics(truth: Truth) -> dict[Key, Row]:
    return {
        (*group, moment(start)): _bucket(measures, start, truth.zone_of("site", group.site_id), "day")
        for (group, start), measures in demographics_of(truth.store, truth.history).items()
    }


def _heatmap(truth: Truth) -> dict[Key, Row]:
    return {cell: dataclasses.asdict(heat) for cell, heat in heatmap_of(truth.store, truth.history).items()}


def _live(truth: Truth) -> dict[Key, Row]:
    rows = {}
    for (level, place), live in live_of(truth.store, truth.history).items():
        site = place if level == "site" else _site_of(truth, place)
        rows[level, site, place if level == "camera" else None] = {
            "as_of": moment(live.as_of),
            "persons_inside": live.persons_inside,
            "capacity": live.capacity,
            "last_event_time": moment(live.last_event_time),
        }
    return rows


def _site_of(truth: Truth, camera_id: str) -> str:
    listed = truth.store.cameras.get(camera_id)
    return listed.site_id if listed else truth.sites[camera_id]


def _kpis(truth: Truth) -> dict[Key, Row]:
    row = dataclasses.asdict(kpis_of(truth.store, truth.history))
    return {(): {KPIS.get(name, name): value for name, value in row.items()}}


def _dates(truth: Truth) -> dict[Key, Row]:
    rows = (dataclasses.asdict(each) for each in dates_of(truth.store, truth.history))
    return {(row.pop("day"),): row for row in rows}


def _cameras(truth: Truth) -> dict[Key, Row]:
    def row(camera_id: str, listed: Camera | None) -> Row:
        times = (event.time for event in truth.store.current_events() if event.camera_id == camera_id)
        return {
            "site_id": _site_of(truth, camera_id),
            "timezone": listed.timezone if listed else truth.store.parameters.default_timezone,
            "capacity": listed.capacity if listed else None,
            "is_listed": listed is not None,
            "last_event_time": moment(max(times, default=None)),
        }

    cameras = truth.sites.keys() | truth.store.cameras.keys()
    return {(camera,): row(camera, truth.store.cameras.get(camera)) for camera in cameras}


def _sites(truth: Truth) -> dict[Key, Row]:
    sites = [row["site_id"] for row in _cameras(truth).values()]
    return {
        (site,): {"timezone": truth.store.zone_of_site(site), "camera_count": sites.count(site)} for site in set(sites)
    }


@dataclass(frozen=True)
class Mart:
    """Which columns tell the rows of a mart apart, and what the reference says is in it."""

    key: tuple[str, ...]
    expected: Callable[[Truth], dict[Key, Row]]


MARTS: Mapping[str, Mart] = {
    "person_sessions": Mart(("session_id",), _person_sessions),
    "unmatched_exits": Mart(("event_id",), _unmatched_exits),
    "camera_events": Mart(("event_id",), _camera_events),
    "visits": Mart(("visit_id",), _visits),
    "visitors": Mart(("site_id", "person_id"), _visitors),
    "camera_hourly": Mart(("camera_id", "bucket_start"), _buckets("camera", "hour")),
    "camera_daily": Mart(("camera_id", "bucket_start"), _buckets("camera", "day")),
    "camera_weekly": Mart(("camera_id", "bucket_start"), _buckets("camera", "week")),
    "site_hourly": Mart(("site_id", "bucket_start"), _buckets("site", "hour")),
    "site_daily": Mart(("site_id", "bucket_start"), _buckets("site", "day")),
    "site_weekly": Mart(("site_id", "bucket_start"), _buckets("site", "week")),
    "demographics_daily": Mart(("site_id", "age_group", "gender", "bucket_start"), _demographics),
    "occupancy_heatmap": Mart(("site_id", "weekday", "hour"), _heatmap),
    "live_occupancy": Mart(("level", "site_id", "camera_id"), _live),
    "kpis": Mart((), _kpis),
    "dim_dates": Mart(("date",), _dates),
    "dim_cameras": Mart(("camera_id",), _cameras),
    "dim_sites": Mart(("site_id",), _sites),
}


def assert_marts_equal_reference(connection: psycopg.Connection[Any], store: Store) -> None:
    """Compare all marts there are, as somebody sees them who may read them."""
    truth = Truth(store)
    marts = set(model_names("marts")) - NOT_OF_EVENTS
    assert marts <= MARTS.keys(), "marts that are compared with nothing"
    for name in sorted(marts):
        with connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute(sql.SQL("select * from {}").format(sql.Identifier("marts", name)))
            columns = {column.name for column in cursor.description or ()}
            _compare(name, columns, cursor.fetchall(), MARTS[name].expected(truth))


def _compare(name: str, columns: set[str], rows: list[dict[str, Any]], expected: dict[Key, Row]) -> None:
    key = MARTS[name].key
    found = {tuple(row[column] for column in key): row for row in rows}
    assert len(found) == len(rows), f"{name}: one row for each {key}"
    wrong, missing = found.keys() - expected.keys(), expected.keys() - found.keys()
    assert (wrong, missing) == (set(), set()), f"{name}: there is, wrongly / there lacks"
    for where, row in expected.items():
        told = row.keys() | set(key) | _AS_TOLD.get(name, set())
        assert columns == told, f"{name}: columns that are compared with nothing, or lack: {columns ^ told}"
        for column, wanted in row.items():
            value = found[where][column]
            assert is_equal(column, value, wanted), f"{column} of {name} {where}: {value}, by the reference {wanted}"


def is_equal(column: str, value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Fraction):
        if column in _INTERPOLATED and value is not None:
            return math.isclose(value, wanted, rel_tol=1e-12)
        wanted = float(wanted)
    return type(value) is type(wanted) and value == wanted
