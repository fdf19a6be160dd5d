"""What may be asked along with every question: places, persons, groups, a range of time, a page, a format.

Each endpoint's parameters are a model made of these parts; a parameter that is none of them is refused. Here is only
what can be told from the words themselves: whether there is such a camera, `choosing` finds out.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from functools import cache
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo, available_timezones

from fastapi import Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from serving.api.problems import FieldError, Problem, shown

FIRST_YEAR, LAST_YEAR = 1900, 2199
MOST_VALUES: Final = 200
LONGEST_ID: Final = 200
MOMENTS: Final = (
    "A date (2024-05-01), a local time (2024-05-01T08:00) or a time with its offset (2024-05-01T08:00:00Z; a plus sign "
    "is written %2B in an address)."
)


def _identifier(value: str) -> str:
    if not value.strip():
        raise ValueError("It is empty. | An id, or no such parameter at all.")
    if not value.isprintable():
        raise ValueError("It holds control characters. | An id as it stands in the files, which has none.")
    return value


def _moment(value: str) -> str:
    read_moment(value)
    return value


def _zone(value: str) -> str:
    if value not in _zones():
        raise ValueError(f"{shown(value)} is not a time zone. | A name such as Europe/Berlin or UTC.")
    return value


@cache
def _zones() -> frozenset[str]:
    return frozenset(name for name in available_timezones() if name not in {"Factory", "localtime", "posixrules"})


def read_moment(text: str) -> date | datetime:
    """Read a date, a local time or an instant. Raises ValueError with a sentence."""
    wrong = f"{shown(text)} is not a moment. | {MOMENTS}"
    try:
        found: date | datetime = date.fromisoformat(text) if len(text) <= 10 else datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(wrong) from None
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise ValueError(f"{shown(text)} is out of all reason. | A moment from {FIRST_YEAR} to {LAST_YEAR}.")
    return found


def instant(text: str, zone: str) -> datetime:
    """Return the instant that is meant, in UTC; a date and a time without offset are local in the zone.

    Of a local time that comes twice the first is meant; one that the clock skips is moved on by the gap.
    """
    found = read_moment(text)
    if not isinstance(found, datetime):
        found = datetime.combine(found, time())
    return (found if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)


Identifier = Annotated[str, Field(max_length=LONGEST_ID), AfterValidator(_identifier)]
Identifiers = Annotated[list[Identifier], Field(max_length=MOST_VALUES)]
Moment = Annotated[str, Field(max_length=40), AfterValidator(_moment)]
Interval = Literal["hour", "day", "week"]


class Parameters(BaseModel):
    """What every question may say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["json", "csv"] = Field(
        "json", description="json, or csv: the rows alone, with their names in the first line."
    )


class Places(Parameters):
    """Which cameras are meant; several values of one parameter are alternatives."""

    camera_id: Identifiers = Field([], description="Only these cameras.", examples=[["cam-north"]])
    site_id: Identifiers = Field([], description="Only cameras of these sites.", examples=[["default"]])
    zone: Identifiers = Field([], description="Only cameras of these zones of the camera list.", examples=[["hall"]])


class Persons(Parameters):
    """Which persons are meant."""

    person_id: Identifiers = Field([], description="Only these persons.", examples=[["p-0017"]])


class Demographics(Parameters):
    """Which groups of persons are meant, as the events tell of them."""

    age_group: Identifiers = Field(
        [], description="Only these age groups; “unknown” where nothing is told.", examples=[["25-34"]]
    )
    gender: Identifiers = Field([], description="Only these genders; “unknown” where nothing is told.")


class Range(Parameters):
    """Which time is meant."""

    start: Moment | None = Field(
        None, description=f"The first instant that counts. {MOMENTS} Without it: from the beginning."
    )
    end: Moment | None = Field(None, description="The first instant that no longer counts. Without it: to the end.")
    tz: Annotated[str, Field(max_length=64), AfterValidator(_zone)] | None = Field(
        None,
        description=(
            "The time zone in which moments without offset are meant, buckets begin and times are written. Without it: "
            "that of the sites asked for, or UTC where they have several."
        ),
        examples=["Europe/Berlin"],
    )


class Page(Parameters):
    """Which page of a long answer is meant."""

    limit: int = Field(100, ge=1, le=1000, description="How many rows at most.")
    cursor: Annotated[str, Field(max_length=2000)] | None = Field(
        None, description="Where the page begins: page.next_cursor of the one before, to the same question."
    )


def refuse_repeated(request: Request, model: type[Parameters]) -> None:
    """Raise a `Problem` where a parameter that has one value is given several."""
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name in seen and "list[" not in str(model.model_fields[name].annotation):
            error = FieldError(name, "It is given more than once.", "One value.")
            raise Problem(422, "The question cannot be understood", f"{name}: {error.problem}", errors=[error])
        seen.add(name)
