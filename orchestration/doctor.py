"""`footfall doctor`: looks at everything Footfall needs, and says what is wrong and what to do about it."""

from __future__ import annotations

import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import psycopg
from rich.console import Console

from orchestration.entrance import NoKey, see_that_there_is_a_key
from orchestration.places import make_places
from orchestration.probes import ask, pages_answer, port_is_taken
from orchestration.server import Server
from orchestration.settings import Settings, SettingsProblem
from orchestration.stack import Record, ports, running_stack
from validation.cameras import CameraListProblem, read_cameras
from validation.landing import LandingFolder
from validation.profiles import ProfileProblem, load_profiles
from warehouse.connections import Warehouse
from warehouse.opening import open_warehouse
from warehouse.preparing import MIGRATIONS
from warehouse.problems import WarehouseProblem

GIGABYTE: Final = 1_000_000_000
_MARKS: Final = {"good": "[green]ok[/]     ", "warning": "[yellow]look[/]   ", "bad": "[red]wrong[/]  "}
_STUCK_SECONDS: Final = 600
_SILENT_SECONDS: Final = 120


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report; `advice` says what to do where something is not good."""

    state: Literal["good", "warning", "bad"]
    sentence: str
    advice: str = ""


def examine(settings: Settings, out: Console) -> int:
    """Print every finding; 0 where nothing is wrong, else 1."""
    wrong = 0
    for finding in findings(settings):
        out.print(_MARKS[finding.state], end="")
        out.print(f"{finding.sentence} {finding.advice}".strip(), markup=False)
        wrong += finding.state == "bad"
    return 1 if wrong else 0


def findings(settings: Settings) -> Iterator[Finding]:
    """Look at one thing after the other."""
    record = running_stack(settings)
    yield Finding("good", f"Python is {platform.python_version()}.")
    try:
        make_places(settings)
    except SettingsProblem as problem:
        yield Finding("bad", str(problem))
        return
    yield from _folders(settings)
    yield from _ports(settings, record)
    yield from _database(settings)
    yield _camera_list(settings)
    yield _profiles(settings)
    yield from _landing(settings, record)
    yield from _stack(record)


def _folders(settings: Settings) -> Iterator[Finding]:
    for name, folder in (("FOOTFALL_HOME", settings.home), ("FOOTFALL_LANDING", settings.landing)):
        try:
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".footfall-doctor-", suffix=".part"):
                pass
        except OSError as error:
            yield Finding("bad", f"{folder} cannot be written to ({error.strerror}).", f"Change its owner, or {name}.")
            continue
        free = shutil.disk_usage(folder).free
        told = f"{folder} can be written to; {free / GIGABYTE:,.1f} GB are free."
        if free < GIGABYTE:
            yield Finding("bad", told, "Make room: a load that runs out of it is undone and tried again.")
        elif free < 5 * GIGABYTE:
            yield Finding("warning", told, "That is little: events, their archive and PostgreSQL's log all need some.")
        else:
            yield Finding("good", told)


def _ports(settings: Settings, record: Record | None) -> Iterator[Finding]:
    if record is not None:
        return
    for port, what, setting in ports(settings):
        if port_is_taken(settings.bind, port):
            yield Finding(
                "bad",
                f"Port {port} at {settings.bind} ({what}) is taken, or the address is not this machine's.",
                f"Set {setting} to a free one, or FOOTFALL_BIND to an address of this machine.",
            )
        else:
            yield Finding("good", f"Port {port} is free for {what}.")


def _database(settings: Settings) -> Iterator[Finding]:
    server = Server(settings)
    if server.embedded is not None and not server.is_running():
        yield Finding("good", "The embedded PostgreSQL is stopped; it starts with `footfall up` or `footfall ingest`.")
        return
    try:
        warehouse = open_warehouse(settings.home, settings.external_url)
        with warehouse.connect("loader", connect_timeout=5) as connection:
            version = connection.info.server_version
            yield Finding("good", f"PostgreSQL {version // 10000}.{version % 10000} answers.")
            yield _roles(warehouse)
            yield from _keys(settings, warehouse)
            yield _migrations(connection)
            yield from _ledger(connection)
    except WarehouseProblem as problem:
        yield Finding("bad", problem.sentence, problem.advice)
    except psycopg.Error as error:
        yield Finding(
            "bad", f"PostgreSQL does not answer as it should: {str(error).strip()}", "Run `footfall up` anew."
        )


def _keys(settings: Settings, warehouse: Warehouse) -> Iterator[Finding]:
    try:
        see_that_there_is_a_key(settings, warehouse)
    except NoKey as problem:
        yield Finding("bad", str(problem))
    except psycopg.errors.UndefinedTable:
        return  # an older warehouse, of which the migrations tell


def _roles(warehouse: Warehouse) -> Finding:
    if warehouse.is_single_user:
        return Finding(
            "warning",
            "One user of the database does everything.",
            "Give it CREATEROLE to have a role for each part, so that none can do more than it must.",
        )
    return Finding("good", "Each part has a role of its own.")


def _migrations(connection: psycopg.Connection) -> Finding:
    newest = max(file.name[:4] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    (current,) = connection.execute("select version_num from raw.migration").fetchone() or ("none",)
    if current != newest:
        return Finding(
            "bad", f"The tables are at step {current} of {newest}.", "Start Footfall anew: it upgrades them."
        )
    return Finding("good", "The tables are those of this version.")


def _ledger(connection: psycopg.Connection) -> Iterator[Finding]:
    failed = connection.execute(
        "select file_name, error from raw.files where state = 'failed' order by file_id desc limit 5"
    ).fetchall()
    for name, error in failed:
        yield Finding("warning", f"{name!r} could not be loaded: {error}", "It is tried again while it lies there.")


def _camera_list(settings: Settings) -> Finding:
    try:
        cameras = read_cameras(settings.cameras_file)
    except CameraListProblem as problem:
        return Finding("bad", str(problem), "No file is loaded before that is put right.")
    return Finding("good", f"The camera list {settings.cameras_file} names {len(cameras)} cameras.")


def _profiles(settings: Settings) -> Finding:
    try:
        profiles = load_profiles(settings.profiles_folder)
    except ProfileProblem as problem:
        return Finding("bad", str(problem), "No file is loaded before that is put right.")
    return Finding("good", f"{len(profiles)} source profiles can be used ({', '.join(p.name for p in profiles)}).")


def _landing(settings: Settings, record: Record | None) -> Iterator[Finding]:
    folder = LandingFolder(settings.landing, settings.settle_seconds)
    for stray in folder.strays():
        yield Finding("warning", f"{stray.name!r} in the landing folder is not read: {stray.reason}")
    now = time.time()
    stuck = [one for one in folder.look() if now - one.identity.changed_ns / 1e9 > _STUCK_SECONDS]
    for one in stuck[:5]:
        advice = "See the last runs in Dagster." if record is not None else "Start Footfall, or run `footfall ingest`."
        yield Finding("warning", f"{one.shown_name!r} has been waiting for more than ten minutes.", advice)


def _stack(record: Record | None) -> Iterator[Finding]:
    if record is None:
        yield Finding("good", "Footfall is not running; `footfall up` starts it.")
        return
    yield Finding("good", f"Footfall is running (process {record.keeper.pid}).")
    for name, child in record.children.items():
        if child.process() is None:
            yield Finding("bad", f"The {name} is not running.", "It is started again by itself; see its log if not.")
    health = ask(record.url)
    if not health.answers:
        yield Finding("bad", f"{record.url} does not answer.", "See web-server.log in FOOTFALL_HOME/logs.")
        return
    if health.code_error:
        yield Finding("bad", f"Dagster cannot load our code: {health.code_error}", "See code-server.log.")
    silent = sorted(name for name, beat in health.heartbeats.items() if time.time() - beat > _SILENT_SECONDS)
    if silent:
        yield Finding("bad", f"No sign of life from {', '.join(silent)}.", "See daemon.log; `footfall down`, then up.")
    else:
        yield Finding("good", f"{record.url} answers, and all of Dagster's daemons live.")
    if pages_answer(record.pages_url):
        yield Finding("good", f"{record.pages_url} answers.")
    else:
        yield Finding("bad", f"{record.pages_url} does not answer.", "See page-server.log in FOOTFALL_HOME/logs.")
