"""Where buckets begin: the instants at which a local clock strikes the hour, the date, the Monday.

Found by walking the clock minute by minute, as the definitions read. Every zone has been whole minutes away
from UTC since 1973, so that each such instant is a whole minute.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Literal
from zoneinfo import ZoneInfo

from tests.reference.events import HOUR, MINUTE

BucketSize = Literal["hour", "day", "week"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FARTHEST_ZONE = 15 * HOUR
# How many dates away the neighbouring start can lie at most, with a date that the zone skipped in between.
_REACH = {"day": 3, "week": 8}


def local_clock(instant: int, zone: str) -> datetime:
    """What the clock on the wall reads (without a zone)."""
    moment = _EPOCH + timedelta(microseconds=instant)
    return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def bucket_start(instant: int, zone: str, size: BucketSize) -> int:
    """The start of the bucket that holds the instant: the latest start that is not after it."""
    minute = instant - instant % MINUTE
    return _hour_start(minute, zone) if size == "hour" else _date_start(minute, zone, size)


def bucket_end(start: int, zone: str, size: BucketSize) -> int:
    """The start of the bucket after the one that starts at `start`."""
    if size == "hour":
        return _next_hour_start(start, zone)
    return min(candidate for candidate in _date_starts(start, zone, size) if candidate > start)


def bucket_date(start: int, zone: str) -> date:
    """The local date on which a day or week begins, by its first instant."""
    return local_clock(start, zone).date()


def begins(day: date, size: BucketSize) -> bool:
    """Whether a bucket of this size begins on this date."""
    return size == "day" or day.isoweekday() == 1


@cache
def first_instant(day: date, zone: str) -> int | None:
    """The first instant of a local date; None for a date that the zone skipped."""
    midnight = int((datetime(day.year, day.month, day.day, tzinfo=UTC) - _EPOCH) / timedelta(microseconds=1))
    for minute in range(midnight - _FARTHEST_ZONE, midnight + 24 * HOUR + _FARTHEST_ZONE, MINUTE):
        if local_clock(minute, zone).date() == day:
            return minute
    return None


@cache
def _hour_start(minute: int, zone: str) -> int:
    while local_clock(minute, zone).minute != 0:
        minute -= MINUTE
    return minute


@cache
def _next_hour_start(start: int, zone: str) -> int:
    # Clocks that read one hour more after an hour have run evenly: no zone shifts twice within one.
    if local_clock(start + HOUR, zone) - local_clock(start, zone) == timedelta(hours=1):
        return start + HOUR
    minute = start + MINUTE
    while local_clock(minute, zone).minute != 0:
        minute += MINUTE
    return minute


@cache
def _date_start(minute: int, zone: str, size: BucketSize) -> int:
    return max(start for start in _date_starts(minute, zone, size) if start <= minute)


def _date_starts(instant: int, zone: str, size: BucketSize) -> list[int]:
    """The starts of all buckets near an instant, the nearest before and after it among them."""
    near = local_clock(instant, zone).date()
    days = (near + timedelta(days=offset) for offset in range(-_REACH[size], _REACH[size] + 1))
    starts = (first_instant(day, zone) for day in days if begins(day, size))
    return [start for start in starts if start is not None]
