"""The dates that there are anything to ask of: all of the years in which any site has a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from tests.reference.buckets import buckets_of
from tests.reference.events import Store
from tests.reference.instants import bucket_date
from tests.reference.sessions import History


@dataclass(frozen=True, slots=True)
class CalendarDate:
    """One date and what a calendar says of it."""

    day: date
    year: int
    quarter: int
    month: int
    iso_year: int
    iso_week: int
    iso_weekday: int
    is_weekend: bool


def dates_of(store: Store, history: History) -> list[CalendarDate]:
    days = {bucket_date(start, store.zone_of_site(site)) for site, start in buckets_of(store, history, "site", "day")}
    return [each for year in sorted({day.year for day in days}) for each in _year(year)]


def _year(year: int) -> list[CalendarDate]:
    dates = []
    day = date(year, 1, 1)
    while day.year == year:
        dates.append(_told(day))
        day += timedelta(days=1)
    return dates


def _told(day: date) -> CalendarDate:
    iso_year, iso_week, iso_weekday = day.isocalendar()
    return CalendarDate(
        day=day,
        year=day.year,
        quarter=(day.month + 2) // 3,
        month=day.month,
        iso_year=iso_year,
        iso_week=iso_week,
        iso_weekday=iso_weekday,
        is_weekend=iso_weekday >= 6,
    )
