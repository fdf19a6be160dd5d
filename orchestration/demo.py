"""`footfall demo` and `footfall sample`: a made-up day of events, taken through the running stack.

The demo does what a user does: it drops a file into the landing folder and waits for the marts. What is in the sample
is `validation.sample`'s.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.rows import dict_row
from rich.console import Console
from rich.table import Table

from orchestration.data_version import newest_version
from orchestration.probes import run_status
from orchestration.problems import Problem
from orchestration.settings import Settings
from orchestration.stack import Stack
from validation.landing import LandingFolder
from validation.outcomes import Account, Earlier, Outcome
from warehouse.connections import Warehouse

if TYPE_CHECKING:
    from rich.status import Status

ROWS: Final = 10_000
SEED: Final = 1
PATIENCE_SECONDS: Final = 180.0
_DURATIONS: Final = "dwell_seconds_"
_FAILED: Final = {"FAILURE", "CANCELED"}


class DemoProblem(Problem):
    """The demo did not come to its end; the message says where to look."""


def write_sample_file(output: Path, rows: int, days: int, seed: int, say: Callable[[str], None]) -> None:
    """Write a sample and say what is in it. Raises `DemoProblem` where it cannot be written."""
    from validation.sample import write_sample

    try:
        truth = write_sample(output, rows, days, seed)
    except ValueError as error:
        raise DemoProblem(str(error)) from None
    except OSError as error:
        raise DemoProblem(f"{output} cannot be written: {error.strerror}.") from None
    say(f"{output}: {output.stat().st_size:,} bytes. What a correct reading finds in it:")
    for name, value in asdict(truth).items():
        say(f"  {name}: {_plain(value)}")


def run_demo(settings: Settings, out: Console, *, stop_at_end: bool) -> int:
    """Start the stack, load the sample day, show the figures, and stay until Ctrl-C."""
    started = time.monotonic()
    stack = Stack(settings, lambda text: out.print(text, markup=False))
    out.print("Starting PostgreSQL and Dagster …", markup=False)
    with stack.running():
        if not stack.wait_until_ready() or stack.warehouse is None:
            return 0
        out.print(f"Ready after {time.monotonic() - started:.0f} s.", markup=False)
        outcome, seconds = _drop_sample(stack, stack.warehouse, out)
        _show_outcome(outcome, seconds, out)
        if outcome.state in {"loaded", "already_loaded"}:
            _show_kpis(stack.warehouse, out)
        _show_where(stack, out)
        if not stop_at_end:
            out.print("Everything keeps running until Ctrl-C.", markup=False)
            stack.keep()
    return 0 if outcome.state in {"loaded", "already_loaded"} else 1


def _drop_sample(stack: Stack, warehouse: Warehouse, out: Console) -> tuple[Outcome, float]:
    """Drop the sample and wait until its run has ended; return its verdict and the seconds from drop to marts."""
    from validation.sample import write_sample

    folder = stack.settings.home / "demo"
    folder.mkdir(exist_ok=True)
    sample = folder / "sample-day.csv"
    truth = write_sample(sample, ROWS, 1, SEED)
    out.print(f"A made-up day: {truth.rows:,} rows, {truth.rejected:,} of them damaged on purpose.", markup=False)
    with warehouse.connect("loader", autocommit=True) as connection:
        (before,) = connection.execute("select coalesce(max(arrival_id), 0) from raw.arrivals").fetchone() or (0,)
        dropped = LandingFolder(stack.settings.landing).drop(sample)
        start = time.monotonic()
        out.print(f"Dropped as {dropped.path}", markup=False)
        with out.status("Waiting for the sensor to see it …") as status:
            arrival = _wait_for_marts(stack, connection, dropped.shown_name, before, status=status, start=start)
        return _outcome(connection, dropped.shown_name, arrival), time.monotonic() - start


def _wait_for_marts(
    stack: Stack, connection: psycopg.Connection, name: str, before: int, *, status: Status, start: float
) -> dict[str, Any]:
    while not stack.stopping.wait(0.2):
        stack.watch()
        seconds = time.monotonic() - start
        with connection.cursor(row_factory=dict_row) as cursor:
            arrival = cursor.execute(
                "select * from raw.arrivals where path = %s and arrival_id > %s order by arrival_id desc limit 1",
                [name, before],
            ).fetchone()
        if arrival is not None:
            run = run_status(stack.url, arrival["run_id"])
            told = "Loading" if arrival["outcome"] is None else "Working out sessions and figures"
            status.update(f"{told} … {seconds:.0f} s")
            if run == "SUCCESS":
                return arrival
            if run in _FAILED:
                raise DemoProblem(f"The run ended as {run}: {stack.url}/runs/{arrival['run_id']} shows why.")
        if seconds > PATIENCE_SECONDS:
            raise DemoProblem(f"Nothing came of it within {PATIENCE_SECONDS:g} s: see {stack.url}/runs.")
    raise DemoProblem("Stopped before the marts were ready.")


def _outcome(connection: psycopg.Connection, name: str, arrival: dict[str, Any]) -> Outcome:
    """Return the verdict as the ledger has it."""
    with connection.cursor(row_factory=dict_row) as cursor:
        file = cursor.execute("select * from raw.files where sha256 = %s", [arrival["sha256"]]).fetchone()
    if file is None:
        raise DemoProblem(f"The ledger says of {name}: {arrival['outcome']}, {arrival['error']}")
    account = Account(
        rows_read=file["rows_read"] or 0,
        rows_loaded=file["rows_loaded"] or 0,
        rows_rejected=file["rows_rejected"] or 0,
        rows_duplicate=file["rows_duplicate"] or 0,
        rows_held=file["rows_held"] or 0,
    )
    earlier = Earlier(file["file_name"], file["site"], file["finished_at"])
    return Outcome(
        state=arrival["outcome"], name=name, account=account, reject_counts=file["reject_counts"], earlier=earlier,
        seconds=file["seconds"] or 0.0,
    )  # fmt: skip


def _show_outcome(outcome: Outcome, seconds: float, out: Console) -> None:
    out.print()
    out.print(outcome.sentence, markup=False)
    if outcome.state == "loaded":
        for code, rows in sorted(outcome.reject_counts.items(), key=lambda item: -item[1]):
            out.print(f"  {code.replace('_', ' ')}: {rows:,}", markup=False)
    out.print(f"From drop to fresh marts: {seconds:.1f} s.", markup=False)


def _show_kpis(warehouse: Warehouse, out: Console) -> None:
    with warehouse.connect("bi_reader") as connection, connection.cursor(row_factory=dict_row) as cursor:
        kpis = cursor.execute("select * from marts.kpis").fetchone() or {}
        version = newest_version(connection)
    table = Table("figure", "value", title="marts.kpis" + (f", data version {version.version}" if version else ""))
    table.columns[1].justify = "right"
    for name, value in kpis.items():
        table.add_row(name.replace("_", " "), _figure(name, value))
    out.print()
    out.print(table)


def _show_where(stack: Stack, out: Console) -> None:
    command = Path(sys.executable).with_name("footfall")
    shown = command.relative_to(Path.cwd()) if command.is_relative_to(Path.cwd()) else command
    lines = [
        f"Quality  {stack.pages_url}/quality",
        f"API      {stack.pages_url}/v1/kpis  (all of it: /v1/openapi.json)",
        f"{stack.url}/runs               the run that just happened",
        f"{stack.url}/assets/raw/events  the account of the file, its rejected rows",
        f"{stack.url}/asset-groups       from the landing folder to the marts",
        f"{shlex.quote(str(shown))} psql -c 'table kpis'",
        f"Drop a CSV of your own into {stack.settings.landing}",
    ]
    out.print("\nWhere to look:", markup=False)
    for line in lines:
        out.print(f"  {line}", markup=False)


def _figure(name: str, value: object) -> str:
    if value is None:
        return "none"
    if name.startswith(_DURATIONS) and isinstance(value, float):
        minutes, seconds = divmod(round(value), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    if "share" in name.split("_") and isinstance(value, float):
        return f"{value:.1%}"
    return _plain(value)


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count:,}" for name, count in value.items()) or "none"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    return f"{value:,}" if isinstance(value, int | float) else str(value)
