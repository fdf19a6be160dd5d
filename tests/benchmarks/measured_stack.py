"""A stack as `make up` runs it, and what can be measured of it from outside: its start, its idleness, a run's stages.

What is dropped into it and when is the benchmark's.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
from dagster import DagsterEventType, DagsterRunStatus

from orchestration.jobs import files_of
from orchestration.places import dagster_environment
from orchestration.settings import PROJECT, Settings, set_environment
from tests.end_to_end.conftest import Installation, until
from validation.landing import LandingFolder
from warehouse.embedded import EmbeddedPostgres

UNFINISHED = [
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True)
class Usage:
    """What an idle stack costs: a share of one core, and bytes (proportional and resident) by part."""

    cpu: Mapping[str, float]
    pss: Mapping[str, int]
    rss: Mapping[str, int]


class MeasuredStack(Installation):
    """An installation with the settings that a user has, whose start, stages and idleness are measured."""

    def __init__(self, folder: Path, *, warm: bool = True) -> None:
        super().__init__(folder)
        self.warm = warm
        self._instance: dg.DagsterInstance | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        usual = {name: value for name, value in super().environment.items() if name != "FOOTFALL_SETTLE_SECONDS"}
        return usual if self.warm else usual | {"FOOTFALL_WARM": "false"}

    def start_measured(self) -> float:
        """Start the stack; return the seconds until it says that it is ready."""
        began = time.monotonic()
        with self.output.open("ab") as output:
            self.up = subprocess.Popen(
                self.command("up"), env=self.environment, cwd=PROJECT, stdout=output, stderr=output
            )

        def is_ready() -> bool:
            assert self.up is not None
            assert self.up.poll() is None, self.said()
            return bool(self.record().get("ready")) and self.record()["keeper"]["pid"] == self.up.pid

        deadline = began + 300
        while not is_ready():
            if time.monotonic() > deadline:
                raise SystemExit(f"The stack is not ready: {self.said()}")
            time.sleep(0.05)
        return time.monotonic() - began

    @property
    def instance(self) -> dg.DagsterInstance:
        """Dagster's storage, to look up what a run said of itself."""
        if self._instance is None:
            settings = Settings(home=self.home, landing=self.landing, dagster_port=self.port, api_port=self.api_port)
            set_environment(dagster_environment(settings, EmbeddedPostgres(self.home).warehouse()))
            self._instance = dg.DagsterInstance.get()
        return self._instance

    def stop(self) -> int:
        if self._instance is not None:
            self._instance.dispose()
            self._instance = None
        return super().stop()

    def settle(self) -> None:
        """Wait until nothing waits in the folder and no run is under way."""

        def is_quiet() -> bool:
            return not LandingFolder(self.landing).look() and not self.instance.get_runs(
                dg.RunsFilter(statuses=UNFINISHED), limit=1
            )

        until(is_quiet, "everything to be quiet")

    def stages(self, name: str) -> dict[str, float]:
        """Seconds by stage of the run that loaded a file, once it has told of all of them."""
        run_id = until(lambda: self._run_of(name), f"the run of {name}", 60)
        until(lambda: (run := self.instance.get_run_by_id(run_id)) and run.is_finished, "the run to end", 60)
        found: dict[str, float] = {}
        moments: dict[DagsterEventType, float] = {}
        for entry in self.instance.all_logs(run_id):
            event = entry.dagster_event
            if event is None:
                continue
            moments.setdefault(event.event_type, entry.timestamp)
            if event.event_type == DagsterEventType.ASSET_MATERIALIZATION:
                told = event.step_materialization_data.materialization.metadata.get("seconds_by_stage")
                if told is not None:
                    found |= {stage: float(seconds) for stage, seconds in dict(told.value or {}).items()}  # type: ignore[call-overload]
        if "start" not in found and DagsterEventType.STEP_START in moments:
            # A run that does not tell by itself.
            queued = moments.get(DagsterEventType.PIPELINE_ENQUEUED, 0.0)
            dequeued = moments.get(DagsterEventType.PIPELINE_DEQUEUED, queued)
            found |= {"queue": dequeued - queued, "start": moments[DagsterEventType.STEP_START] - dequeued}
        return found

    def _run_of(self, name: str) -> str | None:
        for run in self.instance.get_runs(limit=5):
            if name in (files_of(run) or ()):
                return run.run_id
        return None

    def usage(self, seconds: float) -> Usage:
        """What the stack costs while nothing happens."""
        before = self._cpu_seconds()
        time.sleep(seconds)
        after = self._cpu_seconds()
        pss: dict[str, int] = {}
        rss: dict[str, int] = {}
        for part, process in self._parts():
            with suppress(psutil.NoSuchProcess):
                memory = process.memory_full_info()
                pss[part] = pss.get(part, 0) + memory.pss
                rss[part] = rss.get(part, 0) + memory.rss
        return Usage({part: (after[part] - before.get(part, 0.0)) / seconds for part in after}, pss, rss)

    def _cpu_seconds(self) -> dict[str, float]:
        """CPU seconds by part, those of its children that have ended included."""
        found: dict[str, float] = {}
        for part, process in self._parts():
            with suppress(psutil.NoSuchProcess):
                found[part] = found.get(part, 0.0) + sum(process.cpu_times()[:4])
        return found

    def _parts(self) -> list[tuple[str, psutil.Process]]:
        """Every process of the stack, PostgreSQL's too, and which part of it that is."""
        record: dict[str, Any] = self.record()
        names = {child["pid"]: name for name, child in record["children"].items()}
        names[self.postmaster()] = "PostgreSQL"
        found = {process.pid: process for process in self.processes()}
        for process in list(found.values()):
            with suppress(psutil.NoSuchProcess):
                found |= {child.pid: child for child in process.children(recursive=True)}
        parts = []
        for process in found.values():
            with suppress(psutil.NoSuchProcess):
                line = [process.pid, *(parent.pid for parent in process.parents())]
                part = next((names[pid] for pid in line if pid in names), None)
                if part is None:
                    part = "keeper" if process.pid == record["keeper"]["pid"] else _shown(process)
                parts.append((part, process))
        return [(part, process) for part, process in parts if process.pid != os.getpid()]


def _shown(process: psutil.Process) -> str:
    words = process.cmdline()
    modules = {"orchestration.guardian": "guardian", "orchestration.log_writer": "log writer"}
    return next((part for name, part in modules.items() if name in words), " ".join(words[1:4])[:40])
