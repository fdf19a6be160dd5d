"""The sensor over settings, camera list and profiles, and how a change is put into words: on a real ledger."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.test_utils import create_run_for_test

from orchestration.change_sensor import build_change_sensor
from orchestration.inputs import Inputs, camera_changes, parameter_changes
from orchestration.jobs import ASSET_JOB, INGEST, REPLAY, RETRACT, UNFINISHED
from orchestration.patience import PAUSES_SECONDS
from orchestration.resources import Footfall
from orchestration.running import job_origin
from orchestration.settings import Settings, SettingsProblem
from tests.integration.orchestrating import Ticks, installation
from validation.cameras import Camera
from validation.corrections import replay_file
from validation.finding import find_file
from validation.landing import LandingFolder
from validation.loading import LoadContext, load_file
from warehouse.connections import Warehouse

BERLIN = "camera_id,timezone\nC1,Europe/Berlin\n"
PROFILE = """
name: doors
description: What the doors count.
recognised_by: [who, door]
fields: {timestamp: when, person_id: who, camera_id: door, event_type: {constant: entry}}
"""


class Changes(Ticks):
    """The sensor, tick after tick, on an installation whose settings can be edited."""

    def __init__(self, footfall: Footfall, instance: dg.DagsterInstance) -> None:
        super().__init__(build_change_sensor, replace(footfall, read_anew=self.read), instance)
        self.settings: Settings | SettingsProblem = footfall.settings

    def read(self) -> Settings:
        if isinstance(self.settings, SettingsProblem):
            raise self.settings
        return self.settings

    def edit(self, **settings: Any) -> None:
        self.settings = self.footfall.settings.model_copy(update=settings)
        vars(self.settings).pop("loading_rules", None)
        vars(self.settings).pop("model_parameters", None)

    def requests(self) -> list[dg.RunRequest]:
        return list(self.tick().run_requests or [])

    def reason(self) -> str:
        result = self.tick()
        assert not result.run_requests
        return str(result.skip_reason.skip_message if result.skip_reason else "")

    def make_time_pass(self, seconds: float) -> None:
        """As if everything that was asked for had been asked for that much earlier."""
        memory = json.loads(self.cursor or "{}")
        memory["asked"]["again_at"] -= seconds
        self.cursor = json.dumps(memory)

    @property
    def context(self) -> LoadContext:
        inputs, settings = Inputs.read(self.read()), self.read()
        return LoadContext(
            warehouse=self.footfall.warehouse, home=settings.home, landing=settings.landing, rules=inputs.rules,
            profiles=inputs.profiles, cameras=inputs.cameras, run_id="run",
        )  # fmt: skip

    def load(self, name: str, text: str) -> None:
        (self.read().landing / name).write_text(text)
        (waiting,) = LandingFolder(self.read().landing).look()
        assert load_file(waiting, self.context).state == "loaded"
        self.store()

    def store(self) -> list[str]:
        with self.footfall.warehouse.connect("loader", autocommit=True) as connection:
            return Inputs.read(self.read()).store(connection)

    def replay(self, name: str) -> None:
        with self.footfall.warehouse.connect("loader", autocommit=True) as connection:
            file = find_file(connection, name, "replay")
        replay_file(file.sha256, self.context)


@pytest.fixture
def changes(tmp_path: Path, warehouse: Warehouse, instance: dg.DagsterInstance) -> Changes:
    changes = Changes(installation(tmp_path, warehouse), instance)
    changes.load("a.csv", "timestamp,person_id,camera_id,event_type\n2024-05-01 09:00:00,ann,C1,entry\n")
    return changes


def config(request: dg.RunRequest) -> Any:
    return request.run_config["ops"]["load_files"]["config"]


def test_a_fresh_installation_needs_nothing(tmp_path: Path, warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    changes = Changes(installation(tmp_path, warehouse), instance)
    changes.footfall.settings.cameras_file.write_text(BERLIN)
    assert "under the settings of today" in changes.reason()


def test_an_edited_camera_list_replays_the_files_that_it_concerns(changes: Changes) -> None:
    assert "under the settings of today" in changes.reason()
    changes.footfall.settings.cameras_file.write_text(BERLIN)
    (request,) = changes.requests()
    assert request.job_name == REPLAY
    assert config(request) == {"do": "replay"}
    assert request.tags["footfall/why"].startswith("a.csv: camera 'C1' is in time zone Europe/Berlin now")
    changes.replay("a.csv")
    assert changes.store() == ["Camera C1 is on the camera list now."]
    assert "under the settings of today" in changes.reason()


def test_an_edited_setting_or_profile_replays_the_files_that_it_concerns(changes: Changes) -> None:
    changes.edit(default_timezone="Asia/Tokyo")
    assert [request.job_name for request in changes.requests()] == [REPLAY]
    changes.edit()
    assert changes.requests() == []
    profile = changes.footfall.settings.profiles_folder / "doors.yml"
    profile.write_text(PROFILE)
    changes.load("doors.csv", "when,who,door\n2024-05-01 09:00:00,ann,D\n")
    assert changes.requests() == []
    profile.write_text(PROFILE + "timezone: Europe/Berlin\n")
    (request,) = changes.requests()
    assert request.job_name == REPLAY
    assert request.tags["footfall/why"] == "doors.csv: source profile 'doors' has changed"


@pytest.mark.parametrize(
    ("cameras", "settings", "why"),
    [
        ("camera_id,capacity\nC1,30\n", {}, "Camera C1 is on the camera list now."),
        ("", {"visit_gap_minutes": 10.0}, "visit_gap_minutes was 30, is 10."),
    ],
)
def test_what_concerns_the_models_alone_needs_no_file(
    changes: Changes, cameras: str, settings: dict[str, Any], why: str
) -> None:
    if cameras:
        changes.footfall.settings.cameras_file.write_text(cameras)
    changes.edit(**settings)
    (request,) = changes.requests()
    assert (request.job_name, config(request)) == (INGEST, {"files": []})
    assert request.tags["footfall/why"] == why
    assert changes.store() == [why]
    assert changes.requests() == []


def test_what_is_wrong_is_told_until_it_is_put_right(changes: Changes) -> None:
    changes.footfall.settings.cameras_file.write_text("camera_id,timezone\nC1,Mars/Base\n")
    assert "'Mars/Base' is no time zone" in changes.reason()
    changes.footfall.settings.cameras_file.write_text(BERLIN)
    profile = changes.footfall.settings.profiles_folder / "doors.yml"
    profile.write_text("name: [")
    assert "doors.yml" in changes.reason()
    profile.unlink()
    changes.settings = SettingsProblem("FOOTFALL_X is no setting.")
    assert "FOOTFALL_X is no setting." in changes.reason()
    changes.edit()
    assert [request.job_name for request in changes.requests()] == [REPLAY]


@pytest.mark.parametrize("job", [INGEST, REPLAY, ASSET_JOB])
def test_while_a_run_waits_or_works_nothing_is_asked_for(
    changes: Changes, instance: dg.DagsterInstance, job: str
) -> None:
    changes.footfall.settings.cameras_file.write_text(BERLIN)
    create_run_for_test(instance, job_name=RETRACT, status=DagsterRunStatus.STARTED)
    origin = job_origin(changes.footfall.settings, job)
    for status in UNFINISHED:
        run = create_run_for_test(instance, job_name=job, status=status, remote_job_origin=origin)
        assert "under way" in changes.reason(), status
        instance.report_run_canceled(run)
    assert len(changes.requests()) == 1


def test_what_was_asked_for_in_vain_is_asked_for_ever_less_often(changes: Changes) -> None:
    changes.footfall.settings.cameras_file.write_text(BERLIN)
    assert len(changes.requests()) == 1
    for pause in (*PAUSES_SECONDS, PAUSES_SECONDS[-1]):
        changes.make_time_pass(pause - 5)
        assert "in vain" in changes.reason()
        changes.make_time_pass(6)
        assert len(changes.requests()) == 1
    assert PAUSES_SECONDS[-1] >= 86_400
    # Something else that changed is asked for at once.
    changes.footfall.settings.cameras_file.write_text(BERLIN.replace("Berlin", "London"))
    assert len(changes.requests()) == 1


def test_changes_in_words() -> None:
    parameters = {"a": 1.0, "b": ["x"], "c": None, "d": 5}
    assert parameter_changes(parameters, {"a": 1, "b": [], "c": 0.5, "e": 2.5}) == [
        "b was x, is nothing.",
        "c was nothing, is 0.5.",
        "d was 5 and is no setting any more.",
        "e is 2.5.",
    ]
    one = Camera("C1", "Door", None, "default", "UTC", 5)
    other = replace(one, timezone="Europe/Berlin", capacity=None)
    assert camera_changes([one], [other]) == [
        "Camera C1: timezone was UTC, is Europe/Berlin; capacity was 5, is nothing."
    ]
    assert camera_changes([one], []) == ["Camera C1 is not on the camera list any more."]
    many = [replace(one, camera_id=f"C{number}") for number in range(30)]
    assert camera_changes([], many)[-1] == "And 10 more cameras."
    assert len(camera_changes([], many)) == 21
