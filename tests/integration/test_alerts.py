"""Alerts from real files, runs and checks to real web and mail servers: each once, however often one looks."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.test_utils import create_run_for_test
from pydantic import SecretStr
from rich.console import Console

from orchestration import alerting
from orchestration.alerting import JOBS, build_alert_sensor
from orchestration.jobs import INGEST, prune
from orchestration.status import _show_alerts
from tests.integration.dropping import Dropping, good_rows
from tests.integration.orchestrating import Ticks, installation
from tests.receiving import Hook, Mailbox, mail_server, web_server
from validation import alerts as ledger
from validation import check_log
from validation.checks import CheckOutcome, Status
from validation.outcomes import Outcome
from warehouse.connections import Warehouse

HOSTILE = "x\nBcc: evil@example.com\n<!channel> [a](www.evil.example) \u202e.csv"


class Telling(Ticks):
    """The sensor on an installation whose settings can be changed, with a clock that can be turned."""

    def __init__(self, folder: Path, warehouse: Warehouse, instance: dg.DagsterInstance, hook: Hook) -> None:
        super().__init__(build_alert_sensor, installation(folder, warehouse), instance)
        settings = self.footfall.settings
        self.hook = hook
        self.files = Dropping(warehouse, settings.home, settings.landing, now=datetime.now(UTC))
        self.set(alert_webhook=SecretStr(hook.url))

    def set(self, **settings: Any) -> None:
        self.footfall = replace(self.footfall, settings=self.footfall.settings.model_copy(update=settings))

    def look(self, times: int = 3) -> str:
        """What a tick says; it says the same, or less, however many follow."""
        reason = self.tick().skip_reason
        for _ in range(times - 1):
            self.tick()
        return str(reason and reason.skip_message)

    def told(self) -> list[tuple[str, str]]:
        return [(one["status"], one["kind"]) for one in self.hook.posted]

    def make_time_pass(self, **time_: float) -> None:
        """As if everything had been told or tried that much earlier."""
        with self.footfall.warehouse.connect("owner") as connection:
            connection.execute(
                "update raw.alert_messages set sent_at = sent_at - %(t)s, next_attempt_at = next_attempt_at - %(t)s",
                {"t": timedelta(**time_)},
            )

    def quarantine(self, name: str = "bad.csv", content: bytes = b"who knows\n1\n") -> Outcome:
        outcome = self.files.load(content, name)
        assert outcome.state == "quarantined"
        return outcome

    def run(self, job: str, status: DagsterRunStatus) -> dg.DagsterRun:
        run = create_run_for_test(self.instance, job_name=job, status=DagsterRunStatus.STARTED)
        if status == DagsterRunStatus.FAILURE:
            self.instance.report_run_failed(run)
        elif status == DagsterRunStatus.CANCELED:
            self.instance.report_run_canceled(run)
        elif status == DagsterRunStatus.SUCCESS:
            self.instance.report_dagster_event(dg.DagsterEvent("PIPELINE_SUCCESS", job), run.run_id)
        return run


@pytest.fixture
def hook() -> Iterator[Hook]:
    with web_server() as hook:
        yield hook


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server() as mailbox:
        yield mailbox


@pytest.fixture
def telling(tmp_path: Path, warehouse: Warehouse, instance: dg.DagsterInstance, hook: Hook) -> Telling:
    return Telling(tmp_path, warehouse, instance, hook)


def test_where_nothing_is_wrong_nobody_is_told(telling: Telling) -> None:
    telling.files.load(good_rows(3))
    assert telling.look() == "0 alerts are open (0 opened, 0 cleared); 0 messages sent, 0 could not be."
    assert telling.told() == []


def test_a_quarantined_file_is_told_of_once_and_once_more_when_it_is_repaired(telling: Telling) -> None:
    bad = telling.quarantine()
    assert telling.look() == "1 alerts are open (1 opened, 0 cleared); 1 messages sent, 0 could not be."
    (told,) = telling.hook.posted
    assert told["condition"] == f"quarantined_file:{bad.sha256}"
    assert told["sentence"].startswith("The file bad.csv is quarantined. ")
    assert told["link"] == f"http://127.0.0.1:8000/reports/files/{bad.file_id}/"
    repair = telling.files.load(good_rows(2), "good.csv")
    assert telling.look().startswith("1 alerts are open")
    with telling.footfall.warehouse.connect("loader") as connection:
        connection.execute(
            "update raw.files set repairs_file_id = %s where file_id = %s", [bad.file_id, repair.file_id]
        )
    assert telling.look() == "0 alerts are open (0 opened, 1 cleared); 1 messages sent, 0 could not be."
    assert telling.told() == [("open", "quarantined_file"), ("cleared", "quarantined_file")]
    assert telling.hook.posted[1]["sentence"] == told["sentence"]
    assert telling.hook.posted[1]["cleared_at"] >= told["opened_at"]


def test_a_file_that_is_judged_again_and_loaded_is_not_quarantined_any_more(telling: Telling) -> None:
    content = [*good_rows(9), "never,P,C,entry"]
    strict = telling.files
    assert strict.load(content).state == "quarantined"
    telling.look()
    assert strict.with_rules(max_rejected_share=0.5).load(content).state == "loaded"
    telling.look()
    assert telling.told() == [("open", "quarantined_file"), ("cleared", "quarantined_file")]


@pytest.mark.parametrize("job", JOBS)
def test_a_failed_run_is_told_of_until_one_of_that_job_succeeds(telling: Telling, job: str) -> None:
    failed = telling.run(job, DagsterRunStatus.FAILURE)
    telling.look()
    (told,) = telling.hook.posted
    assert (told["kind"], told["condition"]) == ("failed_run", f"failed_run:{job}")
    assert told["link"] == f"http://127.0.0.1:3000/runs/{failed.run_id}"
    telling.run(job, DagsterRunStatus.FAILURE)
    telling.run(job, DagsterRunStatus.CANCELED)
    telling.run(job, DagsterRunStatus.STARTED)
    telling.run("prune", DagsterRunStatus.SUCCESS)
    assert telling.look().startswith("1 alerts are open (0 opened, 0 cleared)")
    telling.run(job, DagsterRunStatus.SUCCESS)
    telling.look()
    assert telling.told() == [("open", "failed_run"), ("cleared", "failed_run")]
    telling.run(job, DagsterRunStatus.FAILURE)
    telling.look()
    assert telling.told()[2:] == [("open", "failed_run")]
    assert len({one["id"] for one in telling.hook.posted}) == 3


def test_a_run_that_failed_after_a_later_one_had_succeeded_is_told_of(telling: Telling) -> None:
    slow = create_run_for_test(telling.instance, job_name=INGEST, status=DagsterRunStatus.STARTED)
    telling.run(INGEST, DagsterRunStatus.SUCCESS)
    telling.look()
    assert telling.told() == []
    telling.instance.report_run_failed(slow)
    telling.look()
    assert telling.hook.posted[0]["link"].endswith(slow.run_id)


def outcome(status: Status, name: str = "unique_session_id", table: str = "person_sessions", **other: Any) -> Any:
    return CheckOutcome(name, "Sessions are unique.", "marts", table, "relations", status, "3 are not.", **other)


def test_a_blocking_check_is_told_of_until_it_passes(telling: Telling) -> None:
    def check(run: str, *outcomes: CheckOutcome) -> None:
        with telling.footfall.warehouse.connect("loader") as connection:
            check_log.record(connection, run, outcomes)
        telling.look()

    warning = CheckOutcome("mean", "…", "marts", "visits", "expectations", "failed", "Warned.")
    check("run-1", outcome("failed"), outcome("passed", "other"), warning)
    (told,) = telling.hook.posted
    assert told["condition"] == "failed_check:marts.person_sessions.unique_session_id"
    assert told["link"] == "http://127.0.0.1:3000/runs/run-1"
    assert told["sentence"] == (
        "A check of marts.person_sessions failed, so the data version does not advance. Demanded: Sessions are unique. "
        "Found: 3 are not."
    )
    check("run-2", outcome("could_not_check"))
    check("run-3", outcome("passed", table="visits"), outcome("passed", file_id=1))
    assert len(telling.hook.posted) == 1
    check("run-4", outcome("passed"))
    assert telling.told() == [("open", "failed_check"), ("cleared", "failed_check")]


def test_a_silent_landing_folder_is_told_of_once_something_has_ever_come(telling: Telling) -> None:
    telling.set(silent_hours=1.0)
    telling.look()
    telling.files.now = datetime.now(UTC) - timedelta(minutes=61)
    telling.files.load(good_rows(1), "old.csv")
    telling.look()
    (told,) = telling.hook.posted
    assert told["sentence"].startswith("No file has arrived for longer than 1 hours (silent_hours); the last came 2")
    telling.files.now = datetime.now(UTC)
    telling.files.load(good_rows(2), "new.csv")
    telling.look()
    assert telling.told() == [("open", "silent_landing"), ("cleared", "silent_landing")]


def test_silence_is_no_matter_where_the_setting_is_blank(telling: Telling) -> None:
    telling.files.now = datetime.now(UTC) - timedelta(days=900)
    telling.files.load(["2022-05-01 00:00:00,P,C,entry"])
    telling.set(silent_hours=None)
    telling.look()
    assert telling.told() == []


def test_a_storm_is_one_message_and_what_comes_after_it_waits(telling: Telling, mailbox: Mailbox) -> None:
    telling.set(alert_smtp=SecretStr(mailbox.url), alert_email_to=("ops@example.com",))
    for number in range(40):
        telling.quarantine(f"{number}.csv", b"nothing %d\n" % number)
    telling.run(INGEST, DagsterRunStatus.FAILURE)
    assert telling.look() == "41 alerts are open (41 opened, 0 cleared); 2 messages sent, 0 could not be."
    (told,) = telling.hook.posted
    assert told["sentence"] == "41 new alerts: 40 quarantined files, 1 failed job."
    assert told["alerts_in_all"] == 41
    assert [letter["Subject"] for letter in mailbox.letters] == [f"Footfall: Alert: {told['sentence']}"]
    for number in range(40, 60):
        telling.quarantine(f"{number}.csv", b"nothing %d\n" % number)
        telling.tick()
    assert len(telling.hook.posted) == 10, "nine one by one, then the rest waits"
    telling.make_time_pass(minutes=11)
    telling.look()
    assert telling.hook.posted[10]["sentence"] == "11 new alerts: 11 quarantined files."
    assert len(mailbox.letters) == 11


def test_without_a_channel_alerts_are_kept_and_shown_and_told_on_the_first_one(telling: Telling) -> None:
    telling.set(alert_webhook=None)
    telling.quarantine(HOSTILE)
    telling.quarantine("b.csv", b"x\n2\n")
    telling.look()
    screen = io.StringIO()
    _show_alerts(telling.footfall.warehouse, Console(file=screen, width=80))
    lines = screen.getvalue().splitlines()
    assert lines[0] == "Open alerts: 2"
    assert len(lines) == 3
    assert r"x\nBcc: evil@example.com\n<!channel> [a](www.evil.example) \u202e.csv" in lines[2]
    assert lines[1].endswith("/reports/files/2/")
    telling.set(alert_webhook=SecretStr(telling.hook.url))
    telling.look()
    assert telling.told() == [("open", "quarantined_file")] * 2


def test_a_hostile_name_reaches_nobody_as_more_than_a_name(telling: Telling, mailbox: Mailbox) -> None:
    telling.set(alert_smtp=SecretStr(mailbox.url), alert_email_to=("ops@example.com",))
    telling.quarantine(HOSTILE)
    telling.look()
    (letter,) = mailbox.letters
    assert letter["Bcc"] is None
    assert len(mailbox.recipients[0]) == 1
    text = telling.hook.posted[0]["text"]
    assert len(text.splitlines()) == 2
    assert "<!" not in text
    assert "](" not in text


def test_a_webhook_that_is_down_is_tried_less_and_less_often_and_told_once(
    telling: Telling, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    telling.set(alert_smtp=SecretStr(mailbox.url), alert_email_to=("ops@example.com",))
    telling.hook.status = 503
    telling.quarantine()
    telling.quarantine("b.csv", b"x\n2\n")
    assert telling.look(1).endswith("2 messages sent, 1 could not be.")
    assert len(mailbox.letters) == 2, "the other channel does not wait"
    assert telling.look().endswith("0 messages sent, 0 could not be."), "it is not tried again yet"
    for pause in ledger.PAUSES_SECONDS:
        telling.make_time_pass(seconds=pause - 2)
        assert telling.look().endswith("0 messages sent, 0 could not be.")
        telling.make_time_pass(seconds=3)
        assert telling.look(1).endswith("0 messages sent, 1 could not be.")
    with telling.footfall.warehouse.connect("loader") as connection:
        assert ledger.troubles(connection) == {"webhook": "The webhook answered 503 (Service Unavailable)."}
    telling.hook.status = 200
    telling.make_time_pass(seconds=ledger.PAUSES_SECONDS[-1])
    telling.look()
    assert telling.told() == [("open", "quarantined_file")] * 2
    assert len(mailbox.letters) == 2
    with telling.footfall.warehouse.connect("loader") as connection:
        assert ledger.troubles(connection) == {}


def test_what_cleared_before_anybody_heard_of_it_is_not_told(telling: Telling) -> None:
    telling.hook.status = 0
    telling.run(INGEST, DagsterRunStatus.FAILURE)
    telling.look()
    telling.run(INGEST, DagsterRunStatus.SUCCESS)
    telling.hook.status = 200
    telling.make_time_pass(hours=1)
    telling.look()
    assert telling.told() == []


def test_a_message_that_is_refused_holds_no_other_back(telling: Telling, monkeypatch: pytest.MonkeyPatch) -> None:
    send = alerting.channels

    class Picky:
        name = "webhook"

        def send(self, message: Any) -> None:
            if message.body["kind"] == "failed_run":
                raise alerting.NotSent("The webhook answered 400 (Bad Request).", refused=True)
            send(telling.footfall.settings)[0].send(message)

    monkeypatch.setattr(alerting, "channels", lambda _settings: [Picky()])
    telling.run(INGEST, DagsterRunStatus.FAILURE)
    telling.tick()
    telling.quarantine()
    telling.run("audit", DagsterRunStatus.FAILURE)
    assert telling.look(1).endswith("1 messages sent, 1 could not be.")
    assert telling.told() == [("open", "quarantined_file")]


def test_ticks_at_once_tell_once(telling: Telling) -> None:
    for number in range(5):
        telling.quarantine(f"{number}.csv", b"nothing %d\n" % number)
    said: list[str] = []
    begin = threading.Barrier(6)

    def tick() -> None:
        begin.wait()
        said.append(alerting.tell(telling.footfall, telling.instance, dg.get_dagster_logger()))

    threads = [threading.Thread(target=tick) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    telling.look()
    assert len(said) == 6
    assert "Another tick is at it." in said
    assert len(telling.hook.posted) == 5
    assert len({one["id"] for one in telling.hook.posted}) == 5


def test_a_kind_that_cannot_be_looked_at_clears_nothing(telling: Telling, monkeypatch: pytest.MonkeyPatch) -> None:
    telling.run(INGEST, DagsterRunStatus.FAILURE)
    telling.look()

    def broken(*_: Any) -> Any:
        raise OSError("Dagster's storage is gone.")

    monkeypatch.setattr(alerting, "failed_runs", broken)
    telling.quarantine()
    assert telling.look().startswith("2 alerts are open (1 opened, 0 cleared)")
    monkeypatch.undo()
    assert telling.look().startswith("2 alerts are open (0 opened, 0 cleared)")


def test_a_warehouse_that_is_gone_is_a_reason_and_no_error(telling: Telling) -> None:
    telling.footfall = replace(telling.footfall, opened=replace(telling.footfall.warehouse, port=9, socket_folder=None))
    assert telling.look(1).startswith("The warehouse cannot be asked: ")


def test_a_tick_ends_in_time_and_the_next_goes_on(telling: Telling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerting, "SENDING_SECONDS", -1.0)
    telling.quarantine()
    telling.look()
    assert telling.told() == []
    monkeypatch.undo()
    telling.look()
    assert len(telling.told()) == 1


def test_looking_uses_up_no_numbers_and_costs_little(telling: Telling, record_property: Any) -> None:
    for number in range(20):
        telling.quarantine(f"{number}.csv", b"nothing %d\n" % number)
    telling.look()
    began = time.perf_counter()
    for _ in range(20):
        telling.tick()
    seconds = (time.perf_counter() - began) / 20
    record_property("judged", f"a tick of {1000 * seconds:.1f} ms")
    telling.run(INGEST, DagsterRunStatus.FAILURE)
    telling.look()
    numbers = "select max(alert_id), count(*) from raw.alerts"
    assert telling.files.row(numbers) == (21, 21)
    assert seconds < 1


def test_old_alerts_are_forgotten_with_the_runs_of_their_time(telling: Telling, instance: dg.DagsterInstance) -> None:
    for job in JOBS[:2]:
        telling.run(job, DagsterRunStatus.FAILURE)
    telling.look()
    telling.run(JOBS[0], DagsterRunStatus.SUCCESS)
    telling.look()
    with telling.footfall.warehouse.connect("owner") as connection:
        connection.execute("update raw.alerts set opened_at = 'epoch', cleared_at = cleared_at - interval '31 days'")
    assert prune.execute_in_process(instance=instance, resources={"footfall": telling.footfall}).success
    assert telling.files.rows("select condition from raw.alerts") == [(f"failed_run:{JOBS[1]}",)]
    assert telling.files.count("alert_messages") == 1
