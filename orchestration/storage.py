"""Dagster's storage with its connections held open, for processes that ask it all day long or write a run's log.

Dagster opens a connection per question otherwise, with a password exchange each: most of what an idle stack would
cost and of the time that a sensor's tick takes, and a good part of a short run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from functools import cache
from threading import Lock
from typing import Any, Final

import dagster as dg
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.schedules import SqlScheduleStorage
from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import Pool

_STATEMENT_MILLISECONDS: Final = 300_000
_RECYCLED_SECONDS: Final = 3600
# A connection that was alive so shortly before is not asked again.
_TRUSTED_SECONDS: Final = 1.0
_ASKED: Final = "footfall asked"
_held: dict[str, dg.DagsterInstance] = {}
_holding: Final = Lock()


def hold_connections(instance: dg.DagsterInstance, most_at_once: int = 20) -> None:
    """Have an instance keep its connections; one that a restarted server has cut is noticed and replaced.

    Dagster's one switch for it bears the web server's name.
    """
    _notice_cut_connections()
    instance.optimize_for_webserver(_STATEMENT_MILLISECONDS, _RECYCLED_SECONDS, most_at_once)
    _remember_tables(instance)


def instance_of(context: dg.SensorEvaluationContext) -> dg.DagsterInstance:
    """Return the instance of a sensor's tick, the same one at every tick of a process.

    Dagster would make one per tick, which begins with a look at all of its tables.
    """
    reference = context.instance_ref
    if reference is None:
        return context.instance
    key = repr(reference)
    with _holding:
        if key not in _held:
            _held[key] = dg.DagsterInstance.from_ref(reference)
            hold_connections(_held[key])
        return _held[key]


def _remember_tables(instance: dg.DagsterInstance) -> None:
    """Have it looked up only once which of Dagster's tables and columns there are.

    It asks the catalog with every event of an asset and at every look at the sensors, to work with older tables, too.
    """
    log, schedules = instance.event_log_storage, instance.schedule_storage
    if isinstance(log, SqlEventLogStorage):
        log._has_asset_key_col_on_connection = _once_true(log._has_asset_key_col_on_connection)  # type: ignore[method-assign]
    if isinstance(schedules, SqlScheduleStorage):
        schedules._has_instigators_table = _once_true(schedules._has_instigators_table)  # type: ignore[method-assign]


def _once_true(look: Callable[..., bool]) -> Callable[..., bool]:
    """Return a look that is spared once it was true; the connection by which to look comes first."""
    known: set[tuple[str, ...]] = set()

    def has(connection: Connection, *names: str) -> bool:
        if names not in known and look(connection, *names):
            known.add(names)
        return names in known

    return has


@cache
def _notice_cut_connections() -> None:
    def check(connection: Any, record: Any, _proxy: Any) -> None:
        now = time.monotonic()
        if now - record.info.get(_ASKED, -math.inf) < _TRUSTED_SECONDS:
            return
        record.info[_ASKED] = now
        try:
            with closing(connection.cursor()) as cursor:
                cursor.execute("select 1")
        except Exception as error:
            raise DisconnectionError(str(error)) from error

    event.listen(Pool, "checkout", check)
