"""PostgreSQL as this installation has it, embedded or external: started for whoever needs it, stopped after the last.

`footfall up` is one user among others: `footfall ingest` or `footfall psql` start the embedded server when nothing
else runs, and the last one to leave stops it.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from orchestration.settings import Settings
from warehouse.connections import Warehouse
from warehouse.embedded import EmbeddedPostgres
from warehouse.opening import open_warehouse
from warehouse.preparing import prepare


class Server:
    """The embedded server, or none of ours where an external one is set."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def embedded(self) -> EmbeddedPostgres | None:
        """The embedded server, if that is what is used."""
        return None if self.settings.external_url else EmbeddedPostgres(self.settings.home)

    @property
    def log_file(self) -> Path | None:
        """The embedded server's log."""
        return self.embedded.log_file if self.embedded else None

    def limit_log(self) -> None:
        """Keep the embedded server's log bounded."""
        if self.embedded is not None:
            self.embedded.limit_log()

    def start(self) -> Warehouse:
        """Start the server where it is ours, and prepare the warehouse in it. Raises `WarehouseProblem`."""
        if self.embedded is not None:
            self.embedded.start()
        warehouse = open_warehouse(self.settings.home, self.settings.external_url)
        prepare(warehouse)
        return warehouse

    def is_running(self) -> bool:
        """Whether our server runs; an external one is not watched."""
        return self.embedded is None or self.embedded.is_running()

    @contextlib.contextmanager
    def in_use(self, *, prepare_anyway: bool = True) -> Iterator[Warehouse]:
        """Have the server running for a while; the last user to leave stops it.

        Where it runs already somebody has prepared it; `prepare_anyway` does so again.
        """
        with (self.settings.run_folder / "postgres.users").open("a") as users:
            fcntl.flock(users, fcntl.LOCK_SH)
            try:
                if prepare_anyway or self.embedded is None or not self.embedded.is_running():
                    warehouse = self.start()
                else:
                    warehouse = self.embedded.start()
                yield warehouse
            finally:
                self.stop_unless_used(users.fileno())

    def stop_unless_used(self, users: int) -> None:
        """Stop the server if nobody else holds the lock that `users` is a descriptor of."""
        if self.embedded is None:
            return
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        self.embedded.stop()
