"""The functions of the marts against the plain reference: random stores, and of each some random questions.

A question names a range, buckets, cameras, persons, groups of them. Its instants are those at which something happens
in the store, or a microsecond beside them, so that sessions reach over the edges and events lie on them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from tests.integration.modelling import Models
from tests.integration.reference_marts import KPIS, is_equal, seconds
from tests.integration.reference_models import act, moment, put_all_but_events
from tests.integration.transcripts import Replay
from tests.reference.between import (
    GroupBy,
    bucket_starts,
    dwell_bands,
    heatmap_between,
    measures_between,
    repeat_visitors_between,
    visitors_between,
)
from tests.reference.choices import Choice
from tests.reference.deliveries import Step, batchings, store_after
from tests.reference.events import HOUR, SECOND, Store
from tests.reference.histories import DAY, ZONES, stores
from tests.reference.instants import BucketSize
from tests.reference.kpis import kpis_of
from tests.reference.sessions import History, history_of
from warehouse.connections import Warehouse

Rows = dict[tuple[Any, ...], Mapping[str, Any]]

GROUPS: tuple[GroupBy, ...] = (None, "camera", "site", "age_group", "gender")
SIZES: tuple[BucketSize, ...] = ("hour", "day", "week")
# So far a range goes at most, in hours and in days and weeks: the reference goes through them one by one.
LONGEST_RANGE: dict[BucketSize, int] = {"hour": 12 * DAY, "day": 40 * DAY, "week": 40 * DAY}


@dataclass(frozen=True)
class Question:
    """A choice with cameras and a range; what is asked of it."""

    choice: Choice
    starts: tuple[int, ...]
    zone: str
    size: BucketSize
    bands: tuple[float, ...]
    group_by: GroupBy

    @property
    def place_by(self) -> Literal["camera", "site"] | None:
        return "camera" if self.group_by == "camera" else "site" if self.group_by == "site" else None


def _filters_of(choice: Choice) -> dict[str, Any]:
    chosen = {name: getattr(choice, name) for name in ("cameras", "persons", "age_groups", "genders")}
    # To name one twice makes no difference.
    return {name: None if those is None else [*those, *those][: len(those) + 1] for name, those in chosen.items()}


@st.composite
def questions(draw: st.DrawFn, store: Store) -> Question:
    times = {time for event in store.events for time in (event.time, event.end) if time is not None}
    instants = st.sampled_from(sorted(times | {time - time % HOUR for time in times}))
    near = st.builds(int.__add__, instants, st.sampled_from([0, 0, 0, -1, 1, -HOUR, HOUR]))
    cameras = sorted({event.camera_id for event in store.events})
    persons = sorted({event.person_id for event in store.events})
    size = draw(st.sampled_from(SIZES))
    start = draw(near)
    end = max(start, min(draw(near), start + LONGEST_RANGE[size]))
    some_cameras = st.sets(st.sampled_from(cameras), min_size=1) | st.just(set(cameras))
    a_few = st.sampled_from
    choice = Choice(
        start,
        end,
        cameras=tuple(sorted(draw(some_cameras))),
        persons=draw(st.none() | st.none() | st.lists(st.sampled_from([*persons, "nobody"]), max_size=3)),
        age_groups=draw(st.none() | a_few([("unknown",), ("18-24", "65+"), ("Senior", "under 18"), ()])),
        genders=draw(st.none() | a_few([("unknown",), ("F",), ("f", "M")])),
    )
    dwells = {SECOND, *(after - before for before in times for after in times if after > before)}
    edges = st.sampled_from(sorted(dwells)).map(lambda micros: micros / SECOND)
    return Question(
        choice,
        starts=tuple(sorted(draw(st.sets(near, min_size=0, max_size=7)))),
        zone=draw(st.sampled_from(ZONES)),
        size=size,
        bands=tuple(sorted(draw(st.sets(edges, max_size=4)))),
        group_by=draw(st.sampled_from(GROUPS)),
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[Store, list[Step], list[Question]]:
    store = draw(stores(most_lines=14))
    steps = draw(batchings(store, most_steps=1))
    return store, steps, draw(st.lists(questions(store), min_size=10, max_size=10))


class Asked:
    """One question, put to the database and to the reference."""

    def __init__(self, caller: psycopg.Connection[Any], store: Store, history: History, question: Question) -> None:
        self._caller, self._store, self._history, self._question = caller, store, history, question
        known = store.site_of_camera()
        # Of a camera without events, one whose file was taken back, the reference knows no site.
        cameras = [camera for camera in question.choice.cameras or () if camera in known]
        self._choice = dataclasses.replace(question.choice, cameras=cameras)

    def compare(self) -> None:
        self._starts()
        self._measures(self._question.starts)
        self._measures(self._hours())
        self._bands()
        self._heat()
        self._visitors()
        self._kpis(self._choice)
        # As they are asked of everything: without cameras, without a range.
        self._kpis(dataclasses.replace(self._choice, cameras=None))
        self._kpis(dataclasses.replace(self._choice, start=None))
        self._kpis(dataclasses.replace(self._choice, end=None))

    def _call(self, function: str, key: Sequence[str], **arguments: Any) -> Rows:
        with self._caller.cursor(row_factory=dict_row) as cursor:
            types = {"starts": "timestamptz[]", "bands": "double precision[]", "group_by": "text", "zone": "text"}
            types |= {"range_start": "timestamptz", "range_end": "timestamptz"}
            named = ", ".join(f"{name} => %({name})s::{types.get(name, 'text[]')}" for name in arguments)
            rows = cursor.execute(f"select * from marts.{function}({named})", arguments).fetchall()
        found: Rows = {tuple(row.pop(column) for column in key): row for row in rows}
        assert len(found) == len(rows), f"{function}: one row for each {key}"
        return found

    def _agree(self, function: str, found: Rows, expected: Rows) -> None:
        where = f"{function} of {self._question}"
        assert found.keys() == expected.keys(), f"{where}: rows that only one of the two has"
        for key, row in expected.items():
            assert found[key].keys() == row.keys(), where
            for column, wanted in row.items():
                value = found[key][column]
                assert is_equal(column, value, wanted), (
                    f"{where}: {column} of {key}: {value}, by the reference {wanted}"
                )

    @property
    def _range(self) -> dict[str, Any]:
        return {"range_start": moment(self._choice.start), "range_end": moment(self._choice.end)}

    @property
    def _filters(self) -> dict[str, Any]:
        return _filters_of(self._choice)

    def _hours(self) -> Sequence[int]:
        assert self._choice.start is not None
        assert self._choice.end is not None
        return bucket_starts(self._question.size, self._choice.start, self._choice.end, self._question.zone)

    def _starts(self) -> None:
        (starts,) = (
            self._caller.execute(
                "select marts.bucket_starts(%(size)s, %(range_start)s, %(range_end)s, %(zone)s)",
                {"size": self._question.size, "zone": self._question.zone, **self._range},
            ).fetchone()
            or ()
        )
        assert starts == [moment(start) for start in self._hours()]

    def _measures(self, starts: Sequence[int]) -> None:
        found = self._call(
            "measures_between",
            ["group_key", "bucket_start"],
            starts=[moment(start) for start in starts],
            group_by=self._question.group_by,
            **self._filters,
        )
        expected = measures_between(self._store, self._history, starts, self._choice, self._question.group_by)
        self._agree(
            "measures_between",
            found,
            {
                (group, moment(start)): {
                    "bucket_end": moment(bucket.end),
                    "dwell_seconds_min": bucket.dwell_seconds_min,
                    **dataclasses.asdict(bucket.measures),
                }
                for (group, start), bucket in expected.items()
            },
        )

    def _bands(self) -> None:
        question = self._question
        found = self._call(
            "dwell_bands_between",
            ["group_key", "band_from", "band_to"],
            bands=list(question.bands),
            group_by=question.group_by,
            **self._range,
            **self._filters,
        )
        expected = dwell_bands(self._store, self._history, question.bands, self._choice, question.group_by)
        self._agree("dwell_bands_between", found, {key: {"sessions": count} for key, count in expected.items()})

    def _heat(self) -> None:
        question = self._question
        if question.size != "hour":
            return
        found = self._call(
            "heatmap_between",
            ["group_key", "weekday", "hour"],
            zone=question.zone,
            group_by=question.place_by,
            **self._range,
            **self._filters,
        )
        expected = heatmap_between(self._store, self._history, question.zone, self._choice, question.place_by)
        self._agree("heatmap_between", found, {cell: dataclasses.asdict(heat) for cell, heat in expected.items()})

    def _visitors(self) -> None:
        key = ["site_id", "person_id"]
        visitors = visitors_between(self._store, self._history, self._choice)
        self._agree(
            "visitors_between",
            self._call("visitors_between", key, **self._range, **self._filters),
            {
                who: {
                    "first_event_time": moment(visitor.first_event_time),
                    "last_event_time": moment(visitor.last_event_time),
                    "events": visitor.events,
                    "visits": visitor.visits,
                    "visit_days": visitor.visit_days,
                    "dwell_seconds_total": seconds(visitor.dwell_total),
                    "is_returning": visitor.is_returning,
                    "is_repeat_visitor": visitor.is_repeat_visitor,
                }
                for who, visitor in visitors.items()
            },
        )
        repeat_visitors = repeat_visitors_between(self._store, self._history, self._choice)
        self._agree(
            "repeat_visitors_between",
            self._call("repeat_visitors_between", key, **self._range, **self._filters),
            {
                who: {
                    "visits": visitor.visits,
                    "visit_days": visitor.visit_days,
                    "first_visit_date": visitor.first_visit_date,
                    "last_visit_date": visitor.last_visit_date,
                    "dwell_seconds_total": seconds(visitor.dwell_total),
                }
                for who, visitor in repeat_visitors.items()
            },
        )

    def _kpis(self, choice: Choice) -> None:
        limits = {"range_start": moment(choice.start), "range_end": moment(choice.end)}
        found = self._call("kpis_between", [], **limits, **_filters_of(choice))
        expected = dataclasses.asdict(kpis_of(self._store, self._history, choice))
        self._agree("kpis_between", found, {(): {KPIS.get(name, name): value for name, value in expected.items()}})


@pytest.fixture
def caller(warehouse: Warehouse) -> Iterator[psycopg.Connection[Any]]:
    """As the API asks: it may read the marts and nothing that they are made from."""
    with warehouse.connect("api", autocommit=True, prepare_threshold=None) as connection:
        yield connection


@pytest.mark.timeout(1200)  # a failing case takes a while to shrink
def test_random_questions(
    warehouse: Warehouse,
    replay: Replay,
    functions: None,
    caller: psycopg.Connection[Any],
    record_property: Callable[[str, object], None],
) -> None:
    with closing(Models(warehouse)) as models:
        owner, judged = models.owner, 0

        @settings(max_examples=settings.default.max_examples // 3, suppress_health_check=list(HealthCheck))
        @given(cases())
        def judge(case: tuple[Store, list[Step], list[Question]]) -> None:
            nonlocal judged
            store, steps, asked = case
            put_all_but_events(owner, store)
            for step in steps:
                for action in step:
                    act(owner, action)
            replay.refresh()
            store = store_after(store, steps)
            history = history_of(store)
            for question in asked:
                Asked(caller, store, history, question).compare()
            judged += len(asked)

        judge()
    record_property("judged", f"{judged:,} questions")
