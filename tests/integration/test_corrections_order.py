"""Whatever is loaded, retracted and replayed, in whatever order: what is left is what the files left would give."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.integration.dropping import HEADER, Dropping, csv_of
from validation.cameras import Camera
from validation.corrections import replay_file, retract_file
from warehouse.connections import Warehouse

# Few values, so that many rows of many files claim the same event with other confidences and contents.
row = st.builds(
    lambda minute, offset, word, confidence, zone: (
        f"2024-05-01 10:0{minute}:00{offset},Ann,C,{word},{confidence},{zone}"
    ),
    st.integers(0, 2),
    st.sampled_from(["", "", "Z"]),
    st.sampled_from(["in", "IN", "out", "in\0"]),
    st.sampled_from(["", "0.5", "0.9", "high"]),
    st.sampled_from(["", "a"]),
)
files = st.lists(st.lists(row, min_size=1, max_size=5), min_size=2, max_size=3)
step = st.tuples(st.sampled_from(["retract", "load", "replay abroad", "replay"]), st.integers(0, 2))
steps = st.lists(step, min_size=3, max_size=7)
HOMES = {"load": (), "replay": (), "replay abroad": (Camera("C", "C", None, "default", "Europe/Paris", None),)}


@pytest.fixture
def house(warehouse: Warehouse, tmp_path: Path) -> Dropping:
    (tmp_path / "landing").mkdir()
    (tmp_path / "home").mkdir()
    return Dropping(warehouse, tmp_path / "home", tmp_path / "landing").with_rules(max_rejected_share=1.0)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files, steps)
def test_any_corrections_leave_what_the_files_that_are_left_would_give(
    house: Dropping, files: list[list[str]], steps: list[tuple[str, int]]
) -> None:
    contents = {f"{number}.csv": csv_of(rows, HEADER + ",confidence,zone") for number, rows in enumerate(files)}
    names = list(contents)
    house.empty()
    loaded: dict[str, str] = {}  # name -> the last thing done to it
    hashes: dict[str, str] = {}
    for step, number in [("load", n) for n in range(len(files))] + steps:
        name = names[number % len(names)]
        if step == "load" and name not in loaded:
            outcome = house.load(contents[name], name)
            if outcome.state != "loaded":
                continue  # the content of another
            hashes[name] = str(outcome.sha256)
            loaded[name] = "load"
        elif step == "retract" and name in loaded:
            retract_file(hashes[name], house.context())
            del loaded[name]
        elif step.startswith("replay") and name in loaded:
            replay_file(hashes[name], replace(house, cameras=HOMES[step]).context())
            loaded[name] = step
        else:
            continue
        event(step)
        house.accounts_add_up()
        # What a batch took away and brought again it has altered.
        assert house.rows("select from raw.retracted_events join raw.events using (event_id, batch_id)") == []
    corrected = house.snapshot()

    house.empty()
    for name, step in loaded.items():
        replace(house, cameras=HOMES[step]).load(contents[name], name)
    expected = house.snapshot()
    corrected["files"] = [line for line in corrected["files"] if line[1] == "loaded"]
    retracted = set(hashes.values()) - {line[0] for line in corrected["files"]}
    corrected["rejects"] = [line for line in corrected["rejects"] if line[0] not in retracted]
    assert corrected == expected
