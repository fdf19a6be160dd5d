"""Local clocks and the instants they mean: when a zone's clock was changed, and what a wall-clock time then stands for.

The zones are those of the tzdata package, on every machine the same (the system's own copy may be older or
newer, and a replay must give the same instants). Reading timestamps is not done here, nor is it decided which
camera is in which zone.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from importlib import resources
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

SECOND = 1_000_000
"""Microseconds in a second."""

EARLIEST = int(datetime(1, 1, 1, tzinfo=UTC).timestamp()) * SECOND
LATEST = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()) * SECOND + SECOND - 1
"""The instants that a Python datetime and a PostgreSQL timestamptz can both hold, in microseconds since 1970."""

# The Gregorian calendar repeats every 400 years, weekdays included, and so does every rule for summer time.
_CYCLE_YEARS = 400
_CYCLE = 146_097 * 86_400 * SECOND
# The first change of any zone is of 1844; the last that is listed one by one (not given by a rule) of 2087.
_FIRST_YEAR = 1840
_LAST_YEAR = 2499
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Int64s = NDArray[np.int64]


class Instants(NamedTuple):
    """What wall-clock times stand for, in microseconds since 1970 UTC.

    `first` and `second` differ only where the clock was changed: in a repeated hour they are its two
    occurrences (`second` > `first`); in a skipped hour `first` is the wall-clock time shifted forward by the gap
    and `second` is earlier. (They are `fold=0` and `fold=1` of PEP 495.)
    """

    first: Int64s
    second: Int64s


class _Clock(NamedTuple):
    """A zone's offsets over some years: `offsets[i]` holds from change i-1 up to change i."""

    changes_first: Int64s  # wall clock, µs: from here on a `first` reading has the offset after the change
    changes_second: Int64s
    offsets: Int64s  # µs, one more than there are changes


@cache
def zone_names() -> frozenset[str]:
    """Every zone name that a camera list, profile or setting may use."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text(encoding="ascii").split())


def is_zone(name: str) -> bool:
    """Whether `name` is an IANA zone name, exactly as written (`Europe/Paris`, `UTC`)."""
    return name in zone_names()


@cache
def zone(name: str) -> ZoneInfo:
    """Return the zone of that name, from the tzdata package. Raises ValueError for a name that `is_zone` denies."""
    if not is_zone(name):
        raise ValueError(f"'{name}' is not the name of a time zone.")
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def instants(wall: Int64s, name: str) -> Instants:
    """Find the instants that wall-clock times (µs since 1970 as the local clock showed them) stand for in a zone.

    Dates beyond the last change that the zone's data lists follow its standing rule. Results are kept within
    the years 1 to 9999.
    """
    if wall.size == 0:
        return Instants(wall, wall)
    turns = np.maximum(0, (wall - _start_of_year(_LAST_YEAR)) // _CYCLE + 1)
    folded = wall - turns * _CYCLE if turns.any() else wall
    clock = _clock(name, _year(folded.min()), _year(folded.max()))
    first, second = (
        np.clip(wall - clock.offsets[np.searchsorted(changes, folded, side="right")], EARLIEST, LATEST)
        for changes in (clock.changes_first, clock.changes_second)
    )
    return Instants(first, second)


def _year(micros: np.int64) -> int:
    return int(np.datetime64(int(micros), "us").astype("datetime64[Y]").astype(np.int64)) + 1970


def _start_of_year(year: int) -> int:
    return int(np.datetime64(f"{year}-01-01", "us").astype(np.int64))


@lru_cache(maxsize=1024)
def _clock(name: str, first_year: int, last_year: int) -> _Clock:
    # A year more on both sides: an instant and its wall clock can lie in different years.
    first_year, last_year = (min(max(year, _FIRST_YEAR), _LAST_YEAR) for year in (first_year - 1, last_year + 1))
    changes = [change for year in range(first_year, last_year + 1) for change in _changes(name, year)]
    offsets = np.array([_offset(name, _seconds(first_year)), *(offset for _, offset in changes)], dtype=np.int64)
    times = np.array([time for time, _ in changes], dtype=np.int64)
    before, after = offsets[:-1], offsets[1:]
    return _Clock(
        (times + np.maximum(before, after)) * SECOND, (times + np.minimum(before, after)) * SECOND, offsets * SECOND
    )


@lru_cache(maxsize=16_384)
def _changes(name: str, year: int) -> tuple[tuple[int, int], ...]:
    """Find the changes of offset in a year (UTC): (second since 1970 at which it happens, new offset in seconds).

    zoneinfo does not publish its table of transitions, so it is asked day by day and each difference is narrowed
    down to its second. No zone has ever changed its clock twice within six days.
    """
    found = []
    day, end = _seconds(year), _seconds(year + 1)
    offset = _offset(name, day)
    while day < end:
        next_day = day + 86_400
        next_offset = _offset(name, next_day)
        if next_offset != offset:
            before, after = day, next_day
            while after - before > 1:
                middle = (before + after) // 2
                if _offset(name, middle) == offset:
                    before = middle
                else:
                    after = middle
            found.append((after, next_offset))
        day, offset = next_day, next_offset
    return tuple(found)


def _seconds(year: int) -> int:
    return _start_of_year(year) // SECOND


def _offset(name: str, second: int) -> int:
    offset = (_EPOCH + timedelta(seconds=second)).astimezone(zone(name)).utcoffset()
    if offset is None:
        raise AssertionError(f"{name} has no offset.")
    return int(offset.total_seconds())
