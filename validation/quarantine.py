"""Setting a whole file aside: `landing/rejected/NAME`, `NAME.rejects.csv`, `NAME.report.md`; rejects files of others.

Moves and writes files. That a file is quarantined is decided, and committed to the ledger, in `deciding` before
anything here happens; what the two companions say is worded in `reports`. How a rejects file is read when it is dropped
again is in `repairing`.
"""

from __future__ import annotations

import csv
import errno
import filecmp
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import psycopg

from validation import reports
from validation.archive import is_still
from validation.landing import REJECTED, Waiting, companion_of, fitting, free_path
from validation.outcomes import Outcome
from validation.problems import Reject
from validation.records import allow_long_cells
from validation.repairing import LONGEST_LINE, open_content

RejectsOf = Callable[[int, int], Mapping[int, Sequence[Reject]]]
"""The rejects of the rows from one number up to another (both included), by row."""


def set_aside(
    waiting: Waiting, landing: Path, outcome: Outcome, content: Path | None, rejects_of: RejectsOf
) -> Outcome:
    """Move a file into the folder of the rejected ones, write its companions, and say where it is now.

    `content` is the archived copy where the file's rows were judged one by one, else None. A file that has changed in
    the meantime stays where it is: it is another drop. Companions of an earlier try at the same file are replaced, but
    for a rejects file in which somebody has begun to put rows right.
    Raises OSError where the folder cannot be written to.
    """
    target = free_path(_folder(landing, waiting.name) / waiting.path.name)
    is_there = is_still(waiting)
    if is_there:
        outcome = replace(outcome, moved_to=target)
    _write_companions(target, outcome, content, rejects_of)
    if is_there:
        _move(waiting.path, target)
        companion_of(waiting.path).unlink(missing_ok=True)
    return outcome


def set_copy_aside(original: Path, landing: Path, outcome: Outcome, rejects_of: RejectsOf) -> Outcome:
    """Copy an archived file whose events were taken back into the folder of the rejected ones, with its companions.

    A copy that lies there already is left alone. Raises OSError where the folder cannot be written to.
    """
    folder = _folder(landing, outcome.name)
    target = folder / fitting(Path(outcome.name).name, "")
    if not (target.is_file() and not target.is_symlink() and filecmp.cmp(original, target, shallow=False)):
        target = free_path(target)
    outcome = replace(outcome, moved_to=target)
    _write_companions(target, outcome, original if outcome.account is not None else None, rejects_of)
    if not target.exists():
        _copy(original, target, shutil.copyfile)
    return outcome


def rejects_of(connection: psycopg.Connection[Any], file_id: int | None) -> RejectsOf:
    """Read the rejects of a file from the ledger."""

    def between(first: int, last: int) -> Mapping[int, Sequence[Reject]]:
        rows = connection.execute(
            "select row_number, column_name, code, sentence, raw_text from raw.rejects"
            " where file_id = %s and row_number between %s and %s order by row_number, reason",
            (file_id, first, last),
        ).fetchall()
        rejects = (Reject(*row) for row in rows)
        return {row: list(reasons) for row, reasons in groupby(rejects, key=lambda reject: reject.row_number)}

    return between


def write_rejects_file(
    target: Path, outcome: Outcome, original: Path, rejects_of: RejectsOf, *, only_rejected: bool
) -> None:
    """Write a file's rows with their reasons, fit to be put right and dropped again: all of them, or the rejected ones.

    `original` is the archived copy. Raises OSError where the target cannot be written.
    """
    content = original if outcome.account is not None else None
    _write(target, _rejects_lines(outcome, content, rejects_of, only_rejected=only_rejected))


def _folder(landing: Path, name: str) -> Path:
    """Make the folder for a file of this name."""
    folder = landing / REJECTED
    folder.mkdir(exist_ok=True)
    for part in Path(name).parent.parts:
        folder /= part
        folder.mkdir(exist_ok=True)
    return folder


def _write_companions(target: Path, outcome: Outcome, content: Path | None, rejects_of: RejectsOf) -> None:
    lines = _rejects_lines(outcome, content, rejects_of, only_rejected=False)
    _write(target.with_name(fitting(target.name, ".rejects.csv")), lines, keeping_edits=True)
    _write(target.with_name(fitting(target.name, ".report.md")), [reports.report(outcome)])


def _rejects_lines(
    outcome: Outcome, content: Path | None, rejects_of: RejectsOf, *, only_rejected: bool
) -> Iterator[Sequence[str]]:
    yield reports.REJECTS_HEADER
    if content is None:
        yield reports.problem_line(outcome)
        return
    source = open_content(content)
    yield reports.header_line(source.header_text, source.dialect.delimiter, outcome.sha256)
    for chunk in source.chunks():
        texts = {reject.row_number: reject.raw_text for reject in chunk.rejects}
        rows = [*chunk.row_numbers.tolist(), *texts]
        reasons = rejects_of(min(rows), max(rows)) if rows else {}
        wanted = np.arange(chunk.table.num_rows)
        if only_rejected:
            wanted = wanted[np.isin(chunk.row_numbers, list(reasons))]
        texts |= dict(zip(chunk.row_numbers[wanted].tolist(), chunk.raw_text(wanted.tolist()), strict=True))
        for row, text in sorted(texts.items()):
            yield reports.rejects_line(row, reasons.get(row, ()), text, outcome.sha256)


def _write(path: Path, content: Iterable[str | Sequence[str]], *, keeping_edits: bool = False) -> None:
    """Write text, or rows as CSV that spreadsheets open (a byte order mark tells them that it is UTF-8).

    With `keeping_edits` a rejects file of other rows that lies there stays, and the new one takes a free name.
    """
    partial = path.with_name(fitting(f".{path.name}", ".part"))
    with partial.open("w", encoding="utf-8-sig" if path.suffix == ".csv" else "utf-8", newline="") as file:
        _fill(file, content)
    if keeping_edits and path.exists() and _would_lose_rows(path, partial):
        path = free_path(path)
    partial.replace(path)


def _would_lose_rows(old: Path, new: Path) -> bool:
    """Whether a rejects file holds rows other than a new one does, whatever reasons the two give for them."""
    allow_long_cells(LONGEST_LINE)
    with old.open(encoding="utf-8-sig", newline="") as theirs, new.open(encoding="utf-8-sig", newline="") as ours:
        try:
            pairs = zip_longest(_texts(theirs), _texts(ours))
            return any(their is not None and their != our for their, our in pairs)
        except (UnicodeDecodeError, csv.Error):
            return True  # It is not as it was written here.


def _texts(file: TextIO) -> Iterator[str]:
    for line in csv.reader(file):
        if len(line) != len(reports.REJECTS_HEADER):
            yield str(line)
        elif line[1] != reports.NOT_JUDGED:
            yield line[5]


def _fill(file: TextIO, content: Iterable[str | Sequence[str]]) -> None:
    lines = csv.writer(file, quoting=csv.QUOTE_ALL)
    for item in content:
        if isinstance(item, str):
            file.write(item)
        else:
            lines.writerow(item)


def _move(path: Path, target: Path) -> None:
    try:
        path.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # A site's folder may be a mounted share.
        _copy(path, target, shutil.copy2)
        path.unlink()


def _copy(path: Path, target: Path, copy: Callable[[Path, Path], object]) -> None:
    """Copy a file so that it appears whole."""
    partial = target.with_name(fitting(f".{target.name}", ".part"))
    copy(path, partial)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.rename(target)
