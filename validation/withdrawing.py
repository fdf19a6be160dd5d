"""A file's rows out of `raw.events` and `raw.duplicates` again: the SQL of a retraction, and of the half of a replay.

Everything here happens inside the caller's transaction, which holds the merging lock: nobody else changes events. What
leaves `raw.events` is told to the models in `raw.retracted_events`. An event that another row also states is given by
the best of those from then on, by the same rule as in `staging`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from validation.schemas import EVENT_SCHEMA
from validation.staging import BEST_FIRST, COLUMNS, KEYS, TAKE_OVER, Staging, same_key


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What became of the events that had been the file's: how many are gone, and how many other rows give now."""

    events_removed: int = 0
    events_passed_on: int = 0


class Withdrawal:
    """Rows of a file that are to go: all of them, but for those that are spared."""

    def __init__(self, connection: psycopg.Connection[Any], file_id: int) -> None:
        """Gather all rows of the file."""
        self._connection = connection
        self._file_id = file_id
        connection.execute(
            f"""
            create temporary table going on commit drop as
            select {COLUMNS}, true as is_event from raw.events where file_id = %(file_id)s
            union all
            select {COLUMNS}, false from raw.duplicates where file_id = %(file_id)s
            """,  # noqa: S608
            {"file_id": file_id},
        )
        connection.execute("analyze going")

    def spare(self, staging: Staging) -> None:
        """Leave alone the rows that are staged just as they are, which then need no staging."""
        staged = ", ".join(f"staging.{column}" for column in EVENT_SCHEMA.names)
        stored = ", ".join(f"going.{column}" for column in EVENT_SCHEMA.names)
        self._connection.execute("analyze staging")
        self._connection.execute(
            f"""
            create temporary table same on commit drop as
            select row_number from staging inner join going using (row_number)
            where row({staged}) is not distinct from row({stored})
            """  # noqa: S608
        )
        self._connection.execute("analyze same")
        self._connection.execute("delete from going using same where going.row_number = same.row_number")
        self._connection.execute("analyze going")
        staging.leave_out("same")

    def count_events(self) -> int:
        """Count the events that the rows state, whoever's they are."""
        (count,) = self._connection.execute(
            f"select count(*) from (select distinct {KEYS} from going) as stated"  # noqa: S608
        ).fetchone() or (0,)
        return int(count)

    def carry_out(self, batch_id: int) -> Withdrawn:
        """Take the rows away; the accounts of other files that give an event from now on are kept true."""
        numbers = {"file_id": self._file_id, "batch_id": batch_id}
        self._execute(
            """
            delete from raw.duplicates using going
            where duplicates.file_id = %(file_id)s and duplicates.row_number = going.row_number and not going.is_event
            """,
            numbers,
        )
        passed_on = self._pass_on(numbers)
        removed = self._execute(
            f"""
            with gone as (
                delete from raw.events using going
                where going.is_event and {same_key("events", "going")}
                    and events.file_id = %(file_id)s and events.row_number = going.row_number
                returning events.*
            )
            insert into raw.retracted_events (batch_id, event_id, person_id, camera_id, event_time, end_time)
            select %(batch_id)s, event_id, person_id, camera_id, event_time, end_time from gone
            """,  # noqa: S608
            numbers,
        )
        return Withdrawn(removed, passed_on)

    def _pass_on(self, numbers: dict[str, int]) -> int:
        """Give each event that other rows also state to the best of them; returns how many there are."""
        self._execute(
            f"""
            create temporary table heirs on commit drop as
            select distinct on ({KEYS}) candidates.* from (
                select duplicates.*, files.sha256
                from going
                inner join raw.duplicates on {same_key("duplicates", "going")}
                inner join raw.files on duplicates.file_id = files.file_id
                where going.is_event
            ) as candidates
            order by {KEYS}, {BEST_FIRST}
            """,  # noqa: S608
            numbers,
        )
        self._execute("analyze heirs", numbers)
        passed_on = self._execute(f"{TAKE_OVER} from heirs as best where {same_key('events', 'best')}", numbers)
        self._execute(
            f"""
            delete from raw.duplicates using heirs
            where {same_key("duplicates", "heirs")}
                and duplicates.file_id = heirs.file_id and duplicates.row_number = heirs.row_number
            """,  # noqa: S608
            numbers,
        )
        self._execute(
            """
            update raw.files set rows_loaded = rows_loaded + won.rows, rows_duplicate = rows_duplicate - won.rows
            from (select file_id, count(*) as rows from heirs where file_id <> %(file_id)s group by file_id) as won
            where files.file_id = won.file_id
            """,
            numbers,
        )
        return passed_on

    def _execute(self, statement: str, numbers: dict[str, int]) -> int:
        return self._connection.execute(statement.encode(), numbers).rowcount


def forget_returned(connection: psycopg.Connection[Any], batch_id: int) -> int:
    """Strike from the events that a batch took away those that it brought again; returns how many there were."""
    return connection.execute(
        f"""
        delete from raw.retracted_events where batch_id = %s
            and exists (select from raw.events where {same_key("events", "retracted_events")})
        """,  # noqa: S608
        (batch_id,),
    ).rowcount


def count_touched(connection: psycopg.Connection[Any], batch_id: int) -> int:
    """Count the events that a batch brought or altered."""
    (count,) = connection.execute("select count(*) from raw.events where batch_id = %s", (batch_id,)).fetchone() or (0,)
    return int(count)
