"""Records to events: every rule on rows, values, zones, attributes and counts, through the real reader."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from validation.cameras import Camera
from validation.cleaning import Cleaner, CleaningSummary, time_columns
from validation.events import EventType
from validation.matching import Match, match
from validation.problems import FileProblem, Reject
from validation.profiles import load_profiles
from validation.reading import open_source
from validation.rules import LoadingRules
from validation.schemas import EVENT_SCHEMA
from validation.timestamps import DateOrder

ARRIVED = datetime(2025, 6, 1, 12, tzinfo=UTC)
HEADER = ("timestamp", "person_id", "camera_id", "event_type")
GOOD = ("2025-05-01T10:00:00Z", "P1", "C1", "entry")


@dataclass
class Cleaned:
    table: pa.Table
    events: list[dict[str, Any]]
    rejects: list[Reject]
    summary: CleaningSummary
    match: Match

    @property
    def codes(self) -> list[tuple[int, str, str | None]]:
        return [(reject.row_number, reject.code, reject.column) for reject in self.rejects]

    def notice(self, code: str) -> tuple[str, int]:
        found = [notice for notice in self.summary.notices if notice.code == code]
        assert len(found) == 1, self.summary.notices
        return found[0].sentence, found[0].rows


def clean_file(
    path: Path,
    *,
    profile: str | None = None,
    cameras: Sequence[Camera] = (),
    site: str | None = None,
    rules: LoadingRules | None = None,
    order: DateOrder = DateOrder.DMY,
    rows: int = 100_000,
) -> Cleaned:
    folder = path.parent / "profiles"
    if profile is not None:
        folder.mkdir(exist_ok=True)
        (folder / "own.yml").write_text(profile, encoding="utf-8")
    source = open_source(path)
    found = match(source.header, load_profiles(folder))
    cleaner = Cleaner(found, rules or LoadingRules(), cameras, site, ARRIVED, order)
    chunks = [cleaner.clean(chunk) for chunk in source.chunks(rows)]
    table = pa.concat_tables([EVENT_SCHEMA.empty_table(), *(chunk.events for chunk in chunks)])
    table.validate(full=True)
    rejects = [reject for chunk in chunks for reject in chunk.rejects]
    return Cleaned(table, table.to_pylist(), rejects, cleaner.summary(), found)


def clean(folder: Path, *rows: Sequence[str], header: Sequence[str] = HEADER, **how: Any) -> Cleaned:
    path = folder / "events.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return clean_file(path, **how)


def test_a_plain_row_becomes_an_event(tmp_path: Path) -> None:
    header = (*HEADER, "zone", "confidence", "age", "age_group", "gender")
    cleaned = clean(tmp_path, (*GOOD, "Lobby", "0.75", "34", "30-39", "f"), header=header)
    (event,) = cleaned.events
    assert cleaned.table.schema == EVENT_SCHEMA
    assert len(event.pop("event_id")) == 36
    assert event == {
        "person_id": "P1",
        "camera_id": "C1",
        "event_type": "entry",
        "event_word": "entry",
        "event_time": datetime(2025, 5, 1, 10, tzinfo=UTC),
        "end_time": None,
        "zone": "Lobby",
        "confidence": 0.75,
        "age": 34,
        "age_group": "30-39",
        "gender": "f",
        "attributes": None,
        "row_number": 2,
    }
    assert cleaned.rejects == []


def test_cells_are_trimmed_and_ids_keep_case_and_zeros(tmp_path: Path) -> None:
    cleaned = clean(tmp_path, ("\u00a02025-05-01 10:00:00 ", " 00123\t", " NA ", "  Gate Entry\u2003"))
    (event,) = cleaned.events
    assert (event["person_id"], event["camera_id"], event["event_word"]) == ("00123", "NA", "gate entry")


@pytest.mark.parametrize("text", ["", "  ", "null", "NULL", "None", " none ", "NaN", "n/a", "N/A", "\u00a0"])
@pytest.mark.parametrize("column", range(4))
def test_a_missing_required_value_rejects_the_row(tmp_path: Path, text: str, column: int) -> None:
    row = [*GOOD]
    row[column] = text
    cleaned = clean(tmp_path, GOOD, row)
    assert cleaned.codes == [(3, "missing_value", HEADER[column])]
    name = HEADER[column].replace("_", " ")
    assert cleaned.rejects[0].sentence == f"Row 3: the {name} is missing (column '{HEADER[column]}' says nothing)."
    assert cleaned.rejects[0].raw_text == ",".join(row)
    assert [event["row_number"] for event in cleaned.events] == [2]


@pytest.mark.parametrize("text", ["NA", "na", "nil", "-", "0", "nul", "undefined"])
def test_what_is_not_on_the_list_of_missing_is_a_value(tmp_path: Path, text: str) -> None:
    assert clean(tmp_path, (GOOD[0], text, text, "entry")).events[0]["camera_id"] == text


@pytest.mark.parametrize(
    ("column", "text", "code", "sentence"),
    [
        (
            0,
            "31/31/2024",
            "timestamp_unreadable",
            "Row 2: the timestamp '31/31/2024' in column 'Time' could not be read as a date and time.",
        ),
        (
            0,
            "1.48E+12",
            "timestamp_too_coarse",
            (
                "Row 2: the timestamp '1.48E+12' in column 'Time' is coarser than a second (a spreadsheet has "
                "rounded it), so the time itself is gone."
            ),
        ),
        (
            0,
            "1999-12-31 23:59:59.999999",
            "timestamp_out_of_range",
            (
                "Row 2: the timestamp '1999-12-31 23:59:59.999999' in column 'Time' lies before 2000-01-01 00:00 "
                "UTC, the earliest time that is accepted."
            ),
        ),
        (
            0,
            "2025-06-02 12:00:00.000001",
            "timestamp_out_of_range",
            (
                "Row 2: the timestamp '2025-06-02 12:00:00.000001' in column 'Time' lies more than 24 hours after the "
                "file arrived, that is after 2025-06-02 12:00 UTC."
            ),
        ),
        (
            1,
            "x" * 101,
            "id_too_long",
            f"Row 2: the person id '{'x' * 60}…' in column 'Person' has 101 characters; at most 100 are allowed.",
        ),
        (
            2,
            "é" * 51,
            "id_too_long",
            f"Row 2: the camera id '{'é' * 51}' in column 'Camera' has 51 characters; at most 50 are allowed.",
        ),
        (
            1,
            "a\x07b",
            "control_characters",
            "Row 2: the person id 'a\\u0007b' in column 'Person' holds control characters.",
        ),
        (
            2,
            "a\nb",
            "control_characters",
            "Row 2: the camera id 'a\\u000ab' in column 'Camera' holds control characters.",
        ),
    ],
)
def test_a_value_that_is_wrong_rejects_the_row_with_a_sentence(
    tmp_path: Path, column: int, text: str, code: str, sentence: str
) -> None:
    row = [*GOOD]
    row[column] = text
    header = ("Time", "Person", "Camera", "Event")
    cleaned = clean(tmp_path, row, header=header)
    assert cleaned.codes == [(2, code, header[column])]
    assert cleaned.rejects[0].sentence == sentence
    assert cleaned.events == []


@pytest.mark.parametrize("text", ["2000-01-01 00:00:00", "2025-06-02 12:00:00", "946684800"])
def test_both_ends_of_the_range_of_times_are_accepted(tmp_path: Path, text: str) -> None:
    assert len(clean(tmp_path, (text, *GOOD[1:])).events) == 1


@pytest.mark.parametrize(
    "text",
    ["9999-12-31 23:59:59", "0001-01-01 00:00:00", "99999999999999999999", "-99999999999", "0001-01-01T00:00+14:00"],
)
def test_times_at_the_ends_of_the_calendar_are_rejected_and_never_crash(tmp_path: Path, text: str) -> None:
    tokyo = replace(LoadingRules(), default_timezone="Asia/Tokyo")
    for rules in (None, tokyo):
        cleaned = clean(tmp_path, (text, *GOOD[1:]), rules=rules)
        assert [code for _, code, _ in cleaned.codes] in (["timestamp_out_of_range"], ["timestamp_unreadable"])


def test_the_range_of_times_follows_the_settings(tmp_path: Path) -> None:
    rules = replace(LoadingRules(), future_tolerance_hours=0.5, earliest_event=datetime(2025, 1, 1, tzinfo=UTC))
    texts = ["2024-12-31 23:59:59", "2025-01-01 00:00:00", "2025-06-01 12:30:00", "2025-06-01 12:30:01"]
    cleaned = clean(tmp_path, *((text, *GOOD[1:]) for text in texts), rules=rules)
    assert [row for row, _, _ in cleaned.codes] == [2, 5]
    assert "more than 0.5 hours after" in cleaned.rejects[1].sentence


def test_ids_of_the_greatest_length_are_accepted_and_the_site_does_not_count(tmp_path: Path) -> None:
    cleaned = clean(tmp_path, (GOOD[0], "👤" * 100, "漢" * 50, "entry"), site="North")
    assert cleaned.events[0]["camera_id"] == "North/" + "漢" * 50


def test_every_reason_is_reported_in_the_order_of_rows(tmp_path: Path) -> None:
    cleaned = clean(
        tmp_path,
        ("soon", "", "C" * 50 + "\x01", "none"),
        GOOD,
        ("", "P1\x02" + "x" * 100, "C1", "exit"),
        (*GOOD, "one field too many"),
        ("1999-01-01", "P1", "n/a", "exit"),
    )
    assert cleaned.codes == [
        (2, "timestamp_unreadable", "timestamp"),
        (2, "missing_value", "person_id"),
        (2, "id_too_long", "camera_id"),
        (2, "control_characters", "camera_id"),
        (2, "missing_value", "event_type"),
        (4, "missing_value", "timestamp"),
        (4, "id_too_long", "person_id"),
        (4, "control_characters", "person_id"),
        (5, "wrong_field_count", None),
        (6, "timestamp_out_of_range", "timestamp"),
        (6, "missing_value", "camera_id"),
    ]
    assert all(reject.sentence.startswith(f"Row {reject.row_number}: the ") for reject in cleaned.rejects)
    assert [event["row_number"] for event in cleaned.events] == [3]
    summary = cleaned.summary
    assert (summary.rows_read, summary.rows_good, summary.rows_rejected) == (5, 1, 4)
    assert summary.reject_counts == {
        "control_characters": 2,
        "id_too_long": 2,
        "missing_value": 4,
        "timestamp_out_of_range": 1,
        "timestamp_unreadable": 1,
        "wrong_field_count": 1,
    }


# --- intervals and points ------------------------------------------------------------------------------------------


def interval(tmp_path: Path, end: str, word: str = "appearance", **how: Any) -> Cleaned:
    return clean(tmp_path, (*GOOD[:3], word, end), header=(*HEADER, "end time"), **how)


def test_an_appearance_with_an_end_is_an_interval(tmp_path: Path) -> None:
    (event,) = interval(tmp_path, " 2025-05-01T10:00:00.25Z ").events
    assert event["event_type"] == "appearance"
    assert event["end_time"] == datetime(2025, 5, 1, 10, 0, 0, 250_000, tzinfo=UTC)
    assert event["attributes"] is None


@pytest.mark.parametrize("end", ["", "null"])
def test_an_appearance_without_an_end_is_an_event(tmp_path: Path, end: str) -> None:
    (event,) = interval(tmp_path, end).events
    assert (event["event_type"], event["end_time"], event["attributes"]) == ("appearance", None, None)


@pytest.mark.parametrize(
    ("end", "code", "sentence"),
    [
        (
            "2025-05-01T09:59:58.5Z",
            "interval_negative",
            "the end time '2025-05-01T09:59:58.5Z' in column 'end time' comes before the row's start, by 1.5 seconds.",
        ),
        (
            "2025-05-03T10:00:00.000001Z",
            "interval_too_long",
            (
                "the end time '2025-05-03T10:00:00.000001Z' in column 'end time' lies 2.0 days after the row's start; "
                "at most 2 are allowed."
            ),
        ),
        (
            "later",
            "timestamp_unreadable",
            "the end time 'later' in column 'end time' could not be read as a date and time.",
        ),
        ("1.7E+09", "timestamp_too_coarse", "is gone."),
    ],
)
def test_an_end_that_is_wrong_rejects_the_row(tmp_path: Path, end: str, code: str, sentence: str) -> None:
    cleaned = interval(tmp_path, end, rules=replace(LoadingRules(), max_interval_days=2))
    assert cleaned.codes == [(2, code, "end time")]
    assert cleaned.rejects[0].sentence.endswith(sentence)


def test_an_end_out_of_range_is_rejected_even_beside_a_start_that_cannot_be_read(tmp_path: Path) -> None:
    cleaned = clean(tmp_path, ("soon", "P1", "C1", "appearance", "2125-01-01"), header=(*HEADER, "end_time"))
    assert [code for _, code, _ in cleaned.codes] == ["timestamp_unreadable", "timestamp_out_of_range"]


@pytest.mark.parametrize("end", ["2025-05-01T10:00:00Z", "2025-05-03T10:00:00Z"])
def test_intervals_of_no_and_of_the_greatest_length_are_accepted(tmp_path: Path, end: str) -> None:
    assert len(interval(tmp_path, end, rules=replace(LoadingRules(), max_interval_days=2)).events) == 1


@pytest.mark.parametrize("word", ["entry", "Left"])
@pytest.mark.parametrize("end", ["2025-05-01T10:05:00Z", " 2025-05-01T09:00:00Z ", "whenever", "1.7E+09"])
def test_an_entry_or_exit_with_an_end_is_a_point_and_keeps_the_end_as_written(
    tmp_path: Path, word: str, end: str
) -> None:
    cleaned = interval(tmp_path, end, word)
    (event,) = cleaned.events
    assert event["end_time"] is None
    assert json.loads(event["attributes"]) == {"end time": end}
    assert event["event_id"] == interval(tmp_path, "", word).events[0]["event_id"]


def test_another_event_with_an_end_keeps_it_as_its_end(tmp_path: Path) -> None:
    (event,) = interval(tmp_path, "2025-05-01T10:05:00Z", "loitering").events
    assert (event["event_type"], event["end_time"]) == ("other", datetime(2025, 5, 1, 10, 5, tzinfo=UTC))


# --- words, ids, duplicates ----------------------------------------------------------------------------------------


def test_unknown_words_are_kept_and_told(tmp_path: Path) -> None:
    words = ["Teleported", "teleported ", "hover", "EXIT", "crowd", "hover", "hover"]
    cleaned = clean(tmp_path, *((*GOOD[:3], word) for word in words), ("soon", "P", "C", "vanished"))
    assert [event["event_type"] for event in cleaned.events] == ["other"] * 3 + ["exit"] + ["other"] * 3
    assert [event["event_word"] for event in cleaned.events][:2] == ["teleported", "teleported"]
    sentence, rows = cleaned.notice("unknown_event_words")
    assert rows == 5
    assert "taken as 'other': 'hover' (3), 'teleported' (2)." in sentence


def test_a_profiles_words_come_before_the_known_ones(tmp_path: Path) -> None:
    profile = """
        name: own
        description: words of its own
        recognised_by: [event_type, level]
        fields: {timestamp: timestamp, person_id: person_id, camera_id: camera_id, event_type: event_type}
        event_words: {IN: exit, up_stairs: entry, 1: entry}
    """
    rows = [(*GOOD[:3], word, "1") for word in ("in", "Up-Stairs", "1", "out")]
    cleaned = clean(tmp_path, *rows, header=(*HEADER, "level"), profile=profile)
    assert [event["event_type"] for event in cleaned.events] == ["exit", "entry", "entry", "exit"]
    assert [event["event_word"] for event in cleaned.events] == ["in", "up-stairs", "1", "out"]
    assert [notice.code for notice in cleaned.summary.notices] == ["unlisted_cameras"]


def test_the_id_depends_on_who_where_what_and_when_alone(tmp_path: Path) -> None:
    rows = [
        ("2025-05-01T10:00:00Z", "P1", "C1", "entry", "0.5", "a"),
        ("2025-05-01T12:00:00+02:00", " P1", "C1 ", " ENTRY", "0.9", "b"),
        ("1746093600", "P1", "C1", "Entry", "", ""),
        ("2025-05-01T10:00:00Z", "P1", "C1", "enter", "0.5", "a"),
        ("2025-05-01T10:00:00Z", "p1", "C1", "entry", "0.5", "a"),
        ("2025-05-01T10:00:00Z", "P1", "C2", "entry", "0.5", "a"),
        ("2025-05-01T10:00:00.000001Z", "P1", "C1", "entry", "0.5", "a"),
    ]
    ids = [event["event_id"] for event in clean(tmp_path, *rows, header=(*HEADER, "confidence", "note")).events]
    assert ids[0] == ids[1] == ids[2]
    assert len(set(ids)) == 5


def test_the_site_is_part_of_the_camera_and_of_the_id(tmp_path: Path) -> None:
    north, south = (clean(tmp_path, GOOD, site=site).events[0] for site in ("North", "South"))
    assert north["camera_id"] == "North/C1"
    assert north["event_id"] != south["event_id"]


def test_a_site_that_no_camera_could_be_named_after_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileProblem, match="control characters"):
        clean(tmp_path, GOOD, site="a\x1fb")


# --- optional values and attributes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5),
        (" 1 ", 1.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e-3", 0.001),
        ("0,95", 0.95),
        ("-1", -1.0),
        ("97.25", 97.25),
        ("", None),
        ("n/a", None),
    ],
)
def test_confidence_is_a_number(tmp_path: Path, text: str, value: float | None) -> None:
    # Beside a value that is no number another way of reading is taken, which must come to the same.
    for other in ("0.1", "high"):
        cleaned = clean(tmp_path, (*GOOD, text), (*GOOD, other), header=(*HEADER, "confidence"))
        assert cleaned.events[0]["confidence"] == value
        assert cleaned.events[0]["attributes"] is None


@pytest.mark.parametrize("text", ["high", "95%", "inf", "-Infinity", "1e999", "0x1F", "1.2.3", "1,234,5", "1_0", "٣"])
def test_a_confidence_that_is_no_number_is_set_aside(tmp_path: Path, text: str) -> None:
    for other in ("0.1", "high"):
        cleaned = clean(tmp_path, (*GOOD, text), (*GOOD, other), header=(*HEADER, "Score"))
        assert cleaned.rejects == []
        assert cleaned.events[0]["confidence"] is None
        assert json.loads(cleaned.events[0]["attributes"]) == {"Score": text}
    sentence, rows = cleaned.notice("value_set_aside")
    assert rows == 2
    assert "column 'Score'" in sentence


@pytest.mark.parametrize(
    ("text", "age", "kept"),
    [
        ("34", 34, None),
        ("0", 0, None),
        ("150", 150, None),
        ("42.0", 42, None),
        ("34.7", 34, "34.7"),
        ("n/a", None, None),
        ("25-34", None, "25-34"),
        ("151", None, "151"),
        ("-1", None, "-1"),
        ("-0.5", None, "-0.5"),
        ("99999", None, "99999"),
        ("1e300", None, "1e300"),
    ],
)
def test_age_is_whole_years_or_set_aside(tmp_path: Path, text: str, age: int | None, kept: str | None) -> None:
    cleaned = clean(tmp_path, (*GOOD, text), header=(*HEADER, "Age"))
    (event,) = cleaned.events
    assert event["age"] == age
    assert event["attributes"] == (json.dumps({"Age": kept}, separators=(",", ":")) if kept else None)
    set_aside = [notice for notice in cleaned.summary.notices if notice.code == "value_set_aside"]
    assert len(set_aside) == (1 if kept and age is None else 0)


def test_rejected_rows_make_no_notices(tmp_path: Path) -> None:
    header = (*HEADER, "confidence")
    cleaned = clean(tmp_path, ("soon", "P1", "C9", "hover", "high"), (*GOOD, "0.5"), header=header)
    assert cleaned.summary.unlisted_cameras == ("C1",)
    assert [notice.code for notice in cleaned.summary.notices] == ["unlisted_cameras"]


def test_other_columns_are_kept_verbatim_in_attributes(tmp_path: Path) -> None:
    header = ("note", *HEADER, "Frame No.", 'ünï "q"', "zone")
    cells = (' "said"\\ \n\t\x01é👤 ', *GOOD, "007", "null", " Lobby ")
    cleaned = clean(tmp_path, cells, ("", *GOOD, "", "", ""), ("", *GOOD, " ", "", "none"), header=header)
    first, second, third = cleaned.events
    assert json.loads(first["attributes"]) == {"note": cells[0], "Frame No.": "007", 'ünï "q"': "null"}
    assert list(json.loads(first["attributes"])) == ["note", "Frame No.", 'ünï "q"']
    assert first["zone"] == "Lobby"
    assert second["attributes"] is None
    assert json.loads(third["attributes"]) == {"Frame No.": " "}
    assert third["zone"] is None


# --- templates and constants ---------------------------------------------------------------------------------------

TEMPLATES = """
    name: own
    description: put together
    recognised_by: [prox-id, floor]
    fields:
      timestamp: "{date} {time}"
      person_id: prox-id
      camera_id: "F{floor}-{zone}"
      event_type: {constant: Reading}
      gender: {constant: unknown}
    event_words: {reading: other}
"""


def test_templates_and_constants(tmp_path: Path) -> None:
    header = ("date", " time", "prox-id", "floor", "zone")
    rows = [
        ("2025-05-01", "10:00", "a1", " 1", " 2 "),
        ("2025-05-01", "10:00", "a1", "1", ""),
        ("2025-05-01", "null", "a1", "n/a", " "),
        ("2025-05-01", "25:00", "a1", "x" * 50, "1"),
    ]
    cleaned = clean(tmp_path, *rows, header=header, profile=TEMPLATES)
    (event,) = cleaned.events
    assert (event["camera_id"], event["event_word"], event["event_type"]) == ("F1-2", "reading", "other")
    assert event["event_time"] == datetime(2025, 5, 1, 10, tzinfo=UTC)
    assert event["gender"] == "unknown"
    assert json.loads(event["attributes"]) == {"date": "2025-05-01", "time": "10:00", "floor": " 1", "zone": " 2 "}
    assert cleaned.codes == [
        (3, "missing_value", "zone"),
        (4, "missing_value", "time"),
        (4, "missing_value", "floor, zone"),
        (5, "timestamp_unreadable", "date, time"),
        (5, "id_too_long", "floor, zone"),
    ]
    assert cleaned.rejects[2].sentence == ("Row 4: the camera id is missing (columns 'floor' and 'zone' say nothing).")
    assert "from columns 'date' and 'time'" in cleaned.rejects[3].sentence
    assert time_columns(cleaned.match) == ["date", "time"]


def test_a_profiles_time_formats_are_tried_first(tmp_path: Path) -> None:
    profile = """
        name: own
        description: an odd way to write times
        recognised_by: [when]
        fields: {timestamp: when, person_id: person_id, camera_id: camera_id, event_type: event_type}
        timestamp_formats: ["%H.%M on %d~%m~%Y"]
    """
    header = ("when", *HEADER[1:])
    rows = [("10.30 on 01~05~2025", *GOOD[1:]), ("2025-05-01 10:30", *GOOD[1:])]
    times = [event["event_time"] for event in clean(tmp_path, *rows, header=header, profile=profile).events]
    assert times == [datetime(2025, 5, 1, 10, 30, tzinfo=UTC)] * 2


def test_interval_profiles_take_unknown_words_for_appearances(tmp_path: Path) -> None:
    profile = """
        name: own
        description: stays
        recognised_by: [since, until]
        rows: interval
        fields: {timestamp: since, end_time: until, person_id: person_id, camera_id: camera_id, event_type: kind}
    """
    header = ("since", "until", "person_id", "camera_id", "kind")
    rows = [("2025-05-01 10:00", "2025-05-01 11:00", "P", "C", kind) for kind in ("parked", "entry", "motion")]
    cleaned = clean(tmp_path, *rows, header=header, profile=profile)
    assert [event["event_type"] for event in cleaned.events] == ["appearance", "entry", "other"]
    assert "taken as 'appearance': 'parked' (1)" in cleaned.notice("unknown_event_words")[0]


# --- zones ---------------------------------------------------------------------------------------------------------


def camera(camera_id: str, timezone: str | None) -> Camera:
    return Camera(camera_id, camera_id, None, "default", timezone, None)


def test_the_zone_is_the_profiles_else_the_cameras_else_the_default(tmp_path: Path) -> None:
    rules = replace(LoadingRules(), default_timezone="Asia/Tokyo")
    cameras = [camera("C1", "America/New_York"), camera("C2", None), camera("North/C1", "Europe/Paris")]
    rows = [("2025-05-01 10:00:00", "P", name, "entry") for name in ("C1", "C2", "C3")]
    rows.append(("2025-05-01 10:00:00Z", "P", "C1", "entry"))

    def hours(**how: Any) -> list[int]:
        return [e["event_time"].hour for e in clean(tmp_path, *rows, cameras=cameras, rules=rules, **how).events]

    assert hours() == [14, 1, 1, 10]
    assert hours(site="North") == [8, 1, 1, 10]
    profile = """
        name: own
        description: in a zone of its own
        recognised_by: [timestamp]
        timezone: Asia/Kolkata
        fields: {timestamp: timestamp, person_id: person_id, camera_id: camera_id, event_type: event_type}
    """
    assert hours(profile=profile) == [4, 4, 4, 10]


def test_cameras_that_are_not_listed_are_told(tmp_path: Path) -> None:
    rows = [(GOOD[0], "P", name, "entry") for name in ("C1", "C2", "C3", "C2")]
    cleaned = clean(tmp_path, *rows, cameras=[camera("C1", None)])
    assert cleaned.summary.unlisted_cameras == ("C2", "C3")
    sentence, count = cleaned.notice("unlisted_cameras")
    assert sentence.startswith("2 cameras are not on the camera list: 'C2', 'C3'.")
    assert count == 3
    assert clean(tmp_path, *rows, cameras=[camera("North/C1", None)], site="North").summary.unlisted_cameras == (
        "North/C2",
        "North/C3",
    )


def test_repeated_and_skipped_hours_are_counted_over_the_rows_that_load(tmp_path: Path) -> None:
    rules = replace(LoadingRules(), default_timezone="Europe/Berlin")
    rows = [
        ("2024-10-27 02:30:00", "P", "C", "appearance", "2024-10-27 02:45:00"),  # the first of two
        ("2024-10-27 02:30:00", "P", "C", "appearance", "2024-10-27 02:10:00"),  # the end is the second one
        ("2024-10-27 02:30:00", "", "C", "appearance", "2024-10-27 02:45:00"),  # rejected
        ("2025-03-30 02:30:00", "P", "C", "entry", ""),  # skipped
        ("2025-03-30 02:30:00+01:00", "P", "C", "entry", ""),  # an offset says which
        ("2025-05-01 10:00:00", "P", "C", "entry", "2025-03-30 02:30:00"),  # no end of a point is judged
    ]
    cleaned = clean(tmp_path, *rows, header=(*HEADER, "end_time"), rules=rules)
    assert cleaned.notice("repeated_hour")[1] == 2
    assert cleaned.notice("skipped_hour")[1] == 1
    first, second, third, *_ = cleaned.events
    assert first["end_time"] - first["event_time"] == timedelta(minutes=15)
    assert second["end_time"] - second["event_time"] == timedelta(minutes=40)
    assert third["event_time"] == datetime(2025, 3, 30, 1, 30, tzinfo=UTC)


# --- against a plain telling of the rules, row by row --------------------------------------------------------------

NOON = datetime(2025, 5, 1, 12, tzinfo=UTC)
# text in the file -> what it says (None: missing; a code: why the row is rejected)
PERSONS = [
    ("P1", "P1"),
    (" P2 ", "P2"),
    ("", None),
    ("NaN", None),
    ("x" * 101, "id_too_long"),
    ("a\x02b", "control_characters"),
]
CAMERAS = [("C1", "C1"), ("NA", "NA"), ("none", None), ("y" * 51, "id_too_long"), ("a\x85b", "control_characters")]
STARTS: list[tuple[str, datetime | str | None]] = [
    ("2025-05-01T12:00:00Z", NOON),
    ("01/05/2025 12:00", NOON),
    ("1746100800000", NOON),
    ("null", None),
    ("soon", "timestamp_unreadable"),
    ("1.7E+12", "timestamp_too_coarse"),
    ("1970-01-01", "timestamp_out_of_range"),
]
ENDS: list[tuple[str, datetime | str | None]] = [
    ("", None),
    ("2025-05-01 12:00:01", NOON + timedelta(seconds=1)),
    ("2025-05-01 11:59:59", NOON - timedelta(seconds=1)),
    ("2024-05-01 11:59:59", NOON - timedelta(days=365, seconds=1)),
    ("later", "timestamp_unreadable"),
    ("2126-05-01", "timestamp_out_of_range"),
]
WORDS: list[tuple[str, EventType | None]] = [
    ("entry", "entry"),
    ("Went-Out", "exit"),
    ("appearance", "appearance"),
    ("crowd", "other"),
    ("zigzag", "other"),
    (" ", None),
]
Told = tuple[str, Any]


def expected_codes(person: Told, place: Told, start: Told, end: Told, word: Told) -> list[str]:
    codes = []
    for _, said in (person, place):
        if said is None:
            codes.append("missing_value")
        elif said.startswith(("id_", "control_")):
            codes.append(said)
    codes += ["missing_value"] if word[1] is None else []
    codes += ["missing_value"] if start[1] is None else []
    codes += [start[1]] if isinstance(start[1], str) else []
    if word[1] not in ("entry", "exit"):
        codes += [end[1]] if isinstance(end[1], str) else []
        if isinstance(start[1], datetime) and isinstance(end[1], datetime) and end[1] < start[1]:
            codes.append("interval_negative")
        if isinstance(start[1], datetime) and end[1] == "timestamp_out_of_range":
            codes.append("interval_too_long")
    if start[1] == "timestamp_out_of_range" and word[1] not in ("entry", "exit"):
        codes += ["interval_too_long"] if isinstance(end[1], datetime) or end[1] == "timestamp_out_of_range" else []
    return sorted(codes)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(*map(st.sampled_from, (PERSONS, CAMERAS, STARTS, ENDS, WORDS))), min_size=1, max_size=20),
    chunk_rows=st.integers(3, 20),
)
def test_rows_are_judged_one_by_one_however_they_are_cut_into_chunks(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Told, Told, Told, Told, Told]], chunk_rows: int
) -> None:
    cleaned = clean(
        tmp_path_factory.mktemp("judged"),
        *([text for text, _ in row] for row in rows),
        header=("person_id", "camera_id", "timestamp", "end_time", "event_type"),
        rows=chunk_rows,
    )
    codes: dict[int, list[str]] = {}
    for reject in cleaned.rejects:
        codes.setdefault(reject.row_number, []).append(reject.code)
    wanted = {number: found for number, row in enumerate(rows, 2) if (found := expected_codes(*row))}
    assert {number: sorted(found) for number, found in codes.items()} == wanted
    good = [(number, row) for number, row in enumerate(rows, 2) if number not in wanted]
    for event, (number, (person, place, start, end, word)) in zip(cleaned.events, good, strict=True):
        point = word[1] in ("entry", "exit")
        assert event["row_number"] == number
        assert (event["person_id"], event["camera_id"], event["event_type"]) == (person[1], place[1], word[1])
        assert event["event_word"] == word[0].lower()
        assert event["event_time"] == start[1]
        assert event["end_time"] == (None if point else end[1])
        kept = {"end_time": end[0]} if point and end[0] else {}
        assert json.loads(event["attributes"] or "{}") == kept
    summary = cleaned.summary
    assert (summary.rows_read, summary.rows_good, summary.rows_rejected) == (len(rows), len(good), len(wanted))
    assert sum(summary.reject_counts.values()) == len(cleaned.rejects)
    unknown = [notice.rows for notice in summary.notices if notice.code == "unknown_event_words"]
    assert sum(unknown) == sum(row[4][0] == "zigzag" for _, row in good)


def test_a_file_without_rows_comes_to_nothing(tmp_path: Path) -> None:
    cleaned = clean(tmp_path)
    assert (cleaned.events, cleaned.rejects) == ([], [])
    assert cleaned.summary == CleaningSummary(0, 0, 0, {}, {}, (), (), {}, None, None)


def test_a_chunk_of_bad_rows_only(tmp_path: Path) -> None:
    cleaned = clean(tmp_path, *[("soon", "P", "C", "entry")] * 5, header=HEADER, rows=2)
    assert cleaned.table.num_rows == 0
    assert len(cleaned.rejects) == 5


# --- real files ----------------------------------------------------------------------------------------------------


def test_citibike_trips_agree_with_the_durations_that_the_provider_published(public_data: Path) -> None:
    cleaned = clean_file(public_data / "JC-201611-citibike-tripdata.csv")
    assert cleaned.rejects == []
    assert len(cleaned.events) == 21_832
    assert len({event["event_id"] for event in cleaned.events}) == 21_832
    differences = set()
    for event in cleaned.events:
        published = int(json.loads(event["attributes"])["Trip Duration"])
        differences.add(published - (event["end_time"] - event["event_time"]).total_seconds())
    assert differences <= {0, -1}
    assert {event["camera_id"] for event in cleaned.events} == {"ride"}
    assert cleaned.notice("repeated_hour")[1] == 10


VAST = """
    name: cards
    description: proximity cards of a building, by floor and zone
    recognised_by: [prox-id, floor, {other}]
    fields: {{timestamp: timestamp, person_id: prox-id, camera_id: "{template}", event_type: type}}
    event_words: {{fixed-prox: other, mobile-prox: other}}
"""


@pytest.mark.parametrize(
    ("name", "other", "template", "rows", "distinct", "persons", "cameras"),
    [
        ("vast2016-proxOut-MC2.csv", "zone", "{floor}-{zone}", 29_763, 29_762, 122, 20),
        # 2,550 rows differ; the robot reads some cards twice in a second, from two places, which is one event.
        ("vast2016-proxMobileOut-MC2.csv", "x", "{floor}", 11_592, 2_526, 102, 3),
    ],
)
def test_a_users_profile_reads_a_buildings_proximity_cards(
    tmp_path: Path,
    public_data: Path,
    name: str,
    other: str,
    template: str,
    rows: int,
    distinct: int,
    persons: int,
    cameras: int,
) -> None:
    (tmp_path / name).symlink_to(public_data / name)
    profile = VAST.format(other=other, template=template)
    cleaned = clean_file(tmp_path / name, profile=profile)
    assert cleaned.rejects == []
    assert len(cleaned.events) == rows
    assert {event["event_type"] for event in cleaned.events} == {"other"}
    assert len({event["person_id"] for event in cleaned.events}) == persons
    assert len({event["camera_id"] for event in cleaned.events}) == cameras
    assert len({event["event_id"] for event in cleaned.events}) == distinct
