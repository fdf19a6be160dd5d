"""Which content of the ledger somebody means: by its hash, its name, or a copy of it. Looks only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import file_digest
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg.rows import class_row

from validation.landing import shown
from validation.outcomes import moment, on_one_line
from validation.storable import storable

CorrectionKind = Literal["retract", "release", "replay"]

_COLUMNS = (
    "file_id, sha256, file_name as name, site, state, released, arrived_at, finished_at, rows_loaded, error_code, error"
)
_SHOWN = 10
# In which states of a file a correction of it may make sense: what is meant where a name fits several.
_STATES = {"retract": ("loaded",), "release": ("quarantined",), "replay": ("loaded", "quarantined")}


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
    error_code: str | None
    error: str | None

    @property
    def told(self) -> str:
        """Name, first digits and state, on one line."""
        when = f" {moment(self.finished_at)}" if self.finished_at else ""
        return f"{on_one_line(self.name)} ({self.sha256[:12]}, {self.state}{when})"


class CorrectionProblem(Exception):
    """A correction cannot be made; the message is plain sentences. `files` are those that could have been meant."""

    def __init__(self, code: str, sentence: str, advice: str = "", files: Sequence[LedgerFile] = ()) -> None:
        super().__init__(f"{sentence} {advice}".strip())
        self.code = code
        self.sentence = sentence
        self.advice = advice
        self.files = tuple(files)


def find_files(connection: psycopg.Connection[Any], what: str) -> list[LedgerFile]:
    """Find every content that is meant by this, whatever its state, in the order in which they first came.

    By SHA-256 or its first digits (8 or more); by name as the ledger has it or, if none is called so, by the last part
    of that name; or by the path of a file, whose content is hashed. An empty list if there is none; several if it is
    ambiguous: what fits in more than one of these ways is not guessed at.
    """
    name = storable(shown(what))
    digits = what.lower() if re.fullmatch(r"[0-9a-fA-F]{8,64}", what) else None
    named = files_where(connection, "file_name = %(name)s", name=name) or files_where(
        connection, "right(file_name, length(%(name)s) + 1) = '/' || %(name)s", name=name
    )
    hashed = files_where(connection, "starts_with(sha256, %(digits)s)", digits=digits) if digits else []
    copied = files_where(connection, "sha256 = %(digest)s", digest=digest) if (digest := _digest(what)) else []
    found = {file.file_id: file for file in (*named, *hashed, *copied)}
    return [file for _, file in sorted(found.items())]


def find_file(connection: psycopg.Connection[Any], what: str, kind: CorrectionKind) -> LedgerFile:
    """Find the one content that is meant; of several, the one that such a correction can be made to.

    Raises CorrectionProblem where there is none (`no_such_file`) or more than one (`ambiguous`, which lists them).
    """
    found = find_files(connection, what)
    asked = f"'{on_one_line(shown(what))}'"
    if not found:
        raise CorrectionProblem(
            "no_such_file",
            f"No file in the ledger is {asked}.",
            "Give its name as it was dropped, the first 8 or more digits of its SHA-256, or the path of a copy of it.",
        )
    fitting = [file for file in found if file.state in _STATES[kind]] or found
    if len(fitting) > 1:
        listed = "; ".join(file.told for file in fitting[:_SHOWN])
        more = f"; and {len(fitting) - _SHOWN} more" if len(fitting) > _SHOWN else ""
        raise CorrectionProblem(
            "ambiguous",
            f"{asked} could be any of {len(fitting)} files: {listed}{more}.",
            "Give the digits of the one that you mean.",
            fitting,
        )
    return fitting[0]


def file_by_hash(connection: psycopg.Connection[Any], sha256: str) -> LedgerFile | None:
    """Look up a content."""
    return next(iter(files_where(connection, "sha256 = %(sha256)s", sha256=sha256)), None)


def files_where(connection: psycopg.Connection[Any], condition: str, **values: str) -> list[LedgerFile]:
    """List the contents that meet a condition of ours, in the order in which they first came."""
    with connection.cursor(row_factory=class_row(LedgerFile)) as cursor:
        query = f"select {_COLUMNS} from raw.files where {condition} order by file_id"  # noqa: S608
        return cursor.execute(query.encode(), values).fetchall()


def _digest(path: str) -> str | None:
    """Hash the regular file at a path, if there is one that can be read."""
    try:
        if not Path(path).is_file():
            return None
        with Path(path).open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return None
