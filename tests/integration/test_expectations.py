"""What Great Expectations finds in a real warehouse: each expectation where it holds and where it does not."""

from __future__ import annotations

import socket
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.integration.conftest import fresh_warehouse
from tests.integration.dropping import csv_of
from tests.integration.expecting_store import NEW_ROWS, NEW_RUN, OLD_RUN, change, dropping_into, load, shop
from validation import expected_rows
from validation.checks import CheckOutcome
from validation.corrections import retract_file
from validation.expectations import EXPECTATIONS
from validation.expecting import judge_expectations
from warehouse.connections import Warehouse

LINK = "http://127.0.0.1:8000/reports/expectations/run-7"
SCRIPT = "<script>alert(1)</script>"
Found = dict[str, CheckOutcome]


def judge(warehouse: Warehouse, docs: Path, *run_ids: str, **options: Any) -> Found:
    outcomes = judge_expectations(warehouse, run_ids or [NEW_RUN], docs, LINK, **options)
    assert [one.name for one in outcomes] == [one.name for one in EXPECTATIONS]
    return {one.name: one for one in outcomes}


@pytest.fixture(scope="module")
def store(template: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    with shop(template, tmp_path_factory.mktemp("shop") / "places") as warehouse:
        yield warehouse


@pytest.fixture(scope="module")
def sound(store: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> tuple[Found, Path]:
    """What is found in the shop as it is, and the pages that show it."""
    docs = tmp_path_factory.mktemp("sound") / "docs"
    return judge(store, docs), docs


@pytest.fixture(scope="module")
def broken(store: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> tuple[Found, Path]:
    """The same where everything is wrong."""
    docs = tmp_path_factory.mktemp("broken") / "docs"
    with fresh_warehouse(store) as warehouse:
        change(
            warehouse,
            f"update raw.files set file_name = '{SCRIPT}.csv' where run_id = '{NEW_RUN}'",
            f"update raw.files set rows_loaded = 25, rows_read = 25 where run_id = '{NEW_RUN}'",
            "update raw.events set event_time = '1999-01-01 00:00Z' where person_id = 'n0' and event_type = 'entry'",
            "update raw.events set event_time = '2024-05-20 00:00Z' where person_id = 'n1' and event_type = 'entry'",
            "update raw.events set end_time = event_time - interval '1 hour' where person_id = 'm1'",
            f"update raw.events set person_id = E'\\t{SCRIPT}' where person_id = 'n2' and event_type = 'entry'",
            "update raw.events set camera_id = repeat('c', 51) where person_id = 'n3' and event_type = 'entry'",
            "update raw.events set person_id = repeat('n', 101) where person_id = 'n0' and event_type = 'exit'",
            "update raw.events set camera_id = E'A\\u009f' where person_id = 'n1' and event_type = 'exit'",
            "update raw.events set confidence = 90 where person_id = 'n4'",
            "update raw.events set event_type = 'other' where person_id = any('{n5,n6,n7,n8,n9}') or person_id = 'n4'",
            "update raw.events set person_id = 'unknown' where person_id = any('{n4,n5,n6,n7,n8,n9}')",
            "update marts.site_daily set events = 162, entries = 60, exits = 20"
            " where site_id = 'default' and bucket_date = '2024-05-06'",
            "update marts.camera_daily set unique_visitors = 100, peak_occupancy = 11"
            " where camera_id = 'A' and bucket_date = '2024-04-29'",
            "update marts.site_daily set unique_visitors = 200"
            " where site_id = 'default' and bucket_date = '2024-04-22'",
            "update marts.camera_daily set dwell_seconds_avg = 601"
            " where camera_id = 'B' and bucket_date = '2024-04-29'",
            "update marts.camera_hourly set events = 0, entries = 0, exits = 0, sessions_started = 0,"
            " completed_sessions = 0, dwell_seconds_total = 0, dwell_seconds_avg = null, dwell_seconds_median = null,"
            " dwell_seconds_p90 = null, dwell_seconds_max = null"
            " where camera_id = 'B' and bucket_start between '2024-05-06 10:00Z' and '2024-05-06 12:00Z'",
            "update marts.camera_hourly set occupied_seconds = occupied_seconds + 0.000001"
            " where camera_id = 'C' and bucket_start = '2024-04-29 10:00Z'",
        )
        return judge(warehouse, docs), docs


# Of each expectation: how many it judges in the shop, and how many fail although it holds.
SOUND = {
    "new_events_not_too_early": (24, 0),
    "new_events_not_in_the_future": (24, 0),
    "new_intervals_not_negative": (2, 0),
    "new_person_ids_readable": (24, 0),
    "new_person_ids_not_too_long": (24, 0),
    "new_camera_ids_readable": (24, 0),
    "new_camera_ids_not_too_long": (24, 0),
    "new_confidence_is_a_share": (24, 0),
    "new_events_name_persons": (24, 1),
    "new_events_say_what_happened": (24, 1),
    "new_files_stored_whole": (1, 0),
    "volume_as_usual": (1, 0),
    "entries_balance_exits": (1, 0),
    "site_visitors_not_fewer": (7, 0),
    "site_visitors_not_more": (7, 0),
    "peak_within_capacity": (11, 0),
    "average_dwell_within_longest": (17, 0),
    "no_camera_silent": (3, 0),
    "hours_hold_the_days_events": (4, 0),
    "hours_hold_the_days_time": (4, 0),
}
# Where everything is wrong: how many fail, and one of those that are named.
BROKEN = {
    "new_events_not_too_early": (
        1,
        f"{SCRIPT}.csv, row number 2, event time 1999-01-01 00:00:00+00:00, earliest allowed 2000-01-01 00:00:00+00:00",
    ),
    "new_events_not_in_the_future": (
        1,
        f"{SCRIPT}.csv, row number 3, event time 2024-05-20 00:00:00+00:00, latest allowed 2024-05-08 06:00:00+00:00",
    ),
    "new_intervals_not_negative": (
        1,
        f"{SCRIPT}.csv, row number 22, event time 2024-05-07 05:40:00+00:00, end time 2024-05-07 04:40:00+00:00",
    ),
    "new_person_ids_readable": (1, f"{SCRIPT}.csv, row number 4, person id \\t{SCRIPT}"),
    "new_person_ids_not_too_long": (1, f"{SCRIPT}.csv, row number 12, person id {'n' * 101}"),
    "new_camera_ids_readable": (1, f"{SCRIPT}.csv, row number 13, camera id A\\x9f"),
    "new_camera_ids_not_too_long": (1, f"{SCRIPT}.csv, row number 5, camera id {'c' * 51}"),
    "new_confidence_is_a_share": (2, f"{SCRIPT}.csv, row number 6, confidence 90.0"),
    "new_events_name_persons": (13, f"{SCRIPT}.csv, row number *, person id ?nknown"),
    "new_events_say_what_happened": (13, f"{SCRIPT}.csv, row number *, event word *"),
    "new_files_stored_whole": (1, f"{SCRIPT}.csv, rows stored 24, rows loaded 25"),
    "volume_as_usual": (1, "default, bucket date 2024-05-06, events 162, usual events 54.0"),
    "entries_balance_exits": (1, "default, bucket date 2024-05-06, entries 60, exits 20"),
    "site_visitors_not_fewer": (1, "default, bucket date 2024-04-29, unique visitors 9, most at one camera 100"),
    "site_visitors_not_more": (1, "default, bucket date 2024-04-22, unique visitors 200, at all cameras 27"),
    "peak_within_capacity": (1, "A, bucket date 2024-04-29, peak occupancy 11, capacity 10"),
    "average_dwell_within_longest": (1, "B, bucket date 2024-04-29, dwell seconds avg 601.0, dwell seconds max 600.0"),
    "no_camera_silent": (1, "B, bucket date 2024-05-06, silent hours 3, silent from 10 h"),
    "hours_hold_the_days_events": (1, "B, events by hour 84, events by day 90"),
    "hours_hold_the_days_time": (1, "C, occupied by hour 27000.000001*, occupied by day 27000*"),
}


@pytest.mark.parametrize("name", [one.name for one in EXPECTATIONS])
def test_what_holds(name: str, sound: tuple[Found, Path]) -> None:
    one = sound[0][name]
    assert (one.status, one.checked, one.failed, one.sample) == ("passed", *SOUND[name], ()), one.sentence
    assert one.severity == "warning"
    assert one.layer == "expectations"


@pytest.mark.parametrize("name", [one.name for one in EXPECTATIONS])
def test_what_does_not_hold(name: str, broken: tuple[Found, Path]) -> None:
    one = broken[0][name]
    failed, sample = BROKEN[name]
    assert (one.status, one.failed) == ("failed", failed), one.sentence
    assert one.checked == SOUND[name][0]
    assert len(one.sample) == min(failed, 5)
    assert any(fnmatchcase(text, sample) for text in one.sample), one.sample
    assert f"{failed} of {one.checked} " in one.sentence
    assert one.link == f"{LINK}/{one.schema}.html#{name}"


def test_runs_that_loaded_nothing_have_nothing_to_judge(store: Warehouse, tmp_path: Path) -> None:
    found = judge(store, tmp_path / "docs", "no such run")
    for one in found.values():
        if one.schema == "raw":
            assert (one.status, one.checked, one.failed) == ("passed", 0, 0)
            assert one.sentence.startswith("These runs ")


def test_marts_without_rows_are_neither_wrong_nor_as_usual(store: Warehouse, tmp_path: Path) -> None:
    with fresh_warehouse(store) as warehouse:
        change(warehouse, *(f"delete from marts.{table}" for table in ("site_daily", "camera_daily", "camera_hourly")))
        found = judge(warehouse, tmp_path / "docs")
    for one in found.values():
        if one.name in {"volume_as_usual", "no_camera_silent"}:
            assert (one.status, one.checked) == ("could_not_check", None)
            assert one.sentence.startswith("No site has 3 earlier days")
        elif one.schema == "marts":
            assert (one.status, one.checked, one.failed) == ("passed", 0, 0)


def test_too_short_a_history_cannot_be_compared_with(store: Warehouse, tmp_path: Path) -> None:
    with fresh_warehouse(store) as warehouse:
        change(warehouse, "delete from marts.site_daily where bucket_date in ('2024-04-08', '2024-04-22')")
        found = judge(warehouse, tmp_path / "docs")
    for name in ("volume_as_usual", "no_camera_silent"):
        assert found[name].status == "could_not_check"
        assert not found[name].passed
    page = (tmp_path / "docs" / "marts.html").read_text()
    assert page.count("could not be checked") == 2


def test_a_day_that_is_not_over_is_not_compared(store: Warehouse, tmp_path: Path) -> None:
    with fresh_warehouse(store) as warehouse:
        # Another file, and Tuesday is over: nobody has been there on a Tuesday before.
        change(warehouse, "update raw.files set arrived_at = '2024-05-08 00:00Z' where run_id = 'run-new'")
        found = judge(warehouse, tmp_path / "docs")
    assert found["volume_as_usual"].status == "could_not_check"


def test_a_camera_is_silent_after_three_hours(store: Warehouse, tmp_path: Path) -> None:
    with fresh_warehouse(store) as warehouse:
        change(
            warehouse,
            # Two hours in a row, then one more: that may be.
            "delete from marts.camera_hourly where camera_id = 'A'"
            " and bucket_start in ('2024-05-06 09:00Z', '2024-05-06 10:00Z', '2024-05-06 12:00Z')",
            # Three in a row, but one was silent on half of the former Mondays, too.
            "delete from marts.camera_hourly where camera_id = 'B'"
            " and bucket_start in ('2024-05-06 09:00Z', '2024-05-06 10:00Z', '2024-05-06 11:00Z',"
            " '2024-04-29 10:00Z', '2024-04-22 10:00Z')",
            "delete from marts.camera_hourly where camera_id = 'C' and bucket_start >= '2024-05-06 00:00Z'",
        )
        one = judge(warehouse, tmp_path / "docs")["no_camera_silent"]
    assert (one.status, one.checked, one.failed) == ("failed", 3, 1)
    assert one.sample == ("C, bucket date 2024-05-06, silent hours 9, silent from 9 h",)


def test_a_table_that_is_not_there_is_not_taken_for_sound(store: Warehouse, tmp_path: Path) -> None:
    with fresh_warehouse(store) as warehouse:
        with warehouse.connect("transformer") as connection:
            connection.execute("alter table marts.camera_hourly rename to gone")
        found = judge(warehouse, tmp_path / "docs")
    unjudged = {name for name, one in found.items() if one.status == "could_not_check"}
    assert unjudged == {"no_camera_silent", "hours_hold_the_days_events", "hours_hold_the_days_time"}
    for name in unjudged:
        assert found[name].sentence == 'PostgreSQL says: relation "marts.camera_hourly" does not exist.'
        assert (found[name].checked, found[name].failed) == (None, None)


def test_a_statement_that_takes_too_long_is_given_up(store: Warehouse, tmp_path: Path) -> None:
    with fresh_warehouse(store) as warehouse, warehouse.connect("owner") as other:
        other.execute("lock table raw.events in access exclusive mode")
        found = judge(warehouse, tmp_path / "docs", longest_seconds=0.5)
        other.rollback()
    assert found["new_person_ids_readable"].status == "could_not_check"
    assert found["new_person_ids_readable"].sentence == "It took longer than 0.5 seconds and was given up."
    assert found["hours_hold_the_days_time"].passed


def test_a_server_that_is_away_is_not_taken_for_sound(store: Warehouse, tmp_path: Path) -> None:
    found = judge(replace(store, port=1, socket_folder=None), tmp_path / "docs")
    assert {one.status for one in found.values()} == {"could_not_check"}
    assert all(one.sentence.startswith("PostgreSQL says: connection failed: ") for one in found.values())
    assert (tmp_path / "docs" / "index.html").is_file()


def test_nothing_can_be_written(store: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for rows in ("new_files", "camera_sums"):
        names = ("rows_stored", "rows_loaded") if rows == "new_files" else ("events_by_hour", "events_by_day")
        asked = f"select current_setting('transaction_read_only') as {names[0]}, 'on' as {names[1]}"
        monkeypatch.setitem(expected_rows._QUERIES, rows, asked)
    found = judge(store, tmp_path / "docs")
    assert found["new_files_stored_whole"].passed
    assert found["hours_hold_the_days_events"].passed


def test_one_user_of_an_external_server_will_do(store: Warehouse, tmp_path: Path) -> None:
    """A user for everything, as where the server gives no right to make roles; a password to be quoted; TLS options."""
    password = "p@ss/$HOME:%41 ?#"
    with store.connect_as_administrator("postgres", autocommit=True) as connection:
        connection.execute("create role somebody login superuser")
        connection.execute(sql.SQL("alter role somebody password {}").format(password))
        try:
            login = replace(store.administrator, user="somebody", password=password)
            external = replace(
                store,
                administrator=login,
                logins=dict.fromkeys(store.logins, login),
                socket_folder=None,
                options={"sslmode": "prefer", "options": "-c search_path=raw", "connect_timeout": "5"},
            )
            found = judge(external, tmp_path / "docs")
        finally:
            connection.execute("drop role somebody")
    assert {one.status for one in found.values()} == {"passed"}
    assert all(password not in page.read_text() for page in (tmp_path / "docs").iterdir())


def test_new_events_cost_what_is_new(store: Warehouse, tmp_path: Path) -> None:
    with fresh_warehouse(store) as warehouse, warehouse.connect("owner", autocommit=True) as connection:
        connection.execute(
            "insert into raw.events (event_id, person_id, camera_id, event_type, event_word, event_time, file_id,"
            " row_number, batch_id) select gen_random_uuid(), 'old ' || n, 'A', 'entry', 'entry',"
            " '2020-01-01Z'::timestamptz + n * interval '1 minute', file_id, n, batch_id"
            " from raw.files, generate_series(1, 200000) as n where file_name = 'history.csv'"
        )
        connection.execute("vacuum analyze raw.events")
        load(
            dropping_into(warehouse, tmp_path / "places"),
            csv_of(f"2024-05-07T04:{n // 60 % 60:02d}:{n % 60:02d}Z,q{n},A,entry" for n in range(300)),
            "newer.csv",
            "run-newer",
        )
        before = _rows_read(connection)
        found = judge(warehouse, tmp_path / "docs", "run-newer")
        read_whole, read_by_index = (
            after - former for after, former in zip(_rows_read(connection), before, strict=True)
        )
    assert found["new_person_ids_readable"].checked == 300
    assert found["new_files_stored_whole"].passed
    assert read_whole == 0
    # It is asked a few times, each time of the new rows alone.
    assert 300 <= read_by_index <= 300 * 10


def _rows_read(connection: psycopg.Connection[Any]) -> tuple[int, int]:
    """How many rows of raw.events were read by looking at the whole table, and by an index."""
    connection.execute("select pg_stat_force_next_flush()")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:  # a connection that was closed tells what it read as it ends
        others = connection.execute(
            "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        ).fetchone()
        if others == (0,):
            break
        time.sleep(0.05)
    row = connection.execute(
        "select seq_tup_read, idx_tup_fetch from pg_stat_user_tables where relid = 'raw.events'::regclass"
    ).fetchone()
    assert row is not None
    return row


def test_events_that_a_correction_passes_on_are_found(store: Warehouse, tmp_path: Path) -> None:
    """A better file takes an event over; retracted, it gives it back, in a batch of its own."""
    header = "timestamp,person_id,camera_id,event_type,confidence"
    with fresh_warehouse(store) as warehouse:
        dropping = dropping_into(warehouse, tmp_path / "places")
        shared = "2024-05-07T03:00:00Z,both,A,entry"
        load(dropping, csv_of([f"{shared},0.5", "2024-05-07T03:01:00Z,one,A,entry,0.5"], header), "one.csv", "run-one")
        load(dropping, csv_of([f"{shared},0.8"], header), "better.csv", "run-better")
        before = judge(warehouse, tmp_path / "before", "run-one")
        better = dropping.value("select sha256 from raw.files where file_name = 'better.csv'")
        retract_file(better, replace(dropping.context(), run_id="run-retracting"))
        after = judge(warehouse, tmp_path / "after", "run-one")
        retracted = judge(warehouse, tmp_path / "retracted", "run-better", "run-retracting")
    for found, events in ((before, 1), (after, 2), (retracted, 0)):
        assert found["new_files_stored_whole"].passed
        assert found["new_person_ids_readable"].checked == events


def test_files_of_several_runs_are_judged_together(store: Warehouse, tmp_path: Path) -> None:
    found = judge(store, tmp_path / "docs", OLD_RUN, NEW_RUN)
    assert found["new_files_stored_whole"].checked == 3
    assert found["new_person_ids_readable"].checked == 5 * 54 + 18 + len(NEW_ROWS)


class Page(HTMLParser):
    """The links and elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.elements: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"{tag} {name}={value}"
            if name in {"href", "src", "action", "data", "srcset"}:
                self.links.append(value or "")
            if name == "id":
                assert value not in self.places, value
                self.places.add(value or "")


@contextmanager
def served(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def test_the_pages_need_nothing_from_elsewhere_and_run_nothing(broken: tuple[Found, Path]) -> None:
    found, docs = broken
    pages: dict[str, Page] = {}
    with served(docs) as address:
        waiting = [address, *(address + (one.link or "").removeprefix(f"{LINK}/") for one in found.values())]
        while waiting:
            url, place = urllib.parse.urldefrag(waiting.pop())
            if url not in pages:
                assert url.startswith(address), url
                with urllib.request.urlopen(url, timeout=10) as answer:
                    pages[url] = Page(answer.read().decode())
                waiting += [urllib.parse.urljoin(url, link) for link in pages[url].links]
            assert not place or place in pages[url].places, f"{url} has no {place}"
    assert {url.removeprefix(address) for url in pages} == {"", "index.html", "raw.html", "marts.html"}
    for page in pages.values():
        assert not page.elements & {"script", "img", "link", "iframe", "object", "embed", "form", "base"}
    texts = [page.read_text() for page in sorted(docs.iterdir())]
    assert not any(SCRIPT in text or "file:" in text for text in texts)
    assert sum(text.count("&lt;script&gt;alert(1)&lt;/script&gt;") for text in texts) > 5


def test_the_pages_tell_what_great_expectations_has(broken: tuple[Found, Path], sound: tuple[Found, Path]) -> None:
    index = (broken[1] / "index.html").read_text()
    assert index.count('<span class="verdict failed">') == len(EXPECTATIONS)
    assert (sound[1] / "index.html").read_text().count('<span class="verdict passed">') == len(EXPECTATIONS)
    raw = (broken[1] / "raw.html").read_text()
    assert "unexpected values found" in raw
    assert "13 of 24 events fail (54.2 %); up to 50 % may." in raw


def test_pages_of_the_same_run_are_replaced(sound: tuple[Found, Path], store: Warehouse, tmp_path: Path) -> None:
    docs = tmp_path / "runs" / "run-7"
    judge(store, docs)
    (docs / "left.html").write_text("from before")
    judge(store, docs)
    assert sorted(entry.name for entry in docs.iterdir()) == ["index.html", "marts.html", "raw.html"]
    assert [entry.name for entry in docs.parent.iterdir()] == ["run-7"]


def test_nobody_is_told(store: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL is spoken to by libpq, so that whatever Python connects to is somebody else."""
    called: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _socket, address: called.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *asked, **_options: called.append(asked))
    assert judge(store, tmp_path / "docs")["new_person_ids_readable"].passed
    assert called == []
