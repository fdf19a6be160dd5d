"""Alerts in PostgreSQL: one is open from when a condition is first seen to hold to when it is not any more.

Only the statements on `raw.alerts` and `raw.alert_messages` are here. Which conditions hold, `conditions` says; when
and how people are told, orchestration decides. Each channel has its own account of what was told on it, so that one
that is out of order neither holds another back nor has it repeat itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import psycopg
from psycopg.rows import class_row

from validation.conditions import Condition
from validation.outcomes import on_one_line
from validation.storable import storable

Tells = Literal["open", "cleared"]

_LOCK: Final = 0x466F6F41
# How long after the first failed try the next one is made, after the second, and so on.
PAUSES_SECONDS: Final = (30, 60, 300, 900)
_LONGEST: Final = 600


@dataclass(frozen=True, slots=True)
class Alert:
    """A condition that holds (`cleared_at` is None) or did.

    Names in its sentence are a file's, hostile, but on one line and not too long.
    """

    alert_id: int
    condition: str
    kind: str
    sentence: str
    link: str | None
    opened_at: datetime
    cleared_at: datetime | None


@dataclass(frozen=True, slots=True)
class Changes:
    """How many alerts a look opened, how many it cleared, and how many are open now."""

    opened: int
    cleared: int
    still_open: int


_ALERT: Final = "alert_id, condition, kind, sentence, link, opened_at, cleared_at"
_HOLDING: Final = "unnest(%s::text[], %s::text[], %s::text[], %s::text[]) as holds (condition, kind, sentence, link)"


@contextmanager
def alone(connection: psycopg.Connection[Any]) -> Iterator[bool]:
    """Say whether nobody else settles and sends alerts right now; if so, nobody does until the end.

    The connection is in autocommit mode.
    """
    (mine,) = connection.execute("select pg_try_advisory_lock(%s)", [_LOCK]).fetchone() or (False,)
    try:
        yield mine
    finally:
        if mine and not connection.closed:
            connection.execute("select pg_advisory_unlock(%s)", [_LOCK])


def settle(connection: psycopg.Connection[Any], holding: Sequence[Condition], kinds: Collection[str]) -> Changes:
    """Open an alert for each condition that holds and has none, and clear those that hold no more.

    `kinds` are those that were looked at: alerts of others are left alone.
    """
    keys = [storable(condition.key) for condition in holding]
    sentences = [_sentence(condition.sentence) for condition in holding]
    columns = [[condition.kind for condition in holding], sentences, [condition.link for condition in holding]]
    with connection.transaction():
        cleared = connection.execute(
            "update raw.alerts set cleared_at = now()"
            " where cleared_at is null and kind = any(%s) and not condition = any(%s)",
            [list(kinds), keys],
        ).rowcount
        # The newest sentence counts: the run that failed last, what is wrong today.
        connection.execute(
            f"""
            update raw.alerts
            set sentence = holds.sentence, link = holds.link
            from {_HOLDING}
            where
                alerts.condition = holds.condition and alerts.cleared_at is null
                and (alerts.sentence, alerts.link) is distinct from (holds.sentence, holds.link)
            """,  # noqa: S608
            [keys, *columns],
        )
        # An insert with a conflict uses up a number all the same: at every look, one for each condition.
        opened = connection.execute(
            f"""
            insert into raw.alerts (condition, kind, sentence, link)
            select condition, kind, sentence, link
            from {_HOLDING}
            where not exists (
                select from raw.alerts where alerts.condition = holds.condition and alerts.cleared_at is null
            )
            """,  # noqa: S608
            [keys, *columns],
        ).rowcount
        (still_open,) = connection.execute("select count(*) from raw.alerts where cleared_at is null").fetchone() or (
            0,
        )
    return Changes(opened=opened, cleared=cleared, still_open=int(still_open))


def _sentence(text: str) -> str:
    """Make of a text that may quote hostile names one that can be stored and sent: one line, of bounded length."""
    line = on_one_line(storable(text))
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def open_alerts(connection: psycopg.Connection[Any]) -> list[Alert]:
    """Return what is wrong now, the newest first."""
    with connection.cursor(row_factory=class_row(Alert)) as cursor:
        return cursor.execute(
            f"select {_ALERT} from raw.alerts where cleared_at is null order by alert_id desc"  # noqa: S608
        ).fetchall()


def due(connection: psycopg.Connection[Any], channel: str, tells: Tells) -> list[Alert]:
    """Return what is to be told on a channel now, the oldest first.

    What cleared before anybody on that channel heard of it needs no telling.
    """
    if tells == "open":
        which = "alerts.cleared_at is null"
    else:
        which = """
            alerts.cleared_at is not null and exists (
                select from raw.alert_messages as opening
                where
                    opening.alert_id = alerts.alert_id and opening.channel = %(channel)s and opening.tells = 'open'
                    and opening.sent_at is not null
            )
        """
    with connection.cursor(row_factory=class_row(Alert)) as cursor:
        return cursor.execute(
            f"""
            select {_ALERT}
            from raw.alerts as alerts
            where
                {which}
                and not exists (
                    select from raw.alert_messages as tried
                    where
                        tried.alert_id = alerts.alert_id and tried.channel = %(channel)s and tried.tells = %(tells)s
                        and (tried.sent_at is not null or tried.next_attempt_at > now())
                )
            order by alert_id
            """,  # noqa: S608 - of two texts of ours
            {"channel": channel, "tells": tells},
        ).fetchall()


def told_lately(connection: psycopg.Connection[Any], channel: str) -> tuple[int, float | None]:
    """Return how many messages went out on a channel in the last hour, and how many seconds ago the last one did."""
    row = connection.execute(
        """
        select count(distinct sent_at), extract(epoch from now() - max(sent_at))::float8
        from raw.alert_messages
        where channel = %s and sent_at > now() - interval '1 hour'
        """,
        [channel],
    ).fetchone()
    return (int(row[0]), row[1]) if row else (0, None)


def note_sent(connection: psycopg.Connection[Any], alerts: Sequence[Alert], channel: str, tells: Tells) -> None:
    """Note that one message told of these alerts."""
    connection.execute(
        """
        insert into raw.alert_messages (alert_id, channel, tells, attempts, sent_at)
        select alert_id, %(channel)s, %(tells)s, 1, now() from unnest(%(alerts)s::bigint[]) as told (alert_id)
        on conflict (alert_id, channel, tells) do update set
            attempts = alert_messages.attempts + 1, sent_at = now(), next_attempt_at = null, last_error = null
        """,
        {"channel": channel, "tells": tells, "alerts": [alert.alert_id for alert in alerts]},
    )


def note_failed(
    connection: psycopg.Connection[Any], alerts: Sequence[Alert], channel: str, tells: Tells, error: str
) -> None:
    """Note that telling of these alerts failed; the more often it did, the later it is tried again."""
    connection.execute(
        """
        insert into raw.alert_messages as messages (alert_id, channel, tells, attempts, next_attempt_at, last_error)
        select alert_id, %(channel)s, %(tells)s, 1, now() + (%(pauses)s::interval[])[1], %(error)s
        from unnest(%(alerts)s::bigint[]) as told (alert_id)
        on conflict (alert_id, channel, tells) do update set
            attempts = messages.attempts + 1, last_error = excluded.last_error,
            next_attempt_at = now() + (%(pauses)s::interval[])[least(messages.attempts + 1, %(pause_count)s)]
        """,
        {
            "channel": channel,
            "tells": tells,
            "alerts": [alert.alert_id for alert in alerts],
            "error": storable(error),
            "pauses": [f"{seconds} seconds" for seconds in PAUSES_SECONDS],
            "pause_count": len(PAUSES_SECONDS),
        },
    )


def troubles(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """Return by channel why the last message that should have gone out on it has not yet."""
    rows = connection.execute(
        """
        select distinct on (channel) channel, last_error
        from raw.alert_messages
        where sent_at is null and last_error is not null
        order by channel, next_attempt_at desc
        """
    ).fetchall()
    return dict(rows)


def forget(connection: psycopg.Connection[Any], keep_days: int) -> int:
    """Forget alerts that cleared longer ago than that, and return how many that were."""
    return connection.execute(
        "delete from raw.alerts where cleared_at < now() - make_interval(days => %s)", (keep_days,)
    ).rowcount
