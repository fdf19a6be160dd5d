"""Real exports that nobody here wrote, with the counts that their makers' own figures imply."""

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path

import pytest

from tests.integration.dropping import Dropping
from validation.profiles import load_profiles
from warehouse.connections import Warehouse

# As a user would write them.
STAFF = """
name: prox_cards
description: Readings of the building's proximity cards
recognised_by: [prox-id, floor, zone]
fields:
  timestamp: timestamp
  person_id: prox-id
  camera_id: "{floor}-{zone}"
  event_type: type
"""
ROBOT = """
name: prox_robot
description: Readings of the mobile robot
recognised_by: [prox-id, floor, x, y]
fields:
  timestamp: timestamp
  person_id: prox-id
  camera_id: "{floor}"
  event_type: type
"""


@pytest.fixture
def house(warehouse: Warehouse, tmp_path: Path) -> Dropping:
    for folder in ("landing", "home", "profiles"):
        (tmp_path / folder).mkdir()
    (tmp_path / "profiles" / "cards.yml").write_text(STAFF)
    (tmp_path / "profiles" / "robot.yml").write_text(ROBOT)
    house = Dropping(warehouse, tmp_path / "home", tmp_path / "landing", profiles=load_profiles(tmp_path / "profiles"))
    house.now = datetime.fromisoformat("2026-01-01T00:00:00Z")
    return house


def test_bike_trips(house: Dropping, public_data: Path) -> None:
    path = public_data / "JC-201611-citibike-tripdata.csv"
    outcome = house.load(path.read_bytes(), path.name)

    assert outcome.account is not None
    assert (outcome.account.rows_loaded, outcome.account.rows_rejected, outcome.account.rows_duplicate) == (
        21_832,
        0,
        0,
    )
    dwell = dict(
        house.rows(
            "select row_number, extract(epoch from end_time - event_time)::bigint from raw.events"
            " where event_type = 'appearance'"
        )
    )
    with path.open(newline="") as file:
        durations = {row: int(trip["Trip Duration"]) for row, trip in enumerate(csv.DictReader(file), start=2)}
    assert len(dwell) == len(durations) == 21_832
    assert {dwell[row] - seconds for row, seconds in durations.items()} <= {0, 1}
    assert sum(durations.values()) == 18_052_099
    # The ride that seems to end before it starts, in the hour that the clock showed twice.
    assert house.rows(
        "select extract(epoch from end_time - event_time)::bigint from raw.events"
        " where person_id = '24636' and event_time = '2016-11-06 05:45:28+00'"
    ) == [(1116,)]
    house.accounts_add_up()


@pytest.mark.parametrize(
    ("name", "profile", "rows", "copies", "restated"),
    [
        ("vast2016-proxOut-MC2.csv", "prox_cards", 29_763, 1, 0),
        # The robot reads some cards twice in a second, at other coordinates: to a camera that is its floor, one event.
        ("vast2016-proxMobileOut-MC2.csv", "prox_robot", 11_592, 9_042, 24),
    ],
)
def test_card_readings(
    house: Dropping, public_data: Path, name: str, profile: str, rows: int, copies: int, restated: int
) -> None:
    content = (public_data / name).read_bytes()
    lines = content.splitlines()[1:]
    assert (len(lines), len(lines) - len(set(lines))) == (rows, copies)

    outcome = house.load(content, name)

    assert outcome.detected.profile == profile
    assert outcome.account is not None
    assert (outcome.account.rows_read, outcome.account.rows_rejected) == (rows, 0)
    assert outcome.account.rows_duplicate == copies + restated
    assert house.rows("select distinct event_type from raw.events") == [("other",)]
    house.accounts_add_up()

    before = house.snapshot()
    assert house.load(content, f"again {name}").state == "already_loaded"
    assert house.snapshot() == before
