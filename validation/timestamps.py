"""Timestamps as files write them, read into microseconds, a whole column at a time.

Here are the judgement whether a file writes the day or the month first, the reading of every accepted format, and
the turning of local times into instants. Which shapes of text are timestamps is told by `time_formats`, how clocks
were changed by `zones`. Whether a time is plausible (too early, in the future) is not judged here.

Nothing is guessed: a text that is not wholly understood is unreadable. Fractions finer than a microsecond are
dropped, that is, a time is moved down to the microsecond that it lies in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from validation.problems import FileProblem, Notice
from validation.rules import DateOrderSetting
from validation.time_formats import LONGEST, Plan, plans
from validation.time_values import read
from validation.zones import Instants, instants

UNREADABLE = "timestamp_unreadable"
TOO_COARSE = "timestamp_too_coarse"

DATE_ORDER_AMBIGUOUS = "date_order_ambiguous"
"""The code of the notice that the order of day and month was not decided by the file but by a setting."""

Bytes = NDArray[np.uint8]
Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]

_SLICE = 65_536  # rows read at a time, so that what is worked on stays in the processor's cache
_EXAMPLES = 3


class DateOrder(StrEnum):
    """Which of the two small numbers of `03/11/2016` is the day."""

    DMY = "DMY"
    MDY = "MDY"


@dataclass(frozen=True, slots=True)
class DateEvidence:
    """What a file's rows say about its date order: rows that can only be read one way, and rows that do not tell.

    A row counts as ambiguous only where the two readings differ (`05/05/2016` is one day either way).
    """

    day_first_only: int = 0
    month_first_only: int = 0
    ambiguous: int = 0
    day_first_examples: tuple[str, ...] = ()
    month_first_examples: tuple[str, ...] = ()
    ambiguous_examples: tuple[str, ...] = ()

    def __add__(self, other: DateEvidence) -> DateEvidence:
        return DateEvidence(
            self.day_first_only + other.day_first_only,
            self.month_first_only + other.month_first_only,
            self.ambiguous + other.ambiguous,
            (self.day_first_examples + other.day_first_examples)[:_EXAMPLES],
            (self.month_first_examples + other.month_first_examples)[:_EXAMPLES],
            (self.ambiguous_examples + other.ambiguous_examples)[:_EXAMPLES],
        )


@dataclass(slots=True)
class ParsedTimes:
    """A column of timestamps, read.

    `micros`: microseconds since 1970, in UTC where `has_offset`, else as the local clock showed them; 0 where there
    is a problem. `problem`: '' or `UNREADABLE` or `TOO_COARSE`. `formats`: plain name of a format -> values read by it.
    """

    micros: Int64s
    has_offset: Bools
    problem: NDArray[np.object_]
    formats: dict[str, int]

    @property
    def ok(self) -> Bools:
        """Which rows were read."""
        return np.asarray(self.problem == "", dtype=np.bool_)


@dataclass(slots=True)
class Localised:
    """Instants, in microseconds since 1970 UTC (0 where the time had a problem).

    `repeated` and `skipped` mark rows with a local time, start or end, in an hour that the clock showed twice or
    not at all.
    """

    start: Int64s
    end: Int64s | None
    repeated: Bools
    skipped: Bools


def survey(*columns: pa.Array | pa.ChunkedArray, formats: Sequence[str] = ()) -> DateEvidence:
    """See what the time columns of some rows (equally long, trimmed or not) say about the order of day and month.

    Values that cannot be read in either order say nothing, nor do those in a shape that one of the profile's
    strptime `formats` describes. A weekday in front of a date is heard as a witness.
    """
    marks = np.zeros((3, len(columns[0])), dtype=np.bool_)
    examples: list[tuple[str, ...]] = [(), (), ()]
    for column in columns:
        seen = np.zeros_like(marks)
        for group in _groups(column, tuple(formats)):
            for plan in filter(lambda plan: plan.is_numeric_date, group.plans):
                day = read(plan, group.letters, day_first=True)
                month = read(plan, group.letters, day_first=False)
                seen[0, group.rows] |= day.ok & ~month.ok
                seen[1, group.rows] |= month.ok & ~day.ok
                seen[2, group.rows] |= day.ok & month.ok & (day.micros != month.micros)
        marks |= seen
        for kind, where in enumerate(seen):
            some = np.flatnonzero(where)[:_EXAMPLES].tolist()
            examples[kind] = (examples[kind] + tuple(column[row].as_py().strip() for row in some))[:_EXAMPLES]
    day_only, month_only, ambiguous = marks
    ambiguous &= ~(day_only | month_only)
    return DateEvidence(int(day_only.sum()), int(month_only.sum()), int(ambiguous.sum()), *examples)


def decide(evidence: DateEvidence, configured: DateOrderSetting) -> tuple[DateOrder, list[Notice]]:
    """Decide once for a whole file whether its numeric dates have the day or the month first.

    One value that can only be read one way decides; without any, the `configured` order does (`auto` is day
    first). Raises FileProblem `mixed_date_order` where the file holds values of both kinds.
    """
    if evidence.day_first_only and evidence.month_first_only:
        raise FileProblem(
            "mixed_date_order",
            f"The file writes dates in two orders: {evidence.day_first_only:,} rows can only have the day first "
            f"(such as {_list(evidence.day_first_examples)}) and {evidence.month_first_only:,} only the month first "
            f"(such as {_list(evidence.month_first_examples)}), so the others cannot be told apart.",
            "Have it exported with dates in one order, best as YYYY-MM-DD, or split it by order and drop the parts.",
        )
    usual = DateOrder.MDY if configured == "MDY" else DateOrder.DMY
    if evidence.day_first_only or evidence.month_first_only:
        order = DateOrder.DMY if evidence.day_first_only else DateOrder.MDY
        if configured == "auto" or order is usual:
            return order, []
        example = _list((evidence.day_first_examples + evidence.month_first_examples)[:1])
        return order, [
            Notice(
                "date_order_differs",
                f"The settings say that dates have the {FIRST[usual]} first, but this file has values that can only "
                f"have the {FIRST[order]} first (such as {example}), so the whole file was read that way.",
            )
        ]
    if not evidence.ambiguous:
        return usual, []
    return usual, [
        Notice(
            DATE_ORDER_AMBIGUOUS,
            f"{evidence.ambiguous:,} rows have dates that could be read day first or month first (such as "
            f"{_list(evidence.ambiguous_examples)}) and nothing in the file tells which; they were read "
            f"{FIRST[usual]} first. If that is wrong, set the date order to {'DMY' if usual == 'MDY' else 'MDY'}.",
            evidence.ambiguous,
        )
    ]


FIRST = {DateOrder.DMY: "day", DateOrder.MDY: "month"}


def _list(examples: tuple[str, ...]) -> str:
    return ", ".join(f"'{example}'" for example in examples)


def parse(texts: pa.Array | pa.ChunkedArray, order: DateOrder, formats: Sequence[str] = ()) -> ParsedTimes:
    """Read timestamps (non-missing texts) in whatever accepted format each is written.

    `formats` are the profile's strptime formats (see `time_formats.compile_format`): a text in the shape of one of
    them is read by it or not at all. Numbers count from 1970 in the unit that their size tells (see `time_values`);
    a number in scientific notation is exact to the place of its last written digit, and too coarse where that is
    more than a second.
    """
    rows = len(texts)
    micros = np.zeros(rows, dtype=np.int64)
    has_offset = np.zeros(rows, dtype=np.bool_)
    problem = np.ones(rows, dtype=np.int8)
    counts: Counter[str] = Counter()
    for group in _groups(texts, tuple(formats)):
        letters, where = group.letters, group.rows
        for plan in group.plans:
            reading = read(plan, letters, day_first=order == DateOrder.DMY)
            counts.update(reading.formats)
            if reading.ok.all():
                micros[where] = reading.micros
                has_offset[where] = plan.is_number or plan.has_offset
                problem[where] = 0
                break
            good = where[reading.ok]
            micros[good] = reading.micros[reading.ok]
            has_offset[good] = plan.is_number or plan.has_offset
            problem[good] = 0
            problem[where[reading.coarse]] = 2
            left = ~(reading.ok | reading.coarse)
            letters, where = letters[:, left], where[left]
    codes = np.array(["", UNREADABLE, TOO_COARSE], dtype=object)
    return ParsedTimes(micros, has_offset, codes[problem], {name: counts[name] for name in sorted(+counts)})


def localise(
    start: ParsedTimes, end: ParsedTimes | None, zones: Sequence[str], zone_index: NDArray[np.integer[Any]]
) -> Localised:
    """Turn times into instants; times without offset are local to `zones[zone_index]` of their row.

    In a repeated hour a time is its first occurrence. Only an end can ever be its second one: where the first lies
    before the start and the second does not. (A later start could but make the interval shorter or negative.) In
    a skipped hour a time is shifted forward by the gap.
    """
    begin = _instants(start, zones, zone_index)
    repeated, skipped = begin.second > begin.first, begin.second < begin.first
    if end is None:
        return Localised(begin.first, None, repeated, skipped)
    finish = _instants(end, zones, zone_index)
    second = start.ok & end.ok & (finish.first < begin.first) & (finish.second >= begin.first)
    return Localised(
        begin.first,
        np.where(second, finish.second, finish.first),
        repeated | (finish.second > finish.first),
        skipped | (finish.second < finish.first),
    )


def _instants(times: ParsedTimes, zones: Sequence[str], zone_index: NDArray[np.integer[Any]]) -> Instants:
    local = times.ok & ~times.has_offset
    first, second = times.micros.copy(), times.micros.copy()
    for index in np.unique(zone_index[local]).tolist():
        mine = local & (zone_index == index)
        first[mine], second[mine] = instants(times.micros[mine], zones[index])
    return Instants(first, second)


# --- from a column to groups of one shape -------------------------------------------------------------------------


class _Group(NamedTuple):
    """The texts of a column that have one shape: where they stand, how to read them, their bytes (bytes x texts)."""

    rows: Int64s
    plans: tuple[Plan, ...]
    letters: Bytes


def _groups(texts: pa.Array | pa.ChunkedArray, formats: tuple[str, ...]) -> Iterator[_Group]:
    """Yield the texts that may be timestamps, grouped by shape; those that cannot be are in no group."""
    chunks = texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]
    done = 0
    for chunk in chunks:
        for start in range(0, len(chunk), _SLICE):
            for group in _groups_of_slice(_tidy(chunk.slice(start, _SLICE)), formats):
                yield group._replace(rows=group.rows + (done + start))
        done += len(chunk)


def _groups_of_slice(texts: pa.StringArray, formats: tuple[str, ...]) -> Iterator[_Group]:
    _, ends, data = texts.buffers()
    offsets = np.frombuffer(ends, dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    characters = np.frombuffer(data or b"", dtype=np.uint8)
    lengths = np.diff(offsets)
    for length in np.flatnonzero(np.bincount(np.minimum(lengths, LONGEST + 1)))[: LONGEST + 1].tolist():
        if not 0 < length <= LONGEST:
            continue
        rows = np.flatnonzero(lengths == length)
        matrix = sliding_window_view(characters, length)[offsets[rows]]
        codes, shapes = _shapes(matrix)
        for code, shape in enumerate(shapes):
            found = plans(shape, formats)
            if not found:
                continue
            if len(shapes) == 1:
                yield _Group(rows, found, np.ascontiguousarray(matrix.T))
            else:
                mine = np.flatnonzero(codes == code)
                yield _Group(rows[mine], found, np.ascontiguousarray(matrix[mine].T))


def _tidy(texts: pa.Array) -> pa.StringArray:
    """Trim, and take for a space or a minus sign what only looks like one (browsers write `10:00\u202fPM`)."""
    tidy = pc.ascii_trim_whitespace(pc.fill_null(texts.cast(pa.string()), ""))
    if not pc.all(pc.string_is_ascii(tidy)).as_py():
        for character, plain in (("\u00a0", " "), ("\u202f", " "), ("\u2212", "-"), ("\u200e", "")):
            tidy = pc.replace_substring(tidy, character, plain)
        tidy = pc.utf8_trim_whitespace(tidy)
    return tidy


_CLASSES = np.arange(256, dtype=np.uint8)
_CLASSES[ord("0") : ord("9") + 1] = ord("0")
_CLASSES[ord("A") : ord("Z") + 1] = ord("a")
_CLASSES[ord("a") : ord("z") + 1] = ord("a")


def _shapes(matrix: Bytes) -> tuple[NDArray[np.int32], list[str]]:
    """Find the shapes of texts of one length (texts x bytes; see `time_formats`)."""
    classes = _CLASSES[matrix]
    is_letter = classes == ord("a")
    if is_letter.any():
        alone = is_letter.copy()
        alone[:, 1:] &= ~is_letter[:, :-1]
        alone[:, :-1] &= ~is_letter[:, 1:]
        classes[alone] = matrix[alone] & ~np.uint8(32)  # upper case
    array = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(matrix.shape[1]), len(matrix), [None, pa.py_buffer(classes)]
    ).dictionary_encode()
    return array.indices.to_numpy(), [shape.decode("latin-1") for shape in array.dictionary.to_pylist()]
