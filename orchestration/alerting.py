"""Telling people: the sensor that looks which conditions hold, settles their alerts, and sends what is due.

The alerts themselves are in the warehouse (`validation.alerts`), what is said in `messages`, and by which way in
`channels`. A further kind of condition is one entry in `_looks`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import dagster as dg
import psycopg
from dagster import DagsterRunStatus, RunsFilter

from orchestration.addresses import api_address, dagster_address
from orchestration.channels import Channel, NotSent, channels
from orchestration.disk_space import disk_problem
from orchestration.jobs import AUDIT, CORRECTIONS, INGEST, REPORT
from orchestration.messages import message
from orchestration.resources import Footfall
from orchestration.settings import Settings
from orchestration.storage import instance_of
from validation import alerts, conditions
from validation.alerts import Alert, Tells
from validation.conditions import Condition
from warehouse.problems import WarehouseProblem

EVERY_SECONDS: Final = 30
FAILED_RUN: Final = "failed_run"
DISK_FULL: Final = "disk_full"
JOBS: Final = (INGEST, *CORRECTIONS, REPORT, AUDIT)
# A tick sends for no longer than this, and what is under way by then: the rest is for the next tick.
SENDING_SECONDS: Final = 20.0
# More messages than this in an hour nobody reads: what comes then goes together, one message every so many seconds.
MESSAGES_AN_HOUR: Final = 10
TOGETHER_SECONDS: Final = 600.0
# As many runs of a job may be under way at once, and end in any order.
_RUNS_AT_ONCE: Final = 4
_ENDED: Final = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE]


class Log(Protocol):
    """Where it is said what could not be done."""

    def warning(self, msg: str) -> None:
        """Take note of it."""


def build_alert_sensor(footfall: Callable[[], Footfall]) -> dg.SensorDefinition:
    """Return the sensor; `footfall` is asked at each tick."""

    @dg.sensor(
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells people, by webhook or mail, of what is wrong, once, and once more when it is over.",
    )
    def alert_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return dg.SensorResult(skip_reason=tell(footfall(), instance_of(context), context.log))

    return alert_sensor


def tell(footfall: Footfall, instance: dg.DagsterInstance, log: Log) -> str:
    """Settle the alerts and send what is due; return what it came to. What cannot be done is logged."""
    try:
        with footfall.warehouse.connect("loader", autocommit=True) as connection, alerts.alone(connection) as mine:
            if not mine:
                return "Another tick is at it."
            settings = footfall.settings
            found = _look(connection, instance, settings, log)
            holding = [condition for several in found.values() for condition in several]
            changes = alerts.settle(connection, holding, list(found))
            sent = _send(connection, channels(settings), dagster_address(settings), log)
    except (WarehouseProblem, psycopg.OperationalError) as problem:
        return f"The warehouse cannot be asked: {problem}"
    return (
        f"{changes.still_open} alerts are open ({changes.opened} opened, {changes.cleared} cleared); "
        f"{sent.messages} messages sent, {sent.failures} could not be."
    )


def _look(
    connection: psycopg.Connection[Any], instance: dg.DagsterInstance, settings: Settings, log: Log
) -> dict[str, Sequence[Condition]]:
    """Return by kind which conditions hold; a kind that cannot be looked at is left out, so that none of it clears."""
    found: dict[str, Sequence[Condition]] = {}
    for kind, look in _looks(connection, instance, settings).items():
        try:
            found[kind] = look()
        except Exception as error:
            log.warning(f"Whether there is a {kind} cannot be told: {type(error).__name__}: {error}")
    return found


def _looks(
    connection: psycopg.Connection[Any], instance: dg.DagsterInstance, settings: Settings
) -> Mapping[str, Callable[[], Sequence[Condition]]]:
    """Return how to look for each kind of condition."""
    runs = f"{dagster_address(settings)}/runs"
    reports = f"{api_address(settings)}/reports"
    return {
        FAILED_RUN: lambda: failed_runs(instance, runs),
        conditions.FAILED_CHECK: lambda: conditions.failed_checks(connection, runs),
        conditions.QUARANTINED_FILE: lambda: conditions.quarantined_files(connection, reports),
        conditions.SILENT_LANDING: lambda: conditions.silent_landing(connection, settings.silent_hours),
        DISK_FULL: lambda: full_disks(settings),
    }


def full_disks(settings: Settings) -> list[Condition]:
    """Return the disk on which there is too little room for any file, if there is one."""
    problem = disk_problem(settings)
    return [Condition(DISK_FULL, "disk", problem)] if problem is not None else []


def failed_runs(instance: dg.DagsterInstance, runs: str) -> list[Condition]:
    """Return those jobs whose last run to end has failed; `runs` is the address of Dagster's runs.

    A run that was canceled, or has not ended, says nothing either way.
    """
    found = []
    for job in JOBS:
        ended = instance.get_run_records(RunsFilter(job_name=job, statuses=_ENDED), limit=_RUNS_AT_ONCE)
        last = max(ended, key=lambda record: (record.end_time or 0.0, record.storage_id), default=None)
        if last is not None and last.dagster_run.status == DagsterRunStatus.FAILURE:
            found.append(
                Condition(
                    FAILED_RUN,
                    job,
                    f"The last run of the job '{job}' failed. The alert clears when one succeeds.",
                    f"{runs}/{last.dagster_run.run_id}",
                )
            )
    return found


@dataclass
class _Sent:
    messages: int = 0
    failures: int = 0


def _send(connection: psycopg.Connection[Any], ways: Sequence[Channel], everything: str, log: Log) -> _Sent:
    """Send what is due, on each channel for itself; a channel that is out of order is left for the next tick."""
    sent, ends = _Sent(), time.monotonic() + SENDING_SECONDS
    for channel in ways:
        letters = _letters(connection, channel)
        for number, (told, tells) in enumerate(letters):
            if time.monotonic() > ends:
                return sent
            try:
                channel.send(message(told, tells, everything))
            except NotSent as problem:
                sent.failures += 1
                log.warning(f"{len(told)} alerts could not be told by {channel.name}: {problem}")
                # The others would fail as well, each after seconds.
                put_off = letters[number : number + 1] if problem.refused else letters[number:]
                for one, tells_one in put_off:
                    alerts.note_failed(connection, one, channel.name, tells_one, str(problem))
                if not problem.refused:
                    break
            else:
                sent.messages += 1
                alerts.note_sent(connection, told, channel.name, tells)
    return sent


def _letters(connection: psycopg.Connection[Any], channel: Channel) -> list[tuple[Sequence[Alert], Tells]]:
    """Return what goes into which message now: one for each alert, or all in one where there would be too many."""
    all_due: list[tuple[list[Alert], Tells]] = [
        (alerts.due(connection, channel.name, "open"), "open"),
        (alerts.due(connection, channel.name, "cleared"), "cleared"),
    ]
    lately, ago = alerts.told_lately(connection, channel.name)
    room = MESSAGES_AN_HOUR - lately
    if sum(len(due) for due, _ in all_due) <= room:
        return [([alert], tells) for due, tells in all_due for alert in due]
    if room <= 0 and ago is not None and ago < TOGETHER_SECONDS:
        return []
    return [(due, tells) for due, tells in all_due if due]
