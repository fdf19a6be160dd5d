"""The managers' page on real PostgreSQL: its numbers are those of the marts, and file names cannot do anything."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from serving.app import build_app
from serving.database import Database, DatabaseProblem
from serving.quality import DAYS, Overview, read_overview
from tests.integration.dropping import Dropping, csv_of, good_rows
from tests.integration.modelling import Models
from tests.integration.serving import Site, served
from tests.integration.test_models_quality import outcome, put
from validation import check_log
from warehouse.connections import Warehouse

NOW = datetime(2024, 6, 30, 10, 30, tzinfo=UTC)
FIRST = datetime(2024, 6, 1, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>/\"'><img src=x onerror=alert(1)> {{ 7*7 }} &amp; \u202egpj\n\x1b.csv"


@contextmanager
def page_of(warehouse: Warehouse, reports: Path, at: datetime = NOW) -> Iterator[Site]:
    with served(build_app(reports, Database(lambda: warehouse), clock=lambda: at)) as site:
        yield site


@asynccontextmanager
async def opened(find: Callable[[], Warehouse], **limits: Any) -> AsyncIterator[Database]:
    """A database for as long as it is needed."""
    database = Database(find, **limits)
    try:
        yield database
    finally:
        await database.close()


async def one(database: Database) -> int:
    async with database.snapshot() as connection:
        row = await (await connection.execute("select 1 as one")).fetchone()
        assert row is not None
        return int(row["one"])


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    return tmp_path / "reports"


@pytest.fixture
def site(models: Models, reports: Path) -> Iterator[Site]:
    models.build()
    with page_of(models.warehouse, reports) as site:
        yield site


def test_an_empty_store_says_that_nothing_arrived(site: Site) -> None:
    answer = site.get("/quality")
    assert answer.status == 200
    assert "In the last 30 days no file arrived." in answer.words
    assert "Data version" in answer.words
    assert "<table" not in answer.text
    assert "held back" not in answer.words


def test_before_the_models_are_made_there_is_a_page_all_the_same(warehouse: Warehouse, reports: Path) -> None:
    with page_of(warehouse, reports) as site:
        answer = site.get("/quality")
    assert answer.status == 200
    assert "There are no figures yet." in answer.words


def test_every_number_is_that_of_the_marts(models: Models, reports: Path, tmp_path: Path) -> None:
    """Files as they come: good, flawed, empty, unreadable, unusable, late, over several days and sites."""
    house = Dropping(models.warehouse, tmp_path / "home", tmp_path / "landing")
    bad = "not a time,p,CAM-1,entry"
    for number in range(12):
        house.now = NOW - timedelta(days=number * 2, hours=number)
        folder = "" if number % 3 else "shop/"
        rows = good_rows(40 + number * 100, f"P{number}-")
        house.load(csv_of([*rows, *[bad] * (number % 3)]), f"{folder}day {number}.csv")
    house.now = NOW - timedelta(days=1)
    house.load(csv_of([]), "empty.csv")
    house.load(csv_of([*good_rows(3, "Q"), bad]), "unusable.csv")
    house.load(b"a,b\n1,2\n", "no columns.csv")
    models.build()
    with page_of(models.warehouse, reports) as site:
        answer = site.get("/quality")
    assert answer.status == 200

    with models.warehouse.connect("bi_reader") as reader:

        def told(query: str) -> list[list[str]]:
            return [["" if cell is None else str(cell) for cell in row] for row in reader.execute(query).fetchall()]  # type: ignore[call-overload]

        sums = ", ".join(
            f"to_char(sum({column}), 'FM999,999,990')"
            for column in (
                *("files_received", "files_usable", "files_with_warnings", "files_quarantined", "files_late"),
                *("rows_read", "rows_loaded", "rows_rejected", "rows_duplicate", "rows_held"),
            )
        )
        share = "sum(rows_rejected)::float8 / nullif(sum(rows_read), 0)"
        days = told(f"select arrival_date, {sums}, {share} from marts.quality_daily group by 1 order by 1 desc")
        (everything,) = told(f"select 'All', {sums}, {share} from marts.quality_daily")
        files = told(
            "select to_char(arrived_at, 'YYYY-MM-DD HH24:MI'), file_name, to_char(rows_read, 'FM999,990'),"
            " to_char(rows_loaded, 'FM999,990'), to_char(rows_rejected, 'FM999,990')"
            " from marts.file_quality order by arrived_at desc, file_id desc"
        )
        version, at = told("select version, to_char(published_at, 'YYYY-MM-DD HH24:MI') from marts.data_version")[-1]

    def shown(row: list[str]) -> list[str]:
        return [*row[:-1], f"{100 * float(row[-1]):.1f}".removesuffix(".0") + " %" if row[-1] else ""]

    table = answer.cells("days")
    assert table[1:-1] == [shown(row) for row in days]
    assert table[-1] == shown(everything)
    assert len(days) > 8
    recent = answer.cells("recent")
    assert [[row[0], row[1], *row[3:]] for row in recent[1:]] == files
    assert len(files) == 15
    assert f"Data version {version} , published {at} UTC." in answer.words
    assert (
        f"In the last 30 days 15 files arrived; 13 are usable; {shown(everything)[-1]} of rows were rejected; "
        "2 quarantined files wait for somebody, the oldest for 1 day." in answer.words
    )
    titles = dict(re.findall(r"<title>([\d-]{10}): ([^<]*)</title>", answer.text))
    assert len(titles) == DAYS
    for row in days:
        assert titles.pop(row[0]) == f"{row[7]} loaded, {row[8]} rejected"
    assert set(titles.values()) == {"0 loaded, 0 rejected"}


def test_the_last_thirty_days_begin_at_midnight_in_utc(models: Models, reports: Path) -> None:
    microsecond = timedelta(microseconds=1)
    rows = {"rows_read": 1, "rows_loaded": 1}
    put(models, "too old", arrived_at=FIRST - microsecond, **rows)
    put(models, "just in", arrived_at=FIRST, **rows)
    put(models, "today", arrived_at=NOW, **rows)
    put(models, "waits long", "quarantined", arrived_at=FIRST - timedelta(days=400))
    models.build()
    with page_of(models.warehouse, reports) as site:
        answer = site.get("/quality")
    assert [row[1] for row in answer.cells("recent")[1:]] == ["today", "just in"]
    assert [row[0] for row in answer.cells("days")[1:]] == ["2024-06-30", "2024-06-01", "All"]
    assert answer.cells("days")[-1][1] == "2"
    # Who waits longer than that waits all the same.
    assert [row[:2] for row in answer.cells("waiting")[1:]] == [["waits long", "429 days"]]
    assert (
        "In the last 30 days 2 files arrived; 2 are usable; 0 % of rows were rejected; "
        "1 quarantined file waits for somebody, for 429 days." in answer.words
    )
    with page_of(models.warehouse, reports, at=datetime(2024, 7, 1, tzinfo=UTC)) as site:
        assert [row[1] for row in site.get("/quality").cells("recent")[1:]] == ["today"]


def test_each_state_has_its_words_and_a_link_where_there_is_a_report(models: Models, reports: Path, site: Site) -> None:
    full = {"rows_read": 5, "rows_loaded": 5}
    numbers = {
        "good": put(models, "good", **full),
        "flawed": put(models, "flawed", rows_read=5, rows_loaded=4, rows_rejected=1),
        "empty": put(models, "empty"),
        "late": put(models, "late", **full, last_event_time=FIRST, first_event_time=FIRST, arrived_at=NOW),
        "waits": put(models, "waits", "quarantined"),
        "mended": put(models, "mended", "quarantined"),
        "gone": put(models, "gone", "retracted"),
        "broken": put(models, "broken", "failed"),
        "under way": put(models, "under way", "loading"),
    }
    numbers["mending"] = put(models, "mending", **full, repairs_file_id=numbers["mended"])
    folder = reports / "files" / str(numbers["waits"])
    folder.mkdir(parents=True)
    (folder / "index.html").write_text("the report")
    (reports / "files" / str(numbers["good"])).mkdir()
    models.owner.execute(
        "insert into raw.file_reports (file_id, told_of, run_id, verdict) select file_id, finished_at, 'r',"
        " 'Not usable: <i>waits</i>.' from raw.files where file_name = 'waits'"
    )
    answer = site.get("/quality")
    verdicts = {row[1].split(" Not usable:")[0]: row[2] for row in answer.cells("recent")[1:]}
    assert verdicts == {
        "good": "Usable",
        "flawed": "Usable, with warnings",
        "empty": "Usable, but empty",
        "late": "Usable Late",
        "waits": "Not usable",
        "mended": "Not usable, but repaired",
        "gone": "Retracted",
        "broken": "Broke off, is tried again",
        "under way": "Being loaded",
        "mending": "Usable",
    }
    assert "Not usable: <i>waits</i>." in answer.words
    assert "<i>" not in answer.text
    links = re.findall(r'href="(/reports/[^"]*)"', answer.text)
    assert links == [f"/reports/files/{numbers['waits']}/"] * 2, "once among those that wait, once among all"
    assert site.get(links[0]).text == "the report"


def test_hostile_names_are_shown_and_do_nothing(models: Models, site: Site) -> None:
    put(models, HOSTILE, "quarantined", arrived_at=NOW)
    with models.warehouse.connect("loader") as loader:
        check_log.record(loader, "r", [replace(outcome("a", "failed"), title=HOSTILE, sentence=HOSTILE)])
    answer = site.get("/quality")
    assert answer.status == 200
    for markup in ("<script", "<img", "\u202e", "\x1b", "49 "):
        assert markup not in answer.text, markup
    shown = HOSTILE.replace("\u202e", r"\u202e").replace("\n", r"\n").replace("\x1b", r"\x1b")
    assert answer.words.count(shown) == 4, "among those that wait, among all, and twice in the note"


def test_publication_that_is_held_back_is_told_until_there_is_a_version(models: Models, site: Site) -> None:
    def record(run_id: str, *outcomes: Any) -> None:
        with models.warehouse.connect("loader") as loader:
            check_log.record(loader, run_id, outcomes)

    record("1", outcome("warned", "failed", "expectations"))
    assert "held back" not in site.get("/quality").words, "a warning holds nothing back"
    record("2", outcome("guard", "failed"), *[outcome(f"skipped {n}", "could_not_check") for n in range(6)])
    put(models, "in vain", finished_at=datetime.now(UTC) + timedelta(seconds=1))
    words = site.get("/quality").words
    assert "Publication is held back." in words
    assert "GUARD guard failed" in words
    assert "and 2 more" in words
    assert "What became of 1 file since then is not in it yet." in words
    assert "warned" not in words
    record("3", outcome("guard", "passed"), *[outcome(f"skipped {n}", "passed") for n in range(6)])
    assert "held back" not in site.get("/quality").words
    # A check that newer versions were published without is history.
    record("4", outcome("guard", "failed"))
    assert "held back" in site.get("/quality").words
    models.owner.execute("update raw.files set finished_at = now()")
    models.build()
    words = site.get("/quality").words
    assert "held back" not in words
    assert "not in it yet" not in words


def test_long_lists_are_cut_and_say_so(models: Models, site: Site) -> None:
    for number in range(103):
        put(models, f"waits {number}", "quarantined", arrived_at=NOW - timedelta(minutes=number))
    answer = site.get("/quality")
    assert len(answer.cells("waiting")) == len(answer.cells("recent")) == 101
    assert answer.cells("waiting")[1][0] == "waits 102", "the oldest first"
    assert answer.cells("recent")[1][1] == "waits 0", "the newest first"
    assert "And 3 younger ones." in answer.words
    assert "And 3 earlier ones" in answer.words
    assert "103 quarantined files wait for somebody, the oldest for 1 hour." in answer.words


def test_all_of_a_page_is_one_snapshot_that_can_change_nothing(models: Models, site: Site) -> None:
    async def look() -> None:
        async with opened(lambda: models.warehouse) as database:
            async with database.snapshot() as connection:
                row = await (
                    await connection.execute(
                        "select current_user as who, current_setting('transaction_isolation') as isolation,"
                        " current_setting('transaction_read_only') as read_only,"
                        " current_setting('statement_timeout') as timeout"
                    )
                ).fetchone()
                told = {"who": "footfall_api", "isolation": "repeatable read", "read_only": "on", "timeout": "5s"}
                assert row == told
                before = await read_overview(connection, NOW)
                put(models, "meanwhile", arrived_at=NOW)
                assert (await read_overview(connection, NOW)).total == before.total
                with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                    await connection.execute("create table serving.x (y int)")
            async with database.snapshot() as connection:
                assert (await read_overview(connection, NOW)).total["files_received"] == 1

    asyncio.run(look())


def test_a_slow_database_is_not_waited_for(models: Models) -> None:
    async def look() -> None:
        async with opened(lambda: models.warehouse, statement_seconds=0.1) as database:
            with pytest.raises(DatabaseProblem, match="too busy"):
                async with database.snapshot() as connection:
                    await connection.execute("select pg_sleep(30)")

    asyncio.run(look())


def test_no_more_connections_than_a_few(models: Models) -> None:
    async def look() -> None:
        async with opened(lambda: models.warehouse, at_most=1, wait_seconds=0.5) as database:
            async with database.snapshot():
                with pytest.raises(DatabaseProblem, match="Too much is being asked"):
                    async with database.snapshot():
                        pass
            assert await one(database) == 1

    asyncio.run(look())


def test_a_database_that_moved_is_found_again(models: Models) -> None:
    found: list[Warehouse] = []

    def find() -> Warehouse:
        found.append(models.warehouse)
        return models.warehouse

    async def look() -> None:
        async with opened(find, wait_seconds=2) as database:
            async with database.snapshot(), database.snapshot():
                pass
            assert len(found) == 1
            with models.warehouse.connect_as_administrator("postgres", autocommit=True) as server:
                allow = "alter database {} with allow_connections {}"
                server.execute(allow.format(models.warehouse.database, "false"))  # type: ignore[call-overload]
                end = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'footfall_api'"
                server.execute(end)
                with pytest.raises(DatabaseProblem, match="does not answer"):
                    await one(database)
                server.execute(allow.format(models.warehouse.database, "true"))  # type: ignore[call-overload]
            assert await one(database) == 1
            assert len(found) == 2, "it was looked for again"

    asyncio.run(look())


@pytest.mark.soak
def test_many_pages_at_once(site: Site) -> None:
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(site.get("/quality").status)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 12


def test_after_an_update_the_page_waits_for_the_models(models: Models, site: Site) -> None:
    with models.warehouse.connect("transformer") as connection:
        connection.execute("drop view marts.quality_daily")
    answer = site.get("/quality")
    assert (answer.status, "There are no figures yet." in answer.words) == (200, True)


@pytest.mark.soak
def test_the_first_of_the_days_is_that_of_the_chart(models: Models, site: Site) -> None:
    put(models, "one", arrived_at=NOW, rows_read=1, rows_loaded=1)

    async def look() -> Overview:
        async with opened(lambda: models.warehouse) as database, database.snapshot() as connection:
            return await read_overview(connection, NOW)

    overview = asyncio.run(look())
    assert (overview.first, overview.last) == (date(2024, 6, 1), date(2024, 6, 30))
    assert [bar.day for bar in overview.bars][:: DAYS - 1] == [overview.first, overview.last]
