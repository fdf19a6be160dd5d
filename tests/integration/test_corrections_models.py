"""The tables follow corrections: replaying changes nothing, what is retracted is gone from every one of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.integration.dropping import HEADER, Dropping, csv_of
from tests.integration.modelling import Models
from validation.cameras import Camera, store_cameras
from validation.corrections import replay_file, retract_file
from warehouse.connections import Warehouse


@pytest.fixture
def house(warehouse: Warehouse, tmp_path: Path) -> Dropping:
    (tmp_path / "landing").mkdir()
    (tmp_path / "home").mkdir()
    return Dropping(warehouse, tmp_path / "home", tmp_path / "landing")


def checksums(house: Dropping) -> dict[str, str]:
    """A checksum of the rows of every public table; only the version of all of them goes on counting."""
    told = (
        "select count(*) || md5(string_agg(line, '' order by line)) from (select t::text as line from marts.{} t) as t"
    )
    with house.warehouse.connect("bi_reader", autocommit=True) as connection:
        tables = connection.execute(
            "select relname from pg_class where relnamespace = 'marts'::regnamespace and relkind in ('r', 'v')"
            " and relname not in ('data_version', 'present_state') and has_table_privilege(oid, 'select')"
        ).fetchall()
        rows = {table: connection.execute(told.format(table).encode()).fetchone() for (table,) in tables}
    return {table: str(row) for table, row in rows.items()}


def day(person: str, *, exits: bool = True, confidence: float = 0.5) -> list[str]:
    """Visits of a person on a day: an entry each hour, and its exit ten minutes later."""
    return [
        f"2024-05-01 {hour:02d}:{minute}:00,{person},CAM-1,{word},{confidence}"
        for hour in range(8, 18)
        for minute, word in (("00", "entry"), ("10", "exit"))
        if exits or word == "entry"
    ]


def test_tables_follow_corrections(house: Dropping, models: Models) -> None:
    header = HEADER + ",confidence"
    files = {
        "entries.csv": csv_of(day("Ann", exits=False), header),
        "both.csv": csv_of([*day("Ann", confidence=0.9), *day("Bob")], header),
        "North/both.csv": csv_of([*day("Ann"), *day("Cid")], header),
    }
    hashes = {name: str(house.load(content, name).sha256) for name, content in files.items()}
    models.run()
    before = checksums(house)
    assert len(before) > 10

    for digest in hashes.values():
        replay_file(digest, house.context())
    models.run()
    assert checksums(house) == before

    retract_file(hashes["both.csv"], house.context())
    models.run()
    without = checksums(house)
    assert without["person_sessions"] != before["person_sessions"]
    models.run("--full-refresh")
    assert checksums(house) == without

    house.load(files["both.csv"], "both.csv")
    models.run()
    again = checksums(house)
    assert {table for table in again if again[table] != before[table]} <= {"file_quality", "quality_daily"}


def test_tables_follow_a_change_of_zone(house: Dropping, models: Models) -> None:
    digest = str(house.load(csv_of(day("Ann"), HEADER + ",confidence")).sha256)
    models.run()
    cameras = [Camera("CAM-1", "Door", None, "default", "Asia/Kolkata", None)]
    with house.warehouse.connect("loader") as connection:
        store_cameras(connection, cameras)
    replay_file(digest, replace(house, cameras=cameras).context())
    models.run()
    moved = checksums(house)
    # 08:00 in Kolkata.
    assert models.rows("person_sessions", "min(entry_time)") == [(datetime(2024, 5, 1, 2, 30, tzinfo=UTC),)]
    models.run("--full-refresh")
    assert checksums(house) == moved
