"""The stack as a user has it: a dropped file becomes marts, fallen parts come back, and nothing is left behind.

With runs and dbt kept warm, and, where there is the time for it (`make soak`), all of it again in Dagster's own ways.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urlsplit

import psutil
import psycopg
import pytest

from orchestration.settings import PROJECT
from tests.end_to_end.conftest import Installation, installed, until
from tests.end_to_end.crawling import crawl
from tests.integration.flawed import empty_ids
from validation.expectations import EXPECTATIONS
from validation.sample import SampleTruth, write_sample
from warehouse.embedded import EmbeddedPostgres

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(900)]

PARTS = ["run template", "code server", "daemon", "web server", "page server"]


@pytest.fixture(scope="module")
def first_day(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SampleTruth]:
    path = tmp_path_factory.mktemp("samples") / "first day.csv"
    return path, write_sample(path, 1500, 1, 11)


@pytest.fixture(scope="module", params=[True, pytest.param(False, marks=pytest.mark.soak)], ids=["warm", "plain"])
def installation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("footfall end to end"), warm=request.param) as there:
        yield there


@pytest.fixture(scope="module")
def stack(installation: Installation) -> Installation:
    """A stack that runs."""
    installation.start()
    return installation


def finished(stack: Installation) -> None:
    """Wait until the last run has succeeded: in the middle of one, models are of different ages."""
    until(lambda: stack.last_run() == "SUCCESS", "the last run to succeed")


def everything(stack: Installation) -> Any:
    """A print of what the marts hold."""
    return stack.value(
        "select md5(string_agg(s::text, '|' order by session_id))"
        " || (select md5(string_agg(e::text, '|' order by event_id)) from marts.camera_events as e)"
        " || (select k::text from marts.kpis as k) from marts.person_sessions as s"
    )


def events(stack: Installation) -> Any:
    return stack.value("select events from marts.kpis")


def test_a_dropped_file_reaches_the_marts(stack: Installation, first_day: tuple[Path, SampleTruth]) -> None:
    path, truth = first_day
    stack.drop(path, 'día 1, it\'s "quoted".csv')
    until(lambda: events(stack) == truth.events, "the events to be in the marts")
    finished(stack)
    assert (
        stack.value("select count(*) from marts.person_sessions where status = 'complete'") == truth.complete_sessions
    )
    assert not list(stack.landing.glob("*.csv"))


def test_the_quality_page_tells_of_it(stack: Installation) -> None:
    page = stack.page("/quality")
    assert page is not None
    assert "In the last 30 days 1 file arrived; 1 is usable;" in page
    assert "día 1, it&#39;s &#34;quoted&#34;.csv" in page
    assert f"{stack.pages_url}/quality" in stack.said()


_CHECKS = """query {
  assetNodeOrError(assetKey: {path: ["raw", "events"]}) { ... on AssetNode { assetChecksOrError { ... on AssetChecks {
    checks { name executionForLatestMaterialization { status evaluation {
      success description metadataEntries { label ... on UrlMetadataEntry { url } }
    } } }
  } } } }
}"""


def checks(stack: Installation) -> dict[str, Any]:
    """What Dagster shows of the checks of raw/events, by name; those that were never made are left out."""
    found = stack.graphql(_CHECKS)["assetNodeOrError"]["assetChecksOrError"]["checks"]
    executions = {check["name"]: check["executionForLatestMaterialization"] for check in found}
    return {name: execution["evaluation"] for name, execution in executions.items() if execution}


def checked(stack: Installation) -> dict[str, Any] | None:
    """The same, once none is being made any more."""
    found = checks(stack)
    return found if all(found.values()) else None


def test_a_flawed_file_is_told_of_wherever_people_look_and_no_link_is_dead(stack: Installation, tmp_path: Path) -> None:
    """From the managers' page to reports, rejected rows and Data Docs; and to those from a check in Dagster."""
    (tmp_path / "flawed.csv").write_bytes(empty_ids())
    stack.drop(tmp_path / "flawed.csv", "empty <ids>.csv")

    def docs() -> list[str]:
        links = crawl(f"{stack.pages_url}/quality")
        mine = [address for address, status in links.seen.items() if status == 200]
        reported = stack.value("select verdict from marts.file_quality where file_name = 'empty <ids>.csv'")
        return [address for address in mine if "/reports/expectations/" in address] if reported else []

    until(docs, "the report with what was expected")
    found = crawl(f"{stack.pages_url}/quality")
    assert not found.dead()
    assert {address for address in found.elsewhere if not address.startswith(stack.url)} == set()
    pages = [urlsplit(address).path for address in found.seen]
    assert sum(page.startswith("/reports/files/") and page.endswith("/rejects.csv") for page in pages) >= 2
    assert "120 of 400 rows rejected (30 %)" in (stack.page("/quality") or "")

    told = until(lambda: checked(stack), "the checks to be made")
    assert not told["required_values_present"]["success"]
    assert "120 of 400 rows fail (30 %)" in told["required_values_present"]["description"]
    assert not told["files_usable"]["success"]
    assert told["rows_add_up"]["success"]
    links = [
        entry["url"]
        for check in told.values()
        for entry in check["metadataEntries"]
        if entry.get("url", "").startswith(f"{stack.pages_url}/reports/expectations/")
    ]
    assert len(links) == sum(one.table == "events" for one in EXPECTATIONS)
    for link in links:
        address, place = urldefrag(link)
        assert crawl(address).places[address] >= {place}


def test_the_page_server_knows_no_password_of_dagster(stack: Installation) -> None:
    environment = psutil.Process(stack.record()["children"]["page server"]["pid"]).environ()
    assert "FOOTFALL_HOME" in environment
    assert not [name for name in environment if "DAGSTER_URL" in name or name.startswith("DAGSTER")]


def test_the_same_content_under_another_name_loads_nothing(
    stack: Installation, first_day: tuple[Path, SampleTruth]
) -> None:
    path, truth = first_day
    before = everything(stack)
    stack.drop(path, "again.csv")
    until(lambda: not (stack.landing / "again.csv").exists(), "the file to be taken")
    finished(stack)
    assert events(stack) == truth.events
    assert everything(stack) == before


def test_what_the_commands_say_of_a_running_stack(stack: Installation) -> None:
    second = stack.run("up")
    assert second.returncode == 1
    assert f"Footfall is running already (process {stack.record()['keeper']['pid']}): {stack.url}" in second.stderr
    status = stack.run("status")
    assert status.returncode == 0, status
    assert stack.url in status.stdout
    assert f"Quality      {stack.pages_url}/quality" in status.stdout
    assert "answer (yet)" not in status.stdout
    assert "again.csv" in status.stdout or "loaded" in status.stdout
    doctor = stack.run("doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "all of Dagster's daemons live" in doctor.stdout
    assert f"{stack.pages_url} answers." in doctor.stdout
    count = stack.run("psql", "-Atc", "select events from kpis")
    assert (count.returncode, count.stdout.strip()) == (0, str(events(stack)))


@pytest.mark.soak
def test_a_file_ingested_beside_the_running_stack_is_loaded_once(stack: Installation, tmp_path: Path) -> None:
    path = tmp_path / "beside.csv"
    before = events(stack)
    truth = write_sample(path, 400, 1, 12, flaws=False)
    done = stack.run("ingest", str(path))
    assert done.returncode == 0, done
    assert f"{truth.rows:,} of {truth.rows:,} rows loaded" in done.stdout
    assert path.exists(), "a file from elsewhere is copied, not moved"
    assert events(stack) == before + truth.events


@pytest.mark.soak
def test_what_a_user_edits_is_heeded_by_itself_and_a_file_can_be_taken_back(
    stack: Installation, tmp_path: Path
) -> None:
    before = everything(stack)
    file = tmp_path / "door.csv"
    signals = [("09:00", "entry"), ("09:10", "exit"), ("09:20", "entry"), ("09:30", "exit")]
    rows = [f"2024-05-01 {time}:00,ann,DOOR,{word}\n" for time, word in signals]
    file.write_text("timestamp,person_id,camera_id,event_type\n" + "".join(rows))
    stack.drop(file, "door.csv")

    def visits() -> Any:
        starts = "array_agg(to_char(start_time at time zone 'UTC', 'HH24:MI') order by start_time)"
        return stack.value(f"select {starts} from marts.visits where person_id = 'ann' and start_time < '2024-05-02'")

    until(lambda: visits() == ["09:00"], "the visit to be in the marts")
    finished(stack)
    stack.home.joinpath("cameras.csv").write_text("camera_id,timezone\nDOOR,Europe/Berlin\n")
    until(lambda: visits() == ["07:00"], "the camera's new time zone to be heeded")
    stack.config.write_text("visit_gap_minutes = 5\n")
    until(lambda: visits() == ["07:00", "07:20"], "the new setting to be heeded")
    stack.config.write_text("")
    until(lambda: visits() == ["07:00"], "the old setting to be heeded")
    finished(stack)

    done = stack.run("retract", "door.csv")
    assert done.returncode == 0, done
    assert "Retracted: door.csv" in done.stdout
    status = stack.run("status")
    assert f"Data version {stack.value('select max(version) from marts.data_version')}, published" in status.stdout
    stack.home.joinpath("cameras.csv").write_text("camera_id\n")
    until(lambda: everything(stack) == before, "all to be as it was")
    finished(stack)


@contextmanager
def sleeping(stack: Installation, role: str, table: str) -> Iterator[None]:
    """Have an insertion take very long, though nothing is in its way."""
    schema, _ = table.split(".")
    with EmbeddedPostgres(stack.home).warehouse().connect(role, autocommit=True) as connection:
        body = "begin perform pg_sleep(600); return null; end"
        for statement in (
            f"create function {schema}.sleep() returns trigger language plpgsql as '{body}'",
            f"create trigger sleep before insert on {table} for each statement execute function {schema}.sleep()",
        ):
            connection.execute(statement)  # type: ignore[arg-type]
        try:
            yield
        finally:
            connection.execute("set lock_timeout = '1s'")
            until(lambda: woken(stack, connection, f"drop function {schema}.sleep cascade"), "nobody to sleep any more")


def woken(stack: Installation, connection: psycopg.Connection[Any], drop: str) -> bool:
    """Wake whoever sleeps by now, and put an end to it; False where another has gone to sleep meanwhile."""
    asleep(stack, "pg_cancel_backend(pid)")
    with suppress(psycopg.errors.LockNotAvailable):
        connection.execute(drop)  # type: ignore[arg-type]
        return True
    return False


def asleep(stack: Installation, what: str = "pid") -> set[Any]:
    """The server's processes whose statement sleeps, whoever's it is."""
    warehouse = EmbeddedPostgres(stack.home).warehouse()
    with warehouse.connect_as_administrator(warehouse.database) as connection:
        query = f"select {what} from pg_stat_activity where wait_event = 'PgSleep'"
        return {found for (found,) in connection.execute(query).fetchall()}  # type: ignore[arg-type]


def committed(stack: Installation) -> Any:
    """What loads and increments have committed, and whether a version was published."""
    with EmbeddedPostgres(stack.home).warehouse().connect("transformer") as connection:
        return connection.execute(
            "select (select array_agg(m::text order by model) from intermediate.model_states as m),"
            " (select max(version) from marts.data_version), (select max(batch_id) from raw.batches)"
        ).fetchone()


def settled(stack: Installation) -> Any:
    """What is committed, once that has stayed the same for a while."""
    before = committed(stack)
    time.sleep(3)
    return before if committed(stack) == before else None


@contextmanager
def ingesting(stack: Installation, path: Path) -> Iterator[subprocess.Popen[str]]:
    """A command that loads a file, until it ends or the block does."""
    command = stack.command("ingest", str(path))
    with subprocess.Popen(command, env=stack.environment, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as ingest:
        try:
            yield ingest
        finally:
            ingest.kill()


@pytest.mark.parametrize(
    ("how", "role", "table"),
    [
        ("on the web page", "transformer", "intermediate.int_sessions"),
        ("by Ctrl-C", "owner", "raw.events"),
        pytest.param("on the web page", "owner", "raw.events", marks=pytest.mark.soak),
        pytest.param("by Ctrl-C", "transformer", "intermediate.int_sessions", marks=pytest.mark.soak),
    ],
)
def test_a_canceled_run_ends_its_statement_and_commits_nothing_more(
    stack: Installation, tmp_path: Path, how: str, role: str, table: str
) -> None:
    before = events(stack)
    path = tmp_path / f"{how} {table}.csv"
    truth = write_sample(path, 100, 1, len(how + table), flaws=False)
    with sleeping(stack, role, table), ExitStack() as held:
        ingest = held.enter_context(ingesting(stack, path)) if how == "by Ctrl-C" else None
        if ingest is None:
            stack.drop(path, path.name)
        sleepers = until(lambda: asleep(stack), "the long statement")
        run = stack.newest_run()["runId"]
        # Other models are built at the same time, and may well commit until the run is canceled.
        reached = until(lambda: settled(stack), "the other models to be done")
        began = time.monotonic()
        if ingest is not None:
            ingest.send_signal(signal.SIGINT)
        else:
            answer = stack.graphql("mutation($run: String!) { terminateRun(runId: $run) { __typename } }", run=run)
            assert answer["terminateRun"]["__typename"] == "TerminateRunSuccess", answer
        # The sensor may ask for the file again at once, and the next run come to the same place.
        until(lambda: not sleepers & asleep(stack), "the statement to end", 20)
        print(f"The statement ended after {time.monotonic() - began:.1f} s.")
        until(lambda: stack.state(run) == "CANCELED", "the run to end", 30)
        assert committed(stack) == reached
        if ingest is not None:
            told, _ = ingest.communicate(timeout=20)
            assert ingest.returncode == 130
            assert "The run was canceled." in told
            assert "Traceback" not in told
    # Nothing is lost: the next run, or the one after it, has it all in the marts.
    stack.run("ingest")
    until(lambda: events(stack) == before + truth.events, "the events to be in the marts")
    finished(stack)


def waiting_for_a_lock(stack: Installation) -> Any:
    """How many statements wait for what another has locked."""
    warehouse = EmbeddedPostgres(stack.home).warehouse()
    with warehouse.connect_as_administrator(warehouse.database) as connection:
        found = connection.execute(
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and backend_type = 'client backend'"
        ).fetchone()
        return found and found[0]


def test_a_run_outlives_the_daemon(stack: Installation, tmp_path: Path) -> None:
    before = events(stack)
    truth = write_sample(tmp_path / "outlives.csv", 200, 1, 14, flaws=False)
    with EmbeddedPostgres(stack.home).warehouse().connect("owner") as connection:
        connection.execute("lock table raw.events in share mode")
        stack.drop(tmp_path / "outlives.csv", "outlives.csv")
        until(lambda: waiting_for_a_lock(stack), "the load to wait for the lock")
        run = stack.newest_run()
        assert run["status"] == "STARTED"
        killed = stack.record()["children"]["daemon"]["pid"]
        os.kill(killed, signal.SIGKILL)
        until(
            lambda: stack.record()["children"].get("daemon", {}).get("pid") not in {None, killed},
            "the daemon to be back",
        )
        until(stack.is_ready, "the stack to be ready again")
        assert stack.newest_run() == run, "the same run, which still waits"
    until(lambda: events(stack) == before + truth.events, "the events to be in the marts")
    finished(stack)
    assert stack.newest_run()["runId"] == run["runId"]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_killed_comes_back(stack: Installation, part: str) -> None:
    if part == "run template" and not stack.warm:
        assert part not in stack.record()["children"]
        return
    before = everything(stack)
    killed = stack.record()["children"][part]["pid"]
    os.kill(killed, signal.SIGKILL)
    until(lambda: stack.record()["children"].get(part, {}).get("pid") not in {None, killed}, f"the {part} to be back")
    assert f"The {part} was ended by SIGKILL" in stack.said()
    until(stack.is_ready, "the stack to be ready again")
    assert everything(stack) == before


def test_postgres_that_is_killed_comes_back_with_the_same_data(stack: Installation) -> None:
    before = everything(stack)
    killed = stack.postmaster()
    os.kill(killed, signal.SIGKILL)
    until(lambda: everything(stack) is not None and stack.postmaster() != killed, "PostgreSQL to be back")
    assert "PostgreSQL is gone" in stack.said()
    until(lambda: stack.page("/quality"), "the quality page to be back")
    assert everything(stack) == before


def test_after_all_that_a_dropped_file_still_reaches_the_marts(stack: Installation, tmp_path: Path) -> None:
    before = events(stack)
    truth = write_sample(tmp_path / "later.csv", 300, 1, 13, flaws=False)
    stack.drop(tmp_path / "later.csv", "later.csv")
    until(lambda: events(stack) == before + truth.events, "the events to be in the marts")
    finished(stack)


def test_a_killed_keeper_leaves_nothing_and_the_next_start_works(stack: Installation) -> None:
    before = everything(stack)
    assert stack.up is not None
    stack.up.kill()
    stack.up.wait()
    until(lambda: not stack.processes(), "everything to be cleared away", 60)
    stack.start()
    assert everything(stack) == before


def test_down_stops_everything(stack: Installation) -> None:
    keeper = psutil.Process(stack.record()["keeper"]["pid"])
    assert stack.up is not None
    assert stack.up.pid == keeper.pid
    down = stack.run("down")
    assert (down.returncode, down.stdout.strip()) == (0, "Stopped.")
    assert stack.up.wait(10) == 0
    assert stack.processes() == []
    assert stack.record() == {}
    assert stack.run("down").stdout.strip() == "Footfall is not running."
    assert stack.run("status").returncode == 3
