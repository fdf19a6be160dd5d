"""What checks found, kept in PostgreSQL: reports tell of it, and for how long something has been failing.

Only the statements on `raw.check_outcomes` are here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from psycopg.rows import dict_row

from validation.checks import CheckOutcome
from validation.storable import storable, storable_json


def record(connection: psycopg.Connection[Any], run_id: str, outcomes: Iterable[CheckOutcome]) -> None:
    """Keep what checks of a run found; what one found before in the same run is replaced."""
    rows = [
        (
            run_id,
            one.file_id,
            one.schema,
            one.table,
            one.name,
            one.title,
            one.layer,
            one.severity,
            one.status,
            storable(one.sentence),
            one.checked,
            one.failed,
            one.unit,
            storable_json(one.sample),
            one.link,
        )
        for one in outcomes
    ]
    if not rows:
        return
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            insert into raw.check_outcomes (
                run_id, file_id, schema_name, table_name, name, title, layer, severity, status, sentence, checked,
                failed, unit, sample, link
            )
            values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            on conflict (run_id, schema_name, table_name, name, file_id) do update set
                title = excluded.title, layer = excluded.layer, severity = excluded.severity, status = excluded.status,
                sentence = excluded.sentence, checked = excluded.checked, failed = excluded.failed,
                unit = excluded.unit, sample = excluded.sample, link = excluded.link, decided_at = now()
            """,
            rows,
        )


def outcomes_of(connection: psycopg.Connection[Any], run_ids: Sequence[str], file_id: int | None) -> list[CheckOutcome]:
    """Return what checks found in these runs about whole tables, and about one file; by layer, table and name."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            """
            select
                name, title, schema_name as schema, table_name as "table", layer, status, sentence, checked, failed,
                unit, sample, link, file_id
            from raw.check_outcomes
            where run_id = any(%s) and (file_id is null or file_id = %s)
            order by array_position(array['rows', 'relations', 'expectations'], layer), schema_name, table_name, name
            """,
            (list(run_ids), file_id),
        ).fetchall()
    return [CheckOutcome(**{**row, "sample": tuple(row["sample"])}) for row in rows]


def forget(connection: psycopg.Connection[Any], keep_days: int) -> int:
    """Forget what was found longer ago than that, and return how many outcomes that were."""
    return connection.execute(
        "delete from raw.check_outcomes where decided_at < now() - make_interval(days => %s)", (keep_days,)
    ).rowcount
