"""The ledger's own promises, apart from those that the loading of files shows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from tests.integration.dropping import ARRIVAL, Dropping, csv_of, good_rows
from validation.ledger import MAX_ATTEMPTS, Ledger
from validation.loading import load_file
from validation.outcomes import Account, Outcome
from warehouse.connections import Warehouse


@pytest.fixture
def house(warehouse: Warehouse, tmp_path: Path) -> Dropping:
    (tmp_path / "landing").mkdir()
    (tmp_path / "home").mkdir()
    return Dropping(warehouse, tmp_path / "home", tmp_path / "landing")


@pytest.fixture
def ledger(house: Dropping) -> Iterator[Ledger]:
    with house.warehouse.connect("loader", autocommit=True) as connection:
        yield Ledger(connection)


def test_a_try_that_was_never_finished_goes_on_with_its_recorded_arrival(house: Dropping, ledger: Ledger) -> None:
    waiting = house.drop(good_rows(1))
    first = ledger.begin_arrival(waiting, ARRIVAL, "run-1")
    second = ledger.begin_arrival(waiting, ARRIVAL + timedelta(days=1), "run-2")
    assert second == replace(first, attempts=2)
    assert house.row("select attempts, run_id from raw.arrivals") == (2, "run-2")


def test_a_finished_arrival_is_not_taken_up_again(house: Dropping, ledger: Ledger) -> None:
    waiting = house.drop(good_rows(1))
    first = ledger.begin_arrival(waiting, ARRIVAL, "run-1")
    ledger.finish_arrival(first, ARRIVAL)
    second = ledger.begin_arrival(waiting, ARRIVAL, "run-2")
    assert (second.arrival_id > first.arrival_id, second.attempts) == (True, 1)


def test_a_try_can_be_taken_back(house: Dropping, ledger: Ledger) -> None:
    waiting = house.drop(good_rows(1))
    arrival = ledger.begin_arrival(waiting, ARRIVAL, "run-1")
    ledger.begin_arrival(waiting, ARRIVAL, "run-2")
    ledger.take_back_attempt(arrival)
    assert house.rows("select attempts from raw.arrivals") == [(1,)]
    ledger.take_back_attempt(arrival)
    assert house.count("arrivals") == 0


@pytest.mark.parametrize("seconds", [-(2**33), -1, 0, 2**33, 2**38])
def test_times_of_change_may_be_any(house: Dropping, seconds: int) -> None:
    path = house.drop(good_rows(1)).path
    os.utime(path, (seconds, seconds))
    (waiting,) = house.waiting()
    assert load_file(waiting, house.context()).state == "loaded"
    assert house.count("arrivals") == 1


class TestDue:
    def test_every_new_file_is(self, house: Dropping, ledger: Ledger) -> None:
        files = [house.drop(good_rows(1), "a.csv"), house.drop(good_rows(2), "b.csv")]
        assert [(due.waiting, due.attempt) for due in ledger.due(files)] == [(one, 1) for one in files]

    def test_a_file_whose_try_failed_is_to_the_end(self, house: Dropping, ledger: Ledger) -> None:
        waiting = house.drop(good_rows(1))
        for attempt in range(1, MAX_ATTEMPTS + 2):
            assert [due.attempt for due in ledger.due([waiting])] == [attempt]
            arrival = ledger.begin_arrival(waiting, ARRIVAL, "run")
            ledger.decide_arrival(arrival, "failed", "the disk was full")

    @pytest.mark.parametrize("outcome", ["loaded", "already_loaded", "quarantined"])
    def test_a_file_that_is_done_and_cannot_be_removed_is_not_for_ever(
        self, house: Dropping, ledger: Ledger, outcome: str
    ) -> None:
        waiting = house.drop(good_rows(1))
        for _ in range(MAX_ATTEMPTS):
            assert ledger.due([waiting])
            arrival = ledger.begin_arrival(waiting, ARRIVAL, "run")
            ledger.decide_arrival(arrival, outcome)  # type: ignore[arg-type]
        assert ledger.due([waiting]) == []

    def test_the_same_name_with_a_corrected_file_is(self, house: Dropping, ledger: Ledger) -> None:
        waiting = house.drop(good_rows(1))
        for _ in range(MAX_ATTEMPTS):
            ledger.decide_arrival(ledger.begin_arrival(waiting, ARRIVAL, "run"), "quarantined")
        assert [due.attempt for due in ledger.due([house.drop(good_rows(2))])] == [1]


class TestContents:
    def test_what_is_loaded_cannot_be_judged_afresh(self, house: Dropping, ledger: Ledger) -> None:
        outcome = house.load(good_rows(1))
        assert outcome.sha256 is not None
        with pytest.raises(RuntimeError, match="is loaded"):
            ledger.begin_file(house.drop(good_rows(1)), outcome.sha256, ARRIVAL, house.rules, "run")

    def test_what_was_retracted_is_judged_afresh(self, house: Dropping) -> None:
        first = house.load(good_rows(2))
        with house.warehouse.connect("owner") as connection:
            connection.execute("update raw.files set state = 'retracted'")
            connection.execute("delete from raw.events")
        second = house.load(good_rows(2))
        assert (second.state, second.file_id) == ("loaded", first.file_id)
        house.accounts_add_up()

    def test_the_database_refuses_an_account_that_does_not_add_up(self, house: Dropping, ledger: Ledger) -> None:
        house.load(good_rows(2))
        with house.warehouse.connect("owner") as connection, pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("update raw.files set rows_loaded = 1")

    def test_text_that_postgresql_cannot_hold_is_made_storable(self, house: Dropping, ledger: Ledger) -> None:
        waiting = house.drop(good_rows(1))
        file_id = ledger.begin_file(waiting, "0" * 64, ARRIVAL, house.rules, "run")
        outcome = Outcome("quarantined", "x", file_id=file_id, reject_counts={"nul \0": 1}, account=Account(0))
        ledger.decide_file("quarantined", outcome, ARRIVAL)
        arrival = ledger.begin_arrival(waiting, ARRIVAL, "run")
        ledger.decide_arrival(arrival, "failed", "nul \0 and half a character \udc80")
        assert house.value("select reject_counts from raw.files") == {"nul \N{SYMBOL FOR NULL}": 1}
        assert house.value("select error from raw.arrivals") == "nul \N{SYMBOL FOR NULL} and half a character ?"


def test_the_loader_can_do_all_this_and_no_more(house: Dropping) -> None:
    house.load(csv_of(good_rows(1)))
    with house.warehouse.connect("loader") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("drop table raw.events")
