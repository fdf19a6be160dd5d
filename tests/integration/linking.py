"""What tests of links need: increments of the linked events and their sessions alone, and what they looked at.

The statements are dbt's own (see `recording`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.integration.modelling import Models, Signal, at
from tests.integration.transcripts import Replay, Transcript, Transcripts
from warehouse.connections import Warehouse

NOON = at("2024-05-01 12:00:00")
TABLES = ("int_linked_events", "int_sessions")
WORDS = {"+": "entry", "-": "exit", "~": "other", "=": "appearance"}


def history(person: str, text: str, start: datetime = NOON) -> list[Signal]:
    """`+0 -600 -600#7` for an entry at once and two exits after ten minutes, the second with event id 7."""
    signals = []
    for word in text.split():
        seconds, _, number = word[1:].partition("#")
        time = start + timedelta(seconds=float(seconds))
        signals.append(
            Signal(
                person,
                "CAM",
                WORDS[word[0]],
                time,
                end=time + timedelta(minutes=1) if word[0] == "=" else None,
                number=int(number) if number else None,
            )
        )
    return signals


# Stretches of persons at the one camera: first and next time in seconds after noon.
Stretches = dict[str, list[tuple[float, float]]]


@dataclass
class Links:
    """A warehouse of which only the links are kept up to date."""

    models: Models
    replay: Replay
    stretches: Stretches = field(default_factory=dict)
    rows_read: Counter[str] = field(default_factory=Counter)
    rows_written: Counter[str] = field(default_factory=Counter)

    def increment(self) -> None:
        """Take in what is new, and note what the increment of the linked events looked at."""
        self.stretches, self.rows_read, self.rows_written = {}, Counter(), Counter()
        self.replay.connection.execute("select pg_stat_force_next_flush()")  # what came before is not to be counted
        self.replay.increment(self._look)

    def assert_equal_to_full_refresh(self) -> None:
        """The rows are those of a full refresh, which this leaves behind."""
        with self.models.warehouse.connect("transformer", autocommit=True) as connection:
            for table in TABLES:
                connection.execute(f"create temporary table old_{table} as table intermediate.{table}")  # type: ignore[arg-type]
            self.replay.refresh()
            for table in TABLES:
                old, new = f"old_{table}", f"intermediate.{table}"
                came = connection.execute(f"table {new} except all table {old}").fetchall()  # type: ignore[arg-type]
                went = connection.execute(f"table {old} except all table {new}").fetchall()  # type: ignore[arg-type]
                assert (came, went) == ([], []), table

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.models.warehouse.connect("transformer") as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type]

    def _look(self, table: str, _: int) -> None:
        if table != "int_linked_events":
            return
        ask = self.replay.connection.execute
        if ask("select to_regclass('pg_temp.touched_keys') is not null").fetchone() == (True,):
            self.stretches = {}
            for person, first, following in ask(
                "select person_id, first_time, next_time from touched_keys order by person_id, first_time"
            ):
                in_seconds = (first - NOON).total_seconds(), (following - NOON).total_seconds()
                self.stretches.setdefault(person, []).append(in_seconds)
        # The counters of this transaction, which the next begins without.
        for name, read, written in ask(
            "select schemaname || '.' || relname, seq_tup_read + coalesce(idx_tup_fetch, 0), n_tup_ins + n_tup_del"
            " from pg_stat_xact_user_tables where schemaname in ('raw', 'intermediate')"
        ):
            self.rows_read[name] = max(self.rows_read[name], read)
            self.rows_written[name] = max(self.rows_written[name], written)


@contextmanager
def open_links(warehouse: Warehouse, whole: Replay) -> Iterator[Links]:
    """The links alone, of a fresh warehouse in which the models are built; `whole` replays all of them."""

    def of_links(transcript: Transcript) -> Transcript:
        return {table: transcript[table] for table in TABLES}

    kinds = (
        whole.transcripts.creation,
        whole.transcripts.refresh,
        whole.transcripts.increment,
        whole.transcripts.idle,
    )
    transcripts = Transcripts(*map(of_links, kinds))
    with closing(Replay(warehouse, transcripts)) as replay, closing(Models(warehouse)) as models:
        yield Links(models, replay)
