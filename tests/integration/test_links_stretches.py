"""How far an increment looks around what is new: to the nearest cut, which every kind of cut is tried for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.integration.linking import NOON, Links, history, open_links
from tests.integration.modelling import Signal
from tests.integration.transcripts import Replay
from warehouse.connections import Warehouse

JUST = 0.000001  # a stretch with nothing after it ends just after its last instant


@pytest.fixture
def links(warehouse: Warehouse, replay: Replay) -> Iterator[Links]:
    with open_links(warehouse, replay) as links:
        yield links


# What is there, what comes late, and the stretches that are linked anew; L is 12 hours, R 60 seconds.
LATE: dict[str, tuple[str, str, list[tuple[float, float]]]] = {
    "an entry after an exit": ("+0 -10 +20 -30 +40 -50", "-25", [(20, 40)]),
    "no exit after an entry, which it might close": ("+0 -100 +200 -300 +400", "-150", [(0, 400)]),
    "an entry more than R after an entry": ("+0 +100 +200 +300 +400", "+210", [(200, 400)]),
    "not one exactly R after": ("+0 +60 +120 +180 -200 +300", "+125", [(0, 300)]),
    "an entry more than R after a mixed instant": ("+0 +100 -100 +200 +300 -300 +400", "-250", [(200, 400)]),
    "not one within R of a mixed instant": ("-0 +100 -100 +150 -200 +300", "-160", [(0, 300)]),
    "an exit more than R after an exit": ("-0 -100 -200 -300 -400", "-250", [(200, 400)]),
    "not one exactly R after an exit": ("-0 -60 -120 -180 -250", "-130", [(0, 250)]),
    "no exit after a mixed instant, however": ("-0 +100 -100 -200 -300 +400", "-210", [(0, 400)]),
    "whatever comes later than L": ("+0 -50000 -50010 +100000 -150000", "-50020", [(50000, 150000)]),
    "even mixed instants": ("+0 +50000 -50000 -50010 +100000 +150000 -150000", "-50020", [(50000, 150000)]),
    "not what comes exactly L later": ("+0 -43200 -43210", "-43220", [(0, 43220 + JUST)]),
    "mixed instants go on": ("-0 +5 +10 -10 +20 -20 +30 -30 -40 +50", "+25", [(5, 50)]),
    "the beginning and the end of all": ("", "+0", [(0, JUST)]),
    "nothing before": ("+100 -110 +120", "+0", [(0, 120)]),
    "two late ones near each other": ("+0 -10 +20 -30 +40 -50 +60 -70", "-25 -45", [(20, 60)]),
    "two late ones far apart": (
        "+0 -10 +100 -110 +5000 -5010 +100000 -100010 +200000 -200010",
        "-20 +100005",
        [(0, 5000), (100000, 200000)],
    ),
    "two late ones whose stretches touch": (
        "+0 -10 +100 -110 +100000 -100010 +200000 -200010",
        "-20 +100005",
        [(0, 200000)],
    ),
    "interval rows and others stand alone": ("+0 -10 +20 -30", "=5 ~15", [(5, 5 + JUST), (15, 15 + JUST)]),
    "an interval row just before a stretch": ("+0 -10 +20 -30 +40", "=19.999999 -25", [(19.999999, 40)]),
    "an interval row where a signal is": ("+0 -10 +20 -30 +40", "=20", [(0, 40)]),
    "an interval row in passing": ("+0 -10 +20 -30 +40", "=22 -25", [(20, 40)]),
}


def test_cuts(links: Links) -> None:
    for person, (text, _, _) in LATE.items():
        links.models.load(history(person, text))
    links.increment()
    file_id = links.models.load([signal for person, (_, late, _) in LATE.items() for signal in history(person, late)])
    expected = {person: stretches for person, (_, _, stretches) in LATE.items()}
    links.increment()
    assert links.stretches == expected
    links.assert_equal_to_full_refresh()
    links.models.retract(file_id)
    links.increment()
    assert links.stretches == expected
    links.assert_equal_to_full_refresh()


def test_without_repeats_any_time_between_is_enough(links: Links) -> None:
    links.models.set_parameters(repeat_seconds=0)
    links.models.load(history("entries", "+0 +1 +2 +3 +4") + history("exits", "-0 -1 -2 -3 -4"))
    links.increment()
    links.models.load(history("entries", "+2.5") + history("exits", "-2.5"))
    links.increment()
    assert links.stretches == {"entries": [(2, 4)], "exits": [(2, 4)]}
    links.assert_equal_to_full_refresh()


def test_a_repeat_distance_longer_than_a_session(links: Links) -> None:
    links.models.set_parameters(repeat_seconds=7200, max_session_hours=1)
    links.models.load(history("p", "+0 -5000 +12000 +13000 -20000 +30000"))
    links.increment()
    links.models.load(history("p", "+13500"))
    links.increment()
    assert links.stretches == {"p": [(12000, 30000)]}
    links.assert_equal_to_full_refresh()


def test_persons_who_count_for_nobody_or_nothing_have_no_stretches(links: Links) -> None:
    links.models.set_parameters(excluded_ids=["staff"], min_confidence=0.5)
    links.models.load([signal for person in ("unknown", "Staff", "p") for signal in history(person, "+0 -10 -20 +30")])
    links.increment()
    doubtful = Signal("p", "CAM", "exit", NOON + timedelta(seconds=15), confidence=0.1)
    links.models.load([*history("unknown", "-15"), *history("Staff", "-15"), doubtful])
    links.increment()
    alone = [(15, 15 + JUST)]
    assert links.stretches == {"unknown": alone, "Staff": alone, "p": alone}
    links.models.restate(doubtful, confidence=0.9)
    links.increment()
    assert links.stretches == {"p": [(0, 30)]}
    links.assert_equal_to_full_refresh()
    links.models.restate(doubtful, confidence=0.4)
    links.increment()
    assert links.stretches == {"p": [(0, 30)]}
    links.assert_equal_to_full_refresh()


@pytest.mark.parametrize(
    ("text", "late", "column", "before", "after"),
    [
        ("+0#1 +50#2 +100#3 +150#4 -600#5", "-75#6", "is_repeat", [2, 3, 4], [2, 4]),
        ("+0#1 -600#2 -650#3 -700#4", "+655#5", "is_unmatched_exit", [], []),
        ("+0#1 -600#2 -650#3", "-300#4", "is_unmatched_exit", [], [2]),
        ("+0#1", "+100#2", "is_last_signal", [1], [2]),
        ("+0#1", "+50#2", "is_last_signal", [1], [1]),
        ("+0#1 +100000#2", "-1000#3", "is_last_signal", [2], [2]),
        ("+0#1 -10#2 +20#3 -20#4", "-15#5", "opens_session", [1, 3], [1, 3]),
        ("-0#1 +20#3 -20#4 -30#6", "+15#5", "is_repeat", [6], []),
    ],
)
def test_what_a_late_signal_does_is_undone_with_it(
    links: Links, text: str, late: str, column: str, before: list[int], after: list[int]
) -> None:
    links.models.load(history("p", text))

    def marked() -> list[int]:
        rows = links.rows(f"select event_id from intermediate.int_linked_events where {column} order by event_id")
        return [event_id.int for (event_id,) in rows]

    links.increment()
    assert marked() == before
    file_id = links.models.load(history("p", late))
    links.increment()
    assert marked() == after
    links.assert_equal_to_full_refresh()
    links.models.retract(file_id)
    links.increment()
    assert marked() == before
    links.assert_equal_to_full_refresh()


def test_a_late_event_in_a_long_history_costs_its_neighbours_only(links: Links) -> None:
    long = " ".join(f"+{600 * number} -{600 * number + 300}" for number in range(10_000))
    links.models.load(history("p", long))
    links.increment()
    with links.models.warehouse.connect("owner", autocommit=True) as owner:
        owner.execute("analyze raw.events")
    tables = ("raw.events", "intermediate.int_linked_events")
    for late in ("-3000100", "+3000200", "=3000050", "+6000100"):
        file_id = links.models.load(history("p", late))
        links.increment()
        assert links.rows_read["raw.events"] > 0
        assert max(links.rows_read[table] for table in tables) < 50, (late, links.rows_read)
        assert 0 < links.rows_written["intermediate.int_linked_events"] <= 5, late
        links.models.retract(file_id)
        links.increment()
        assert max(links.rows_read[table] for table in tables) < 50, (late, links.rows_read)
    links.assert_equal_to_full_refresh()
