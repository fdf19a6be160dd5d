"""dbt, called in this process or in one of its own: the project parsed once, a build's events as they come.

A dbt process of its own costs four to five seconds of imports and parsing per run; inside a run that has loaded both
already it starts at once. Everything dbt writes goes to FOOTFALL_HOME/dbt, never into the project. What is to be built
is `assets/selecting.py`'s, which assets the models are `assets/models.py`'s.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from psycopg.conninfo import conninfo_to_dict

from orchestration.problems import Problem
from orchestration.settings import PROJECT, Settings, machine_environment, set_environment
from warehouse.connections import Warehouse

DBT_PROJECT: Final = PROJECT / "dbt_project"
_NOT_SOURCE: Final = {"target", "logs", "dbt_packages"}
# What dbt calls them; see `warehouse.connections.Warehouse.parameters` for what they mean.
_VARIABLES: Final = {
    "host": "FOOTFALL_DB_HOST",
    "port": "FOOTFALL_DB_PORT",
    "user": "FOOTFALL_DB_USER",
    "password": "FOOTFALL_DB_PASSWORD",
    "dbname": "FOOTFALL_DB_NAME",
    "sslmode": "FOOTFALL_DB_SSLMODE",
}
_NOWHERE: Final = {"host": "127.0.0.1", "port": "5432", "user": "nobody", "password": "", "sslmode": "prefer"}


class DbtProblem(Problem):
    """dbt could not parse or build; the message holds what it said."""


def connection_variables(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the environment by which dbt's profile finds the warehouse, from `Warehouse.parameters`."""
    parts = {**_NOWHERE, **parameters}
    return {variable: parts[name] for name, variable in _VARIABLES.items()}


class DbtProject:
    """Our dbt project, parsed under FOOTFALL_HOME."""

    def __init__(self, settings: Settings, database: str | None = None) -> None:
        """`database` is the warehouse's name, where it is known already."""
        self.settings = settings
        self._name = database
        self.target = settings.dbt_folder / "target"
        self._stamp = self.target / "parsed.json"

    def prepare(self) -> Path:
        """Parse the project if it changed since it was last parsed; return the manifest. Raises `DbtProblem`."""
        self.target.mkdir(parents=True, exist_ok=True)
        with (self.settings.dbt_folder / "parse.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            now = json.dumps({"project": self.state, "database": self._database()})
            if not self._stamp.exists() or self._stamp.read_text() != now:
                self._stamp.unlink(missing_ok=True)
                self._parse()
                self._stamp.write_text(now)
        return self.target / "manifest.json"

    @cached_property
    def state(self) -> str:
        """What tells this state of the project from any other: a hash of its files' contents and of dbt's versions."""
        digest = hashlib.sha256(repr((version("dbt-core"), version("dbt-postgres"))).encode())
        for path in sorted(DBT_PROJECT.rglob("*")):
            inside = path.relative_to(DBT_PROJECT)
            if path.is_file() and inside.parts[0] not in _NOT_SOURCE and not path.name.startswith("."):
                digest.update(repr((inside.as_posix(), path.read_bytes())).encode())
        return digest.hexdigest()

    def nowhere(self) -> dict[str, str]:
        """Return the environment for what dbt does without a server: only the warehouse's name is true in it."""
        return connection_variables({"dbname": self._database()})

    def _database(self) -> str:
        """Return the warehouse's name, which dbt writes into what it parses; the server need not run for that."""
        url = self.settings.external_url
        if self._name is not None:
            return self._name
        return str(conninfo_to_dict(url)["dbname"]) if url else Warehouse.database

    def arguments(self, command: str, log_format: str = "text") -> list[str]:
        """Return what every call of dbt has in common."""
        return [
            *("--no-send-anonymous-usage-stats", "--no-version-check", "--no-use-colors", "--log-format", log_format),
            *("--log-path", str(self.settings.dbt_folder / "logs"), "--log-level-file", "none"),
            *(command, "--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)),
            *("--target-path", str(self.target)),
        ]

    def _parse(self) -> None:
        # In a process of its own: what parsing loads would stay in this one for good. And wholly: dbt does not parse a
        # function again when only a macro that it calls has changed.
        done = subprocess.run(
            [sys.executable, "-m", "dbt.cli.main", *self.arguments("parse"), "--no-partial-parse"],
            cwd=PROJECT, env=machine_environment() | self.nowhere(),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise DbtProblem(f"dbt cannot parse its project: {(done.stdout + done.stderr).strip()[-3000:]}")

    def manifest(self) -> Any:
        """Return the parsed project as dbt's own object, which spares a build the parsing."""
        from dbt.contracts.graph.manifest import Manifest

        self.prepare()
        manifest = Manifest.from_msgpack((self.target / "partial_parse.msgpack").read_bytes())
        manifest.build_flat_graph()  # type: ignore[no-untyped-call]
        return manifest

    def build(self, warehouse: Warehouse, selection: Sequence[str], *, quiet: bool) -> Iterator[dict[str, Any]]:
        """Run `dbt build` and yield its events as dbt's own JSON log has them.

        Raises `DbtProblem`, naming what failed, once all that could be built is built. When the caller is
        interrupted the build is: its statement is cancelled and nothing further is begun.
        """
        variables = connection_variables(warehouse.parameters("transformer")) | {_PROJECT_VARIABLE: self.state}
        what = ["--no-write-json", "--exclude-resource-type", "unit_test", "exposure", *selection]
        if self.settings.warm:
            set_environment(variables)
            yield from self._build_here([*(["--log-level", "none"] if quiet else []), *self.arguments("build"), *what])
        else:
            self.prepare()
            command = [sys.executable, "-m", "dbt.cli.main", *self.arguments("build", "json"), *what]
            yield from _build_elsewhere(command, machine_environment() | variables)

    def _build_here(self, arguments: Sequence[str]) -> Iterator[dict[str, Any]]:
        from dbt.cli.main import dbtRunner, dbtRunnerResult
        from dbt_common.events.base_types import EventMsg
        from dbt_common.events.functions import msg_to_dict

        events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        results: list[dbtRunnerResult] = []

        def hear(event: EventMsg) -> None:
            if event.info.name in _HEARD:
                events.put(msg_to_dict(event))

        def run() -> None:
            try:
                results.append(dbtRunner(manifest=self.manifest(), callbacks=[hear]).invoke([*arguments]))
            except Exception as error:
                results.append(dbtRunnerResult(success=False, exception=error))
            finally:
                events.put(None)

        thread = threading.Thread(target=run, name="dbt", daemon=True)
        thread.start()
        try:
            while (event := events.get()) is not None:
                yield event
        except BaseException:
            _interrupt(thread)
            raise
        thread.join()
        if not results[0].success:
            raise DbtProblem(_what_failed(results[0]))


# What our macros say (`log(…, info=true)`), beside what came of each step.
SAID: Final = "JinjaLogInfo"
_HEARD: Final = {"LogModelResult", "LogTestResult", "SkippingDetails", "MainReportVersion", SAID}
_FAILED: Final = {"error", "fail", "runtime error"}
_INTERRUPT_SECONDS: Final = 10.0
# See `project_state` in the project's macros.
_PROJECT_VARIABLE: Final = "FOOTFALL_DB_PROJECT"


def _build_elsewhere(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Run dbt as a process of its own and yield what its log, a JSON object a line, has for us."""
    told: list[str] = []
    failed = 0
    # A session of its own: a Ctrl-C in the terminal is for the caller to pass on.
    with subprocess.Popen(
        command, cwd=PROJECT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            for line in process.stdout or ():
                try:
                    event: dict[str, Any] = json.loads(line)
                except ValueError:  # what is not dbt's own, such as a traceback
                    told.append(line.rstrip())
                    continue
                if event["info"]["level"] == "error":
                    told.append(event["info"]["msg"].strip())
                if event["info"]["name"] in _HEARD:
                    failed += event["data"].get("status") in _FAILED
                    yield event
        except BaseException:
            # dbt cancels its statement and waits for that.
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_INTERRUPT_SECONDS)
            process.kill()
            raise
    if process.returncode != 0:
        head = [f"{failed} of dbt's steps failed."] if failed else []
        raise DbtProblem("\n".join([*head, *filter(None, told[:20])]) or f"dbt ended with code {process.returncode}.")


def _what_failed(result: Any) -> str:
    if result.exception is not None:
        return str(result.exception)
    bad = [one for one in getattr(result.result, "results", []) if str(one.status) in _FAILED]
    lines = [f"{one.node.resource_type} {one.node.name}: {(one.message or '').strip()}" for one in bad]
    return "\n".join([f"{len(bad)} of dbt's steps failed.", *lines[:20]])


def _interrupt(thread: threading.Thread) -> None:
    """Stop a build in another thread: dbt listens to KeyboardInterrupt only, and only between two statements.

    So its statements are cancelled as well (that wakes it), until it has ended.
    """
    from dbt.adapters.factory import FACTORY

    adapters: list[Any] = list(FACTORY.adapters.values())
    deadline = time.monotonic() + _INTERRUPT_SECONDS
    while time.monotonic() < deadline:
        if not thread.is_alive():
            return
        if thread.ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread.ident), ctypes.py_object(KeyboardInterrupt)
            )
        for adapter in adapters:
            with contextlib.suppress(Exception), adapter.connection_named("cancel"):
                list(adapter.cancel_open_connections())
        thread.join(0.1)
