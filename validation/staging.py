"""Clean events into a staging table, and from there into `raw.events`: the SQL of a load.

Everything here happens inside the caller's transaction. What becomes of a file is decided in `deciding` and written by
`ledger`; how rows leave `raw.events` again is in `withdrawing`.

The event of several rows with one id is given by the row with the highest confidence (none is lowest), then the
smallest hash of its other columns, then the smallest file hash, then the smallest row number: by nothing that depends
on which came first. The rows that lose are kept in `raw.duplicates`, so that the account of every file adds up at all
times: its `rows_loaded` are the events that are its own. Where a later file brings the better row for an event, that
count of the earlier file goes down by one and its `rows_duplicate` up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import psycopg
import pyarrow as pa

from validation import copy_format
from validation.problems import Reject
from validation.schemas import EVENT_SCHEMA

COLUMNS = ", ".join(EVENT_SCHEMA.names)
_KEY = ("person_id", "camera_id", "event_time", "event_id")
KEYS = ", ".join(_KEY)
_KINDS: dict[str, copy_format.Kind] = {"event_id": "uuid", "attributes": "jsonb"}

# What the winning row of an event gives it; the rest is determined by the event's id.
_GIVEN = ("event_type", "event_word", "zone", "confidence", "age", "age_group", "gender", "attributes")
_CONTENT_HASH = (
    "sha256(convert_to(jsonb_build_array(event_type, zone, age, age_group, gender, attributes)::text, 'UTF8'))"
)
# Of rows that are joined with raw.files: the one that gives the event comes first.
BEST_FIRST = f"confidence desc nulls last, {_CONTENT_HASH}, sha256, row_number"
# An update of raw.events by the row that gives the event from now on, which is `best`.
TAKE_OVER = (
    f"update raw.events set {', '.join(f'{column} = best.{column}' for column in _GIVEN)},"  # noqa: S608
    " file_id = best.file_id, row_number = best.row_number, batch_id = %(batch_id)s"
)


def same_key(left: str, right: str) -> str:
    """Write the condition that two tables speak of the same event."""
    return " and ".join(f"{left}.{column} = {right}.{column}" for column in _KEY)


def _of(table: str) -> str:
    return ", ".join(f"{table}.{column}" for column in EVENT_SCHEMA.names)


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of the staged rows.

    The events that are this file's own now, its rows that are duplicates, and how many of the events are new.
    """

    rows_loaded: int
    rows_duplicate: int
    events_added: int


class Staging:
    """A file's good rows on their way in; one transaction long."""

    def __init__(self, connection: psycopg.Connection[Any], file_id: int) -> None:
        """Make the staging table. No rejects of the file may be stored yet."""
        self._connection = connection
        self._file_id = file_id
        self.rows = 0
        self._connection.execute(
            f"create temporary table staging on commit drop as select {COLUMNS} from raw.events with no data"  # noqa: S608
        )

    def clear(self) -> None:
        """Forget all rows, to begin again."""
        self._connection.execute("truncate staging")
        self._connection.execute("delete from raw.rejects where file_id = %s", (self._file_id,))
        self.rows = 0

    def leave_out(self, table: str) -> None:
        """Take out the rows whose numbers stand in a table."""
        self.rows -= self._connection.execute(
            f"delete from staging using {table} where staging.row_number = {table}.row_number"  # noqa: S608
        ).rowcount

    def add(self, events: pa.Table, rejects: Iterable[Reject]) -> None:
        """Add the events (EVENT_SCHEMA) and the rejects (in the order of rows) of one chunk."""
        with self._connection.cursor() as cursor:
            if events.num_rows:
                with cursor.copy(f"copy staging ({COLUMNS}) from stdin (format binary)") as copy:
                    copy.write(copy_format.HEADER)
                    copy.write(copy_format.encode(events, _KINDS))
                    copy.write(copy_format.TRAILER)
            self._add_rejects(cursor, rejects)
        self.rows += events.num_rows

    def _add_rejects(self, cursor: psycopg.Cursor[Any], rejects: Iterable[Reject]) -> None:
        by_row = [list(reasons) for _, reasons in groupby(rejects, key=lambda reject: reject.row_number)]
        if not by_row:
            return
        with cursor.copy(
            "copy raw.rejects (file_id, row_number, reason, column_name, code, sentence, raw_text) from stdin"
        ) as copy:
            for reasons in by_row:
                for number, reject in enumerate(reasons, start=1):
                    copy.write_row(
                        (
                            self._file_id,
                            reject.row_number,
                            number,
                            _text(reject.column),
                            reject.code,
                            _text(reject.sentence),
                            _text(reject.raw_text),
                        )
                    )

    def merge(self, batch_id: int) -> Merged:
        """Make events of the staged rows. The caller holds the merging lock, so that nobody else adds events."""
        self._connection.execute("analyze staging")
        numbers = {"file_id": self._file_id, "batch_id": batch_id}
        # Sorted as the primary key is: its pages are then filled one after the other.
        inserted = self._connection.execute(
            f"""
            insert into raw.events ({COLUMNS}, file_id, batch_id)
            select distinct on ({KEYS}) {COLUMNS}, %(file_id)s::bigint, %(batch_id)s::bigint
            from staging
            where not exists (select from raw.events where {same_key("events", "staging")})
            order by {KEYS}, row_number
            """,  # noqa: S608
            numbers,
        ).rowcount
        taken_over = self._settle_contests(numbers) if inserted < self.rows else 0
        return Merged(inserted + taken_over, self.rows - inserted - taken_over, inserted)

    def _settle_contests(self, numbers: dict[str, int]) -> int:
        """Give each event that several rows claim to the best of them; returns how many were other files' before."""
        # The new events are hardly known to the planner's statistics, and a nested loop over them takes hours.
        self._connection.execute("set local enable_nestloop = off")
        self._connection.execute(
            """
            create temporary table spare on commit drop as
            select staging.* from staging
            where not exists (
                select from raw.events
                where events.batch_id = %(batch_id)s and events.file_id = %(file_id)s
                    and events.row_number = staging.row_number
            )
            """,
            numbers,
        )
        self._connection.execute("set local enable_nestloop = on")
        self._connection.execute("analyze spare")
        self._connection.execute(
            f"""
            create temporary table contest on commit drop as
            with candidates as (
                select {COLUMNS}, %(file_id)s::bigint as file_id, true as is_new from spare
                union all
                select {_of("events")}, events.file_id, false
                from (select distinct {KEYS} from spare) as claimed
                inner join raw.events on {same_key("events", "claimed")}
            )
            select candidates.*, row_number() over (
                partition by event_id
                order by {BEST_FIRST}
            ) as place
            from candidates inner join raw.files using (file_id)
            """,  # noqa: S608
            numbers,
        )
        self._connection.execute(
            f"""
            insert into raw.duplicates ({COLUMNS}, file_id, batch_id)
            select {COLUMNS}, file_id, %(batch_id)s from contest where place > 1
            """,  # noqa: S608
            numbers,
        )
        self._connection.execute(
            f"""
            {TAKE_OVER}
            from contest as best
            where best.place = 1 and best.is_new and {same_key("events", "best")}
            """,
            numbers,
        )
        accounts = self._connection.execute(
            """
            update raw.files set rows_loaded = rows_loaded - lost.rows, rows_duplicate = rows_duplicate + lost.rows
            from (
                select file_id, count(*) as rows from contest
                where place > 1 and not is_new and file_id <> %(file_id)s
                group by file_id
            ) as lost
            where files.file_id = lost.file_id
            returning lost.rows
            """,
            numbers,
        ).fetchall()
        return sum(int(rows) for (rows,) in accounts)


def _text(text: str | None) -> str | None:
    """Text that PostgreSQL takes."""
    return text if text is None else text.replace("\0", "\N{SYMBOL FOR NULL}")
