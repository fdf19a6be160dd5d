"""Records of text to clean events: which rows are good, what they say, and why the others are set aside.

A Cleaner judges one file, chunk by chunk, and adds up what it saw. It brings together what is decided elsewhere: column
truth in `schemas`, times in `timestamps`, columns and fields in `profiles`, words and ids of events in `events`,
sentences in `rejections` and `tally`. Nothing is stored here.

Rules that the schema cannot tell:

- A row that is an entry or an exit is a point: its end, whatever it says, is not judged but kept in `attributes`.
- An optional number that cannot be read, or that is out of its range, is null and its text is kept in `attributes`;
  that is a notice, never a rejection. An age of 34.7 is 34, and its text is kept too.
- `attributes` hold the other cells verbatim, those of a template among them, without the empty ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from validation import schemas
from validation.attributes import attributes_json
from validation.cameras import Camera
from validation.cells import NO_TEXT, Bools, Cells, mask, numbers, whole_years
from validation.chunks import Chunk
from validation.events import KNOWN_WORDS, EventType, event_ids, word_key
from validation.matching import Match
from validation.problems import FileProblem, Reject
from validation.profiles import FieldName
from validation.rejections import Describer, Finding, naming_its_row
from validation.row_zones import RowZones
from validation.rules import LoadingRules
from validation.tally import CleaningSummary, Tally
from validation.timestamps import DateOrder, ParsedTimes, localise, parse
from validation.zones import EARLIEST, LATEST

__all__ = ["CleanChunk", "Cleaner", "CleaningSummary", "time_columns"]

_POINTS = pa.array(["entry", "exit"])
_NUMERIC: tuple[FieldName, ...] = ("confidence", "age")
# The column of the judged table -> the field that a failure in it is a failure of.
_JUDGED: dict[str, FieldName] = {
    "person_id": "person_id",
    "camera_id": "camera_id",
    "event_word": "event_type",
    "event_time": "timestamp",
    "end_time": "end_time",
    "interval": "end_time",
}

Int64s = npt.NDArray[np.int64]


@dataclass
class CleanChunk:
    """The good rows (EVENT_SCHEMA, in file order) and every reason why the others are set aside, by row."""

    events: pa.Table
    rejects: list[Reject]


def time_columns(match: Match) -> list[str]:
    """List the columns whose cells tell whether the day or the month comes first."""
    sources = (match.sources.get("timestamp"), match.sources.get("end_time"))
    return list(dict.fromkeys(column for source in sources if source is not None for column in source.columns))


@dataclass
class _Times:
    """The instants of one chunk, UTC microseconds; they count only where `has_start` or `has_end`."""

    start: Int64s
    end: Int64s
    has_start: Bools
    has_end: Bools
    repeated: Bools
    skipped: Bools
    findings: list[Finding]


@dataclass
class _Aside:
    """Of an optional number: the rows without a value that the column can take, and those whose text is to be kept."""

    lost: Bools
    text_kept: Bools


@dataclass
class _Judged:
    """One chunk, judged: what its rows say, which are good, and what is wrong with the others."""

    cells: Cells
    table: pa.Table
    times: _Times
    aside: dict[FieldName, _Aside]
    findings: list[Finding]
    good: Bools


class Cleaner:
    """Judges the rows of one file, in chunks, and adds up what it saw."""

    def __init__(  # noqa: PLR0917
        self,
        match: Match,
        rules: LoadingRules,
        cameras: Sequence[Camera],
        site: str | None,
        arrived_at: datetime,
        date_order: DateOrder,
    ) -> None:
        """`site` is the landing folder's subfolder or None; `arrived_at` (aware) is the file's recorded arrival.

        Raises FileProblem where the site's name holds control characters.
        """
        if site is not None and any(ord(character) < 32 or 127 <= ord(character) < 160 for character in site):
            raise FileProblem(
                "site_unusable",
                f"The folder name {site!r} holds control characters, so it cannot be the name of a site.",
                "Rename the folder in the landing folder.",
            )
        self._match = match
        self._sources = match.sources
        self._prefix = "" if site is None else f"{site}/"
        self._order = date_order
        limits = schemas.Limits(
            rules.earliest_event.astimezone(UTC),
            arrived_at.astimezone(UTC) + timedelta(hours=rules.future_tolerance_hours),
            timedelta(days=rules.max_interval_days),
        )
        self._schema = schemas.event_columns(limits)
        self._describer = Describer(match, limits, rules.future_tolerance_hours)
        self._types: dict[str, EventType] = {**KNOWN_WORDS, **match.profile.event_words}
        self._unknown_type: EventType = "appearance" if match.profile.rows == "interval" else "other"
        self._listed = {camera.camera_id for camera in cameras}
        self._zones = RowZones(match.profile.timezone, cameras, rules.default_timezone, self._prefix)
        self._tally = Tally()

    def clean(self, chunk: Chunk) -> CleanChunk:
        """Judge one chunk. Rows keep their order; the rejects include those that the chunk itself brings."""
        judged = self._judge(Cells(chunk.table))
        row_numbers = np.asarray(chunk.row_numbers)
        events = self._events(judged, row_numbers[judged.good])
        rejects = [*map(naming_its_row, chunk.rejects), *self._rejects(judged, chunk, row_numbers)]
        rejects.sort(key=lambda reject: reject.row_number)
        self._count(judged, events, rejects)
        return CleanChunk(events, rejects)

    def summary(self) -> CleaningSummary:
        """Say what all chunks so far came to; how many dates were ambiguous is told where their order is decided."""
        return self._tally.summary(unknown_words_are=self._unknown_type, local_zones=self._zones.used())

    def _judge(self, cells: Cells) -> _Judged:
        words, types = self._event_words(cells)
        cameras = cells.text(self._sources["camera_id"])
        times = self._times(cells, types, cameras)
        confidence, age = (numbers(cells.text(self._sources.get(name))) for name in _NUMERIC)
        stay = pa.array(times.end - times.start, pa.int64(), mask=~(times.has_start & times.has_end))
        table = pa.table(
            {
                "person_id": cells.text(self._sources["person_id"]),
                "camera_id": cameras,
                "event_type": types,
                "event_word": words,
                "event_time": pa.array(times.start, pa.int64(), mask=~times.has_start).cast(schemas.TIME),
                "end_time": pa.array(times.end, pa.int64(), mask=~times.has_end).cast(schemas.TIME),
                "interval": stay.cast(pa.duration("us")),
                "zone": cells.text(self._sources.get("zone")),
                "confidence": confidence,
                "age": whole_years(age),
                "age_group": cells.text(self._sources.get("age_group")),
                "gender": cells.text(self._sources.get("gender")),
            }
        )
        findings, unfit = self._failures(cells, table)
        findings += times.findings
        good = np.ones(cells.rows, np.bool_)
        for finding in findings:
            good[finding.positions] = False
        fractions = mask(pc.not_equal(age, pc.floor(age)))
        aside = {}
        for name in _NUMERIC:
            given = mask(cells.text(self._sources.get(name)).is_valid())
            lost = given & (mask(table.column(name).combine_chunks().is_null()) | unfit[name])
            aside[name] = _Aside(lost, lost | fractions if name == "age" else lost)
        return _Judged(cells, table, times, aside, findings, good)

    def _event_words(self, cells: Cells) -> tuple[pa.Array, pa.Array]:
        """Each row's word, lower-cased and trimmed (null: missing), and its type."""
        encoded = cells.text(self._sources["event_type"]).dictionary_encode()
        words = [word.lower() for word in encoded.dictionary.to_pylist()]
        types = [self._types.get(word_key(word), self._unknown_type) for word in words]
        lowered = pa.array(words, pa.string()).take(encoded.indices)
        return lowered, pc.fill_null(pa.array(types, pa.string()).take(encoded.indices), "other")

    def _times(self, cells: Cells, types: pa.Array, cameras: pa.Array) -> _Times:
        start_texts = cells.text(self._sources["timestamp"])
        end_texts = pc.if_else(pc.is_in(types, _POINTS), NO_TEXT, cells.text(self._sources.get("end_time")))
        starts, ends = (self._parsed(texts) for texts in (start_texts, end_texts))
        self._zones.note(cameras, (starts.ok & ~starts.has_offset) | (ends.ok & ~ends.has_offset))
        local = localise(starts, ends, self._zones.names, self._zones.index(cameras))
        return _Times(
            np.clip(local.start, EARLIEST, LATEST),
            np.clip(ends.micros if local.end is None else local.end, EARLIEST, LATEST),
            starts.ok,
            ends.ok,
            local.repeated,
            local.skipped,
            [*_unread("timestamp", start_texts, starts), *_unread("end_time", end_texts, ends)],
        )

    def _parsed(self, texts: pa.Array) -> ParsedTimes:
        parsed = parse(texts, self._order, self._match.profile.timestamp_formats)
        self._tally.time_formats.update(parsed.formats)
        return parsed

    def _failures(self, cells: Cells, table: pa.Table) -> tuple[list[Finding], dict[str, Bools]]:
        """Why rows are to be rejected, and at which rows an optional number is out of its range."""
        findings: list[Finding] = []
        unfit: dict[str, Bools] = {name: np.zeros(cells.rows, np.bool_) for name in _NUMERIC}
        for failure in schemas.failures(self._schema, table):
            positions = failure.positions
            if failure.column in unfit:
                unfit[failure.column][positions] = True
                continue
            name = _JUDGED[failure.column]
            if name == "timestamp" and failure.code == "missing_value":
                # A time that could not be read is null here too, and has been found already.
                missing = mask(cells.text(self._sources[name]).is_null())
                positions = positions[missing[positions]]
            if len(positions):
                findings.append(Finding(name, failure.code, positions))
        return findings, unfit

    def _events(self, judged: _Judged, row_numbers: Int64s) -> pa.Table:
        """Make events of the good rows."""
        good, times = judged.good, judged.times
        all_good, chosen = bool(good.all()), pa.array(good)

        def keep(array: pa.Array) -> pa.Array:
            return array if all_good else array.filter(chosen)

        columns = {name: keep(judged.table.column(name).combine_chunks()) for name in judged.table.column_names}
        if self._prefix:
            columns["camera_id"] = pc.binary_join_element_wise(self._prefix, columns["camera_id"], "")
        for name, aside in judged.aside.items():
            lost = aside.lost[good]
            if lost.any():
                columns[name] = pc.if_else(pa.array(lost), pa.scalar(None, columns[name].type), columns[name])
        columns["event_id"] = event_ids(
            columns["person_id"],
            columns["camera_id"],
            columns["event_word"],
            event_time=times.start[good],
            end_time=times.end[good],
            has_end=times.has_end[good],
        )
        others = ((name, keep(texts)) for name, texts in self._other_cells(judged))
        columns["attributes"] = attributes_json(others, len(row_numbers))
        columns["row_number"] = pa.array(row_numbers, pa.int64())
        return pa.table([columns[name] for name in schemas.EVENT_SCHEMA.names], schema=schemas.EVENT_SCHEMA)

    def _other_cells(self, judged: _Judged) -> Iterable[tuple[str, pa.Array]]:
        """Header name and verbatim cells (null: said by a column) of what attributes hold, in the file's order."""
        kept: dict[str, Bools | None] = dict.fromkeys(self._match.extra_columns)

        def keep_too(name: FieldName, rows: Bools) -> None:
            column = self._sources[name].column if name in self._sources else None
            if column is not None and column not in self._match.extra_columns and rows.any():
                earlier = kept.get(column)
                kept[column] = rows if earlier is None else earlier | rows

        for name, aside in judged.aside.items():
            keep_too(name, aside.text_kept)
        given = mask(judged.cells.text(self._sources.get("end_time")).is_valid())
        keep_too("end_time", given & ~judged.times.has_end)
        for column in self._match.header:
            if column in kept:
                rows, texts = kept[column], judged.cells.verbatim(column)
                yield column, texts if rows is None else pc.if_else(pa.array(rows), texts, NO_TEXT)

    def _rejects(self, judged: _Judged, chunk: Chunk, row_numbers: Int64s) -> list[Reject]:
        bad = np.flatnonzero(~judged.good).tolist()
        if not bad:
            return []
        raw_texts = dict(zip(bad, chunk.raw_text(bad), strict=True))
        instants: Mapping[FieldName, Int64s] = {"timestamp": judged.times.start, "end_time": judged.times.end}
        places = {name: place for place, name in enumerate(self._sources)}
        return [
            reject
            for finding in sorted(judged.findings, key=lambda finding: places[finding.field])
            for reject in self._describer.describe(finding, judged.cells, instants, row_numbers, raw_texts)
        ]

    def _count(self, judged: _Judged, events: pa.Table, rejects: Sequence[Reject]) -> None:
        tally = self._tally
        tally.add_rows(events, rejects)
        tally.repeated += int((judged.times.repeated & judged.good).sum())
        tally.skipped += int((judged.times.skipped & judged.good).sum())
        tally.unknown_words.add(
            (word, rows) for word, rows in _counted(events["event_word"]) if word_key(word) not in self._types
        )
        tally.unlisted_cameras.add(
            (camera, rows) for camera, rows in _counted(events["camera_id"]) if camera not in self._listed
        )
        for name, aside in judged.aside.items():
            lost = aside.lost & judged.good
            if lost.any():
                source = self._sources[name]
                column = ", ".join(source.columns) or name
                tally.add_set_aside(column, _counted(judged.cells.text(source).filter(pa.array(lost))))


def _unread(name: FieldName, texts: pa.Array, times: ParsedTimes) -> list[Finding]:
    """Find the texts that were there but could not be read."""
    given = mask(texts.is_valid())
    codes = sorted(set(times.problem[given].tolist()) - {""})
    return [Finding(name, code, np.flatnonzero(given & (times.problem == code))) for code in codes]


def _counted(texts: pa.Array | pa.ChunkedArray) -> Iterable[tuple[str, int]]:
    """Count the distinct texts."""
    counts = texts.value_counts()
    return zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
