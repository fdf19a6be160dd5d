"""The models' expressions for the bounds of buckets, against a clock that is walked minute by minute.

Probed around one change of clocks of each kind that any zone has made, by the time of day and the size of the shift.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from psycopg.rows import tuple_row

from tests.integration.modelling import Models
from tests.integration.reference_models import moment
from tests.reference.events import MINUTE
from tests.reference.histories import micros
from tests.reference.instants import BucketSize, bucket_end, bucket_start
from warehouse.connections import Warehouse

# Changes that every installed edition of the zones knows alike.
FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2023, 1, 1, tzinfo=UTC)
AROUND = (-1500, -125, -91, -61, -60, -59, -31, -1, 0, 1, 29, 30, 31, 59, 60, 61, 90, 119, 121, 600, 1439, 1500)

SIZES: tuple[BucketSize, ...] = ("hour", "day", "week")

STATEMENT = """
    select
        number
        {% for size in ['hour', 'day', 'week'] %},
        {{ bucket_start(size, 'at_time', 'zone') }},
        {{ bucket_start(size, 'five_minutes', 'zone') }},
        {{ bucket_end(size, 'first_' ~ size, 'zone') }},
        (
            select array_agg(bucket_start order by bucket_start)
            from {{ buckets_between(size, 'first_' ~ size, 'last_' ~ size, 'zone') }} as buckets
        )
        {% endfor %}
    from probes
    cross join lateral (select {{ five_minutes('at_time') }} as five_minutes) as moments
"""


def changes_of_clocks() -> dict[tuple[timedelta, timedelta, time], tuple[str, datetime]]:
    """One zone and instant for each kind of change: (offset within the hour, shift, local time it happens at)."""
    found: dict[tuple[timedelta, timedelta, time], tuple[str, datetime]] = {}
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        at, offset = FIRST, FIRST.astimezone(zone).utcoffset()
        while at < LAST:
            later = at + timedelta(days=5)
            offset_later = later.astimezone(zone).utcoffset()
            assert offset is not None
            assert offset_later is not None
            if offset_later != offset:
                change = _change_between(at, later, zone)
                kind = (offset % timedelta(hours=1), offset_later - offset, (change + offset).time())
                found.setdefault(kind, (name, change))
            at, offset = later, offset_later
    return found


def _change_between(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The whole minute at which the offset changes."""
    offset = before.astimezone(zone).utcoffset()
    while after - before > timedelta(minutes=1):
        middle = before + (after - before) // timedelta(minutes=2) * timedelta(minutes=1)
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after


@pytest.fixture
def models(warehouse: Warehouse) -> Iterator[Models]:
    models = Models(warehouse)
    yield models
    models.close()


def test_bounds_of_buckets(models: Models) -> None:
    changes = changes_of_clocks()
    assert len(changes) > 30
    probes = [
        (zone, micros(change) + minutes * MINUTE + more)
        for zone, change in changes.values()
        for minutes in AROUND
        for more in (0, -1)
    ]
    expected = {}
    with models.warehouse.connect("transformer", row_factory=tuple_row) as connection:
        # The session's own zone must not matter.
        connection.execute("set timezone = 'Asia/Tokyo'")
        connection.execute(
            "create temporary table probes (number int, zone text, at_time timestamptz, first_hour timestamptz,"
            " last_hour timestamptz, first_day timestamptz, last_day timestamptz, first_week timestamptz,"
            " last_week timestamptz)"
        )
        with connection.cursor() as cursor, cursor.copy("copy probes from stdin") as copy:
            for number, (zone, instant) in enumerate(probes):
                found, bounds = [], []
                for size in SIZES:
                    starts = [bucket_start(instant, zone, size)]
                    for _ in range(4):
                        starts.append(bucket_end(starts[-1], zone, size))
                    following = starts.pop()
                    found += [moment(starts[0]), moment(starts[0]), moment(starts[1]), [*map(moment, starts)]]
                    bounds += [starts[0], following - 1]  # any instant of the last bucket stands for it
                expected[number] = found
                copy.write_row((number, zone, *map(moment, (instant, *bounds))))
        statement = models.compile_inline(STATEMENT)
        for number, *found in connection.execute(statement):  # type: ignore[arg-type]
            assert found == expected.pop(number), f"{probes[number][0]} at {moment(probes[number][1])}"
    assert not expected
