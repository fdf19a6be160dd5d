"""Which loaded files would come out otherwise today: their recorded inputs against the settings of now. Looks only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from validation.cameras import Camera
from validation.finding import LedgerFile
from validation.profiles import Profile
from validation.rules import LoadingRules


@dataclass(frozen=True, slots=True)
class OutdatedFile:
    """A file that ought to be replayed, and why, in words (each reason a clause without a full stop)."""

    file: LedgerFile
    reasons: tuple[str, ...]


def outdated_files(
    connection: psycopg.Connection[Any],
    rules: LoadingRules,
    profiles: Sequence[Profile],
    cameras: Sequence[Camera],
) -> list[OutdatedFile]:
    """Find the files whose rows may come out otherwise under these settings, in the order in which they first came.

    Those are loaded files, and files that were loaded until a replay put them into quarantine. A file that was loaded
    before its inputs were recorded counts as outdated once.
    """
    raise NotImplementedError
