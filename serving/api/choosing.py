"""What a question means here: which cameras, of those that the asker may see, and from which instant to which.

A name that is not known is a mistake, never an answer of nothing; a site outside the asker's is refused, and a camera
there is as unknown as one that there is not. Everything that is then asked of the marts is asked of these cameras.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches

from serving.api.parameters import Demographics, Persons, Places, Range, instant
from serving.api.problems import FieldError, Problem, shown, wrong
from serving.database import Connection

_CAMERAS = """
select cameras.camera_id, cameras.site_id, cameras.zone, sites.timezone
from marts.dim_cameras as cameras
inner join marts.dim_sites as sites on cameras.site_id = sites.site_id
where %(sites)s::text[] is null or cameras.site_id = any(%(sites)s)
order by cameras.camera_id
"""
_UNKNOWN_PERSONS = """
select persons.person_id
from unnest(%(persons)s::text[]) as persons (person_id)
where not exists (
    select 1 from marts.camera_events as events
    where events.person_id = persons.person_id and events.camera_id = any(%(cameras)s)
)
order by persons.person_id
"""
_GROUPS = "select distinct age_group, gender from marts.demographics_daily"


@dataclass(frozen=True)
class Camera:
    """A camera that the asker may see; `timezone` is its site's."""

    camera_id: str
    site_id: str
    zone: str | None
    timezone: str


@dataclass(frozen=True)
class Chosen:
    """What is meant: cameras by id, from `start` on until before `end`, in the local time of a zone.

    `start` and `end` are None where the range is open. Persons and groups are None where all are meant.
    """

    cameras: Sequence[Camera]
    all_cameras: Sequence[Camera]
    zone: str
    start: datetime | None = None
    end: datetime | None = None
    persons: Sequence[str] | None = None
    age_groups: Sequence[str] | None = None
    genders: Sequence[str] | None = None

    @property
    def camera_ids(self) -> list[str]:
        """The ids of the cameras."""
        return [camera.camera_id for camera in self.cameras]

    @property
    def site_ids(self) -> list[str]:
        """The sites that the cameras are at."""
        return sorted({camera.site_id for camera in self.cameras})

    @property
    def whole_site_ids(self) -> list[str]:
        """Those of them of which every camera is meant."""
        chosen = set(self.camera_ids)
        cut = {camera.site_id for camera in self.all_cameras if camera.camera_id not in chosen}
        return [site for site in self.site_ids if site not in cut]

    @property
    def everybody(self) -> bool:
        """Whether neither persons nor groups are picked."""
        return self.persons is None and self.age_groups is None and self.genders is None


async def choose(connection: Connection, asked: Places, sites: Collection[str] | None) -> Chosen:
    """Find out what is asked for; `sites` are those that the asker may see, None for all. Raises `Problem`."""
    rows = await (await connection.execute(_CAMERAS, {"sites": None if sites is None else sorted(sites)})).fetchall()
    known = [Camera(**row) for row in rows]
    cameras = _pick(known, asked, sites)
    zones = {camera.timezone for camera in cameras}
    zone = asked.tz if isinstance(asked, Range) and asked.tz else (zones.pop() if len(zones) == 1 else "UTC")
    start, end = range_of(asked, zone) if isinstance(asked, Range) else (None, None)
    age_groups = genders = persons = None
    if isinstance(asked, Demographics) and (asked.age_group or asked.gender):
        age_groups, genders = asked.age_group or None, asked.gender or None
        groups = await (await connection.execute(_GROUPS)).fetchall()
        refuse_unknown("age_group", asked.age_group, {row["age_group"] for row in groups})
        refuse_unknown("gender", asked.gender, {row["gender"] for row in groups})
    if isinstance(asked, Persons) and asked.person_id:
        persons = asked.person_id
        values = {"persons": persons, "cameras": [camera.camera_id for camera in cameras]}
        unknown = await (await connection.execute(_UNKNOWN_PERSONS, values)).fetchone()
        if unknown is not None:
            problem = f"No event of the person {shown(unknown['person_id'])} is known at these cameras."
            raise wrong("person_id", problem, "A person_id as /v1/visitors gives it.")
    return Chosen(cameras, known, zone, start, end, persons, age_groups, genders)


def range_of(asked: Range, zone: str) -> tuple[datetime | None, datetime | None]:
    """Return the range's instants in UTC, None where it is open. Raises `Problem`."""
    start = None if asked.start is None else instant(asked.start, zone)
    end = None if asked.end is None else instant(asked.end, zone)
    if start is not None and end is not None and end <= start:
        problem = f"The range ends ({shown(asked.end)}) before it begins ({shown(asked.start)})."
        raise wrong("end", problem, "A moment after start: the range holds its start, not its end.")
    return start, end


def refuse_other_sites(given: Collection[str], sites: Collection[str] | None) -> None:
    """Raise a `Problem` where a site is asked for that the asker may not see."""
    if sites is not None and (others := sorted(set(given) - set(sites))):
        problem = f"Your key is not for the site {shown(others[0])}."
        error = FieldError("site_id", problem, f"One of: {', '.join(shown(site) for site in sorted(sites))}.")
        raise Problem(403, "Your key does not reach that far", problem, errors=[error])


def _pick(known: Sequence[Camera], asked: Places, sites: Collection[str] | None) -> Sequence[Camera]:
    refuse_other_sites(asked.site_id, sites)
    refuse_unknown("site_id", asked.site_id, {camera.site_id for camera in known})
    refuse_unknown("camera_id", asked.camera_id, {camera.camera_id for camera in known})
    refuse_unknown("zone", asked.zone, {camera.zone for camera in known if camera.zone is not None})
    picked = [
        camera
        for camera in known
        if (not asked.site_id or camera.site_id in asked.site_id)
        and (not asked.camera_id or camera.camera_id in asked.camera_id)
        and (not asked.zone or camera.zone in asked.zone)
    ]
    if known and not picked:
        names = [name for name in ("camera_id", "site_id", "zone") if getattr(asked, name)]
        problem = f"No camera is in all of what {' and '.join(names)} name."
        raise wrong(names[-1], problem, "Values that have a camera in common; /v1/cameras lists all.")
    return picked


_LISTED_AT = {"camera_id": "/v1/cameras", "site_id": "/v1/sites", "zone": "/v1/cameras"}


def refuse_unknown(field: str, given: Sequence[str], known: Collection[str]) -> None:
    """Raise a `Problem` where a value is none of those that are known."""
    for value in given:
        if value in known:
            continue
        listed = f"{_LISTED_AT.get(field, '/v1/demographics')} lists all."
        close = get_close_matches(value, sorted(known), n=1)
        word = field.removesuffix("_id").replace("_", " ")
        expected = f"Perhaps {shown(close[0])}? {listed}" if close else listed
        raise wrong(field, f"There is no {word} {shown(value)}.", expected)
