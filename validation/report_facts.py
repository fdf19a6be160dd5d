"""What a file's report says: its facts as plain values, and the verdict that sums them up.

Nothing is read or worded at length here: `file_report` and `report_events` gather the facts from PostgreSQL,
`report_pages` makes Markdown and a page of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from validation.checks import CheckOutcome
from validation.outcomes import USABLE, WITH_WARNINGS, Outcome, duration, on_one_line, with_remarks
from validation.problems import Reject

FileState = Literal["loading", "loaded", "quarantined", "failed", "retracted"]
Unit = Literal["hour", "day", "week", "month"]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A file of the same source: the same site, and the same profile where both have one.

    `state` is what it is now; without `rows_read` it could not be read.
    """

    file_id: int
    name: str
    state: FileState
    arrived_at: datetime
    rows_read: int | None
    rows_rejected: int | None

    @property
    def rejected_share(self) -> float | None:
        """Its rejected rows as a share of the rows read; None where none were read."""
        return self.rows_rejected / self.rows_read if self.rows_read and self.rows_rejected is not None else None


@dataclass(frozen=True, slots=True)
class CheckLine:
    """What a check found for the file, and how often it passed for the last files of the source, this one included.

    `failing_since` is the first of those that failed it without a break up to this one.
    """

    outcome: CheckOutcome
    passed_in: int
    judged_in: int
    failing_since: Neighbour | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for which rows were rejected: how many, which first, and in which columns."""

    code: str
    rows: int
    first_rows: tuple[int, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """What the file has and those before it had not, and the other way round.

    Columns are compared with those of `compared_with`; cameras with all earlier events, None where the marts do not
    know; words with the rows of the `files_read` files before it.
    """

    compared_with: Neighbour | None = None
    new_columns: tuple[str, ...] = ()
    missing_columns: tuple[str, ...] = ()
    renamed_columns: tuple[tuple[str, str], ...] = ()
    new_cameras: tuple[str, ...] | None = None
    new_words: tuple[str, ...] = ()
    files_read: int = 0

    @property
    def is_none(self) -> bool:
        """Whether nothing is different."""
        columns = self.new_columns or self.missing_columns or self.renamed_columns
        return not (columns or self.new_cameras or self.new_words)


@dataclass(frozen=True, slots=True)
class Links:
    """What the events of a file came to in the marts, all of them or those of one camera."""

    entries: int
    exits: int
    sessions: int
    without_exit: int
    still_open: int
    unmatched_exits: int


@dataclass(frozen=True, slots=True)
class CameraLine:
    """One camera in the file. `gap_from` to `gap_to` is the longest time without an event, `usual_gap` the median.

    `last` counts the ends of intervals. `links` is None while the marts do not hold the file.
    """

    camera_id: str
    events: int
    first: datetime
    last: datetime
    gap_from: datetime | None = None
    gap_to: datetime | None = None
    usual_gap: timedelta | None = None
    links: Links | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """Hours on end in which a camera of the source has no event, and usually has that many an hour."""

    camera_id: str
    start: datetime
    end: datetime
    usual_events: float


@dataclass(frozen=True, slots=True)
class Bar:
    """How many events of the file fall into one hour, day, week or month (UTC)."""

    start: datetime
    events: int


@dataclass(frozen=True, slots=True)
class Events:
    """The good rows of a loaded file, seen as events. `persons` are distinct; `hours` have an event in them (UTC).

    `silences` is None where it cannot be told, and `silences_unknown` says why.
    """

    rows: int = 0
    persons: int = 0
    hours: int = 0
    unit: Unit = "hour"
    bars: tuple[Bar, ...] = ()
    cameras: tuple[CameraLine, ...] = ()
    silences: tuple[Silence, ...] | None = None
    silences_unknown: str = ""
    links: Links | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """Whether the marts tell of the file's last batch.

    `events` are those that the batch brought or altered, `taken_back` those it took away. `after` is the time from
    `since` to the data version; `held_back` says which check keeps it from being published.
    """

    batch_id: int
    kind: Literal["load", "retract", "release", "replay"]
    events: int = 0
    taken_back: int = 0
    version: int | None = None
    published_at: datetime | None = None
    after: timedelta | None = None
    held_back: str | None = None

    @property
    def sentence(self) -> str:
        """The same in words, to be continued from a verdict."""
        if self.after is not None:
            began = {"load": "arrival", "retract": "the retraction", "release": "the release", "replay": "the replay"}
            return f"in the marts {duration(self.after)} after {began[self.kind]}"
        if self.held_back is not None:
            return f"not in the marts: the data version was held back because {self.held_back}"
        return "not in the marts yet"


@dataclass(frozen=True, slots=True)
class Related:
    """Another file that this one repairs or is repaired by; `has_page`: its report is there to be linked to."""

    file_id: int
    name: str
    state: FileState
    finished_at: datetime | None
    has_page: bool = True


@dataclass(frozen=True, slots=True)
class Drop:
    """One time that the content was dropped."""

    path: str
    arrived_at: datetime
    outcome: str | None


@dataclass(frozen=True, slots=True)
class FileReport:
    """All that is told of one file. `outcome` is what the ledger has of it; `told_of` is what it was written for.

    `error` is why a file failed that is not at fault. `samples` are rejected rows, masked. `earlier` are the last files
    of the source, the newest first and this one among them. `first_event` and `last_event` span its good rows.
    """

    file_id: int
    state: FileState
    outcome: Outcome
    told_of: datetime
    error: str | None = None
    released: bool = False
    publication: Publication | None = None
    checks: Sequence[CheckLine] = ()
    expectations_run_id: str | None = None
    reasons: tuple[Reason, ...] = ()
    samples: tuple[Reject, ...] = ()
    earlier: tuple[Neighbour, ...] = ()
    drift: Drift = field(default_factory=Drift)
    first_event: datetime | None = None
    last_event: datetime | None = None
    usual_lag: timedelta | None = None
    events: Events = field(default_factory=Events)
    repairs: Related | None = None
    repaired_by: tuple[Related, ...] = ()
    drops: tuple[Drop, ...] = ()
    has_rejects_file: bool = False

    @property
    def headline(self) -> str:
        """The verdict in two or three words."""
        if self.state == "failed":
            return "Not loaded"
        told = self.outcome.headline
        return WITH_WARNINGS if told == USABLE and self._remarks() else told

    @property
    def verdict(self) -> str:
        """The verdict in one sentence, for a manager."""
        name = on_one_line(self.outcome.name)
        if self.state == "failed":
            return f"Not loaded: {name} could not be processed, for no fault of its own. {self.error or ''}".rstrip()
        if self.state == "retracted":
            gone = self.publication.taken_back if self.publication is not None else 0
            were = "1 event was" if gone == 1 else f"{gone:,} events were"
            told = f"Retracted: {name}, {were} taken back."
        else:
            told = self.outcome.verdict.replace(self.outcome.headline, self.headline, 1)
        if self.publication is not None:
            told = f"{told.removesuffix('.')}, {self.publication.sentence.removesuffix('.')}."
        return with_remarks(told, [*self.outcome.remarks, *self._remarks()] if self.state != "retracted" else [])

    def _remarks(self) -> list[str]:
        """Say what only the marts tell: cameras that are silent, or whose clocks are ahead."""
        silent = {silence.camera_id for silence in self.events.silences or ()}
        told = [f"{_cameras(silent)} silent in hours in which there usually are events"] if silent else []
        ahead = {camera.camera_id for camera, _ in self.ahead}
        return [*told, *([f"{_cameras(ahead)} ahead of the time"] if ahead else [])]

    @property
    def lag(self) -> timedelta | None:
        """How old the newest event was when the file arrived; negative where it lies in the future."""
        if self.last_event is None or self.outcome.arrived_at is None:
            return None
        return self.outcome.arrived_at - self.last_event

    @property
    def ahead(self) -> list[tuple[CameraLine, timedelta]]:
        """Cameras with events later than the file's arrival, and by how much: their clocks are ahead."""
        arrived_at = self.outcome.arrived_at
        if arrived_at is None:
            return []
        found = [(camera, camera.last - arrived_at) for camera in self.events.cameras]
        return [(camera, by) for camera, by in found if by > CLOCKS_AGREE]


def _cameras(names: Collection[str]) -> str:
    """Name a few cameras, with the verb."""
    shown = [on_one_line(name) for name in sorted(names)[:_CAMERAS_NAMED]]
    more = len(names) - len(shown)
    return f"{', '.join(shown)}{f' and {more} more' if more else ''} {'is' if len(names) == 1 else 'are'}"


_CAMERAS_NAMED = 3
CLOCKS_AGREE = timedelta(minutes=1)
"""Clocks that differ by less are not told of."""
