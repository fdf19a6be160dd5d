"""The row by which others see how far a load is: its own transaction shows nothing until it is over.

Only the table `raw.load_progress`. What is reported, and when, is decided in `loading`; whoever reads the row tells by
its server process whether the writer still lives.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import psycopg

from validation.progress import Progress
from warehouse.connections import Warehouse

APPLICATION: Final = "footfall progress"
EVERY_SECONDS: Final = 1.0
_CONNECT_SECONDS: Final = 2
_STATEMENT: Final = "1s"


class ShownProgress:
    """A listener that keeps the row, one load after the other.

    The first second of a load costs nothing, not even a connection. Whatever goes wrong here, the load goes on; nothing
    more of that load is shown.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._connection: psycopg.Connection[Any] | None = None
        self._next: float | None = None

    @contextmanager
    def of_one_load(self) -> Iterator[None]:
        """Show the load that is done meanwhile; its row goes with its end, however that comes about."""
        self._next = time.monotonic() + EVERY_SECONDS
        try:
            yield
        finally:
            self._next = None
            self._end()

    def on_progress(self, progress: Progress) -> None:
        """Write how far the load is, at most once a second."""
        now = time.monotonic()
        if self._next is None or now < self._next:
            return
        self._next = now + EVERY_SECONDS
        try:
            self._connection = self._connection or self._connect()
            _write(self._connection, progress)
        except psycopg.Error:
            self._next = None
            self._end()

    def _connect(self) -> psycopg.Connection[Any]:
        connection = self._warehouse.connect(
            "loader", autocommit=True, application_name=APPLICATION, connect_timeout=_CONNECT_SECONDS
        )
        try:
            connection.execute(
                "select set_config('statement_timeout', %s, false), set_config('synchronous_commit', 'off', false)",
                [_STATEMENT],
            )
            # What loads left behind that were killed.
            connection.execute(
                "delete from raw.load_progress where pid not in"
                " (select pid from pg_stat_activity where application_name = %s)",
                [APPLICATION],
            )
        except BaseException:
            connection.close()
            raise
        return connection

    def _end(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.execute("delete from raw.load_progress where pid = pg_backend_pid()")
            connection.close()


def _write(connection: psycopg.Connection[Any], progress: Progress) -> None:
    connection.execute(
        """
        insert into raw.load_progress (file_name, sha256, stage, bytes_done, bytes_total, rows)
        values (%s, %s, %s, %s, %s, %s)
        on conflict (file_name) do update set
            sha256 = excluded.sha256, stage = excluded.stage, bytes_done = excluded.bytes_done,
            bytes_total = excluded.bytes_total, rows = excluded.rows, pid = excluded.pid,
            updated_at = excluded.updated_at
        """,
        (
            progress.name,
            progress.sha256,
            progress.stage,
            progress.bytes_done,
            progress.bytes_total,
            progress.rows,
        ),
    )
