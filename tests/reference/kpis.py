"""The headline numbers: of everything, or of a range of time, of some cameras, of some persons."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from tests.reference.buckets import quantile
from tests.reference.choices import EVERYTHING, Choice, chosen_events, chosen_sessions, chosen_visits
from tests.reference.events import SECOND, Store
from tests.reference.sessions import History


@dataclass(frozen=True, slots=True)
class Kpis:
    """Durations in seconds; None where there is nothing to measure or to take a share of."""

    total_events: int
    entries: int
    exits: int
    unique_visitors: int
    active_cameras: int
    sessions: int
    completed_sessions: int
    share_without_exit: Fraction | None
    dwell_seconds_total: Fraction
    dwell_seconds_per_person: Fraction | None
    dwell_seconds_per_session: Fraction | None
    dwell_seconds_median: Fraction | None
    dwell_seconds_max: Fraction | None
    visits: int
    repeat_visitors: int
    repeat_visitor_share: Fraction | None


def kpis_of(store: Store, history: History, choice: Choice = EVERYTHING) -> Kpis:
    events = chosen_events(store, choice)
    signals = [event for event in events if event.event_id not in history.repeats]
    sessions = chosen_sessions(store, history, choice)
    visitors = {event.person_id for event in events if not store.is_anonymous(event)} | {
        one.person_id for one in sessions if choice.covers_some_of(one)
    }
    started = [one for one in sessions if choice.holds(one.entry_time)]
    dwells = sorted(one.dwell for one in started if one.dwell is not None)
    dwelling = {one.person_id for one in started if one.dwell is not None}
    visits = chosen_visits(store, history, choice)
    dates: defaultdict[tuple[str, str], set[date]] = defaultdict(set)
    for visit in visits:
        dates[visit.person_id, visit.site_id].add(visit.visit_date)
    repeat_visitors = {person for (person, _), days in dates.items() if len(days) >= 2}
    total = Fraction(sum(dwells), SECOND)
    return Kpis(
        total_events=len(events),
        entries=sum(event.event_type == "entry" for event in signals),
        exits=sum(event.event_type == "exit" for event in signals),
        unique_visitors=len(visitors),
        active_cameras=len({event.camera_id for event in events}),
        sessions=len(started),
        completed_sessions=len(dwells),
        share_without_exit=_share(len(started) - len(dwells), len(started)),
        dwell_seconds_total=total,
        dwell_seconds_per_person=_share(total, len(dwelling)),
        dwell_seconds_per_session=_share(total, len(dwells)),
        dwell_seconds_median=quantile(dwells, Fraction(1, 2)),
        dwell_seconds_max=Fraction(dwells[-1], SECOND) if dwells else None,
        visits=len(visits),
        repeat_visitors=len(repeat_visitors),
        repeat_visitor_share=_share(len(repeat_visitors), len(visitors)),
    )


def _share(part: Fraction | int, whole: int) -> Fraction | None:
    return Fraction(part) / whole if whole else None
