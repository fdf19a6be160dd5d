"""Measures in buckets of time: which buckets a page shows, where each is read from, and what stands where nothing is.

A bucket that is whole, of one camera or of a whole site, with everybody in it, stands ready in a mart. Everything else
(a bucket that the range cuts, several cameras together, some persons, another zone's days) marts.measures_between makes
of events and sessions: a count of persons is never a sum. Both come to the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final, Literal

from serving.api.answers import Row
from serving.api.asking import Ask
from serving.api.choosing import Chosen
from serving.api.cursors import read_cursor

GroupBy = Literal["camera", "site", "age_group", "gender"]
DemographicGroup = Literal["age_group", "gender"]
Bucket = tuple[datetime, datetime]

COUNTS: Final = ("events", "entries", "exits", "unique_visitors", "sessions_started", "completed_sessions")
TOTALS: Final = ("dwell_seconds_total", "occupied_seconds", "avg_occupancy", "peak_occupancy")
SPREADS: Final = ("dwell_seconds_avg", "dwell_seconds_median", "dwell_seconds_p90", "dwell_seconds_max")
MEASURES: Final = (*COUNTS, *TOTALS, *SPREADS)
_LENGTHS: Final = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}
_TABLES: Final = {"hour": "hourly", "day": "daily", "week": "weekly"}
_MOMENT: Final = timedelta(microseconds=1)

_SPAN = """
select min(bucket_start) as first_start, max(bucket_end) as last_end
from marts.camera_daily
where camera_id = any(%(cameras)s)
"""
# The buckets that the first and the last moment lie in: asked from further off, they are not cut.
_WHOLE = """
select
    marts.bucket_starts(%(interval)s, first - interval '9 days', first + interval '1 microsecond', %(zone)s) as starts,
    marts.bucket_starts(%(interval)s, last - interval '1 microsecond', last + interval '9 days', %(zone)s) as ends
from (values (%(first)s::timestamptz, %(last)s::timestamptz)) as span (first, last)
"""
_STARTS = "select marts.bucket_starts(%(interval)s, %(start)s, %(end)s, %(zone)s) as starts"
_READY = """
select {place} as group_key, bucket_start, {measures}
from marts.{table}
where {place} = any(%(places)s) and bucket_start = any(%(starts)s)
"""
_MADE = f"""
select group_key, bucket_start, {", ".join(MEASURES)}
from marts.measures_between(
    %(starts)s::timestamptz[], %(cameras)s::text[], %(persons)s::text[], %(age_groups)s::text[], %(genders)s::text[],
    %(group_by)s::text
)
"""  # noqa: S608
# By one look into the index for each camera and bucket.
_SPOKEN = """
select cameras.group_key, buckets.bucket_start
from unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) as buckets (bucket_start, bucket_end)
cross join unnest(%(cameras)s::text[], %(keys)s::text[]) as cameras (camera_id, group_key)
where exists (
    select 1
    from marts.camera_events as events
    where
        events.camera_id = cameras.camera_id
        and events.event_time >= buckets.bucket_start
        and events.event_time < buckets.bucket_end
        and not events.is_ignored
)
group by cameras.group_key, buckets.bucket_start
"""
_GROUPS = (
    "select distinct {group_by} as group_key from marts.demographics_daily where site_id = any(%(sites)s) order by 1"
)


@dataclass(frozen=True)
class Series:
    """The rows of a page, ordered by bucket and group, one more than the limit if there are more."""

    rows: Sequence[Row]
    chosen: Chosen


async def within(ask: Ask[Any], chosen: Chosen, interval: str = "day") -> Chosen:
    """Close an open range: from the first bucket with anything in it to the end of the last, by days at least."""
    if chosen.start is not None and chosen.end is not None:
        return chosen
    (span,) = await ask.rows(_SPAN, cameras=chosen.camera_ids)
    if span["first_start"] is None:
        return chosen
    (bounds,) = await ask.rows(
        _WHOLE, interval=interval, first=span["first_start"], last=span["last_end"], zone=chosen.zone
    )
    start = chosen.start or bounds["starts"][-2]
    end = chosen.end or bounds["ends"][1]
    if end <= start:
        # All of the range lies before, or after, anything.
        start, end = (start, start + _MOMENT) if chosen.start else (end - _MOMENT, end)
    return replace(chosen, start=start, end=end)


async def groups_of(ask: Ask[Any], chosen: Chosen, group_by: GroupBy | None) -> Sequence[str | None]:
    """Return what rows are told apart by, in order: the same on every page."""
    match group_by:
        case None:
            return [None]
        case "camera":
            return chosen.camera_ids
        case "site":
            return chosen.site_ids
        case _:
            rows = await ask.rows(_GROUPS.format(group_by=group_by), sites=chosen.site_ids)
            wanted = chosen.age_groups if group_by == "age_group" else chosen.genders
            return [row["group_key"] for row in rows if wanted is None or row["group_key"] in wanted]


async def series(ask: Ask[Any], chosen: Chosen, interval: str | None, group_by: GroupBy | None) -> Series:
    """Return a page of measures by bucket and group; without an interval the range is one bucket.

    Buckets without anything are there, too.

    Their measures are 0, and null where none of the cameras had any event: nobody knows whether somebody was there.
    """
    chosen = await within(ask, chosen, interval or "day")
    groups = await groups_of(ask, chosen, group_by)
    if chosen.start is None or chosen.end is None or not groups:
        return Series([], chosen)
    after = read_cursor(ask.route, ask.asked, [datetime, str])
    limit: int = ask.asked.limit
    first = chosen.start if after is None else max(after[0].astimezone(UTC), chosen.start)
    count = limit // len(groups) + 2
    if interval is None:
        buckets, ready = [(chosen.start, chosen.end)], {}
    else:
        buckets, whole = await _buckets(ask, chosen, interval, first, count)
        ready = await _ready(ask, chosen, interval, group_by, [start for start, _ in buckets if start in whole])
    made = await _made(ask, chosen, group_by, [bucket for bucket in buckets if bucket[0] not in ready])
    spoken = await _spoken(ask, chosen, group_by, buckets)
    rows = []
    for start, end in buckets:
        for group in groups:
            if after is not None and (start, group or "") <= (after[0], after[1]):
                continue
            found = (ready.get(start) or made.get(start) or {}).get(group)
            spoke = (None if group_by not in ("camera", "site") else group, start) in spoken
            rows.append({"bucket_start": start, "bucket_end": end, "group": group, **(found or _nothing(spoke))})
    return Series(rows[: limit + 1], chosen)


async def _buckets(
    ask: Ask[Any], chosen: Chosen, interval: str, first: datetime, count: int
) -> tuple[list[Bucket], set[datetime]]:
    """Return some buckets from an instant on, cut to the range, and the starts of those that are not cut."""
    assert chosen.end is not None  # noqa: S101
    # Asked from a moment earlier to a moment later, a bucket that begins or ends with the range shows that it does.
    until = min(chosen.end, first + (count + 1) * _LENGTHS[interval] + timedelta(days=1))
    (row,) = await ask.rows(_STARTS, interval=interval, start=first - _MOMENT, end=until + _MOMENT, zone=chosen.zone)
    strokes: list[datetime] = row["starts"]
    whole = {start for start, end in pairwise(strokes[1:-1])}
    bounds = sorted({first, until, *(stroke for stroke in strokes if first <= stroke <= until)})
    return list(pairwise(bounds))[:count], whole


async def _ready(
    ask: Ask[Any], chosen: Chosen, interval: str, group_by: GroupBy | None, starts: Sequence[datetime]
) -> dict[datetime, dict[str | None, Row]]:
    """Return the measures that stand ready, by bucket (each of these, if any) and group."""
    place = _ready_place(chosen, group_by)
    if place is None or not starts:
        return {}
    table = f"{'camera' if place == 'camera_id' else 'site'}_{_TABLES[interval]}"
    query = _READY.format(place=place, table=table, measures=", ".join(MEASURES))
    places = chosen.camera_ids if place == "camera_id" else chosen.site_ids
    found: dict[datetime, dict[str | None, Row]] = {start: {} for start in starts}
    for row in await ask.rows(query, places=places, starts=list(starts)):
        found[row["bucket_start"]][None if group_by is None else row["group_key"]] = _measures(row)
    return found


async def _made(
    ask: Ask[Any], chosen: Chosen, group_by: GroupBy | None, buckets: Sequence[Bucket]
) -> dict[datetime, dict[str | None, Row]]:
    """Return the measures of all other buckets likewise, made of events and sessions."""
    found: dict[datetime, dict[str | None, Row]] = {start: {} for start, _ in buckets}
    for starts in _runs(buckets):
        rows = await ask.rows(
            _MADE,
            starts=starts,
            cameras=chosen.camera_ids,
            persons=chosen.persons,
            age_groups=chosen.age_groups,
            genders=chosen.genders,
            group_by=group_by,
        )
        for row in rows:
            found[row["bucket_start"]][row["group_key"]] = _measures(row)
    return found


def _measures(row: Row) -> Row:
    return {name: row[name] for name in MEASURES}


def _ready_place(chosen: Chosen, group_by: GroupBy | None) -> str | None:
    """Tell by which place the buckets stand ready, if they do."""
    if not chosen.everybody or any(camera.timezone != chosen.zone for camera in chosen.cameras):
        return None
    if group_by == "camera" or (group_by is None and len(chosen.cameras) == 1):
        return "camera_id"
    if chosen.whole_site_ids == chosen.site_ids and (
        group_by == "site" or (group_by is None and len(chosen.site_ids) == 1)
    ):
        return "site_id"
    return None


def _runs(buckets: Sequence[Bucket]) -> list[list[datetime]]:
    """Return the bounds of buckets that follow each other, run by run."""
    runs: list[list[datetime]] = []
    for start, end in buckets:
        if runs and runs[-1][-1] == start:
            runs[-1].append(end)
        else:
            runs.append([start, end])
    return runs


async def _spoken(
    ask: Ask[Any], chosen: Chosen, group_by: GroupBy | None, buckets: Sequence[Bucket]
) -> set[tuple[str | None, datetime]]:
    """Return of which cameras or sites (None: of any) there is an event in which buckets.

    With everybody chosen nobody needs to ask: where there is an event there are measures.
    """
    if chosen.everybody and group_by not in ("age_group", "gender"):
        return set()
    keys = [
        camera.camera_id if group_by == "camera" else camera.site_id if group_by == "site" else None
        for camera in chosen.cameras
    ]
    rows = await ask.rows(
        _SPOKEN,
        starts=[start for start, _ in buckets],
        ends=[end for _, end in buckets],
        cameras=chosen.camera_ids,
        keys=keys,
    )
    return {(row["group_key"], row["bucket_start"]) for row in rows}


def _nothing(spoke: bool) -> Row:
    """Return the measures of a bucket without anything."""
    return {name: None if name in SPREADS or not spoke else 0 for name in MEASURES}
