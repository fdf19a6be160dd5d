"""Demographic groups: which age group and gender an event tells, and the buckets of a site for each of them."""

from __future__ import annotations

from typing import NamedTuple

from tests.reference.buckets import Measures, buckets_by
from tests.reference.events import Event, Store
from tests.reference.instants import BucketSize
from tests.reference.sessions import History, Session

# The first age of each band, from the oldest down.
_BANDS = ((65, "65+"), (55, "55-64"), (45, "45-54"), (35, "35-44"), (25, "25-34"), (18, "18-24"))


class Group(NamedTuple):
    """The people of one kind at one site."""

    site_id: str
    age_group: str
    gender: str


def age_group_of(event: Event) -> str:
    """The age group as written; where there is none the band of the age; else `unknown`."""
    if event.age_group is not None:
        return event.age_group
    if event.age is None:
        return "unknown"
    for youngest, band in _BANDS:
        if event.age >= youngest:
            return band
    return "under 18"


def gender_of(event: Event) -> str:
    return "unknown" if event.gender is None else event.gender


def demographics_of(store: Store, history: History, size: BucketSize = "day") -> dict[tuple[Group, int], Measures]:
    """Every bucket that holds something, keyed by (group, start of the bucket)."""
    sites = store.site_of_camera()
    events = {event.event_id: event for event in store.events}

    def group_of(one: Event | Session) -> Group:
        event = events[one.opened_by] if isinstance(one, Session) else one
        return Group(sites[event.camera_id], age_group_of(event), gender_of(event))

    return buckets_by(group_of, store, history, size)
