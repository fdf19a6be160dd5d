"""The dbt models on a real database, filled from a store of the reference and read back in its terms.

The statements are those that dbt compiles, as a full refresh runs them; nothing is typed again here. Running them
without dbt's own start-up is what lets hundreds of stores be judged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tests.integration.modelling import Models
from tests.reference.events import Event, Parameters, Store

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Rows = list[dict[str, Any]]


def moment(micros: int | None) -> datetime | None:
    return None if micros is None else EPOCH + timedelta(microseconds=micros)


@dataclass(frozen=True)
class ReferenceModels:
    """dbt's models in one warehouse, to be filled from stores."""

    models: Models

    def compile_inline(self, statement: str) -> str:
        """Have dbt fill in the macros of a statement."""
        outcome = self.models.dbt("compile", "--inline", statement)
        assert outcome.success, outcome.exception
        compiled: str = outcome.result.results[0].node.compiled_code  # type: ignore[union-attr]
        return compiled

    @cached_property
    def stored(self) -> list[tuple[sql.Identifier, list[str], str]]:
        """Each stored model in the order in which they are built: its table, its columns, its statement."""
        outcome = self.models.dbt("compile", "--full-refresh")
        assert outcome.success, outcome.exception
        return [
            (sql.Identifier(node.schema, node.name), list(node.columns), node.compiled_code)
            for node in (result.node for result in outcome.result.results)  # type: ignore[union-attr]
            if node.resource_type == "model" and node.config.materialized in {"incremental", "table"}
        ]

    def refill(self, store: Store) -> None:
        """Put a store into schema raw in place of what is there, and compute every stored model anew."""
        with self.models.warehouse.connect("owner") as connection:
            put(connection, store)
        with self.models.warehouse.connect("transformer") as connection:
            for table, columns, statement in self.stored:
                names = sql.SQL(", ").join(map(sql.Identifier, columns))
                connection.execute(sql.SQL("delete from {}").format(table))
                connection.execute(
                    sql.SQL("insert into {} ({}) select {} from (").format(table, names, names)
                    + sql.SQL(statement)  # type: ignore[arg-type]
                    + sql.SQL(") as recomputed")
                )

    def rows(self, tables: Iterable[str]) -> dict[str, Rows]:
        """All rows of some marts, as somebody sees them who may only read."""
        with self.models.warehouse.connect("bi_reader", row_factory=dict_row) as connection:
            return {
                table: connection.execute(sql.SQL("select * from {}").format(sql.Identifier("marts", table))).fetchall()
                for table in tables
            }


def put(connection: psycopg.Connection, store: Store) -> None:
    """Make schema raw hold exactly this store."""
    connection.execute(
        "truncate raw.files, raw.batches, raw.events, raw.duplicates, raw.retracted_events, raw.cameras, raw.parameters"
        " restart identity cascade"
    )
    _copy(
        connection,
        "raw.cameras",
        ("camera_id", "site_id", "timezone"),
        ((camera.camera_id, camera.site_id, camera.timezone) for camera in store.cameras.values()),
    )
    _copy(connection, "raw.parameters", ("name", "value"), model_parameters(store.parameters).items())
    for site in store.barren_subfolders:
        connection.execute(
            "insert into raw.files (sha256, file_name, site, size_bytes, state, arrived_at)"
            " values (gen_random_uuid()::text, 'events.csv', %s, 0, 'failed', now())",
            [site],
        )
    add(connection, store.events)


def add(connection: psycopg.Connection, events: Iterable[Event]) -> None:
    """Load further events, a batch for each of the files that they say they come from."""
    files: defaultdict[tuple[int, str | None], list[Event]] = defaultdict(list)
    for event in events:
        files[event.arrived_at, event.file_site].append(event)
    for (arrived_at, site), contents in files.items():
        file_id = _one(
            connection,
            "insert into raw.files (sha256, file_name, site, size_bytes, state, arrived_at,"
            " rows_read, rows_loaded, rows_rejected, rows_duplicate)"
            " values (gen_random_uuid()::text, 'events.csv', %s, 0, 'loaded', %s, 0, 0, 0, 0) returning file_id",
            (site, moment(arrived_at)),
        )
        batch = "insert into raw.batches (kind, file_id) values ('load', %s) returning batch_id"
        batch_id = _one(connection, batch, (file_id,))
        _copy(
            connection,
            "raw.events",
            (
                *("event_id", "person_id", "camera_id", "event_type", "event_word", "event_time", "end_time"),
                *("confidence", "file_id", "row_number", "batch_id"),
            ),
            (
                (
                    event.event_id,
                    event.person_id,
                    event.camera_id,
                    event.event_type,
                    event.event_type,
                    moment(event.time),
                    moment(event.end),
                    event.confidence,
                    file_id,
                    row_number,
                    batch_id,
                )
                for row_number, event in enumerate(contents, start=2)
            ),
        )


def _one(connection: psycopg.Connection, statement: str, values: tuple[Any, ...]) -> int:
    row = connection.execute(statement, values).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return int(row[0])


def model_parameters(parameters: Parameters) -> dict[str, Jsonb]:
    values = {
        "max_session_hours": parameters.max_session_hours,
        "repeat_seconds": parameters.repeat_seconds,
        "visit_gap_minutes": 30,
        "bounce_seconds": 30,
        "default_timezone": parameters.default_timezone,
        "excluded_ids": list(parameters.excluded_ids),
        "min_confidence": parameters.min_confidence,
        "anonymous_ids": list(parameters.anonymous_ids),
    }
    return {name: Jsonb(value) for name, value in values.items()}


def _copy(connection: psycopg.Connection, table: str, columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    command = f"copy {table} ({', '.join(columns)}) from stdin"
    with connection.cursor() as cursor, cursor.copy(command) as copy:  # type: ignore[arg-type]
        for row in rows:
            copy.write_row(tuple(row))
