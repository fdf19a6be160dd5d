"""What is expected of new events and of the marts: each expectation in plain words, and as Great Expectations asks it.

Only the list stands here, as plain values: Great Expectations takes seconds to import, and whoever wants to know what
is checked need not wait for it. Which rows are judged is in `expected_rows`, the judging in `expecting`, the pages that
show it in `data_docs`. What a table's own constraints guarantee is not asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One expectation.

    `title` is what it demands, in plain words, of the table. `rows` names the rows that are judged (`expected_rows`),
    `unit` what they stand for; `shown` are the columns that tell of one that fails, the first of them by its value
    alone. `kind` is the class in great_expectations.expectations, and `arguments` are what it is given. Where there is
    nothing to judge, `nothing` is what to say and `if_nothing` what it comes to.
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


def _column(column: str, **bounds: Any) -> dict[str, Any]:
    return {"column": column, **bounds}


def _not_below(high: str, low: str) -> dict[str, Any]:
    return {"column_A": high, "column_B": low, "or_equal": True, "ignore_row_if": "either_value_is_missing"}


def _equal(one: str, other: str) -> dict[str, Any]:
    return {"column_A": one, "column_B": other, "ignore_row_if": "neither"}


# No control character. How long it may be is asked apart: within a pattern, that takes fifteen times as long.
_READABLE: Final = r"^[^\u0001-\u001f\u007f-\u009f]+$"

_BETWEEN: Final = "ExpectColumnValuesToBeBetween"
_PATTERN: Final = "ExpectColumnValuesToMatchRegex"
_LENGTH: Final = "ExpectColumnValueLengthsToBeBetween"
_PAIR_IN_ORDER: Final = "ExpectColumnPairValuesAToBeGreaterThanB"
_PAIR_EQUAL: Final = "ExpectColumnPairValuesToBeEqual"

# Those of new events look at one column each: however many they are, one reading of the events counts what fails.
_new_event = partial(
    Expectation,
    schema="raw",
    table="events",
    rows="new_events",
    unit="events",
    nothing="These runs brought no event that it applies to.",
)
_mart = partial(Expectation, schema="marts", nothing="There is no day yet that it applies to.")
_compared = partial(
    Expectation,
    schema="marts",
    nothing=f"No site has {WEEKS_NEEDED} earlier days of the same weekday to compare its newest day with.",
    if_nothing="could_not_check",
)

EXPECTATIONS: Final = (
    _new_event(
        name="new_events_not_too_early",
        title="No new event lies before the earliest event that its file was allowed.",
        kind=_BETWEEN,
        arguments=_column("seconds_after_earliest", min_value=0),
        shown=("file_name", "row_number", "event_time", "earliest_allowed"),
    ),
    _new_event(
        name="new_events_not_in_the_future",
        title="No new event lies later than its file's arrival and the tolerance.",
        kind=_BETWEEN,
        arguments=_column("seconds_before_latest", min_value=0),
        shown=("file_name", "row_number", "event_time", "latest_allowed"),
    ),
    _new_event(
        name="new_intervals_not_negative",
        title="No new interval ends before it starts.",
        kind=_BETWEEN,
        arguments=_column("interval_seconds", min_value=0),
        shown=("file_name", "row_number", "event_time", "end_time"),
    ),
    _new_event(
        name="new_person_ids_readable",
        title="The person ids of new events are not empty and hold no control characters.",
        kind=_PATTERN,
        arguments=_column("person_id", regex=_READABLE),
        shown=("file_name", "row_number", "person_id"),
    ),
    _new_event(
        name="new_person_ids_not_too_long",
        title="The person ids of new events have at most 100 characters.",
        kind=_LENGTH,
        arguments=_column("person_id", max_value=100),
        shown=("file_name", "row_number", "person_id"),
    ),
    _new_event(
        name="new_camera_ids_readable",
        title="The camera ids of new events are not empty and hold no control characters.",
        kind=_PATTERN,
        arguments=_column("camera_name", regex=_READABLE),
        shown=("file_name", "row_number", "camera_id"),
    ),
    _new_event(
        name="new_camera_ids_not_too_long",
        title="The camera ids of new events have at most 50 characters, their site's folder not counted.",
        kind=_LENGTH,
        arguments=_column("camera_name", max_value=50),
        shown=("file_name", "row_number", "camera_id"),
    ),
    _new_event(
        name="new_confidence_is_a_share",
        title="At least 99 % of the confidences of new events lie between 0 and 1.",
        kind=_BETWEEN,
        arguments=_column("confidence", min_value=0, max_value=1, mostly=0.99),
        shown=("file_name", "row_number", "confidence"),
    ),
    _new_event(
        name="new_events_name_persons",
        title="At least half of the new events name a person, not an anonymous one.",
        kind="ExpectColumnValuesToNotBeNull",
        arguments=_column("named_person", mostly=0.5),
        shown=("file_name", "row_number", "person_id"),
    ),
    _new_event(
        name="new_events_say_what_happened",
        title="At least half of the new events are entries, exits or appearances.",
        kind="ExpectColumnValuesToNotBeInSet",
        arguments=_column("event_type", value_set=["other"], mostly=0.5),
        shown=("file_name", "row_number", "event_word"),
    ),
    Expectation(
        name="new_files_stored_whole",
        title="Of each new file there are as many events as its account says.",
        schema="raw",
        table="events",
        rows="new_files",
        unit="files",
        kind=_PAIR_EQUAL,
        arguments=_equal("rows_stored", "rows_loaded"),
        shown=("file_name", "rows_stored", "rows_loaded"),
        nothing="These runs loaded no file.",
    ),
    _compared(
        name="volume_as_usual",
        title="Each site's newest day that is over has 0.4 to 2.5 times the usual events: the median of up to "
        f"{WEEKS_COMPARED} days of the same weekday before it.",
        table="site_daily",
        rows="newest_days",
        unit="sites",
        kind=_BETWEEN,
        arguments=_column("share_of_usual", min_value=0.4, max_value=2.5),
        shown=("site_id", "bucket_date", "events", "usual_events"),
    ),
    _mart(
        name="entries_balance_exits",
        title="On each site's newest day that is over there are at most twice as many entries as exits, or exits as "
        f"entries, if they are {SIGNALS_NEEDED} or more together.",
        table="site_daily",
        rows="newest_days",
        unit="sites",
        kind=_BETWEEN,
        arguments=_column("balance", min_value=0.5),
        shown=("site_id", "bucket_date", "entries", "exits"),
    ),
    _mart(
        name="site_visitors_not_fewer",
        title=f"On its newest {DAYS_LOOKED_AT} days no site had fewer visitors than one of its cameras.",
        table="site_daily",
        rows="site_days",
        unit="site days",
        kind=_PAIR_IN_ORDER,
        arguments=_not_below("unique_visitors", "most_at_one_camera"),
        shown=("site_id", "bucket_date", "unique_visitors", "most_at_one_camera"),
    ),
    _mart(
        name="site_visitors_not_more",
        title=f"On its newest {DAYS_LOOKED_AT} days no site had more visitors than all of its cameras together.",
        table="site_daily",
        rows="site_days",
        unit="site days",
        kind=_PAIR_IN_ORDER,
        arguments=_not_below("at_all_cameras", "unique_visitors"),
        shown=("site_id", "bucket_date", "unique_visitors", "at_all_cameras"),
    ),
    _mart(
        name="peak_within_capacity",
        title=f"On its newest {DAYS_LOOKED_AT} days no camera saw more persons at once than its place holds.",
        table="camera_daily",
        rows="camera_days",
        unit="camera days",
        kind=_PAIR_IN_ORDER,
        arguments=_not_below("capacity", "peak_occupancy"),
        shown=("camera_id", "bucket_date", "peak_occupancy", "capacity"),
        nothing="The camera list gives no capacity for a camera that has events.",
    ),
    _mart(
        name="average_dwell_within_longest",
        title=f"On each camera's newest {DAYS_LOOKED_AT} days the average dwell is not longer than the longest.",
        table="camera_daily",
        rows="camera_days",
        unit="camera days",
        kind=_PAIR_IN_ORDER,
        arguments=_not_below("dwell_seconds_max", "dwell_seconds_avg"),
        shown=("camera_id", "bucket_date", "dwell_seconds_avg", "dwell_seconds_max"),
    ),
    _compared(
        name="no_camera_silent",
        title=f"On its site's newest day that is over no camera was silent for {SILENT_HOURS} hours in a row in which "
        "it usually has events.",
        table="camera_hourly",
        rows="camera_silences",
        unit="cameras",
        kind=_BETWEEN,
        arguments=_column("silent_hours", max_value=SILENT_HOURS - 1),
        shown=("camera_id", "bucket_date", "silent_hours", "silent_from"),
    ),
    _mart(
        name="hours_hold_the_days_events",
        title=f"Over its last {WEEKS_ADDED_UP} weeks each camera's hours hold as many events as its days.",
        table="camera_hourly",
        rows="camera_sums",
        unit="cameras",
        kind=_PAIR_EQUAL,
        arguments=_equal("events_by_hour", "events_by_day"),
        shown=("camera_id", "events_by_hour", "events_by_day"),
    ),
    _mart(
        name="hours_hold_the_days_time",
        title=f"Over its last {WEEKS_ADDED_UP} weeks each camera's hours hold as much occupied time as its days.",
        table="camera_hourly",
        rows="camera_sums",
        unit="cameras",
        kind=_PAIR_EQUAL,
        arguments=_equal("occupied_by_hour", "occupied_by_day"),
        shown=("camera_id", "occupied_by_hour", "occupied_by_day"),
    ),
)
