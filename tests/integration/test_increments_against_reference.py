"""However the files arrive, the marts are those of the reference and those of one full refresh.

Random stores come about in random steps: late by a year, twice, in any order, taken back. After each step the models
take an increment. Most of it replays dbt's own statements (see `transcripts`), some goes through dbt itself. How many
stores there are is for Hypothesis's profile to say: `--hypothesis-profile soak` judges thousands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.integration.modelling import Models, row_counts, unchanged
from tests.integration.recording import record
from tests.integration.reference_marts import assert_marts_equal_reference
from tests.integration.reference_models import act, put_all_but_events
from tests.integration.transcripts import Replay
from tests.reference.deliveries import Step, batchings, store_after
from tests.reference.events import Event, Store
from tests.reference.histories import stores
from warehouse.connections import Warehouse

Case = tuple[Store, list[Step]]


@st.composite
def crowds(draw: st.DrawFn) -> Store:
    """Several random stores in one, each with people of its own, so that one full refresh judges them all.

    They come together in time; what the people's names say (anonymous, staff) is for the first store's settings.
    """
    store, *others = draw(st.lists(stores(), min_size=3, max_size=6))
    rules = store.parameters
    known = {person.strip().lower() for person in (*rules.anonymous_ids, *rules.excluded_ids)}
    events = list(store.events)

    def moved(event: Event, number: int, by: int) -> Event:
        is_known = event.person_id.strip().lower() in known
        return dataclasses.replace(
            event,
            event_id=UUID(int=event.event_id.int | number << 64),
            person_id=event.person_id if is_known else f"{event.person_id} of {number}",
            time=event.time + by,
            end=None if event.end is None else event.end + by,
            arrived_at=event.arrived_at + by,
        )

    for number, other in enumerate(others, start=1):
        by = store.events[0].time - other.events[0].time
        events += [moved(event, number, by) for event in other.events]
    return dataclasses.replace(store, events=tuple(events))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    store = draw(crowds())
    return store, draw(batchings(store, most_steps=5).filter(lambda steps: len(steps) > 1))


@dataclass
class Judge:
    """Takes a store in step by step, compares what the models made of it, and counts."""

    warehouse: Warehouse
    owner: psycopg.Connection[Any]
    reader: psycopg.Connection[Any]
    refresh: Callable[[], None]
    increment: Callable[[], None]
    stores: int = 0
    histories: int = 0
    increments: int = 0
    files: int = 0
    events: int = 0

    def __call__(self, case: Case) -> None:
        store, steps = case
        put_all_but_events(self.owner, store)
        for number, step in enumerate(steps):
            for action in step:
                act(self.owner, action)
            if number == 0:
                self.refresh()
            else:
                self.increment()
        assert_marts_equal_reference(self.reader, store_after(store, steps))
        assert all(told == there for told, there in row_counts(self.warehouse).values())
        with unchanged(self.warehouse):
            self.refresh()
        self.stores += 1
        self.histories += len({(event.person_id, event.camera_id) for event in store.events})
        self.increments += len(steps) - 1
        self.files += sum(len(step) for step in steps)
        self.events += len(store.events)

    def account(self) -> str:
        return (
            f"{self.stores:,} stores of {self.histories:,} histories (a person at a camera) and {self.events:,} events,"
            f" which came and went with {self.files:,} files in {self.increments:,} increments"
        )


@pytest.fixture
def owner(warehouse: Warehouse) -> Iterator[psycopg.Connection[Any]]:
    with warehouse.connect("owner", autocommit=True) as connection:
        yield connection


@pytest.fixture
def reader(warehouse: Warehouse) -> Iterator[psycopg.Connection[Any]]:
    with warehouse.connect("bi_reader", autocommit=True) as connection:
        yield connection


@pytest.mark.timeout(1200)  # a failing case takes a while to shrink
def test_random_deliveries(
    warehouse: Warehouse,
    replay: Replay,
    owner: psycopg.Connection[Any],
    reader: psycopg.Connection[Any],
    record_property: Callable[[str, object], None],
) -> None:
    judge = Judge(warehouse, owner, reader, replay.refresh, replay.increment)

    @settings(max_examples=settings.default.max_examples // 5, suppress_health_check=list(HealthCheck))
    @given(cases())
    def judged(case: Case) -> None:
        judge(case)

    judged()
    record_property("judged", judge.account())


def test_random_deliveries_through_dbt_itself(
    warehouse: Warehouse,
    owner: psycopg.Connection[Any],
    reader: psycopg.Connection[Any],
    record_property: Callable[[str, object], None],
) -> None:
    """The whole of dbt, its own tests of the models included."""
    models = Models(warehouse)
    judge = Judge(warehouse, owner, reader, lambda: models.build("--full-refresh"), models.build)

    @settings(
        max_examples=max(2, settings.default.max_examples // 100),
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases())
    def judged(case: Case) -> None:
        judge(case)

    judged()
    models.close()
    record_property("judged", judge.account())


@pytest.mark.soak
def test_statements_do_not_depend_on_the_data(warehouse: Warehouse, replay: Replay) -> None:
    with closing(Models(warehouse)) as models:
        first, second = replay.transcripts, record(models, number=2)
    assert (first.refresh, first.increment, first.idle) == (second.refresh, second.increment, second.idle)
