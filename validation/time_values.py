"""Values of timestamps, read from the fixed positions that a plan names, all texts of one shape at once.

Texts come as a matrix of bytes with a column per text, so that a part of the timestamp is a few contiguous rows. What
shapes there are and which plan fits is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from validation.time_formats import Plan
from validation.zones import EARLIEST, LATEST, SECOND

Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]
Int64s = NDArray[np.int64]
Numbers = NDArray[Any]  # of any type of integer


class Reading(NamedTuple):
    """What texts of one shape say: `micros` since 1970 where `ok`; `coarse` numbers are less exact than a second."""

    ok: Bools
    micros: Int64s
    coarse: Bools
    formats: dict[str, int]


def read(plan: Plan, letters: Bytes, *, day_first: bool) -> Reading:
    """Read texts (`letters`: bytes x texts) by a plan. Values that no calendar or clock holds are not ok.

    The second 60 of a leap second is not ok, for no later step can tell it from its neighbours; 24:00 is the end of
    its day in ISO 8601 and nowhere else.
    """
    return _read_number(plan, letters) if plan.is_number else _read_date(plan, letters, day_first)


# --- numbers since 1970 -------------------------------------------------------------------------------------------

# The unit of a number follows from its size alone. With these borders each of the finer units covers 1970-04-26 to
# 2286-11-20, and seconds cover 1653-02-10 to 2286-11-20: no number could be a plausible date in two units.
_BORDERS = (10, 13, 16, 19)  # powers of ten at which the next unit begins; nothing lies beyond the last
_UNITS = ("Unix seconds", "Unix milliseconds", "Unix microseconds", "Unix nanoseconds")
_MICROS_IN_UNIT = (6, 3, 0, -3)  # powers of ten
_INT64_DIGITS = 18  # any number of that many digits fits


def _read_number(plan: Plan, letters: Bytes) -> Reading:
    whole, decimals = plan.fields["n"], plan.fields.get("q", (0, 0))
    places = [*range(*whole), *range(*decimals)]
    kept, dropped = places[:_INT64_DIGITS], places[_INT64_DIGITS:]
    whole_digits = whole[1] - whole[0]
    absolute = _digits(letters[kept], 0, len(kept)).astype(np.int64)
    rows = absolute.size
    readable = np.ones(rows, dtype=np.bool_)
    if dropped and (whole_digits > 1 or "e" in plan.fields):
        # What is dropped is finer than a microsecond unless leading zeros have taken the place of digits that count.
        readable = letters[whole[0]] != ord("0")
    number = -absolute if plan.negative else absolute
    if plan.negative and dropped:  # downwards is away from zero
        number = number - (letters[dropped] != ord("0")).any(axis=0)
    exponent = np.zeros(rows, dtype=np.int64)
    if "e" in plan.fields:
        exponent = _field(plan, letters, "e").astype(np.int64) * (-1 if plan.negative_exponent else 1)

    micros = np.zeros(rows, dtype=np.int64)
    coarse = np.zeros(rows, dtype=np.bool_)
    formats: dict[str, int] = {}
    for power in np.unique(exponent).tolist():
        scale = power + whole_digits - len(kept)  # the number stands for number * 10**scale
        same_power = readable & (exponent == power)
        unit = np.zeros(rows, dtype=np.int8)
        for border in _BORDERS:
            unit += absolute >= _power_of_ten(max(0, border - scale))
        for index, name in enumerate(_UNITS):
            mine = same_power & (unit == index)
            count = int(np.count_nonzero(mine))
            if count == 0:
                continue
            last_digit = power - (decimals[1] - decimals[0]) + _MICROS_IN_UNIT[index] - 6  # as a power of ten seconds
            if "e" in plan.fields and last_digit > 0:
                coarse |= mine
                continue
            shift = scale + _MICROS_IN_UNIT[index]
            micros[mine] = number[mine] * _power_of_ten(shift) if shift >= 0 else number[mine] // _power_of_ten(-shift)
            formats[name] = formats.get(name, 0) + count
        readable &= ~same_power | (unit < len(_UNITS))
    return Reading(readable & ~coarse, micros, coarse, formats)


def _power_of_ten(power: int) -> int:
    """10**power, or the largest whole number there is; a number of 18 digits is below either."""
    largest = 2**63 - 1
    return 10**power if power < 19 else largest


# --- dates --------------------------------------------------------------------------------------------------------

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTH_NUMBERS = {name[:length]: number for number, name in enumerate(_MONTHS, 1) for length in (3, len(name))}
_MONTH_NUMBERS["sept"] = 9
_WEEKDAY_NUMBERS = {name[:length]: number for number, name in enumerate(_WEEKDAYS) for length in (3, len(name))}
_WEEKDAY_NUMBERS |= {"tues": 1, "thur": 3, "thurs": 3}
_HALF_DAYS = {"am": 0, "a.m.": 0, "pm": 12, "p.m.": 12}
_ORDINALS = {"st": 1, "nd": 2, "rd": 3, "th": 4}
_NO_OFFSET = {"gmt": 0, "utc": 0}
# RFC 2822, 4.3. Other abbreviations mean different things in different places.
_ZONE_HOURS = _NO_OFFSET | {
    "z": 0, "ut": 0, "est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7,
}  # fmt: skip
_MAX_OFFSET_HOURS = 15  # as PostgreSQL has it; no place on Earth was ever further from UTC


def _read_date(plan: Plan, letters: Bytes, day_first: bool) -> Reading:
    ok, days = _days(plan, letters, day_first)
    micros = days.astype(np.int64) * (86_400 * SECOND)
    if "H" in plan.fields:
        time_ok, time = _time_of_day(plan, letters)
        ok &= time_ok
        micros += time
    if plan.has_offset:
        offset_ok, minutes = _offset_minutes(plan, letters)
        ok &= offset_ok
        micros -= minutes * (60 * SECOND)
    for start, stop, text in plan.literals:
        ok &= (_LOWER[letters[start:stop]] == np.frombuffer(text, np.uint8)[:, None]).all(axis=0)
    ok &= (micros >= EARLIEST) & (micros <= LATEST)
    name = plan.name
    if plan.is_numeric_date:
        name = "DD/MM/YYYY" if day_first else "MM/DD/YYYY"
    if plan.has_offset and not name.startswith(("RFC", "profile")):
        name += " with offset"
    return Reading(ok, micros, np.zeros(ok.size, dtype=np.bool_), {name: int(np.count_nonzero(ok))})


@cache
def _month_starts() -> NDArray[np.int32]:
    """Days since 1970 of the first of every month: [12 * year + month - 1], from year 0 to the end of 9999."""
    return np.arange("0000-01", "10000-02", dtype="datetime64[M]").astype("datetime64[D]").astype(np.int32)


def _days(plan: Plan, letters: Bytes, day_first: bool) -> tuple[Bools, Numbers]:
    """Days since 1970, and which of them there are."""
    starts = _month_starts()
    day: Numbers
    month: Numbers
    if "y" in plan.fields:
        short = _field(plan, letters, "y").astype(np.int32)
        year = short + np.where(short < 69, np.int32(2000), np.int32(1900))  # the pivot of POSIX and of strptime
    else:
        year = _field(plan, letters, "G" if "G" in plan.fields else "Y").astype(np.int32)
    ok = year >= 1
    first = year * np.int32(12)
    if "J" in plan.fields:
        day = _field(plan, letters, "J").astype(np.int32)
        ok &= (day >= 1) & (day <= starts[first + 12] - starts[first])
        days = starts[first] + day - 1
    elif "G" in plan.fields:
        week, weekday = (_field(plan, letters, name).astype(np.int32) for name in ("W", "U"))
        fourth = starts[first] + 3  # of January: always in week 1
        monday = fourth - (fourth + 3) % 7 + (week - 1) * 7
        ok &= (week >= 1) & (monday + 3 < starts[first + 12]) & (weekday >= 1) & (weekday <= 7)
        days = monday + weekday - 1
    else:
        if "b" in plan.fields:
            month_ok, month = _word(plan, letters, "b", _MONTH_NUMBERS)
        else:
            month = _field(plan, letters, "M" if "M" in plan.fields else "B" if day_first else "A")
            month_ok = (month >= 1) & (month <= 12)
        day = _field(plan, letters, "D" if "D" in plan.fields else "A" if day_first else "B")
        index = first + np.where(month_ok, month, 1) - 1
        ok &= month_ok & (day >= 1) & (day <= starts[index + 1] - starts[index])
        days = starts[index] + day - 1
    if "ord" in plan.fields:
        ok &= _word(plan, letters, "ord", _ORDINALS)[0]
    if "a" in plan.fields:
        known, weekday = _word(plan, letters, "a", _WEEKDAY_NUMBERS)
        ok &= known & ((days + 3) % 7 == weekday)  # 1970-01-01 was a Thursday
    return ok, days


def _time_of_day(plan: Plan, letters: Bytes) -> tuple[Bools, Int64s]:
    hour: Numbers = _field(plan, letters, "H").astype(np.int32)
    if "p" in plan.fields:
        ok, half = _word(plan, letters, "p", _HALF_DAYS)
        ok &= (hour >= 1) & (hour <= 12)
        hour = hour % 12 + half
    else:
        ok = hour <= 23
    seconds = hour * 3600
    for name, length in (("m", 60), ("s", 1)):
        if name in plan.fields:
            value = _field(plan, letters, name)
            ok &= value < 60
            seconds += value * np.int32(length)
    micros = seconds.astype(np.int64) * SECOND
    if "f" in plan.fields:
        start, stop = plan.fields["f"]
        stop = min(stop, start + 6)
        micros += _digits(letters, start, stop) * np.int64(10 ** (6 - (stop - start)))
    if plan.allows_24 and "p" not in plan.fields:
        ok |= (hour == 24) & (micros == 24 * 3600 * SECOND)
    return ok, micros


def _offset_minutes(plan: Plan, letters: Bytes) -> tuple[Bools, Int64s]:
    if "z" in plan.fields:
        ok, hours = _word(plan, letters, "z", _ZONE_HOURS)
        return ok, hours.astype(np.int64) * 60
    hours = _field(plan, letters, "oh")
    ok = hours <= _MAX_OFFSET_HOURS
    minutes = hours.astype(np.int64) * 60
    if "om" in plan.fields:
        rest = _field(plan, letters, "om")
        ok &= rest < 60
        minutes += rest
    if "x" in plan.fields:
        ok &= _word(plan, letters, "x", _NO_OFFSET)[0]
    return ok, minutes if plan.east else -minutes


# --- digits and words ---------------------------------------------------------------------------------------------

_LOWER = np.arange(256, dtype=np.uint8)
_LOWER[ord("A") : ord("Z") + 1] += 32


def _field(plan: Plan, letters: Bytes, name: str) -> Numbers:
    return _digits(letters, *plan.fields[name])


def _digits(letters: Bytes, start: int, stop: int) -> Numbers:
    """Numbers of up to 18 digits, in the smallest type that holds them."""
    length = stop - start
    number: Numbers
    if length <= 2:
        number = letters[start] & np.uint8(15)
        return number if length == 1 else number * np.uint8(10) + (letters[start + 1] & np.uint8(15))
    tail, kind = (2, np.uint16) if length <= 4 else (4, np.uint32) if length <= 9 else (9, np.int64)
    number = _digits(letters, start, stop - tail).astype(kind)
    number *= kind(10**tail)
    number += _digits(letters, stop - tail, stop).astype(kind)
    return number


def _word(plan: Plan, letters: Bytes, name: str, meanings: Mapping[str, int]) -> tuple[Bools, NDArray[np.int32]]:
    """Which words are known (in any case) and what they mean."""
    start, stop = plan.fields[name]
    width = stop - start
    known = {word.encode(): meaning for word, meaning in meanings.items() if len(word) == width}
    words = np.ascontiguousarray(_LOWER[letters[start:stop]].T)
    array = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(words), [None, pa.py_buffer(words)])
    index = pc.fill_null(pc.index_in(array, value_set=pa.array(list(known), pa.binary(width))), -1).to_numpy()
    return index >= 0, np.array([*known.values(), 0], dtype=np.int32)[index]
