"""What goes wrong around a load: crashes, stops, writers who are not done, other loaders, faults of the machine."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from tests.integration.dropping import HEADER, Dropping, csv_of, good_rows
from validation.landing import Waiting
from validation.ledger import Ledger
from validation.loading import LoadingFailed, Progress, load_file
from validation.outcomes import Outcome
from warehouse.connections import Warehouse

PROJECT = Path(__file__).parents[2]

# Loads one file in a process of its own, which kills itself where it is told to.
CHILD = """
import os, pickle, signal, sys
from dataclasses import replace
sys.path.insert(0, sys.argv[1])
with open(sys.argv[2], "rb") as file:
    waiting, context, stage = pickle.load(file)
from validation.loading import load_file

def kill(progress):
    if progress.stage == stage:
        os.kill(os.getpid(), signal.SIGKILL)

load_file(waiting, replace(context, on_progress=kill))
print("the process has outlived its end")
"""

GOOD = csv_of([*good_rows(60), *good_rows(3), "never,P,CAM-1,entry"])
BAD = csv_of([*good_rows(5), "never,P,CAM-1,entry"])


@pytest.fixture
def house(warehouse: Warehouse, tmp_path: Path) -> Dropping:
    (tmp_path / "landing").mkdir()
    (tmp_path / "home").mkdir()
    return Dropping(warehouse, tmp_path / "home", tmp_path / "landing")


def nothing(_progress: Progress) -> None:
    """Stands in for the listener, which is no function that can be sent to another process."""


def kill_at(stage: str, house: Dropping, waiting: Waiting, folder: Path) -> None:
    context = replace(house.context(nothing), clock=Clock(house))
    (folder / "task").write_bytes(pickle.dumps((waiting, context, stage)))
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(PROJECT), str(folder / "task")], capture_output=True, text=True, check=False
    )
    assert child.returncode == -signal.SIGKILL, child.stdout + child.stderr


class Clock:
    def __init__(self, house: Dropping) -> None:
        self.now = house.now

    def __call__(self):  # type: ignore[no-untyped-def]
        return self.now


STAGES = ["copying", "archived", "reading", "merging", "committing", "committed", "finished"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("content", [GOOD, BAD], ids=["usable", "unusable"])
def test_a_killed_load_leaves_nothing_lost_and_nothing_doubled(
    house: Dropping, tmp_path: Path, stage: str, content: bytes
) -> None:
    if content is BAD and stage == "merging":
        stage = "reading"  # nothing is merged of such a file
    undisturbed = house.load(content)
    expected, files = house.snapshot(), archived(house)
    house.empty()
    for path in (house.landing / "rejected").glob("*"):
        path.unlink()
    files[0].unlink()

    waiting = house.drop(content)
    kill_at(stage, house, waiting, tmp_path)
    is_done = stage == "finished"
    assert [one.path for one in house.waiting()] == ([] if is_done else [waiting.path])
    house.now += timedelta(days=2)  # the recorded arrival counts, not the time of the try that succeeds

    outcomes = [load_file(waiting, house.context()) for waiting in house.waiting()]

    assert house.snapshot() == expected
    assert [outcome.state for outcome in outcomes] == ([] if is_done else [undisturbed.state])
    assert [outcome.account for outcome in outcomes] == ([] if is_done else [undisturbed.account])
    assert house.waiting() == []
    assert archived(house) == files
    assert house.rows("select outcome, attempts, finished_at is not null from raw.arrivals") == [
        (undisturbed.state, 1 if is_done else 2, True)
    ]
    if content is BAD:
        assert {path.name for path in (house.landing / "rejected").iterdir()} == {
            "x.csv",
            "x.csv.rejects.csv",
            "x.csv.report.md",
        }


def archived(house: Dropping) -> list[Path]:
    return sorted(path for path in (house.home / "archive").rglob("*") if path.is_file())


def test_a_file_that_kills_its_loader_is_given_up(house: Dropping, tmp_path: Path) -> None:
    waiting = house.drop(GOOD)
    for attempt in (1, 2, 3):
        with house.warehouse.connect("loader", autocommit=True) as connection:
            (due,) = Ledger(connection).due(house.waiting())
        assert due.attempt == attempt
        kill_at("reading", house, waiting, tmp_path)

    outcome = load_file(waiting, house.context())

    assert outcome.state == "quarantined"
    assert outcome.problem is not None
    assert outcome.problem.code == "failed_repeatedly"
    assert (house.landing / "rejected" / "x.csv").read_bytes() == GOOD
    assert house.row("select state, error_code from raw.files") == ("quarantined", "failed_repeatedly")
    # Dropped again, it gets its attempts again.
    assert house.load(GOOD).state == "loaded"


class TestFaultsOfTheMachine:
    @pytest.fixture
    def broken(self, house: Dropping) -> Dropping:
        (house.home / "archive").write_text("a file where the folder should be")
        return house

    def test_are_told_recorded_and_tried_again(self, broken: Dropping) -> None:
        waiting = broken.drop(GOOD)
        with pytest.raises(LoadingFailed, match=r"x\.csv could not be loaded \(attempt 1 of 3\)\. NotADirectoryError"):
            load_file(waiting, broken.context())
        assert broken.row("select outcome, attempts, finished_at from raw.arrivals") == ("failed", 1, None)
        assert [one.path for one in broken.waiting()] == [waiting.path]

        (broken.home / "archive").unlink()
        outcome = load_file(waiting, broken.context())

        assert (outcome.state, outcome.attempt) == ("loaded", 2)
        assert broken.row("select outcome, attempts, error from raw.arrivals") == ("loaded", 2, None)

    def test_quarantine_the_file_in_the_end(self, broken: Dropping) -> None:
        waiting = broken.drop(GOOD)
        for _ in range(2):
            with pytest.raises(LoadingFailed):
                load_file(waiting, broken.context())

        outcome = load_file(waiting, broken.context())

        assert outcome.state == "quarantined"
        assert "NotADirectoryError" in outcome.sentence
        assert broken.waiting() == []
        assert "NotADirectoryError" in (broken.landing / "rejected" / "x.csv.report.md").read_text(encoding="utf-8")

    def test_a_lost_database_in_the_middle(self, house: Dropping) -> None:
        def cut(progress: Progress) -> None:
            if progress.stage == "merging":
                with house.warehouse.connect_as_administrator("postgres", autocommit=True) as connection:
                    connection.execute(
                        "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s",
                        (house.warehouse.database,),
                    )

        with pytest.raises(LoadingFailed, match="attempt 1 of 3"):
            house.load(GOOD, on_progress=cut)
        assert house.row("select state, error_code from raw.files") == ("failed", "failed")
        assert house.count("events") == house.count("rejects") == 0

        (waiting,) = house.waiting()
        assert load_file(waiting, house.context()).state == "loaded"
        house.accounts_add_up()

    def test_no_database_at_all(self, house: Dropping) -> None:
        waiting = house.drop(GOOD)
        gone = replace(house, warehouse=replace(house.warehouse, database="no_such_database"))
        with pytest.raises(LoadingFailed, match="PostgreSQL cannot be reached"):
            load_file(waiting, gone.context())
        assert [one.path for one in house.waiting()] == [waiting.path]


class Stopped(BaseException):
    """What a scheduler raises in a run that it ends."""


@pytest.mark.parametrize("stage", ["copying", "reading", "committing"])
def test_a_run_that_is_stopped_costs_no_attempt(house: Dropping, stage: str) -> None:
    def stop(progress: Progress) -> None:
        if progress.stage == stage:
            raise Stopped

    waiting = house.drop(GOOD)
    for _ in range(4):
        with pytest.raises(Stopped):
            load_file(waiting, house.context(stop))
    assert house.count("events") == 0

    assert load_file(waiting, house.context()).state == "loaded"
    assert house.rows("select attempts, outcome from raw.arrivals") == [(1, "loaded")]


def test_a_stop_signal_in_the_middle_of_a_statement(house: Dropping) -> None:
    """A handler that raises, as a scheduler's does, while PostgreSQL is at work."""

    def raise_stopped(*_: object) -> None:
        raise Stopped

    def stall(progress: Progress) -> None:
        if progress.stage == "merging":
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGUSR1)).start()

    before = signal.signal(signal.SIGUSR1, raise_stopped)
    try:
        waiting = house.drop(GOOD)
        with house.warehouse.connect("loader") as other:
            other.execute("select pg_advisory_xact_lock(%s, 0)", (0x466F6F03,))  # the merge waits for this
            with pytest.raises(Stopped):
                load_file(waiting, house.context(stall))
    finally:
        signal.signal(signal.SIGUSR1, before)
    outcome = load_file(waiting, house.context())
    assert (outcome.state, outcome.attempt) == ("loaded", 1)


class TestWritersWhoAreNotDone:
    def test_a_file_that_grew_since_the_look_waits(self, house: Dropping) -> None:
        waiting = house.drop(GOOD)
        with waiting.path.open("ab") as file:
            file.write(b"more")

        outcome = load_file(waiting, house.context())

        assert outcome.sentence == "Not yet: x.csv was still being written and will be looked at again."
        assert [one.path for one in house.waiting()] == [waiting.path]
        assert house.count("arrivals") == house.count("files") == 0

    def test_a_file_that_grows_while_it_is_copied_waits(self, house: Dropping) -> None:
        def write(progress: Progress) -> None:
            if progress.stage == "copying":
                with (house.landing / "x.csv").open("ab") as file:
                    file.write(b"more")

        assert house.load(GOOD, on_progress=write).state == "waiting"
        assert house.count("arrivals") == house.count("files") == 0
        assert archived(house) == []

    @pytest.mark.parametrize("content", [GOOD, BAD], ids=["usable", "unusable"])
    def test_what_takes_its_place_during_the_load_is_another_drop(self, house: Dropping, content: bytes) -> None:
        """Same name, same size, same time of change: still not what was loaded."""
        other = content.replace(b"P1,", b"Q1,")

        def exchange(progress: Progress) -> None:
            if progress.stage == "reading":
                path = house.landing / "x.csv"
                status = path.stat()
                (house.landing / ".new").write_bytes(other)
                os.utime(house.landing / ".new", ns=(status.st_atime_ns, status.st_mtime_ns))
                (house.landing / ".new").rename(path)

        first = house.load(content, on_progress=exchange)

        (waiting,) = house.waiting()
        assert waiting.path.read_bytes() == other
        second = load_file(waiting, house.context())
        assert first.state == second.state
        assert house.waiting() == []
        assert house.count("files") == 2

    def test_the_same_place_with_other_content_is_another_arrival(self, house: Dropping) -> None:
        """The first try died after its file had been hashed; then the file was corrected, keeping size and time."""
        waiting = house.drop(GOOD)

        def stop(progress: Progress) -> None:
            if progress.stage == "archived":
                (house.home / "gate").write_text("")
            if progress.stage == "reading":
                raise MemoryError

        with pytest.raises(LoadingFailed, match="MemoryError"):
            load_file(waiting, house.context(stop))
        status = waiting.path.stat()
        waiting.path.write_bytes(GOOD.replace(b"P1,", b"Q1,"))
        os.utime(waiting.path, ns=(status.st_atime_ns, status.st_mtime_ns))
        house.now += timedelta(hours=1)

        (corrected,) = house.waiting()
        assert load_file(corrected, house.context()).state == "loaded"

        assert house.rows("select outcome, arrived_at = %s from raw.arrivals order by arrival_id", house.now) == [
            ("failed", False),
            ("loaded", True),
        ]

    def test_a_file_that_went_away(self, house: Dropping) -> None:
        waiting = house.drop(GOOD)
        waiting.path.unlink()
        assert load_file(waiting, house.context()).sentence == "Nothing done: x.csv was no longer there."
        assert house.count("arrivals") == 0

    @pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
    def test_what_is_no_regular_file_any_more_is_not_opened(self, house: Dropping, tmp_path: Path, kind: str) -> None:
        waiting = house.drop(GOOD)
        waiting.path.unlink()
        match kind:
            case "link":
                (tmp_path / "secret.csv").write_bytes(GOOD)
                waiting.path.symlink_to(tmp_path / "secret.csv")
            case "pipe":
                os.mkfifo(waiting.path)
            case "folder":
                waiting.path.mkdir()
        assert load_file(waiting, house.context()).state in {"gone", "waiting"}
        assert house.count("arrivals") == house.count("files") == 0
        assert os.path.lexists(waiting.path)


class TestSeveralLoaders:
    def test_at_one_file(self, house: Dropping) -> None:
        waiting = house.drop(GOOD)
        with ThreadPoolExecutor(4) as pool:
            outcomes = list(pool.map(lambda _: load_file(waiting, house.context()), range(4)))

        assert [outcome.state for outcome in outcomes] == ["loaded"] * 4
        assert house.rows("select outcome from raw.arrivals") == [("loaded",)]
        assert house.count("batches") == 1
        house.accounts_add_up()

    def test_at_one_content_under_several_names(self, house: Dropping) -> None:
        files = [house.drop(GOOD, f"{number}.csv") for number in range(4)]
        with ThreadPoolExecutor(4) as pool:
            outcomes = list(pool.map(lambda waiting: load_file(waiting, house.context()), files))

        assert sorted(outcome.state for outcome in outcomes) == ["already_loaded"] * 3 + ["loaded"]
        assert house.count("batches") == 1
        assert house.waiting() == []

    def test_at_files_that_share_events(self, house: Dropping) -> None:
        def content(number: int) -> bytes:
            return csv_of(
                [f"{row},{(i * 7 + number * 3) % 10 / 10}" for i, row in enumerate(good_rows(400))],
                HEADER + ",confidence",
            )

        files = [house.drop(content(number), f"{number}.csv") for number in range(4)]
        with ThreadPoolExecutor(4) as pool:
            outcomes = list(pool.map(lambda waiting: load_file(waiting, house.context()), files))

        assert all(outcome.state == "loaded" for outcome in outcomes)
        best = {
            row.split(",")[1]: max((i * 7 + number * 3) % 10 / 10 for number in range(4))
            for i, row in enumerate(good_rows(400))
        }
        assert dict(house.rows("select person_id, confidence from raw.events")) == best
        house.accounts_add_up()

    def test_batches_are_numbered_in_the_order_of_their_commits(self, house: Dropping) -> None:
        """Whoever consumes batches by number sees none appear below one that it has seen."""
        gate, at_gate = threading.Event(), threading.Event()

        def wait(progress: Progress) -> None:
            if progress.stage == "committing":
                at_gate.set()
                gate.wait(30)

        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(house.load, csv_of(good_rows(5)), "a.csv", wait)
            assert at_gate.wait(30)
            second = pool.submit(house.load, csv_of(good_rows(5, "Q")), "b.csv")
            with pytest.raises(TimeoutError):
                second.result(1)
            gate.set()
            numbers: list[Outcome] = [first.result(30), second.result(30)]
        assert numbers[0].batch_id is not None
        assert numbers[1].batch_id is not None
        assert numbers[0].batch_id < numbers[1].batch_id


def test_a_killed_loader_frees_its_locks(house: Dropping, tmp_path: Path) -> None:
    waiting = house.drop(GOOD)
    kill_at("committing", house, waiting, tmp_path)
    with house.warehouse.connect("loader", autocommit=True) as connection:
        connection.execute("set lock_timeout = '20s'")
        try:
            connection.execute("select pg_advisory_lock(%s, 0)", (0x466F6F03,))
        except psycopg.errors.LockNotAvailable:
            pytest.fail("the merging lock outlived its holder")
