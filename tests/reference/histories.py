"""Random stores for property tests: short histories of few people, full of ties and of values at a limit.

Everything about a store is drawn: parameters, camera list, files, events. Steps between events come from the
limits of the rules, so that a microsecond decides.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import strategies as st

from tests.reference.events import HOUR, MINUTE, SECOND, Camera, Event, EventType, Parameters, Store

DAY = 24 * HOUR

# Instants around which clocks do something: (zone, UTC).
_STRANGE_HOURS = (
    ("UTC", "2024-02-29 23:59:00"),
    ("America/New_York", "2024-03-10 06:30:00"),
    ("America/New_York", "2024-11-03 05:30:00"),
    ("Asia/Kolkata", "2024-05-01 18:25:00"),
    ("Asia/Kathmandu", "2024-05-01 18:10:00"),
    ("Australia/Lord_Howe", "2024-04-06 14:50:00"),
    ("Australia/Lord_Howe", "2024-10-05 15:20:00"),
    ("Asia/Beirut", "2024-03-30 21:50:00"),
    ("Asia/Beirut", "2024-10-26 20:50:00"),
    ("America/Sao_Paulo", "2018-11-04 02:50:00"),
    ("America/Caracas", "2016-05-01 06:50:00"),
    ("Asia/Pyongyang", "2018-05-04 14:50:00"),
    ("Pacific/Apia", "2011-12-30 09:50:00"),
    ("America/St_Johns", "2011-11-06 02:25:00"),
)
ZONES = sorted({zone for zone, _ in _STRANGE_HOURS})

# What one step of a line brings: an event, an instant of both types, an event told twice.
_HAPPENINGS: tuple[tuple[EventType, ...], ...] = (
    *(("entry",), ("entry",), ("entry",)),
    *(("exit",), ("exit",), ("exit",)),
    ("entry", "exit"),
    ("entry", "exit"),
    ("entry", "entry"),
    ("exit", "exit"),
    ("appearance",),
    ("appearance", "appearance"),
    ("other",),
)
# Age, age group and gender as a row tells them.
Look = tuple[int | None, str | None, str | None]
LOOKS: tuple[Look, ...] = (
    (None, None, None),
    (None, None, None),
    (17, None, "F"),
    (18, None, "F"),
    (24, None, "f"),
    (65, None, None),
    (30, "Senior", "M"),
    (None, "18-24", "F"),
    (None, "unknown", "unknown"),
)
_PERSONS = ("ann", "Ann", "bob", "ÉVA", "O'Neil, 7", "éva", "-1", "UNKNOWN", "guard", "Guard")


def micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def moment_of(text: str) -> int:
    """An instant as people write it, in UTC."""
    return micros(datetime.fromisoformat(text).replace(tzinfo=UTC))


def _starts() -> st.SearchStrategy[tuple[str, int]]:
    return st.sampled_from(_STRANGE_HOURS).map(lambda hour: (hour[0], moment_of(hour[1])))


@st.composite
def parameters(draw: st.DrawFn) -> Parameters:
    return Parameters(
        max_session_hours=draw(st.sampled_from([12, 1, 0.5])),
        repeat_seconds=draw(st.sampled_from([60, 60, 0, 2.5])),
        default_timezone=draw(st.sampled_from(ZONES)),
        excluded_ids=draw(st.sampled_from([(), (), (" GUARD",), ("Éva", "bob")])),
        min_confidence=draw(st.sampled_from([None, None, 0.5])),
        anonymous_ids=draw(st.sampled_from([("-1", "unknown", "anonymous"), (), ("Ann ",)])),
        visit_gap_minutes=draw(st.sampled_from([30, 30, 10, 0])),
        bounce_seconds=draw(st.sampled_from([30, 30, 2.5, 0])),
    )


def _steps(rules: Parameters) -> st.SearchStrategy[int]:
    """Distances between one event and the next: none, tiny, and around the limits of the rules."""
    limits = (rules.repeat_distance, rules.longest_session, rules.visit_gap, rules.bounce_length)
    around = [limit + more for limit in limits for more in (-1, 0, 1) if limit + more >= 0]
    small = st.sampled_from([0, 0, 0, 0, 1, SECOND // 2, SECOND, 30 * SECOND, 10 * MINUTE])
    large = st.sampled_from([45 * MINUTE, HOUR, 5 * HOUR, 13 * HOUR, 26 * HOUR, 8 * DAY])
    return small | st.sampled_from(around) | st.sampled_from([*limits, *limits, 9 * MINUTE]) | large


@st.composite
def _cameras(draw: st.DrawFn, zone: str) -> tuple[dict[str, Camera], list[str]]:
    """A camera list, and the cameras that events name: listed or not, and maybe called as if in a subfolder."""
    zones = {"mall": zone, "farm": draw(st.sampled_from(ZONES)), "north": draw(st.sampled_from(ZONES))}
    used = ["door", "till", "yard", "north/door", "north/till", "north/hall/door", "hall/door", "unlisted", "north"]
    listed = {"door": "mall", "till": "mall", "yard": "farm", "north/door": "north"}
    kept = draw(st.sets(st.sampled_from(sorted(listed)), max_size=4) | st.just(set(listed)))
    capacities = st.sampled_from([None, 0, 5, 80, 80])
    cameras = {name: Camera(name, site, zones[site], draw(capacities)) for name, site in listed.items() if name in kept}
    any_few = st.lists(st.sampled_from(used), min_size=1, max_size=3, unique=True)
    return cameras, draw(any_few | st.just(["door", "till"]) | st.just(["door", "till", "yard"]))


def _subfolder_of(camera_id: str) -> st.SearchStrategy[str | None]:
    """Where a file that names the camera may have been dropped: at the root, or in the folder its id begins with."""
    folder, slash, _ = camera_id.partition("/")
    return st.sampled_from([None, folder]) if slash else st.none()


@st.composite
def stores(draw: st.DrawFn, most_lines: int = 8, most_steps: int = 8) -> Store:
    """A store of several lines: each one a person's events, in steps from one start, mostly at one camera.

    Now and then a step leads to another camera or to an instant of another event, an interval's end among them, or
    an event is told again under another id. A line may lie a year before the others.
    """
    rules = draw(parameters())
    zone, start = draw(_starts())
    cameras, used = draw(_cameras(zone))
    subfolders = {camera: _subfolder_of(camera) for camera in used}
    arrivals = st.sampled_from([start + draw(st.sampled_from([DAY, 3 * HOUR, 400 * DAY])) for _ in range(2)])
    offsets = (0, 0, 7 * SECOND, 9 * MINUTE, -HOUR, 11 * HOUR, -366 * DAY)
    people = draw(st.lists(st.sampled_from(_PERSONS), min_size=1, max_size=4, unique=True))
    instants = [start]
    events: list[Event] = []
    for _ in range(draw(st.integers(1, most_lines))):
        person, look = draw(st.sampled_from(people)), draw(st.sampled_from(LOOKS))
        camera = draw(st.sampled_from(used))
        time = start + draw(st.sampled_from(offsets))
        for _ in range(draw(st.integers(1, most_steps))):
            another = draw(st.integers(0, 7)) == 0
            time = draw(st.sampled_from(instants)) if another else time + draw(_steps(rules))
            if draw(st.integers(0, 3)) == 0:
                camera, look = draw(st.sampled_from(used)), draw(st.sampled_from(LOOKS))
            kinds = draw(st.sampled_from(_HAPPENINGS))
            end = time + draw(_steps(rules)) if kinds[0] == "appearance" and draw(st.integers(0, 7)) else None
            instants += [time] if end is None else [time, end]
            events += [
                Event(
                    # The drawn part decides the order of ids, the count keeps them apart.
                    event_id=UUID(int=draw(st.integers(0, 255)) << 120 | len(events) << 8 | number),
                    person_id=person,
                    camera_id=camera,
                    event_type=kind,
                    time=time,
                    end=end,
                    confidence=draw(st.sampled_from([None, 0.9, 0.9, 0.5, 0.49])),
                    arrived_at=draw(arrivals),
                    file_site=draw(subfolders[camera]),
                    age=look[0],
                    age_group=look[1],
                    gender=look[2],
                )
                for number, kind in enumerate(kinds)
            ]
    return Store(tuple(events), cameras, rules, draw(st.frozensets(st.sampled_from(["hall", "north"]), max_size=1)))
