"""The columns of an event: every check finds every row that fails it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandera.errors
import pyarrow as pa
import pytest

from validation.schemas import EVENT_SCHEMA, TIME, Limits, event_columns, failures

LIMITS = Limits(datetime(2000, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC), timedelta(days=2))
DAY = 86_400_000_000
NOON = 1_700_000_000_000_000
EARLIEST = int(LIMITS.earliest.timestamp()) * 1_000_000
LATEST = int(LIMITS.latest.timestamp()) * 1_000_000
GOOD: dict[str, Any] = {
    "person_id": "P1",
    "camera_id": "C1",
    "event_type": "entry",
    "event_word": "in",
    "event_time": NOON,
    "end_time": None,
    "interval": None,
    "zone": None,
    "confidence": None,
    "age": None,
    "age_group": None,
    "gender": None,
}


def table_of(*rows: dict[str, Any]) -> pa.Table:
    schema = event_columns(LIMITS)
    columns = {}
    for name, column in schema.columns.items():
        kind = column.dtype.type.pyarrow_dtype
        values = [(GOOD | row)[name] for row in rows]
        plain = pa.int64() if pa.types.is_temporal(kind) else kind
        columns[name] = pa.array(values, plain).cast(kind)
    return pa.table(columns)


def found_in(*rows: dict[str, Any]) -> set[tuple[str, str, tuple[int, ...]]]:
    return {(f.column, f.code, tuple(f.positions.tolist())) for f in failures(event_columns(LIMITS), table_of(*rows))}


@pytest.mark.parametrize(
    ("column", "code", "bad", "good"),
    [
        ("person_id", "missing_value", [None], ["x"]),
        ("person_id", "id_too_long", ["x" * 101, "é" * 101], ["x" * 100, "é" * 100, "👤" * 100]),
        (
            "person_id",
            "control_characters",
            ["a\x01", "\x7fa", "a\x85b", "a\nb", "a\tb", "\x9f"],
            ["a b", "é", "\u2028"],
        ),
        ("camera_id", "missing_value", [None], ["x"]),
        ("camera_id", "id_too_long", ["x" * 51], ["x" * 50, "漢" * 50]),
        ("camera_id", "control_characters", ["a\x1fb"], ["NA"]),
        ("event_type", "missing_value", [None], ["exit"]),
        ("event_type", "isin", ["enter", ""], ["entry", "exit", "appearance", "other"]),
        ("event_word", "missing_value", [None], ["\x01", "x" * 1000]),
        ("event_time", "missing_value", [None], [NOON]),
        ("event_time", "timestamp_out_of_range", [EARLIEST - 1, LATEST + 1, -(2**55), 2**57], [EARLIEST, LATEST]),
        ("end_time", "timestamp_out_of_range", [EARLIEST - 1, LATEST + 1], [EARLIEST, LATEST, None]),
        ("interval", "interval_negative", [-1, -DAY], [0, 1, None]),
        ("interval", "interval_too_long", [2 * DAY + 1], [2 * DAY, 0, None]),
        ("confidence", "not_finite", [float("inf"), float("-inf"), float("nan")], [0.0, -1.5, 1e300, None]),
        ("age", "no_human_age", [-1, 151, -32768, 32767], [0, 150, None]),
    ],
)
def test_lazy_validation_reports_every_failing_row_of_each_check(
    column: str, code: str, bad: list[Any], good: list[Any]
) -> None:
    """Pandera stops short in some modes and caps what it reports in others: here it must not."""
    rows: list[dict[str, Any]] = []
    expected = []
    for round_ in range(300):
        for value in (*good, *bad, *good):
            if value in bad and value not in good:
                expected.append(len(rows))
            rows.append({column: value, "zone": f"{round_}"})
    assert found_in(*rows) == {(column, code, tuple(expected))}


def test_all_checks_are_reported_at_once() -> None:
    found = found_in(
        {},
        {"person_id": "x" * 101 + "\x01", "camera_id": None, "event_time": LATEST + 1, "interval": -1},
        {"person_id": None, "age": 200, "confidence": float("inf"), "end_time": 0},
        {"person_id": "y" * 101},
    )
    assert found == {
        ("person_id", "missing_value", (2,)),
        ("person_id", "id_too_long", (1, 3)),
        ("person_id", "control_characters", (1,)),
        ("camera_id", "missing_value", (1,)),
        ("event_time", "timestamp_out_of_range", (1,)),
        ("end_time", "timestamp_out_of_range", (2,)),
        ("interval", "interval_negative", (1,)),
        ("confidence", "not_finite", (2,)),
        ("age", "no_human_age", (2,)),
    }


def test_good_rows_and_no_rows_fail_nothing() -> None:
    assert found_in({}, {"age": 30}) == set()
    assert failures(event_columns(LIMITS), table_of({}).slice(0, 0)) == []


def test_a_table_of_the_wrong_shape_is_our_fault_and_no_rows() -> None:
    wrong = table_of({}).set_column(8, "confidence", pa.array(["high"]))
    with pytest.raises((pandera.errors.SchemaErrors, TypeError)):
        failures(event_columns(LIMITS), wrong)
    with pytest.raises(pandera.errors.SchemaErrors):
        failures(event_columns(LIMITS), table_of({}).drop(["zone"]))


def test_the_events_columns_and_their_order() -> None:
    assert EVENT_SCHEMA.names == [
        "event_id",
        "person_id",
        "camera_id",
        "event_type",
        "event_word",
        "event_time",
        "end_time",
        "zone",
        "confidence",
        "age",
        "age_group",
        "gender",
        "attributes",
        "row_number",
    ]
    assert EVENT_SCHEMA.field("end_time").type == TIME
    required = {field.name for field in EVENT_SCHEMA if not field.nullable}
    assert required == {"event_id", "person_id", "camera_id", "event_type", "event_word", "event_time", "row_number"}
