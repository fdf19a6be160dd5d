"""Visits and visitors: each rule on a history small enough to be judged by eye, and what increments make of changes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date, datetime, timedelta

from tests.integration.modelling import Models, Signal, at, stay

NOON = at("2024-05-01 12:00:00")
MINUTE = 60


Stay = tuple[float, float | None]
"""Minutes after noon: an entry, and its exit or None."""


def stays(person: str, camera: str, *those: Stay) -> list[Signal]:
    """Intervals, which may overlap, and entries without exit."""
    return [
        Signal(
            person,
            camera,
            "entry" if end is None else "appearance",
            after(start),
            None if end is None else after(end),
        )
        for start, end in those
    ]


Span = tuple[float, float, int]
"""A visit: minutes after noon of its start and its end, and its sessions."""


def after(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def assert_visits(models: Models, *expected: Span, person: str = "p") -> None:
    visits = models.rows("visits", "start_time, end_time, session_count, person_id")
    found = [tuple(visit) for *visit, who in visits if who == person]
    assert found == [(after(start), after(end), sessions) for start, end, sessions in expected], person


def row_versions(models: Models, table: str) -> set[tuple[str, str]]:
    """Where each row of an intermediate table lies and which transaction wrote it."""
    with models.warehouse.connect("transformer") as connection:
        return set(connection.execute(f"select ctid::text, xmin::text from intermediate.{table}"))  # type: ignore[arg-type]


A_MICROSECOND = 1 / 60_000_000

# One history per rule: stays at the door, stays at the till, and the visits that they are as (start, end, dwell in
# minutes, sessions, cameras, whether complete).
HISTORIES: dict[str, tuple[list[Stay], list[Stay], list[tuple[float, float, float, int, int, bool]]]] = {
    "one session": ([(0, 10)], [], [(0, 10, 10, 1, 1, True)]),
    "one entry": ([(0, None)], [], [(0, 0, 0, 1, 1, False)]),
    "no time": ([(0, 0)], [], [(0, 0, 0, 1, 1, True)]),
    "exactly the gap": ([(0, 10), (40, 50)], [], [(0, 50, 20, 2, 1, True)]),
    "a microsecond more": (
        [(0, 10), (40 + A_MICROSECOND, 50)],
        [],
        [(0, 10, 10, 1, 1, True), (40 + A_MICROSECOND, 50, 10 - A_MICROSECOND, 1, 1, True)],
    ),
    "an overlap counts once": ([(0, 10)], [(5, 20)], [(0, 20, 20, 2, 2, True)]),
    "one within another": ([(0, 60)], [(10, 20)], [(0, 60, 60, 2, 2, True)]),
    "the gap is from the latest end": ([(0, 60), (85, 90)], [(10, 20)], [(0, 90, 65, 3, 2, True)]),
    "a gap within is no dwell": ([(0, 60), (70, 80)], [(10, 20), (75, 90)], [(0, 90, 80, 4, 2, True)]),
    "an entry reaches no further": (
        [(0, None), (31, 40)],
        [],
        [(0, 0, 0, 1, 1, False), (31, 40, 9, 1, 1, True)],
    ),
    "an entry bridges": ([(0, 10), (55, 60)], [(35, None)], [(0, 60, 15, 3, 2, False)]),
    "an entry within": ([(0, 60)], [(20, None)], [(0, 60, 60, 2, 2, False)]),
    "chained": ([(0, 10), (70, 80)], [(35, 45)], [(0, 80, 30, 3, 2, True)]),
    "at one instant": ([(0, 0), (0, 5)], [(0, 10)], [(0, 10, 10, 3, 2, True)]),
}  # fmt: skip


def test_which_sessions_are_one_visit(models: Models) -> None:
    for person, (door, till, _) in HISTORIES.items():
        models.load(stays(person, "DOOR", *door) + stays(person, "TILL", *till))
    models.build("--select", "+visits +visitors", "--indirect-selection", "cautious")
    visits = models.records("visits", "person_id, start_time")
    for person, (*_, expected) in HISTORIES.items():
        found = [
            (
                visit["start_time"],
                visit["end_time"],
                visit["dwell_seconds"],
                visit["session_count"],
                visit["camera_count"],
                visit["is_complete"],
            )
            for visit in visits
            if visit["person_id"] == person
        ]
        assert found == [
            (after(start), after(end), timedelta(minutes=dwell).total_seconds(), *rest)
            for start, end, dwell, *rest in expected
        ], person
        for visit in visits:
            elapsed = visit["end_time"] - visit["start_time"]
            assert visit["elapsed_seconds"] == elapsed.total_seconds()
    assert sum(visit["session_count"] for visit in visits) == sum(
        len(door) + len(till) for door, till, _ in HISTORIES.values()
    )


def test_the_smallest_id_of_those_that_enter_first_names_the_visit(models: Models) -> None:
    models.load(
        [
            Signal("p", "TILL", "appearance", NOON, after(1), number=7),
            Signal("p", "DOOR", "appearance", NOON, after(9), number=8),
            Signal("p", "GATE", "appearance", after(1), after(9), number=3),
        ]
    )
    models.run()
    assert [row[0].int for row in models.rows("visits", "visit_id")] == [7]


def test_visits_are_of_one_site_and_one_person(models: Models) -> None:
    models.load(stays("p", "DOOR", (0, 10), (15, 20)) + stays("q", "DOOR", (0, 12)))
    models.load(stays("p", "hall/DOOR", (12, 13)), site="hall")
    models.run()
    assert models.rows("visits", "person_id, site_id, start_time, end_time", "1, 2") == [
        ("p", "default", after(0), after(20)),
        ("p", "hall", after(12), after(13)),
        ("q", "default", after(0), after(12)),
    ]


def test_a_bounce_is_complete_and_shorter_than_the_limit(models: Models) -> None:
    signals = [
        *stay("short", "CAM", NOON, 29.999999),
        *stay("limit", "CAM", NOON, 30),
        *stay("none", "CAM", NOON, 0),
        *stay("open", "CAM", NOON),
        *stay("twice", "CAM", NOON, 10),
        *stay("twice", "CAM", NOON + timedelta(seconds=25), 5),
    ]
    models.set_parameters(repeat_seconds=0)
    models.load(signals)
    models.run()
    bounces = dict(models.rows("visits", "person_id, is_bounce"))
    assert bounces == {"short": True, "limit": False, "none": True, "open": False, "twice": False}
    before = row_versions(models, "int_visits")
    models.set_parameters(bounce_seconds=31)
    models.run()
    assert dict(models.rows("visits", "person_id, is_bounce")) == bounces | {"limit": True, "twice": True}
    assert row_versions(models, "int_visits") == before


def test_another_gap_makes_other_visits(models: Models) -> None:
    models.load(stays("p", "CAM", (0, 10), (10, 20), (20 + A_MICROSECOND, 30), (61, 70)))
    models.run()
    assert_visits(models, (0, 30, 3), (61, 70, 1))
    models.set_parameters(visit_gap_minutes=0)
    models.run()
    assert_visits(models, (0, 20, 2), (20 + A_MICROSECOND, 30, 1), (61, 70, 1))
    models.load(stays("p", "CAM", (25, 61)))
    models.run()
    assert_visits(models, (0, 20, 2), (20 + A_MICROSECOND, 70, 3))
    models.set_parameters(visit_gap_minutes=0.5)
    models.run()
    assert_visits(models, (0, 70, 5))


# Starts of visits, and their dates where the clock is: midnight, both changes of the clock, a clock that goes back over
# midnight by a part of an hour (what shows the old date again belongs to the day that has begun).
DATES = [
    ("Asia/Tokyo", "2024-05-01 14:59:59.999999", date(2024, 5, 1)),
    ("Asia/Tokyo", "2024-05-01 15:00:00", date(2024, 5, 2)),
    ("Europe/Berlin", "2024-03-30 22:59:59", date(2024, 3, 30)),
    ("Europe/Berlin", "2024-03-31 21:59:59", date(2024, 3, 31)),
    ("Europe/Berlin", "2024-03-31 22:00:00", date(2024, 4, 1)),
    ("Europe/Berlin", "2024-10-27 22:59:59", date(2024, 10, 27)),
    ("America/St_Johns", "2010-11-07 02:29:59", date(2010, 11, 6)),
    ("America/St_Johns", "2010-11-07 02:30:00", date(2010, 11, 7)),
    ("America/St_Johns", "2010-11-07 02:45:00", date(2010, 11, 7)),
]  # fmt: skip


def test_the_date_of_a_visit_is_that_of_the_day_bucket_of_its_start(models: Models) -> None:
    zones = {zone for zone, *_ in DATES}
    models.set_cameras(*({"camera_id": zone, "site_id": zone.lower(), "timezone": zone} for zone in zones))
    models.load(
        signal for number, (zone, start, _) in enumerate(DATES) for signal in stay(f"p{number}", zone, start, 5 * 3600)
    )
    models.run()
    assert [row[0] for row in models.rows("visits", "visit_date", "person_id")] == [day for *_, day in DATES]


def returning(models: Models, person: str = "p") -> list[bool]:
    found = models.rows("visits", "start_time, is_returning, person_id")
    return [is_returning for _, is_returning, who in found if who == person]


def test_who_returns_has_a_visit_there_on_an_earlier_date(models: Models) -> None:
    models.load(stays("p", "CAM", (0, 10), (120, 130)) + stays("q", "CAM", (0, 10)))
    models.load(stays("p", "hall/CAM", (1440, 1450)), site="hall")
    models.run()
    assert returning(models) == [False, False, False]  # twice on one day, then elsewhere
    later = models.load(stays("p", "CAM", (2880, 2890)))
    models.run()
    assert returning(models) == [False, False, False, True]
    tables = ("int_visits", "int_first_visits")
    before = [row_versions(models, table) for table in tables]
    earlier = models.load(stays("p", "CAM", (-1440, -1430)))
    models.run()
    assert returning(models) == [False, True, True, False, True]
    then = [row_versions(models, table) for table in tables]
    assert [len(rows - known) for rows, known in zip(then, before, strict=True)] == [1, 1]
    models.retract(earlier)
    models.run()
    assert returning(models) == [False, False, False, True]
    models.retract(later)
    models.run()
    assert returning(models) == [False, False, False]


def test_a_visitor_whose_last_visit_is_taken_back_is_forgotten(models: Models) -> None:
    models.load(stays("q", "CAM", (0, 10)))
    file_id = models.load(stays("p", "hall/CAM", (0, 10), (90, 95)), site="hall")
    models.run()
    assert len(models.rows("visitors")) == 2
    models.retract(file_id)  # the camera and its site go with it
    models.run()
    assert models.rows("visitors", "person_id") == [("q",)]
    assert models.rows("visits", "person_id") == [("q",)]
    with models.warehouse.connect("transformer") as connection:
        assert connection.execute("select person_id from intermediate.int_first_visits").fetchall() == [("q",)]


# What is there, what comes late, and the visits before and after. Retracting the late file must undo it.
CHANGES: dict[str, tuple[list[Stay], list[Stay], list[Span], list[Span]]] = {
    "bridges two visits": (
        [(0, 10), (60, 70)],
        [(35, 40)],
        [(0, 10, 1), (60, 70, 1)],
        [(0, 70, 3)],
    ),
    "bridges by reaching the gap on both sides": (
        [(0, 10), (80, 90)],
        [(40, 50)],
        [(0, 10, 1), (80, 90, 1)],
        [(0, 90, 3)],
    ),
    "covers several visits": (
        [(0, 10), (60, 70), (120, 130), (300, 310)],
        [(5, 125)],
        [(0, 10, 1), (60, 70, 1), (120, 130, 1), (300, 310, 1)],
        [(0, 130, 4), (300, 310, 1)],
    ),
    "lies in a long visit that began long before": (
        [(0, 600)],
        [(500, 510)],
        [(0, 600, 1)],
        [(0, 600, 2)],
    ),
    "extends a visit at its end": (
        [(0, 10), (30, 45), (200, 210)],
        [(75, 80)],
        [(0, 45, 2), (200, 210, 1)],
        [(0, 80, 3), (200, 210, 1)],
    ),
    "comes first and names the visit": (
        [(0, 10), (20, 30)],
        [(-20, -10)],
        [(0, 30, 2)],
        [(-20, 30, 3)],
    ),
    "stands alone": (
        [(0, 10), (200, 210)],
        [(100, 101)],
        [(0, 10, 1), (200, 210, 1)],
        [(0, 10, 1), (100, 101, 1), (200, 210, 1)],
    ),
    "is a microsecond too far on both sides": (
        [(0, 10), (80, 90)],
        [(40 + A_MICROSECOND, 50 - A_MICROSECOND)],
        [(0, 10, 1), (80, 90, 1)],
        [(0, 10, 1), (40 + A_MICROSECOND, 50 - A_MICROSECOND, 1), (80, 90, 1)],
    ),
}  # fmt: skip


def test_late_sessions_join_visits_and_retracted_ones_part_them(models: Models) -> None:
    for person, (there, *_) in CHANGES.items():
        models.load(stays(person, "CAM", *there))
    models.run()
    for person, (_, _, before, _) in CHANGES.items():
        assert_visits(models, *before, person=person)
    late = models.load(
        signal for person, (_, coming, *_) in CHANGES.items() for signal in stays(person, "TILL", *coming)
    )
    models.run()
    for person, (*_, with_late_ones) in CHANGES.items():
        assert_visits(models, *with_late_ones, person=person)
    models.retract(late)
    models.run()
    for person, (_, _, before, _) in CHANGES.items():
        assert_visits(models, *before, person=person)


def test_a_session_whose_exit_changes_leaves_the_visit_it_reached(models: Models) -> None:
    models.load(stay("p", "CAM", NOON, 60 * MINUTE) + stays("p", "TILL", (80, 90)))
    models.run()
    assert_visits(models, (0, 90, 2))
    early = models.load([Signal("p", "CAM", "exit", after(10))])
    models.run()
    assert_visits(models, (0, 10, 1), (80, 90, 1))
    models.retract(early)
    models.run()
    assert_visits(models, (0, 90, 2))


def test_an_increment_leaves_untouched_visits_as_they_lie(models: Models) -> None:
    models.load(stays("p", "CAM", (0, 10), (20, 30), (100, 110), (200, 210)) + stays("q", "CAM", (0, 10)))
    models.load(stays("p", "hall/CAM", (0, 10)), site="hall")
    models.run()
    before, first_before = row_versions(models, "int_visits"), row_versions(models, "int_first_visits")
    models.load(stays("p", "CAM", (115, 120)))
    models.run()
    then = row_versions(models, "int_visits")
    assert (len(before - then), len(then - before)) == (1, 1)
    assert row_versions(models, "int_first_visits") == first_before
    models.load([Signal("p", "CAM", "other", after(118))])  # changes no session
    models.run()
    assert row_versions(models, "int_visits") == then


def test_visitors_are_named_persons_with_a_counted_event(models: Models) -> None:
    models.set_parameters(excluded_ids=["staff"], min_confidence=0.5)
    models.load(
        [
            *stay("p", "CAM", NOON, 600),
            *stay("p", "CAM", NOON + timedelta(seconds=30)),  # repeats the entry
            *stay("p", "CAM", NOON + timedelta(hours=3), 60),
            Signal("p", "TILL", "other", NOON + timedelta(days=9)),
            *stay("p", "TILL", NOON + timedelta(days=2), 60),
            Signal("leaves", "CAM", "exit", NOON),
            *stay("staff", "CAM", NOON, 600),
            *stay("unknown", "CAM", NOON, 600),
            Signal("doubtful", "CAM", "entry", NOON, confidence=0.4),
        ]
    )
    models.load(stay("p", "hall/CAM", NOON + timedelta(days=1), 7), site="hall")
    models.run()
    assert models.records("visitors", "person_id, site_id") == [
        {
            "site_id": "default",
            "person_id": "leaves",
            "first_event_time": NOON,
            "last_event_time": NOON,
            "event_count": 1,
            "first_visit_date": None,
            "last_visit_date": None,
            "visit_count": 0,
            "visit_days": 0,
            "dwell_seconds_total": 0.0,
            "is_repeat_visitor": False,
        },
        {
            "site_id": "default",
            "person_id": "p",
            "first_event_time": NOON,
            "last_event_time": NOON + timedelta(days=9),
            "event_count": 8,
            "first_visit_date": date(2024, 5, 1),
            "last_visit_date": date(2024, 5, 3),
            "visit_count": 3,
            "visit_days": 2,
            "dwell_seconds_total": 720.0,
            "is_repeat_visitor": True,
        },
        {
            "site_id": "hall",
            "person_id": "p",
            "first_event_time": NOON + timedelta(days=1),
            "last_event_time": NOON + timedelta(days=1, seconds=7),
            "event_count": 2,
            "first_visit_date": date(2024, 5, 2),
            "last_visit_date": date(2024, 5, 2),
            "visit_count": 1,
            "visit_days": 1,
            "dwell_seconds_total": 7.0,
            "is_repeat_visitor": False,
        },
    ]


def random_signals(chance: random.Random, count: int, cameras: Sequence[str]) -> list[Signal]:
    """Sessions that meet, chain and just miss one another, of few persons over a few days."""
    signals: list[Signal] = []
    for _ in range(count):
        person, camera = chance.choice("pq"), chance.choice(cameras)
        start = NOON + timedelta(
            minutes=chance.choice([0, 5, 30, 40, 70, 95]) + chance.choice([0, 0, 100, 1440, 4320]),
            microseconds=chance.choice([0, 0, 1]),
        )
        end = start + timedelta(minutes=chance.choice([0, 5, 10, 30, 200]))
        signals += chance.choice(
            [
                [Signal(person, camera, "entry", start), Signal(person, camera, "exit", end)],
                [Signal(person, camera, "appearance", start, end)],
                [Signal(person, camera, chance.choice(["entry", "exit"]), start)],
            ]
        )
    return signals


def test_any_batching_gives_the_visits_of_a_full_refresh(models: Models) -> None:
    chance = random.Random(1)
    models.set_cameras({"camera_id": "CAM", "site_id": "shop", "timezone": "Europe/Berlin"})
    loaded: list[int] = []
    for _ in range(5):
        site = chance.choice([None, None, "hall"])
        signals = random_signals(chance, chance.choice([3, 10, 25]), ["hall/CAM"] if site else ["CAM", "TILL"])
        loaded.append(models.load(signals, site=site))
        if len(loaded) > 2 and chance.random() < 0.5:
            models.retract(loaded.pop(chance.randrange(len(loaded))))
        models.run()
    by_increments = models.rows("visits as t", "t::text")
    models.run("--full-refresh")
    assert models.rows("visits as t", "t::text") == by_increments
