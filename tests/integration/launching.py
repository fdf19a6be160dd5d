"""What the tests of launching share: a copy of the project with jobs of their own, its run template and code server.

The copy is there to be changed. Everything else is real: processes, sockets, Dagster's storage in PostgreSQL.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
from dagster import DagsterRunStatus
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.launcher import LaunchRunContext
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget

from orchestration.launcher import worker_tag
from orchestration.places import LOCATION, child_environment, code_socket, make_places, run_socket
from orchestration.run_socket import Talk, is_ready
from orchestration.running import job_origin
from orchestration.settings import PROJECT, Settings
from orchestration.supervisor import Identity
from orchestration.warm_launcher import WarmRunLauncher
from tests.integration import launching_jobs
from warehouse.connections import Warehouse

COPIED = ("orchestration", "validation", "warehouse", "dbt_project")
# How the copy's definitions get the tests' jobs besides their own.
ADDED = """
import orchestration.launching_jobs

_own_jobs = build_jobs


def build_jobs():
    return [*_own_jobs(), *orchestration.launching_jobs.JOBS]
"""


def until(condition: Callable[[], object], what: str, patience: float = 60.0) -> Any:
    deadline = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {patience:g} s for {what}"
        time.sleep(0.02)
    return found


@dataclass
class Launching:
    """A copied project, its processes, and runs launched into them."""

    folder: Path
    warehouse: Warehouse
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def project(self) -> Path:
        return self.folder / "project"

    @property
    def settings(self) -> Settings:
        return Settings(home=self.folder / "home", landing=self.folder / "landing")

    @property
    def socket(self) -> Path:
        path = run_socket(self.settings)
        assert path is not None
        return path

    @property
    def environment(self) -> dict[str, str]:
        config = self.project / "footfall.toml"
        config.touch()
        environment = child_environment(self.settings, self.warehouse)
        return environment | {"PYTHONPATH": str(self.project), "FOOTFALL_CONFIG": str(config)}

    @property
    def variables(self) -> dict[str, str]:
        """What is in the environment of ours."""
        ours = ("FOOTFALL_", "DAGSTER_")
        return {name: value for name, value in self.environment.items() if name.startswith(ours)}

    def make_project(self) -> None:
        for name in COPIED:
            ignored = shutil.ignore_patterns("__pycache__", "target", "logs")
            shutil.copytree(PROJECT / name, self.project / name, ignore=ignored)
        shutil.copy(launching_jobs.__file__, self.jobs_file)
        with (self.project / "orchestration" / "definitions.py").open("a") as definitions:
            definitions.write(ADDED)
        make_places(self.settings)

    @property
    def jobs_file(self) -> Path:
        return self.project / "orchestration" / "launching_jobs.py"

    def change(self, old: str, new: str) -> None:
        """Edit the copy's jobs."""
        text = self.jobs_file.read_text()
        assert old in text
        self.jobs_file.write_text(text.replace(old, new))

    def log(self, name: str) -> Path:
        return self.settings.logs / f"{name}.log"

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=self.project, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self.processes[name] = process
        return process

    def start_template(self) -> None:
        self.start("run-template", "orchestration.run_template")

    def start_code_server(self) -> None:
        self.start(
            "code-server", "dagster", "code-server", "start", "--socket", str(code_socket(self.settings)),
            "--module-name", "orchestration.definitions", "--location-name", LOCATION,
        )  # fmt: skip

    @property
    def template(self) -> int:
        return self.processes["run-template"].pid

    def is_ready(self) -> bool:
        ready, error = is_ready(self.socket)
        assert error is None, error
        assert self.processes["run-template"].poll() is None, self.log("run-template").read_text()
        return ready

    def generation(self) -> int:
        with Talk(self.socket, 30) as talk:
            talk.say({"ready": None})
            return int(talk.hear()["generation"])

    def workers(self) -> list[psutil.Process]:
        """Its forks: no program of their own, unlike the helper that Python's multiprocessing starts."""
        template = psutil.Process(self.template)
        alive = [one for one in template.children() if one.status() != psutil.STATUS_ZOMBIE]
        return [one for one in alive if one.cmdline() == template.cmdline()]

    def until_idle(self) -> None:
        until(lambda: not self.workers(), "earlier runs' processes to end")

    def stop(self) -> None:
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@dataclass
class Dagster:
    """Dagster as a daemon sees it: the instance, and the code location."""

    launching: Launching
    instance: dg.DagsterInstance
    workspaces: WorkspaceProcessContext

    def create(self, job: str, config: Any = None, tags: Any = None) -> str:
        definitions = dg.Definitions(jobs=launching_jobs.JOBS, resources={"footfall": self.launching.settings})
        definition = definitions.resolve_job_def(job)
        origin = job_origin(self.launching.settings, job)
        run = self.instance.create_run_for_job(definition, run_config=config, remote_job_origin=origin, tags=tags)
        return run.run_id

    def launch(self, run_id: str) -> None:
        """As the daemon does."""
        self.instance.launch_run(run_id, self.workspaces.create_request_context())

    @contextmanager
    def starting(self, run_id: str) -> Iterator[None]:
        """A run that the daemon is about to launch, for a test that calls the launcher itself."""
        event = DagsterEvent(DagsterEventType.PIPELINE_STARTING.value, self.run(run_id).job_name)
        self.instance.report_dagster_event(event, run_id)
        yield

    def call_launcher(self, run_id: str, launcher: WarmRunLauncher | None = None) -> None:
        """Launch without what the daemon writes down before and after."""
        context = LaunchRunContext(self.run(run_id), self.workspaces.create_request_context())
        (launcher or self.instance.run_launcher).launch_run(context)

    def launcher(self, socket: Path | None, patience: float = 25.0) -> WarmRunLauncher:
        """Another launcher than the instance's own, as another process has."""
        launcher = WarmRunLauncher(str(socket or ""), patience)
        launcher.register_instance(self.instance)
        return launcher

    def declare(self, run_id: str, identity: Identity) -> None:
        """Have a process be a run's worker."""
        self.instance.add_run_tags(run_id, worker_tag(run_id, identity))

    def until_code_is_served(self) -> None:
        def is_served() -> bool:
            if not self.workspaces.create_request_context().code_location_errors():
                return True
            self.workspaces.reload_code_location(LOCATION)
            return False

        until(is_served, "the code server to answer", 120)

    def reload(self) -> None:
        """What the button "Reload" does."""
        self.workspaces.reload_code_location(LOCATION)
        self.until_code_is_served()

    def run(self, run_id: str) -> dg.DagsterRun:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run

    def status(self, run_id: str) -> DagsterRunStatus:
        return self.run(run_id).status

    def ended(self, run_id: str, patience: float = 60.0) -> DagsterRunStatus:
        until(lambda: self.run(run_id).is_finished, f"the run to end\n{self.said(run_id)}", patience)
        return self.status(run_id)

    def said(self, run_id: str) -> str:
        return "\n".join(entry.user_message or entry.message for entry in self.instance.all_logs(run_id))

    def errors(self, run_id: str) -> str:
        events = [entry.dagster_event for entry in self.instance.all_logs(run_id) if entry.dagster_event]
        return "\n".join(str(event.event_specific_data) for event in events)

    def facts(self, run_id: str) -> dict[str, Any]:
        """What the job `speaks` found out."""
        assert self.ended(run_id) == DagsterRunStatus.SUCCESS, self.said(run_id)
        (line,) = [line for line in self.said(run_id).splitlines() if line.startswith("facts ")]
        return dict(json.loads(line.removeprefix("facts ")))

    def speak(self) -> dict[str, Any]:
        run_id = self.create("speaks")
        self.launch(run_id)
        return self.facts(run_id)

    def linger(self) -> tuple[str, int]:
        """A run in the midst of its work, and its process."""
        marker = self.launching.folder / f"marker {time.monotonic_ns()}"
        run_id = self.create("lingers", {"ops": {"linger": {"config": {"marker": str(marker)}}}})
        self.launch(run_id)
        until(lambda: marker.exists() and marker.read_text(), f"the run to begin\n{self.said(run_id)}")
        return run_id, int(marker.read_text())

    def terminate_elsewhere(self, run_id: str) -> bool:
        """Cancel a run in a process that has nothing to do with its launch, as the web server is."""
        code = (
            "import sys, dagster; instance = dagster.DagsterInstance.get();"
            "sys.exit(not instance.run_coordinator.cancel_run(sys.argv[1]))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, run_id], env=self.launching.environment, capture_output=True, check=False
        )
        assert done.returncode in {0, 1}, done.stderr
        return done.returncode == 0


@contextmanager
def launching(folder: Path, warehouse: Warehouse) -> Iterator[Dagster]:
    """Everything up; stopped at the end."""
    there = Launching(folder, warehouse)
    there.make_project()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in there.variables.items():
            patch.setenv(name, value)
        instance = dg.DagsterInstance.get()
        with instance:
            try:
                there.start_template()
                there.start_code_server()
                until(there.is_ready, "the run template to be ready", 120)
                until(code_socket(there.settings).exists, "the code server", 120)
                target = GrpcServerTarget(
                    host="localhost", port=None, socket=str(code_socket(there.settings)), location_name=LOCATION
                )
                with WorkspaceProcessContext(instance, target) as workspaces:
                    there_too = Dagster(there, instance, workspaces)
                    there_too.until_code_is_served()
                    yield there_too
            finally:
                there.stop()
