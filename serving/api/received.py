"""What arrived: the account of every file, its rejected rows, and the quality of the days."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field

from serving.api.answers import Found, Row
from serving.api.asking import Ask, Question, next_cursor
from serving.api.choosing import Chosen, range_of, refuse_other_sites, refuse_unknown
from serving.api.cursors import read_cursor
from serving.api.parameters import Identifiers, Page, Range
from serving.api.problems import Problem, shown

State = Literal["loading", "loaded", "quarantined", "failed", "retracted"]


class _OfSites(Range, Page):
    site_id: Identifiers = Field([], description="Only files that were dropped into these sites' folders.")


class FilesParameters(_OfSites):
    """Which files, by when they arrived."""

    state: Annotated[list[State], Field(max_length=5)] = Field([], description="Only files in these states.")


class QualityParameters(_OfSites):
    """Which days, by UTC."""


class RejectsParameters(Page):
    """Which of them, page by page."""


class File(BaseModel):
    """The account of a content that was dropped."""

    id: str = Field(description="What identifies the content: its SHA-256.", examples=["9f86d081884c7d65…"])
    file_name: str = Field(description="Its name when it was last judged.", examples=["cam-north 14:00.csv"])
    site_id: str | None = Field(description="The site's folder it was dropped in; null for the landing folder itself.")
    state: State = Field(description="What became of it.")
    arrived_at: datetime = Field(description="When it arrived.")
    finished_at: datetime | None = Field(description="When it was done with.")
    rows_read: int | None = Field(description="Rows in it, without the header.", examples=[10000])
    rows_loaded: int | None = Field(description="Rows that became events.", examples=[9931])
    rows_rejected: int | None = Field(description="Rows that were set aside.", examples=[69])
    rows_duplicate: int | None = Field(description="Rows that restate an event.", examples=[0])
    rows_held: int | None = Field(description="Good rows of a file that was quarantined whole.")
    rejected_share: float | None = Field(description="The share of rejected rows, from 0 to 1.", examples=[0.0069])
    first_event_time: datetime | None = Field(description="The earliest time in it.")
    last_event_time: datetime | None = Field(description="The latest time in it.")
    is_late: bool = Field(description="Whether it arrived more than 24 hours after that.")
    has_warnings: bool = Field(description="Whether it is loaded and there is something to look at all the same.")
    is_open_quarantine: bool = Field(description="Whether it waits for somebody to put it right.")
    verdict: str | None = Field(description="Its report in one sentence; null until the report is written.")


class QualityDay(BaseModel):
    """What arrived on a day of UTC in a site's folder."""

    arrival_date: date = Field(description="The day.")
    site_id: str | None = Field(description="The site's folder; null for the landing folder itself.")
    files_received: int = Field(description="Files that arrived.")
    files_usable: int = Field(description="Those of them that are loaded.")
    files_with_warnings: int = Field(description="Those of these that there is something to look at in.")
    files_quarantined: int = Field(description="Files that were quarantined.")
    files_late: int = Field(description="Files that arrived more than 24 hours after their newest event.")
    open_quarantines: int = Field(description="Quarantined files that wait for somebody.")
    rows_read: int = Field(description="Rows in these files.")
    rows_loaded: int = Field(description="Rows that became events.")
    rows_rejected: int = Field(description="Rows that were set aside.")
    rows_duplicate: int = Field(description="Rows that restate an event.")
    rows_held: int = Field(description="Good rows of files that were quarantined whole.")
    rejected_share: float | None = Field(description="The share of rejected rows, from 0 to 1.")


class Reject(BaseModel):
    """One reason for which one row was set aside."""

    row_number: int = Field(description="The row in the file, as a spreadsheet shows it.", examples=[17])
    reason: int = Field(description="Which of the row's reasons this is, from 1.", examples=[1])
    column_name: str | None = Field(description="The column; null where it is the row as a whole.")
    code: str = Field(description="The reason in a word.", examples=["unreadable_timestamp"])
    sentence: str = Field(description="The reason in a sentence.")
    raw_text: str = Field(description="The row as it stands in the file.")


_ARRIVED = """
    and (%(start)s::timestamptz is null or {time} >= %(start)s)
    and (%(end)s::timestamptz is null or {time} < %(end)s)
    and (%(sites)s::text[] is null or site_id = any(%(sites)s))
"""
_FILES = f"""
select file_id, sha256 as id, {", ".join(name for name in File.model_fields if name != "id")}
from marts.file_quality
where
    (%(states)s::text[] is null or state = any(%(states)s))
    {_ARRIVED.format(time="arrived_at")}
    and (%(after)s::bigint is null or file_id < %(after)s)
order by file_id desc
limit %(limit)s + 1
"""  # noqa: S608
_DAYS = f"""
select {", ".join(QualityDay.model_fields)}
from marts.quality_daily
where
    true
    {_ARRIVED.format(time="arrival_date::timestamp at time zone 'UTC'")}
    and (
        %(after)s::date is null
        or arrival_date < %(after)s
        or (arrival_date = %(after)s and coalesce(site_id, '') > %(after_site)s)
    )
order by arrival_date desc, coalesce(site_id, '')
limit %(limit)s + 1
"""  # noqa: S608


_FOLDERS = "select distinct site_id from marts.quality_daily where site_id is not null"
_FILE_ID = """
select file_id
from marts.file_quality
where sha256 = %(id)s and (%(sites)s::text[] is null or site_id = any(%(sites)s))
"""
_REJECTS = """
select row_number, reason, column_name, code, sentence, raw_text
from marts.file_rejects
where
    file_id = %(file_id)s
    and (%(after_row)s::bigint is null or (row_number, reason) > (%(after_row)s, %(after_reason)s::bigint))
order by row_number, reason
limit %(limit)s + 1
"""


async def _about(ask: Ask[Any]) -> tuple[Chosen, list[str] | None]:
    """Return the range, and the folders whose files are meant; None for all. A key for some sites has theirs alone."""
    asked = ask.asked
    refuse_other_sites(asked.site_id, ask.sites)
    if asked.site_id and ask.sites is None:
        refuse_unknown("site_id", asked.site_id, {row["site_id"] for row in await ask.rows(_FOLDERS)})
    zone = asked.tz or "UTC"
    start, end = range_of(asked, zone)
    folders = asked.site_id or (None if ask.sites is None else sorted(ask.sites))
    return Chosen([], [], zone, start, end), folders


def _page(ask: Ask[Any], chosen: Chosen, rows: list[Row], key: list[str], row: type[BaseModel]) -> Found:
    shown = [{name: found[name] for name in row.model_fields} for found in rows[: ask.asked.limit]]
    return Found(shown, chosen=chosen, next_cursor=next_cursor(ask, rows, key))


async def _find_files(ask: Ask[FilesParameters]) -> Found:
    chosen, folders = await _about(ask)
    (after,) = read_cursor(ask.route, ask.asked, [int]) or (None,)
    values = {"start": chosen.start, "end": chosen.end, "sites": folders, "states": ask.asked.state or None}
    rows = await ask.rows(_FILES, **values, after=after, limit=ask.asked.limit)
    return _page(ask, chosen, rows, ["file_id"], File)


async def _find_days(ask: Ask[QualityParameters]) -> Found:
    chosen, folders = await _about(ask)
    after, after_site = read_cursor(ask.route, ask.asked, [date, str]) or (None, None)
    values = {"start": chosen.start, "end": chosen.end, "sites": folders}
    rows = await ask.rows(_DAYS, **values, after=after, after_site=after_site, limit=ask.asked.limit)
    return _page(ask, chosen, rows, ["arrival_date", "site_id"], QualityDay)


async def _find_rejects(ask: Ask[RejectsParameters]) -> Found:
    file = await ask.rows(_FILE_ID, id=ask.path["id"], sites=None if ask.sites is None else sorted(ask.sites))
    if not file:
        raise unknown_file(ask.path["id"])
    after_row, after_reason = read_cursor(ask.route, ask.asked, [int, int]) or (None, None)
    values = {"file_id": file[0]["file_id"], "after_row": after_row, "after_reason": after_reason}
    rows = await ask.rows(_REJECTS, **values, limit=ask.asked.limit)
    return Found(rows[: ask.asked.limit], next_cursor=next_cursor(ask, rows, ["row_number", "reason"]))


def unknown_file(file_id: str) -> Problem:
    """Return the problem of a file that is not known, or not to the asker."""
    return Problem(404, "There is no such file", f"No content with the id {shown(file_id)} was dropped or sent here.")


FILES: Final = Question(
    "files",
    "files",
    "Files",
    "The account of every content that was ever dropped, the newest first; the range is that of their arrival.",
    FilesParameters,
    File,
    _find_files,
    is_kept=False,
)
REJECTS: Final = Question(
    "files/{id}/rejects",
    "files",
    "Rejected rows of a file",
    "Every reason for which a row of the file was set aside, in the order of its rows.",
    RejectsParameters,
    Reject,
    _find_rejects,
    is_kept=False,
)
QUALITY: Final = Question(
    "quality",
    "files",
    "Quality of the days",
    "What arrived on every day of UTC, the newest first.",
    QualityParameters,
    QualityDay,
    _find_days,
    is_kept=False,
)
