"""A small shop with five Mondays behind it, for tests of expectations: built once, copied for whoever changes it.

What should be found in it is for the tests to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.integration.conftest import fresh_warehouse
from tests.integration.dropping import Dropping, csv_of
from tests.integration.modelling import Models
from validation.loading import load_file
from warehouse.connections import Warehouse

MONDAYS = [datetime(2024, 4, 8, tzinfo=UTC) + timedelta(weeks=week) for week in range(5)]
NEWEST = MONDAYS[-1]
# Tuesday has begun when the newest file arrives.
ARRIVAL = NEWEST + timedelta(days=1, hours=6)
CAMERAS = ("A", "B", "C")
HOURS = range(9, 18)
OLD_RUN, NEW_RUN = "run-old", "run-new"
# 10 stays, 2 appearances, and one event each that says little of what or of whom.
NEW_ROWS = [
    *(f"2024-05-07T05:{minute:02d}:00Z,n{minute},A,entry,,0.9" for minute in range(10)),
    *(f"2024-05-07T05:{minute + 20}:00Z,n{minute},A,exit,,0.9" for minute in range(10)),
    "2024-05-07T05:40:00Z,m1,A,appearance,2024-05-07T05:45:00Z,0.9",
    "2024-05-07T05:41:00Z,m2,A,appearance,2024-05-07T05:46:00Z,0.9",
    "2024-05-07T05:50:00Z,m3,A,loitering,,0.9",
    "2024-05-07T05:51:00Z,Unknown,A,entry,,0.9",
]


def monday_rows(monday: datetime) -> Iterator[str]:
    """In each hour one person, who stays ten minutes at each camera."""
    for hour in HOURS:
        for number, camera in enumerate(CAMERAS):
            entry = monday + timedelta(hours=hour, minutes=15 * number)
            yield f"{entry.isoformat()},p{hour},{camera},entry"
            yield f"{(entry + timedelta(minutes=10)).isoformat()},p{hour},{camera},exit"


def load(dropping: Dropping, content: bytes, name: str, run_id: str) -> None:
    outcome = load_file(dropping.drop(content, name), replace(dropping.context(), run_id=run_id))
    assert outcome.state == "loaded", outcome.sentence


def dropping_into(warehouse: Warehouse, folder: Path) -> Dropping:
    folder.mkdir()
    (folder / "landing").mkdir()
    (folder / "home").mkdir()
    return Dropping(warehouse, folder / "home", folder / "landing", now=ARRIVAL)


@contextmanager
def shop(template: Warehouse, folder: Path) -> Iterator[Warehouse]:
    """The shop, its marts built by dbt; nobody is connected to it, so that it can be copied."""
    with fresh_warehouse(template) as warehouse:
        dropping = dropping_into(warehouse, folder)
        history = [row for monday in MONDAYS for row in monday_rows(monday)]
        load(dropping, csv_of(history), "history.csv", OLD_RUN)
        annex = [row.replace(",A,", ",CAM-1,") for row in monday_rows(NEWEST) if ",A," in row]
        load(dropping, csv_of(annex), "annex/history.csv", OLD_RUN)
        header = "timestamp,person_id,camera_id,event_type,end_time,confidence"
        load(dropping, csv_of(NEW_ROWS, header), "new.csv", NEW_RUN)
        with closing(Models(warehouse)) as models:
            models.set_cameras({"camera_id": "A", "capacity": 10}, {"camera_id": "B", "capacity": 10})
            models.run()
        yield warehouse


def change(warehouse: Warehouse, *statements: str) -> None:
    """Make the tables say something else than they should."""
    with warehouse.connect("owner") as connection:
        # Only what belongs to dbt's role is not the owner's to change.
        for statement in statements:
            if "marts." not in statement:
                assert connection.execute(statement.encode()).rowcount != 0, statement
    with warehouse.connect("transformer") as connection:
        for statement in statements:
            if "marts." in statement:
                assert connection.execute(statement.encode()).rowcount != 0, statement
