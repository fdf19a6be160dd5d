"""Buckets: what is counted and measured per hour, day or week, at a camera, a site or of a part of the people.

Seconds are exact fractions of the integer microseconds they come from; whoever compares turns them into
floating point.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, TypeVar

from tests.reference.events import SECOND, Event, Store
from tests.reference.instants import BucketSize, bucket_end, bucket_start
from tests.reference.sessions import History, Session

Level = Literal["camera", "site"]
Span = tuple[int, int]
Place = TypeVar("Place", bound=Hashable)


@dataclass(frozen=True)
class Measures:
    """One row of a bucket table. Durations in seconds; None where there is nothing to measure."""

    events: int
    entries: int
    exits: int
    unique_visitors: int
    sessions_started: int
    completed_sessions: int
    dwell_seconds_total: Fraction
    dwell_seconds_avg: Fraction | None
    dwell_seconds_median: Fraction | None
    dwell_seconds_p90: Fraction | None
    dwell_seconds_max: Fraction | None
    occupied_seconds: Fraction
    avg_occupancy: Fraction
    peak_occupancy: int


@dataclass
class Contents:
    """What falls into one bucket: its events, the sessions that start in it, each person's time inside it."""

    events: list[Event] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    inside: defaultdict[str, list[Span]] = field(default_factory=lambda: defaultdict(list))


def buckets_of(store: Store, history: History, level: Level, size: BucketSize) -> dict[tuple[str, int], Measures]:
    """Every bucket that holds something, keyed by (camera or site, start of the bucket)."""
    sites = store.site_of_camera()
    return buckets_by(lambda one: one.camera_id if level == "camera" else sites[one.camera_id], store, history, size)


def buckets_by(
    place_of: Callable[[Event | Session], Place], store: Store, history: History, size: BucketSize
) -> dict[tuple[Place, int], Measures]:
    """Every bucket that holds something, keyed by (place, start of the bucket).

    A place is whatever `place_of` sorts events and sessions into, in the time zone of their camera's site; all
    of one place must share a zone.
    """
    zone_of_camera = {camera: store.zone_of_site(site) for camera, site in store.site_of_camera().items()}
    zone_of_place: dict[Place, str] = {}
    contents: defaultdict[tuple[Place, int], Contents] = defaultdict(Contents)
    for event in store.counted_events():
        zone, place = zone_of_camera[event.camera_id], place_of(event)
        zone_of_place[place] = zone
        contents[place, bucket_start(event.time, zone, size)].events.append(event)
    for session in history.sessions:
        zone, place = zone_of_camera[session.camera_id], place_of(session)
        zone_of_place[place] = zone
        contents[place, bucket_start(session.entry_time, zone, size)].sessions.append(session)
        for start, span in _cut(session, zone, size):
            contents[place, start].inside[session.person_id].append(span)
    return {
        (place, start): measures_of(inner, bucket_end(start, zone_of_place[place], size) - start, store, history)
        for (place, start), inner in contents.items()
    }


def _cut(session: Session, zone: str, size: BucketSize) -> Iterable[tuple[int, Span]]:
    """The buckets that a complete session covers for a positive time, with the part that it covers."""
    if session.exit_time is None:
        return
    at = session.entry_time
    while at < session.exit_time:
        start = bucket_start(at, zone, size)
        until = min(bucket_end(start, zone, size), session.exit_time)
        yield start, (at, until)
        at = until


def measures_of(contents: Contents, length: int, store: Store, history: History) -> Measures:
    signals = [event for event in contents.events if event.event_id not in history.repeats]
    visitors = {event.person_id for event in contents.events if not store.is_anonymous(event)} | set(contents.inside)
    dwells = sorted(session.dwell for session in contents.sessions if session.dwell is not None)
    stays = {person: union(spans) for person, spans in contents.inside.items()}
    occupied = sum(end - start for spans in stays.values() for start, end in spans)
    return Measures(
        events=len(contents.events),
        entries=sum(event.event_type == "entry" for event in signals),
        exits=sum(event.event_type == "exit" for event in signals),
        unique_visitors=len(visitors),
        sessions_started=len(contents.sessions),
        completed_sessions=len(dwells),
        dwell_seconds_total=Fraction(sum(dwells), SECOND),
        dwell_seconds_avg=Fraction(sum(dwells), len(dwells) * SECOND) if dwells else None,
        dwell_seconds_median=quantile(dwells, Fraction(1, 2)),
        dwell_seconds_p90=quantile(dwells, Fraction(9, 10)),
        dwell_seconds_max=Fraction(dwells[-1], SECOND) if dwells else None,
        occupied_seconds=Fraction(occupied, SECOND),
        avg_occupancy=Fraction(occupied, length),
        peak_occupancy=peak(span for spans in stays.values() for span in spans),
    )


def union(spans: Iterable[Span]) -> list[Span]:
    """The same time, each instant of it once: sorted spans that neither overlap nor touch."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def peak(spans: Iterable[Span]) -> int:
    """Most spans that hold at one instant; a span holds from its start up to, not at, its end."""
    steps = sorted(step for start, end in spans for step in ((start, 1), (end, -1)))
    inside = most = 0
    for _, step in steps:
        inside += step
        most = max(most, inside)
    return most


def quantile(ordered: Sequence[int], share: Fraction) -> Fraction | None:
    """The quantile by linear interpolation between closest ranks, in seconds, as SQL's `percentile_cont`."""
    if not ordered:
        return None
    rank = share * (len(ordered) - 1)
    below = rank.numerator // rank.denominator
    above = min(below + 1, len(ordered) - 1)
    return (ordered[below] + (rank - below) * (ordered[above] - ordered[below])) / SECOND
