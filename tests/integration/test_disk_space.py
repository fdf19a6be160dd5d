"""A disk that is nearly full: files wait where they are, no attempt is used up, and all goes on once there is room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from dagster import DagsterInstance

from orchestration.disk_space import disk_problem
from orchestration.jobs import INGEST, ingest_config
from orchestration.resources import Footfall
from orchestration.sensors import build_landing_sensor
from orchestration.settings import Settings
from tests.integration.dropping import Dropping, csv_of, good_rows
from tests.integration.orchestrating import Ticks, checks, installation, run_job, said, share_parsing, told
from validation.loading import LoadingFailed, load_file
from warehouse.connections import Warehouse

MORE_THAN_THERE_IS = 1_000_000.0


def files(footfall: Footfall) -> list[Any]:
    with footfall.warehouse.connect("loader") as connection:
        return connection.execute("select file_name, state from raw.files order by 1").fetchall()


def arrivals(footfall: Footfall) -> list[Any]:
    with footfall.warehouse.connect("loader") as connection:
        return connection.execute("select path, attempts, outcome from raw.arrivals order by 1").fetchall()


def with_settings(footfall: Footfall, **changes: Any) -> Footfall:
    return replace(footfall, settings=footfall.settings.model_copy(update=changes))


@pytest.mark.soak
def test_a_run_leaves_files_where_they_are_and_says_what_is_free_and_needed(
    footfall: Footfall, instance: DagsterInstance
) -> None:
    (footfall.settings.landing / "a\nb.csv").write_bytes(csv_of(good_rows(5)))
    full = with_settings(footfall, min_free_gb=MORE_THAN_THERE_IS)
    for _ in range(4):
        result = run_job(full, instance, INGEST, ingest_config(["a\nb.csv"]))
        assert result.success
    assert [path.name for path in footfall.settings.landing.iterdir()] == ["a\nb.csv"]
    assert files(footfall) == arrivals(footfall) == []
    lines = said(instance, result)
    assert r"a\nb.csv was not loaded. There is too little room on the disk with" in lines
    assert "1,000,000 GB to stay free (the setting min_free_gb)" in lines
    assert "too little room" in told(result, dg.AssetKey(["raw", "events"]))["verdicts"]
    assert checks(result)["files_usable"].passed, "nothing is wrong with the file"
    # There is room again.
    assert run_job(footfall, instance, INGEST, ingest_config(["a\nb.csv"])).success
    assert files(footfall) == [("a\nb.csv", "loaded")]
    assert arrivals(footfall) == [("a\nb.csv", 1, "loaded")]


def test_the_sensor_asks_for_no_file_that_there_is_no_room_for(
    footfall: Footfall, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.sensors.LINGER_SECONDS", 0.3)
    (footfall.settings.landing / "a.csv").write_bytes(csv_of(good_rows(5)))
    ticks = Ticks(build_landing_sensor, with_settings(footfall, min_free_gb=MORE_THAN_THERE_IS), instance)
    for _ in range(3):
        result = ticks.tick()
        assert not result.run_requests
    assert "too little room" in str(result.skip_reason)
    ticks.footfall = footfall
    (request,) = ticks.tick().run_requests or []
    assert request.run_config["ops"]["load_files"]["config"]["files"] == ["a.csv"]
    assert request.tags["footfall/attempt"] == "1"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 20 MB, with a folder on it."""
    disk = tmp_path / "small disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip("only root can mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_really_full(
    small_disk: Path, warehouse: Warehouse, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    share_parsing(monkeypatch, warehouse)
    footfall = installation(small_disk, warehouse, min_free_gb=0.008)
    settings = footfall.settings
    (settings.landing / "small.csv").write_bytes(csv_of(good_rows(5)))
    (settings.landing / "large.csv").write_bytes(csv_of(good_rows(10_000)))
    names = ["small.csv", "large.csv"]
    size = (settings.landing / "large.csv").stat().st_size
    assert run_job(footfall, instance, INGEST, ingest_config(["small.csv"])).success
    filler = small_disk / "filler"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    filler.write_bytes(b"x" * (free - 8_000_000 - size // 2))
    assert disk_problem(settings) is None
    assert disk_problem(settings, size) is not None
    result = run_job(footfall, instance, INGEST, ingest_config(names))
    assert result.success
    assert files(footfall) == [("small.csv", "loaded")]
    assert "large.csv was not loaded" in said(instance, result)
    filler.unlink()
    assert run_job(footfall, instance, INGEST, ingest_config(names)).success
    assert files(footfall) == [("large.csv", "loaded"), ("small.csv", "loaded")]


def test_a_load_that_fills_the_disk_is_undone_and_uses_up_no_attempt(small_disk: Path, warehouse: Warehouse) -> None:
    home, landing = small_disk / "home", small_disk.parent / "landing"
    home.mkdir()
    landing.mkdir()
    dropping = Dropping(warehouse, home, landing)
    waiting = dropping.drop(good_rows(5))
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(b"x" * 30_000_000)
    for _ in range(5):
        with pytest.raises(LoadingFailed, match=r"The disk is full: make room\. The file stays where it is"):
            load_file(waiting, dropping.context())
    assert waiting.path.exists()
    assert dropping.count("files") == dropping.count("arrivals") == 0
    filler.unlink()
    outcome = load_file(waiting, dropping.context())
    assert (outcome.state, outcome.attempt) == ("loaded", 1)


def test_a_full_disk_of_postgresqls_uses_up_no_attempt(warehouse: Warehouse, tmp_path: Path) -> None:
    home, landing = tmp_path / "home", tmp_path / "landing"
    for folder in (home, landing):
        folder.mkdir()
    dropping = Dropping(warehouse, home, landing)
    waiting = dropping.drop(good_rows(5))
    with warehouse.connect("owner") as connection:
        connection.execute(
            "create function raw.no_room() returns trigger language plpgsql as"
            " $$ begin raise exception 'could not extend file: No space left on device' using errcode = '53100'; end $$"
        )
        connection.execute("create trigger no_room before insert on raw.events execute function raw.no_room()")
    for _ in range(5):
        with pytest.raises(LoadingFailed, match="The disk is full: make room") as raised:
            load_file(waiting, dropping.context())
        assert isinstance(raised.value.__cause__, psycopg.errors.DiskFull)
    with warehouse.connect("owner") as connection:
        connection.execute("drop trigger no_room on raw.events")
    assert load_file(waiting, dropping.context()).state == "loaded"


def test_what_is_free_and_needed_is_said(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, landing=tmp_path / "landing", min_free_gb=MORE_THAN_THERE_IS)
    told = disk_problem(settings, 2_000_000_000) or ""
    assert told.startswith(f"There is too little room on the disk with {tmp_path}: ")
    assert "where about 2 GB for it and 1,000,000 GB to stay free" in told
    assert "for it" not in (disk_problem(settings) or "")
    assert disk_problem(settings.model_copy(update={"min_free_gb": 0.0}), 10**18) is None
    assert disk_problem(settings.model_copy(update={"home": tmp_path / "not there"})) is None
