"""Where the time of a run went is in its metadata, stage by stage."""

from __future__ import annotations

import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from orchestration.assets.events import EVENTS
from orchestration.assets.waits import seconds_waited, waiting_tags
from orchestration.jobs import INGEST, ingest_config
from tests.integration.orchestrating import installation, run_job, share_parsing, told
from validation.sample import write_sample
from warehouse.connections import Warehouse


def test_a_run_tells_where_its_time_went(tmp_path: Path, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    share_parsing(monkeypatch, warehouse)
    footfall = installation(tmp_path, warehouse)
    names = ["a.csv", "b.csv"]
    for seed, name in enumerate(names):
        write_sample(footfall.settings.landing / name, 500, 1, seed)
    now = time.time()
    with dg.DagsterInstance.ephemeral() as instance:
        config = ingest_config(names, quiet=True)
        result = run_job(footfall, instance, INGEST, config, tags=waiting_tags(now - 5, now - 3))
    metadata = told(result, EVENTS)
    stages = metadata["seconds_by_stage"]
    assert set(stages) == {"sensor", "queue", "start", "hash", "read", "validate", "load"}
    assert stages["sensor"] == pytest.approx(2, abs=0.01)
    assert stages["queue"] >= 3
    assert all(stages[stage] > 0 for stage in ("hash", "read", "validate", "load"))
    of_files = sum(stages[stage] for stage in ("hash", "read", "validate", "load"))
    assert of_files == pytest.approx(metadata["seconds"], abs=0.01)


def test_a_run_that_no_sensor_asked_for_waited_for_nothing() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert seconds_waited(instance, create_run_for_test(instance, job_name=INGEST)) == {}


def test_the_wait_in_the_queue_ends_with_the_last_launch() -> None:
    now = time.time()
    with dg.DagsterInstance.ephemeral() as instance:
        run = create_run_for_test(instance, job_name=INGEST, tags=waiting_tags(now, now + 1))
        for _ in range(2):
            event = dg.DagsterEvent(dg.DagsterEventType.PIPELINE_STARTING.value, INGEST)
            instance.report_dagster_event(event, run.run_id)
            time.sleep(0.05)
        waited = seconds_waited(instance, run)
    assert waited["sensor"] == pytest.approx(1, abs=0.01)
    assert waited["queue"] == 0, "clocks that disagree take no time"
    assert 0.05 <= waited["start"] < 60
