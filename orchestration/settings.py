"""Every setting of Footfall, typed, in one place; the only module that reads the environment.

Settings come from the environment (`FOOTFALL_*`) and from `footfall.toml` in the project folder, the environment
first. What is wrong with one is said in one sentence (`SettingsProblem`). What a setting does is decided where it
is used: this module knows values, not behaviour.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from orchestration.problems import Problem
from validation.rules import DateOrderSetting, LoadingRules

PROJECT: Final = Path(__file__).resolve().parent.parent
PREFIX: Final = "FOOTFALL_"
# Names under our prefix that are not settings: which file to read, what the models' profile reads, what the stack's
# parts tell each other, and which server the tests use.
OTHER_NAMES: Final = frozenset({"CONFIG", "CODE_SOCKET", "RUN_SOCKET", "DAGSTER_URL", "TEST_POSTGRES_BIN"})
OTHER_PREFIXES: Final = ("DB_",)
# Where Footfall is and how its parts work together. What runs of it keeps these until it is started again, whatever the
# settings file says by then.
FIXED_AT_START: Final = (
    *("home", "landing", "bind", "dagster_port", "api_port", "allowed_hosts", "api_keys_required"),
    *("database_url", "warm"),
)

SECRETS: Final = frozenset({"database_url", "redis_url", "alert_webhook", "alert_smtp"})


class SettingsProblem(Problem):
    """A setting is wrong or unknown; the message is one sentence for the person who set it."""


def _list(value: object) -> object:
    """Take a comma-separated text (as the environment has it) or a JSON list apart."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [item.strip() for item in value.split(",") if item.strip()]


def _blank_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _instant(value: object) -> object:
    """Read a date as its first moment, and a time without an offset as UTC."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value.strip())
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    raise ValueError("not a date")


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError("not a time zone") from error
    return value


def _database_url(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in {"postgresql", "postgres"} or not parts.hostname or not parts.path.strip("/"):
            raise ValueError("not a PostgreSQL URL")
    return value


def _redis_url(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        url = value.get_secret_value()
        parts = urlsplit(url)
        plain = _PRINTABLE.fullmatch(url) is not None and (parts.port or 1) > 0
        if not plain or parts.scheme not in {"redis", "rediss"} or not parts.hostname:
            raise ValueError("not a Redis URL")
        if not re.fullmatch(r"(/[0-9]*)?", parts.path):
            raise ValueError("the path is the number of a database")
    return value


def _webhook(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        url = value.get_secret_value()
        parts = urlsplit(url)
        plain = _PRINTABLE.fullmatch(url) is not None and "@" not in parts.netloc and (parts.port or 1) > 0
        if not plain or parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("not a web address")
    return value


def _smtp(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        url = value.get_secret_value()
        parts = urlsplit(url)
        plain = _PRINTABLE.fullmatch(url) is not None and (parts.port or 1) > 0 and not parts.path.strip("/")
        if not plain or parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
            raise ValueError("not a mail server")
    return value


def _mail_address(value: str) -> str:
    if not _MAIL_ADDRESS.fullmatch(value):
        raise ValueError("not a mail address")
    return value


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("blank")
    return value.strip()


def _rate(value: str | None) -> str | None:
    if value is not None and not _RATE.fullmatch(value):
        raise ValueError("not a rate")
    return value


def _setting(default: Any, expected: str, description: str, **limits: Any) -> Any:
    """Declare a number; `title` says, after "must be", what a right value is."""
    return Field(default, title=expected, description=description, allow_inf_nan=False, **limits)


def _path(default: str, description: str) -> Any:
    return Field(Path(default), title="the path of a folder", description=description)


def _other(default: Any, expected: str, description: str) -> Any:
    return Field(default, title=expected, description=description)


_NOT_NEGATIVE = "a number, 0 or more"
_POSITIVE = "a number above 0"
_NAMES = "a list of names, separated by commas"
_RATE_FORM = "a number of requests in a time such as 600/minute (second, minute, hour or day), or nothing"
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_list)]
_PRINTABLE = re.compile(r"[!-~]+")
_MAIL_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+")
_RATE = re.compile(r"[1-9][0-9]{0,8}/(second|minute|hour|day)")
Rate = Annotated[str | None, BeforeValidator(_blank_is_none), AfterValidator(_rate)]
Port = Annotated[int, Field(ge=1, le=65535)]
MailAddress = Annotated[str, AfterValidator(_mail_address)]


class Settings(BaseSettings):
    """All settings, checked. Paths are absolute. Make one with `load_settings`, which explains what is wrong."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, case_sensitive=False)

    home: Path = _path(".footfall", "Footfall's state: database, archive, camera list, profiles, logs.")
    landing: Path = _path("landing", "The watched folder.")
    bind: Annotated[str, AfterValidator(_text)] = _other(
        "127.0.0.1", "an address of this machine", "The address at which the web pages listen."
    )
    dagster_port: Port = _other(3000, "a port number from 1 to 65535", "Dagster's web page.")
    api_port: Port = _other(8000, "a port number from 1 to 65535", "The quality page and the reports.")
    allowed_hosts: Words = _other((), _NAMES, "Names by which others call these pages, besides localhost.")
    api_keys_required: bool = _other(
        False, "true or false", "Keys are asked for even where only this machine can reach the pages: behind a proxy."
    )
    api_rate_limit: Rate = _other("600/minute", _RATE_FORM, "How often each key, or address without one, may read.")
    api_upload_limit: Rate = _other("60/minute", _RATE_FORM, "How often it may upload.")
    database_url: Annotated[SecretStr | None, BeforeValidator(_blank_is_none), AfterValidator(_database_url)] = _other(
        None,
        "a URL such as postgresql://user:password@host:5432/database",
        "An external PostgreSQL (15 or newer) in place of the embedded one.",
    )
    redis_url: Annotated[SecretStr | None, BeforeValidator(_blank_is_none), AfterValidator(_redis_url)] = _other(
        None,
        "a URL such as redis://:password@host:6379/0 or rediss://host",
        "A Redis that keeps answers of the API, in place of a table of the warehouse.",
    )
    settle_seconds: float = _setting(
        2.0, _NOT_NEGATIVE, "How long a file must stay as it is before it is taken as finished.", ge=0, le=3600
    )
    warm: bool = _other(
        True, "true or false", "Runs start, build and are noticed at once; false: in Dagster's own, slower ways."
    )
    keep_runs_days: Annotated[int, Field(ge=1, le=36500)] = _other(
        30, "a whole number of days, 1 or more", "How long Dagster's runs and their logs are kept."
    )
    min_free_gb: float = _setting(
        1.0,
        _NOT_NEGATIVE,
        "Gigabytes that loading leaves free on the disk; files wait where it could not.",
        ge=0,
        le=1e6,
    )
    api_max_upload_gb: float = _setting(
        2.0, _POSITIVE, "A larger file is not received over HTTP, in units of 2^30 bytes.", gt=0, le=1e6
    )

    # What people are told of, and where.
    silent_hours: Annotated[float | None, BeforeValidator(_blank_is_none)] = _setting(
        24.0, "a number above 0, or nothing", "For so long no file may arrive.", gt=0, le=100_000
    )
    alert_webhook: Annotated[SecretStr | None, BeforeValidator(_blank_is_none), AfterValidator(_webhook)] = _other(
        None, "a web address such as https://example.com/hook", "Where alerts are posted to."
    )
    alert_smtp: Annotated[SecretStr | None, BeforeValidator(_blank_is_none), AfterValidator(_smtp)] = _other(
        None,
        "a mail server such as smtp://user:password@host:587 or smtps://host",
        "The server by which alerts are mailed.",
    )
    alert_email_to: Annotated[tuple[MailAddress, ...], NoDecode, BeforeValidator(_list)] = _other(
        (), "a list of mail addresses, separated by commas", "Whom alerts are mailed to."
    )
    alert_email_from: MailAddress = _other("footfall@localhost", "a mail address", "Whom alerts are mailed from.")

    # What acts on loading.
    default_timezone: Annotated[str, AfterValidator(_zone)] = _other(
        "UTC", "the name of a time zone such as Europe/Berlin", "Zone of a camera that the camera list does not name."
    )
    date_order: DateOrderSetting = _other(
        "auto", "auto, DMY or MDY", "Day or month first, where a file does not tell by itself."
    )
    max_rejected_share: float = _setting(
        0.05, "a share from 0 to 1", "A file with a larger share of rejected rows is quarantined whole.", ge=0, le=1
    )
    max_interval_days: float = _setting(366.0, _POSITIVE, "A longer interval row is rejected.", gt=0, le=100_000)
    future_tolerance_hours: float = _setting(
        24.0, _NOT_NEGATIVE, "An event later than its file's arrival and this is rejected.", ge=0, le=1_000_000
    )
    earliest_event: Annotated[datetime, BeforeValidator(_instant)] = _other(
        datetime(2000, 1, 1, tzinfo=UTC), "a date such as 2000-01-01", "An earlier event is rejected."
    )

    # What acts on the models.
    max_session_hours: float = _setting(12.0, _POSITIVE, "A later exit does not close its entry.", gt=0, le=100_000)
    repeat_seconds: float = _setting(60.0, _NOT_NEGATIVE, "Same-type signals this close are one.", ge=0, le=1_000_000)
    visit_gap_minutes: float = _setting(30.0, _NOT_NEGATIVE, "Sessions this close are one visit.", ge=0, le=1_000_000)
    bounce_seconds: float = _setting(30.0, _NOT_NEGATIVE, "A shorter completed visit is a bounce.", ge=0, le=1_000_000)
    excluded_ids: Words = _other((), _NAMES, "Persons (staff) whose events are ignored.")
    min_confidence: Annotated[float | None, BeforeValidator(_blank_is_none)] = _setting(
        None, "a number from 0 to 1, or nothing", "Events below it are ignored.", ge=0, le=1
    )
    anonymous_ids: Words = _other(
        ("-1", "unknown", "anonymous"), _NAMES, "Person ids that stand for nobody in particular."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the environment before what the file gave (which `load_settings` passes as arguments); nothing else."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    @cached_property
    def loading_rules(self) -> LoadingRules:
        """The parameters that act on loading."""
        return LoadingRules(
            default_timezone=self.default_timezone,
            date_order=self.date_order,
            max_rejected_share=self.max_rejected_share,
            max_interval_days=self.max_interval_days,
            future_tolerance_hours=self.future_tolerance_hours,
            earliest_event=self.earliest_event,
        )

    @cached_property
    def model_parameters(self) -> dict[str, Any]:
        """The parameters that act on the models, as the table `raw.parameters` holds them."""
        return {
            "max_session_hours": self.max_session_hours,
            "repeat_seconds": self.repeat_seconds,
            "visit_gap_minutes": self.visit_gap_minutes,
            "bounce_seconds": self.bounce_seconds,
            "default_timezone": self.default_timezone,
            "excluded_ids": list(self.excluded_ids),
            "min_confidence": self.min_confidence,
            "anonymous_ids": list(self.anonymous_ids),
        }

    @property
    def external_url(self) -> str | None:
        """The external database's URL, password included, or None where the embedded server is used."""
        return self.database_url.get_secret_value() if self.database_url else None

    @property
    def answers_url(self) -> str | None:
        """The URL of the Redis for the API's answers, password included, or None where the warehouse keeps them."""
        return self.redis_url.get_secret_value() if self.redis_url else None

    @property
    def cameras_file(self) -> Path:
        """The camera list that the user edits."""
        return self.home / "cameras.csv"

    @property
    def profiles_folder(self) -> Path:
        """Where the user adds source profiles."""
        return self.home / "profiles"

    @property
    def dagster_home(self) -> Path:
        """Dagster's own folder: its configuration and what runs print."""
        return self.home / "dagster_home"

    @property
    def logs(self) -> Path:
        """What the parts of the stack write about themselves."""
        return self.home / "logs"

    @property
    def run_folder(self) -> Path:
        """Locks and the record of what is running."""
        return self.home / "run"

    @property
    def reports(self) -> Path:
        """Reports on files and Data Docs, as pages: the web page of ours serves this folder under /reports."""
        return self.home / "reports"

    @property
    def dbt_folder(self) -> Path:
        """What dbt writes: the parsed project and compiled SQL."""
        return self.home / "dbt"

    def environment(self) -> dict[str, str]:
        """Return what a child process needs to have the settings of this one, whatever folder it runs in.

        What is fixed at the start is told; the rest it reads itself, from this process's environment and settings file,
        so that a settings file that is edited while Footfall runs is heeded.
        """
        variables = {PREFIX + name.upper(): _as_text(getattr(self, name)) for name in FIXED_AT_START}
        if named := os.environ.get(f"{PREFIX}CONFIG"):
            variables[f"{PREFIX}CONFIG"] = os.path.abspath(named)  # noqa: PTH100 - a link is to stay one
        return variables


def _as_text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def load_settings(project: Path = PROJECT) -> Settings:
    """Return the settings of this process.

    `FOOTFALL_CONFIG` names another settings file than `footfall.toml` in `project`. A relative path in the
    environment is relative to the working folder, one in the file to the file, a default to `project`.
    Raises `SettingsProblem`.
    """
    named = os.environ.get(f"{PREFIX}CONFIG")
    file = Path(named) if named else project / "footfall.toml"
    from_file = _read(file) if named or file.exists() else {}
    _refuse_unknown(from_file, file)
    values = {name: project / Settings.model_fields[name].default for name in ("home", "landing")} | from_file
    for name in ("home", "landing"):
        if isinstance(values[name], str) and values[name]:
            values[name] = file.parent.absolute() / Path(values[name]).expanduser()
        if os.environ.get(PREFIX + name.upper()) == "":
            raise SettingsProblem(f"{PREFIX}{name.upper()} is empty; it must be the path of a folder.")
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise SettingsProblem(_sentence(error, file)) from None
    if (settings.alert_smtp is None) != (not settings.alert_email_to):
        raise SettingsProblem(
            "alert_smtp and alert_email_to go together: by which server alerts are mailed, and to whom."
        )
    return settings.model_copy(
        update={name: Path(os.path.abspath(getattr(settings, name).expanduser())) for name in ("home", "landing")}  # noqa: PTH100
    )


def machine_environment() -> dict[str, str]:
    """Return the environment of this process: children need what the machine says in it (PATH, HOME, locale)."""
    return dict(os.environ)


def set_environment(variables: Mapping[str, str]) -> None:
    """Set variables for libraries that take their settings from the environment alone (Dagster, dbt)."""
    os.environ.update(variables)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsProblem(f"The settings file {file} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsProblem(f"The settings file {file} is not valid TOML: {error}.") from None


def _refuse_unknown(from_file: Mapping[str, Any], file: Path) -> None:
    for name in from_file:
        if name not in Settings.model_fields:
            raise SettingsProblem(f"'{name}' in {file} is not a setting of Footfall{_advice(name)}")
    for variable in os.environ:
        name = variable.removeprefix(PREFIX)
        if name == variable or name in OTHER_NAMES or name.startswith(OTHER_PREFIXES):
            continue
        if name.lower() not in Settings.model_fields:
            raise SettingsProblem(f"{variable} is not a setting of Footfall{_advice(name.lower(), as_variable=True)}")


def _advice(name: str, *, as_variable: bool = False) -> str:
    near = difflib.get_close_matches(name, list(Settings.model_fields), n=1)
    if not near:
        return "; the README lists those that are."
    return f"; did you mean {PREFIX + near[0].upper() if as_variable else near[0]}?"


def _sentence(error: ValidationError, file: Path) -> str:
    fault = error.errors(include_url=False, include_context=False)[0]
    name = str(fault["loc"][0])
    variable = PREFIX + name.upper()
    field = Settings.model_fields[name]
    where = variable if variable in os.environ else f"'{name}' in {file}"
    value = os.environ.get(variable, fault["input"])
    # What may hold a password is not repeated to a screen or log.
    shown = "" if name in SECRETS else f" is {value!r}, but"
    return f"{where}{shown} must be {field.title}."
