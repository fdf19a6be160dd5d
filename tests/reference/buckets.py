"""Buckets: what is counted and measured per hour, day or week, at a camera or a site.

Seconds are exact fractions of the integer microseconds they come from; whoever compares turns them into
floating point.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from tests.reference.events import SECOND, Event, Store
from tests.reference.instants import BucketSize, bucket_end, bucket_start
from tests.reference.sessions import History, Session

Level = Literal["camera", "site"]
Span = tuple[int, int]


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
class _Contents:
    """What falls into one bucket: its events, the sessions that start in it, each person's time inside it."""

    events: list[Event] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    inside: defaultdict[str, list[Span]] = field(default_factory=lambda: defaultdict(list))


def buckets_of(store: Store, history: History, level: Level, size: BucketSize) -> dict[tuple[str, int], Measures]:
    """Every bucket that holds something, keyed by (camera or site, start of the bucket)."""
    sites = store.site_of_camera()
    zones = {site: store.zone_of_site(site) for site in sites.values()}
    contents: defaultdict[tuple[str, int], _Contents] = defaultdict(_Contents)

    def place(camera_id: str) -> str:
        return camera_id if level == "camera" else sites[camera_id]

    for event in store.counted_events():
        start = bucket_start(event.time, zones[sites[event.camera_id]], size)
        contents[place(event.camera_id), start].events.append(event)
    for session in history.sessions:
        zone = zones[sites[session.camera_id]]
        start = bucket_start(session.entry_time, zone, size)
        contents[place(session.camera_id), start].sessions.append(session)
        for start, span in _cut(session, zone, size):
            contents[place(session.camera_id), start].inside[session.person_id].append(span)
    zone_of_place = {place(camera_id): zones[site] for camera_id, site in sites.items()}
    return {
        (where, start): _measure(inner, bucket_end(start, zone_of_place[where], size) - start, store, history)
        for (where, start), inner in contents.items()
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


def _measure(contents: _Contents, length: int, store: Store, history: History) -> Measures:
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
