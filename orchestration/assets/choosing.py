"""Which files a run takes and what it does with each: loads what waits, or corrects what was loaded.

How it is done is `validation`'s; what is told of it, `assets.events`'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import dagster as dg
import psycopg
from pydantic import Field

from orchestration.inputs import Inputs
from validation.corrections import CorrectionProblem, release_file, replay_file, retract_file
from validation.finding import CorrectionKind, find_file
from validation.landing import LandingFolder, Waiting
from validation.loading import LoadContext, load_file
from validation.outcomes import Outcome

_DONE: Final = {"load": "loaded", "retract": "retracted", "replay": "replayed", "release": "released"}
_CORRECT: Final = {"retract": retract_file, "replay": replay_file, "release": release_file}


class LoadFiles(dg.Config):
    """Which files a run takes, and what it does with them."""

    do: Literal["load", "retract", "replay", "release"] = Field(
        "load",
        description="`load` what waits in the landing folder; `retract` loaded files: take their events back; `replay` "
        "them: judge the originals again under the settings of today; `release` the good rows of quarantined files.",
    )
    files: list[str] | None = Field(
        None,
        description="To load: names within the landing folder; left out, whatever waits there. Else: names or SHA-256 "
        "(8 digits or more) of files that came before; left out, a replay takes those that were loaded under other "
        "settings. An empty list: none, so that only what was loaded already goes on to the marts.",
    )
    all_loaded: bool = Field(False, description="A replay takes every loaded file.")

    @property
    def done(self) -> str:
        """What becomes of a file, in a word."""
        return _DONE[self.do]


@dataclass(frozen=True)
class Task:
    """One file and what is to be done with it. `do` may raise CorrectionProblem or LoadingFailed.

    `size_bytes` is how much is to be loaded, where that is known.
    """

    name: str
    do: Callable[[LoadContext], Outcome]
    size_bytes: int = 0


def tasks(
    config: LoadFiles,
    folder: LandingFolder,
    connection: psycopg.Connection[Any],
    inputs: Inputs,
    note: Callable[[str], object],
) -> list[Task]:
    """Return what a run has to do, in order; `note` hears why what nobody named is done.

    Raises CorrectionProblem, before anything is done, where it is not clear which file is meant.
    """
    match config.do:
        case "load":
            waiting = _waiting(folder, config.files)
            return [Task(one.shown_name, partial(load_file, one), one.size_bytes) for one in waiting]
        case "replay" if config.files is None:
            return _replays(connection, inputs, note, all_loaded=config.all_loaded)
        case kind:
            return _named(connection, kind, config.files or [])


def _waiting(folder: LandingFolder, names: Sequence[str] | None) -> list[Waiting]:
    """Return the files to load: those named that still lie there, or whatever is finished."""
    if names is None:
        return folder.settled()
    wanted = set(names)
    return [waiting for waiting in folder.look() if waiting.shown_name in wanted]


def _named(connection: psycopg.Connection[Any], kind: CorrectionKind, names: Sequence[str]) -> list[Task]:
    found = {file.sha256: file for file in (find_file(connection, name, kind) for name in names)}
    if not found and kind != "replay":
        raise CorrectionProblem("no_file_named", f"Which files are to be {_DONE[kind]}? Name them.")
    return [Task(file.name, partial(_CORRECT[kind], sha256)) for sha256, file in found.items()]


def _replays(
    connection: psycopg.Connection[Any], inputs: Inputs, note: Callable[[str], object], *, all_loaded: bool
) -> list[Task]:
    outdated = inputs.outdated(connection)
    for one in outdated:
        note(f"{one.file.name} is replayed: {'; '.join(one.reasons)}.")
    names = {one.file.sha256: one.file.name for one in outdated}
    if all_loaded:
        loaded = connection.execute("select sha256, file_name from raw.files where state = 'loaded' order by file_id")
        names |= dict(loaded.fetchall())
    return [Task(name, partial(replay_file, sha256)) for sha256, name in names.items()]
