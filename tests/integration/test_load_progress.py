"""How far a load is, as others see it: while it goes on, where it was killed, and that it costs and fails nothing."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.dropping import Dropping, csv_of, good_rows
from tests.integration.test_loading_faults import PROJECT, Clock, nothing
from validation import load_progress
from validation.load_progress import APPLICATION, ShownProgress
from validation.loading import load_file
from validation.outcomes import Outcome
from validation.progress import Progress
from warehouse.connections import Warehouse

ROWS = 500_000

# Loads a file in a process of its own, which kills itself while it reads, once its progress is shown.
CHILD = """
import os, pickle, signal, sys, time
from dataclasses import replace
sys.path.insert(0, sys.argv[1])
with open(sys.argv[2], "rb") as file:
    waiting, context = pickle.load(file)
from validation.load_progress import ShownProgress
from validation.loading import load_file
shown = ShownProgress(context.warehouse)

def on_progress(progress):
    if progress.stage == "reading":
        time.sleep(1.1)
    shown.on_progress(progress)
    if progress.stage == "reading":
        os.kill(os.getpid(), signal.SIGKILL)

with shown.of_one_load():
    load_file(waiting, replace(context, on_progress=on_progress))
"""


@pytest.fixture
def house(warehouse: Warehouse, tmp_path: Path) -> Dropping:
    (tmp_path / "landing").mkdir()
    (tmp_path / "home").mkdir()
    return Dropping(warehouse, tmp_path / "home", tmp_path / "landing")


def load_shown(
    house: Dropping, content: bytes, name: str = "x.csv", besides: Callable[[Progress], None] = nothing
) -> Outcome:
    shown = ShownProgress(house.warehouse)

    def on_progress(progress: Progress) -> None:
        shown.on_progress(progress)
        besides(progress)

    with shown.of_one_load():
        return load_file(house.drop(content, name), house.context(on_progress))


def kill_while_reading(house: Dropping, content: bytes, folder: Path, name: str = "x.csv") -> None:
    """Have a process load the file, and die when a row tells how far it is."""
    context = replace(house.context(nothing), clock=Clock(house))
    (folder / "task").write_bytes(pickle.dumps((house.drop(content, name), context)))
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(PROJECT), str(folder / "task")], capture_output=True, text=True, check=False
    )
    assert child.returncode == -signal.SIGKILL, child.stdout + child.stderr


def test_a_load_that_takes_its_time_is_seen_from_elsewhere(house: Dropping) -> None:
    content = csv_of(good_rows(ROWS))
    seen: list[tuple[Any, ...]] = []
    is_over = threading.Event()

    def look() -> None:
        with house.warehouse.connect("api", autocommit=True) as connection:
            while not is_over.wait(0.02):
                rows = connection.execute(
                    "select progress.file_name, sha256, stage, bytes_done, bytes_total, progress.rows, updated_at,"
                    " state, (select application_name from pg_stat_activity as others where others.pid = progress.pid)"
                    " from raw.load_progress as progress left join raw.files using (sha256)"
                ).fetchall()
                seen.extend(row for row in rows if row not in seen[-1:])

    looker = threading.Thread(target=look)
    looker.start()
    try:
        outcome = load_shown(house, content, "Berlin/x.csv")
    finally:
        is_over.set()
        looker.join()
    assert outcome.state == "loaded"
    assert {row[0] for row in seen} == {"Berlin/x.csv"}
    assert {row[4] for row in seen} == {len(content)}
    assert {row[8] for row in seen} == {APPLICATION}
    reading = [row for row in seen if row[2] == "reading"]
    assert {(row[1], row[7]) for row in reading} == {(outcome.sha256, "loading")}
    assert len({row[3] for row in reading}) > 1
    assert all(0 < row[3] <= len(content) and 0 < row[5] <= ROWS for row in reading)
    assert [row[3] for row in reading] == sorted(row[3] for row in reading)
    times = sorted({row[6] for row in seen})
    assert all((later - earlier).total_seconds() > 0.9 for earlier, later in pairwise(times))
    assert house.count("load_progress") == 0


def test_a_short_load_opens_no_connection_for_it(house: Dropping) -> None:
    opened: set[str] = set()

    def look(_progress: Progress) -> None:
        opened.update(name for (name,) in house.rows("select application_name from pg_stat_activity"))

    began = load_progress.EVERY_SECONDS
    assert load_shown(house, csv_of(good_rows(5)), besides=look).seconds < began
    assert APPLICATION not in opened


@pytest.mark.parametrize("fault", ["no table", "no server", "lost on the way"])
def test_its_failing_fails_no_load(house: Dropping, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setattr(load_progress, "EVERY_SECONDS", 0.0)
    shown = ShownProgress(
        replace(house.warehouse, port=1, host="127.0.0.1") if fault == "no server" else house.warehouse
    )
    reports = []

    def on_progress(progress: Progress) -> None:
        reports.append(progress.stage)
        if fault == "lost on the way" and progress.stage == "reading":
            with house.warehouse.connect_as_administrator("postgres") as server:
                (gone,) = server.execute(
                    "select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = %s",
                    [APPLICATION],
                ).fetchall()
                assert gone == (True,)
        shown.on_progress(progress)

    if fault == "no table":
        with house.warehouse.connect("owner") as connection:
            connection.execute("drop table raw.load_progress")
    with shown.of_one_load():
        outcome = load_file(house.drop(csv_of(good_rows(50))), house.context(on_progress))
    assert outcome.state == "loaded"
    assert reports[-1] == "finished"


def test_a_failed_load_leaves_no_row(house: Dropping, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_progress, "EVERY_SECONDS", 0.0)
    rows = []

    def fail(progress: Progress) -> None:
        rows.append(house.count("load_progress"))
        if progress.stage == "reading":
            raise psycopg.OperationalError("the machine's fault")

    with pytest.raises(Exception, match="the machine's fault"):
        load_shown(house, csv_of(good_rows(50)), besides=fail)
    assert rows[-1] == 1
    assert house.count("load_progress") == 0


def test_what_a_killed_load_left_is_told_from_a_live_one_and_goes_with_the_next(
    house: Dropping, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_while_reading(house, csv_of(good_rows(200)), tmp_path)
    left = "select file_name, exists (select from pg_stat_activity as o where o.pid = p.pid) from raw.load_progress p"
    assert house.rows(left) == [("x.csv", False)]
    monkeypatch.setattr(load_progress, "EVERY_SECONDS", 0.0)
    seen: set[str] = set()
    load_shown(
        house,
        csv_of(good_rows(5)),
        "y.csv",
        lambda _: seen.update(name for name, *_ in house.rows("select file_name from raw.load_progress")),
    )
    assert seen == {"y.csv"}
    assert house.count("load_progress") == 0
