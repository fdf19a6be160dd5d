"""Increments in processes of their own, to be killed at a boundary between two statements or to be run at once.

Whoever starts one hears through a pipe that it has come so far. What holds afterwards is for the tests to say.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.integration.transcripts import Replay, Transcripts
from warehouse.connections import Warehouse

if TYPE_CHECKING:  # dbt takes seconds to import, which a process that only replays is spared
    from dbt.contracts.graph.manifest import Manifest

    from tests.integration.modelling import Models

# A node of dbt's graph, and how many of its statements have been sent.
Boundary = tuple[str, int]


@contextmanager
def process(target: Callable[..., None], *arguments: Any) -> Iterator[tuple[multiprocessing.Process, Connection]]:
    """A fresh process that runs `target`, to which the other end of the pipe is given last."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=target, args=(*arguments, there))
    child.start()
    there.close()
    try:
        yield child, here  # type: ignore[misc]
    finally:
        child.kill()
        child.join()
        here.close()


def _die(boundary: Boundary, pipe: Connection) -> None:
    pipe.send(boundary)
    os.kill(os.getpid(), signal.SIGKILL)


def replay_and_die(warehouse: Warehouse, transcripts: Transcripts, boundary: Boundary, pipe: Connection) -> None:
    """Replay an increment, and end as a killed process ends once the boundary is reached."""

    def at_boundary(node: str, sent: int) -> None:
        if (node, sent) == boundary:
            _die(boundary, pipe)

    Replay(warehouse, transcripts).increment(at_boundary)


def dbt_and_die(warehouse: Warehouse, manifest: Manifest, folder: Path, boundary: Boundary, pipe: Connection) -> None:
    """The same with dbt itself, which tells of each statement before it sends it."""
    models, manifest = _arrived(warehouse, manifest, folder)
    sent: dict[str, int] = {}

    def on_event(event: Any) -> None:
        if event.info.name == "SQLQuery" and (node := event.data.node_info.node_name):
            if (node, sent.get(node, 0)) == boundary:
                _die(boundary, pipe)
            sent[node] = sent.get(node, 0) + 1

    models.dbt("run", on_event=on_event, manifest=manifest)


def dbt_when_told(warehouse: Warehouse, manifest: Manifest, folder: Path, pipe: Connection) -> None:
    """Run dbt each time that the pipe says so, and answer with what it said went wrong, or nothing."""
    from tests.integration.modelling import account_of

    models, manifest = _arrived(warehouse, manifest, folder)
    pipe.send("ready")
    while pipe.recv():
        result = models.dbt("run", manifest=manifest)
        pipe.send(None if result.success else account_of(result))
    models.close()


def _arrived(warehouse: Warehouse, manifest: Manifest, folder: Path) -> tuple[Models, Manifest]:
    from tests.integration.modelling import Models

    tempfile.tempdir = str(folder)  # what a killed process leaves behind goes with the test's folder
    # On the way between processes a manifest's look-up tables are mixed up; its copy makes them anew.
    return Models(warehouse), manifest.deepcopy()
