"""A made-up export of a shop's cameras, with its truth known beforehand.

People come through the door, stand before some of the cameras and leave; signals are repeated or lost, lines
are damaged. What a correct reader must find is counted while it is made up, not by reading it back.

Here is the people's behaviour and the stream of rows. How a moment or a damaged line is written is in
`sample_writing`. Only `random.Random.random` is drawn from, whose sequence Python guarantees for a seed.
"""

from __future__ import annotations

import gzip
import io
import math
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from random import Random
from typing import TextIO
from zoneinfo import ZoneInfo

from validation.sample_writing import HEADER, BadRows, DayClock, Writing, quoted

LAST_DAY = date(2025, 11, 30)
FIRST_DAY = date(2000, 1, 2)

_SLOT = 5 * 60_000  # milliseconds; rows are held back and sorted by this much time at once
_OPENS = 8 * 3_600_000
_CLOSES = 21 * 3_600_000 + 45 * 60_000
_BUSY = (2, 3, 4, 6, 8, 7, 5, 5, 7, 9, 8, 4)  # share of the day's visitors who come in each hour from 8 to 20
_LONGEST_SESSION = timedelta(hours=12)

# Camera, its zone as the export writes it. The queue camera measures intervals; the others see people come and go.
_DOOR = ("CAM-01", "Entrance")
_AISLES = (("CAM-02", "Aisle 1"), ("CAM-03", "Aisle 2"), ("CAM-04", "Café"), ("CAM-05", "Toys"), ("CAM-06", "Garden"))
_QUEUE = ("CAM-07", "Queue")
_TILL = ("CAM-08", "Tills")

_WORDS = (("entry", "exit"),) * 17 + (("Entry", "Exit"), ("enter", "leave"), ("IN", "OUT"))
_OTHER_WORDS = ("loitering", "crowd", "motion", "Loitering")
_ANONYMOUS = ("-1", "unknown", "anonymous", "Unknown")
_NOTES = ('"tall, with a pram"', '"said ""hello"" to staff"', '"first line\nsecond line"', "umbrella", "naïve; or not")


@dataclass(slots=True)
class SampleTruth:
    """What a sample file holds, counted while it was made up (with the default parameters of the models).

    `rows` are the data rows; `rejected` those to set aside, `reject_reasons` their reasons by code (a row may
    have two), `duplicates` exact copies of good rows; the rest are `events`. `entries`, `exits`, `appearances`
    and `others` count events by type, `repeats` and `anonymous_events` among them. `persons` are the distinct
    named persons. `dwell_microseconds` is the sum over `complete_sessions`.
    """

    rows: int = 0
    rejected: int = 0
    reject_reasons: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    events: int = 0
    entries: int = 0
    exits: int = 0
    appearances: int = 0
    others: int = 0
    repeats: int = 0
    anonymous_events: int = 0
    persons: int = 0
    complete_sessions: int = 0
    open_sessions: int = 0
    missing_exits: int = 0
    unmatched_exits: int = 0
    dwell_microseconds: int = 0
    first_event: datetime | None = None
    newest_event: datetime | None = None


def write_sample(
    path: Path,
    rows: int,
    days: int,
    seed: int,
    *,
    flaws: bool = True,
    timezone: str = "UTC",
    last_day: date = LAST_DAY,
) -> SampleTruth:
    """Write a CSV of exactly `rows` data rows over `days` days up to `last_day`; the same seed, the same bytes.

    Times without an offset are local time in `timezone` (as the camera list or the default zone should say).
    Without `flaws` every signal arrives, once, in order and in one time format, so that each row is an event of
    a named person. The file appears under its name when it is complete; a name that ends in .gz is compressed.

    Raises ValueError, in a sentence, for impossible numbers.
    """
    if rows < 1 or days < 1:
        raise ValueError(f"A sample needs at least one row and one day, not {rows} rows over {days} days.")
    if last_day - timedelta(days=days - 1) < FIRST_DAY:
        raise ValueError(f"A sample of {days} days up to {last_day} would begin before {FIRST_DAY}.")
    shop = _Shop(rows, days, seed=seed, flaws=flaws, zone=ZoneInfo(timezone), last_day=last_day)
    with _complete_or_not_at_all(path) as file:
        file.write(",".join(HEADER) + "\n")
        for lines in shop.lines():
            file.write("".join(lines))
    return shop.truth


@contextmanager
def _complete_or_not_at_all(path: Path) -> Iterator[TextIO]:
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as raw:
            if path.name.endswith(".gz"):
                # No name and no time in the header: the same seed gives the same bytes.
                with gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed, _as_text(packed) as file:
                    yield file
            else:
                with _as_text(raw) as file:
                    yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _as_text(binary: io.BufferedWriter | gzip.GzipFile) -> TextIO:
    return io.TextIOWrapper(binary, encoding="utf-8", newline="")


class _Shop:
    """The days of the shop, one after the other; holds only rows that are still to be written in order of time.

    A person comes at most once a day and stands before each camera at most once in a visit, so that no two
    signals coincide by accident. Persons of even number may leave without being seen, those of odd number may
    come without being seen, never both: so no lost exit is ever answered by another visit's exit.

    Moments are milliseconds since the day's local midnight.
    """

    def __init__(self, rows: int, days: int, *, seed: int, flaws: bool, zone: ZoneInfo, last_day: date) -> None:
        self.truth = SampleTruth(
            rows=rows, rejected=rows // 100 if flaws else 0, duplicates=rows // 200 if flaws else 0
        )
        self.truth.events = rows - self.truth.rejected - self.truth.duplicates
        self._random = Random(seed).random  # noqa: S311 - it makes up people, not secrets
        self._days, self._flaws, self._zone, self._last_day = days, flaws, zone, last_day
        self._writing = Writing(mixed=flaws)
        self._bad_rows = BadRows(self._random)
        self._population = max(60, rows // days + 1)  # so that nobody has to come twice a day
        self._step = _coprime_step(self._population)
        self._seen = bytearray(self._population)
        self._waiting: dict[int, list[tuple[int, str]]] = {}
        self._waiting_for_exit: dict[tuple[int, str], int] = {}
        self._made = 0
        self._written = 0
        self._recent: deque[str] = deque(maxlen=40)
        self._reasons: Counter[str] = Counter()
        self._first, self._newest = 2**63, -(2**63)

    def lines(self) -> Iterator[list[str]]:
        """Make the file's lines, header apart, some minutes at a time; the truth is complete at the end."""
        for day in range(self._days):
            self._begin_day(day)
            budget = self.truth.events * (day + 1) // self._days
            yield from self._one_day(budget)
        self._settle()

    def _begin_day(self, day: int) -> None:
        self._day = day
        self._clock = DayClock(self._last_day - timedelta(days=self._days - 1 - day), self._zone)
        self._visits_today = 0
        self._last_anonymous = _OPENS
        if day == self._days - 2:
            self._waiting_for_exit.clear()  # days before these two are over for any newest event

    def _one_day(self, budget: int) -> Iterator[list[str]]:
        start_count, today = self._made, budget - self._made
        busy = sum(_BUSY)
        so_far = 0.0
        for hour, share in enumerate(_BUSY):
            for slot_of_hour in range(12):
                so_far += share / 12
                slot = _OPENS // _SLOT + hour * 12 + slot_of_hour
                due = start_count + math.ceil(today * so_far / busy - 1e-9)
                while self._made < min(due, budget):
                    self._somebody_comes(slot * _SLOT, budget - self._made)
                yield from self._flush(slot)
        yield from self._flush(None)

    # --- people ------------------------------------------------------------------------------------------

    def _somebody_comes(self, slot_start: int, most_rows: int) -> None:
        if self._flaws and self._random() < 0.1:
            self._nobody_in_particular(slot_start)
        else:
            self._visit(slot_start + int(self._random() * _SLOT), most_rows)

    def _nobody_in_particular(self, slot_start: int) -> None:
        random = self._random
        at = max(self._last_anonymous + 1, slot_start + int(random() * _SLOT))
        self._last_anonymous = at
        camera, zone = (_DOOR, *_AISLES)[int(random() * 6)]
        word, kind = (("entry", "entries"), ("exit", "exits"), ("motion", "others"))[int(random() * 3)]
        self._count(kind)
        self.truth.anonymous_events += 1
        person = _ANONYMOUS[int(random() * len(_ANONYMOUS))]
        write = self._writing.choose(random(), milliseconds=True)
        self._emit(at, f"{write(self._clock, at)},{person},{camera},{word},,{zone},0.4,,,,\n")

    def _visit(self, at: int, most_rows: int) -> None:
        random = self._random
        # Each day begins a twelfth of the people further on, and so sees many of the day before again.
        place_in_line = self._visits_today + self._day * self._population // 12
        person = place_in_line * self._step % self._population
        self._visits_today += 1
        self._seen[person] = 1
        first_aisle, aisles = int(random() * len(_AISLES)), int(random() * 4)
        path = [_DOOR, *((_AISLES * 2)[first_aisle : first_aisle + aisles])]
        if random() < 0.6:
            path += [_QUEUE, _TILL]
        last_row = self._made + most_rows
        for camera in path:
            if self._made == last_row or at > _CLOSES:
                return
            at = self._stay(person, camera, at, last_row - self._made) + 1000 * (3 + int(random() * 90))

    def _stay(self, person: int, place: tuple[str, str], at: int, most_rows: int) -> int:
        """One person before one camera from `at` on; returns when that is over."""
        random = self._random
        camera, zone = place
        pattern = random() if self._flaws and most_rows >= 5 else 1.0
        dwell = 5_000 + min(int(-math.log(1 - random()) * 180_000), 3_000_000)
        if pattern < 0.15:
            dwell += 85_000  # room for what else happens before the exit
        milliseconds = random() < 0.3
        if not milliseconds:
            at -= at % 1000
            dwell -= dwell % 1000
        chosen = self._writing.choose(random(), milliseconds)
        entry, leave = _WORDS[int(random() * len(_WORDS))] if self._flaws else _WORDS[0]
        before, behind = f",P{person:05d},{camera},", self._details(person, zone)

        def row(time: int, word: str, end: str = "") -> None:
            self._emit(time, f"{chosen(self._clock, time)}{before}{word},{end}{behind}")

        if place is _QUEUE:
            row(at, "appearance", chosen(self._clock, at + dwell))
            self._count("appearances")
            self._complete(dwell)
            return at + dwell
        if most_rows == 1:  # the day's last row is too few for a stay
            row(at, "motion")
            self._count("others")
            return at
        self._waiting_for_exit.pop((person, camera), None)
        odd = person % 2 == 1
        if pattern < 0.05:  # seen once only
            row(at, leave if odd else entry)
            if odd:
                self._count("exits")
                self.truth.unmatched_exits += 1
            else:
                self._count("entries")
                self.truth.missing_exits += 1
                if self._day >= self._days - 2:
                    self._waiting_for_exit[person, camera] = self._clock.utc_milliseconds(at)
            return at
        if pattern < 0.06 and odd:  # in and out at once
            row(at, entry)
            row(at, leave)
            self._count("entries", "exits")
            self._complete(0)
            return at
        row(at, entry)
        self._count("entries")
        if pattern < 0.09:  # the entry is signalled twice more, each within a minute of the one before
            for after in (5_000 + 1_000 * int(random() * 20), 60_000):
                row(at + after, entry)
                self._count("entries", "repeats")
        elif pattern < 0.11:  # out and in again in the same instant
            middle = at + dwell
            row(middle, leave)
            row(middle, entry)
            self._count("exits", "entries")
            self._complete(dwell)
            at = middle
        elif pattern < 0.15:
            row(at + 10_000, _OTHER_WORDS[int(random() * len(_OTHER_WORDS))])
            self._count("others")
        row(at + dwell, leave)
        self._count("exits")
        self._complete(dwell)
        if 0.15 <= pattern < 0.18:  # the exit is signalled again
            row(at + dwell + 30_000, leave)
            self._count("exits", "repeats")
        return at + dwell

    def _details(self, person: int, zone: str) -> str:
        """Write the cells behind the event type: zone, confidence, age, gender, frame and note."""
        random = self._random
        age = f"{16 + person * 37 % 70}" if person % 10 else ""
        gender = "FM"[person * 7 % 13 % 2] if person % 12 else ""
        confidence = f"0.{80 + int(random() * 20)}"
        note = ""
        if self._flaws and random() < 0.02:
            note = _NOTES[int(random() * len(_NOTES))]
            if random() < 0.2:
                confidence, age = "high", "n/a"  # unreadable where a value is optional: no reason to reject
        return f",{quoted(zone)},{confidence},{age},{gender},{1000 + int(random() * 9000)},{note}\n"

    # --- truth -------------------------------------------------------------------------------------------

    def _count(self, *kinds: str) -> None:
        for kind in kinds:
            setattr(self.truth, kind, getattr(self.truth, kind) + 1)

    def _complete(self, dwell: int) -> None:
        self.truth.complete_sessions += 1
        self.truth.dwell_microseconds += dwell * 1000

    def _settle(self) -> None:
        truth = self.truth
        truth.reject_reasons = dict(sorted(self._reasons.items()))
        truth.persons = sum(self._seen)
        if truth.events:
            truth.first_event, truth.newest_event = _moment(self._first), _moment(self._newest)
        recent = self._newest - _LONGEST_SESSION // timedelta(milliseconds=1)
        truth.open_sessions = sum(at >= recent for at in self._waiting_for_exit.values())
        truth.missing_exits -= truth.open_sessions

    # --- rows in order -----------------------------------------------------------------------------------

    def _emit(self, at: int, line: str) -> None:
        self._made += 1
        utc = self._clock.utc_milliseconds(at)
        self._first, self._newest = min(self._first, utc), max(self._newest, utc)
        if self._flaws and self._random() < 0.01:
            at += int(self._random() * 1_200_000)  # the line comes late
        self._waiting.setdefault(at // _SLOT, []).append((at, line))

    def _flush(self, up_to: int | None) -> Iterator[list[str]]:
        """Give out the waiting lines up to and with a slot (or all), sorted by time, with the flawed ones between."""
        for slot in sorted(slot for slot in self._waiting if up_to is None or slot <= up_to):
            lines = [line for _, line in sorted(self._waiting.pop(slot), key=itemgetter(0))]
            yield self._with_flaws(lines) if self._flaws else lines

    def _with_flaws(self, good: list[str]) -> list[str]:
        """Spread the bad rows and the copies evenly over the file, however it is cut into pieces."""
        lines: list[str] = []
        truth, position = self.truth, self._written
        for line in good:
            lines.append(line)
            self._recent.append(line)
            position += 1
            if position * truth.duplicates // truth.events > (position - 1) * truth.duplicates // truth.events:
                lines.append(self._recent[int(self._random() * len(self._recent))])
            if position * truth.rejected // truth.events > (position - 1) * truth.rejected // truth.events:
                codes, bad = self._bad_rows.next(self._clock)
                self._reasons.update(codes)
                lines.append(bad)
        self._written = position
        return lines


def _moment(milliseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


def _coprime_step(population: int) -> int:
    """Find a step that reaches everybody before anybody twice."""
    step = int(population * 0.618)
    while math.gcd(step, population) != 1:
        step += 1
    return step
