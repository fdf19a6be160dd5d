"""dbt's statements, written down as it sends them: what `transcripts` needs to say them again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from dbt_common.events.base_types import EventMsg

from tests.integration.modelling import Models, incremental_models, model_names, stay
from tests.integration.transcripts import (
    ANYTHING_NEW,
    FILLED_UNDER_THESE_SETTINGS,
    RUN,
    Replay,
    Transcript,
    Transcripts,
    question_of,
)
from warehouse.connections import Warehouse


@dataclass
class Recorder:
    """Writes down the statements of a dbt run, by node. Between nodes dbt only looks up what there is."""

    statements: dict[str, list[str]] = field(default_factory=dict)

    def __call__(self, event: EventMsg) -> None:
        if event.info.name == "SQLQuery" and event.data.node_info.unique_id:
            # Nodes run two at a time. They are kept in the order in which they began, and none begins before its
            # parents have ended.
            node = event.data.node_info.node_name
            self.statements.setdefault(node, []).append(event.data.sql.replace(event.info.invocation_id, RUN))

    def transcript(self) -> Transcript:
        # What surrounds the models is committed by dbt itself, which is none of its nodes.
        ends = {name: ("commit",) if name not in model_names() else () for name in self.statements}
        return {name: (*statements, *ends[name]) for name, statements in self.statements.items()}


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
        asked = [question for statement in transcripts.increment[name] if (question := question_of(statement))]
        assert set(asked) == {FILLED_UNDER_THESE_SETTINGS, ANYTHING_NEW}, name
        assert len(transcripts.idle[name]) < len(transcripts.increment[name]), name
    return transcripts


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
