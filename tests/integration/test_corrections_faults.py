"""Corrections that are killed, fail half-way or meet others: each is done whole or not at all."""

from __future__ import annotations

import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from psycopg import sql

from tests.integration.dropping import HEADER, Dropping, csv_of, good_rows
from validation.cameras import Camera
from validation.context import LoadContext, LoadingFailed
from validation.corrections import CorrectionProblem, replay_file, retract_file
from validation.outcomes import Outcome
from validation.progress import Progress
from warehouse.connections import Warehouse

PROJECT = Path(__file__).parents[2]
BERLIN = [Camera("CAM-1", "CAM-1", None, "default", "Europe/Berlin", None)]

# Corrects one file in a process of its own, which kills itself where it is told to.
CHILD = """
import os, pickle, signal, sys
from dataclasses import replace
sys.path.insert(0, sys.argv[1])
with open(sys.argv[2], "rb") as file:
    correct, sha256, context, stage = pickle.load(file)

def kill(progress):
    if progress.stage == stage:
        os.kill(os.getpid(), signal.SIGKILL)

correct(sha256, replace(context, on_progress=kill))
print("the process has outlived its end")
"""


@pytest.fixture
def house(warehouse: Warehouse, tmp_path: Path) -> Dropping:
    (tmp_path / "landing").mkdir()
    (tmp_path / "home").mkdir()
    return Dropping(warehouse, tmp_path / "home", tmp_path / "landing")


@pytest.fixture
def loaded(house: Dropping) -> str:
    """The hash of a file that shares events with another, each giving some of them."""
    first, second = ([f"{row},{(i + n) % 2}" for i, row in enumerate(good_rows(6))] for n in (0, 1))
    more = ["2024-05-01 10:00:00,only here,CAM-1,entry,1", "never,P,C,in,1"]
    house.load(csv_of(first, HEADER + ",confidence"), "other.csv")
    return str(house.load(csv_of([*second, *more], HEADER + ",confidence"), "x.csv").sha256)


@pytest.fixture(autouse=True)
def _lenient(house: Dropping) -> None:
    house.rules = replace(house.rules, max_rejected_share=0.5)


def now() -> datetime:
    return datetime(2024, 7, 1, tzinfo=UTC)


def nothing(_progress: Progress) -> None:
    """Stands in for the listener, which is no function that can be sent to another process."""


Correct = Callable[[str, LoadContext], Outcome]


@pytest.mark.parametrize(
    ("correct", "stage"),
    [
        (retract_file, "merging"),
        (retract_file, "committing"),
        (retract_file, "committed"),
        (replay_file, "reading"),
        (replay_file, "merging"),
        (replay_file, "committing"),
        (replay_file, "committed"),
    ],
)
def test_killed_it_has_been_done_whole_or_not_at_all(
    house: Dropping, loaded: str, tmp_path: Path, correct: Correct, stage: str
) -> None:
    before = house.snapshot()
    context = replace(house.context(nothing), cameras=BERLIN, clock=now)
    (tmp_path / "task").write_bytes(pickle.dumps((correct, loaded, context, stage)))
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(PROJECT), str(tmp_path / "task")], capture_output=True, text=True, check=False
    )
    assert child.returncode == -signal.SIGKILL, child.stdout + child.stderr

    left = house.snapshot()
    assert (left == before) == (stage != "committed")
    house.accounts_add_up()
    if stage == "committed" and correct is retract_file:
        with pytest.raises(CorrectionProblem, match="retracted already"):
            correct(loaded, context)
    else:
        correct(loaded, context)
    assert (house.snapshot() == left) == (stage == "committed")
    house.accounts_add_up()


@contextmanager
def failing(house: Dropping, table: str) -> Iterator[None]:
    """Let every statement that writes to a table fail."""
    with house.warehouse.connect("owner", autocommit=True) as connection:
        connection.execute("create schema if not exists faults")
        connection.execute("grant usage on schema faults to public")
        connection.execute(
            "create or replace function faults.fail() returns trigger language plpgsql as"
            " $$ begin raise exception 'a fault in the middle'; end $$"
        )
        names = {"table": sql.Identifier("raw", table)}
        connection.execute(
            sql.SQL(
                "create trigger fault after insert or update or delete on {table} execute function faults.fail()"
            ).format(**names)
        )
        yield
        connection.execute(sql.SQL("drop trigger fault on {table}").format(**names))


@pytest.mark.parametrize("kind", ["retracted", "replayed", "replayed to quarantine"])
def test_a_statement_that_fails_leaves_everything_as_it_was(house: Dropping, loaded: str, kind: str) -> None:
    correct: Correct = retract_file if kind == "retracted" else replay_file
    context = replace(
        house.context(), cameras=BERLIN, profiles=[] if kind == "replayed to quarantine" else house.profiles
    )
    before = house.snapshot()
    for table in ("batches", "duplicates", "events", "retracted_events", "files"):
        with failing(house, table), pytest.raises(LoadingFailed) as failed:
            correct(loaded, context)
        done = kind.removesuffix(" to quarantine")
        assert failed.value.sentence == f"x.csv could not be {done}. RaiseException: a fault in the middle."
        assert failed.value.advice.startswith("Everything is as it was before.")
        assert house.snapshot() == before, table
        assert not (house.landing / "rejected").exists()
    correct(loaded, context)
    assert house.snapshot() != before
    house.accounts_add_up()


def test_without_a_database(house: Dropping, loaded: str) -> None:
    gone = replace(house, warehouse=replace(house.warehouse, database="no_such_database"))
    with pytest.raises(LoadingFailed, match=r"could not be retracted.*PostgreSQL cannot be reached.*as it was before"):
        retract_file(loaded, gone.context())


def test_a_report_that_cannot_be_written_is_told(house: Dropping, loaded: str) -> None:
    shutil.rmtree(house.landing)
    house.landing.write_text("a file where the folder should be")
    outcome = replay_file(loaded, replace(house, profiles=[]).context())
    assert (outcome.state, outcome.moved_to) == ("quarantined", None)
    assert outcome.notices[-1].sentence == "Its report could not be written to the landing folder (Not a directory)."


def test_a_stopped_correction_leaves_everything_as_it_was(house: Dropping, loaded: str) -> None:
    class Stopped(BaseException):
        pass

    def stop(progress: Progress) -> None:
        if progress.stage == "committing":
            raise Stopped

    before = house.snapshot()
    for correct in (retract_file, replay_file):
        with pytest.raises(Stopped):
            correct(loaded, replace(house.context(stop), cameras=BERLIN))
        assert house.snapshot() == before


class TestAtOnce:
    def test_two_of_one_file_come_one_after_the_other(self, house: Dropping, loaded: str) -> None:
        def retract(_: int) -> str:
            try:
                return retract_file(loaded, house.context()).state
            except CorrectionProblem as problem:
                return problem.code

        with ThreadPoolExecutor(3) as pool:
            assert sorted(pool.map(retract, range(3))) == ["already_retracted", "already_retracted", "retracted"]
        house.accounts_add_up()

    def test_with_loads_and_replays_of_files_that_share_events(self, house: Dropping, loaded: str) -> None:
        """Nobody waits for somebody who waits for him, and the accounts stay true."""
        (other,) = house.row("select sha256 from raw.files where file_name = 'other.csv'")
        more = [csv_of([f"{row},0.{n}" for row in good_rows(6)], HEADER + ",confidence") for n in range(1, 4)]
        with ThreadPoolExecutor(6) as pool:
            work = [pool.submit(house.load, content, f"more{n}.csv") for n, content in enumerate(more)]
            for _ in range(3):
                work.append(pool.submit(replay_file, other, replace(house, cameras=BERLIN).context()))
                work.append(pool.submit(replay_file, loaded, replace(house, cameras=BERLIN).context()))
            work.append(pool.submit(retract_file, other, house.context()))
            errors = [error for error in (done.exception(60) for done in work) if error is not None]
        # Replays that came after the retraction.
        assert all(isinstance(error, CorrectionProblem) and error.code == "not_loaded" for error in errors), errors
        assert house.value("select count(*) from raw.files where state = 'loaded'") == 4
        house.accounts_add_up()
