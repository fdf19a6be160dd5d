"""The whole stack, started as a user starts it, in a home of its own and on ports of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from orchestration.probes import ask
from orchestration.settings import PROJECT
from warehouse.embedded import EmbeddedPostgres
from warehouse.problems import WarehouseProblem

PATIENCE_SECONDS = 240.0


def until(condition: Callable[[], object], what: str, patience: float = PATIENCE_SECONDS) -> Any:
    """Wait until a condition holds, and return what it returned."""
    deadline = time.monotonic() + patience
    while True:
        if found := condition():
            return found
        assert time.monotonic() < deadline, f"waited {patience:g} s for {what}"
        time.sleep(0.2)


def free_ports() -> tuple[int, int]:
    """Two ports that are free: the second is chosen while the first is held, so that they differ."""
    with closing(socket.create_server(("127.0.0.1", 0))) as one, closing(socket.create_server(("127.0.0.1", 0))) as two:
        return int(one.getsockname()[1]), int(two.getsockname()[1])


class Installation:
    """A FOOTFALL_HOME and a landing folder, and the commands run on them. Both have a space in their path."""

    def __init__(self, folder: Path, *, warm: bool = True) -> None:
        self.warm = warm
        self.home = folder / "a home"
        self.landing = folder / "landing here"
        self.port, self.api_port = free_ports()
        self.url = f"http://127.0.0.1:{self.port}"
        self.pages_url = f"http://127.0.0.1:{self.api_port}"
        self.up: subprocess.Popen[bytes] | None = None
        self.output = folder / "up.log"
        self.config = folder / "my settings.toml"
        self.config.touch()
        self.database_url = ""

    @property
    def environment(self) -> Mapping[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("FOOTFALL_", "PG"))}
        return clean | {
            "FOOTFALL_CONFIG": str(self.config),
            "FOOTFALL_HOME": str(self.home),
            "FOOTFALL_LANDING": str(self.landing),
            "FOOTFALL_DAGSTER_PORT": str(self.port),
            "FOOTFALL_API_PORT": str(self.api_port),
            "FOOTFALL_DATABASE_URL": self.database_url,
            "FOOTFALL_SETTLE_SECONDS": "0.5",
            "FOOTFALL_WARM": str(self.warm),
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "orchestration.cli", *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), env=self.environment, cwd=PROJECT, capture_output=True, text=True, check=False
        )

    def start(self) -> None:
        with self.output.open("ab") as output:
            self.up = subprocess.Popen(
                self.command("up"), env=self.environment, cwd=PROJECT, stdout=output, stderr=output
            )
        until(self.is_ready, "the stack to be ready")

    def is_ready(self) -> bool:
        assert self.up is not None
        assert self.up.poll() is None, self.said()
        return bool(self.record().get("ready")) and ask(self.url).code_loaded

    def said(self) -> str:
        return self.output.read_text() if self.output.exists() else ""

    def record(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.home / "run" / "stack.json").read_text()))
        except (FileNotFoundError, ValueError):
            return {}

    def processes(self) -> list[psutil.Process]:
        """Everything of this installation that runs: whatever has its home in its environment, and its server."""
        found = []
        for process in psutil.process_iter(["environ", "cmdline"]):
            environment = process.info["environ"] or {}
            ours = environment.get("FOOTFALL_HOME") == str(self.home)
            if (ours or str(self.home) in " ".join(process.info["cmdline"] or [])) and process.pid != os.getpid():
                found.append(process)
        with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess):  # the server may be ending just now
            if EmbeddedPostgres(self.home).is_running():
                found.append(psutil.Process(self.postmaster()))
        return found

    def postmaster(self) -> int:
        data = EmbeddedPostgres(self.home).data
        assert data is not None
        return int((data / "postmaster.pid").read_text().split()[0])

    def drop(self, source: Path, name: str) -> None:
        """Let a file appear whole, as a careful sender does."""
        partial = self.landing / f".{name}.part"
        partial.write_bytes(source.read_bytes())
        partial.rename(self.landing / name)

    def value(self, query: str) -> Any:
        """The one value that a query gives the reader of the marts; None while nobody answers."""
        try:
            with EmbeddedPostgres(self.home).warehouse().connect("bi_reader", connect_timeout=5) as connection:
                (one,) = connection.execute(query).fetchone() or (None,)  # type: ignore[call-overload]
        except (psycopg.Error, WarehouseProblem):
            return None
        return one

    def page(self, path: str) -> str | None:
        """One of our own pages; None while it is not to be had."""
        try:
            with urllib.request.urlopen(f"{self.pages_url}{path}", timeout=30) as answer:
                return str(answer.read().decode())
        except OSError:
            return None

    def graphql(self, query: str, **variables: str) -> Any:
        """What the web server answers; None while it does not."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def newest_run(self) -> dict[str, Any]:
        """The id and the state of the newest run but for reports; empty while the web server does not answer."""
        found = self.graphql("{ runsOrError(limit: 10) { ... on Runs { results { runId status jobName } } } }")
        results = found["runsOrError"]["results"] if found else []
        newest = next((run for run in results if run["jobName"] != "report"), {})
        return {name: newest[name] for name in ("runId", "status") if newest}

    def state(self, run_id: str) -> str | None:
        """The state of a run; None while the web server does not answer."""
        found = self.graphql("query($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }", run=run_id)
        return found and found["runOrError"].get("status")

    def last_run(self) -> str | None:
        """The state of the newest run but for reports; None while the web server does not answer."""
        return self.newest_run().get("status")

    def stop(self) -> int:
        assert self.up is not None
        self.up.send_signal(signal.SIGTERM)
        return self.up.wait(120)


@contextlib.contextmanager
def installed(folder: Path, *, warm: bool = True) -> Iterator[Installation]:
    """An installation, of which nothing is left afterwards.

    As root, PostgreSQL runs as another user, who must be able to come in; pytest's own folder is private.
    """
    there = Installation(folder, warm=warm)
    yield there
    if there.up is not None and there.up.poll() is None:
        there.stop()
    for process in there.processes():
        process.kill()
    EmbeddedPostgres(there.home).remove()


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("footfall end to end")) as there:
        yield there
