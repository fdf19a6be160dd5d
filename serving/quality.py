"""The managers' page: what became of the files of the last 30 days, what waits for somebody, how fresh the figures are.

Its numbers are those of marts.file_quality, quality_daily, failed_checks and data_version, all read from one snapshot;
only ages are reckoned here, where the clock is. How they are written and drawn is told in `rendering` and `drawing`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from serving.database import Connection, Database
from serving.drawing import Bar, bars
from serving.rendering import counted, duration, page, percent

DAYS: Final = 30
SHOWN_FILES: Final = 100
SHOWN_CHECKS: Final = 5
Row = dict[str, Any]

_DAYS = """
select
    arrival_date,
    sum(files_received)::bigint as files_received,
    sum(files_usable)::bigint as files_usable,
    sum(files_with_warnings)::bigint as files_with_warnings,
    sum(files_quarantined)::bigint as files_quarantined,
    sum(files_retracted)::bigint as files_retracted,
    sum(files_failed)::bigint as files_failed,
    sum(files_loading)::bigint as files_loading,
    sum(files_late)::bigint as files_late,
    sum(rows_read)::bigint as rows_read,
    sum(rows_loaded)::bigint as rows_loaded,
    sum(rows_rejected)::bigint as rows_rejected,
    sum(rows_duplicate)::bigint as rows_duplicate,
    sum(rows_held)::bigint as rows_held,
    sum(rows_rejected)::double precision / nullif(sum(rows_read), 0) as rejected_share
from marts.quality_daily
where arrival_date >= %(first)s
group by grouping sets (arrival_date, ())
order by arrival_date desc nulls first
"""
_FILE = """
    file_id, file_name, state, arrived_at, rows_read, rows_loaded, rows_rejected, rejected_share, has_warnings, is_late,
    repaired_by_file_id, is_open_quarantine, verdict
"""
_WAITING = f"""
select {_FILE}, count(*) over () as of_all
from marts.file_quality where is_open_quarantine order by arrived_at, file_id limit %(shown)s
"""  # noqa: S608
_RECENT = f"""
select {_FILE}, count(*) over () as of_all
from marts.file_quality where arrived_at >= %(start)s order by arrived_at desc, file_id desc limit %(shown)s
"""  # noqa: S608
_VERSION = "select version, published_at from marts.data_version order by version desc limit 1"
_NOT_PUBLISHED = """
select count(*) as files
from marts.file_quality
where state in ('loaded', 'retracted') and finished_at > %(published_at)s
"""
_HOLDING_BACK = """
select title, schema_name, table_name, status, sentence, decided_at, count(*) over () as of_all
from marts.failed_checks
where severity = 'error' and (%(published_at)s::timestamptz is null or decided_at > %(published_at)s)
order by status desc, decided_at desc, schema_name, table_name, check_name
limit %(shown)s
"""


@dataclass(frozen=True)
class Overview:
    """What the page shows; lists may be cut short.

    `days` has only days on which something arrived, the newest first, and `total` their sums.
    """

    at: datetime
    first: date
    total: Row
    days: Sequence[Row]
    waiting: Sequence[Row]
    recent: Sequence[Row]
    holding_back: Sequence[Row]
    version: Row | None
    not_published: int

    @property
    def last(self) -> date:
        """Today, in UTC."""
        return self.at.date()

    @property
    def headline(self) -> str:
        """The page in one sentence."""
        total, waiting = self.total, _of_all(self.waiting)
        arrived = total["files_received"] or 0
        told = [f"In the last {DAYS} days {counted(arrived, 'file') if arrived else 'no file'} arrived"]
        if arrived:
            usable = total["files_usable"]
            told.append(f"{usable:,} {'are' if usable > 1 else 'is'} usable" if usable else "none is usable")
        if total["rejected_share"] is not None:
            told.append(f"{percent(total['rejected_share'])} of rows were rejected")
        if waiting:
            oldest = duration(self.age(self.waiting[0]))
            who = counted(waiting, "quarantined file waits", "quarantined files wait")
            told.append(f"{who} for somebody, {'the oldest ' if waiting > 1 else ''}for {oldest}")
        return "; ".join(told) + "."

    def age(self, file: Row) -> timedelta:
        """How long ago a file arrived; a clock that is set back makes nothing younger than new."""
        arrived_at: datetime = file["arrived_at"]
        return max(self.at - arrived_at, timedelta(0))

    @property
    def more_waiting(self) -> int:
        """How many open quarantines are not listed."""
        return _of_all(self.waiting) - len(self.waiting)

    @property
    def more_recent(self) -> int:
        """How many files of these days are not listed."""
        return _of_all(self.recent) - len(self.recent)

    @property
    def more_holding_back(self) -> int:
        """How many failed checks are not listed."""
        return _of_all(self.holding_back) - len(self.holding_back)

    @property
    def bars(self) -> Sequence[Bar]:
        """Rows loaded and rejected on every day, the oldest first."""
        by_day = {row["arrival_date"]: row for row in self.days}
        dates = (self.first + timedelta(days=number) for number in range(DAYS))
        none = {"rows_loaded": 0, "rows_rejected": 0}
        return bars([(day, *_both(by_day.get(day, none))) for day in dates])

    @property
    def most(self) -> int:
        """How many rows the tallest bar stands for."""
        return max((bar.loaded + bar.rejected for bar in self.bars), default=0)


def build_router(database: Database, reports: Path, clock: Callable[[], datetime]) -> APIRouter:
    """Return GET /quality; `reports` is where reports of files lie, `clock` tells the present in UTC."""
    router = APIRouter()

    @router.api_route("/quality", methods=["GET", "HEAD"], include_in_schema=False)
    async def quality() -> HTMLResponse:
        at = clock()
        try:
            async with database.snapshot() as connection:
                overview = await read_overview(connection, at)
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
            # The models make these tables, with the first file; after an update, they add columns with the next.
            return page("not_yet.html")
        return page(
            "quality.html",
            overview=overview,
            badge=badge,
            has_report=lambda file: (reports / "files" / str(file["file_id"]) / "index.html").is_file(),
        )

    return router


async def read_overview(connection: Connection, at: datetime) -> Overview:
    """Read all that the page shows at an instant of UTC: today and the 29 days before it, and whatever still waits."""
    first = at.date() - timedelta(days=DAYS - 1)
    start = datetime.combine(first, time(), UTC)

    async def rows(query: str, **values: Any) -> list[Row]:
        return await (await connection.execute(query, values)).fetchall()

    total, *days = await rows(_DAYS, first=first)
    version = next(iter(await rows(_VERSION)), None)
    published_at = version and version["published_at"]
    return Overview(
        at=at,
        first=first,
        total=total,
        days=days,
        waiting=await rows(_WAITING, shown=SHOWN_FILES),
        recent=await rows(_RECENT, start=start, shown=SHOWN_FILES),
        holding_back=await rows(_HOLDING_BACK, published_at=published_at, shown=SHOWN_CHECKS),
        version=version,
        not_published=(await rows(_NOT_PUBLISHED, published_at=published_at))[0]["files"],
    )


def badge(file: Row) -> tuple[str, str]:
    """Return the verdict on a file in two or three words, and how good that is: good, fair, bad or idle."""
    match file["state"]:
        case "loaded" if not file["rows_read"]:
            return "Usable, but empty", "fair"
        case "loaded":
            return ("Usable, with warnings", "fair") if file["has_warnings"] else ("Usable", "good")
        case "quarantined":
            return ("Not usable", "bad") if file["is_open_quarantine"] else ("Not usable, but repaired", "idle")
        case "retracted":
            return "Retracted", "idle"
        case "failed":
            return "Broke off, is tried again", "bad"
        case _:
            return "Being loaded", "idle"


def _both(day: Row) -> tuple[int, int]:
    return day["rows_loaded"], day["rows_rejected"]


def _of_all(rows: Sequence[Row]) -> int:
    return rows[0]["of_all"] if rows else 0
