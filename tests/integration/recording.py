"""dbt's statements, written down as it sends them: what `transcripts` needs to say them again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

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
    load(models, 10, number)
    creation = run(models)
    refresh = run(models, "--full-refresh")
    load(models, 12, number)
    transcripts = Transcripts(creation, refresh, increment=run(models), idle=run(models))
    for name in incremental_models():
        # Reworded in the macros, the questions must be reworded here: else a replay would not heed the answers.
        asked = [question for statement in transcripts.increment[name] if (question := question_of(statement))]
        assert set(asked) == {FILLED_UNDER_THESE_SETTINGS, ANYTHING_NEW}, name
        assert len(transcripts.idle[name]) < len(transcripts.increment[name]), name
    return transcripts


def record_variant(models: Models, sound: Replay) -> Transcripts:
    """What a variant of the models says that are built already; it shares their creation, and their doing nothing."""
    load(models, 10)
    refresh = run(models, "--full-refresh")
    load(models, 12)
    return replace(sound.transcripts, refresh=refresh, increment=run(models))


def run(models: Models, *arguments: str) -> Transcript:
    """Run dbt, and write down what it says."""
    recorder = Recorder()
    models.run(*arguments, on_event=recorder)
    return recorder.transcript()


def load(models: Models, hour: int, number: int = 1) -> None:
    """Bring a file of some stays."""
    for person in range(number):
        models.load(stay(f"person {number}.{person}", f"CAM {number}", f"2024-05-0{number} {hour}:00:00", 600))


class ReplayedModels(Models):
    """Models whose plain runs and full refreshes are replayed: what dbt would say, without dbt."""

    def __init__(self, warehouse: Warehouse, replay: Replay) -> None:
        super().__init__(warehouse)
        self._replay = replay

    def run(self, *arguments: str, on_event: Callable[[EventMsg], None] | None = None) -> None:
        if on_event is None and not arguments:
            self._replay.increment()
        elif on_event is None and arguments == ("--full-refresh",):
            self._replay.refresh()
        else:
            super().run(*arguments, on_event=on_event)
