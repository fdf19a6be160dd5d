"""What the API's figures are: those of the marts where these stand ready, and of SQL over the range everywhere else."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.integration.asking_api import Api
from warehouse.connections import Warehouse

BERLIN = {"site_id": "berlin"}
MEASURED = ("events", "entries", "exits", "unique_visitors", "occupied_seconds", "avg_occupancy", "peak_occupancy")
OF_DWELL = (
    *("sessions_started", "completed_sessions", "dwell_seconds_total", "dwell_seconds_avg", "dwell_seconds_median"),
    *("dwell_seconds_p90", "dwell_seconds_max"),
)


def sql(warehouse: Warehouse, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """What a reader of the marts finds."""
    with warehouse.connect("bi_reader") as reader:
        reader.execute("set timezone to 'UTC'")
        return reader.execute(query, values).fetchall()  # type: ignore[call-overload]


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(("interval", "table"), [("hour", "hourly"), ("day", "daily"), ("week", "weekly")])
@pytest.mark.parametrize(
    ("group_by", "place"), [("camera", "camera_id"), ("site", "site_id"), (None, "camera_id"), (None, "site_id")]
)
@pytest.mark.parametrize(("path", "measures"), [("occupancy", MEASURED), ("dwell", OF_DWELL)])
def test_whole_buckets_are_those_of_the_marts(
    api: Api, filled: Warehouse, interval: str, table: str, group_by: str | None, place: str, path: str, measures: Any
) -> None:
    """Those that stand ready, and those that are made since another zone is asked for whose buckets are the same."""
    asked = {"interval": interval} | ({"group_by": group_by} if group_by else {})
    key = {"camera_id": "N", "site_id": "berlin"}[place]
    chosen = BERLIN if group_by else {place: key}
    kind = place.removesuffix("_id")
    expected = {
        (row[0], row[1], row[2]): row[3:]
        for row in sql(
            filled,
            f"select {place}, bucket_start, bucket_end, {', '.join(measures)} from marts.{kind}_{table}"
            f" inner join marts.dim_sites using (site_id) where site_id = 'berlin'"
            if place == "site_id"
            else f"select {place}, bucket_start, bucket_end, {', '.join(measures)} from marts.{kind}_{table}"
            f" inner join marts.dim_cameras using (camera_id) where site_id = 'berlin'"
            + ("" if group_by else " and camera_id = 'N'"),
        )
    }
    assert len(expected) >= 2
    for zone in ({}, {"tz": "Europe/Zurich"}):
        rows = api.pages(path, limit=1000, **asked, **chosen, **zone)
        found = {
            (row["group"] or key, instant(row["bucket_start"]), instant(row["bucket_end"])): tuple(
                row[name] for name in measures
            )
            for row in rows
            if row[measures[0]] is not None
        }
        assert found == expected


def test_nothing_is_0_where_the_camera_spoke_and_unknown_where_it_did_not(api: Api) -> None:
    """At S nobody is seen before ten, and at ten others than p."""
    asked = {"camera_id": "S", "start": "2024-04-02T09:00", "end": "2024-04-02T11:00"}
    silent, busy = api.get("occupancy", **asked)["data"]
    assert {silent[name] for name in MEASURED} == {None}
    assert (busy["events"], busy["unique_visitors"], busy["peak_occupancy"]) == (3, 2, 1)
    silent, spoke = api.get("occupancy", person_id="p", **asked)["data"]
    assert {silent[name] for name in MEASURED} == {None}
    assert {spoke[name] for name in MEASURED} == {0}
    silent, spoke = api.get("dwell", interval="hour", person_id="p", **asked)["data"]
    assert {silent[name] for name in OF_DWELL} == {None}
    assert [spoke[name] for name in OF_DWELL] == [0, 0, 0.0, None, None, None, None]
    rows = api.get("occupancy", group_by="gender", gender=["female", "male"], **asked)["data"]
    told = [(row["bucket_start"], row["group"], row["entries"]) for row in rows]
    nine, ten = "2024-04-02T09:00:00+02:00", "2024-04-02T10:00:00+02:00"
    assert told == [(nine, "female", None), (nine, "male", None), (ten, "female", 1), (ten, "male", 1)]


def test_a_bucket_that_the_range_cuts_tells_of_the_range(api: Api) -> None:
    """At N p is inside from 9:00:00 to 9:01:00, q from 9:00:30 to 9:15:30."""
    asked = {"camera_id": "N", "start": "2024-04-02T09:00:45", "end": "2024-04-02T10:10"}
    first, second = api.get("occupancy", **asked)["data"]
    assert first["bucket_start"], first["bucket_end"] == ("2024-04-02T09:00:45+02:00", "2024-04-02T10:00:00+02:00")
    assert (first["events"], first["entries"], first["exits"]) == (2, 0, 2)
    assert (first["unique_visitors"], first["peak_occupancy"]) == (2, 2)
    assert first["occupied_seconds"] == 15 + 14 * 60 + 45
    assert first["avg_occupancy"] == pytest.approx(900 / (59 * 60 + 15))
    assert (second["bucket_start"], second["bucket_end"]) == ("2024-04-02T10:00:00+02:00", "2024-04-02T10:10:00+02:00")
    assert second["events"] is None


def test_hours_and_days_of_a_clock_that_changes(api: Api) -> None:
    """Berlin goes forward on 31 March 2024 at 2, Chicago back on 3 November at 2."""
    day = {**BERLIN, "start": "2024-03-31", "end": "2024-04-01"}
    hours = api.get("occupancy", **day)["data"]
    assert len(hours) == 23
    assert hours[2]["bucket_start"] == "2024-03-31T03:00:00+02:00"
    (whole,) = api.get("occupancy", interval="day", **day)["data"]
    lasts = instant(whole["bucket_end"]) - instant(whole["bucket_start"])
    assert lasts == timedelta(hours=23)
    assert whole["occupied_seconds"] == sum(hour["occupied_seconds"] or 0 for hour in hours) == 30 * 60 + 600
    asked = {"tz": "America/Chicago", "start": "2024-11-03", "end": "2024-11-04", "camera_id": "C"}
    assert len(api.get("occupancy", **asked)["data"]) == 25


def test_a_moment_without_offset_is_local(api: Api) -> None:
    def began(**asked: Any) -> str:
        told: str = api.get("kpis", start="2024-04-02T09:00", **asked)["meta"]["range"]["start"]
        return told

    assert began(**BERLIN) == "2024-04-02T09:00:00+02:00"
    assert began(site_id="chicago") == "2024-04-02T09:00:00-05:00"
    assert began() == "2024-04-02T09:00:00Z", "sites of several zones"
    assert began(tz="Asia/Tokyo", **BERLIN) == "2024-04-02T09:00:00+09:00"
    asked = api.get("kpis", start="2024-04-02T09:00+03:00", **BERLIN)["meta"]
    assert (asked["range"]["start"], asked["tz"]) == ("2024-04-02T08:00:00+02:00", "Europe/Berlin")


def test_days_are_cut_by_the_zone_that_is_asked_for(api: Api) -> None:
    """A day of Tokyo's over Berlin's events: all of p's stay over midnight lies in it."""
    asked = {"camera_id": "N", "tz": "Asia/Tokyo", "interval": "day", "start": "2024-03-31", "end": "2024-04-01"}
    (day,) = api.get("occupancy", **asked)["data"]
    assert (day["occupied_seconds"], day["unique_visitors"]) == (7200.0, 1)


FILTERS: list[dict[str, Any]] = [
    {},
    BERLIN,
    {"camera_id": ["N", "C"]},
    {"zone": "door"},
    {"person_id": ["p", "q"]},
    {"gender": "female"},
    {"age_group": ["25-34", "65+"], **BERLIN},
    {"start": "2024-04-01", "end": "2024-04-03"},
    {"start": "2024-03-30T23:15:00+01:00", "end": "2024-04-02T09:00:31+02:00", **BERLIN},
    {"start": "2024-04-02T09:00:20+02:00", "end": "2024-04-02T09:00:40+02:00"},
    {"start": "2031-01-01"},
    {"end": "1999-01-01"},
]


@pytest.mark.parametrize("asked", FILTERS, ids=str)
def test_the_share_without_exit_is_that_of_the_sessions_meant(
    api: Api, filled: Warehouse, asked: dict[str, Any]
) -> None:
    """Each endpoint's, however it was come by."""
    ((expected, headline),) = sql(
        filled,
        "select 1 - avg((status = 'complete')::int)::float8, (select share_without_exit from marts.kpis_between("
        "range_start => %s, range_end => %s, cameras => cameras.ids, persons => %s, age_groups => %s, genders => %s))"
        " from (select array_agg(camera_id) from marts.dim_cameras where (%s::text[] is null or camera_id = any(%s))"
        " and (%s::text is null or site_id = %s) and (%s::text is null or zone = %s)) as cameras (ids)"
        " left join marts.person_sessions on camera_id = any(cameras.ids)"
        " and (%s::timestamptz is null or entry_time >= %s) and (%s::timestamptz is null or entry_time < %s)"
        " and (%s::text[] is null or person_id = any(%s)) and (%s::text[] is null or age_group = any(%s))"
        " and (%s::text[] is null or gender = any(%s)) group by cameras.ids",
        *(asked.get(name) for name in ("start", "end", "person_id")),
        *(listed(asked, name) for name in ("age_group", "gender")),
        *(asked.get("camera_id"),) * 2,
        *(asked.get("site_id"),) * 2,
        *(asked.get("zone"),) * 2,
        *(asked.get("start"),) * 2,
        *(asked.get("end"),) * 2,
        *(asked.get("person_id"),) * 2,
        *(listed(asked, "age_group"),) * 2,
        *(listed(asked, "gender"),) * 2,
    )
    assert headline == (pytest.approx(expected) if expected is not None else None)
    for path in ("kpis", "sessions", "occupancy", "heatmap"):
        assert api.get(path, **asked)["meta"]["share_without_exit"] == headline, path


def listed(asked: dict[str, Any], name: str) -> list[str] | None:
    value = asked.get(name)
    return [value] if isinstance(value, str) else value


@pytest.mark.parametrize("asked", FILTERS, ids=str)
def test_figures_of_a_range_agree_with_each_other(api: Api, asked: dict[str, Any]) -> None:
    """The same thing asked in several ways."""
    kpis = api.get("kpis", **asked)["data"]
    sessions = api.pages("sessions", limit=50, **asked)
    complete = [row for row in sessions if row["status"] == "complete"]
    assert kpis["sessions"] == len(sessions)
    assert kpis["completed_sessions"] == len(complete)
    assert kpis["dwell_seconds_total"] == pytest.approx(sum(row["dwell_seconds"] for row in complete))
    assert kpis["visits"] == len(api.pages("visits", limit=50, **asked))
    events = [row for row in api.pages("events", limit=50, **asked) if not row["is_ignored"]]
    assert kpis["events"] == len(events)
    assert kpis["active_cameras"] == len({row["camera_id"] for row in events})
    assert kpis["repeat_visitors"] == len({row["person_id"] for row in api.pages("repeat-visitors", **asked)})
    named = {row["person_id"] for row in events if not row["is_anonymous"]}
    assert {row["person_id"] for row in api.pages("visitors", **asked)} == named
    assert kpis["unique_visitors"] >= len(named)
    dwell = api.get("dwell", **asked)["data"]
    if dwell:
        (row,) = dwell
        assert sum(band["sessions"] for band in row["bands"]) == (row["completed_sessions"] or 0) == len(complete)
        assert row["dwell_seconds_median"] == kpis["dwell_seconds_median"]
    groups = api.get("demographics", group_by="gender", **asked)["data"]
    assert sum(row["events"] for row in groups) == len(events)
    days = api.pages("occupancy", limit=1000, interval="day", **asked)
    assert sum(row["events"] or 0 for row in days) == len(events)
    cells = api.get("heatmap", **asked)["data"]
    assert sum(cell["events"] for cell in cells) == len(events)
    assert sum(cell["occupied_seconds"] for cell in cells) == pytest.approx(
        sum(row["occupied_seconds"] or 0 for row in days)
    )


def test_the_week_of_a_site_is_that_of_the_marts(api: Api, filled: Warehouse) -> None:
    names = "weekday, hour, hours, events, entries, occupied_seconds, avg_occupancy, peak_occupancy"
    rows = sql(filled, f"select {names} from marts.occupancy_heatmap where site_id = 'berlin' order by 1, 2")
    assert [tuple(cell.values()) for cell in api.get("heatmap", **BERLIN)["data"]] == rows
    assert len(rows) == 4 * 24 - 1, "from Saturday to Tuesday; on Sunday the clock skipped an hour"


def test_who_is_inside_now(api: Api, filled: Warehouse) -> None:
    rows = sql(
        filled,
        "select site_id, camera_id, persons_inside from marts.live_occupancy order by 1, coalesce(camera_id, '')",
    )
    assert [
        (row["site_id"], row["camera_id"], row["persons_inside"]) for row in api.get("occupancy/live")["data"]
    ] == rows
    of_one = api.get("occupancy/live", camera_id="N")["data"]
    assert [row["level"] for row in of_one] == ["camera"], "half a site is no site"
