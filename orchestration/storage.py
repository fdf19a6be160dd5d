"""Dagster's storage with its connections held open, for processes that ask it all day long.

Dagster opens a connection per question otherwise, with a password exchange each: most of what an idle stack would
cost, and of the time that a sensor's tick takes.
"""

from __future__ import annotations

from functools import cache
from threading import Lock
from typing import Any, Final

import dagster as dg
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import Pool

_STATEMENT_MILLISECONDS: Final = 300_000
_RECYCLED_SECONDS: Final = 3600
_held: dict[str, dg.DagsterInstance] = {}
_holding: Final = Lock()


def hold_connections(instance: dg.DagsterInstance, most_at_once: int = 20) -> None:
    """Have an instance keep its connections; one that a restarted server has cut is noticed and replaced.

    Dagster's one switch for it bears the web server's name.
    """
    _notice_cut_connections()
    instance.optimize_for_webserver(_STATEMENT_MILLISECONDS, _RECYCLED_SECONDS, most_at_once)


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


@cache
def _notice_cut_connections() -> None:
    def check(connection: Any, _record: Any, _proxy: Any) -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("select 1")
        except Exception as error:
            raise DisconnectionError(str(error)) from error

    event.listen(Pool, "checkout", check)
