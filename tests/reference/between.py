"""What is measured between any instants, of any choice: buckets, bands of dwell, the week's heat, visitors.

Seconds are exact fractions, as in `buckets`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from itertools import pairwise
from typing import Literal

from tests.reference.buckets import Contents, Measures, measures_of
from tests.reference.choices import Choice, chosen_events, chosen_sessions, chosen_visits, opening_events
from tests.reference.demographics import age_group_of, gender_of
from tests.reference.events import SECOND, Event, Store
from tests.reference.heatmap import Heat, heat_of
from tests.reference.instants import BucketSize, bucket_end, bucket_start, local_clock
from tests.reference.sessions import History
from tests.reference.visits import Visit

GroupBy = Literal["camera", "site", "age_group", "gender"] | None


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket with something in it, and the shortest dwell besides what the bucket tables tell."""

    end: int
    measures: Measures
    dwell_seconds_min: Fraction | None


@dataclass(frozen=True, slots=True)
class VisitorBetween:
    """One person at one site, as far as the range and the choice go. Dwell in microseconds."""

    first_event_time: int
    last_event_time: int
    events: int
    visits: int
    visit_days: int
    dwell_total: int
    is_returning: bool | None
    is_repeat_visitor: bool


@dataclass(frozen=True, slots=True)
class RepeatVisitor:
    """One person with visits to one site on two or more dates. Dwell in microseconds."""

    visits: int
    visit_days: int
    first_visit_date: date
    last_visit_date: date
    dwell_total: int


def bucket_starts(size: BucketSize, start: int, end: int, zone: str) -> list[int]:
    """The starts of the buckets that have a part in the range, the first no earlier than it, and the range's end."""
    if start >= end:
        return []
    starts = [start]
    following = bucket_end(bucket_start(start, zone, size), zone, size)
    while following < end:
        starts.append(following)
        following = bucket_end(following, zone, size)
    return [*starts, end]


def group_of(event: Event, store: Store, group_by: GroupBy) -> str | None:
    if group_by == "camera":
        return event.camera_id
    if group_by == "site":
        return store.site_of_camera()[event.camera_id]
    if group_by == "age_group":
        return age_group_of(event)
    return gender_of(event) if group_by == "gender" else None


def measures_between(
    store: Store, history: History, starts: Sequence[int], choice: Choice, group_by: GroupBy
) -> dict[tuple[str | None, int], Bucket]:
    """Every bucket from one start to the next that holds something, by its group and start."""
    contents: defaultdict[tuple[str | None, int, int], Contents] = defaultdict(Contents)
    openings = opening_events(store, history)
    for start, end in pairwise(starts):
        within = Choice(start, end, choice.cameras, choice.persons, choice.age_groups, choice.genders)
        for event in chosen_events(store, within):
            contents[group_of(event, store, group_by), start, end].events.append(event)
        for session in chosen_sessions(store, history, within):
            group = group_of(openings[session], store, group_by)
            if within.holds(session.entry_time):
                contents[group, start, end].sessions.append(session)
            if within.covers_some_of(session) and session.exit_time is not None:
                span = max(session.entry_time, start), min(session.exit_time, end)
                contents[group, start, end].inside[session.person_id].append(span)
    return {
        (group, start): Bucket(end, measures_of(inner, end - start, store, history), _shortest(inner))
        for (group, start, end), inner in contents.items()
    }


def _shortest(contents: Contents) -> Fraction | None:
    dwells = [session.dwell for session in contents.sessions if session.dwell is not None]
    return Fraction(min(dwells), SECOND) if dwells else None


def dwell_bands(
    store: Store, history: History, bands: Sequence[float], choice: Choice, group_by: GroupBy
) -> dict[tuple[str | None, float, float | None], int]:
    """Complete sessions that begin in the range, by their group and the bounds of the band their dwell lies in."""
    openings = opening_events(store, history)
    counts: dict[tuple[str | None, float, float | None], int] = {}
    bounds: list[tuple[float, float | None]] = [*zip([0.0, *bands], [*bands, None], strict=True)]
    dwells: defaultdict[str | None, list[int]] = defaultdict(list)
    if group_by is None:
        dwells[None] = []
    for session in chosen_sessions(store, history, choice):
        if choice.holds(session.entry_time) and session.dwell is not None:
            dwells[group_of(openings[session], store, group_by)].append(session.dwell)
    for group, those in dwells.items():
        for since, until in bounds:
            counts[group, since, until] = sum(
                since <= dwell / SECOND and (until is None or dwell / SECOND < until) for dwell in those
            )
    return counts


def heatmap_between(
    store: Store, history: History, zone: str, choice: Choice, group_by: Literal["camera", "site"] | None
) -> dict[tuple[str | None, int, int], Heat]:
    """Every cell of the week in which an hour of the range lies, for each camera or site that is chosen."""
    assert choice.start is not None
    assert choice.end is not None
    assert choice.cameras is not None
    starts = bucket_starts("hour", choice.start, choice.end, zone)
    sites = store.site_of_camera()
    filled = measures_between(store, history, starts, choice, group_by)
    groups: set[str | None] = {
        None if group_by is None else camera if group_by == "camera" else sites[camera] for camera in choice.cameras
    }
    if group_by is None:
        groups = {None}
    cells: defaultdict[tuple[str | None, int, int], list[tuple[int, Measures | None]]] = defaultdict(list)
    for start, end in pairwise(starts):
        struck = local_clock(bucket_start(start, zone, "hour"), zone)
        for group in groups:
            bucket = filled.get((group, start))
            cells[group, struck.isoweekday(), struck.hour].append((end - start, bucket.measures if bucket else None))
    return {cell: heat_of(hours) for cell, hours in cells.items()}


def visitors_between(store: Store, history: History, choice: Choice) -> dict[tuple[str, str], VisitorBetween]:
    """Every named person with a chosen event in the range, by site and person."""
    sites = store.site_of_camera()
    events: defaultdict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in chosen_events(store, choice):
        if not store.is_anonymous(event):
            events[sites[event.camera_id], event.person_id].append(event)
    visits = _visits_of_persons(store, history, choice)
    dwells: defaultdict[tuple[str, str], int] = defaultdict(int)
    for session in chosen_sessions(store, history, choice):
        if choice.holds(session.entry_time):
            dwells[sites[session.camera_id], session.person_id] += session.dwell or 0
    found = {}
    for who, theirs in events.items():
        days = {visit.visit_date for visit in visits[who]}
        first = min(visits[who], key=lambda visit: visit.start_time, default=None)
        found[who] = VisitorBetween(
            first_event_time=min(event.time for event in theirs),
            last_event_time=max(event.time for event in theirs),
            events=len(theirs),
            visits=len(visits[who]),
            visit_days=len(days),
            dwell_total=dwells[who],
            is_returning=None if first is None else first.is_returning,
            is_repeat_visitor=len(days) >= 2,
        )
    return found


def repeat_visitors_between(store: Store, history: History, choice: Choice) -> dict[tuple[str, str], RepeatVisitor]:
    """Every person with chosen visits to one site on two or more dates, by site and person."""
    found = {}
    for who, visits in _visits_of_persons(store, history, choice).items():
        days = sorted({visit.visit_date for visit in visits})
        if len(days) >= 2:
            dwell = sum(visit.dwell for visit in visits)
            found[who] = RepeatVisitor(len(visits), len(days), days[0], days[-1], dwell)
    return found


def _visits_of_persons(store: Store, history: History, choice: Choice) -> defaultdict[tuple[str, str], list[Visit]]:
    visits: defaultdict[tuple[str, str], list[Visit]] = defaultdict(list)
    for visit in chosen_visits(store, history, choice):
        visits[visit.site_id, visit.person_id].append(visit)
    return visits
