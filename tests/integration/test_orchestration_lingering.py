"""How the sensor over the landing folder waits in its tick, on a real folder, a real ledger and the kernel's own word.

What it asks for at all is in `test_orchestration_sensor`. The promises about time are kept with a wide margin: nothing
here fails because a machine is slow for a second.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestration import sensors
from orchestration.assets.waits import NOTICED_TAG, READY_TAG
from orchestration.change_sensor import build_change_sensor
from orchestration.resources import Footfall
from orchestration.sensors import build_landing_sensor
from tests.integration.orchestrating import Ticks, installation
from validation.landing import LandingFolder
from validation.watching import FolderWatch
from warehouse.connections import Warehouse

HEADER = "timestamp,person_id,camera_id,event_type\n"
LONG = 20.0


@pytest.fixture
def footfall(tmp_path: Path, warehouse: Warehouse) -> Iterator[Footfall]:
    yield installation(tmp_path, warehouse)
    sensors._shared.cache_clear()


@pytest.fixture
def ticks(footfall: Footfall) -> Iterator[Ticks]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Ticks(build_landing_sensor, footfall, instance)


@pytest.fixture
def lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ticks that wait for so long that whatever ends one before was not its limit."""
    monkeypatch.setattr(sensors, "LINGER_SECONDS", LONG)


@contextmanager
def meanwhile(*steps: Callable[[], object], after: float = 0.5) -> Iterator[None]:
    """Do something in another thread, step by step, each after a pause."""

    def take() -> None:
        for step in steps:
            time.sleep(after)
            step()

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def asked_for(result: dg.SensorResult) -> list[str]:
    names: list[str] = []
    for request in result.run_requests or []:
        names += request.run_config["ops"]["load_files"]["config"]["files"]
    return names


@pytest.mark.usefixtures("lingering")
def test_a_file_that_is_renamed_into_place_is_asked_for_in_the_tick_that_waits(
    ticks: Ticks, footfall: Footfall
) -> None:
    landing = footfall.settings.landing
    hidden = landing / ".a.csv.part"
    hidden.write_text(HEADER)
    began = time.monotonic()
    with meanwhile(lambda: hidden.rename(landing / "a.csv")):
        result = ticks.tick()
    assert asked_for(result) == ["a.csv"]
    assert time.monotonic() - began < LONG / 2
    (request,) = result.run_requests or []
    assert 0 <= float(request.tags[NOTICED_TAG]) - float(request.tags[READY_TAG]) < LONG / 2


@pytest.mark.usefixtures("lingering")
@pytest.mark.parametrize("where", ["landing", "a site that is new", "elsewhere"])
def test_what_is_written_and_renamed_in_one_go_need_not_settle(
    tmp_path: Path, warehouse: Warehouse, ticks: Ticks, where: str
) -> None:
    ticks.footfall = installation(tmp_path, warehouse)
    settings = ticks.footfall.settings.model_copy(update={"settle_seconds": 3600.0})
    ticks.footfall.settings = settings

    def drop() -> None:
        target = settings.landing / ("north/a.csv" if where == "a site that is new" else "a.csv")
        target.parent.mkdir(exist_ok=True)
        hidden = tmp_path / "a.csv" if where == "elsewhere" else target.with_name(".a.csv.part")
        if where == "a site that is new":
            time.sleep(1)  # In a folder that is seen for the first time, only a look can tell.
        hidden.write_text(HEADER)
        hidden.rename(target)

    with meanwhile(drop):
        assert len(asked_for(ticks.tick())) == 1


def test_what_was_renamed_between_two_ticks_need_not_settle(
    ticks: Ticks, footfall: Footfall, monkeypatch: pytest.MonkeyPatch
) -> None:
    footfall.settings = footfall.settings.model_copy(update={"settle_seconds": 3600.0})
    monkeypatch.setattr(sensors, "LINGER_SECONDS", 0.1)
    assert not asked_for(ticks.tick())
    LandingFolder(footfall.settings.landing).drop(_source(footfall))
    assert asked_for(ticks.tick()) == ["source.csv"]


def test_one_that_merely_has_another_name_by_now_has_to_settle(
    ticks: Ticks, footfall: Footfall, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing = footfall.settings.landing
    footfall.settings = footfall.settings.model_copy(update={"settle_seconds": 3600.0})
    monkeypatch.setattr(sensors, "LINGER_SECONDS", 1.0)
    (landing / "a.csv").write_text(HEADER)
    with meanwhile(lambda: (landing / "a.csv").rename(landing / "b.csv"), after=0.3):
        assert not asked_for(ticks.tick())
    assert not asked_for(ticks.tick())


@pytest.mark.usefixtures("lingering")
def test_a_half_written_file_is_waited_for(ticks: Ticks, footfall: Footfall) -> None:
    footfall.settings = footfall.settings.model_copy(update={"settle_seconds": 1.0})
    path = footfall.settings.landing / "slow.csv"
    changed = []

    def write() -> None:
        with path.open("a") as file:
            file.write(HEADER)
        changed.append(time.time())

    with meanwhile(*[write] * 5):
        result = ticks.tick()
        found = time.time()
    assert asked_for(result) == ["slow.csv"]
    assert len(changed) == 5
    assert found - changed[-1] >= 1.0


@pytest.mark.usefixtures("lingering")
def test_files_that_are_moved_in_one_after_the_other_go_into_one_run(
    ticks: Ticks, footfall: Footfall, tmp_path: Path
) -> None:
    names = [f"{number}.csv" for number in range(20)]
    for name in names:
        (tmp_path / name).write_text(HEADER)

    def move() -> None:
        for name in names:
            (tmp_path / name).rename(footfall.settings.landing / name)

    with meanwhile(move):
        assert sorted(asked_for(ticks.tick())) == sorted(names)


def test_a_tick_lingers_no_longer_than_its_limit(ticks: Ticks, footfall: Footfall) -> None:
    """Noise in the folder does not prolong it either."""
    noise = footfall.settings.landing / ".noise"
    over = threading.Event()

    def make_noise() -> None:
        while not over.wait(0.01):
            noise.touch()
            noise.unlink()

    began = time.monotonic()
    assert not asked_for(ticks.tick())
    quiet = time.monotonic() - began
    thread = threading.Thread(target=make_noise)
    thread.start()
    try:
        began = time.monotonic()
        assert not asked_for(ticks.tick())
        noisy = time.monotonic() - began
    finally:
        over.set()
        thread.join()
    assert sensors.LINGER_SECONDS <= quiet < sensors.LINGER_SECONDS + 2
    assert sensors.LINGER_SECONDS <= noisy < sensors.LINGER_SECONDS + 2
    assert sensors.LINGER_SECONDS <= 6


def test_in_dagsters_own_ways_it_does_not_linger(tmp_path: Path, warehouse: Warehouse, ticks: Ticks) -> None:
    ticks.footfall = installation(tmp_path, warehouse, warm=False)
    began = time.monotonic()
    assert not asked_for(ticks.tick())
    assert time.monotonic() - began < sensors.LINGER_SECONDS / 2


def test_a_second_tick_at_the_same_time_does_not_wait(ticks: Ticks, footfall: Footfall) -> None:
    """Somebody may try the sensor out on the web page."""
    other = Ticks(build_landing_sensor, footfall, ticks.instance)
    with meanwhile(ticks.tick, after=0):
        time.sleep(1)
        began = time.monotonic()
        assert not asked_for(other.tick())
        assert time.monotonic() - began < sensors.LINGER_SECONDS / 2


@pytest.mark.usefixtures("lingering")
def test_a_landing_folder_that_goes_and_comes_back_is_watched_again(ticks: Ticks, footfall: Footfall) -> None:
    landing = footfall.settings.landing
    source = _source(footfall)
    with meanwhile(
        lambda: shutil.rmtree(landing), landing.mkdir, lambda: None, lambda: source.rename(landing / "a.csv")
    ):
        assert asked_for(ticks.tick()) == ["a.csv"]


def test_a_landing_folder_that_is_missing_is_said_to_be(
    ticks: Ticks, footfall: Footfall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors, "LINGER_SECONDS", 0.3)
    footfall.settings.landing.rmdir()
    assert "cannot be read: No such file" in str(ticks.tick().skip_reason)


@pytest.mark.usefixtures("lingering")
def test_where_the_kernel_tells_nothing_it_looks_by_itself(
    ticks: Ticks, footfall: Footfall, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(function: Any, *arguments: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(FolderWatch, "_ask", none_left)
    shared = sensors._shared(footfall.settings.landing)
    hidden = footfall.settings.landing / ".a.csv.part"
    hidden.write_text(HEADER)
    with meanwhile(lambda: hidden.rename(footfall.settings.landing / "a.csv"), after=1.5):
        assert asked_for(ticks.tick()) == ["a.csv"]
    assert shared.watch.problem == "No space left on device"
    monkeypatch.undo()
    assert not shared.watch.wait(0)
    assert shared.watch.problem is None


def test_a_problem_is_told_once_until_it_is_gone(footfall: Footfall) -> None:
    shared = sensors._shared(footfall.settings.landing)
    assert shared.news() is None
    shared.watch.problem = "No space left on device"
    assert shared.news() == (
        "The landing folder cannot be watched (No space left on device); it is looked at every 1 s instead."
    )
    assert shared.news() is None
    shared.watch.problem = None
    assert shared.news() is None
    shared.watch.problem = "No space left on device"
    assert shared.news() is not None


def test_the_sensor_of_changes_does_not_wait_for_the_one_that_lingers(ticks: Ticks, footfall: Footfall) -> None:
    with dg.DagsterInstance.ephemeral() as instance, meanwhile(ticks.tick, after=0):
        time.sleep(0.5)
        began = time.monotonic()
        Ticks(build_change_sensor, footfall, instance).tick()
        assert time.monotonic() - began < 10


def _source(footfall: Footfall) -> Path:
    source = footfall.settings.home / "source.csv"
    source.write_text(HEADER)
    return source
