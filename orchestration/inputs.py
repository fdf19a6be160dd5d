"""What files are judged by and models are made with, as it stands today, and what the warehouse was told last.

Settings, camera list and source profiles are a user's to edit at any time, so they are read afresh for every run. Which
loaded files were judged by others is `validation.outdated`'s; what is done about a change is the change sensor's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import psycopg
from psycopg.types.json import Jsonb

from orchestration.problems import Problem
from orchestration.settings import Settings
from validation.cameras import Camera, CameraListProblem, read_cameras, store_cameras
from validation.outdated import OutdatedFile, outdated_files
from validation.profiles import Profile, ProfileProblem, load_profiles
from validation.rules import LoadingRules

# More of them would make a log that nobody reads.
_CAMERAS_TOLD: Final = 20


class InputProblem(Problem):
    """The camera list or a source profile cannot be used; the message says which and why."""


@dataclass(frozen=True)
class Inputs:
    """The settings that act on loading and on the models, the camera list and the source profiles."""

    rules: LoadingRules
    parameters: Mapping[str, Any]
    cameras: Sequence[Camera]
    profiles: Sequence[Profile]

    @classmethod
    def read(cls, settings: Settings) -> Inputs:
        """Read the lists that the settings point at. Raises `InputProblem`."""
        try:
            cameras, profiles = read_cameras(settings.cameras_file), load_profiles(settings.profiles_folder)
        except (CameraListProblem, ProfileProblem) as problem:
            raise InputProblem(str(problem)) from None
        return cls(settings.loading_rules, settings.model_parameters, cameras, profiles)

    @property
    def fingerprint(self) -> str:
        """Tell these inputs from any others."""
        profiles = [profile.fingerprint for profile in self.profiles]
        told = repr((self.rules, sorted(self.parameters.items()), list(self.cameras), profiles))
        return hashlib.sha256(told.encode()).hexdigest()

    def store(self, connection: psycopg.Connection[Any]) -> list[str]:
        """Tell the warehouse what the models need to know of it; return what changed, a sentence each."""
        changed = self.changes(connection)
        store_cameras(connection, self.cameras)
        store_parameters(connection, self.parameters)
        return changed

    def changes(self, connection: psycopg.Connection[Any]) -> list[str]:
        """Return what `store` would change; nothing where the warehouse was never told anything."""
        parameters = stored_parameters(connection)
        if not parameters:
            return []
        cameras = camera_changes(stored_cameras(connection), self.cameras)
        return [*cameras, *parameter_changes(parameters, self.parameters)]

    def outdated(self, connection: psycopg.Connection[Any]) -> list[OutdatedFile]:
        """Return the files that were judged by others than these, with the reasons."""
        return outdated_files(connection, self.rules, self.profiles, self.cameras)


def outdated_sentence(outdated: Sequence[OutdatedFile]) -> str:
    """Say that loaded files were judged by others than today's inputs, and what becomes of it."""
    first = outdated[0]
    files = "1 file was" if len(outdated) == 1 else f"{len(outdated):,} files were"
    return (
        f"{files} loaded under other settings ({first.file.name}: {'; '.join(first.reasons)}). While Footfall runs a "
        "replay follows by itself; `footfall replay` does it at once."
    )


def stored_cameras(connection: psycopg.Connection[Any]) -> list[Camera]:
    """Return the camera list as the models see it."""
    rows = connection.execute(
        "select camera_id, camera_name, zone, site_id, timezone, capacity from raw.cameras order by camera_id"
    )
    return [Camera(*row) for row in rows.fetchall()]


def stored_parameters(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    """Return the settings of the models as the models see them."""
    return dict(connection.execute("select name, value from raw.parameters").fetchall())


def store_parameters(connection: psycopg.Connection[Any], parameters: Mapping[str, Any]) -> bool:
    """Put the settings of the models where the models read them; True if any is another than before."""
    with connection.transaction(), connection.cursor() as cursor:
        # Two runs may come at once; readers are not held up.
        cursor.execute("lock table raw.parameters in share row exclusive mode")
        if stored_parameters(connection) == parameters:
            return False
        cursor.execute("delete from raw.parameters")
        cursor.executemany(
            "insert into raw.parameters (name, value) values (%s, %s)",
            [(name, Jsonb(value)) for name, value in parameters.items()],
        )
    return True


def parameter_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say what changed in the settings of the models; a name that was not there is new."""
    sentences = []
    for name in sorted({*before, *now}):
        if name not in before:
            sentences.append(f"{name} is {_told(now[name])}.")
        elif name not in now:
            sentences.append(f"{name} was {_told(before[name])} and is no setting any more.")
        elif before[name] != now[name]:
            sentences.append(f"{name} was {_told(before[name])}, is {_told(now[name])}.")
    return sentences


def camera_changes(before: Sequence[Camera], now: Sequence[Camera]) -> list[str]:
    """Say what changed in the camera list."""
    old, new = ({camera.camera_id: camera for camera in cameras} for cameras in (before, now))
    sentences = []
    for name in sorted({*old, *new}):
        if name not in old:
            sentences.append(f"Camera {name} is on the camera list now.")
        elif name not in new:
            sentences.append(f"Camera {name} is not on the camera list any more.")
        else:
            pairs = ((field.name, getattr(old[name], field.name), getattr(new[name], field.name)) for field in _FIELDS)
            told = [f"{field} was {_told(was)}, is {_told(is_)}" for field, was, is_ in pairs if was != is_]
            sentences += [f"Camera {name}: {'; '.join(told)}."] if told else []
    more = len(sentences) - _CAMERAS_TOLD
    return [*sentences[:_CAMERAS_TOLD], f"And {more} more cameras."] if more > 0 else sentences


_FIELDS: Final = fields(Camera)


def _told(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "nothing"
    return f"{value:g}" if isinstance(value, float) else str(value)
