"""Dagster's daemon, but prompt: which of its parts are ours, and when they look."""

from __future__ import annotations

import inspect
import threading
import time
from concurrent.futures import Future
from typing import Any

import dagster as dg
import pytest
from dagster._daemon import sensor
from dagster._daemon.controller import create_daemons_from_instance

from orchestration import daemon as ours
from orchestration.daemon import PromptQueue, PromptSensors, daemons

OVERRIDES = {
    "run_coordinator": {"module": "dagster.core.run_coordinator", "class": "QueuedRunCoordinator"},
    "sensors": {"use_threads": True, "num_workers": 2},
}


def test_the_same_daemons_run_and_two_of_them_are_ours() -> None:
    with dg.DagsterInstance.local_temp(overrides=OVERRIDES) as instance:
        found = {daemon.daemon_type(): daemon for daemon in daemons(instance)}
        assert set(found) == {daemon.daemon_type() for daemon in create_daemons_from_instance(instance)}
        assert isinstance(found["SENSOR"], PromptSensors)
        assert isinstance(found["QUEUED_RUN_COORDINATOR"], PromptQueue)


def test_sensors_without_threads_are_refused() -> None:
    with pytest.raises(RuntimeError, match="Sensors that wait need threads"):
        PromptSensors({}, threading.Event())


def test_dagster_does_one_turn_as_we_ask_it_to() -> None:
    names = set(inspect.signature(sensor.execute_sensor_iteration).parameters)
    assert {"threadpool_executor", "submit_threadpool_executor", "sensor_tick_futures"} <= names


def test_the_end_of_a_tick_is_followed_by_a_turn_and_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    tick: Future[None] = Future()
    turns: list[float] = []

    def turn(context: Any, logger: Any, *, sensor_tick_futures: dict[str, Future[Any]], **_: Any) -> Any:
        turns.append(time.monotonic())
        sensor_tick_futures["landing"] = tick
        yield None

    monkeypatch.setattr(ours, "execute_sensor_iteration", turn)
    monkeypatch.setattr(ours, "BUSY_SECONDS", 60.0)
    ring, stop = threading.Event(), threading.Event()
    context: Any = None
    with PromptSensors({"use_threads": True, "num_workers": 1}, ring) as daemon:
        loop = daemon.core_loop(context, stop)
        threading.Timer(0.3, tick.set_result, [None]).start()
        began = time.monotonic()
        while len(turns) < 2:
            next(loop)
        loop.close()
    assert ring.is_set()
    assert 0.2 <= turns[1] - began < 30


def test_an_error_does_not_end_the_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    def turn(*_: Any, **__: Any) -> Any:
        raise OSError("The database is gone.")
        yield

    monkeypatch.setattr(ours, "execute_sensor_iteration", turn)
    monkeypatch.setattr(ours, "AFTER_ERROR_SECONDS", 0.01)
    context: Any = None
    with PromptSensors({"use_threads": True, "num_workers": 1}, threading.Event()) as daemon:
        loop = daemon.core_loop(context, threading.Event())
        said = [next(loop) for _ in range(10)]
        loop.close()
    assert sum("The database is gone." in str(one) for one in said) >= 2


def test_the_queue_is_looked_at_when_it_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def look(*_: Any) -> Any:
        looks.append(time.monotonic())
        yield None

    monkeypatch.setattr(PromptQueue, "run_iteration", look)
    monkeypatch.setattr(ours, "QUEUE_SECONDS", 60.0)
    ring, context = threading.Event(), None
    with PromptQueue(ring) as daemon:
        loop = daemon.core_loop(context, threading.Event())  # type: ignore[arg-type]
        threading.Timer(0.3, ring.set).start()
        while len(looks) < 2:
            next(loop)
        loop.close()
    assert looks[1] - looks[0] < 30
    assert not ring.is_set()
