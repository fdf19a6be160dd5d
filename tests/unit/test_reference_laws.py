"""What must hold for every store, whatever is in it: the conservation laws, and that order of arrival is nothing."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter, defaultdict
from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.reference.buckets import Measures, buckets_of
from tests.reference.demographics import demographics_of
from tests.reference.events import Store
from tests.reference.heatmap import heatmap_of
from tests.reference.histories import stores
from tests.reference.kpis import kpis_of
from tests.reference.sessions import History, history_of
from tests.reference.visits import Visit, visitors_of, visits_of


def non_repeats(store: Store, history: History, event_type: str) -> int:
    return sum(
        event.event_type == event_type and event.event_id not in history.repeats and not store.is_anonymous(event)
        for event in store.counted_events()
    )


@given(stores())
def test_every_signal_is_accounted_for_once(store: Store) -> None:
    history = history_of(store)
    intervals = {e.event_id for e in store.events if e.event_type == "appearance"}
    paired = [session for session in history.sessions if session.opened_by not in intervals]
    complete = [session for session in paired if session.status == "complete"]
    assert non_repeats(store, history, "entry") == len(paired)
    assert non_repeats(store, history, "exit") == len(complete) + len(history.unmatched_exits)
    assert len({session.opened_by for session in history.sessions}) == len(history.sessions)
    assert not history.repeats & history.session_of_event.keys()
    assert not {event.event_id for event in history.unmatched_exits} & history.session_of_event.keys()


@given(stores(most_lines=4, most_steps=6))
def test_sums_over_hours_days_and_weeks_are_equal(store: Store) -> None:
    history = history_of(store)
    dwell = sum(session.dwell or 0 for session in history.sessions)
    for level in ("camera", "site"):
        occupied: dict[str, Fraction] = {}
        for size in ("hour", "day", "week"):
            rows = buckets_of(store, history, level, size).values()
            assert sum(row.dwell_seconds_total for row in rows) == Fraction(dwell, 1_000_000)
            assert sum(row.events for row in rows) == len(store.counted_events())
            assert sum(row.sessions_started for row in rows) == len(history.sessions)
            assert all(row.avg_occupancy <= row.peak_occupancy <= row.unique_visitors for row in rows)
            occupied[size] = sum((row.occupied_seconds for row in rows), Fraction(0))
        assert len(set(occupied.values())) == 1, f"{level}: {occupied}"


@given(stores(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_shows_nowhere(store: Store, chance: random.Random) -> None:
    shuffled = list(store.events)
    chance.shuffle(shuffled)
    first, second = history_of(store), history_of(dataclasses.replace(store, events=tuple(shuffled)))
    assert Counter(first.sessions) == Counter(second.sessions)
    assert Counter(first.unmatched_exits) == Counter(second.unmatched_exits)
    assert first.repeats == second.repeats
    assert first.session_of_event == second.session_of_event
    visits = [set(visits_of(store, history)) for history in (first, second)]
    assert visits[0] == visits[1]


@given(stores())
def test_every_session_is_in_one_visit_and_visits_are_apart(store: Store) -> None:
    history = history_of(store)
    visits = visits_of(store, history)
    assert Counter(session for visit in visits for session in visit.sessions) == Counter(history.sessions)
    assert all(0 <= visit.dwell <= visit.elapsed for visit in visits)
    of_one: defaultdict[tuple[str, str], list[Visit]] = defaultdict(list)
    for visit in visits:
        of_one[visit.person_id, visit.site_id].append(visit)
    for those in of_one.values():
        those.sort(key=lambda visit: visit.start_time)
        for earlier, later in pairwise(those):
            assert later.start_time - earlier.end_time > store.parameters.visit_gap
            assert later.is_returning == (later.visit_date > those[0].visit_date)
        assert not those[0].is_returning
    visitors = visitors_of(store, visits)
    assert sum(visitor.visit_count for visitor in visitors) == len(visits)
    assert sum(visitor.dwell_total for visitor in visitors) == sum(visit.dwell for visit in visits)


@given(stores(most_lines=4, most_steps=6))
def test_parts_make_up_the_whole(store: Store) -> None:
    history = history_of(store)
    site_days = buckets_of(store, history, "site", "day")
    groups: defaultdict[tuple[str, int], list[Measures]] = defaultdict(list)
    for (group, start), row in demographics_of(store, history).items():
        groups[group.site_id, start].append(row)
    assert groups.keys() == site_days.keys()
    for key, whole in site_days.items():
        for measure in ("events", "entries", "exits", "sessions_started", "completed_sessions", "dwell_seconds_total"):
            assert sum(getattr(row, measure) for row in groups[key]) == getattr(whole, measure)
    cells = heatmap_of(store, history).values()
    assert sum(cell.events for cell in cells) == sum(row.events for row in site_days.values())
    assert sum(cell.occupied_seconds for cell in cells) == sum(row.occupied_seconds for row in site_days.values())
    kpis = kpis_of(store, history)
    assert kpis.total_events == len(store.counted_events())
    assert kpis.dwell_seconds_total == sum(row.dwell_seconds_total for row in site_days.values())
