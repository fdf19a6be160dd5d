"""Increments that are killed between any two statements, that run two at once, or into which a batch commits.

Afterwards a normal run makes every table what a full refresh makes it. Most increments here are replays of dbt's own
statements (see `transcripts`); some are dbt itself, where the test's name says so. One model is killed at each of its
boundaries always, every model only by `-m soak`.
"""

from __future__ import annotations

import itertools
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.faults import Boundary, dbt_and_die, dbt_when_told, process, replay_and_die
from tests.integration.modelling import Models, parsed_project, random_signals, stored_parents, unchanged
from tests.integration.transcripts import Replay, Transcripts
from warehouse.connections import Warehouse

MODEL = "int_visits"


class Scene:
    """A warehouse with some history, to which each fault adds a batch that alters every model."""

    def __init__(self, warehouse: Warehouse, transcripts: Transcripts) -> None:
        self.warehouse = warehouse
        self.transcripts = transcripts
        self.models = Models(warehouse)
        self._chance = random.Random(1)
        self.load(100)
        self.increment()

    def load(self, count: int = 20) -> int:
        """Commit a batch; returns its number."""
        self.models.load(random_signals(self._chance, count))
        row = self.models.owner.execute("select max(batch_id) from raw.batches").fetchone()
        assert row is not None
        return int(row[0])

    def increment(self, at_boundary: Callable[[Replay, Boundary], None] | None = None) -> None:
        """Replay an increment over a connection of its own."""
        replay = Replay(self.warehouse, self.transcripts)
        try:
            replay.increment(at_boundary and (lambda node, sent: at_boundary(replay, (node, sent))))
        finally:
            replay.close()

    def boundaries_of(self, node: str) -> list[Boundary]:
        return [(node, sent) for sent in range(len(self.transcripts.increment[node]) + 1)]

    def boundaries(self) -> list[Boundary]:
        return list(itertools.chain.from_iterable(map(self.boundaries_of, self.transcripts.increment)))

    def is_after_commit(self, boundary: Boundary) -> bool:
        node, sent = boundary
        return sent == len(self.transcripts.increment[node])

    def consumers_of(self, batch: int) -> set[str]:
        """The models that tell of a batch."""
        with self.warehouse.connect("transformer") as connection:
            rows = connection.execute("select model from intermediate.consumed_batches where batch_id = %s", [batch])
            return {model for (model,) in rows}

    def terminate(self, *pids: int) -> None:
        """Have the server end backends: these, or all that work for dbt."""
        with self.warehouse.connect("transformer") as connection:
            ended = connection.execute(
                "select count(*) filter (where pg_terminate_backend(pid, 10000)) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
                " and (pid = any(%(pids)s::int[]) or (%(pids)s::int[] = '{}' and application_name = 'footfall dbt'))",
                {"pids": list(pids)},
            ).fetchone()
        assert ended is not None
        assert ended[0] > 0, "there was no backend to end"

    def judge_death(self, boundary: Boundary, batch: int) -> None:
        """Whoever died at a boundary has left the models before it with the batch, and the others without."""
        order = list(self.transcripts.increment)
        done = order[: order.index(boundary[0]) + self.is_after_commit(boundary)]
        assert self.consumers_of(batch) == set(stored_parents()) & set(done)
        self.judge_recovery(batch)

    def judge_recovery(self, *batches: int) -> None:
        """A normal run takes in what was left over, and then there is nothing that a full refresh would alter."""
        self.increment()
        for batch in batches:
            assert self.consumers_of(batch) == set(stored_parents())
        with unchanged(self.warehouse):
            replay = Replay(self.warehouse, self.transcripts)
            replay.refresh()
            replay.close()


@pytest.fixture
def scene(warehouse: Warehouse, replay: Replay) -> Iterator[Scene]:
    scene = Scene(warehouse, replay.transcripts)
    yield scene
    scene.models.close()


def kill_client(scene: Scene, boundary: Boundary) -> None:
    batch = scene.load()
    with process(replay_and_die, scene.warehouse, scene.transcripts, boundary) as (child, pipe):
        assert pipe.recv() == boundary
        child.join()
        assert child.exitcode == -signal.SIGKILL
    scene.judge_death(boundary, batch)


def kill_backend(scene: Scene, boundary: Boundary) -> None:
    batch = scene.load()

    def terminate(replay: Replay, here: Boundary) -> None:
        if here == boundary:
            scene.terminate(replay.connection.info.backend_pid)

    if boundary == scene.boundaries()[-1]:
        scene.increment(terminate)  # there is nothing left to say to the backend
    else:
        with pytest.raises(psycopg.OperationalError, match="terminat"):
            scene.increment(terminate)
    scene.judge_death(boundary, batch)


@pytest.mark.parametrize("kill", [kill_client, kill_backend])
def test_killed_at_every_boundary_of_a_model(scene: Scene, kill: Callable[[Scene, Boundary], None]) -> None:
    boundaries = scene.boundaries_of(MODEL)
    assert len(boundaries) > 10
    for boundary in boundaries:
        kill(scene, boundary)


@pytest.mark.soak
@pytest.mark.parametrize("kill", [kill_client, kill_backend])
def test_killed_at_every_boundary_of_every_model(scene: Scene, kill: Callable[[Scene, Boundary], None]) -> None:
    for boundary in scene.boundaries():
        kill(scene, boundary)


@pytest.mark.soak
def test_dbt_itself_is_killed(scene: Scene, tmp_path: Path) -> None:
    """At its first boundary in a model, in the middle, and with nothing left but to commit."""
    manifest = parsed_project(scene.warehouse)
    boundaries = scene.boundaries_of(MODEL)[:-1]
    for boundary in (boundaries[0], boundaries[len(boundaries) // 2], boundaries[-1]):
        batch = scene.load()
        with process(dbt_and_die, scene.warehouse, manifest, tmp_path, boundary) as (child, pipe):
            assert pipe.recv() == boundary
            child.join()
            assert child.exitcode == -signal.SIGKILL
        assert MODEL not in scene.consumers_of(batch)
        scene.models.run()
        scene.judge_recovery(batch)


@pytest.mark.soak
def test_the_backends_of_dbt_itself_are_killed(scene: Scene) -> None:
    boundaries = scene.boundaries_of(MODEL)[:-1]
    for boundary in (boundaries[len(boundaries) // 2], boundaries[-1]):
        batch = scene.load()
        fired = []

        def terminate(event: Any, boundary: Boundary = boundary, fired: list[Boundary] = fired) -> None:
            if event.info.name == "SQLQuery" and event.data.node_info.node_name == MODEL:
                fired.append((MODEL, len(fired)))
                if fired[-1] == boundary:
                    scene.terminate()

        result = scene.models.dbt("run", on_event=terminate)
        assert not result.success
        assert fired[-1] == boundary
        assert MODEL not in scene.consumers_of(batch)
        scene.models.run()
        scene.judge_recovery(batch)


def test_two_increments_of_dbt_itself_at_once(scene: Scene, tmp_path: Path) -> None:
    """Each model takes a batch in once, whichever of the two comes to it first."""
    manifest = parsed_project(scene.warehouse)
    arguments = (dbt_when_told, scene.warehouse, manifest, tmp_path)
    with process(*arguments) as (_, one), process(*arguments) as (_, other):
        assert (one.recv(), other.recv()) == ("ready", "ready")
        for _ in range(3):
            batch = scene.load()
            for pipe in (one, other):
                pipe.send(True)
            assert [pipe.recv() for pipe in (one, other)] == [None, None]
            assert scene.consumers_of(batch) == set(stored_parents())
            scene.judge_recovery(batch)
        for pipe in (one, other):
            pipe.send(False)


def test_batches_that_commit_in_the_middle(scene: Scene) -> None:
    """One at every boundary of every model: each model takes in those that its parents have, or none of it."""
    batches = []
    scene.load()

    def commit(_: Replay, __: Boundary) -> None:
        batches.append(scene.load(2))

    scene.increment(commit)
    assert len(batches) == len(scene.boundaries())
    parents = stored_parents()
    for batch in batches:
        consumers = scene.consumers_of(batch)
        for model in consumers:
            assert parents[model] <= consumers, f"{model} tells of a batch that its parents do not"
    scene.judge_recovery(*batches)


@pytest.mark.soak
def test_a_batch_that_commits_at_any_boundary(scene: Scene) -> None:
    for boundary in scene.boundaries():
        batches = [scene.load()]

        def commit(_: Replay, here: Boundary, boundary: Boundary = boundary, batches: list[int] = batches) -> None:
            if here == boundary:
                batches.append(scene.load())

        scene.increment(commit)
        scene.judge_recovery(*batches)
