"""What goes into the reference: events, cameras, the parameters, and the store that holds them.

Instants and durations are integers: microseconds since 1970-01-01 UTC, and microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

EventType = Literal["entry", "exit", "appearance", "other"]


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters on which sessions, visits and buckets depend, with their defaults."""

    max_session_hours: float = 12
    repeat_seconds: float = 60
    default_timezone: str = "UTC"
    excluded_ids: tuple[str, ...] = ()
    min_confidence: float | None = None
    anonymous_ids: tuple[str, ...] = ("-1", "unknown", "anonymous")
    visit_gap_minutes: float = 30
    bounce_seconds: float = 30

    @property
    def longest_session(self) -> int:
        return round(self.max_session_hours * HOUR)

    @property
    def repeat_distance(self) -> int:
        return round(self.repeat_seconds * SECOND)

    @property
    def visit_gap(self) -> int:
        return round(self.visit_gap_minutes * MINUTE)

    @property
    def bounce_length(self) -> int:
        return round(self.bounce_seconds * SECOND)


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it stands in the store. `arrived_at` and `file_site` are those of its file."""

    event_id: UUID
    person_id: str
    camera_id: str
    event_type: EventType
    time: int
    end: int | None = None
    confidence: float | None = None
    arrived_at: int = 2**62
    file_site: str | None = None
    age: int | None = None
    age_group: str | None = None
    gender: str | None = None


@dataclass(frozen=True, slots=True)
class Camera:
    """One row of the camera list."""

    camera_id: str
    site_id: str
    timezone: str
    capacity: int | None = None


@dataclass(frozen=True)
class Store:
    """Everything that is known: all events, the camera list, the parameters."""

    events: tuple[Event, ...]
    cameras: Mapping[str, Camera] = field(default_factory=dict)
    parameters: Parameters = field(default_factory=Parameters)
    # Subfolders of files that brought no event.
    barren_subfolders: frozenset[str] = frozenset()

    def is_anonymous(self, event: Event) -> bool:
        return _is_listed(event.person_id, self.parameters.anonymous_ids)

    def is_ignored(self, event: Event) -> bool:
        if _is_listed(event.person_id, self.parameters.excluded_ids):
            return True
        least = self.parameters.min_confidence
        return least is not None and event.confidence is not None and event.confidence < least

    def counted_events(self) -> list[Event]:
        """Every event that is not ignored: only these take part in any rule or measure."""
        return [event for event in self.events if not self.is_ignored(event)]

    def current_events(self) -> list[Event]:
        """The counted events that are not later than their file's arrival: clocks run ahead now and then."""
        return [event for event in self.counted_events() if event.time <= event.arrived_at]

    def newest_event(self) -> int | None:
        """The time of the latest of the current events."""
        return max((event.time for event in self.current_events()), default=None)

    def site_of_camera(self) -> dict[str, str]:
        """The site of each camera that has events: the camera list's, else its subfolder, else `default`.

        Its subfolder is what stands before the first slash of its id, if any file was dropped into one of that name.
        """
        subfolders = {event.file_site for event in self.events} | self.barren_subfolders
        sites: dict[str, str] = {}
        for event in self.events:
            listed = self.cameras.get(event.camera_id)
            folder, slash, _ = event.camera_id.partition("/")
            unlisted = folder if slash and folder in subfolders else "default"
            sites[event.camera_id] = listed.site_id if listed else unlisted
        return sites

    def zone_of_site(self, site_id: str) -> str:
        """The one time zone of a site: the camera list's, else the default zone."""
        for camera in self.cameras.values():
            if camera.site_id == site_id:
                return camera.timezone
        return self.parameters.default_timezone


def _is_listed(person_id: str, listed: tuple[str, ...]) -> bool:
    return person_id.strip().lower() in {other.strip().lower() for other in listed}
