"""What the cleaning of a file added up to, chunk by chunk, and the notices that come of it.

Only counting and wording are here; what is good, missing or set aside is decided in `cleaning`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from validation.problems import Notice, Reject
from validation.rejections import quoted

_EXAMPLES = 5
# A file whose camera column holds something else must not fill the memory with its names.
_NAMES_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class CleaningSummary:
    """What a whole file came to: rows_read = rows_good + rows_rejected.

    `reject_counts` counts reasons by code: a row with two reasons counts in both, so that they may add up to more
    than `rows_rejected`. `time_formats` counts the timestamps read, starts and ends. `unlisted_cameras` are names as
    events bear them. `local_zones` are the zones that times without an offset were read in, by camera, where they
    depend on the camera. `first_event_time` and `last_event_time` are the earliest and the latest time of good rows,
    ends of intervals included; None where there are none.
    """

    rows_read: int
    rows_good: int
    rows_rejected: int
    reject_counts: Mapping[str, int]
    time_formats: Mapping[str, int]
    notices: Sequence[Notice]
    unlisted_cameras: Sequence[str]
    local_zones: Mapping[str, str]
    first_event_time: datetime | None
    last_event_time: datetime | None


@dataclass
class _Values:
    """Rows that are worth a notice, and their distinct values (bounded) in the order of their coming."""

    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, values: Iterable[tuple[str, int]]) -> None:
        for value, rows in values:
            self.rows += rows
            if value in self.counts or len(self.counts) < _NAMES_KEPT:
                self.counts[value] += rows

    def listed(self, *, with_counts: bool = False) -> str:
        """List the commonest values; equally common ones by name."""
        most = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        shown = [quoted(value) + (f" ({rows:,})" if with_counts else "") for value, rows in most[:_EXAMPLES]]
        left = len(most) - len(shown)
        return ", ".join(shown) + (f" and {left:,} more" if left else "")


class Tally:
    """The running account of one file."""

    def __init__(self) -> None:
        self.time_formats: Counter[str] = Counter()
        self.unknown_words = _Values()
        self.unlisted_cameras = _Values()
        self.set_aside: dict[str, _Values] = {}
        self.repeated = 0
        self.skipped = 0
        self._rows_good = 0
        self._rows_rejected = 0
        self._reject_counts: Counter[str] = Counter()
        self._span: tuple[datetime, ...] = ()

    def add_rows(self, events: pa.Table, rejects: Sequence[Reject]) -> None:
        """Count one chunk: the events of its good rows, and the rows that its rejects are about."""
        self._rows_good += events.num_rows
        for column in ("event_time", "end_time"):
            ends = pc.min_max(events[column]).as_py()
            # A column may hold nothing, and a chunk no good row.
            times = [time for time in (*self._span, ends["min"], ends["max"]) if time is not None]
            self._span = (min(times), max(times)) if times else ()
        self._rows_rejected += len({reject.row_number for reject in rejects})
        self._reject_counts.update(reject.code for reject in rejects)

    def add_set_aside(self, column: str, values: Iterable[tuple[str, int]]) -> None:
        """Count optional values that a column could not take."""
        self.set_aside.setdefault(column, _Values()).add(values)

    def summary(self, *, unknown_words_are: str, local_zones: Mapping[str, str]) -> CleaningSummary:
        """Give the account so far; `unknown_words_are` is the type that events of unknown words were given."""
        return CleaningSummary(
            rows_read=self._rows_good + self._rows_rejected,
            rows_good=self._rows_good,
            rows_rejected=self._rows_rejected,
            reject_counts=dict(sorted(self._reject_counts.items())),
            time_formats=dict(sorted(self.time_formats.items(), key=lambda item: (-item[1], item[0]))),
            notices=tuple(self._notices(unknown_words_are)),
            unlisted_cameras=tuple(sorted(self.unlisted_cameras.counts)),
            local_zones=local_zones,
            first_event_time=self._span[0] if self._span else None,
            last_event_time=self._span[-1] if self._span else None,
        )

    def _notices(self, unknown_words_are: str) -> Iterable[Notice]:
        if self.unknown_words.rows:
            words = self.unknown_words
            yield Notice(
                "unknown_event_words",
                f"{_rows(words.rows)} an event type that is not known, taken as '{unknown_words_are}': "
                f"{words.listed(with_counts=True)}. A source profile can say what a word means (event_words).",
                words.rows,
            )
        for column, values in self.set_aside.items():
            yield Notice(
                "value_set_aside",
                f"{_rows(values.rows)} a value in column {quoted(column)} that could not be used: "
                f"{values.listed(with_counts=True)}. It is left empty; the text is kept in the attributes.",
                values.rows,
            )
        if self.repeated:
            yield Notice(
                "repeated_hour",
                f"{_rows(self.repeated)} a local time that the clock showed twice, when it was set back. "
                "The first is taken, unless only with the second the row does not end before it starts.",
                self.repeated,
            )
        if self.skipped:
            yield Notice(
                "skipped_hour",
                f"{_rows(self.skipped)} a local time that the clock never showed, because it was set forward. "
                "It is taken as that much later.",
                self.skipped,
            )
        if self.unlisted_cameras.rows:
            cameras = self.unlisted_cameras
            count = len(cameras.counts)
            plural = "cameras are" if count != 1 else "camera is"
            yield Notice(
                "unlisted_cameras",
                f"{count:,} {plural} not on the camera list: {cameras.listed()}. Without a line there, a camera has no "
                "name, zone or capacity of its own.",
                cameras.rows,
            )


def _rows(count: int) -> str:
    return "1 row has" if count == 1 else f"{count:,} rows have"
