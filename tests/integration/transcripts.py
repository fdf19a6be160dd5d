"""What dbt said to the database, word for word, to be said again on other data in a fraction of the time.

dbt spends most of a run on itself. Its statements do not depend on the rows, only on the answers to two questions
that it asks of each incremental model: was it filled under the settings of today, and is there anything new? So
it is run once for each answer, with all of its statements written down as it sends them, and a replay puts the same
questions and goes on as dbt did after that answer. What the tables should then hold is for the tests to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from dbt_common.events.base_types import EventMsg

from tests.integration.modelling import Models, incremental_models, model_names, stay
from warehouse.connections import Warehouse

# A node of dbt's graph, by its name, and the statements that dbt sent for it, in order.
Transcript = Mapping[str, tuple[str, ...]]

_FILLED_UNDER_THESE_SETTINGS = re.compile(r"^\s*select count\(\*\)\s+from intermediate\.model_states\b", re.MULTILINE)
_ANYTHING_NEW = re.compile(r"^\s*select count\(\*\) from claimed\s*$", re.MULTILINE)


@dataclass
class Recorder:
    """Writes down the statements of a dbt run, by node. Between nodes dbt only looks up what there is."""

    statements: dict[str, list[str]] = field(default_factory=dict)

    def __call__(self, event: EventMsg) -> None:
        if event.info.name == "SQLQuery" and event.data.node_info.unique_id:
            # Nodes run two at a time. They are kept in the order in which they began, and none begins before its
            # parents have ended.
            node = event.data.node_info.node_name
            self.statements.setdefault(node, []).append(event.data.sql)

    def transcript(self) -> Transcript:
        # What surrounds the models is committed by dbt itself, which is none of its nodes.
        ends = {name: ("commit",) if name not in model_names() else () for name in self.statements}
        return {name: (*statements, *ends[name]) for name, statements in self.statements.items()}


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


def record(models: Models, number: int = 1) -> Transcripts:
    """Run dbt four times on a warehouse without events. `number` makes the data others, not the statements."""

    def run(*arguments: str) -> Transcript:
        recorder = Recorder()
        models.run(*arguments, on_event=recorder)
        return recorder.transcript()

    def load(hour: int) -> None:
        for person in range(number):
            models.load(stay(f"person {number}.{person}", f"CAM {number}", f"2024-05-0{number} {hour}:00:00", 600))

    load(10)
    creation = run()
    refresh = run("--full-refresh")
    load(12)
    transcripts = Transcripts(creation, refresh, increment=run(), idle=run())
    for name in incremental_models():
        # Reworded in the macros, the questions must be reworded here: else a replay would not heed the answers.
        asked = [question for statement in transcripts.increment[name] if (question := _question(statement))]
        assert set(asked) == {_FILLED_UNDER_THESE_SETTINGS, _ANYTHING_NEW}, name
        assert len(transcripts.idle[name]) < len(transcripts.increment[name]), name
    return transcripts


def _question(statement: str) -> re.Pattern[str] | None:
    return next((known for known in (_FILLED_UNDER_THESE_SETTINGS, _ANYTHING_NEW) if known.search(statement)), None)


_recorded: list[tuple[str, Transcripts]] = []


@contextmanager
def open_replay(warehouse: Warehouse) -> Iterator[Replay]:
    """dbt's runs on a fresh warehouse, in which the models are built first; recorded once per process."""
    if not _recorded:
        with closing(Models(warehouse)) as models:
            _recorded.append((warehouse.database, record(models)))
    database, transcripts = _recorded[0]
    with closing(Replay(warehouse, transcripts.in_database(database, warehouse.database))) as replay:
        if database != warehouse.database:
            replay.create()
        yield replay


# Called before each statement with the node's name, the statement's number from 0, and how many there are.
AtBoundary = Callable[[str, int, int], None]


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
        for node, statements in self.transcripts.creation.items():
            self._play(node, statements)

    def refresh(self) -> None:
        """What `dbt run --full-refresh` does."""
        for node, statements in self.transcripts.refresh.items():
            self._play(node, statements)

    def increment(self, at_boundary: AtBoundary | None = None) -> None:
        """What `dbt run` does."""
        for node, statements in self.transcripts.increment.items():
            self._play(node, statements, at_boundary)

    def _play(self, node: str, statements: Sequence[str], at_boundary: AtBoundary | None = None) -> None:
        self.connection.execute("begin")  # as dbt's driver does before a connection's first statement
        position = 0
        try:
            while position < len(statements):
                if at_boundary is not None:
                    at_boundary(node, position, len(statements))
                statement, position = statements[position], position + 1
                cursor = self.connection.execute(statement)  # type: ignore[arg-type]
                question = _question(statement)
                if question is not None and cursor.fetchone() == (0,):
                    if question is _FILLED_UNDER_THESE_SETTINGS:
                        statements, position = self.transcripts.refresh[node], 0
                    else:
                        statements = self.transcripts.idle[node]
        finally:
            if not self.connection.closed:
                self.connection.rollback()  # as dbt does with what a node leaves open
