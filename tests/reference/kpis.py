"""The headline numbers: of everything, or of a range of time, of some cameras, of some persons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from tests.reference.buckets import quantile
from tests.reference.events import SECOND, Store
from tests.reference.sessions import History
from tests.reference.visits import visits_of


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


@dataclass(frozen=True, slots=True)
class Choice:
    """What the numbers are of. A range holds its start, not its end; what is None leaves nothing out."""

    start: int | None = None
    end: int | None = None
    cameras: Collection[str] | None = None
    persons: Collection[str] | None = None

    def holds(self, instant: int) -> bool:
        return (self.start is None or self.start <= instant) and (self.end is None or instant < self.end)

    def is_of(self, person_id: str, *camera_ids: str) -> bool:
        """Whether it is of this person, and of one of these cameras."""
        if self.persons is not None and person_id not in self.persons:
            return False
        return self.cameras is None or any(camera in self.cameras for camera in camera_ids)

    def covers_some_of(self, entry: int, leaving: int) -> bool:
        """Whether the time between both is in the range for more than an instant."""
        since = entry if self.start is None else max(entry, self.start)
        until = leaving if self.end is None else min(leaving, self.end)
        return since < until


EVERYTHING = Choice()


def kpis_of(store: Store, history: History, choice: Choice = EVERYTHING) -> Kpis:
    events = [
        event
        for event in store.counted_events()
        if choice.is_of(event.person_id, event.camera_id) and choice.holds(event.time)
    ]
    signals = [event for event in events if event.event_id not in history.repeats]
    sessions = [one for one in history.sessions if choice.is_of(one.person_id, one.camera_id)]
    visitors = {event.person_id for event in events if not store.is_anonymous(event)} | {
        one.person_id
        for one in sessions
        if one.exit_time is not None and choice.covers_some_of(one.entry_time, one.exit_time)
    }
    started = [one for one in sessions if choice.holds(one.entry_time)]
    dwells = sorted(one.dwell for one in started if one.dwell is not None)
    dwelling = {one.person_id for one in started if one.dwell is not None}
    visits = [
        visit
        for visit in visits_of(store, history)
        if choice.is_of(visit.person_id, *(one.camera_id for one in visit.sessions)) and choice.holds(visit.start_time)
    ]
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
