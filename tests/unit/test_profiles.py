"""Source profiles: what may be written, which one fits a header, and what people are told otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from validation.matching import Match, Source, match, normalise
from validation.problems import FileProblem
from validation.profiles import FIELDS, Columns, Profile, ProfileProblem, load_profiles

ROBOT = """
name: robot
description: the building's robot
recognised_by: [prox-id, floor, x, y]
rows: point
fields:
  timestamp: timestamp
  person_id: prox-id
  camera_id: "{floor}"
  event_type: type
event_words: {mobile-prox: other}
"""
CARDS = """
name: cards
description: proximity cards
recognised_by: [prox-id, floor, zone]
fields:
  timestamp: timestamp
  person_id: prox-id
  camera_id: "{floor}-{zone}"
  event_type: type
  zone: zone
"""
PLAIN = """
name: plain
description: one
recognised_by: [when]
fields: {timestamp: when, person_id: who, camera_id: where, event_type: what}
"""


def profiles_with(folder: Path, *texts: str) -> list[Profile]:
    for number, text in enumerate(texts):
        (folder / f"{number}.yml").write_text(text, encoding="utf-8")
    return load_profiles(folder)


def problem_of(folder: Path, text: str) -> ProfileProblem:
    with pytest.raises(ProfileProblem) as caught:
        profiles_with(folder, text)
    return caught.value


def columns_of(found: Match) -> dict[str, str | None]:
    return {field: source.column for field, source in found.sources.items()}


def test_shipped_profiles_are_usable() -> None:
    names = {profile.name for profile in load_profiles(None)}
    assert names == {"generic", "citibike_trips", "corsight_appearances"}


def test_no_alias_of_the_generic_profile_stands_for_two_fields() -> None:
    generic = next(profile for profile in load_profiles(None) if profile.name == "generic")
    assert set(generic.fields_) == set(FIELDS)
    owner: dict[str, str] = {}
    for field, source in generic.fields_.items():
        assert isinstance(source, Columns)
        for name in {normalise(name) for name in source.names}:
            assert owner.setdefault(name, field) == field
    assert owner[normalise("timestamp")] == "timestamp"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            ["timestamp", "person_id", "camera_id", "event_type"],
            {"timestamp": "timestamp", "person_id": "person_id", "camera_id": "camera_id", "event_type": "event_type"},
        ),
        (
            ["Event.Time", "VISITOR ID", "Device-Id", "Direction", "Score", "End Time"],
            {
                "timestamp": "Event.Time",
                "person_id": "VISITOR ID",
                "camera_id": "Device-Id",
                "event_type": "Direction",
                "confidence": "Score",
                "end_time": "End Time",
            },
        ),
        (
            ["ts", "track_id", "sensor", "action", "AgeGroup", "Age", "Sex", "Area"],
            {
                "timestamp": "ts",
                "person_id": "track_id",
                "camera_id": "sensor",
                "event_type": "action",
                "age_group": "AgeGroup",
                "age": "Age",
                "gender": "Sex",
                "zone": "Area",
            },
        ),
    ],
)
def test_generic_profile_knows_columns_by_many_names(header: list[str], expected: dict[str, str]) -> None:
    found = match(header, load_profiles(None))
    assert found.profile.name == "generic"
    assert columns_of(found) == expected


def test_the_fields_own_name_wins_over_aliases_and_the_others_are_extra() -> None:
    found = match(["time", "Timestamp", "person", "person_id", "camera_id", "event", "event_type"], load_profiles(None))
    assert columns_of(found)["timestamp"] == "Timestamp"
    assert columns_of(found)["person_id"] == "person_id"
    assert found.extra_columns == ("time", "person", "event")


def test_the_name_as_written_wins_over_one_that_only_amounts_to_it() -> None:
    found = match(["Person ID", "person_id", "timestamp", "camera_id", "event_type"], load_profiles(None))
    assert columns_of(found)["person_id"] == "person_id"
    assert found.extra_columns == ("Person ID",)


@pytest.mark.parametrize(
    ("header", "one", "other", "field"),
    [
        (["timestamp", "visitor_id", "track_id", "camera_id", "event_type"], "visitor_id", "track_id", "person_id"),
        (["date", "time", "person_id", "camera_id", "event_type"], "date", "time", "timestamp"),
        (["PersonID", "Person.ID", "timestamp", "camera_id", "event_type"], "PersonID", "Person.ID", "person_id"),
        (["timestamp", "person_id", "camera_id", "event_type", "score", "conf"], "score", "conf", "confidence"),
    ],
)
def test_two_columns_for_one_field_are_named(header: list[str], one: str, other: str, field: str) -> None:
    with pytest.raises(FileProblem) as caught:
        match(header, load_profiles(None))
    assert caught.value.code == "ambiguous_columns"
    assert f"'{one}', '{other}'" in caught.value.sentence
    assert field in caught.value.sentence


def test_a_header_that_nothing_fits_is_told_what_is_missing_and_the_nearest_profile() -> None:
    with pytest.raises(FileProblem) as caught:
        match(["timestamp", "type", "prox-id", "floor", "zone"], load_profiles(None))
    assert caught.value.code == "no_profile_fits"
    assert "'timestamp', 'type', 'prox-id', 'floor', 'zone'" in caught.value.sentence
    assert "'generic'" in caught.value.sentence
    assert "person_id (or person, " in caught.value.sentence
    assert "camera_id (or camera, " in caught.value.sentence
    assert "event_type" not in caught.value.sentence
    assert "profile" in caught.value.advice


def test_the_nearest_profile_is_the_one_that_lacks_least() -> None:
    header = ["Trip Duration", "Start Time", "Stop Time", "Start Station ID", "Bike ID"]
    with pytest.raises(FileProblem) as caught:
        match(header, load_profiles(None))
    assert "'citibike_trips'" in caught.value.sentence
    assert caught.value.sentence.endswith("End Station ID.")


def test_to_a_header_with_nothing_known_the_nearest_profile_is_the_one_that_asks_for_least() -> None:
    with pytest.raises(FileProblem) as caught:
        match(["a", "b"], load_profiles(None))
    assert "'generic'" in caught.value.sentence
    assert "timestamp (or time, datetime, date_time, …)" in caught.value.sentence


def test_a_very_wide_header_makes_no_endless_sentence() -> None:
    with pytest.raises(FileProblem, match="and 960 more"):
        match([f"column {number}" for number in range(1000)], load_profiles(None))


@pytest.mark.parametrize(
    "header",
    [
        (
            "Trip Duration,Start Time,Stop Time,Start Station ID,Start Station Name,Start Station Latitude,"
            "Start Station Longitude,End Station ID,End Station Name,End Station Latitude,End Station Longitude,"
            "Bike ID,User Type,Birth Year,Gender"
        ),
        (
            "tripduration,starttime,stoptime,start station id,start station name,start station latitude,"
            "start station longitude,end station id,end station name,end station latitude,end station longitude,bikeid,"
            "usertype,birth year,gender"
        ),
    ],
)
def test_citibike_trips_are_known_in_both_spellings_of_their_header(header: str) -> None:
    columns = header.split(",")
    found = match(columns, load_profiles(None))
    assert found.profile.name == "citibike_trips"
    assert (found.profile.timezone, found.profile.rows) == ("America/New_York", "interval")
    assert found.sources["camera_id"] == Source((), ("ride",))
    assert columns_of(found)["person_id"] == columns[11]
    assert columns_of(found)["end_time"] == columns[2]
    assert columns[0] in found.extra_columns


CORSIGHT = [
    "person_id",
    "camera_id",
    "event_type",
    "age_group_outcome",
    "gender_outcome",
    "camera_description",
    "zone_name",
]


@pytest.mark.parametrize(
    ("times", "start"),
    [
        (["utc_time_started_readable", "utc_time_ended_readable"], "utc_time_started_readable"),
        (["utc_time_started", "utc_time_ended"], "utc_time_started"),
        (
            ["utc_time_started", "utc_time_started_readable", "utc_time_ended", "utc_time_ended_readable"],
            "utc_time_started_readable",
        ),
    ],
)
def test_corsight_exports_are_known_by_readable_times_or_epochs(times: list[str], start: str) -> None:
    found = match(CORSIGHT + times, load_profiles(None))
    assert found.profile.name == "corsight_appearances"
    assert columns_of(found)["timestamp"] == start
    assert columns_of(found)["end_time"] == start.replace("started", "ended")
    assert columns_of(found)["age_group"] == "age_group_outcome"
    assert columns_of(found)["gender"] == "gender_outcome"
    assert columns_of(found)["zone"] == "zone_name"
    assert "camera_description" in found.extra_columns


def test_interval_rows_without_a_word_are_appearances() -> None:
    header = [name for name in CORSIGHT if name != "event_type"] + ["utc_time_started", "utc_time_ended"]
    assert match(header, load_profiles(None)).sources["event_type"] == Source((), ("appearance",))


def test_a_users_profile_with_a_template_wins_over_the_generic_one(tmp_path: Path) -> None:
    profiles = profiles_with(tmp_path, ROBOT, CARDS)
    robot = match(["timestamp", "type", "prox-id", "floor", "x", "y"], profiles)
    assert robot.profile.name == "robot"
    assert robot.sources["camera_id"] == Source(("floor",), ("", ""), is_template=True)
    assert robot.sources["camera_id"].column is None
    assert robot.extra_columns == ("floor", "x", "y")
    cards = match(["timestamp", " type", " prox-id", " floor", " zone"], profiles)
    assert cards.sources["camera_id"] == Source((" floor", " zone"), ("", "-", ""), is_template=True)
    # A column that is a field by itself is not kept twice, even if a template uses it too.
    assert cards.extra_columns == (" floor",)


def test_a_template_may_hold_braces_of_its_own(tmp_path: Path) -> None:
    text = PLAIN.replace("camera_id: where", 'camera_id: "{{{where}}} door"')
    assert match(["when", "who", "where", "what"], profiles_with(tmp_path, text)).sources["camera_id"] == Source(
        ("where",), ("{", "} door"), is_template=True
    )


def test_the_profile_recognised_by_more_headers_wins_and_a_tie_names_both(tmp_path: Path) -> None:
    header = ["when", "who", "where", "what", "zone"]
    wider = PLAIN.replace("plain", "wider").replace("[when]", "[when, zone]")
    assert match(header, profiles_with(tmp_path, PLAIN, wider)).profile.name == "wider"
    with pytest.raises(FileProblem) as caught:
        match(header, profiles_with(tmp_path, PLAIN, PLAIN.replace("plain", "other")))
    assert caught.value.code == "several_profiles_fit"
    assert "'plain', 'other'" in caught.value.sentence


def test_a_profile_whose_fields_are_not_all_there_does_not_fit(tmp_path: Path) -> None:
    header = ["when", "who", "where", "timestamp", "person_id", "camera_id", "event_type"]
    assert match(header, profiles_with(tmp_path, PLAIN)).profile.name == "generic"


def test_an_ambiguity_in_a_profile_that_is_not_chosen_does_no_harm(tmp_path: Path) -> None:
    header = ["when", "who", "where", "what", "timestamp", "track_id", "visitor_id", "camera_id", "event_type"]
    assert match(header, profiles_with(tmp_path, PLAIN)).profile.name == "plain"


def test_a_users_profile_replaces_the_shipped_one_of_its_name(tmp_path: Path) -> None:
    profiles = profiles_with(tmp_path, PLAIN.replace("plain", "citibike_trips"))
    assert [p.description for p in profiles if p.name == "citibike_trips"] == ["one"]


def test_a_folder_that_is_not_there_adds_nothing(tmp_path: Path) -> None:
    assert len(load_profiles(tmp_path / "none")) == 3


def test_words_of_a_file_are_text_whatever_yaml_thinks(tmp_path: Path) -> None:
    text = PLAIN + "event_words: {1: entry, 0: exit, no: other, 'on': entry, Gate_IN: entry}\n"
    words = next(p for p in profiles_with(tmp_path, text) if p.name == "plain").event_words
    assert words == {"1": "entry", "0": "exit", "no": "other", "on": "entry", "gatein": "entry"}


@pytest.mark.parametrize(
    ("text", "key", "told"),
    [
        (PLAIN + "colour: red", "colour", "Known are name"),
        (PLAIN + "timezones: UTC", "timezones", "Did you mean timezone?"),
        (PLAIN.replace("camera_id", "camera"), "fields.camera", "Did you mean camera_id?"),
        (PLAIN.replace(", event_type: what", ""), "", "event_type"),
        (PLAIN.replace("name: plain\n", ""), "name", "missing"),
        (PLAIN.replace("name: plain", "name: a/b"), "name", "pattern"),
        (PLAIN + "timezone: Europe/Nowhere", "timezone", "Europe/Nowhere"),
        (PLAIN + "timestamp_formats: ['%Q']", "timestamp_formats", "%Q"),
        (PLAIN + "rows: both", "rows", "'point' or 'interval'"),
        (PLAIN + "rows: interval", "", "end_time"),
        (PLAIN.replace("what}", "what, end_time: until}") + "rows: point", "", "end_time"),
        (PLAIN.replace("timestamp: when", "timestamp: {constant: now}"), "", "timestamp"),
        (PLAIN + "event_words: {in: inwards}", "event_words.in", "'entry'"),
        (PLAIN + "event_words: {go_in: entry, Go-In: exit}", "event_words", "two meanings"),
        (PLAIN.replace("where", "{floor}"), "fields.camera_id", 'in quotes: "{floor}"'),
        (PLAIN.replace("where", "'{floor'"), "fields.camera_id", "expected '}'"),
        (PLAIN.replace("where", "'{}-{zone}'"), "fields.camera_id", "name a column"),
        (PLAIN.replace("where", "'{floor:>3}'"), "fields.camera_id", "name a column"),
        (PLAIN.replace("where", "[]"), "fields.camera_id", "list of column names"),
        (PLAIN.replace("where", "{any_of: where}"), "fields.camera_id", "list of column names"),
        (PLAIN.replace("where", "{column: where}"), "fields.camera_id", "expected a column name"),
        (PLAIN.replace("[when]", "{when: 1}"), "recognised_by", "list"),
        ("name: x\nfields: {camera_id: {floor}-{zone}}", "", "in quotes"),
        ("name: x\nname: y", "", "twice"),
        ("just words", "", "expected keys"),
        ("", "", "expected keys"),
    ],
)
def test_a_profile_that_is_wrong_is_told_file_key_and_what_would_be_right(
    tmp_path: Path, text: str, key: str, told: str
) -> None:
    problem = problem_of(tmp_path, text)
    assert problem.path == tmp_path / "0.yml"
    assert problem.key.startswith(key) if key else problem.key == ""
    assert told in problem.sentence
    assert "0.yml" in str(problem)
    assert "\n" not in str(problem)


def test_one_name_in_two_files_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ProfileProblem, match=r"1\.yml.*0\.yml"):
        profiles_with(tmp_path, PLAIN, PLAIN)


def test_a_profile_that_is_no_text_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProfileProblem, match="cannot be read"):
        load_profiles(tmp_path)


def test_a_fingerprint_is_of_all_that_acts_on_files_and_of_nothing_else(tmp_path: Path) -> None:
    def fingerprint(text: str) -> str:
        (tmp_path / "0.yml").write_text(text, encoding="utf-8")
        return load_profiles(tmp_path)[-1].fingerprint

    told = fingerprint(PLAIN)
    assert fingerprint(PLAIN) == told
    assert fingerprint(PLAIN.replace("description: ", "description: not ") + "\n# a comment\n") == told
    assert fingerprint(PLAIN + "\nevent_words: {}\n") == told  # what a key stands at that is left out
    others = [
        PLAIN + "\ntimezone: UTC\n",
        PLAIN + "\nevent_words: {raus: exit}\n",
        PLAIN.replace("where", "[where, place]"),
        PLAIN.replace("where", "{any_of: [where]}"),
        PLAIN.replace("where", "{constant: where}"),
        PLAIN.replace("where", "'{where}'"),
    ]
    assert len({told, *map(fingerprint, others)}) == 1 + len(others)
