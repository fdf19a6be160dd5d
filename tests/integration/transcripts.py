"""What dbt said to the database, word for word, said again on other data in a fraction of the time.

dbt spends most of a run on itself. Its statements do not depend on the rows, only on the answers to two questions
that it asks of each incremental model: was it filled under the settings of today, and is there anything new? So
it is run once for each answer, with all of its statements written down as it sends them (in `recording`), and a replay
puts the same questions and goes on as dbt did after that answer. What the tables should then hold is for the tests to
say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import psycopg

from warehouse.connections import Warehouse

# A node of dbt's graph, by its name, and the statements that dbt sent for it, in order.
Transcript = Mapping[str, tuple[str, ...]]

# In place of the id that dbt gives each of its runs.
RUN = "<id of the run>"

FILLED_UNDER_THESE_SETTINGS = re.compile(r"^\s*select count\(\*\)\s+from intermediate\.model_states\b", re.MULTILINE)
ANYTHING_NEW = re.compile(r"^\s*select count\(\*\) from claimed\s*$", re.MULTILINE)


def question_of(statement: str) -> re.Pattern[str] | None:
    """Which of the questions a statement puts; the answer no is a count of 0."""
    return next((known for known in (FILLED_UNDER_THESE_SETTINGS, ANYTHING_NEW) if known.search(statement)), None)


@dataclass(frozen=True)
class Transcripts:
    """One transcript for each kind of run: on an empty database, of a full refresh, with news, and with none."""

    creation: Transcript
    refresh: Transcript
    increment: Transcript
    idle: Transcript

    def in_database(self, before: str, after: str) -> Transcripts:
        """The same for a database of another name, which stands in every name of a table."""
        name = re.compile(rf"\b{re.escape(before)}\b")

        def renamed(transcript: Transcript) -> Transcript:
            return {
                node: tuple(name.sub(after, statement) for statement in statements)
                for node, statements in transcript.items()
            }

        return Transcripts(*map(renamed, (self.creation, self.refresh, self.increment, self.idle)))


# Called before each statement and after the last one of a node, with its name and the number of statements sent.
AtBoundary = Callable[[str, int], None]


@dataclass
class Replay:
    """Does to one warehouse what dbt would: as dbt's role, in dbt's transactions, one node after the other."""

    warehouse: Warehouse
    transcripts: Transcripts
    connection: psycopg.Connection[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.connection = self.warehouse.connect("transformer", autocommit=True)

    def close(self) -> None:
        self.connection.close()

    def create(self) -> None:
        """What the first `dbt run` does."""
        self._play(self.transcripts.creation)

    def refresh(self) -> None:
        """What `dbt run --full-refresh` does."""
        self._play(self.transcripts.refresh)

    def increment(self, at_boundary: AtBoundary | None = None) -> None:
        """What `dbt run` does."""
        self._play(self.transcripts.increment, at_boundary)

    def _play(self, transcript: Transcript, at_boundary: AtBoundary | None = None) -> None:
        run = str(uuid4())
        for node, statements in transcript.items():
            self._play_node(run, node, statements, at_boundary)

    def _play_node(self, run: str, node: str, statements: Sequence[str], at_boundary: AtBoundary | None) -> None:
        self.connection.execute("begin")  # as dbt's driver does before a connection's first statement
        position = 0
        try:
            while position < len(statements):
                if at_boundary is not None:
                    at_boundary(node, position)
                statement, position = statements[position], position + 1
                cursor = self.connection.execute(statement.replace(RUN, run))  # type: ignore[arg-type]
                question = question_of(statement)
                if question is not None and cursor.fetchone() == (0,):
                    if question is FILLED_UNDER_THESE_SETTINGS:
                        statements, position = self.transcripts.refresh[node], 0
                    else:
                        statements = self.transcripts.idle[node]
            if at_boundary is not None:
                at_boundary(node, position)
        finally:
            if not self.connection.closed:
                self.connection.rollback()  # as dbt does with what a node leaves open
