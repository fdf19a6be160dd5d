"""The running whole, kept by `footfall up`: PostgreSQL, Dagster's parts, the run template among them, and the pages.

What is started in which order, when it counts as ready, what happens when a part falls over, and the record by which
`footfall down` and `footfall status` find it from elsewhere. Processes as such are `supervisor.py`'s.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import IO, Any, Final

import psutil

from orchestration.addresses import api_address, dagster_address
from orchestration.entrance import see_that_there_is_a_key
from orchestration.event_log import EventLog
from orchestration.log_files import LogFile, record
from orchestration.places import child_environment, code_socket, make_places, plain_environment, run_socket
from orchestration.probes import Health, ask, pages_answer, port_is_taken, reload_code
from orchestration.problems import Problem
from orchestration.run_socket import is_ready
from orchestration.server import Server
from orchestration.settings import PROJECT, Settings, machine_environment
from orchestration.supervisor import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Identity, Part, Say, Supervisor
from warehouse.connections import Warehouse
from warehouse.problems import WarehouseProblem

READY_SECONDS: Final = 180.0
TICK_SECONDS: Final = 0.5


class StackProblem(Problem):
    """The stack cannot be started or stopped; the message says why and what to do."""


@dataclass
class Record:
    """What is running, written for others to read: who keeps it, where it is, and its parts by name."""

    keeper: Identity
    url: str
    started: float
    ready: bool = False
    database: str = ""
    pages_url: str = ""
    children: dict[str, Identity] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)


def read_record(settings: Settings) -> Record | None:
    """Return the record of the stack that runs, or that was killed and is being cleared away; None if there is none."""
    try:
        data: dict[str, Any] = json.loads(_record_file(settings).read_text())
    except (OSError, ValueError):
        return None
    data["keeper"] = Identity(**data["keeper"])
    data["children"] = {name: Identity(**child) for name, child in data["children"].items()}
    return Record(**data)


def running_stack(settings: Settings) -> Record | None:
    """Return the record of a stack whose keeper lives."""
    record = read_record(settings)
    return record if record is not None and record.keeper.process() is not None else None


def stop_running(settings: Settings, patience: float = 90.0) -> bool:
    """Stop a stack that another process keeps; False if none runs. Raises `StackProblem` if it does not stop."""
    record = running_stack(settings)
    process = record.keeper.process() if record is not None else None
    if record is None or process is None:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        if not _ends(record.keeper, patience):
            process.kill()  # Its guardian clears away what it leaves.
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with contextlib.suppress(StackProblem), only_one(settings):
            return True
        time.sleep(0.1)
    raise StackProblem(f"The stack (process {process.pid}) does not stop; its logs are in {settings.logs}.")


def _ends(identity: Identity, patience: float) -> bool:
    """Wait for a process that need not be our child: one whose parent has not taken note yet has ended all the same."""
    deadline = time.monotonic() + patience
    while identity.process() is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@contextlib.contextmanager
def only_one(settings: Settings) -> Iterator[IO[str]]:
    """Hold the lock that one stack per FOOTFALL_HOME holds; raises `StackProblem` where another has it.

    The guardian inherits it, so that nobody starts before what a killed stack left is cleared away.
    """
    with (settings.run_folder / "stack.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackProblem("locked") from None
        yield lock


class Stack:
    """One stack, from start to stop, kept by this process."""

    def __init__(self, settings: Settings, say: Say) -> None:
        self.settings = settings
        self._print = say
        self._events = EventLog(settings.logs)
        self.url = dagster_address(settings)
        self.pages_url = api_address(settings)
        self.stopping = threading.Event()
        self.supervisor = Supervisor(self.say)
        self.server = Server(settings)
        self.warehouse: Warehouse | None = None
        self._guardian: subprocess.Popen[bytes] | None = None
        self._record = Record(Identity.of(os.getpid()), self.url, time.time(), pages_url=self.pages_url)
        self._lock: IO[str]
        self._database_pause = FIRST_PAUSE_SECONDS
        self._database_retry: float | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Start everything, and stop everything on the way out, PostgreSQL last.

        Raises `StackProblem`, `WarehouseProblem`, `SettingsProblem` or `NoKey` where it cannot be started.
        """
        make_places(self.settings)
        with self._alone() as lock, self._signals():
            self._lock = lock
            self._refuse_taken_ports()
            self._write_record()
            self._start_guardian()
            try:
                with self.server.in_use() as warehouse:
                    self._database_is_up(warehouse)
                    see_that_there_is_a_key(self.settings, warehouse)
                    self._start_parts(warehouse)
                    try:
                        yield
                    finally:
                        self.say("Stopping …")
                        self.supervisor.stop()
            finally:
                self._stop_guardian()
                _record_file(self.settings).unlink(missing_ok=True)

    def wait_until_ready(self, patience: float = READY_SECONDS) -> bool:
        """Wait until all pages answer, all code is loaded and the daemons live; False if stopped meanwhile.

        Raises `StackProblem` where the code cannot be loaded or it takes too long.
        """
        started = looked_again = time.time()
        while not self.stopping.wait(TICK_SECONDS / 2):
            self.watch()
            health = ask(self.url)
            template_is_ready, template_error = self._ask_template()
            rest_is_ready = health.is_ready(self._record.started) and template_is_ready
            if rest_is_ready and pages_answer(self.pages_url):
                self._update(ready=True)
                return True
            if health.code_error and code_socket(self.settings).exists() and time.time() - looked_again > 2:
                looked_again = time.time()
                reload_code(self.url)
            if time.time() - started > patience:
                missing = (
                    health.code_error or template_error or _what_is_missing(health, template_is_ready, rest_is_ready)
                )
                raise StackProblem(f"Not ready after {patience:g} s ({missing}). The logs are in {self.settings.logs}.")
        return False

    def say(self, sentence: str) -> None:
        """Tell the terminal, and the log of events."""
        self._print(sentence)
        self._events.said(sentence)

    def _ask_template(self) -> tuple[bool, str | None]:
        socket = run_socket(self.settings)
        return (True, None) if socket is None else is_ready(socket)

    def keep(self) -> None:
        """Watch over all parts until somebody asks to stop."""
        while not self.stopping.wait(TICK_SECONDS):
            self.watch()

    def where_to_look(self) -> list[str]:
        """Return the lines that tell where everything is."""
        return [
            f"Quality      {self.pages_url}/quality",
            f"API          {self.pages_url}/v1/openapi.json",
            f"Dagster      {self.url}",
            f"PostgreSQL   {self._record.database}",
            f"Drop files   {self.settings.landing}",
            f"Camera list  {self.settings.cameras_file}",
            f"Logs         {self.settings.logs}",
            "Ctrl-C stops everything.",
        ]

    def watch(self) -> None:
        """Look once at every part; restart what fell over."""
        self._watch_database()
        changed = self.supervisor.watch()
        if self._guardian is not None and self._guardian.poll() is not None:
            self._start_guardian()
        if changed:
            self._update()

    def _database_is_up(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self._update(database=f"{warehouse.host}:{warehouse.port}/{warehouse.database}")

    def _watch_database(self) -> None:
        self.server.limit_log()
        if self.server.is_running():
            return
        now = time.monotonic()
        if self._database_retry is None:
            self.say(f"PostgreSQL is gone; it is started again. Its last words are in {self.server.log_file}.")
            self._database_retry = now
        if now < self._database_retry:
            return
        try:
            self._database_is_up(self.server.start())
        except WarehouseProblem as problem:
            self._database_retry = now + self._database_pause
            self._database_pause = min(self._database_pause * 2, LONGEST_PAUSE_SECONDS)
            self.say(f"{problem} Trying again in {self._database_retry - now:g} s.")
            return
        self.say("PostgreSQL was started again.")
        self._database_retry, self._database_pause = None, FIRST_PAUSE_SECONDS

    def _start_parts(self, warehouse: Warehouse) -> None:
        environment = child_environment(self.settings, warehouse)
        self._make_dagster_tables(warehouse, environment)
        socket = code_socket(self.settings)
        socket.unlink(missing_ok=True)
        python, workspace = sys.executable, str(PROJECT / "workspace.yaml")
        # The first to start has the most to load, and the last to stop lets runs end while their parts are still there.
        template = {"run template": [python, "-m", "orchestration.run_template"]} if self.settings.warm else {}
        daemon = ["orchestration.daemon"] if self.settings.warm else ["dagster._daemon", "run", "--workspace"]
        own = ["orchestration.polling"] if self.settings.warm else []
        commands = template | {
            "code server": [
                *(python, "-m", *own, "dagster", "code-server", "start", "--socket", str(socket)),
                *("--module-name", "orchestration.definitions", "--location-name", "footfall"),
                *("--working-directory", str(PROJECT)),
            ],
            "daemon": [python, "-m", *daemon, workspace],
            "web server": [
                *(python, "-m", *own, "dagster_webserver", "--workspace", workspace),
                *("--host", self.settings.bind, "--port", str(self.settings.dagster_port)),
            ],
        }
        plain = {"page server": [python, "-m", "orchestration.pages"]}
        for name, command in (commands | plain).items():
            log = self.settings.logs / f"{name.replace(' ', '-')}.log"
            its_own = plain_environment(self.settings) if name in plain else environment
            self.supervisor.start(Part(name, command, its_own, PROJECT, log))
        self._update()

    def _make_dagster_tables(self, warehouse: Warehouse, environment: dict[str, str]) -> None:
        """Make Dagster's tables, or bring an older version's up to date, before three processes want them at once."""
        stamp = self.settings.dagster_home / "tables.json"
        now = json.dumps(
            [version("dagster"), warehouse.parameters("dagster", "dagster")["dbname"], self._record.database]
        )
        if stamp.exists() and stamp.read_text() == now:
            return
        self.say("Setting up Dagster's storage …")
        done = subprocess.run(
            [sys.executable, "-m", "dagster", "instance", "migrate"],
            cwd=PROJECT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            log = self.settings.logs / "dagster-storage.log"
            LogFile(log).write(record("dagster storage", "error", done.stdout + done.stderr))
            last_words = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise StackProblem(f"Dagster's storage cannot be set up: {' '.join(last_words)} All of it is in {log}.")
        stamp.write_text(now)

    def _refuse_taken_ports(self) -> None:
        bind = self.settings.bind
        if self.settings.dagster_port == self.settings.api_port:
            raise StackProblem(
                f"Dagster and the quality page cannot both have port {self.settings.api_port}. "
                "Set FOOTFALL_API_PORT to another one."
            )
        for port, what, setting in ports(self.settings):
            if port_is_taken(bind, port):
                raise StackProblem(
                    f"Nothing can listen at {bind}, port {port} ({what}): another program has it, or the address is "
                    f"not this machine's. Set {setting} to a free one."
                )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[IO[str]]:
        deadline = time.monotonic() + 30
        with contextlib.ExitStack() as held:
            while True:
                with contextlib.suppress(StackProblem):
                    lock = held.enter_context(only_one(self.settings))
                    break
                record = running_stack(self.settings)
                if record is not None:
                    raise StackProblem(
                        f"Footfall is running already (process {record.keeper.pid}): {record.url} — "
                        "stop it with `footfall down`."
                    )
                if time.monotonic() > deadline:
                    raise StackProblem("What an earlier Footfall left is still being cleared away; try again.")
                time.sleep(0.2)
            yield lock

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def stop(_number: int, _frame: FrameType | None) -> None:
            self.stopping.set()

        caught = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, stop) for number in caught}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start_guardian(self) -> None:
        """Start the process that clears away if this one is killed: it notices by the end of its standard input."""
        self._guardian = subprocess.Popen(
            [sys.executable, "-m", "orchestration.guardian"],
            cwd=PROJECT,
            env={**machine_environment(), **self.settings.environment(), "PYTHONPATH": str(PROJECT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=[self._lock.fileno()],
        )

    def _stop_guardian(self) -> None:
        if self._guardian is not None:
            self._guardian.kill()
            self._guardian.wait()
            if self._guardian.stdin is not None:
                self._guardian.stdin.close()

    def _update(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self._record, name, value)
        children = self.supervisor.children
        self._record.children = {name: child.identity for name, child in children.items() if child.identity}
        self._record.restarts = {name: child.restarts for name, child in children.items()}
        self._write_record()

    def _write_record(self) -> None:
        file = _record_file(self.settings)
        new = file.with_suffix(".new")
        new.write_text(json.dumps(asdict(self._record), indent=1))
        new.replace(file)


def _what_is_missing(health: Health, template_is_ready: bool, rest_is_ready: bool) -> str:
    if not health.answers:
        return "Dagster's web page does not answer"
    if not template_is_ready:
        return "the run template"
    return "the quality page does not answer" if rest_is_ready else "a daemon"


def ports(settings: Settings) -> list[tuple[int, str, str]]:
    """Return the ports at which the stack listens: which, for what, and by which setting."""
    return [
        (settings.dagster_port, "Dagster", "FOOTFALL_DAGSTER_PORT"),
        (settings.api_port, "the quality page", "FOOTFALL_API_PORT"),
    ]


def _record_file(settings: Settings) -> Path:
    return settings.run_folder / "stack.json"
