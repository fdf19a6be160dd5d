"""How many came, how long they stayed, how full it was: in one row, by buckets, by hours of the week, by groups."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, Field

from serving.api.answers import Found, Row
from serving.api.asking import Ask, Question, page_of
from serving.api.buckets import DemographicGroup, GroupBy, series, within
from serving.api.choosing import Chosen, choose
from serving.api.parameters import Demographics, Interval, Page, Persons, Places, Range
from serving.api.shares import share_without_exit

BANDS: Final = (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0)


class KpiParameters(Places, Persons, Demographics, Range):
    """Of what."""


class BucketParameters(Places, Persons, Demographics, Range, Page):
    """Of what, in which buckets."""

    interval: Interval = Field("hour", description="How long a bucket is, on the local clock of tz.")
    group_by: GroupBy | None = Field(None, description="By what rows are told apart; without it, all taken together.")


class DwellParameters(Places, Persons, Demographics, Range, Page):
    """Of what, in which buckets or over the whole range."""

    interval: Interval | None = Field(None, description="How long a bucket is; without it, the whole range is one.")
    group_by: GroupBy | None = Field(None, description="By what rows are told apart; without it, all taken together.")


class HeatmapParameters(Places, Persons, Demographics, Range):
    """Of what."""


class DemographicsParameters(Places, Persons, Demographics, Range):
    """Of what."""

    group_by: DemographicGroup = Field("age_group", description="By what persons are told apart.")


class Kpis(BaseModel):
    """The headline numbers; dwell is in seconds, over complete sessions."""

    unique_visitors: int = Field(description="Distinct named persons.", examples=[118])
    dwell_seconds_avg_per_person: float | None = Field(description="Dwell divided by the persons who have any.")
    dwell_seconds_avg: float | None = Field(description="Mean dwell of a session.", examples=[754.2])
    dwell_seconds_median: float | None = Field(description="Median dwell of a session.", examples=[610.0])
    dwell_seconds_max: float | None = Field(description="Longest dwell of a session.")
    events: int = Field(description="Events.", examples=[960])
    active_cameras: int = Field(description="Cameras with an event.", examples=[4])
    repeat_visitors: int = Field(description="Persons with visits to one site on two or more local dates.")
    repeat_visitor_share: float | None = Field(description="Their share of the visitors, from 0 to 1.")
    sessions: int = Field(description="Sessions of any status.", examples=[470])
    share_without_exit: float | None = Field(description="The share of sessions without exit, from 0 to 1.")
    entries: int = Field(description="Entries that are not repeats.")
    exits: int = Field(description="Exits that are not repeats.")
    completed_sessions: int = Field(description="Complete sessions.")
    dwell_seconds_total: float = Field(description="Their dwell, summed.")
    visits: int = Field(description="Visits.")


class _Bucket(BaseModel):
    bucket_start: datetime = Field(description="When the bucket begins; the range may cut it.")
    bucket_end: datetime = Field(description="When the next one begins.")
    group: str | None = Field(description="The camera, site, age group or gender; null without group_by.")


class OccupancyBucket(_Bucket):
    """How many came and how full it was; 0 where nothing happened, null where no camera had any event."""

    events: int | None = Field(description="Events.", examples=[96])
    entries: int | None = Field(description="Entries that are not repeats.", examples=[40])
    exits: int | None = Field(description="Exits that are not repeats.", examples=[38])
    unique_visitors: int | None = Field(description="Distinct named persons. Never to be summed.", examples=[31])
    occupied_seconds: float | None = Field(description="Person-seconds inside, one person once at a time.")
    avg_occupancy: float | None = Field(description="Persons inside on average.", examples=[7.4])
    peak_occupancy: int | None = Field(description="Most persons inside at once.", examples=[12])


class Band(BaseModel):
    """How many sessions have a dwell in a band."""

    from_seconds: float = Field(description="The shortest dwell in it.", examples=[60.0])
    to_seconds: float | None = Field(description="The shortest dwell no longer in it; null for the last band.")
    sessions: int = Field(description="Complete sessions with such a dwell.", examples=[25])


class DwellBucket(_Bucket):
    """How long sessions that begin in the bucket lasted; in seconds, over complete ones."""

    sessions_started: int | None = Field(description="Sessions of any status that begin in it.", examples=[40])
    completed_sessions: int | None = Field(description="Those of them that are complete.", examples=[38])
    dwell_seconds_total: float | None = Field(description="Their dwell, summed.")
    dwell_seconds_avg: float | None = Field(description="Their mean dwell; null without any.")
    dwell_seconds_median: float | None = Field(description="Their median dwell.")
    dwell_seconds_p90: float | None = Field(description="The dwell that nine of ten do not exceed.")
    dwell_seconds_max: float | None = Field(description="Their longest dwell.")
    bands: list[Band] | None = Field(description="How they are spread; null with an interval.")


class HeatmapCell(BaseModel):
    """One hour of the week."""

    weekday: int = Field(description="From 1 for Monday to 7 for Sunday.", examples=[1])
    hour: int = Field(description="From 0 to 23.", examples=[14])
    hours: int = Field(description="How many such hours the range has.", examples=[4])
    events: int = Field(description="Events in them.")
    entries: int = Field(description="Entries in them that are not repeats.")
    occupied_seconds: float = Field(description="Person-seconds inside during them.")
    avg_occupancy: float = Field(description="Persons inside on average.", examples=[7.4])
    peak_occupancy: int = Field(description="Most persons inside at once.", examples=[12])


class Group(BaseModel):
    """What persons of a group did in the range; dwell is in seconds."""

    group: str = Field(description="The age group or gender; unknown where nothing is told.", examples=["25-34"])
    events: int = Field(description="Their events.")
    entries: int = Field(description="Their entries that are not repeats.")
    unique_visitors: int = Field(description="Distinct named persons of whom an event or session tells this group.")
    sessions_started: int = Field(description="Their sessions of any status.")
    completed_sessions: int = Field(description="Those of them that are complete.")
    dwell_seconds_total: float = Field(description="Their dwell, summed.")
    dwell_seconds_avg: float | None = Field(description="Their mean dwell; null without any.")
    dwell_seconds_median: float | None = Field(description="Their median dwell.")
    dwell_seconds_p90: float | None = Field(description="The dwell that nine of ten do not exceed.")
    dwell_seconds_max: float | None = Field(description="Their longest dwell.")


_KPIS = f"""
select {", ".join(Kpis.model_fields)}
from marts.kpis_between(
    %(start)s::timestamptz, %(end)s::timestamptz, %(cameras)s::text[], %(persons)s::text[], %(age_groups)s::text[],
    %(genders)s::text[]
)
"""  # noqa: S608
_BANDS = """
select group_key, band_from as from_seconds, band_to as to_seconds, sessions
from marts.dwell_bands_between(
    %(start)s::timestamptz, %(end)s::timestamptz, %(bands)s::double precision[], %(cameras)s::text[],
    %(persons)s::text[], %(age_groups)s::text[], %(genders)s::text[], %(group_by)s::text
)
order by group_key, band_from
"""
_RANGE = f"""
select group_key as "group", {", ".join(name for name in Group.model_fields if name != "group")}
from marts.measures_between(
    array[%(start)s, %(end)s]::timestamptz[], %(cameras)s::text[], %(persons)s::text[], %(age_groups)s::text[],
    %(genders)s::text[], %(group_by)s::text
)
order by 1
"""  # noqa: S608
_HEATMAP = f"""
select {", ".join(HeatmapCell.model_fields)}
from marts.heatmap_between(
    %(start)s::timestamptz, %(end)s::timestamptz, %(zone)s::text, %(cameras)s::text[], %(persons)s::text[],
    %(age_groups)s::text[], %(genders)s::text[], null
)
order by weekday, hour
"""  # noqa: S608


def _values(chosen: Chosen) -> dict[str, Any]:
    return {
        "start": chosen.start,
        "end": chosen.end,
        "zone": chosen.zone,
        "cameras": chosen.camera_ids,
        "persons": chosen.persons,
        "age_groups": chosen.age_groups,
        "genders": chosen.genders,
    }


async def _found(ask: Ask[Any], chosen: Chosen, data: list[Row] | Row) -> Found:
    return Found(data, chosen=chosen, share_without_exit=await share_without_exit(ask.connection, chosen))


async def _find_kpis(ask: Ask[KpiParameters]) -> Found:
    chosen = await choose(ask.connection, ask.asked, ask.sites)
    (row,) = await ask.rows(_KPIS, **_values(chosen))
    return Found(row, chosen=chosen, share_without_exit=row["share_without_exit"])


async def _find_occupancy(ask: Ask[BucketParameters]) -> Found:
    chosen = await choose(ask.connection, ask.asked, ask.sites)
    found = await series(ask, chosen, ask.asked.interval, ask.asked.group_by)
    rows = [{name: row[name] for name in OccupancyBucket.model_fields} for row in found.rows]
    return await page_of(ask, found.chosen, rows, ["bucket_start", "group"], ask.asked.interval)


async def _find_dwell(ask: Ask[DwellParameters]) -> Found:
    chosen = await choose(ask.connection, ask.asked, ask.sites)
    asked = ask.asked
    found = await series(ask, chosen, asked.interval, asked.group_by)
    bands = {} if asked.interval else await _bands(ask, found.chosen)
    rows = [
        {name: row.get(name) for name in DwellBucket.model_fields} | {"bands": bands.get(row["group"])}
        for row in found.rows
    ]
    return await page_of(ask, found.chosen, rows, ["bucket_start", "group"], asked.interval)


async def _bands(ask: Ask[DwellParameters], chosen: Chosen) -> dict[str | None, list[Row]]:
    """Return how the sessions of each group are spread."""
    found: dict[str | None, list[Row]] = {}
    if chosen.start is not None:
        for band in await ask.rows(_BANDS, **_values(chosen), bands=list(BANDS), group_by=ask.asked.group_by):
            found.setdefault(band.pop("group_key"), []).append(band)
    return found


async def _find_heatmap(ask: Ask[HeatmapParameters]) -> Found:
    chosen = await within(ask, await choose(ask.connection, ask.asked, ask.sites))
    rows = await ask.rows(_HEATMAP, **_values(chosen)) if chosen.start is not None else []
    return await _found(ask, chosen, rows)


async def _find_demographics(ask: Ask[DemographicsParameters]) -> Found:
    chosen = await within(ask, await choose(ask.connection, ask.asked, ask.sites))
    rows = await ask.rows(_RANGE, **_values(chosen), group_by=ask.asked.group_by) if chosen.start is not None else []
    return await _found(ask, chosen, rows)


KPIS: Final = Question(
    "kpis",
    "figures",
    "Headline numbers",
    "How many came, how long they stayed, who came again: in one row, over the range.",
    KpiParameters,
    Kpis,
    _find_kpis,
    is_one=True,
)
OCCUPANCY: Final = Question(
    "occupancy",
    "figures",
    "How many came and how full it was",
    "By hours, days or weeks of the local clock; a bucket that the range cuts tells of what lies in the range.",
    BucketParameters,
    OccupancyBucket,
    _find_occupancy,
)
DWELL: Final = Question(
    "dwell",
    "figures",
    "How long sessions lasted",
    "Over the whole range, with bands from a minute to eight hours, or by hours, days or weeks of the local clock.",
    DwellParameters,
    DwellBucket,
    _find_dwell,
)
HEATMAP: Final = Question(
    "heatmap",
    "figures",
    "The hours of the week",
    "How full it was in each hour of the week on the local clock; hours that the range does not hold are left out.",
    HeatmapParameters,
    HeatmapCell,
    _find_heatmap,
)
DEMOGRAPHICS: Final = Question(
    "demographics",
    "figures",
    "Groups of persons",
    "What persons of each age group or gender did in the range, as far as events tell of them.",
    DemographicsParameters,
    Group,
    _find_demographics,
)
