"""The doctor's findings, and where things lie: on a real warehouse, with one thing wrong at a time."""

from __future__ import annotations

import os
import socket
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import dagster as dg
import psycopg2
import pytest
from dagster import DagsterRunStatus
from dagster._core.launcher import WorkerStatus
from dagster._core.test_utils import create_run_for_test

from orchestration import doctor
from orchestration.doctor import Finding, findings
from orchestration.launcher import SILENCE_SECONDS, WORKER_TAG, WatchedRunLauncher, begin_work
from orchestration.places import code_socket, dagster_environment, make_places, run_socket
from orchestration.server import Server
from orchestration.settings import Settings, SettingsProblem
from orchestration.supervisor import Identity
from warehouse.connections import Warehouse


@pytest.fixture
def settings(tmp_path: Path, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings by which the doctor finds the tests' server running."""
    with closing(socket.create_server(("127.0.0.1", 0))) as one, closing(socket.create_server(("127.0.0.1", 0))) as two:
        chosen = {"dagster_port": one.getsockname()[1], "api_port": two.getsockname()[1]}
    monkeypatch.setattr(Server, "is_running", lambda _self: True)
    monkeypatch.setattr(doctor, "open_warehouse", lambda *_where: warehouse)
    settings = Settings(home=tmp_path / "home", landing=tmp_path / "landing", **chosen)
    make_places(settings)
    return settings


def bad(settings: Settings) -> list[Finding]:
    return [finding for finding in findings(settings) if finding.state != "good"]


def test_nothing_is_wrong_with_a_fresh_installation(settings: Settings) -> None:
    assert bad(settings) == []
    told = [finding.sentence for finding in findings(settings)]
    assert any(sentence.startswith("PostgreSQL 1") for sentence in told)
    assert "Each part has a role of its own." in told
    assert "The tables are those of this version." in told


def test_each_thing_that_is_wrong_is_told_with_what_to_do(
    settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.cameras_file.write_text("camera_id,timezone\nA,Mars/Base\n")
    (settings.profiles_folder / "mine.yml").write_text("name: [")
    (settings.landing / "link.csv").symlink_to("/etc/passwd")
    waiting = settings.landing / "old.csv"
    waiting.write_text("x")
    with warehouse.connect("owner") as connection:
        connection.execute("update raw.migration set version_num = '0000'")
    later = time.time() + 3600
    monkeypatch.setattr("orchestration.doctor.time.time", lambda: later)
    with (
        closing(socket.create_server(("127.0.0.1", settings.dagster_port))),
        closing(socket.create_server(("127.0.0.1", settings.api_port))),
    ):
        found = bad(settings)
    told = "\n".join(f"{finding.state} {finding.sentence} {finding.advice}" for finding in found)
    for words in (
        f"bad Port {settings.dagster_port} at 127.0.0.1 (Dagster) is taken",
        "Set FOOTFALL_DAGSTER_PORT to a free one",
        f"bad Port {settings.api_port} at 127.0.0.1 (the quality page) is taken",
        "Set FOOTFALL_API_PORT to a free one",
        "bad The tables are at step 0000 of",
        "Mars/Base",
        "mine.yml",
        "warning 'link.csv' in the landing folder is not read: It is a link",
        "warning 'old.csv' has been waiting for more than ten minutes. Start Footfall, or run `footfall ingest`.",
    ):
        assert words in told
    assert len(found) == 7


def test_a_single_user_is_a_warning(settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    one = replace(warehouse, logins=dict.fromkeys(warehouse.logins, warehouse.administrator))
    monkeypatch.setattr(doctor, "open_warehouse", lambda *_where: one)
    (finding,) = bad(settings)
    assert (finding.state, finding.sentence) == ("warning", "One user of the database does everything.")


def test_a_home_that_cannot_be_written_is_told(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    wrong = settings.model_copy(update={"home": tmp_path / "file" / "home"})
    assert bad(wrong)[-1].sentence.startswith(f"{tmp_path / 'file' / 'home'} cannot be made or written")


def test_the_code_socket_is_short_and_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    near = Settings(home=Path("/srv/footfall"), landing=tmp_path)
    assert code_socket(near) == Path("/srv/footfall/run/code.sock")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for home in (tmp_path / "a b", tmp_path / ("x" * 120)):
        path = code_socket(Settings(home=home, landing=tmp_path))
        assert path == code_socket(Settings(home=home, landing=tmp_path))
        assert path.is_relative_to(tmp_path)
        assert " " not in path.name
        assert path.parent.stat().st_mode & 0o777 == 0o700
        path.parent.chmod(0o755)
        with pytest.raises(SettingsProblem, match="not a private folder"):
            code_socket(Settings(home=home, landing=tmp_path))


def test_without_warm_starts_there_is_no_socket_to_launch_by(settings: Settings, warehouse: Warehouse) -> None:
    for warm in (True, False):
        chosen = settings.model_copy(update={"warm": warm})
        named = dagster_environment(chosen, warehouse)["FOOTFALL_RUN_SOCKET"]
        assert named == (str(run_socket(chosen)) if warm else "")
        assert named.endswith("run.sock") == warm


def test_dagsters_connection_does_not_wait_for_the_disk_and_finds_its_schema(
    settings: Settings, warehouse: Warehouse
) -> None:
    url = dagster_environment(settings, warehouse)["FOOTFALL_DAGSTER_URL"]
    assert parse_qs(urlsplit(url).query)["dbname"] == [warehouse.dagster_database]
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select current_setting('synchronous_commit'), current_setting('search_path'), current_database()"
        )
        assert cursor.fetchone() == ("off", "dagster", warehouse.dagster_database)


class TestWatchedRunLauncher:
    """Who is alive, by what a run wrote down about itself."""

    @pytest.fixture
    def launcher(self, instance: dg.DagsterInstance) -> WatchedRunLauncher:
        launcher = WatchedRunLauncher()
        launcher.register_instance(instance)
        return launcher

    def health(self, launcher: WatchedRunLauncher, instance: dg.DagsterInstance, run_id: str) -> WorkerStatus:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        return launcher.check_run_worker_health(run).status

    def test_it_can_be_asked(self, launcher: WatchedRunLauncher) -> None:
        assert launcher.supports_check_run_worker_health

    def test_a_run_of_this_process_lives(self, launcher: WatchedRunLauncher, instance: dg.DagsterInstance) -> None:
        run_id = create_run_for_test(instance, status=DagsterRunStatus.STARTED).run_id
        begin_work(instance, run_id)
        assert self.health(launcher, instance, run_id) == WorkerStatus.RUNNING

    def test_a_run_whose_process_is_gone_has_failed(
        self, launcher: WatchedRunLauncher, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run_id = create_run_for_test(instance, status=DagsterRunStatus.STARTED).run_id
        with monkeypatch.context() as patch:
            me = Identity.of(os.getpid())
            patch.setattr(Identity, "of", classmethod(lambda _cls, _pid: Identity(me.pid, me.created - 1000)))
            begin_work(instance, run_id)
        assert self.health(launcher, instance, run_id) == WorkerStatus.FAILED

    def test_a_run_on_another_machine_is_left_alone(
        self, launcher: WatchedRunLauncher, instance: dg.DagsterInstance
    ) -> None:
        tags = {WORKER_TAG: '{"host": "elsewhere", "pid": 1, "created": 0}'}
        run_id = create_run_for_test(instance, status=DagsterRunStatus.STARTED, tags=tags).run_id
        assert self.health(launcher, instance, run_id) == WorkerStatus.RUNNING

    def test_a_run_that_never_speaks_has_failed_after_a_while(
        self, launcher: WatchedRunLauncher, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = create_run_for_test(instance, status=DagsterRunStatus.STARTING)
        instance.report_dagster_event(dg.DagsterEvent("PIPELINE_START", run.job_name), run.run_id)
        assert self.health(launcher, instance, run.run_id) == WorkerStatus.RUNNING
        later = time.time() + SILENCE_SECONDS + 10
        monkeypatch.setattr("orchestration.launcher.time.time", lambda: later)
        assert self.health(launcher, instance, run.run_id) == WorkerStatus.FAILED
