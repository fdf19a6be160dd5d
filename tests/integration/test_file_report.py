"""Reports on files, of a real PostgreSQL: every figure equals what another query says, whatever became of the file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import dagster as dg
import pytest

from orchestration.jobs import INGEST, RELEASE, REPLAY, RETRACT, correction_config
from orchestration.resources import Footfall
from tests.integration.dropping import HEADER, csv_of
from tests.integration.orchestrating import run_job
from validation.file_report import NoSuchFile, read_report
from validation.ledger import Ledger
from validation.report_facts import FileReport
from validation.report_writing import Written, files_to_report, prune_reports, write_report
from validation.sample import write_sample

ADDRESS = "http://localhost:8000/reports"
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


@dataclass
class Desk:
    """Files are dropped, judged by the job, and reported on."""

    footfall: Footfall
    instance: dg.DagsterInstance

    def drop(self, name: str, rows: Sequence[str] = (), header: str = HEADER, content: bytes | None = None) -> None:
        path = self.footfall.settings.landing / name
        path.write_bytes(csv_of(rows, header) if content is None else content)
        # Files are taken in the order of their age.
        age = 1000 - len(list(self.footfall.settings.landing.iterdir()))
        os.utime(path, (path.stat().st_mtime - age,) * 2)

    def run(self, job: str = INGEST, *files: str, **options: Any) -> None:
        config = correction_config(job, list(files), quiet=True) if files else None
        assert run_job(self.footfall, self.instance, job, config, **options).success or options

    def id_of(self, name: str) -> int:
        return int(self.row("select max(file_id) from raw.files where file_name = %s", name)[0])

    def read(self, name: str) -> FileReport:
        with self.footfall.warehouse.connect("maintainer", autocommit=True) as connection:
            return read_report(connection, self.id_of(name))

    def write(self, name: str, expectations_run_id: str | None = None) -> Written:
        settings = self.footfall.settings
        with self.footfall.warehouse.connect("maintainer", autocommit=True) as connection:
            written = write_report(
                connection,
                self.id_of(name),
                "report run",
                folder=settings.reports,
                archive=settings.home / "archive",
                address=ADDRESS,
                expectations_run_id=expectations_run_id,
            )
        assert (
            written.verdict == self.row("select verdict from raw.file_reports where file_id = %s", written.file_id)[0]
        )
        no_dead_link(written.path)
        return written

    def due(self) -> list[int]:
        with self.footfall.warehouse.connect("maintainer", autocommit=True) as connection:
            return [due.file_id for due in files_to_report(connection, 100)]

    def write_all_that_is_due(self) -> None:
        for file_id in self.due():
            self.write(self.row("select file_name from raw.files where file_id = %s", file_id)[0])
        assert self.due() == []

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self.footfall.warehouse.connect("maintainer", autocommit=True) as connection:
            return connection.execute(query, values).fetchall()  # type: ignore[call-overload]

    def row(self, query: str, *values: object) -> tuple[Any, ...]:
        (row,) = self.rows(query, *values)
        return row


@pytest.fixture
def desk(footfall: Footfall, instance: dg.DagsterInstance) -> Desk:
    return Desk(footfall, instance)


def no_dead_link(page: Path) -> None:
    """Every page that a page leads to is there, or is one of a file that has none yet."""

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            for name, value in attrs:
                if name in {"href", "src"} and value is not None and not value.startswith("http"):
                    assert (page.parent / unquote(value)).exists(), value

    Links().feed(page.read_text())


def text_of(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def test_every_figure_is_what_the_tables_say(desk: Desk) -> None:
    truth = write_sample(desk.footfall.settings.landing / "cam-north 14:00.csv", 2000, 1, 7)
    write_sample(desk.footfall.settings.landing / "other.csv", 300, 1, 8)
    desk.run()
    file_id = desk.id_of("cam-north 14:00.csv")
    report = desk.read("cam-north 14:00.csv")

    # The account, as the sample's writer knows it.
    account = report.outcome.account
    assert account is not None
    assert (account.rows_read, account.rows_rejected) == (truth.rows, truth.rejected)
    assert account.rows_read == account.rows_loaded + account.rows_rejected + account.rows_duplicate
    assert account.rows_loaded == desk.row("select count(*) from raw.events where file_id = %s", file_id)[0]
    assert account.rows_duplicate == desk.row("select count(*) from raw.duplicates where file_id = %s", file_id)[0]

    # Rejected rows.
    assert {one.code: one.rows for one in report.reasons} == dict(
        desk.rows(
            "select code, count(*) from (select distinct code, row_number from raw.rejects where file_id = %s) as one"
            " group by code",
            file_id,
        )
    )
    first = desk.row("select min(row_number) from raw.rejects where file_id = %s and code = 'missing_value'", file_id)
    assert next(one for one in report.reasons if one.code == "missing_value").first_rows[0] == first[0]
    for sample in report.samples:
        raw = desk.row(
            "select raw_text from raw.rejects where file_id = %s and row_number = %s limit 1",
            file_id,
            sample.row_number,
        )[0]
        person = raw.split(",")[1] if raw.count(",") > 3 else ""
        assert len(person) <= 2 or person not in f"{sample.sentence} {sample.raw_text}"
        assert raw[:2] in {sample.raw_text[:2], "\ufeff"}

    # Checks, row by row as they were kept.
    run_id = desk.row("select run_id from raw.files where file_id = %s", file_id)[0]
    kept = desk.rows(
        "select schema_name, table_name, name, status from raw.check_outcomes"
        " where run_id = %s and (file_id is null or file_id = %s)",
        run_id,
        file_id,
    )
    told = [(one.outcome.schema, one.outcome.table, one.outcome.name, one.outcome.status) for one in report.checks]
    assert sorted(told) == sorted(kept)
    assert {one.outcome.layer for one in report.checks} == {"rows", "relations"}

    # Events, seen from the ledger's other side: by the file of each event in the marts.
    events = report.events
    stated = "(select person_id, camera_id, event_time, end_time from raw.events where file_id = %s"
    stated += (
        " union all select person_id, camera_id, event_time, end_time from raw.duplicates where file_id = %s) as s"
    )
    by_camera = {camera.camera_id: camera for camera in events.cameras}
    counted = desk.rows(
        "select camera_id, count(*), min(event_time), greatest(max(event_time), max(end_time))"
        f" from {stated} group by camera_id",
        file_id,
        file_id,
    )
    assert {(one.camera_id, one.events, one.first, one.last) for one in events.cameras} == set(counted)
    assert (events.rows, events.persons, events.hours) == desk.row(
        "select count(*), count(distinct person_id), count(distinct to_char(event_time, 'YYYYMMDDHH24'))"
        f" from {stated}",
        file_id,
        file_id,
    )
    assert sum(bar.events for bar in events.bars) == events.rows
    one = events.cameras[0]
    times = sorted(
        at
        for (at,) in desk.rows(f"select event_time from {stated} where camera_id = %s", file_id, file_id, one.camera_id)
    )
    gaps = [(after - before, before, after) for before, after in pairwise(times)]
    longest = max(gap for gap, _, _ in gaps)
    assert (longest, one.gap_from, one.gap_to) in gaps
    assert one.usual_gap is not None
    assert one.usual_gap.total_seconds() == pytest.approx(
        sorted(gap.total_seconds() for gap, _, _ in gaps)[len(gaps) // 2], abs=2
    )
    for camera, *links in desk.rows(
        """
        select
            camera_id, count(*) filter (where is_entry and not is_repeat),
            count(*) filter (where is_exit and not is_repeat), count(distinct session_id),
            count(*) filter (where is_entry and session_id in (
                select session_id from marts.person_sessions where status = 'missing_exit')),
            count(*) filter (where is_entry and session_id in (
                select session_id from marts.person_sessions where status = 'open')),
            count(*) filter (where event_id in (select event_id from marts.unmatched_exits))
        from marts.camera_events
        where (person_id, camera_id, event_time) in (
            select person_id, camera_id, event_time from raw.events where file_id = %s
            union all select person_id, camera_id, event_time from raw.duplicates where file_id = %s
        )
        group by camera_id
        """,
        file_id,
        file_id,
    ):
        found = by_camera[camera].links
        assert found is not None
        assert [
            found.entries, found.exits, found.sessions, found.without_exit, found.still_open, found.unmatched_exits
        ] == links  # fmt: skip
    assert events.links is not None
    assert events.links.unmatched_exits == sum(
        camera.links.unmatched_exits for camera in events.cameras if camera.links
    )
    assert report.ahead == []

    # What the marts took in.
    publication = report.publication
    assert publication is not None
    version, published_at = desk.row("select version, published_at from marts.data_version")
    arrived_at = desk.row("select arrived_at from raw.files where file_id = %s", file_id)[0]
    assert (publication.version, publication.after) == (version, published_at - arrived_at)
    assert publication.events == account.rows_loaded

    # Both forms, and the note of it.
    assert desk.due() == [file_id, desk.id_of("other.csv")]
    written = desk.write("cam-north 14:00.csv")
    assert desk.due() == [desk.id_of("other.csv")]
    for form in (written.markdown, written.path.read_text(), written.path.with_name("report.md").read_text()):
        assert f"{truth.rows:,}" in form
        assert f"Data version {version}" in form
    assert written.markdown.count(f"]({ADDRESS}/") == written.path.read_text().count('href="../../')
    assert written.verdict.startswith(f"Usable, with warnings: cam-north 14:00.csv, {account.rows_loaded:,} of 2,000 ")
    with desk.footfall.warehouse.connect("maintainer", autocommit=True) as connection, pytest.raises(NoSuchFile):
        read_report(connection, 4711)


def test_trends_and_drift_over_files_of_one_source(desk: Desk) -> None:
    def rows(day: int, *more: str) -> list[str]:
        return [f"2024-05-{day:02d} 10:{i:02d}:00,P{day}{i},C1,entry,x" for i in range(30)] + list(more)

    header = f"{HEADER},remark"
    desk.drop("1.csv", rows(1), header)
    desk.drop("2.csv", rows(2), header)
    desk.drop("3.csv", rows(3, "2024-05-03 11:00:00,,C1,entry,x"), header)
    desk.drop("4.csv", rows(4, "2024-05-04 11:00:00,,C1,entry,x"), header)
    desk.run()
    new = ["2024-05-05 11:00:00,,C1,entry,x,1", "2024-05-05 12:00:00,P,C9,loitering,x,1"]
    desk.drop("5.csv", [f"{row},1" for row in rows(5)] + new, f"{HEADER},remarks,lane")
    desk.drop("far.csv", ["2024-05-01 10:00:00,P,C1,entry"])
    desk.run()
    report = desk.read("5.csv")

    lines = {line.outcome.name: line for line in report.checks}
    missing = lines["required_values_present"]
    assert (missing.passed_in, missing.judged_in) == (2, 5)
    assert missing.failing_since is not None
    assert (missing.failing_since.name, missing.failing_since.file_id) == ("3.csv", desk.id_of("3.csv"))
    readable = lines["timestamps_readable"]
    assert (readable.passed_in, readable.judged_in, readable.failing_since) == (5, 5, None)
    # A check of whole tables has been judged in both runs, for each of their files.
    assert (lines["rows_add_up"].passed_in, lines["rows_add_up"].judged_in) == (5, 5)
    assert report.checks[0].outcome.name == "required_values_present", "what failed comes first"
    assert [one.name for one in report.earlier] == ["5.csv", "4.csv", "3.csv", "2.csv", "1.csv"]
    assert [one.rejected_share for one in report.earlier] == [1 / 32, 1 / 31, 1 / 31, 0, 0]

    drift = report.drift
    assert drift.compared_with is not None
    assert drift.compared_with.name == "4.csv"
    assert (drift.new_columns, drift.missing_columns, drift.renamed_columns) == (
        ("lane",),
        (),
        (("remark", "remarks"),),
    )
    assert (drift.new_cameras, drift.new_words, drift.files_read) == (("C9",), ("loitering",), 4)
    text = desk.write("5.csv").markdown
    assert "passed in 2 of the last 5; failing since `3.csv` on" in text
    assert "Column `remark` is now called `remarks`, it seems." in text

    # The one before has nothing new, and knows nothing of what came later.
    assert desk.read("4.csv").drift.is_none
    assert desk.read("4.csv").drift.new_cameras == ()
    assert desk.read("3.csv").checks[0].failing_since == next(one for one in report.earlier if one.name == "3.csv")
    assert desk.read("1.csv").drift.compared_with is None
    assert "failing since" not in desk.write("2.csv").markdown


def test_a_camera_that_goes_silent_and_one_whose_clock_is_ahead(desk: Desk) -> None:
    """Five Mondays (or whatever yesterday was), ten hours each; on the last, C2 pauses and C3 says nothing."""
    first = NOW.replace(hour=8) - timedelta(days=1)

    def monday(weeks_ago: int, camera: str, *silent: int) -> list[str]:
        start = first - timedelta(weeks=weeks_ago)
        times = [start + timedelta(minutes=10 * i) for i in range(60)]
        return [f"{text_of(at)},P{i},{camera},entry" for i, at in enumerate(times) if at.hour not in silent]

    for weeks_ago in (4, 3, 2, 1):
        rows = [row for camera in ("C1", "C2", "C3") for row in monday(weeks_ago, camera)]
        desk.drop(f"week {weeks_ago}.csv", rows)
    desk.run()
    ahead = NOW + timedelta(hours=3)
    desk.drop("today.csv", [*monday(0, "C1"), *monday(0, "C2", 12, 13, 14), f"{text_of(ahead)},X,C4,entry"])
    desk.run()
    report = desk.read("today.csv")
    silences = report.events.silences
    assert silences is not None
    at = first.replace
    assert [(one.camera_id, one.start, one.end) for one in silences] == [
        ("C3", at(hour=8), at(hour=18)),
        ("C2", at(hour=12), at(hour=15)),
    ]
    assert {one.usual_events for one in silences} == {6.0}
    pause = next(camera for camera in report.events.cameras if camera.camera_id == "C2")
    assert (pause.gap_from, pause.gap_to) == (at(hour=11, minute=50), at(hour=15))
    assert pause.usual_gap == timedelta(minutes=10)

    ((camera, by),) = report.ahead
    assert report.outcome.arrived_at is not None
    assert (camera.camera_id, by) == ("C4", ahead - report.outcome.arrived_at)
    text = desk.write("today.csv").markdown
    assert "Camera `C2` was silent from" in text
    assert "The clock of `C4` is ahead by" in text
    assert "A camera that no earlier file told of: `C4`." in text

    before = desk.read("week 1.csv")
    assert before.events.silences == ()
    assert "No sign of clock skew" in desk.write("week 1.csv").markdown
    too_early = desk.read("week 3.csv").events
    assert too_early.silences is None
    assert "3 weeks before" in too_early.silences_unknown


def test_whatever_became_of_a_file_its_account_adds_up_and_its_page_is_whole(desk: Desk) -> None:
    good = [f"2024-05-01 10:{i:02d}:00,P{i},C1,entry" for i in range(10)]
    desk.drop("good <b>|`x`.csv", good)
    desk.drop("twice.csv", [*good, "2024-05-01 11:00:00,Q,C1,entry"])
    desk.drop("bad.csv", [*good[:4], "never,Somebody Known,C1,entry", "soon,,C1,entry"])
    desk.drop("empty.csv", content=b"")
    desk.drop("header only.csv", [])
    desk.drop("no table.csv", content=b"\x00\x01\x02PNG" * 50)
    desk.drop("strange.csv", ["1,2"], "a,b")
    desk.run()
    with desk.footfall.warehouse.connect("loader", autocommit=True) as connection:
        connection.execute(
            "insert into raw.files (sha256, file_name, size_bytes, state, arrived_at)"
            " values (repeat('f', 64), 'unlucky.csv', 3, 'loading', now())"
        )
        Ledger(connection).fail_file("f" * 64, "The disk is full.", datetime.now(UTC))
    names = [name for (name,) in desk.rows("select file_name from raw.files order by file_id")]
    assert len(names) == 8
    reports = {name: desk.read(name) for name in names}
    desk.write_all_that_is_due()
    states = {name: report.state for name, report in reports.items()}
    assert states == {
        "good <b>|`x`.csv": "loaded",
        "twice.csv": "loaded",
        "bad.csv": "quarantined",
        "empty.csv": "quarantined",
        "header only.csv": "loaded",
        "no table.csv": "quarantined",
        "strange.csv": "quarantined",
        "unlucky.csv": "failed",
    }
    accounts = {name: report.outcome.account for name, report in reports.items()}
    for name, account in accounts.items():
        read, loaded, rejected, duplicate, held = desk.row(
            "select rows_read, rows_loaded, rows_rejected, rows_duplicate, rows_held from raw.files where file_id = %s",
            desk.id_of(name),
        )
        if account is None:
            assert read is None
        else:
            assert read == (loaded or 0) + rejected + duplicate + (held or 0)
            assert (account.rows_read, account.rows_held) == (read, held or 0)
    assert [name for name, account in accounts.items() if account is None] == [
        "empty.csv", "no table.csv", "strange.csv", "unlucky.csv"
    ]  # fmt: skip
    twice = accounts["twice.csv"]
    assert twice is not None
    assert (twice.rows_loaded, twice.rows_duplicate) in {(1, 10), (11, 0)}
    # Rows that restate what another file brought are the file's all the same.
    assert reports["twice.csv"].events.rows == 11
    for name, report in reports.items():
        page = desk.footfall.settings.reports / "files" / str(desk.id_of(name)) / "index.html"
        assert f"<h1>{report.headline}: " in page.read_text()
        no_dead_link(page)
    bad = reports["bad.csv"]
    assert bad.verdict.startswith("Not usable: bad.csv, 2 of 6 rows rejected (33.3 %) where at most 5 % are allowed.")
    assert not any("Somebody" in f"{sample.sentence} {sample.raw_text}" for sample in bad.samples)
    assert "Nothing was loaded." in reports["strange.csv"].verdict
    assert reports["unlucky.csv"].verdict.endswith("for no fault of its own. The disk is full.")
    assert reports["header only.csv"].verdict.startswith("Usable, but empty")

    # Taken back, let in by hand, judged again: each is a new state to tell of.
    desk.run(RETRACT, "twice.csv")
    desk.run(RELEASE, "bad.csv")
    assert {desk.id_of("twice.csv"), desk.id_of("bad.csv")} == set(desk.due())
    desk.write_all_that_is_due()
    retracted, released = desk.read("twice.csv"), desk.read("bad.csv")
    assert retracted.outcome.account is not None
    assert retracted.outcome.account.rows_held == 11
    (gone,) = desk.row(
        "select count(*) from raw.retracted_events inner join raw.files using (batch_id) where file_id = %s",
        desk.id_of("twice.csv"),
    )
    assert gone == 1
    assert retracted.verdict.startswith("Retracted: twice.csv, 1 event was taken back, in the marts ")
    assert retracted.verdict.endswith(" after the retraction.")
    assert released.released
    assert released.verdict.startswith("Usable, with warnings: bad.csv, ")
    assert " after the release; " in released.verdict
    desk.run(REPLAY, "good <b>|`x`.csv")
    assert desk.due() == [desk.id_of("good <b>|`x`.csv")]

    # A file that repairs another is told of in the other's report, which is due again.
    desk.write_all_that_is_due()
    desk.drop("repair.csv", ["2024-05-01 10:59:00,Somebody,C1,entry"])
    desk.run()
    with desk.footfall.warehouse.connect("loader") as connection:
        connection.execute(
            "update raw.files set repairs_file_id = %s where file_id = %s",
            (desk.id_of("bad.csv"), desk.id_of("repair.csv")),
        )
    assert desk.due() == [desk.id_of("bad.csv"), desk.id_of("repair.csv")]
    for file_id in reversed(desk.due()):
        desk.write(desk.row("select file_name from raw.files where file_id = %s", file_id)[0])
    assert desk.due() == []
    one, other = desk.id_of("bad.csv"), desk.id_of("repair.csv")
    assert f"It is repaired by [`repair.csv`]({ADDRESS}/files/{other}/index.html)" in desk.write("bad.csv").markdown
    assert f"This file repairs [`bad.csv`]({ADDRESS}/files/{one}/index.html)" in desk.write("repair.csv").markdown

    # The oldest pages go; a link to one of them goes with it.
    assert prune_reports(desk.footfall.settings.reports, 1) == 8
    assert [one.name for one in (desk.footfall.settings.reports / "files").iterdir()] == [str(other)]
    assert "This file repairs `bad.csv` (" in desk.write("repair.csv").markdown
    assert desk.due() == []


def test_a_version_that_was_held_back_and_expectations_that_come_later(desk: Desk) -> None:
    desk.drop("a.csv", ["2024-05-01 10:00:00,P,C1,entry"])
    with desk.footfall.warehouse.connect("owner") as connection:
        connection.execute("create function raw.no() returns trigger language plpgsql as 'begin return null; end'")
        connection.execute("create trigger no before insert on raw.parameters for each row execute function raw.no()")
    desk.run(raise_on_error=False)
    report = desk.read("a.csv")
    assert report.publication is not None
    assert report.publication.version is None
    (title, sentence) = desk.rows(
        "select title, sentence from raw.check_outcomes where severity = 'error' and status = 'failed'"
        " order by decided_at desc"
    )[0]
    assert "not in the marts: the data version was held back because this check did not pass" in report.verdict
    assert title in report.verdict
    assert sentence.rstrip(".") in report.verdict
    assert "cannot be told: the marts do not tell of the file yet" in desk.write("a.csv").markdown

    with desk.footfall.warehouse.connect("owner") as connection:
        connection.execute("drop trigger no on raw.parameters")
        connection.execute(
            """
            insert into raw.check_outcomes
                (run_id, schema_name, table_name, name, title, layer, severity, status, sentence, checked, failed,
                sample, link)
            values ('gx', 'marts', 'person_sessions', 'dwell', 'Nobody stays for a day.', 'expectations', 'warning',
                'failed', '1 of 2 rows fails.', 2, 1, '["person_id Somebody Known, camera_id C1"]',
                'expectations/gx/index.html')
            """
        )
    desk.drop("b.csv", ["2024-05-01 11:00:00,P,C1,exit"])
    desk.run()
    assert "Nobody stays" not in desk.write("b.csv").markdown
    text = desk.write("b.csv", "gx").markdown
    assert (
        "| Nobody stays for a day. | failed (warning) | 1 of 2 rows fails. For example: `person_id So…, camera_id C1`."
        in text
    )
    assert "expectations/gx" not in text, "there is no such page"
    page = desk.footfall.settings.reports / "expectations" / "gx" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("")
    # Written once more, it still knows which run's expectations it told of.
    assert f"[More]({ADDRESS}/expectations/gx/index.html)" in desk.write("b.csv").markdown
    assert desk.row("select expectations_run_id from raw.file_reports where file_id = %s", desk.id_of("b.csv")) == (
        "gx",
    )
    # Both files are in the version that came in the end.
    assert "in the marts" in desk.read("a.csv").verdict.replace("not in the marts", "")
