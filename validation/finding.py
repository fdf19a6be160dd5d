"""Which content of the ledger somebody means: by its hash, its name, or a copy of it. Looks only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import psycopg

CorrectionKind = Literal["retract", "release", "replay"]


@dataclass(frozen=True, slots=True)
class LedgerFile:
    """A content as the ledger knows it; `name` is fit to be shown, `rows_loaded` are the events that are its own."""

    file_id: int
    sha256: str
    name: str
    site: str | None
    state: Literal["loading", "loaded", "quarantined", "failed", "retracted"]
    released: bool
    arrived_at: datetime
    finished_at: datetime | None
    rows_loaded: int | None


class CorrectionProblem(Exception):
    """A correction cannot be made; the message is plain sentences. `files` are those that could have been meant."""

    def __init__(self, code: str, sentence: str, advice: str = "", files: tuple[LedgerFile, ...] = ()) -> None:
        super().__init__(f"{sentence} {advice}".strip())
        self.code = code
        self.sentence = sentence
        self.advice = advice
        self.files = files


def find_files(connection: psycopg.Connection[Any], what: str) -> list[LedgerFile]:
    """Every content that is meant by this, whatever its state, in the order in which they first came.

    By SHA-256 or its first digits (8 or more); by name as the ledger has it, or by the last part of that name; or by
    the path of a file, whose content is hashed. An empty list if there is none; several if it is ambiguous.
    """
    raise NotImplementedError


def find_file(connection: psycopg.Connection[Any], what: str, kind: CorrectionKind) -> LedgerFile:
    """Find the one content that is meant; of several, the one that such a correction can be made to.

    Raises CorrectionProblem where there is none (`no_such_file`) or more than one (`ambiguous`, which lists them).
    """
    raise NotImplementedError
