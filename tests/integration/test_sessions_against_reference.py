"""The models' SQL against the plain reference: random histories, compared row for row."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterable, Iterator
from datetime import datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.integration.modelling import Models
from tests.integration.reference_models import ReferenceModels, Rows, add, moment, put
from tests.reference.buckets import Level, Measures, buckets_of
from tests.reference.events import SECOND, Event, Store
from tests.reference.histories import stores
from tests.reference.instants import BucketSize
from tests.reference.sessions import History, history_of
from warehouse.connections import Warehouse

Row = tuple[Any, ...]

# Interpolated in floating point by the database; everything else is one division of integers, and exact.
INTERPOLATED = {"dwell_seconds_median", "dwell_seconds_p90"}


@pytest.fixture
def models(warehouse: Warehouse) -> Iterator[ReferenceModels]:
    """The models, built once by dbt itself on an empty warehouse."""
    opened = Models(warehouse)
    opened.run()
    yield ReferenceModels(opened)
    opened.close()


def seconds(micros: int | None) -> float | None:
    return None if micros is None else float(Fraction(micros, SECOND))


def same(found: Iterable[Row], expected: Iterable[Row], what: str) -> None:
    """Both hold the same rows, each as often; otherwise say which."""
    remaining, missing = list(found), []
    for row in expected:
        if row in remaining:
            remaining.remove(row)
        else:
            missing.append(row)
    assert (remaining, missing) == ([], []), f"{what}: the models have, wrongly / the models lack"


def check_sessions(rows: Rows, store: Store, history: History) -> None:
    sites = store.site_of_camera()
    same(
        (
            (
                row["session_id"],
                row["person_id"],
                row["camera_id"],
                row["site_id"],
                row["entry_time"],
                row["exit_time"],
                row["status"],
                row["dwell_seconds"],
            )
            for row in rows
        ),
        (
            (
                session.opened_by,
                session.person_id,
                session.camera_id,
                sites[session.camera_id],
                moment(session.entry_time),
                moment(session.exit_time),
                session.status,
                seconds(session.dwell),
            )
            for session in history.sessions
        ),
        "person_sessions",
    )


def check_unmatched_exits(rows: Rows, history: History) -> None:
    same(
        ((row["event_id"], row["person_id"], row["camera_id"], row["exit_time"]) for row in rows),
        ((event.event_id, event.person_id, event.camera_id, moment(event.time)) for event in history.unmatched_exits),
        "unmatched_exits",
    )


def check_events(rows: Rows, store: Store, history: History) -> None:
    def expected(event: Event) -> Row:
        session = history.session_of_event.get(event.event_id)
        return (
            event.event_id,
            event.person_id,
            event.camera_id,
            moment(event.time),
            moment(event.end),
            event.event_type == "entry",
            event.event_type == "exit",
            event.event_id in history.repeats,
            store.is_anonymous(event),
            store.is_ignored(event),
            None if session is None else session.opened_by,
            None if session is None else seconds(session.dwell),
        )

    columns = ["event_id", "person_id", "camera_id", "event_time", "end_time", "is_entry", "is_exit", "is_repeat"]
    columns += ["is_anonymous", "is_ignored", "session_id", "dwell_seconds"]
    same(
        (tuple(row[column] for column in columns) for row in rows),
        (expected(event) for event in store.events),
        "camera_events",
    )


def check_buckets(rows: Rows, store: Store, history: History, level: Level, size: BucketSize) -> None:
    key = f"{level}_id"
    found: dict[tuple[str, datetime], dict[str, Any]] = {(row[key], row["bucket_start"]): row for row in rows}
    assert len(found) == len(rows), "one row per place and bucket"
    expected = {(where, moment(start)): row for (where, start), row in buckets_of(store, history, level, size).items()}
    same(found, expected, f"buckets of {level} and {size}")
    for place, measures in expected.items():
        for field in dataclasses.fields(Measures):
            value, wanted = found[place][field.name], getattr(measures, field.name)  # type: ignore[index]
            wanted = float(wanted) if isinstance(wanted, Fraction) else wanted
            equal = value == wanted
            if field.name in INTERPOLATED and wanted is not None and value is not None:
                equal = math.isclose(value, wanted, rel_tol=1e-12)
            assert equal, f"{field.name} of {place}: the models say {value}, the reference {wanted}"


def check(models: ReferenceModels, store: Store) -> None:
    history = history_of(store)
    found = models.rows(("person_sessions", "unmatched_exits", "camera_events", "camera_hourly", "site_daily"))
    check_sessions(found["person_sessions"], store, history)
    check_unmatched_exits(found["unmatched_exits"], history)
    check_events(found["camera_events"], store, history)
    check_buckets(found["camera_hourly"], store, history, "camera", "hour")
    check_buckets(found["site_daily"], store, history, "site", "day")


def test_random_histories(models: ReferenceModels) -> None:
    @settings(max_examples=200, suppress_health_check=list(HealthCheck))
    @given(stores())
    def judge(store: Store) -> None:
        models.refill(store)
        check(models, store)

    judge()


def test_random_histories_built_by_dbt_itself(models: ReferenceModels) -> None:
    """The whole of dbt, its own tests included, on a few stores whose events arrive in two parts."""

    @settings(max_examples=3, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(stores(most_lines=25), st.randoms(use_true_random=False))
    def judge(store: Store, chance: random.Random) -> None:
        arrivals = list(store.events)
        chance.shuffle(arrivals)
        half = len(arrivals) // 2
        with models.models.warehouse.connect("owner") as connection:
            put(connection, dataclasses.replace(store, events=tuple(arrivals[:half])))
        models.models.build("--full-refresh")
        with models.models.warehouse.connect("owner") as connection:
            add(connection, arrivals[half:])
        models.models.build()
        check(models, store)

    judge()
