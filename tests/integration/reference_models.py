"""Stores of the reference in a real warehouse: files that are loaded and taken back, as the loader does it.

Reading and cleaning are left out, since the reference begins with events; merging and withdrawing are the loader's
own. What the models should make of it is in `reference_marts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from tests.reference.deliveries import Action, Load, Retract
from tests.reference.events import Parameters, Store
from validation.staging import Staging
from validation.withdrawing import Withdrawal

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(micros: int | None) -> datetime | None:
    return None if micros is None else EPOCH + timedelta(microseconds=micros)


def put_all_but_events(owner: psycopg.Connection[Any], store: Store) -> None:
    """Make schema raw hold the cameras and parameters of a store, and no event."""
    owner.execute(
        "truncate raw.files, raw.batches, raw.events, raw.duplicates, raw.retracted_events, raw.cameras, raw.parameters"
        " restart identity cascade"
    )
    _copy(
        owner,
        "raw.cameras (camera_id, site_id, timezone, capacity)",
        ((one.camera_id, one.site_id, one.timezone, one.capacity) for one in store.cameras.values()),
    )
    _copy(owner, "raw.parameters (name, value)", model_parameters(store.parameters).items())
    for site in store.barren_subfolders:
        owner.execute(
            "insert into raw.files (sha256, file_name, site, size_bytes, state, arrived_at)"
            " values (gen_random_uuid()::text, 'events.csv', %s, 0, 'failed', now())",
            [site],
        )


def act(loader: psycopg.Connection[Any], action: Action) -> None:
    """Load or retract a file, in a transaction of its own and as a batch of its own."""
    with loader.transaction():
        if isinstance(action, Load):
            _load(loader, action)
        else:
            _retract(loader, action)


def _sha256(file: int) -> str:
    return f"{file:064x}"


def _load(loader: psycopg.Connection[Any], file: Load) -> None:
    file_id = _one(
        loader,
        "insert into raw.files (sha256, file_name, site, size_bytes, state, arrived_at)"
        " values (%s, 'events.csv', %s, 0, 'loading', %s) returning file_id",
        [_sha256(file.file), file.site, moment(file.arrived_at)],
    )
    staging = Staging(loader, file_id)
    _copy(
        loader,
        "staging (event_id, person_id, camera_id, event_type, event_word, event_time, end_time, confidence, age,"
        " age_group, gender, row_number)",
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
                event.age,
                event.age_group,
                event.gender,
                row_number,
            )
            for row_number, event in enumerate(file.events, start=2)
        ),
    )
    staging.rows = len(file.events)
    batch_id = _begin_batch(loader, "load", file_id)
    merged = staging.merge(batch_id)
    loader.execute(
        "update raw.files set state = 'loaded', batch_id = %s, rows_read = %s, rows_loaded = %s, rows_rejected = 0,"
        " rows_duplicate = %s where file_id = %s",
        [batch_id, len(file.events), merged.rows_loaded, merged.rows_duplicate, file_id],
    )


def _retract(loader: psycopg.Connection[Any], file: Retract) -> None:
    file_id = _one(loader, "select file_id from raw.files where sha256 = %s", [_sha256(file.file)])
    batch_id = _begin_batch(loader, "retract", file_id)
    Withdrawal(loader, file_id).carry_out(batch_id)
    loader.execute("update raw.files set state = 'retracted', batch_id = %s where file_id = %s", [batch_id, file_id])


def _begin_batch(loader: psycopg.Connection[Any], kind: str, file_id: int) -> int:
    return _one(loader, "insert into raw.batches (kind, file_id) values (%s, %s) returning batch_id", [kind, file_id])


def _one(connection: psycopg.Connection[Any], statement: str, values: Sequence[Any]) -> int:
    row = connection.execute(statement, values).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return int(row[0])


def model_parameters(parameters: Parameters) -> dict[str, Jsonb]:
    values = {
        "max_session_hours": parameters.max_session_hours,
        "repeat_seconds": parameters.repeat_seconds,
        "visit_gap_minutes": parameters.visit_gap_minutes,
        "bounce_seconds": parameters.bounce_seconds,
        "default_timezone": parameters.default_timezone,
        "excluded_ids": list(parameters.excluded_ids),
        "min_confidence": parameters.min_confidence,
        "anonymous_ids": list(parameters.anonymous_ids),
    }
    return {name: Jsonb(value) for name, value in values.items()}


def _copy(connection: psycopg.Connection[Any], into: str, rows: Iterable[Sequence[Any]]) -> None:
    with connection.cursor() as cursor, cursor.copy(f"copy {into} from stdin") as copy:  # type: ignore[arg-type]
        for row in rows:
            copy.write_row(row)
