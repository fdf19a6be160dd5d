"""Sessions: one person, one camera. Order, repeats, pairing, status, unmatched exits, intervals.

Visits (one person, one site) are built from the sessions found here and do not belong in this module.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal
from uuid import UUID

from tests.reference.events import Event, Store

Status = Literal["complete", "open", "missing_exit"]


@dataclass(frozen=True, slots=True)
class Session:
    """One session, named by the event that opens it (or by its interval row)."""

    opened_by: UUID
    closed_by: UUID | None
    person_id: str
    camera_id: str
    entry_time: int
    exit_time: int | None
    status: Status

    @property
    def dwell(self) -> int | None:
        return None if self.exit_time is None else self.exit_time - self.entry_time


@dataclass
class History:
    """What the rules make of events: each event is named at most once on each list."""

    sessions: list[Session] = field(default_factory=list)
    unmatched_exits: list[Event] = field(default_factory=list)
    repeats: set[UUID] = field(default_factory=set)
    session_of_event: dict[UUID, Session] = field(default_factory=dict)


def history_of(store: Store) -> History:
    """Judge every named person's events at every camera of the store."""
    newest = store.newest_event()
    history = History()
    for signals in _per_person_and_camera(store, {"entry", "exit"}):
        _pair(signals, store, newest, history)
    for intervals in _per_person_and_camera(store, {"appearance"}):
        _take_intervals(intervals, history)
    return history


def _per_person_and_camera(store: Store, types: set[str]) -> Iterable[list[Event]]:
    groups: defaultdict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in store.counted_events():
        if event.event_type in types and not store.is_anonymous(event):
            groups[event.person_id, event.camera_id].append(event)
    return groups.values()


# --- order -------------------------------------------------------------------------------------------------


def in_order(signals: Iterable[Event], longest_session: int) -> list[Event]:
    """One person's entries and exits at one camera in their order, mixed instants resolved."""
    instants: defaultdict[int, list[Event]] = defaultdict(list)
    for event in signals:
        instants[event.time].append(event)
    times = sorted(instants)
    ordered: list[Event] = []
    for position, time in enumerate(times):
        entries = sorted((e for e in instants[time] if e.event_type == "entry"), key=_by_id)
        exits = sorted((e for e in instants[time] if e.event_type == "exit"), key=_by_id)
        if is_inside(position, times, instants, longest_session):
            ordered += exits + entries
        else:
            ordered += entries + exits
    return ordered


def is_inside(position: int, times: Sequence[int], instants: dict[int, list[Event]], longest_session: int) -> bool:
    """Whether the person is inside when the instant at `position` begins."""
    while position > 0:
        if times[position] - times[position - 1] > longest_session:
            return False
        position -= 1
        types = {event.event_type for event in instants[times[position]]}
        if len(types) == 1:
            return types == {"entry"}
    return False


def _by_id(event: Event) -> int:
    return event.event_id.int


# --- repeats and pairing -----------------------------------------------------------------------------------


def repeats_among(ordered: Sequence[Event], repeat_distance: int) -> set[UUID]:
    """Events that only say again what the event before them said."""
    repeats: set[UUID] = set()
    if repeat_distance == 0:
        return repeats
    for before, event in pairwise(ordered):
        if event.event_type == before.event_type and event.time - before.time <= repeat_distance:
            repeats.add(event.event_id)
    return repeats


def _pair(signals: list[Event], store: Store, newest: int | None, history: History) -> None:
    longest = store.parameters.longest_session
    ordered = in_order(signals, longest)
    repeats = repeats_among(ordered, store.parameters.repeat_distance)
    history.repeats |= repeats
    entry: Event | None = None
    for event in ordered:
        if event.event_id in repeats:
            continue
        closes = entry is not None and event.event_type == "exit" and event.time - entry.time <= longest
        if entry is not None:
            _open(entry, event if closes else None, "complete" if closes else "missing_exit", history)
        if event.event_type == "exit" and not closes:
            history.unmatched_exits.append(event)
        entry = event if event.event_type == "entry" else None
    if entry is not None:
        # An entry with no newest event to be measured against cannot be shown to be recent.
        recent = newest is not None and newest - entry.time <= longest
        _open(entry, None, "open" if recent else "missing_exit", history)


def _open(entry: Event, closing: Event | None, status: Status, history: History) -> None:
    session = Session(
        opened_by=entry.event_id,
        closed_by=closing.event_id if closing else None,
        person_id=entry.person_id,
        camera_id=entry.camera_id,
        entry_time=entry.time,
        exit_time=closing.time if closing else None,
        status=status,
    )
    history.sessions.append(session)
    history.session_of_event[entry.event_id] = session
    if closing:
        history.session_of_event[closing.event_id] = session


# --- intervals ---------------------------------------------------------------------------------------------


def _take_intervals(appearances: list[Event], history: History) -> None:
    sessions: dict[tuple[int, int], Session] = {}
    for event in sorted(appearances, key=_by_id):
        if event.end is None:
            continue
        span = (event.time, event.end)
        if span not in sessions:
            sessions[span] = Session(
                opened_by=event.event_id,
                closed_by=None,
                person_id=event.person_id,
                camera_id=event.camera_id,
                entry_time=event.time,
                exit_time=event.end,
                status="complete",
            )
            history.sessions.append(sessions[span])
        history.session_of_event[event.event_id] = sessions[span]
