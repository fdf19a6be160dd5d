"""Which cameras and sites there are, and how many persons are at them now."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from pydantic import BaseModel, Field

from serving.api.answers import Found
from serving.api.asking import Ask, Question, page_of
from serving.api.choosing import choose
from serving.api.cursors import read_cursor
from serving.api.parameters import Page, Places


class PlacesParameters(Places, Page):
    """Which cameras, page by page."""


class Camera(BaseModel):
    """A camera."""

    camera_id: str = Field(description="Its id.", examples=["cam-north"])
    camera_name: str = Field(description="What people call it; its id where the camera list gives no name.")
    site_id: str = Field(description="Its site.", examples=["default"])
    zone: str | None = Field(description="The part of the site it watches.")
    timezone: str = Field(description="The zone in which times without offset are read.", examples=["Europe/Berlin"])
    capacity: int | None = Field(description="How many persons the place holds.")
    is_listed: bool = Field(description="Whether the camera list names it.")
    last_event_time: datetime | None = Field(description="Its newest event.")


class Site(BaseModel):
    """A site."""

    site_id: str = Field(description="Its id.", examples=["default"])
    camera_count: int = Field(description="How many cameras it has.", examples=[4])
    timezone: str = Field(description="The zone in whose local time its hours, days and weeks begin.", examples=["UTC"])


class Occupancy(BaseModel):
    """How many persons are inside a place at the time of the newest event."""

    level: Literal["camera", "site"] = Field(description="What the place is.")
    site_id: str = Field(description="The site, or the camera's site.", examples=["default"])
    camera_id: str | None = Field(description="The camera; null in the row of a site.", examples=["cam-north"])
    as_of: datetime | None = Field(description="The instant that is meant: the time of the newest event of all.")
    persons_inside: int = Field(description="Persons inside at that instant.", examples=[12])
    capacity: int | None = Field(description="How many persons the place holds; null where that is not known.")
    last_event_time: datetime | None = Field(description="The newest event of the place.")


_CAMERAS = """
select camera_id, camera_name, site_id, zone, timezone, capacity, is_listed, last_event_time
from marts.dim_cameras
where camera_id = any(%(cameras)s) and (%(after)s::text is null or camera_id > %(after)s)
order by camera_id
limit %(limit)s + 1
"""
_SITES = """
select site_id, camera_count, timezone
from marts.dim_sites
where site_id = any(%(sites)s) and (%(after)s::text is null or site_id > %(after)s)
order by site_id
limit %(limit)s + 1
"""
# Of a site only where all of it was asked for.
_LIVE = """
select level, site_id, camera_id, as_of, persons_inside, capacity, last_event_time
from marts.live_occupancy
where
    (camera_id = any(%(cameras)s) or (camera_id is null and site_id = any(%(sites)s)))
    and (
        %(after_site)s::text is null
        or (site_id, coalesce(camera_id, '')) > (%(after_site)s collate "C", %(after_camera)s collate "C")
    )
order by site_id, coalesce(camera_id, '')
limit %(limit)s + 1
"""


async def _find_cameras(ask: Ask[PlacesParameters]) -> Found:
    chosen = await choose(ask.connection, ask.asked, ask.sites)
    (after,) = read_cursor(ask.route, ask.asked, [str]) or (None,)
    rows = await ask.rows(_CAMERAS, cameras=chosen.camera_ids, after=after, limit=ask.asked.limit)
    return await page_of(ask, chosen, rows, ["camera_id"])


async def _find_sites(ask: Ask[PlacesParameters]) -> Found:
    chosen = await choose(ask.connection, ask.asked, ask.sites)
    (after,) = read_cursor(ask.route, ask.asked, [str]) or (None,)
    rows = await ask.rows(_SITES, sites=chosen.site_ids, after=after, limit=ask.asked.limit)
    return await page_of(ask, chosen, rows, ["site_id"])


async def _find_live(ask: Ask[PlacesParameters]) -> Found:
    chosen = await choose(ask.connection, ask.asked, ask.sites)
    after_site, after_camera = read_cursor(ask.route, ask.asked, [str, str]) or (None, None)
    rows = await ask.rows(
        _LIVE,
        cameras=chosen.camera_ids,
        sites=chosen.whole_site_ids,
        after_site=after_site,
        after_camera=after_camera,
        limit=ask.asked.limit,
    )
    return await page_of(ask, chosen, rows, ["site_id", "camera_id"])


CAMERAS: Final = Question(
    "cameras",
    "places",
    "The cameras",
    "Every camera that is on the camera list or has events, by its id.",
    PlacesParameters,
    Camera,
    _find_cameras,
)
SITES: Final = Question(
    "sites", "places", "The sites", "Every site that has a camera, by its id.", PlacesParameters, Site, _find_sites
)
LIVE: Final = Question(
    "occupancy/live",
    "places",
    "How many persons are inside now",
    "At each camera and, where all its cameras are asked for, at each site: persons inside at the time of the newest "
    "event of all. At a site a person in front of two cameras counts once.",
    PlacesParameters,
    Occupancy,
    _find_live,
)
