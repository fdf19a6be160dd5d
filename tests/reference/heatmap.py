"""The occupancy heat map: a site's hours of one kind, such as all that begin on a Tuesday at 9, taken together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from tests.reference.buckets import Measures, buckets_of
from tests.reference.events import SECOND, Store
from tests.reference.instants import bucket_end, bucket_start, local_clock
from tests.reference.sessions import History

Cell = tuple[str, int, int]
"""A site, a weekday (1 is Monday, 7 Sunday) and an hour (0 to 23)."""


@dataclass(frozen=True, slots=True)
class Heat:
    """What the hours of one cell hold together."""

    hours: int
    events: int
    entries: int
    occupied_seconds: Fraction
    avg_occupancy: Fraction
    peak_occupancy: int


def heatmap_of(store: Store, history: History) -> dict[Cell, Heat]:
    """Every cell in which there is an hour between a site's first day with anything in it and the end of its last."""
    stored = buckets_of(store, history, "site", "hour")
    days: defaultdict[str, list[int]] = defaultdict(list)
    for site, day in buckets_of(store, history, "site", "day"):
        days[site].append(day)
    cells: defaultdict[Cell, list[tuple[int, Measures | None]]] = defaultdict(list)
    for site, starts in days.items():
        zone = store.zone_of_site(site)
        for hour in _hours_between(min(starts), bucket_end(max(starts), zone, "day"), zone):
            clock = local_clock(hour, zone)
            length = bucket_end(hour, zone, "hour") - hour
            cells[site, clock.isoweekday(), clock.hour].append((length, stored.get((site, hour))))
    return {cell: heat_of(hours) for cell, hours in cells.items()}


def _hours_between(start: int, end: int, zone: str) -> Iterable[int]:
    """The hours that begin from `start` on and before `end`."""
    hour = bucket_start(start, zone, "hour")
    while hour < end:
        if hour >= start:
            yield hour
        hour = bucket_end(hour, zone, "hour")


def heat_of(hours: list[tuple[int, Measures | None]]) -> Heat:
    """`hours` holds the length of each, and what was measured in it, if it is not empty."""
    filled = [measures for _, measures in hours if measures is not None]
    occupied = sum((measures.occupied_seconds for measures in filled), Fraction(0))
    return Heat(
        hours=len(hours),
        events=sum(measures.events for measures in filled),
        entries=sum(measures.entries for measures in filled),
        occupied_seconds=occupied,
        avg_occupancy=occupied / Fraction(sum(length for length, _ in hours), SECOND),
        peak_occupancy=max((measures.peak_occupancy for measures in filled), default=0),
    )
