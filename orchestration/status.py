"""`footfall status`: what runs, what waits, what became of the last files, and how up to date everything is."""

from __future__ import annotations

import contextlib
import shutil
import time
from typing import Final

import psycopg
from rich.console import Console
from rich.table import Column, Table

from orchestration.data_version import newest_version
from orchestration.disk_space import GIGABYTE, disk_problem, folders
from orchestration.probes import ask, pages_answer
from orchestration.server import Server
from orchestration.settings import Settings
from orchestration.stack import Record, running_stack
from validation.alerts import open_alerts
from validation.alerts import troubles as alert_troubles
from validation.landing import LandingFolder
from warehouse.connections import Warehouse
from warehouse.figures import read_figures, read_runs
from warehouse.opening import open_warehouse
from warehouse.problems import WarehouseProblem

NOT_RUNNING: Final = 3
_SHOWN: Final = 10
_REASONS: Final = 5


def show_status(settings: Settings, out: Console) -> int:
    """Print the status; 0 where the stack runs, 3 where it does not."""
    record = running_stack(settings)
    if record is None:
        out.print("Footfall is not running; start it with `footfall up`.", markup=False)
    else:
        _show_stack(record, out)
    _show_landing(settings, out)
    _show_disks(settings, out)
    if Server(settings).is_running():
        try:
            warehouse = open_warehouse(settings.home, settings.external_url)
            _show_ledger(warehouse, out)
            _show_figures(warehouse, out)
            _show_how_fresh(warehouse, settings, out)
            _show_alerts(warehouse, out)
        except (WarehouseProblem, psycopg.Error) as problem:
            out.print(f"PostgreSQL: {problem}", markup=False)
    return NOT_RUNNING if record is None else 0


def _show_stack(record: Record, out: Console) -> None:
    out.print(f"Footfall is running (process {record.keeper.pid}, for {_ago(record.started)}).", markup=False)
    out.print(f"  Quality      {record.pages_url}/quality", markup=False)
    out.print(f"  API          {record.pages_url}/v1/openapi.json", markup=False)
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


def _show_disks(settings: Settings, out: Console) -> None:
    for what, folder in folders(settings).items():
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(folder).free / GIGABYTE
            out.print(f"Free on the disk with {folder} ({what}): {free:,.1f} GB", markup=False)
    if (problem := disk_problem(settings)) is not None:
        out.print(problem, markup=False)


def _show_figures(warehouse: Warehouse, out: Console) -> None:
    """Show what /metrics tells: rows by fate, why they were rejected, runs, checks, and how long files took."""
    figures, runs = read_figures(warehouse), read_runs(warehouse)
    for when, rows in (("today", figures.rows_today), ("in all", figures.rows)):
        out.print(f"Rows {when}: {', '.join(f'{count:,} {fate}' for fate, count in rows.items())}", markup=False)
    if figures.rejects:
        reasons = sorted(figures.rejects.items(), key=lambda one: (-one[1], one[0]))[:_REASONS]
        out.print(f"Rejected most: {', '.join(f'{code} ({count:,})' for code, count in reasons)}", markup=False)
    out.print(f"Runs: {runs.queued} queued, {runs.started} under way", markup=False)
    not_passed = [
        f"{count} {layer} ({severity}, {status.replace('_', ' ')})"
        for (layer, severity, status), count in sorted(figures.checks_not_passed.items())
    ]
    out.print(f"Checks not passed: {', '.join(not_passed) or 'none'}", markup=False)
    if figures.lags:
        out.print(f"The last file was in the marts {figures.lags[0]:,.1f} s after it arrived.", markup=False)
    if figures.unpublished:
        out.print(
            f"{figures.unpublished} files are not in the marts yet, the first since "
            f"{figures.unpublished_seconds:,.0f} s ago.",
            markup=False,
        )


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


def _show_alerts(warehouse: Warehouse, out: Console) -> None:
    """Show what is wrong, and whether people could not be told of it."""
    with warehouse.connect("loader", connect_timeout=5) as connection:
        there, troubles = open_alerts(connection), alert_troubles(connection)
    if there:
        out.print(f"Open alerts: {len(there):,}", markup=False)
    for alert in there[:_SHOWN]:
        link = f" {alert.link}" if alert.link else ""
        out.print(f"  {alert.opened_at:%Y-%m-%d %H:%M}  {alert.sentence}{link}", markup=False, soft_wrap=True)
    if len(there) > _SHOWN:
        out.print(f"  … and {len(there) - _SHOWN:,} more, in raw.alerts", markup=False)
    for channel, why in troubles.items():
        out.print(f"  Not told by {channel} yet: {why}", markup=False)


def _ago(since: float) -> str:
    minutes = int(time.time() - since) // 60
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
