"""Who came: persons at sites, and those of them who came on several days.

A person is a row for each site, as visits are: whether two sites see the same person is for the files to say.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Final

from pydantic import BaseModel, Field

from serving.api.answers import Found
from serving.api.asking import Ask, Question, page_of
from serving.api.choosing import choose
from serving.api.cursors import read_cursor
from serving.api.parameters import Demographics, Page, Persons, Places, Range


class PeopleParameters(Places, Persons, Demographics, Range, Page):
    """Which persons, page by page."""


class Visitor(BaseModel):
    """A named person at a site, in the range."""

    site_id: str = Field(description="The site.", examples=["default"])
    person_id: str = Field(description="The person.", examples=["p-0017"])
    first_event_time: datetime = Field(description="The person's first event there.")
    last_event_time: datetime = Field(description="The last one.")
    events: int = Field(description="The person's events there.", examples=[4])
    visits: int = Field(description="Visits that begin in the range.", examples=[1])
    visit_days: int = Field(description="The local dates on which they begin.", examples=[1])
    dwell_seconds_total: float = Field(description="Dwell of the sessions that begin in the range, in seconds.")
    is_returning: bool | None = Field(
        description="Whether the person has a visit there on an earlier date than the first of these; null without any."
    )
    is_repeat_visitor: bool = Field(description="Whether these visits lie on two or more dates.")


class RepeatVisitor(BaseModel):
    """A person who came to a site on two or more local dates of the range."""

    site_id: str = Field(description="The site.", examples=["default"])
    person_id: str = Field(description="The person.", examples=["p-0017"])
    visits: int = Field(description="Visits that begin in the range.", examples=[3])
    visit_days: int = Field(description="The local dates on which they begin.", examples=[2])
    first_visit_date: date = Field(description="The first of them.")
    last_visit_date: date = Field(description="The last of them.")
    dwell_seconds_total: float = Field(description="Dwell of these visits, in seconds.")


_PEOPLE = """
select {columns}
from marts.{function}(
    %(start)s::timestamptz, %(end)s::timestamptz, %(cameras)s::text[], %(persons)s::text[], %(age_groups)s::text[],
    %(genders)s::text[]
)
where
    %(after_site)s::text is null
    or (site_id, person_id) > (%(after_site)s collate "C", %(after_person)s collate "C")
order by site_id, person_id
limit %(limit)s + 1
"""


async def _find(ask: Ask[PeopleParameters], function: str, row: type[BaseModel]) -> Found:
    chosen = await choose(ask.connection, ask.asked, ask.sites)
    after_site, after_person = read_cursor(ask.route, ask.asked, [str, str]) or (None, None)
    rows = await ask.rows(
        _PEOPLE.format(columns=", ".join(row.model_fields), function=function),
        start=chosen.start,
        end=chosen.end,
        cameras=chosen.camera_ids,
        persons=chosen.persons,
        age_groups=chosen.age_groups,
        genders=chosen.genders,
        after_site=after_site,
        after_person=after_person,
        limit=ask.asked.limit,
    )
    return await page_of(ask, chosen, rows, ["site_id", "person_id"])


async def _find_visitors(ask: Ask[Any]) -> Found:
    return await _find(ask, "visitors_between", Visitor)


async def _find_repeat_visitors(ask: Ask[Any]) -> Found:
    return await _find(ask, "repeat_visitors_between", RepeatVisitor)


VISITORS: Final = Question(
    "visitors",
    "people",
    "Visitors",
    "Every named person with an event in the range, for each site.",
    PeopleParameters,
    Visitor,
    _find_visitors,
)
REPEAT_VISITORS: Final = Question(
    "repeat-visitors",
    "people",
    "Repeat visitors",
    "Every person whose visits to a site that begin in the range lie on two or more local dates there.",
    PeopleParameters,
    RepeatVisitor,
    _find_repeat_visitors,
)
