"""The single source of truth about an event's columns: types, what is required, lengths and ranges.

Judged by Pandera, lazily and a whole table at a time; each check bears the code under which its rows are
rejected. What a failing row is told, and which failures set a value aside rather than a row, is decided in `cleaning`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
from pandera.errors import SchemaErrorReason, SchemaErrors

from validation.events import EventType

MAX_PERSON_ID = 100
MAX_CAMERA_ID = 50
MAX_AGE = 150

TIME = pa.timestamp("us", "UTC")


@dataclass(frozen=True, slots=True)
class Limits:
    """The ranges that depend on the settings and on when the file arrived; both ends are allowed values."""

    earliest: datetime
    latest: datetime
    longest_interval: timedelta


@dataclass(frozen=True, slots=True)
class Failure:
    """A check that rows failed: which column, under which code, at which positions of the table (ascending)."""

    column: str
    code: str
    positions: npt.NDArray[np.int64]


def _column(kind: pa.DataType, *checks: pandera.Check, nullable: bool = False) -> pandera.Column:
    return pandera.Column(pd.ArrowDtype(kind), list(checks), nullable=nullable)


def _id_checks(longest: int) -> list[pandera.Check]:
    return [
        pandera.Check.str_length(max_value=longest, name="id_too_long"),
        pandera.Check(lambda texts: ~texts.str.contains(r"\p{Cc}", regex=True), name="control_characters"),
    ]


def event_columns(limits: Limits) -> pandera.DataFrameSchema:
    """Describe the columns of an event that a file gives it, and `interval`, the time between its start and its end.

    `camera_id` is judged as the file has it, before its site is put in front.
    """
    text = pa.string()
    in_range = pandera.Check.in_range(
        pd.Timestamp(limits.earliest), pd.Timestamp(limits.latest), name="timestamp_out_of_range"
    )
    return pandera.DataFrameSchema(
        {
            "person_id": _column(text, *_id_checks(MAX_PERSON_ID)),
            "camera_id": _column(text, *_id_checks(MAX_CAMERA_ID)),
            "event_type": _column(text, pandera.Check.isin(get_args(EventType))),
            "event_word": _column(text),
            "event_time": _column(TIME, in_range),
            "end_time": _column(TIME, in_range, nullable=True),
            "interval": _column(
                pa.duration("us"),
                pandera.Check.ge(timedelta(0), name="interval_negative"),
                pandera.Check.le(limits.longest_interval, name="interval_too_long"),
                nullable=True,
            ),
            "zone": _column(text, nullable=True),
            "confidence": _column(
                pa.float64(), pandera.Check(lambda numbers: numbers.abs() < math.inf, name="not_finite"), nullable=True
            ),
            "age": _column(pa.int16(), pandera.Check.in_range(0, MAX_AGE, name="no_human_age"), nullable=True),
            "age_group": _column(text, nullable=True),
            "gender": _column(text, nullable=True),
        },
        strict=True,
    )


def _event_schema() -> pa.Schema:
    anything = Limits(datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC), timedelta.max)
    judged = {
        name: pa.field(name, column.dtype.type.pyarrow_dtype, nullable=column.nullable)
        for name, column in event_columns(anything).columns.items()
        if name != "interval"
    }
    return pa.schema(
        [
            pa.field("event_id", pa.string(), nullable=False),
            *judged.values(),
            pa.field("attributes", pa.string()),
            pa.field("row_number", pa.int64(), nullable=False),
        ]
    )


EVENT_SCHEMA: pa.Schema = _event_schema()
"""A clean event, in the order of the staging table. `event_id` is a UUID as text, `attributes` JSON as text."""


def failures(schema: pandera.DataFrameSchema, table: pa.Table) -> list[Failure]:
    """List every check that rows of this table fail, with all its failing rows; a null's code is missing_value.

    Raises SchemaErrors where the table as such is wrong (a column's type, a column too many): that is no row's fault.
    """
    frame = table.to_pandas(types_mapper=pd.ArrowDtype)
    try:
        schema.validate(frame, lazy=True)
    except SchemaErrors as problems:
        found = []
        for error in problems.schema_errors:
            if error.reason_code is SchemaErrorReason.SERIES_CONTAINS_NULLS:
                code = "missing_value"
            elif error.reason_code is SchemaErrorReason.DATAFRAME_CHECK:
                code = error.check.name
            else:
                raise
            positions = np.unique(error.failure_cases["index"].to_numpy(np.int64))
            found.append(Failure(str(error.schema.name), code, positions))
        return found
    return []
