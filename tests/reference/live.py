"""Live occupancy: who is inside at the time of the newest event, at each camera and at each site."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tests.reference.buckets import Level
from tests.reference.events import Store
from tests.reference.sessions import History, Session


@dataclass(frozen=True, slots=True)
class Live:
    """One place now. `as_of` is None where nothing has happened yet that is not later than its file's arrival."""

    as_of: int | None
    persons_inside: int
    capacity: int | None
    last_event_time: int | None


def live_of(store: Store, history: History) -> dict[tuple[Level, str], Live]:
    """Every camera that is listed or has events, and the site of each, keyed by (level, camera or site)."""
    sites = {camera.camera_id: camera.site_id for camera in store.cameras.values()} | store.site_of_camera()
    places: dict[tuple[Level, str], set[str]] = {("camera", camera): {camera} for camera in sites}
    for camera, site in sites.items():
        places.setdefault(("site", site), set()).add(camera)
    return {place: _live(cameras, store, history) for place, cameras in places.items()}


def _live(cameras: set[str], store: Store, history: History) -> Live:
    as_of = store.newest_event()
    times = [event.time for event in store.current_events() if event.camera_id in cameras]
    return Live(
        as_of=as_of,
        persons_inside=len(
            {one.person_id for one in history.sessions if one.camera_id in cameras and _holds(one, as_of)}
        ),
        capacity=_sum(store.cameras[camera].capacity if camera in store.cameras else None for camera in cameras),
        last_event_time=max(times, default=None),
    )


def _holds(session: Session, instant: int | None) -> bool:
    if session.exit_time is None:
        return session.status == "open"
    return instant is not None and session.entry_time <= instant < session.exit_time


def _sum(capacities: Iterable[int | None]) -> int | None:
    total = 0
    for capacity in capacities:
        if capacity is None:
            return None
        total += capacity
    return total
