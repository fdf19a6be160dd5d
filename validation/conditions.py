"""Which conditions hold now that people are to be told of, as far as the warehouse knows: it only asks.

A condition is level-triggered: it holds or it does not, whoever looks and how often. What becomes of it (an alert that
opens and clears) is kept by `alerts`; conditions of Dagster's runs are orchestration's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final

import psycopg

from validation.outcomes import moment

QUARANTINED_FILE: Final = "quarantined_file"
FAILED_CHECK: Final = "failed_check"
SILENT_LANDING: Final = "silent_landing"


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that holds now. `subject` tells it from others of its kind, the same way each time one looks.

    `sentence` says it to people; it may quote a file's names and contents, which are hostile. `link` is an address of
    ours.
    """

    kind: str
    subject: str
    sentence: str
    link: str | None = None

    @property
    def key(self) -> str:
        """What no two open alerts share."""
        return f"{self.kind}:{self.subject}"


def quarantined_files(connection: psycopg.Connection[Any], reports: str) -> list[Condition]:
    """Return those files that are quarantined and have not been repaired; `reports` is the address of the reports."""
    rows = connection.execute(
        """
        select file_id, sha256, file_name, error
        from raw.files
        where
            state = 'quarantined'
            and not exists (
                select from raw.files as repair where repair.repairs_file_id = files.file_id and repair.state = 'loaded'
            )
        order by file_id
        """
    ).fetchall()
    return [
        Condition(
            QUARANTINED_FILE,
            sha256,
            f"The file {name} is quarantined. {error or ''}".rstrip(),
            f"{reports}/files/{file_id}/",
        )
        for file_id, sha256, name, error in rows
    ]


def failed_checks(connection: psycopg.Connection[Any], runs: str) -> list[Condition]:
    """Return those checks of whole tables that hold the data version back; `runs` is the address of Dagster's runs.

    It is what a check found last that counts.
    """
    rows = connection.execute(
        """
        select distinct on (schema_name, table_name, name)
            schema_name, table_name, name, title, status, sentence, run_id
        from raw.check_outcomes as failed
        where
            severity = 'error' and status <> 'passed' and file_id is null
            and not exists (
                select
                from raw.check_outcomes as newer
                where
                    newer.file_id is null
                    and newer.schema_name = failed.schema_name and newer.table_name = failed.table_name
                    and newer.name = failed.name and newer.decided_at > failed.decided_at
            )
        order by schema_name, table_name, name, decided_at desc
        """
    ).fetchall()
    return [
        Condition(
            FAILED_CHECK,
            f"{schema}.{table}.{name}",
            f"A check of {schema}.{table} {'failed' if status == 'failed' else 'could not be made'}, so the data "
            f"version does not advance. Demanded: {title.rstrip('.')}. Found: {sentence}",
            f"{runs}/{run_id}",
        )
        for schema, table, name, title, status, sentence, run_id in rows
    ]


def silent_landing(connection: psycopg.Connection[Any], hours: float | None) -> Sequence[Condition]:
    """Return that no file has arrived for so many hours; nothing before the first one ever came, or without hours."""
    if hours is None:
        return []
    row = connection.execute(
        """
        select arrived_at
        from (select arrived_at from raw.arrivals order by arrival_id desc limit 1) as last_arrival
        where arrived_at < now() - make_interval(secs => %s)
        """,
        [hours * 3600],
    ).fetchone()
    if row is None:
        return []
    last = moment(row[0].astimezone(UTC))
    return [
        Condition(
            SILENT_LANDING,
            "landing",
            f"No file has arrived for longer than {hours:g} hours (silent_hours); the last came {last}.",
        )
    ]
