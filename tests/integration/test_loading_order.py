"""The same rows give the same events, however they are divided into files and in whatever order those come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.dropping import EVENT, HEADER, Dropping, csv_of
from warehouse.connections import Warehouse

# Few values, so that many rows claim the same event with other confidences and contents.
row = st.builds(
    lambda minute, person, word, confidence, zone: (
        f"2024-05-01 10:{minute:02d}:00,{person},C,{word},{confidence},{zone}"
    ),
    st.integers(0, 2),
    st.sampled_from(["Ann", "Bob"]),
    st.sampled_from(["in", "IN", "out"]),
    st.sampled_from(["", "0.5", "0.50", "0.9", "high"]),
    st.sampled_from(["", "a", "b"]),
)


@pytest.fixture
def house(warehouse: Warehouse, tmp_path: Path) -> Dropping:
    (tmp_path / "landing").mkdir()
    (tmp_path / "home").mkdir()
    return Dropping(warehouse, tmp_path / "home", tmp_path / "landing")


def loaded(house: Dropping, files: list[list[str]]) -> list[tuple[Any, ...]]:
    house.empty()
    for number, rows in enumerate(files):
        outcome = house.load(csv_of(rows, HEADER + ",confidence,zone"), f"{number}.csv")
        assert outcome.state in {"loaded", "already_loaded"}
    house.accounts_add_up()
    return house.rows(f"select {EVENT} from raw.events order by event_id")


def best_rows(rows: list[str]) -> dict[tuple[str, ...], float | None]:
    """The highest confidence per event, worked out here; the rest of the winner is checked by order alone."""
    best: dict[tuple[str, ...], float | None] = {}
    for text in rows:
        time, person, _, word, confidence, _ = text.split(",")
        value = float(confidence) if confidence not in {"", "high"} else None
        key = (time, person, word.lower())
        if key not in best or (value is not None and (best[key] is None or value > best[key])):  # type: ignore[operator]
            best[key] = value
    return best


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_division_and_any_order_give_the_same_events(house: Dropping, data: st.DataObject) -> None:
    rows = data.draw(st.lists(row, min_size=1, max_size=12))
    places = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    # Rows may stand in several files too, as when exports overlap.
    overlap = data.draw(st.lists(st.sampled_from(rows), max_size=4))
    divided = [[text for text, place in zip(rows, places, strict=True) if place == file] for file in range(4)]
    divided[0] += overlap
    files = [data.draw(st.permutations(file)) for file in divided if file]

    whole = loaded(house, [rows])
    parts = loaded(house, data.draw(st.permutations(files)))

    assert parts == whole
    found = {(f"{r[5]:%Y-%m-%d %H:%M:%S}", r[1], r[4]): r[8] for r in whole}
    assert found == best_rows(rows)
