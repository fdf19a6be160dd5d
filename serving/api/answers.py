"""What an answer looks like: rows, what they are about, and where the next page begins; as JSON or CSV.

What the rows are is each endpoint's own.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final, Generic, TypeVar
from zoneinfo import ZoneInfo

import orjson
from pydantic import BaseModel, Field

from serving.api.choosing import Chosen
from serving.api.parameters import Parameters
from serving.cache.state import PresentState

Row = dict[str, Any]
Data = TypeVar("Data")
# What a spreadsheet would take for a formula.
_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")


class RangeMeta(BaseModel):
    """The range that an answer is about."""

    start: datetime | None = Field(description="Its first instant; null where it is open.")
    end: datetime | None = Field(description="The first instant after it; null where it is open.")


class Meta(BaseModel):
    """What an answer is about."""

    range: RangeMeta | None = Field(description="The range of time; null where none can be asked for.")
    tz: str | None = Field(description="The time zone in which times are written and buckets begin.", examples=["UTC"])
    interval: str | None = Field(description="hour, day or week; null for an answer without buckets of time.")
    filters: dict[str, list[str]] = Field(description="The filters as they were given.")
    data_version: int | None = Field(
        description="The newest published state of the marts; null before the first.", examples=[42]
    )
    is_settled: bool = Field(
        description="Whether the answer shows just that state: false while newer data are being taken in."
    )
    generated_at: datetime = Field(description="When the answer was made; it is kept for up to an hour.")
    share_without_exit: float | None = Field(
        description="The share of the sessions meant that have no exit, from 0 to 1; null without sessions."
    )


class PageMeta(BaseModel):
    """Where in a long answer this page is."""

    limit: int = Field(description="How many rows it has at most.", examples=[100])
    next_cursor: str | None = Field(description="The cursor of the next page; null on the last.")


class Answer(BaseModel, Generic[Data]):
    """Every answer."""

    data: Data = Field(description="What was asked for.")
    meta: Meta = Field(description="What it is about.")
    page: PageMeta | None = Field(description="Where in a long answer this page is; null where there are no pages.")


@dataclass(frozen=True)
class Found:
    """What a question came to: rows, or a single one; `next_cursor` where there are more."""

    data: Sequence[Row] | Row
    chosen: Chosen | None = None
    interval: str | None = None
    share_without_exit: float | None = None
    next_cursor: str | None = None


def as_json(found: Found, asked: Parameters, state: PresentState, now: datetime) -> bytes:
    """Return the whole answer; times are written in the zone that was chosen."""
    chosen = found.chosen
    zone = ZoneInfo(chosen.zone) if chosen is not None else UTC
    limit = getattr(asked, "limit", None)
    told = {
        "data": _local(found.data, zone),
        "meta": {
            "range": None if chosen is None else {"start": _in(chosen.start, zone), "end": _in(chosen.end, zone)},
            "tz": None if chosen is None else chosen.zone,
            "interval": found.interval,
            "filters": _filters(asked),
            "data_version": state.version,
            "is_settled": state.is_settled,
            "generated_at": now,
            "share_without_exit": found.share_without_exit,
        },
        "page": None if limit is None else {"limit": limit, "next_cursor": found.next_cursor},
    }
    return orjson.dumps(told, option=orjson.OPT_UTC_Z)


def as_csv(found: Found, columns: Sequence[str]) -> bytes:
    """Return the rows alone. A text that a spreadsheet would take for a formula is given an apostrophe before it."""
    zone = ZoneInfo(found.chosen.zone) if found.chosen is not None else UTC
    rows = [found.data] if isinstance(found.data, Mapping) else found.data
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([_cell(row[name], zone) for name in columns] for row in rows)
    return out.getvalue().encode()


def _cell(value: object, zone: Any) -> object:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.astimezone(zone).isoformat()
        case date():
            return value.isoformat()
        case str():
            return f"'{value}" if value.startswith(_FORMULAS) else value
        case dict() | list():
            return _cell(orjson.dumps(value).decode(), zone)
        case _:
            return value


def _local(data: Any, zone: Any) -> Any:
    if isinstance(data, Mapping):
        return {name: _in(value, zone) for name, value in data.items()}
    return [{name: _in(value, zone) for name, value in row.items()} for row in data]


def _in(value: Any, zone: Any) -> Any:
    return value.astimezone(zone) if isinstance(value, datetime) else value


def _filters(asked: Parameters) -> dict[str, list[str]]:
    """Return the filters that were given."""
    return {name: value for name, value in asked.model_dump().items() if isinstance(value, list) and value}
