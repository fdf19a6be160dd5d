"""Dagster's daemon at our pace: what it relies on is there, and loud words where it is not."""

from __future__ import annotations

import dagster as dg
import pytest
from dagster._daemon import sensor
from dagster._daemon.controller import create_daemons_from_instance
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from orchestration.daemon import QUEUE_SECONDS, SENSOR_LOOP_SECONDS, daemons, quicken_sensors


def test_the_loop_over_sensors_is_quickened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensor, "MIN_INTERVAL_LOOP_TIME", 5)
    quicken_sensors()
    assert sensor.MIN_INTERVAL_LOOP_TIME == SENSOR_LOOP_SECONDS
    assert "MIN_INTERVAL_LOOP_TIME" in sensor.execute_sensor_iteration_loop.__code__.co_names, "and that is the one"


def test_a_dagster_without_that_constant_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sensor, "MIN_INTERVAL_LOOP_TIME")
    with pytest.raises(RuntimeError, match=r"has no dagster\._daemon\.sensor\.MIN_INTERVAL_LOOP_TIME any more"):
        quicken_sensors()


def test_the_same_daemons_run_the_queue_at_our_pace() -> None:
    overrides = {"run_coordinator": {"module": "dagster.core.run_coordinator", "class": "QueuedRunCoordinator"}}
    with dg.DagsterInstance.local_temp(overrides=overrides) as instance:
        ours = {type(daemon): daemon for daemon in daemons(instance)}
        assert set(ours) == {type(daemon) for daemon in create_daemons_from_instance(instance)}
        queue = ours[QueuedRunCoordinatorDaemon]
        assert isinstance(queue, QueuedRunCoordinatorDaemon)
        assert queue.interval_seconds == QUEUE_SECONDS
