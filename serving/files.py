"""What became of one content: waiting, being loaded, decided, in the marts. Asked for by its SHA-256.

How it came in is `uploads`' business; how its state is sent as it changes, `file_events` says. What is told comes from
the ledger, which knows nothing of a file before it is copied: until then there is the record of its upload.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import psycopg
from psycopg.rows import DictRow, dict_row

State = Literal["waiting", "loading", "loaded", "quarantined", "failed", "retracted", "gone"]
Connect = Callable[[], AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]]

# How the loader's connections call themselves that write how far a load is.
_WRITER: Final = "footfall progress"
_OVER: Final = ("committed", "finished")

_HAS_MARTS: Final = "select to_regclass('marts.data_version') is not null as has_marts"
# As figures have it: batches are committed in order, and a version claims all there are.
_PUBLISHED: Final = """
    coalesce(files.batch_id <= (
        select max(batch_id) from unnest((
            select batches from marts.data_version where cardinality(batches) > 0 order by version desc limit 1
        )) as told (batch_id)
    ), false)
"""
_STATE: Final = """
    select
        files.file_id, files.state, files.file_name, files.site, files.size_bytes, files.arrived_at, files.finished_at,
        files.rows_read, files.rows_loaded, files.rows_rejected, files.rows_duplicate, files.rows_held,
        files.reject_counts,
        {published} as is_published,
        (
            select verdict from raw.file_reports as reports
            where reports.file_id = files.file_id and reports.told_of >= files.finished_at
        ) as verdict,
        uploads.file_name as upload_name, uploads.site_id as upload_site, uploads.size_bytes as upload_bytes,
        uploads.received_at
    from (values (1)) as one (row)
    left join raw.files on files.sha256 = %(sha256)s
    left join serving.uploads on uploads.upload_id = %(sha256)s
"""
_PROGRESS: Final = """
    select
        stage, bytes_done, bytes_total, rows, updated_at,
        exists (
            select from pg_stat_activity as others where others.pid = progress.pid and application_name = %(writer)s
        ) as is_live
    from raw.load_progress as progress
    where sha256 = %(sha256)s or (sha256 is null and file_name = %(path)s)
    order by updated_at desc
    limit 1
"""


@dataclass(frozen=True)
class Progress:
    """How far a load is: the stage, and of it the bytes of the file that it has done, out of how many, and rows so far.

    `percent` is of the stage, None where it does not go by bytes.
    """

    stage: str
    bytes_done: int
    bytes_total: int
    rows: int
    percent: float | None
    updated_at: datetime


@dataclass(frozen=True)
class Account:
    """Where the rows of a file went; `rejected_for` counts reasons by code."""

    rows_read: int
    rows_loaded: int | None
    rows_rejected: int | None
    rows_duplicate: int | None
    rows_held: int | None
    rejected_for: Mapping[str, int]


@dataclass(frozen=True)
class FileState:
    """What became of one content.

    `file_id` is its SHA-256. `published`: what was decided last is in the marts. `already_loaded`: it was loaded before
    it was uploaded the last time, and is not loaded twice. `progress` is None for the first second of a load, and
    `account`, `verdict` and `report` (an address on this server) until they are known; a verdict comes a few seconds
    after the decision. `is_final`: nothing of this changes by itself any more.
    """

    file_id: str
    file_name: str
    site_id: str | None
    size_bytes: int
    state: State
    sentence: str
    published: bool
    already_loaded: bool
    received_at: datetime | None
    arrived_at: datetime | None
    finished_at: datetime | None
    progress: Progress | None
    account: Account | None
    verdict: str | None
    report: str | None
    is_final: bool

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it: instants in UTC, as text."""
        told = {name: _plain(value) for name, value in asdict(self).items()}
        return {"id": told.pop("file_id"), **told}


class Files:
    """What is known of files; looks into the landing folder only to see whether one still lies there."""

    def __init__(self, connect: Connect, landing: Path) -> None:
        """`connect()` lends a connection as the role api, in a transaction of its own."""
        self._connect = connect
        self._landing = landing

    async def state(self, file_id: str, sites: Collection[str] | None = None) -> FileState | None:
        """Return the state of a content by its SHA-256 (hexadecimal, in small letters), None for one that is not known.

        With `sites`, only what belongs to one of these is known. Where content was loaded for another site than it was
        uploaded for, whoever may see the upload alone is told neither the other's name nor its report. Raises
        `psycopg.Error` where the database does not answer.
        """
        known = await self._look(file_id, sites)
        lies_there = True
        if known is not None and known.state in {"waiting", "failed"}:
            lies_there = await asyncio.to_thread(os.path.lexists, self._landing / known.path)
            if not lies_there:
                # It may just have been decided on, and has left the folder since.
                known = await self._look(file_id, sites)
        return None if known is None else known.told(lies_there=lies_there)

    async def _look(self, file_id: str, sites: Collection[str] | None) -> _Known | None:
        async with self._connect() as connection, connection.cursor(row_factory=dict_row) as cursor:
            (marts,) = await (await cursor.execute(_HAS_MARTS)).fetchall()
            query = _STATE.replace("{published}", _PUBLISHED if marts["has_marts"] else "false")
            (found,) = await (await cursor.execute(query, {"sha256": file_id})).fetchall()
            row = _shown_to(sites, found)
            if row is None:
                return None
            known = _Known(file_id, row)
            if row["state"] != "loaded":
                values = {"sha256": file_id, "path": known.path, "writer": _WRITER}
                known.progress = await (await cursor.execute(_PROGRESS, values)).fetchone()
            return known


@dataclass
class _Known:
    """What the database has on one content, and what that comes to."""

    file_id: str
    row: DictRow
    progress: DictRow | None = None

    @property
    def path(self) -> str:
        """Where it lies in the landing folder, if it does."""
        row = self.row
        if row["upload_name"] is None:
            return str(row["file_name"])
        return "/".join(part for part in (row["upload_site"], row["upload_name"]) if part is not None)

    @property
    def is_newer(self) -> bool:
        """Whether it was uploaded again after it was decided on."""
        received, finished = self.row["received_at"], self.row["finished_at"]
        return received is not None and finished is not None and received > finished

    @property
    def state(self) -> State:
        """The state, if the file lies in the landing folder."""
        ledger, progress = self.row["state"], self.progress
        if ledger == "loaded":
            return "loaded"
        if progress is not None and progress["is_live"] and progress["stage"] not in _OVER:
            return "loading"
        if ledger == "loading":
            return "loading" if progress is None or progress["is_live"] else "waiting"
        return "waiting" if ledger is None or self.is_newer else ledger

    def told(self, *, lies_there: bool) -> FileState:
        """Return what is told of it. `lies_there` need be known only of a file that waits or failed."""
        row, state = self.row, self.state
        if state == "waiting" and not lies_there:
            state = "gone" if row["state"] in {None, "loading"} else row["state"]
        decided = state in {"loaded", "quarantined", "retracted"}
        is_known = row["file_name"] is not None
        return FileState(
            file_id=self.file_id,
            file_name=(row["file_name"] if is_known else row["upload_name"]).rpartition("/")[2],
            site_id=row["site"] if is_known else row["upload_site"],
            size_bytes=row["size_bytes"] if row["size_bytes"] is not None else row["upload_bytes"],
            state=state,
            sentence=_SENTENCES[state],
            published=decided and row["is_published"],
            already_loaded=state == "loaded" and self.is_newer,
            received_at=row["received_at"],
            arrived_at=row["arrived_at"],
            finished_at=row["finished_at"],
            progress=_progress(self.progress) if state == "loading" else None,
            account=_account(row) if decided else None,
            verdict=row["verdict"] if decided else None,
            report=f"/reports/files/{row['file_id']}/" if decided and row["verdict"] is not None else None,
            is_final=row["is_published"] if state == "loaded" else decided or not lies_there,
        )


_SENTENCES: Final[Mapping[str, str]] = {
    "waiting": "It was received and waits in the landing folder.",
    "loading": "It is being loaded.",
    "loaded": "It is loaded.",
    "quarantined": "It could not be used; its report says why.",
    "failed": "It could not be loaded for no fault of its own; while it lies in the landing folder it is tried again.",
    "retracted": "It was loaded and has been taken back; to load it again, upload it again.",
    "gone": "It was received, but it was taken out of the landing folder before it was loaded; upload it again.",
}


def _shown_to(sites: Collection[str] | None, row: DictRow) -> DictRow | None:
    """Leave out what whoever may see these sites alone may not see; None where nothing is left."""
    is_known, is_uploaded = row["file_id"] is not None, row["upload_name"] is not None
    if sites is not None:
        if is_known and row["site"] in sites:
            if row["upload_site"] not in sites:
                row |= {"upload_name": None, "upload_site": None, "received_at": None}
        elif is_uploaded and row["upload_site"] in sites:
            row |= {"file_name": None, "site": None, "verdict": None}
        else:
            return None
    return row if is_known or is_uploaded else None


def _progress(row: DictRow | None) -> Progress | None:
    if row is None:
        return None
    done, total = row["bytes_done"], row["bytes_total"]
    percent = round(min(100.0 * done / total, 100.0), 1) if done and total else None
    return Progress(row["stage"], done, total, row["rows"], percent, row["updated_at"])


def _account(row: DictRow) -> Account | None:
    if row["rows_read"] is None:
        return None
    fates = {f"rows_{fate}": row[f"rows_{fate}"] for fate in ("read", "loaded", "rejected", "duplicate", "held")}
    return Account(**fates, rejected_for=row["reject_counts"] or {})


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return {name: _plain(inner) for name, inner in value.items()} if isinstance(value, dict) else value
