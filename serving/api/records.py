"""What happened, one by one: events, sessions, visits, in the order of time.

Rows are looked up camera by camera, each from where the page begins, so that a page costs the same wherever it lies.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from serving.api.answers import Found
from serving.api.asking import Ask, Question, page_of
from serving.api.choosing import Chosen, choose
from serving.api.cursors import read_cursor
from serving.api.parameters import Demographics, Page, Persons, Places, Range


class RecordsParameters(Places, Persons, Demographics, Range, Page):
    """Which of them, page by page."""


class Event(BaseModel):
    """One event, as a file told of it, and what it means."""

    event_id: UUID = Field(description="Its id, made of what it says.")
    event_time: datetime = Field(description="When it happened.")
    end_time: datetime | None = Field(description="When it ended, where the row itself says so.")
    person_id: str = Field(description="Who.", examples=["p-0017"])
    camera_id: str = Field(description="Where.", examples=["cam-north"])
    site_id: str = Field(description="The camera's site.", examples=["default"])
    event_type: Literal["entry", "exit", "appearance", "other"] = Field(description="What kind of event it is.")
    event_word: str = Field(description="The same in the file's own word.", examples=["entered"])
    is_repeat: bool = Field(description="Whether it restates the person's last signal there within repeat_seconds.")
    is_unmatched_exit: bool = Field(description="Whether it is an exit that closes no entry.")
    is_anonymous: bool = Field(description="Whether the person id stands for nobody in particular.")
    is_ignored: bool = Field(description="Whether it takes part in no measure.")
    session_id: UUID | None = Field(description="The session that it opens, closes or restates.")
    dwell_seconds: float | None = Field(description="How long that session lasted, in seconds.", examples=[754.0])
    zone: str | None = Field(description="The zone, as the file says.")
    confidence: float | None = Field(description="The camera's confidence, from 0 to 1.")
    age: int | None = Field(description="The age in years, as estimated.")
    age_group: str | None = Field(description="The age group, as the file says.")
    gender: str | None = Field(description="The gender, as the file says.")
    attributes: dict[str, Any] | None = Field(description="Every other column of the file, verbatim.")
    row_number: int = Field(description="The row in its file, as a spreadsheet shows it.", examples=[2])


class Session(BaseModel):
    """One person at one camera, from an entry to its exit."""

    session_id: UUID = Field(description="Its id, which is that of the event that opens it.")
    person_id: str = Field(description="Who.", examples=["p-0017"])
    camera_id: str = Field(description="Where.", examples=["cam-north"])
    site_id: str = Field(description="The camera's site.", examples=["default"])
    entry_time: datetime = Field(description="When it began.")
    exit_time: datetime | None = Field(description="When it ended; null without an exit.")
    status: Literal["complete", "open", "missing_exit"] = Field(description="Whether there is an exit, or may yet be.")
    dwell_seconds: float | None = Field(description="How long it lasted, in seconds; null without an exit.")
    is_interval: bool = Field(description="Whether one row carried both start and end.")
    age_group: str = Field(description="The age group of the event that opens it; unknown where nothing is told.")
    gender: str = Field(description="The gender of the event that opens it; unknown where nothing is told.")


class Visit(BaseModel):
    """One person at one site: sessions that lie at most visit_gap_minutes apart."""

    visit_id: UUID = Field(description="Its id, which is that of its first session.")
    person_id: str = Field(description="Who.", examples=["p-0017"])
    site_id: str = Field(description="Where.", examples=["default"])
    start_time: datetime = Field(description="The first entry.")
    end_time: datetime = Field(description="The latest end.")
    visit_date: date = Field(description="The site's local date on which it begins.")
    elapsed_seconds: float = Field(description="From its start to its end, in seconds.", examples=[1810.0])
    dwell_seconds: float = Field(description="Time covered by its complete sessions, in seconds.", examples=[1500.0])
    session_count: int = Field(description="Its sessions.", examples=[2])
    camera_count: int = Field(description="The cameras they are at.", examples=[1])
    is_complete: bool = Field(description="Whether every session in it has its exit.")
    is_bounce: bool = Field(description="Whether it is complete and shorter than bounce_seconds.")
    is_returning: bool = Field(description="Whether the person has a visit there on an earlier local date.")


_LIMITS = """
    and (%(start)s::timestamptz is null or {time} >= %(start)s)
    and (%(end)s::timestamptz is null or {time} < %(end)s)
    and (%(persons)s::text[] is null or person_id = any(%(persons)s))
    and (%(age_groups)s::text[] is null or {age_group} = any(%(age_groups)s))
    and (%(genders)s::text[] is null or {gender} = any(%(genders)s))
"""

_EVENTS = f"""
select
    found.event_id, found.event_time, found.end_time, found.person_id, found.camera_id, cameras.site_id,
    found.event_type, found.event_word, found.is_repeat, found.is_unmatched_exit, found.is_anonymous,
    found.is_ignored, found.session_id,
    found.dwell_seconds, found.zone, found.confidence, found.age, found.age_group, found.gender, found.attributes,
    found.row_number
from unnest(%(cameras)s::text[], %(camera_sites)s::text[]) as cameras (camera_id, site_id)
cross join lateral (
    select *
    from marts.camera_events
    where
        camera_id = cameras.camera_id
        {_LIMITS.format(time="event_time", age_group="age_band", gender="coalesce(gender, 'unknown')")}
        and (%(after_time)s::timestamptz is null or (event_time, event_id) > (%(after_time)s, %(after_id)s::uuid))
    order by event_time, event_id
    limit %(limit)s + 1
) as found
order by found.event_time, found.event_id
limit %(limit)s + 1
"""  # noqa: S608
# By classes of length, as they are indexed.
_SESSIONS = f"""
select
    found.session_id, found.person_id, found.camera_id, cameras.site_id, found.entry_time, found.exit_time,
    found.status, found.dwell_seconds, found.is_interval, found.age_group, found.gender
from unnest(%(cameras)s::text[], %(camera_sites)s::text[]) as cameras (camera_id, site_id)
cross join lateral (
    select *
    from marts.person_sessions
    where
        camera_id = cameras.camera_id
        {_LIMITS.format(time="entry_time", age_group="age_group", gender="gender")}
        and (%(after_time)s::timestamptz is null or (entry_time, session_id) > (%(after_time)s, %(after_id)s::uuid))
    order by entry_time, session_id
    limit %(limit)s + 1
) as found
order by found.entry_time, found.session_id
limit %(limit)s + 1
"""  # noqa: S608
# With cameras or groups picked, a visit counts if it holds such a session.
_VISITS = """
select
    visits.visit_id, visits.person_id, visits.site_id, visits.start_time, visits.end_time, visits.visit_date,
    visits.elapsed_seconds, visits.dwell_seconds, visits.session_count, visits.camera_count, visits.is_complete,
    visits.is_bounce, visits.is_returning
from marts.visits as visits
where
    visits.site_id = any(%(sites)s)
    and (%(start)s::timestamptz is null or visits.start_time >= %(start)s)
    and (%(end)s::timestamptz is null or visits.start_time < %(end)s)
    and (%(persons)s::text[] is null or visits.person_id = any(%(persons)s))
    and (
        %(every_session)s
        or exists (
            select 1
            from marts.person_sessions as sessions
            where
                sessions.person_id = visits.person_id
                and sessions.entry_time between visits.start_time and visits.end_time
                and sessions.camera_id = any(%(cameras)s)
                and (%(age_groups)s::text[] is null or sessions.age_group = any(%(age_groups)s))
                and (%(genders)s::text[] is null or sessions.gender = any(%(genders)s))
                and sessions.site_id = visits.site_id
        )
    )
    and (
        %(after_time)s::timestamptz is null
        or (visits.start_time, visits.visit_id) > (%(after_time)s, %(after_id)s::uuid)
    )
order by visits.start_time, visits.visit_id
limit %(limit)s + 1
"""


def _values(ask: Ask[RecordsParameters], chosen: Chosen) -> dict[str, Any]:
    after_time, after_id = read_cursor(ask.route, ask.asked, [datetime, UUID]) or (None, None)
    return {
        "cameras": chosen.camera_ids,
        "camera_sites": [camera.site_id for camera in chosen.cameras],
        "sites": chosen.site_ids,
        "every_session": chosen.whole_site_ids == chosen.site_ids and chosen.everybody,
        "start": chosen.start,
        "end": chosen.end,
        "persons": chosen.persons,
        "age_groups": chosen.age_groups,
        "genders": chosen.genders,
        "after_time": after_time,
        "after_id": after_id,
        "limit": ask.asked.limit,
    }


async def _find_events(ask: Ask[RecordsParameters]) -> Found:
    chosen = await choose(ask.connection, ask.asked, ask.sites)
    return await page_of(ask, chosen, await ask.rows(_EVENTS, **_values(ask, chosen)), ["event_time", "event_id"])


async def _find_sessions(ask: Ask[RecordsParameters]) -> Found:
    chosen = await choose(ask.connection, ask.asked, ask.sites)
    return await page_of(ask, chosen, await ask.rows(_SESSIONS, **_values(ask, chosen)), ["entry_time", "session_id"])


async def _find_visits(ask: Ask[RecordsParameters]) -> Found:
    chosen = await choose(ask.connection, ask.asked, ask.sites)
    return await page_of(ask, chosen, await ask.rows(_VISITS, **_values(ask, chosen)), ["start_time", "visit_id"])


EVENTS: Final = Question(
    "events",
    "records",
    "Events",
    "Every event in the range, in the order of time: repeats, ignored and anonymous ones, too.",
    RecordsParameters,
    Event,
    _find_events,
)
SESSIONS: Final = Question(
    "sessions",
    "records",
    "Sessions",
    "Every session that begins in the range, in the order of time: one person at one camera, from entry to exit.",
    RecordsParameters,
    Session,
    _find_sessions,
)
VISITS: Final = Question(
    "visits",
    "records",
    "Visits",
    "Every visit that begins in the range, in the order of time: one person at one site. With cameras or groups "
    "picked, those that hold such a session.",
    RecordsParameters,
    Visit,
    _find_visits,
)
