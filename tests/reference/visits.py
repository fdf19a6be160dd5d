"""Visits: one person, one site. What the sessions there make together, and what a person's visits make of a visitor."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from tests.reference.buckets import union
from tests.reference.events import Event, Store
from tests.reference.instants import bucket_date, bucket_start
from tests.reference.sessions import History, Session

Somewhere = tuple[str, str]
"""A person and a site."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit with the sessions that make it, named by the first of them. Durations in microseconds."""

    visit_id: UUID
    person_id: str
    site_id: str
    start_time: int
    end_time: int
    elapsed: int
    dwell: int
    session_count: int
    camera_count: int
    is_complete: bool
    is_bounce: bool
    visit_date: date
    is_returning: bool
    sessions: tuple[Session, ...]


@dataclass(frozen=True, slots=True)
class Visitor:
    """One person at one site. Durations in microseconds."""

    person_id: str
    site_id: str
    first_event_time: int
    last_event_time: int
    event_count: int
    visit_count: int
    visit_days: int
    first_visit_date: date | None
    last_visit_date: date | None
    dwell_total: int
    is_repeat_visitor: bool


def visits_of(store: Store, history: History) -> list[Visit]:
    """Every visit, each person's at each site in the order of time."""
    sites = store.site_of_camera()
    sessions: defaultdict[Somewhere, list[Session]] = defaultdict(list)
    for session in history.sessions:
        sessions[session.person_id, sites[session.camera_id]].append(session)
    return [visit for (_, site), those in sessions.items() for visit in _visits_at(site, those, store)]


def end_of(session: Session) -> int:
    """The end of a session; one without exit counts as the instant of its entry."""
    return session.entry_time if session.exit_time is None else session.exit_time


def _visits_at(site: str, sessions: list[Session], store: Store) -> list[Visit]:
    """One person's visits at one site."""
    parts: list[list[Session]] = []
    latest_end = 0
    for session in sorted(sessions, key=lambda one: (one.entry_time, one.opened_by.int)):
        if parts and session.entry_time - latest_end <= store.parameters.visit_gap:
            parts[-1].append(session)
            latest_end = max(latest_end, end_of(session))
        else:
            parts.append([session])
            latest_end = end_of(session)
    zone = store.zone_of_site(site)
    first_date = _local_date(parts[0][0].entry_time, zone)
    return [_visit(site, part, zone, first_date, store) for part in parts]


def _visit(site: str, sessions: list[Session], zone: str, first_date: date, store: Store) -> Visit:
    first = sessions[0]
    end = max(end_of(session) for session in sessions)
    elapsed = end - first.entry_time
    covered = union((one.entry_time, one.exit_time) for one in sessions if one.exit_time is not None)
    is_complete = all(session.exit_time is not None for session in sessions)
    visit_date = _local_date(first.entry_time, zone)
    return Visit(
        visit_id=first.opened_by,
        person_id=first.person_id,
        site_id=site,
        start_time=first.entry_time,
        end_time=end,
        elapsed=elapsed,
        dwell=sum(until - since for since, until in covered),
        session_count=len(sessions),
        camera_count=len({session.camera_id for session in sessions}),
        is_complete=is_complete,
        is_bounce=is_complete and elapsed < store.parameters.bounce_length,
        visit_date=visit_date,
        is_returning=visit_date > first_date,
        sessions=tuple(sessions),
    )


def _local_date(instant: int, zone: str) -> date:
    """The date of the day bucket that holds an instant: not always what the clock says then, where it goes back."""
    return bucket_date(bucket_start(instant, zone, "day"), zone)


def visitors_of(store: Store, visits: list[Visit]) -> list[Visitor]:
    """Every named person at each site where there is a counted event of that person."""
    sites = store.site_of_camera()
    events: defaultdict[Somewhere, list[Event]] = defaultdict(list)
    for event in store.counted_events():
        if not store.is_anonymous(event):
            events[event.person_id, sites[event.camera_id]].append(event)
    return [
        _visitor(where, those, [visit for visit in visits if (visit.person_id, visit.site_id) == where])
        for where, those in events.items()
    ]


def _visitor(where: Somewhere, events: list[Event], visits: list[Visit]) -> Visitor:
    person, site = where
    days = {visit.visit_date for visit in visits}
    return Visitor(
        person_id=person,
        site_id=site,
        first_event_time=min(event.time for event in events),
        last_event_time=max(event.time for event in events),
        event_count=len(events),
        visit_count=len(visits),
        visit_days=len(days),
        first_visit_date=min(days, default=None),
        last_visit_date=max(days, default=None),
        dwell_total=sum(visit.dwell for visit in visits),
        is_repeat_visitor=len(days) >= 2,
    )
