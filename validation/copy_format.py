"""Arrow tables in the binary format of PostgreSQL's COPY.

Knows types and bytes, no table of ours. Every field of a row is its length (4 bytes, -1 for null) and its value,
big-endian (https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format"). Fields are laid end to end by Arrow
itself, without a loop over rows.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

Kind = Literal["uuid", "jsonb", "plain"]

_NULL = pa.scalar(b"\xff\xff\xff\xff")
_POSTGRES_EPOCH_MICROS = 946_684_800_000_000  # 2000-01-01
_JSONB_VERSION = b"\x01"

_UUID_DIGITS = [place for place in range(36) if place not in {8, 13, 18, 23}]


def encode(table: pa.Table, kinds: dict[str, Kind]) -> memoryview:
    """Encode the rows of a table, to be written between HEADER and TRAILER.

    Columns may be strings, int16, int64, float64 and timestamps (microseconds, UTC). `kinds` names those strings that
    are something else in the database: a `uuid` (never null, as 36 characters) or `jsonb`.
    """
    if not table.num_rows:
        return memoryview(b"")
    count = np.frombuffer(len(table.column_names).to_bytes(2, "big"), np.uint8)
    fields: list[pa.Array] = [_fixed(np.broadcast_to(count, (table.num_rows, 2)))]
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        match kinds.get(name, "plain"):
            case "uuid":
                fields.append(_lengths_and(_uuid_bytes(column), 16))
            case "jsonb":
                fields += _text(column, _JSONB_VERSION)
            case "plain":
                fields += _plain(column)
    rows = pc.binary_join_element_wise(*fields, pa.scalar(b""))
    offsets = np.frombuffer(rows.buffers()[1], np.int32)
    return memoryview(rows.buffers()[2])[offsets[rows.offset] : offsets[rows.offset + len(rows)]]


def _plain(column: pa.Array) -> list[pa.Array]:
    kind = column.type
    if pa.types.is_string(kind):
        return _text(column, b"")
    if pa.types.is_timestamp(kind) and kind.unit == "us":
        return [_number(pc.subtract(column.cast(pa.int64()), _POSTGRES_EPOCH_MICROS), ">i8")]
    if pa.types.is_int64(kind):
        return [_number(column, ">i8")]
    if pa.types.is_int16(kind):
        return [_number(column, ">i2")]
    if pa.types.is_float64(kind):
        return [_number(column, ">f8")]
    raise TypeError(f"a column of {kind} cannot be copied")


def _fixed(rows: NDArray[np.uint8]) -> pa.Array:
    """Make n binary values of an (n, width) array of bytes."""
    count, width = rows.shape
    buffer = pa.py_buffer(np.ascontiguousarray(rows))
    return pa.Array.from_buffers(pa.binary(width), count, [None, buffer]).cast(pa.binary())


def _lengths_and(values: NDArray[np.uint8], width: int) -> pa.Array:
    """Fields of one and the same width, none of them null."""
    fields = np.empty((len(values), 4 + width), np.uint8)
    fields[:, :4] = np.frombuffer(width.to_bytes(4, "big"), np.uint8)
    fields[:, 4:] = values
    return _fixed(fields)


def _number(column: pa.Array, form: str) -> pa.Array:
    if column.null_count == len(column):
        return pa.repeat(_NULL, len(column))
    values = column.fill_null(0).to_numpy(zero_copy_only=False).astype(form)
    width = values.dtype.itemsize
    fields = _lengths_and(values.view(np.uint8).reshape(-1, width), width)
    return pc.if_else(column.is_valid(), fields, _NULL) if column.null_count else fields


def _text(column: pa.Array, prefix: bytes) -> list[pa.Array]:
    if column.null_count == len(column):
        return [pa.repeat(_NULL, len(column))]
    # A null field is the length -1 and nothing after it.
    lengths = pc.fill_null(pc.add(pc.binary_length(column), len(prefix)), -1).to_numpy(zero_copy_only=False)
    fields = [_fixed(lengths.astype(">i4").view(np.uint8).reshape(-1, 4))]
    if prefix:
        marks = pa.repeat(pa.scalar(prefix), len(column))
        fields.append(pc.if_else(column.is_valid(), marks, pa.scalar(b"")) if column.null_count else marks)
    return [*fields, pc.fill_null(column.cast(pa.binary()), b"")]


def _uuid_bytes(column: pa.Array) -> NDArray[np.uint8]:
    """Turn UUIDs as text, in lower case, into (n, 16) bytes."""
    first = np.frombuffer(column.buffers()[1], np.int32)[column.offset]
    texts = np.frombuffer(column.buffers()[2], np.uint8)[first : first + 36 * len(column)]
    digits = texts.reshape(-1, 36)[:, _UUID_DIGITS]
    nibbles = np.where(digits >= ord("a"), digits - (ord("a") - 10), digits - ord("0"))
    return np.asarray((nibbles[:, 0::2] << 4) | nibbles[:, 1::2], np.uint8)
