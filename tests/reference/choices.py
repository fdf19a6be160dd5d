"""What a question is about: a range of time, some cameras, some persons, some groups of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from tests.reference.demographics import age_group_of, gender_of
from tests.reference.events import Event, Store
from tests.reference.sessions import History, Session
from tests.reference.visits import Visit, visits_of


@dataclass(frozen=True, slots=True)
class Choice:
    """A range holds its start, not its end; what is None leaves nothing out."""

    start: int | None = None
    end: int | None = None
    cameras: Collection[str] | None = None
    persons: Collection[str] | None = None
    age_groups: Collection[str] | None = None
    genders: Collection[str] | None = None

    def holds(self, instant: int) -> bool:
        return (self.start is None or self.start <= instant) and (self.end is None or instant < self.end)

    def covers_some_of(self, session: Session) -> bool:
        """Whether a complete session is in the range for more than an instant."""
        if session.exit_time is None:
            return False
        since = session.entry_time if self.start is None else max(session.entry_time, self.start)
        until = session.exit_time if self.end is None else min(session.exit_time, self.end)
        return since < until

    def is_of(self, event: Event) -> bool:
        """Whether it is of one of the persons, cameras and groups, at whatever time."""
        return (
            (self.persons is None or event.person_id in self.persons)
            and (self.cameras is None or event.camera_id in self.cameras)
            and (self.age_groups is None or age_group_of(event) in self.age_groups)
            and (self.genders is None or gender_of(event) in self.genders)
        )


EVERYTHING = Choice()


def opening_events(store: Store, history: History) -> dict[Session, Event]:
    """The event that opens each session, to whose groups the session belongs."""
    events = {event.event_id: event for event in store.events}
    return {session: events[session.opened_by] for session in history.sessions}


def chosen_events(store: Store, choice: Choice) -> list[Event]:
    return [event for event in store.counted_events() if choice.is_of(event) and choice.holds(event.time)]


def chosen_sessions(store: Store, history: History, choice: Choice) -> list[Session]:
    """Sessions of the chosen persons, cameras and groups, at whatever time."""
    return [session for session, event in opening_events(store, history).items() if choice.is_of(event)]


def chosen_visits(store: Store, history: History, choice: Choice) -> list[Visit]:
    """Visits that begin in the range and hold a chosen session."""
    chosen = set(chosen_sessions(store, history, choice))
    return [
        visit
        for visit in visits_of(store, history)
        if choice.holds(visit.start_time) and not chosen.isdisjoint(visit.sessions)
    ]
