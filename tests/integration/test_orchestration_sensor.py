"""The sensor over the landing folder, against a real ledger and an instance of Dagster's own."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.test_utils import create_run_for_test

from orchestration.jobs import ASSET_JOB, CORRECTIONS, INGEST, UNFINISHED, correction_config, ingest_config
from orchestration.resources import Footfall
from orchestration.running import job_origin
from orchestration.sensors import PATIENCE_SECONDS, RESUME_TAG, RESUMES, build_landing_sensor
from tests.integration.orchestrating import Ticks, installation
from warehouse.connections import Warehouse


@pytest.fixture(params=[True, False], ids=["lingering", "not lingering"])
def footfall(
    tmp_path: Path, warehouse: Warehouse, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Footfall:
    monkeypatch.setattr("orchestration.sensors.LINGER_SECONDS", 0.3)
    return installation(tmp_path, warehouse, warm=request.param)


class Landing(Ticks):
    """The sensor over the landing folder."""

    def __init__(self, footfall: Footfall, instance: dg.DagsterInstance) -> None:
        super().__init__(build_landing_sensor, footfall, instance)

    def request(self) -> dg.RunRequest:
        """The one run that a tick asks for."""
        requests = list(self.tick().run_requests or [])
        assert len(requests) == 1
        return requests[0]

    def make_time_pass(self, seconds: float) -> None:
        """As if everything that was asked for had been asked for that much earlier."""
        memory = json.loads(self.cursor or "{}")
        for ask in memory["asked"].values():
            ask["at"] -= seconds
        self.cursor = json.dumps(memory)


@pytest.fixture
def ticks(footfall: Footfall, instance: dg.DagsterInstance) -> Landing:
    return Landing(footfall, instance)


def drop(footfall: Footfall, name: str, text: str = "timestamp,person_id,camera_id,event_type\n") -> Path:
    path = footfall.settings.landing / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def files(request: dg.RunRequest) -> list[str]:
    names: list[str] = request.run_config["ops"]["load_files"]["config"]["files"]
    return names


def test_an_empty_folder_asks_for_nothing(ticks: Landing) -> None:
    result = ticks.tick()
    assert not result.run_requests
    assert "empty" in str(result.skip_reason)


def test_all_files_that_are_ready_go_into_one_run(ticks: Landing, footfall: Footfall) -> None:
    drop(footfall, "b.csv")
    drop(footfall, "a b 'ü'.csv")
    drop(footfall, "north/c.csv")
    assert files(ticks.request()) == ["a b 'ü'.csv", "b.csv", "north/c.csv"]


def test_a_name_that_is_no_utf8_can_be_asked_for(ticks: Landing, footfall: Footfall) -> None:
    (footfall.settings.landing / os.fsdecode(b"caf\xe9.csv")).write_text("x")
    request = ticks.request()
    json.dumps(request.run_config, ensure_ascii=False).encode("utf-8")
    assert files(request) == ["caf\\xe9.csv"]


def test_a_file_that_grows_waits(ticks: Landing, footfall: Footfall) -> None:
    path = drop(footfall, "slow.csv")
    finished = threading.Event()

    def go_on_writing() -> None:
        while not finished.wait(0.02):
            with path.open("a") as file:
                file.write("x" * 100)

    writer = threading.Thread(target=go_on_writing)
    writer.start()
    try:
        for _ in range(3):
            assert not ticks.tick().run_requests
    finally:
        finished.set()
        writer.join()
    assert files(ticks.request()) == ["slow.csv"]


@pytest.mark.parametrize("status", UNFINISHED)
def test_a_file_is_asked_for_once_while_its_run_waits_or_works(
    ticks: Landing, footfall: Footfall, instance: dg.DagsterInstance, status: DagsterRunStatus
) -> None:
    drop(footfall, "a.csv")
    request = ticks.request()
    run = create_run_for_test(
        instance,
        job_name=INGEST,
        run_config=request.run_config,
        status=status,
        remote_job_origin=job_origin(footfall.settings, INGEST),
    )
    ticks.make_time_pass(3600)
    assert not ticks.tick().run_requests
    drop(footfall, "b.csv")
    assert files(ticks.request()) == ["b.csv"]
    instance.report_run_canceled(run)
    ticks.make_time_pass(3600)
    assert files(ticks.request()) == ["a.csv", "b.csv"]


def test_a_run_without_a_list_takes_every_file(
    ticks: Landing, footfall: Footfall, instance: dg.DagsterInstance
) -> None:
    drop(footfall, "a.csv")
    create_run_for_test(
        instance,
        job_name=ASSET_JOB,
        asset_selection=frozenset({dg.AssetKey(["raw", "events"])}),
        status=DagsterRunStatus.STARTED,
    )
    assert not ticks.tick().run_requests


def test_a_run_of_models_alone_takes_none(ticks: Landing, footfall: Footfall, instance: dg.DagsterInstance) -> None:
    drop(footfall, "a.csv")
    create_run_for_test(
        instance,
        job_name=ASSET_JOB,
        asset_selection=frozenset({dg.AssetKey(["marts", "kpis"])}),
        status=DagsterRunStatus.STARTED,
    )
    assert files(ticks.request()) == ["a.csv"]


@pytest.mark.parametrize("job", CORRECTIONS)
def test_a_correction_takes_no_file_from_the_folder(
    ticks: Landing, footfall: Footfall, instance: dg.DagsterInstance, job: str
) -> None:
    drop(footfall, "a.csv")
    config = correction_config(job, ["a.csv"])
    create_run_for_test(instance, job_name=job, run_config=config, status=DagsterRunStatus.STARTED)
    assert files(ticks.request()) == ["a.csv"]


@pytest.mark.parametrize("job", CORRECTIONS)
def test_after_a_failed_correction_the_models_are_asked_for(
    ticks: Landing, instance: dg.DagsterInstance, job: str
) -> None:
    run = create_run_for_test(instance, job_name=job, status=DagsterRunStatus.STARTED)
    instance.report_run_failed(run)
    create_run_for_test(instance, job_name="prune", status=DagsterRunStatus.SUCCESS)
    with pytest.MonkeyPatch.context() as patch:
        later = time.time() + 3600
        patch.setattr("orchestration.sensors.time.time", lambda: later)
        assert files(ticks.request()) == []


def test_a_file_that_stays_is_asked_for_again_later_under_another_key(ticks: Landing, footfall: Footfall) -> None:
    drop(footfall, "a.csv")
    keys = {ticks.request().run_key}
    for pause in PATIENCE_SECONDS[1:]:
        ticks.make_time_pass(pause - 1)
        assert not ticks.tick().run_requests
        ticks.make_time_pass(2)
        key = ticks.request().run_key
        assert key not in keys
        keys.add(key)


def test_a_corrected_file_of_the_same_name_is_asked_for_at_once(ticks: Landing, footfall: Footfall) -> None:
    path = drop(footfall, "a.csv")
    first = ticks.request()
    path.unlink()
    drop(footfall, "a.csv", "something else\n")
    assert ticks.request().run_key != first.run_key


def test_the_same_file_has_the_same_key_when_the_cursor_is_lost(ticks: Landing, footfall: Footfall) -> None:
    drop(footfall, "a.csv")
    key = ticks.request().run_key
    ticks.cursor = None
    assert ticks.request().run_key == key


def test_after_a_failed_run_the_models_are_asked_for_again_a_few_times(
    ticks: Landing, footfall: Footfall, instance: dg.DagsterInstance
) -> None:
    tags: dict[str, str] = {}
    for time_over in range(RESUMES):
        run = create_run_for_test(
            instance, job_name=INGEST, run_config=ingest_config(["a.csv"]), tags=tags, status=DagsterRunStatus.STARTED
        )
        assert not ticks.tick().run_requests
        instance.report_run_failed(run)
        assert not ticks.tick().run_requests, "it waits a little"
        with pytest.MonkeyPatch.context() as patch:
            later = time.time() + 3600
            patch.setattr("orchestration.sensors.time.time", lambda later=later: later)
            request = ticks.request()
        assert files(request) == []
        assert request.tags[RESUME_TAG] == str(time_over + 1)
        tags = {RESUME_TAG: request.tags[RESUME_TAG]}
    run = create_run_for_test(instance, job_name=INGEST, tags=tags, status=DagsterRunStatus.STARTED)
    instance.report_run_failed(run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestration.sensors.time.time", lambda: later)
        assert not ticks.tick().run_requests


@pytest.mark.parametrize("status", [DagsterRunStatus.SUCCESS, DagsterRunStatus.CANCELED])
def test_after_a_run_that_succeeded_or_was_cancelled_nothing_is_resumed(
    ticks: Landing, instance: dg.DagsterInstance, status: DagsterRunStatus
) -> None:
    create_run_for_test(instance, job_name=INGEST, run_config=ingest_config(["a.csv"]), status=status)
    with pytest.MonkeyPatch.context() as patch:
        later = time.time() + 3600
        patch.setattr("orchestration.sensors.time.time", lambda: later)
        assert not ticks.tick().run_requests
