"""What is encoded for COPY is what PostgreSQL then holds."""

from __future__ import annotations

from datetime import UTC
from uuid import UUID

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from validation import copy_format
from warehouse.connections import Warehouse

COLUMNS = {
    "id": ("uuid", pa.string()),
    "text": ("text", pa.string()),
    "json": ("jsonb", pa.string()),
    "big": ("bigint", pa.int64()),
    "small": ("smallint", pa.int16()),
    "number": ("double precision", pa.float64()),
    "at": ("timestamptz", pa.timestamp("us", "UTC")),
}
SCHEMA = pa.schema([(name, kind) for name, (_, kind) in COLUMNS.items()])
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
rows = st.fixed_dictionaries(
    {
        "id": st.uuids().map(str),
        "text": st.none() | texts,
        "json": st.none() | st.sampled_from(['{"a": "b"}', '{"ü": "店 \\\\ \\""}', "[]"]),
        "big": st.none() | st.integers(-(2**63), 2**63 - 1),
        "small": st.none() | st.integers(-(2**15), 2**15 - 1),
        "number": st.none() | st.floats(allow_nan=False),
        "at": st.none() | st.datetimes(timezones=st.just(UTC)),
    }
)


def copied(connection: psycopg.Connection, table: pa.Table) -> list[tuple[object, ...]]:
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in COLUMNS.items())
    connection.execute(f"create temporary table copied (place bigint generated always as identity, {columns})")
    with connection.cursor().copy(f"copy copied ({', '.join(COLUMNS)}) from stdin (format binary)") as copy:
        copy.write(copy_format.HEADER)
        copy.write(copy_format.encode(table, {"id": "uuid", "json": "jsonb"}))
        copy.write(copy_format.TRAILER)
    found = connection.execute(
        "select id, text, json::text, big, small, number, at from copied order by place"
    ).fetchall()
    connection.rollback()
    return found


def expected(connection: psycopg.Connection, values: list[dict[str, object]]) -> list[tuple[object, ...]]:
    def json(text: object) -> object:
        row = connection.execute("select (%s::jsonb)::text", (text,)).fetchone()
        assert row is not None
        return row[0]

    return [
        (UUID(str(v["id"])), v["text"], json(v["json"]), v["big"], v["small"], v["number"], v["at"]) for v in values
    ]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(rows, min_size=1, max_size=8), st.integers(0, 3))
def test_a_round_trip(warehouse: Warehouse, values: list[dict[str, object]], sliced: int) -> None:
    with warehouse.connect("owner") as connection:
        # A slice of a longer table shares its buffers and begins in their middle.
        table = pa.Table.from_pylist(values, SCHEMA)
        assert copied(connection, table.slice(sliced)) == expected(connection, values[sliced:])


def test_no_rows(warehouse: Warehouse) -> None:
    with warehouse.connect("owner") as connection:
        assert copied(connection, SCHEMA.empty_table()) == []


def test_a_column_that_has_no_binary_form_here_is_refused() -> None:
    with pytest.raises(TypeError, match="a column of bool cannot be copied"):
        copy_format.encode(pa.table({"a": [True]}), {})
