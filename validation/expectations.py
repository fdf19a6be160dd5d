"""What is expected of new events and of the marts: each expectation in plain words, and as Great Expectations asks it.

Only the list stands here, as plain values: Great Expectations takes seconds to import, and whoever wants to know what
is checked need not wait for it. Which rows are judged is in `expected_rows`, the judging in `expecting`, the pages that
show it in `data_docs`. What a table's own constraints guarantee is not asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from validation.checks import Status

# A day is compared with up to this many of the same weekday before it, if there are so many at least.
WEEKS_COMPARED: Final = 8
WEEKS_NEEDED: Final = 3
# Hours and days are added up over this many weeks.
WEEKS_ADDED_UP: Final = 8
# Bounds are looked at over this many days.
DAYS_LOOKED_AT: Final = 7
# A camera is expected in an hour in which it had events on this share of the days compared, and silent if it has none
# in so many such hours, one after the other.
SHARE_OF_DAYS: Final = 0.75
SILENT_HOURS: Final = 3
# Below so many entries and exits a day's balance tells nothing.
SIGNALS_NEEDED: Final = 50


@dataclass(frozen=True, slots=True)
class Expectation:
    """One expectation.

    `title` is what it demands, in plain words, of the table. `rows` names the rows that are judged (`expected_rows`),
    `unit` what one of them stands for; `shown` are the columns that tell of one that fails, the first of them by their
    values alone. `kind` is the class in great_expectations.expectations, and `arguments` are what it is given.
    Where there is nothing to judge, `nothing` is what to say and `if_nothing` what it comes to.
    """

    name: str
    title: str
    schema: str
    table: str
    rows: str
    unit: str
    kind: str
    arguments: Mapping[str, Any]
    shown: tuple[str, ...]
    nothing: str
    if_nothing: Status = "passed"

    @property
    def allowed_share(self) -> float:
        """The share of rows that may fail."""
        return 1.0 - float(self.arguments.get("mostly", 1.0))


def _new_events(name: str, title: str, kind: str, *shown: str, **arguments: Any) -> Expectation:
    nothing = "These runs brought no event that it applies to."
    return Expectation(
        name,
        title,
        "raw",
        "events",
        "new_events",
        "events",
        kind,
        arguments,
        ("file_name", "row_number", *shown),
        nothing,
    )


def _marts(
    name: str, title: str, table: str, rows: str, unit: str, kind: str, *shown: str, nothing: str, **arguments: Any
) -> Expectation:
    return Expectation(name, title, "marts", table, rows, unit, kind, arguments, shown, nothing)


def _not_below(high: str, low: str) -> dict[str, Any]:
    return {"column_A": high, "column_B": low, "or_equal": True, "ignore_row_if": "either_value_is_missing"}


def _equal(one: str, other: str) -> dict[str, Any]:
    return {"column_A": one, "column_B": other, "ignore_row_if": "neither"}


# As the rules of loading have it: no control character, and not too long.
def _id_pattern(longest: int) -> str:
    return rf"^[^\u0001-\u001f\u007f-\u009f]{{1,{longest}}}$"


_PAIR_ORDER: Final = "ExpectColumnPairValuesAToBeGreaterThanB"
_PAIR_EQUAL: Final = "ExpectColumnPairValuesToBeEqual"
_BETWEEN: Final = "ExpectColumnValuesToBeBetween"
_PATTERN: Final = "ExpectColumnValuesToMatchRegex"
_NO_DAYS: Final = "There is no day yet that it applies to."
_NO_HISTORY: Final = f"No site has {WEEKS_NEEDED} earlier days of the same weekday to compare its newest day with."

EXPECTATIONS: Final = (
    _new_events(
        "new_events_not_too_early",
        "No new event lies before the earliest event that its file was allowed.",
        _PAIR_ORDER,
        "event_time",
        "earliest_allowed",
        **_not_below("event_time", "earliest_allowed"),
    ),
    _new_events(
        "new_events_not_in_the_future",
        "No new event lies later than its file's arrival and the tolerance.",
        _PAIR_ORDER,
        "event_time",
        "latest_allowed",
        **_not_below("latest_allowed", "event_time"),
    ),
    _new_events(
        "new_intervals_not_negative",
        "No new interval ends before it starts.",
        _PAIR_ORDER,
        "event_time",
        "end_time",
        **_not_below("end_time", "event_time"),
    ),
    _new_events(
        "new_person_ids_clean",
        "The person ids of new events have 1 to 100 characters and no control characters.",
        _PATTERN,
        "person_id",
        column="person_id",
        regex=_id_pattern(100),
    ),
    _new_events(
        "new_camera_ids_clean",
        "The camera ids of new events have 1 to 50 characters, beside the site's folder, and no control characters.",
        _PATTERN,
        "camera_id",
        column="camera_name",
        regex=_id_pattern(50),
    ),
    _new_events(
        "new_confidence_is_a_share",
        "At least 99 % of the confidences of new events lie between 0 and 1.",
        _BETWEEN,
        "confidence",
        column="confidence",
        min_value=0,
        max_value=1,
        mostly=0.99,
    ),
    _new_events(
        "new_events_name_persons",
        "At least half of the new events name a person, not an anonymous one.",
        "ExpectColumnValuesToNotBeNull",
        "person_id",
        column="named_person",
        mostly=0.5,
    ),
    _new_events(
        "new_events_say_what_happened",
        "At least half of the new events are entries, exits or appearances.",
        "ExpectColumnValuesToNotBeInSet",
        "event_word",
        column="event_type",
        value_set=["other"],
        mostly=0.5,
    ),
    Expectation(
        "new_files_stored_whole",
        "Of each new file there are as many events as its account says.",
        "raw",
        "events",
        "new_files",
        "files",
        _PAIR_EQUAL,
        _equal("rows_stored", "rows_loaded"),
        ("file_name", "rows_stored", "rows_loaded"),
        "These runs loaded no file.",
    ),
    Expectation(
        "volume_as_usual",
        f"Each site's newest day that is over has 0.4 to 2.5 times the events that are usual: the median of up to "
        f"{WEEKS_COMPARED} days of the same weekday before it.",
        "marts",
        "site_daily",
        "newest_days",
        "sites",
        _BETWEEN,
        {"column": "share_of_usual", "min_value": 0.4, "max_value": 2.5},
        ("site_id", "bucket_date", "events", "usual_events"),
        _NO_HISTORY,
        "could_not_check",
    ),
    _marts(
        "entries_balance_exits",
        f"On each site's newest day that is over, entries and exits differ by a factor of 2 at most, if there are "
        f"{SIGNALS_NEEDED} of them.",
        "site_daily",
        "newest_days",
        "sites",
        _BETWEEN,
        "site_id",
        "bucket_date",
        "entries",
        "exits",
        nothing=_NO_DAYS,
        column="balance",
        min_value=0.5,
    ),
    _marts(
        "site_visitors_not_fewer",
        f"On its newest {DAYS_LOOKED_AT} days no site had fewer visitors than one of its cameras.",
        "site_daily",
        "site_days",
        "site days",
        _PAIR_ORDER,
        "site_id",
        "bucket_date",
        "unique_visitors",
        "most_at_one_camera",
        nothing=_NO_DAYS,
        **_not_below("unique_visitors", "most_at_one_camera"),
    ),
    _marts(
        "site_visitors_not_more",
        f"On its newest {DAYS_LOOKED_AT} days no site had more visitors than all of its cameras together.",
        "site_daily",
        "site_days",
        "site days",
        _PAIR_ORDER,
        "site_id",
        "bucket_date",
        "unique_visitors",
        "at_all_cameras",
        nothing=_NO_DAYS,
        **_not_below("at_all_cameras", "unique_visitors"),
    ),
    _marts(
        "peak_within_capacity",
        f"On its newest {DAYS_LOOKED_AT} days no camera saw more persons at once than its place holds.",
        "camera_daily",
        "camera_days",
        "camera days",
        _PAIR_ORDER,
        "camera_id",
        "bucket_date",
        "peak_occupancy",
        "capacity",
        nothing="The camera list gives no capacity for a camera with events in the last days.",
        **_not_below("capacity", "peak_occupancy"),
    ),
    _marts(
        "average_dwell_within_longest",
        f"On each camera's newest {DAYS_LOOKED_AT} days the average dwell was not longer than the longest.",
        "camera_daily",
        "camera_days",
        "camera days",
        _PAIR_ORDER,
        "camera_id",
        "bucket_date",
        "dwell_seconds_avg",
        "dwell_seconds_max",
        nothing=_NO_DAYS,
        **_not_below("dwell_seconds_max", "dwell_seconds_avg"),
    ),
    Expectation(
        "no_camera_silent",
        f"On its site's newest day that is over, no camera was silent for {SILENT_HOURS} hours in a row in which it "
        f"usually has events.",
        "marts",
        "camera_hourly",
        "camera_silences",
        "cameras",
        _BETWEEN,
        {"column": "silent_hours", "max_value": SILENT_HOURS - 1},
        ("camera_id", "bucket_date", "silent_hours", "silent_from"),
        _NO_HISTORY,
        "could_not_check",
    ),
    _marts(
        "hours_hold_the_days_events",
        f"Over its last {WEEKS_ADDED_UP} weeks, each camera's hours hold as many events as its days.",
        "camera_hourly",
        "camera_sums",
        "cameras",
        _PAIR_EQUAL,
        "camera_id",
        "events_by_hour",
        "events_by_day",
        nothing=_NO_DAYS,
        **_equal("events_by_hour", "events_by_day"),
    ),
    _marts(
        "hours_hold_the_days_time",
        f"Over its last {WEEKS_ADDED_UP} weeks, each camera's hours hold as much occupied time as its days.",
        "camera_hourly",
        "camera_sums",
        "cameras",
        _PAIR_EQUAL,
        "camera_id",
        "occupied_by_hour",
        "occupied_by_day",
        nothing=_NO_DAYS,
        **_equal("occupied_by_hour", "occupied_by_day"),
    ),
)
