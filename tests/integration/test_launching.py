"""Runs forked from the run template: what they are, how they end, and what becomes of them when something dies.

The tests share one template and go in order: the last ones change the code under it and stop it.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from dagster import DagsterRunStatus
from dagster._core.errors import DagsterLaunchFailedError, DagsterUserCodeUnreachableError
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

from orchestration.launcher import worker_of
from orchestration.supervisor import Identity
from tests.integration.conftest import fresh_warehouse
from tests.integration.launching import Dagster, launching, until
from validation.sample import write_sample
from warehouse.connections import Warehouse

# What a run does not need before its marts are published, or that only tests and other processes need. (pandera imports
# hypothesis where it is installed.)
NOT_PRELOADED = {
    "IPython", "dagster_graphql", "dagster_webserver", "duckdb", "fastapi", "great_expectations", "matplotlib",
    "nicegui", "playwright", "plotly", "polars", "pytest", "scipy", "sklearn", "sqlfluff", "starlette", "uvicorn",
}  # fmt: skip


@pytest.fixture(scope="module")
def everything(template: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dagster]:
    with fresh_warehouse(template) as warehouse, launching(tmp_path_factory.mktemp("launching"), warehouse) as there:
        yield there


@pytest.fixture
def dagster(everything: Dagster, monkeypatch: pytest.MonkeyPatch) -> Dagster:
    """What all tests share, in an environment that has its settings."""
    for name, value in everything.launching.variables.items():
        monkeypatch.setenv(name, value)
    return everything


@contextmanager
def nobody_writes(dagster: Dagster, table: str) -> Iterator[Callable[[], bool]]:
    """Hold back whoever wants to write to a table of Dagster's; yields whether somebody does."""
    administrator = dagster.launching.warehouse.connect_as_administrator
    database = dagster.launching.warehouse.dagster_database
    with administrator(database) as holder, administrator(database, autocommit=True) as looker:
        holder.execute(f"lock table dagster.{table} in share mode")

        def somebody_waits() -> bool:
            query = "select count(*) from pg_locks where not granted and relation = %s::regclass"
            (waiting,) = looker.execute(query, [f"dagster.{table}"]).fetchone() or (0,)
            return bool(waiting)

        yield somebody_waits


class Attempt(threading.Thread):
    """A launch on its way, beside the test."""

    def __init__(self, launch: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._launch = launch
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._launch()
        except Exception as error:
            self.error = error


def test_a_run_is_a_fork_that_says_who_it_is(dagster: Dagster) -> None:
    run_id = dagster.create("speaks")
    dagster.launch(run_id)
    facts = dagster.facts(run_id)
    assert facts["parent"] == dagster.launching.template
    run = dagster.run(run_id)
    worker = worker_of(run)
    assert worker is not None
    assert (worker.identity.pid, worker.is_elsewhere) == (facts["pid"], False)
    assert GRPC_INFO_TAG not in run.tags
    said = dagster.said(run_id)
    assert f"Started process for run (pid: {facts['pid']})." in said
    until(lambda: f"Process for run exited (pid: {facts['pid']})." in dagster.said(run_id), "its last words")


def test_what_a_run_prints_is_captured_as_ever(dagster: Dagster) -> None:
    run_id = dagster.create("speaks")
    dagster.launch(run_id)
    dagster.facts(run_id)
    manager = dagster.instance.compute_log_manager
    (event,) = [
        entry.dagster_event
        for entry in dagster.instance.all_logs(run_id)
        if entry.dagster_event and entry.dagster_event.event_type_value == "LOGS_CAPTURED"
    ]
    key = manager.build_log_key_for_run(run_id, event.logs_captured_data.file_key)
    until(lambda: manager.is_capture_complete(key), "what it printed to be there")
    captured = manager.get_log_data(key)
    assert captured.stdout == b"said on stdout\n"
    assert b"said on stderr\n" in (captured.stderr or b"")


def test_nothing_is_shared_with_the_template_or_another_run(dagster: Dagster) -> None:
    template = Path("/proc", str(dagster.launching.template))
    assert len(list((template / "task").iterdir())) == 1
    held = [str(entry.readlink()) for entry in (template / "fd").iterdir()]
    assert len([link for link in held if link.startswith("socket:")]) == 1, (
        "the template holds nothing but its listener"
    )
    runs = [dagster.create("speaks") for _ in range(2)]
    launches = [Attempt(lambda run_id=run_id: dagster.launch(run_id)) for run_id in runs]  # type: ignore[misc]
    for launch in launches:
        launch.join()
    first, second = (dagster.facts(run_id) for run_id in runs)
    assert first["pid"] != second["pid"]
    assert first["threads"] == second["threads"] == ["MainThread"]
    for facts in (first, second):
        assert not set(facts["sockets"]) & set(held)
    assert not [number for number in first["draws"] if number in second["draws"]]


def test_nothing_heavy_that_runs_do_not_need_is_preloaded(dagster: Dagster) -> None:
    code = (
        "import sys; from orchestration.preloading import preload; preload();"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=dagster.launching.project, env=dagster.launching.environment,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = set(done.stdout.split())
    assert {"dagster", "dagster_postgres", "pandas", "pandera", "dbt", "psycopg"} <= loaded
    assert not loaded & NOT_PRELOADED


def test_a_load_brings_in_nothing_heavy_and_little_that_was_not_preloaded(dagster: Dagster) -> None:
    """The whole job, in a process that knows what the template does."""
    write_sample(dagster.launching.settings.landing / "day.csv", 200, 1, 5, flaws=False)
    code = (
        "import pickle, sys; from orchestration.preloading import preload; preload(); before = set(sys.modules);"
        "import dagster as dg; from orchestration.assets.run_log import RunLog;"
        "from orchestration.definitions import build_definitions; from orchestration.jobs import INGEST, ingest_config;"
        "from orchestration.resources import Footfall; from orchestration.settings import load_settings;"
        "footfall = Footfall(load_settings(), RunLog, pickle.loads(bytes.fromhex(sys.argv[1])), quiet=True);"
        "result = build_definitions(footfall).resolve_job_def(INGEST).execute_in_process("
        "ingest_config(['day.csv'], quiet=True), dg.DagsterInstance.get());"
        "assert result.success;"
        "print('LOADED', *sorted({name.partition('.')[0] for name in sys.modules}));"
        "print('LATE', *sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, pickle.dumps(dagster.launching.warehouse).hex()],
        cwd=dagster.launching.project, env=dagster.launching.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines() if line.startswith(("LOADED ", "LATE ")))
    assert not set(told["LOADED"].split()) & NOT_PRELOADED
    late = told["LATE"].split()
    assert len(late) < 25, late


def test_the_definitions_are_not_made_again_in_a_run(dagster: Dagster) -> None:
    """Their making reads the dbt project: with that away, a run of preloaded definitions does not notice."""
    manifest = dagster.launching.settings.dbt_folder / "target" / "manifest.json"
    aside = manifest.with_name("aside.json")
    manifest.rename(aside)
    try:
        assert dagster.speak()["words"] == "the first words"
    finally:
        aside.rename(manifest)


def test_a_run_has_the_settings_of_its_start(dagster: Dagster) -> None:
    """They were others when the code was loaded."""
    config = dagster.launching.project / "footfall.toml"

    def run() -> str:
        run_id = dagster.create("reads_settings")
        dagster.launch(run_id)
        return run_id

    generation = dagster.launching.generation()
    try:
        config.write_text("settle_seconds = 17")
        assert dagster.facts(run())["settle_seconds"] == 17
        config.write_text("settle_seconds = 'soon'")
        run_id = run()
        assert dagster.ended(run_id) == DagsterRunStatus.FAILURE
        failure = dagster.errors(run_id)
        assert f"'settle_seconds' in {config} is 'soon', but must be a number, 0 or more." in failure
    finally:
        config.write_text("")
    assert dagster.facts(run())["settle_seconds"] == 2
    assert dagster.launching.generation() == generation


def test_who_says_nothing_or_nonsense_holds_up_nobody(dagster: Dagster) -> None:
    with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as slow:
        for one in (silent, slow):
            one.connect(str(dagster.launching.socket))
        slow.sendall(b'{"launch": ')
        began = time.monotonic()
        dagster.speak()
        assert time.monotonic() - began < 30
        silent.settimeout(30)
        assert silent.recv(1) == b"", "it is left alone after a while"
        slow.settimeout(30)
        assert slow.recv(1) == b""
    with socket.socket(socket.AF_UNIX) as confused:
        confused.connect(str(dagster.launching.socket))
        confused.sendall(b"hello\n")
        assert b"That is not a request" in confused.recv(1000)


def test_a_run_that_is_killed_has_failed_at_once(dagster: Dagster) -> None:
    run_id, pid = dagster.linger()
    os.kill(pid, signal.SIGKILL)
    assert dagster.ended(run_id, 15) == DagsterRunStatus.FAILURE
    assert f"The process ({pid}) of this run was terminated by signal 9 (SIGKILL)." in dagster.said(run_id)


def test_a_run_whose_code_ends_the_process_has_failed(dagster: Dagster) -> None:
    run_id = dagster.create("vanishes")
    dagster.launch(run_id)
    assert dagster.ended(run_id, 15) == DagsterRunStatus.FAILURE
    assert "of this run unexpectedly exited with code 0." in dagster.said(run_id)


def test_a_run_that_is_killed_before_it_is_ready_fails_to_launch(dagster: Dagster) -> None:
    run_id = dagster.create("speaks")
    with nobody_writes(dagster, "run_tags") as somebody_waits:
        launch = Attempt(lambda: dagster.launch(run_id))
        until(somebody_waits, "the run to say who it is")
        (worker,) = dagster.launching.workers()
        worker.kill()
        launch.join(30)
    assert isinstance(launch.error, DagsterLaunchFailedError)
    assert f"The process for the run ({worker.pid}) did not come to begin it." in str(launch.error)
    assert dagster.status(run_id) == DagsterRunStatus.FAILURE


def test_a_run_that_is_killed_while_it_starts_has_failed_at_once(dagster: Dagster) -> None:
    run_id = dagster.create("speaks")
    dagster.launching.until_idle()
    with dagster.starting(run_id), nobody_writes(dagster, "event_logs") as somebody_waits:
        dagster.call_launcher(run_id)
        until(somebody_waits, "the run to begin")
        (worker,) = dagster.launching.workers()
        assert dagster.status(run_id) == DagsterRunStatus.STARTING
        worker.kill()
    assert dagster.ended(run_id, 15) == DagsterRunStatus.FAILURE
    assert f"The process ({worker.pid}) of this run was terminated by signal 9" in dagster.said(run_id)


def test_a_run_is_canceled_from_another_process(dagster: Dagster) -> None:
    run_id, pid = dagster.linger()
    assert dagster.terminate_elsewhere(run_id)
    assert dagster.ended(run_id, 15) == DagsterRunStatus.CANCELED
    until(lambda: not psutil.pid_exists(pid), "its process to end")
    assert not dagster.terminate_elsewhere(run_id), "there is nothing left to cancel"


def test_a_run_that_is_canceled_before_it_begins_does_not_begin(dagster: Dagster) -> None:
    run_id = dagster.create("speaks")
    dagster.launching.until_idle()
    template = psutil.Process(dagster.launching.template)
    with dagster.starting(run_id):
        template.suspend()
        try:
            launch = Attempt(lambda: dagster.call_launcher(run_id))
            assert dagster.instance.run_launcher.terminate(run_id)
            assert "No process has begun this run yet" in dagster.said(run_id)
        finally:
            template.resume()
        launch.join(30)
    assert launch.error is None
    assert dagster.ended(run_id, 15) == DagsterRunStatus.CANCELED
    assert "facts" not in dagster.said(run_id)


def test_a_run_whose_process_is_gone_is_canceled_at_once_and_nobody_else_is_hit(dagster: Dagster) -> None:
    """A process number that was given out again belongs to somebody else."""
    run_id = dagster.create("speaks")
    with dagster.starting(run_id), subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        now = Identity.of(other.pid)
        dagster.declare(run_id, Identity(now.pid, now.created - 1000))
        assert dagster.instance.run_launcher.terminate(run_id)
        assert dagster.status(run_id) == DagsterRunStatus.CANCELED
        assert f"Its process ({other.pid}) was gone already." in dagster.said(run_id)
        assert other.poll() is None
        other.communicate(b"\n", timeout=30)
        assert other.returncode == 0


def test_a_run_of_the_command_line_is_canceled_like_any_other(dagster: Dagster) -> None:
    run_id = dagster.create("speaks")
    with dagster.starting(run_id):
        sleeps = "import time; print(flush=True); time.sleep(100)"
        with subprocess.Popen(
            [sys.executable, "-c", sleeps], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as other:
            assert other.stdout is not None
            other.stdout.readline()
            dagster.declare(run_id, Identity.of(other.pid))
            assert dagster.instance.run_launcher.terminate(run_id)
            assert other.wait(30) == -signal.SIGINT
        dagster.instance.report_run_canceled(dagster.run(run_id))


def test_the_worker_of_the_run_that_is_tried_again_is_not_this_runs(dagster: Dagster) -> None:
    first = dagster.create("speaks")
    dagster.declare(first, Identity.of(os.getpid()))
    second = dagster.create("speaks", tags=dagster.run(first).tags)
    assert worker_of(dagster.run(first)) is not None
    assert worker_of(dagster.run(second)) is None


def test_without_a_template_the_run_goes_back_into_the_queue(dagster: Dagster, tmp_path: Path) -> None:
    run_id = dagster.create("speaks")
    launcher = dagster.launcher(tmp_path / "nobody.sock", patience=0.5)
    with dagster.starting(run_id), pytest.raises(DagsterUserCodeUnreachableError, match="Nobody listens"):
        dagster.call_launcher(run_id, launcher)


def test_switched_off_a_run_starts_as_dagsters_default_starts_it(dagster: Dagster) -> None:
    run_id = dagster.create("speaks")
    with dagster.starting(run_id):
        dagster.call_launcher(run_id, dagster.launcher(None))
    facts = dagster.facts(run_id)
    assert facts["parent"] != dagster.launching.template
    assert GRPC_INFO_TAG in dagster.run(run_id).tags


def test_a_killed_code_server_and_a_new_launcher_do_not_matter_to_a_run(dagster: Dagster) -> None:
    run_id, pid = dagster.linger()
    os.killpg(dagster.launching.processes["code-server"].pid, signal.SIGKILL)
    dagster.launching.processes["code-server"].wait()
    launcher = dagster.launcher(dagster.launching.socket)
    assert launcher.check_run_worker_health(dagster.run(run_id)).status == WorkerStatus.RUNNING
    dagster.launching.start_code_server()
    dagster.until_code_is_served()
    assert psutil.pid_exists(pid)
    assert launcher.terminate(run_id)
    assert dagster.ended(run_id, 15) == DagsterRunStatus.CANCELED


def test_changed_code_is_loaded_anew_beside_a_run_that_goes_on(dagster: Dagster) -> None:
    older, pid = dagster.linger()
    generation = dagster.launching.generation()
    dagster.launching.change("the first words", "other words")
    facts = dagster.speak()
    assert facts["words"] == "other words"
    assert facts["parent"] == dagster.launching.template
    assert dagster.launching.generation() == generation + 1
    assert dagster.status(older) == DagsterRunStatus.STARTED
    os.kill(pid, signal.SIGKILL)
    assert dagster.ended(older, 15) == DagsterRunStatus.FAILURE, "the new image knows the runs of the one before"


def test_reloading_the_code_location_loads_the_code_anew(dagster: Dagster) -> None:
    dagster.speak()
    generation = dagster.launching.generation()
    dagster.reload()
    dagster.speak()
    assert dagster.launching.generation() == generation + 1
    dagster.speak()
    assert dagster.launching.generation() == generation + 1


def test_broken_code_is_told_and_heals(dagster: Dagster) -> None:
    older, _ = dagster.linger()
    dagster.launching.change("other words", "other words\nbroken on purpose")
    run_id = dagster.create("speaks")
    with pytest.raises(DagsterLaunchFailedError, match="The code cannot be loaded: SyntaxError"):
        dagster.launch(run_id)
    assert dagster.status(run_id) == DagsterRunStatus.FAILURE
    dagster.launching.change("other words\nbroken on purpose", "last words")
    assert dagster.speak()["words"] == "last words"
    assert dagster.status(older) == DagsterRunStatus.STARTED
    assert dagster.instance.run_launcher.terminate(older)
    assert dagster.ended(older, 15) == DagsterRunStatus.CANCELED


def test_stopping_the_template_ends_its_runs_first(dagster: Dagster) -> None:
    run_id, pid = dagster.linger()
    template = dagster.launching.processes["run-template"]
    template.terminate()
    assert template.wait(20) == 0
    assert not psutil.pid_exists(pid)
    assert dagster.status(run_id) == DagsterRunStatus.FAILURE
    assert "Execution was interrupted unexpectedly." in dagster.said(run_id)
