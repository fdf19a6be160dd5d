"""Settings: where they come from, what is refused and in which words, and that a child gets the same ones."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestration.settings import PREFIX, SettingsProblem, load_settings
from validation.rules import LoadingRules


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, and an environment without settings."""
    for variable in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(variable)
    return tmp_path


def test_defaults_are_those_of_the_documented_rules(project: Path) -> None:
    settings = load_settings(project)
    assert settings.home == project / ".footfall"
    assert settings.landing == project / "landing"
    assert (settings.dagster_port, settings.api_port, settings.bind) == (3000, 8000, "127.0.0.1")
    assert settings.external_url is None
    assert settings.loading_rules == LoadingRules()
    assert settings.model_parameters == {
        "max_session_hours": 12,
        "repeat_seconds": 60,
        "visit_gap_minutes": 30,
        "bounce_seconds": 30,
        "default_timezone": "UTC",
        "excluded_ids": [],
        "min_confidence": None,
        "anonymous_ids": ["-1", "unknown", "anonymous"],
    }


def test_the_environment_wins_over_the_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "footfall.toml").write_text(
        'dagster_port = 3100\napi_port = 8100\nhome = "state"\nexcluded_ids = ["guard", "staff 2"]\n'
        "earliest_event = 2015-05-01\nmin_confidence = 0.5\n"
    )
    monkeypatch.setenv("FOOTFALL_DAGSTER_PORT", "3200")
    monkeypatch.setenv("FOOTFALL_MIN_CONFIDENCE", "")
    monkeypatch.setenv("FOOTFALL_ANONYMOUS_IDS", "-1, nobody ,")
    settings = load_settings(project)
    assert (settings.dagster_port, settings.api_port) == (3200, 8100)
    assert settings.home == project / "state"
    assert settings.excluded_ids == ("guard", "staff 2")
    assert settings.anonymous_ids == ("-1", "nobody")
    assert settings.earliest_event == datetime(2015, 5, 1, tzinfo=UTC)
    assert settings.min_confidence is None


def test_a_relative_path_in_the_environment_is_relative_to_the_working_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = project / "else where"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("FOOTFALL_LANDING", "in")
    monkeypatch.setenv("FOOTFALL_HOME", "../state")
    settings = load_settings(project)
    assert settings.landing == elsewhere / "in"
    assert settings.home == project / "state"


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("DAGSTER_PORT", "abc", "FOOTFALL_DAGSTER_PORT is 'abc', but must be a port number from 1 to 65535."),
        ("DAGSTER_PORT", "0", "FOOTFALL_DAGSTER_PORT is '0', but must be a port number from 1 to 65535."),
        ("API_PORT", "70000", "FOOTFALL_API_PORT is '70000', but must be a port number from 1 to 65535."),
        ("BIND", " ", "FOOTFALL_BIND is ' ', but must be an address of this machine."),
        (
            "DEFAULT_TIMEZONE",
            "Europe/Berlino",
            "FOOTFALL_DEFAULT_TIMEZONE is 'Europe/Berlino', but must be the name of a time zone such as Europe/Berlin.",
        ),
        ("DATE_ORDER", "YMD", "FOOTFALL_DATE_ORDER is 'YMD', but must be auto, DMY or MDY."),
        ("MAX_REJECTED_SHARE", "5", "FOOTFALL_MAX_REJECTED_SHARE is '5', but must be a share from 0 to 1."),
        ("MAX_SESSION_HOURS", "nan", "FOOTFALL_MAX_SESSION_HOURS is 'nan', but must be a number above 0."),
        ("MAX_SESSION_HOURS", "0", "FOOTFALL_MAX_SESSION_HOURS is '0', but must be a number above 0."),
        ("REPEAT_SECONDS", "-1", "FOOTFALL_REPEAT_SECONDS is '-1', but must be a number, 0 or more."),
        ("MIN_CONFIDENCE", "high", "FOOTFALL_MIN_CONFIDENCE is 'high', but must be a number from 0 to 1, or nothing."),
        ("EARLIEST_EVENT", "soon", "FOOTFALL_EARLIEST_EVENT is 'soon', but must be a date such as 2000-01-01."),
        ("KEEP_RUNS_DAYS", "0", "FOOTFALL_KEEP_RUNS_DAYS is '0', but must be a whole number of days, 1 or more."),
        ("WARM", "maybe", "FOOTFALL_WARM is 'maybe', but must be true or false."),
        ("EXCLUDED_IDS", "[1", "FOOTFALL_EXCLUDED_IDS is '[1', but must be a list of names, separated by commas."),
        ("SILENT_HOURS", "0", "FOOTFALL_SILENT_HOURS is '0', but must be a number above 0, or nothing."),
        (
            "ALERT_EMAIL_TO",
            "a@b.c, b\n@b.c",
            "FOOTFALL_ALERT_EMAIL_TO is 'a@b.c, b\\n@b.c', but must be a list of mail addresses, separated by commas.",
        ),
        (
            "ALERT_SMTP",
            "smtp://host",
            "alert_smtp and alert_email_to go together: by which server alerts are mailed, and to whom.",
        ),
        ("HOME", "", "FOOTFALL_HOME is empty; it must be the path of a folder."),
        (
            "DAGSTER_PROT",
            "3000",
            "FOOTFALL_DAGSTER_PROT is not a setting of Footfall; did you mean FOOTFALL_DAGSTER_PORT?",
        ),
        ("WEATHER", "fine", "FOOTFALL_WEATHER is not a setting of Footfall; the README lists those that are."),
    ],
)
def test_what_is_wrong_in_the_environment_is_one_sentence(
    project: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(PREFIX + variable, value)
    with pytest.raises(SettingsProblem) as problem:
        load_settings(project)
    assert str(problem.value) == sentence


def test_what_is_fixed_at_the_start_is_told_to_children(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "footfall.toml").write_text("warm = false\nsettle_seconds = 5\n")
    told = load_settings(project).environment()
    assert told["FOOTFALL_WARM"] == "false"
    assert "FOOTFALL_SETTLE_SECONDS" not in told, "a child reads it itself, each time anew"
    (project / "footfall.toml").write_text("warm = true\n")
    monkeypatch.setenv("FOOTFALL_WARM", told["FOOTFALL_WARM"])
    assert not load_settings(project).warm


def test_a_wrong_database_url_is_not_repeated(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOOTFALL_DATABASE_URL", "mysql://me:hidden@host/db")
    with pytest.raises(SettingsProblem) as problem:
        load_settings(project)
    assert "hidden" not in str(problem.value)
    assert str(problem.value).startswith("FOOTFALL_DATABASE_URL must be a URL such as postgresql://")


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("ALERT_WEBHOOK", "ftp://host/hidden", "a web address such as https://example.com/hook"),
        ("ALERT_WEBHOOK", "file:///hidden", "a web address such as https://example.com/hook"),
        ("ALERT_WEBHOOK", "https://me:hidden@host/", "a web address such as https://example.com/hook"),
        ("ALERT_WEBHOOK", "https://host/hidden\r\nX: y", "a web address such as https://example.com/hook"),
        ("ALERT_WEBHOOK", "https://host:hidden/", "a web address such as https://example.com/hook"),
        ("REDIS_URL", "http://:hidden@host", "a URL such as redis://:password@host:6379/0 or rediss://host"),
        ("REDIS_URL", "redis://:hidden@", "a URL such as redis://:password@host:6379/0 or rediss://host"),
        ("REDIS_URL", "rediss://:hidden@host/answers", "a URL such as redis://:password@host:6379/0 or rediss://host"),
        ("REDIS_URL", "redis://:hidden@host:99999", "a URL such as redis://:password@host:6379/0 or rediss://host"),
        ("ALERT_SMTP", "http://me:hidden@host", "a mail server such as smtp://user:password@host:587 or smtps://host"),
        ("ALERT_SMTP", "smtp://me:hid/den@host", "a mail server such as smtp://user:password@host:587 or smtps://host"),
    ],
)
def test_a_wrong_address_is_not_repeated(
    project: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(PREFIX + variable, value)
    with pytest.raises(SettingsProblem) as problem:
        load_settings(project)
    assert str(problem.value) == f"FOOTFALL_{variable} must be {expected}."


def test_alerts_are_off_but_for_silence_until_somebody_is_to_be_told(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(project)
    assert (settings.silent_hours, settings.alert_webhook, settings.alert_smtp, settings.alert_email_to) == (
        24, None, None, (),
    )  # fmt: skip
    monkeypatch.setenv("FOOTFALL_SILENT_HOURS", "")
    monkeypatch.setenv("FOOTFALL_ALERT_WEBHOOK", "")
    monkeypatch.setenv("FOOTFALL_ALERT_SMTP", "smtps://me:hidden@[::1]:465")
    monkeypatch.setenv("FOOTFALL_ALERT_EMAIL_TO", "a@example.com, b@example.com")
    settings = load_settings(project)
    assert settings.silent_hours is None
    assert settings.alert_webhook is None
    assert settings.alert_email_to == ("a@example.com", "b@example.com")
    assert "hidden" not in repr(settings)


@pytest.mark.parametrize(
    "url", ["redis://h", "rediss://u:hidden@[::1]:6380/2?ssl_ca_certs=/ca.pem", "redis://:hidden@h/"]
)
def test_a_redis_url_shows_in_no_print(project: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    assert load_settings(project).answers_url is None
    monkeypatch.setenv("FOOTFALL_REDIS_URL", url)
    settings = load_settings(project)
    assert settings.answers_url == url
    assert "hidden" not in repr(settings)
    monkeypatch.setenv("FOOTFALL_REDIS_URL", " ")
    assert load_settings(project).answers_url is None


def test_a_database_url_shows_in_no_print(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOOTFALL_DATABASE_URL", "postgresql://me:hidden@host/db?sslmode=require")
    settings = load_settings(project)
    assert settings.external_url == "postgresql://me:hidden@host/db?sslmode=require"
    assert "hidden" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('dagster_port = "x"', "'dagster_port' in {file} is 'x', but must be a port number from 1 to 65535."),
        ("dagster_prot = 1", "'dagster_prot' in {file} is not a setting of Footfall; did you mean dagster_port?"),
        ("home = 3", "'home' in {file} is 3, but must be the path of a folder."),
        ("home = ", "The settings file {file} is not valid TOML: "),
    ],
)
def test_what_is_wrong_in_the_file_names_the_file(project: Path, text: str, sentence: str) -> None:
    file = project / "footfall.toml"
    file.write_text(text)
    with pytest.raises(SettingsProblem) as problem:
        load_settings(project)
    assert str(problem.value).startswith(sentence.format(file=file))


def test_a_named_file_must_exist(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOOTFALL_CONFIG", str(project / "absent.toml"))
    with pytest.raises(SettingsProblem, match=r"absent\.toml cannot be read: No such file"):
        load_settings(project)


def test_a_child_process_has_the_same_settings_in_any_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "my.toml").write_text(
        'excluded_ids = ["a, b", "c"]\nanonymous_ids = []\ndate_order = "MDY"\nhome = "state"\n'
        'database_url = "postgresql://u:p@h/d"\nearliest_event = 2015-05-01T10:00:00+02:00\n'
    )
    monkeypatch.chdir(project)
    monkeypatch.setenv("FOOTFALL_CONFIG", "my.toml")
    monkeypatch.setenv("FOOTFALL_LANDING", "in")
    monkeypatch.setenv("FOOTFALL_MIN_CONFIDENCE", "0.25")
    settings = load_settings(project)
    for variable, value in settings.environment().items():
        monkeypatch.setenv(variable, value)
    monkeypatch.chdir("/")
    assert load_settings(project) == settings


def test_a_child_process_heeds_an_edited_file_but_stays_where_it_is(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = project / "footfall.toml"
    file.write_text('home = "state"\nvisit_gap_minutes = 20\n')
    settings = load_settings(project)
    for variable, value in settings.environment().items():
        monkeypatch.setenv(variable, value)
    file.write_text('home = "elsewhere"\ndagster_port = 1\nvisit_gap_minutes = 10\nearliest_event = 2015-05-01\n')
    edited = load_settings(project)
    assert (edited.home, edited.dagster_port) == (settings.home, settings.dagster_port)
    assert edited.model_parameters["visit_gap_minutes"] == 10
    assert edited.loading_rules.earliest_event == datetime(2015, 5, 1, tzinfo=UTC)


def test_names_of_the_pages_reach_the_process_that_serves_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "footfall.toml").write_text('allowed_hosts = ["shop.example", "10.0.0.9"]\n')
    for name, value in load_settings(tmp_path).environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings(tmp_path / "elsewhere").allowed_hosts == ("shop.example", "10.0.0.9")
