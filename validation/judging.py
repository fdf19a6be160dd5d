"""One archived file from bytes to staged rows: reading, deciding the date order, cleaning, staging.

What is known about the file grows here while it is read, so that a file that turns out to be unusable is still
described. Whether it is loaded, and what the ledger says, is decided in `deciding`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from validation.cameras import Camera
from validation.chunks import Chunk
from validation.cleaning import Cleaner, time_columns
from validation.landing import ENDINGS, ending_of, is_too_deep, site_of
from validation.matching import Match, match
from validation.outcomes import Account, Detected, Original, on_one_line
from validation.problems import FileProblem, Notice, Reject
from validation.profiles import Profile
from validation.reading import SourceFile
from validation.repairing import RejectsFile, open_content
from validation.rules import LoadingRules
from validation.staging import Staging
from validation.storable import storable
from validation.tally import CleaningSummary
from validation.timestamps import FIRST, DateEvidence, DateOrder, decide, survey
from validation.timing import Stopwatch

_FIRST_REJECTS = 20
_NO_EVIDENCE = DateEvidence()

Report = Callable[[Literal["surveying", "reading"], int, int], None]
"""Hears what is being done, and how many bytes and rows are done."""

Originals = Callable[[str], Original | None]
"""Looks up, by its hash, the file that a rejects file says it belongs to."""


@dataclass(frozen=True, slots=True)
class Content:
    """What is judged, and by which rules; the same values give the same rows at any time.

    `path` is the copy in the archive, `name` that in the landing folder; `arrived_at` is the recorded arrival, which is
    "now" for the rules.
    """

    path: Path
    name: str
    site: str | None
    arrived_at: datetime
    rules: LoadingRules
    profiles: Sequence[Profile]
    cameras: Sequence[Camera]


@dataclass
class Judgement:
    """What is known about a file, and the account of its rows once all of them are staged (good ones as held).

    `repairs` is the file that it puts right, which also gives it its site.
    """

    detected: Detected = field(default_factory=Detected)
    repairs: Original | None = None
    notices: tuple[Notice, ...] = ()
    account: Account | None = None
    reject_counts: dict[str, int] = field(default_factory=dict)
    first_rejects: tuple[Reject, ...] = ()
    first_event_time: datetime | None = None
    last_event_time: datetime | None = None
    stopwatch: Stopwatch = field(default_factory=Stopwatch)


def judge(content: Content, staging: Staging, judgement: Judgement, report: Report, originals: Originals) -> None:
    """Stage a file's rows and complete `judgement`.

    Raises FileProblem where the file cannot be used; `judgement` then holds what was found out before.
    """
    _refuse_by_name(content.name)
    with judgement.stopwatch.timing("read"):
        source = open_content(content.path)
    judgement.detected = Detected(
        encoding=source.dialect.encoding,
        compression=source.dialect.compression,
        delimiter=source.dialect.delimiter,
        line_ending=source.dialect.line_ending,
        header=source.header,
    )
    judgement.notices = tuple(source.notices)
    if isinstance(source, RejectsFile):
        judgement.repairs = originals(source.original) if source.original else None
        judgement.notices += _told_of(judgement.repairs, content)
        if judgement.repairs is not None:
            content = replace(content, site=judgement.repairs.site)
    found = match(source.header, content.profiles)
    judgement.detected = replace(
        judgement.detected, profile=found.profile.name, profile_fingerprint=found.profile.fingerprint
    )
    judging = _Judging(content, source, found, staging, judgement, report)
    try:
        # Few files hold dates whose order matters; those that do are looked through first.
        judging.stage(None)
    except _OrderMattersError:
        order, notices = judging.date_order()
        judgement.detected = replace(judgement.detected, date_order=order.value)
        judgement.notices += tuple(notices)
        staging.clear()
        judging.stage(order)


def _refuse_by_name(name: str) -> None:
    if is_too_deep(name):
        raise FileProblem(
            "too_deep",
            "The file lies in a folder within a folder. A folder in the landing folder names a site, and there is "
            "nothing below it.",
            "Drop the file into the landing folder itself or into the folder of its site.",
        )
    if ending_of(name) is None:
        raise FileProblem(
            "unknown_ending",
            f"The name does not end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}, so it is not taken for a table.",
            "Export it as CSV (a workbook: save as 'CSV UTF-8'), or rename it if it is one.",
        )


def _told_of(original: Original | None, content: Content) -> tuple[Notice, ...]:
    """Tell what a rejects file has from its original that one would not expect."""
    dropped_for = site_of(content.name)
    if original is None:
        site = f"site {on_one_line(dropped_for)}" if dropped_for else "no site in particular, as it was dropped"
        sentence = (
            "It is not known here which file this rejects file belongs to, so it was read as any other file: for "
            f"{site}, with the order of day and month that its own rows tell."
        )
        return (Notice("original_unknown", sentence),)
    if original.site == (dropped_for and storable(dropped_for)):
        return ()
    sites = [f"site {on_one_line(site)}" if site else "no site in particular" for site in (dropped_for, original.site)]
    sentence = (
        f"It was dropped for {sites[0]}, but repairs {on_one_line(original.name)}, which was dropped for {sites[1]}; "
        "its rows were read for that one, too."
    )
    return (Notice("site_of_original", sentence),)


class _OrderMattersError(Exception):
    """Rows were found whose meaning depends on whether the day or the month comes first in this file."""


@dataclass(frozen=True, slots=True)
class _Judging:
    """A file whose profile is known, on its way through."""

    content: Content
    source: SourceFile | RejectsFile
    found: Match
    staging: Staging
    judgement: Judgement
    report: Report

    def date_order(self) -> tuple[DateOrder, list[Notice]]:
        """Decide whether the day or the month comes first: by the rows, else by the file that they repair."""
        evidence, original = self._survey(), self.judgement.repairs
        if original is None or original.date_order is None:
            return decide(evidence, self.content.rules.date_order)
        known = DateOrder(original.date_order)
        order, _ = decide(evidence, known.value)
        name = on_one_line(original.name)
        if order is not known:
            sentence = (
                f"{name}, which it repairs, writes dates with the {FIRST[known]} first, but this file has values that "
                f"can only have the {FIRST[order]} first, so the whole file was read that way."
            )
            return order, [Notice("date_order_differs", sentence)]
        if evidence.day_first_only or evidence.month_first_only or not evidence.ambiguous:
            return order, []
        rows = "1 row" if evidence.ambiguous == 1 else f"{evidence.ambiguous:,} rows"
        sentence = (
            f"Dates that could be read day first or month first (in {rows}) were read {FIRST[order]} first, as those "
            f"of {name}, which it repairs."
        )
        return order, [Notice("date_order_of_original", sentence, evidence.ambiguous)]

    def _survey(self) -> DateEvidence:
        """Gather what the whole file says about the order of day and month."""
        evidence, rows = _NO_EVIDENCE, 0
        stopwatch = self.judgement.stopwatch
        for chunk in stopwatch.drawing("read", self.source.chunks()):
            with stopwatch.timing("validate"):
                evidence += self._evidence(chunk)
            rows += chunk.table.num_rows
            self.report("surveying", chunk.bytes_read, rows)
        return evidence

    def _evidence(self, chunk: Chunk) -> DateEvidence:
        columns = [chunk.table.column(name) for name in time_columns(self.found)]
        return survey(*columns, formats=self.found.profile.timestamp_formats)

    def stage(self, order: DateOrder | None) -> None:
        """Clean and stage chunk after chunk; a second thread feeds PostgreSQL while the next chunk is cleaned.

        Without an order, raises _OrderMattersError at the first chunk that needs one.
        """
        content = self.content
        cleaner = Cleaner(
            self.found, content.rules, content.cameras, content.site, content.arrived_at, order or DateOrder.DMY
        )
        stopwatch = self.judgement.stopwatch
        first_rejects: list[Reject] = []
        rows = 0
        with ThreadPoolExecutor(1, "staging") as pool:
            staged: Future[None] | None = None
            for chunk in stopwatch.drawing("read", self.source.chunks()):
                with stopwatch.timing("validate"):
                    if order is None and self._evidence(chunk) != _NO_EVIDENCE:
                        raise _OrderMattersError
                    clean = cleaner.clean(chunk)
                first_rejects += clean.rejects[: _FIRST_REJECTS - len(first_rejects)]
                rows += chunk.table.num_rows + len(chunk.rejects)
                if staged is not None:
                    staged.result()
                staged = pool.submit(self.staging.add, clean.events, clean.rejects)
                self.report("reading", chunk.bytes_read, rows)
            if staged is not None:
                staged.result()
        self._complete(cleaner.summary(), first_rejects)

    def _complete(self, summary: CleaningSummary, first_rejects: list[Reject]) -> None:
        judgement = self.judgement
        judgement.detected = replace(
            judgement.detected, time_formats=dict(summary.time_formats), local_zones=summary.local_zones
        )
        judgement.notices += tuple(summary.notices)
        judgement.account = Account(summary.rows_read, rows_rejected=summary.rows_rejected, rows_held=summary.rows_good)
        judgement.reject_counts = dict(summary.reject_counts)
        judgement.first_rejects = tuple(first_rejects)
        judgement.first_event_time, judgement.last_event_time = summary.first_event_time, summary.last_event_time
