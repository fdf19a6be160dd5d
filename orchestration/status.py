"""`footfall status`: what runs, what waits, what became of the last files, and how up to date everything is."""

from __future__ import annotations

import time
from typing import Final

import psycopg
from rich.console import Console
from rich.table import Column, Table

from orchestration.data_version import newest_version
from orchestration.probes import ask, pages_answer
from orchestration.server import Server
from orchestration.settings import Settings
from orchestration.stack import Record, running_stack
from validation.landing import LandingFolder
from warehouse.connections import Warehouse
from warehouse.opening import open_warehouse
from warehouse.problems import WarehouseProblem

NOT_RUNNING: Final = 3
_SHOWN: Final = 10


def show_status(settings: Settings, out: Console) -> int:
    """Print the status; 0 where the stack runs, 3 where it does not."""
    record = running_stack(settings)
    if record is None:
        out.print("Footfall is not running; start it with `footfall up`.", markup=False)
    else:
        _show_stack(record, out)
    _show_landing(settings, out)
    if Server(settings).is_running():
        try:
            warehouse = open_warehouse(settings.home, settings.external_url)
            _show_ledger(warehouse, out)
            _show_how_fresh(warehouse, settings, out)
        except (WarehouseProblem, psycopg.Error) as problem:
            out.print(f"PostgreSQL: {problem}", markup=False)
    return NOT_RUNNING if record is None else 0


def _show_stack(record: Record, out: Console) -> None:
    out.print(f"Footfall is running (process {record.keeper.pid}, for {_ago(record.started)}).", markup=False)
    out.print(f"  Quality      {record.pages_url}/quality", markup=False)
    out.print(f"  Dagster      {record.url}", markup=False)
    out.print(f"  PostgreSQL   {record.database}", markup=False)
    for name, child in record.children.items():
        times = record.restarts.get(name, 0)
        state = "runs" if child.process() is not None else "has fallen over and is being started again"
        told = f", started again {times} times" if times else ""
        out.print(f"  {name:<12} {state} (process {child.pid}{told})", markup=False)
    health = ask(record.url)
    if not health.answers:
        out.print("  Dagster's web page does not answer (yet).", markup=False)
    elif health.code_error:
        out.print(f"  Our code cannot be loaded: {health.code_error}", markup=False)
    if not pages_answer(record.pages_url):
        out.print("  The quality page does not answer (yet).", markup=False)
    silent = [name for name, beat in health.heartbeats.items() if time.time() - beat > 120]
    if silent:
        out.print(f"  No sign of life for two minutes: {', '.join(silent)}", markup=False)


def _show_landing(settings: Settings, out: Console) -> None:
    try:
        waiting = LandingFolder(settings.landing).look()
    except OSError as error:
        out.print(f"The landing folder {settings.landing} cannot be read: {error.strerror}.", markup=False)
        return
    out.print(f"Waiting in {settings.landing}: {len(waiting) or 'nothing'}", markup=False)
    for one in waiting[:_SHOWN]:
        out.print(f"  {one.shown_name!r} ({one.size_bytes:,} bytes)", markup=False)


def _show_ledger(warehouse: Warehouse, out: Console) -> None:
    with warehouse.connect("loader", connect_timeout=5) as connection:
        files = connection.execute(
            """
            select file_name, state, finished_at, rows_read, rows_loaded, rows_rejected, rows_duplicate
            from raw.files order by file_id desc limit %s
            """,
            [_SHOWN],
        ).fetchall()
    if not files:
        out.print("No file was loaded yet.", markup=False)
        return
    table = Table(
        Column("file", overflow="fold"),
        Column("state", no_wrap=True),
        "when",
        "rows",
        "loaded",
        "rejected",
        "duplicate",
        title="Last files",
    )
    for name, state, at, *counts in files:
        figures = ["" if count is None else f"{count:,}" for count in counts]
        table.add_row(repr(name)[1:-1], state, f"{at:%Y-%m-%d %H:%M:%S}" if at else "", *figures)
    out.print(table)


def _show_how_fresh(warehouse: Warehouse, settings: Settings, out: Console) -> None:
    """Show the newest data version, and whether files or models are behind the settings of today."""
    from orchestration.inputs import InputProblem, Inputs, outdated_sentence

    with warehouse.connect("bi_reader", connect_timeout=5) as connection:
        version = newest_version(connection)
    if version is not None:
        out.print(f"Data version {version.version}, published {version.published_at:%Y-%m-%d %H:%M:%S}.", markup=False)
    try:
        inputs = Inputs.read(settings)
    except InputProblem as problem:
        out.print(str(problem), markup=False)
        return
    with warehouse.connect("loader", connect_timeout=5) as connection:
        outdated, changes = inputs.outdated(connection), inputs.changes(connection)
    if outdated:
        out.print(outdated_sentence(outdated), markup=False)
    for change in changes:
        out.print(f"Not in the marts yet: {change}", markup=False)


def _ago(since: float) -> str:
    minutes = int(time.time() - since) // 60
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
