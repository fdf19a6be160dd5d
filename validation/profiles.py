"""Source profiles: what an export format is recognised by, and which column is which field.

A profile is a YAML file, shipped in the folder beside this module or added by a user; no code belongs to one. This
module reads profiles and judges them. Which of them fits a file is found in `matching`, and what is done with the cells
is decided in `cleaning`.

The keys of a profile:

    name, description
    recognised_by      headers that must be there (a list within the list: any one of these)
    fields             our field -> where it comes from:
                         Start Time                  the column of that name
                         [Start Time, Started]       the first of these columns that is there
                         {any_of: [time, datetime]}  whichever is there; two of them are an error, unless one bears
                                                     the field's own name
                         "{floor}-{zone}"            a template of several columns (the quotes are needed)
                         {constant: lobby}           the same for every row
    timestamp_formats  strptime formats, tried before the usual ones
    timezone           zone of times without an offset (otherwise the camera's)
    event_words        the file's word -> entry, exit, appearance or other
    rows               `point`: a row is one instant; `interval`: a row carries start and end; left out: its word tells
"""

from __future__ import annotations

import difflib
import json
import string
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from validation.events import EventType, word_key
from validation.time_formats import compile_format
from validation.zones import is_zone

FieldName = Literal[
    "timestamp", "person_id", "camera_id", "event_type", "end_time", "zone", "confidence", "age", "age_group", "gender"
]
FIELDS: tuple[FieldName, ...] = get_args(FieldName)
REQUIRED: tuple[FieldName, ...] = ("timestamp", "person_id", "camera_id", "event_type")
SHIPPED = Path(__file__).parent / "profiles"


class ProfileProblem(Exception):
    """A profile cannot be used: which file, which key, and what would be right."""

    def __init__(self, path: Path, key: str, sentence: str) -> None:
        where = f"'{path}', key '{key}'" if key else f"'{path}'"
        super().__init__(f"Source profile {where}: {sentence}")
        self.path = path
        self.key = key
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Columns:
    """A field comes from one of these columns; `in_order` tells whether the first that is there wins."""

    names: tuple[str, ...]
    in_order: bool


@dataclass(frozen=True, slots=True)
class Template:
    """A field is put together: literals[0] + column[0] + literals[1] + column[1] + … + literals[-1]."""

    names: tuple[str, ...]
    literals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Constant:
    """A field is the same for every row."""

    text: str


def _words(value: object, what: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) and item.strip() for item in value):
        raise ValueError(f"{what} must be a list of column names")
    return tuple(value)


def _template(text: str) -> Template:
    names: list[str] = []
    literals = [""]
    for literal, name, spec, conversion in string.Formatter().parse(text):
        literals[-1] += literal
        if name is None:
            continue
        if not name.strip() or spec or conversion:
            raise ValueError(f"the template '{text}' must name a column in each pair of braces, as in '{{floor}}'")
        names.append(name)
        literals.append("")
    if not names:
        raise ValueError(f"the template '{text}' names no column")
    return Template(tuple(names), tuple(literals))


def _source(value: object) -> Columns | Template | Constant:
    """One value under `fields`, as the docstring of this module describes it."""
    if isinstance(value, Columns | Template | Constant):
        return value
    if isinstance(value, str) and value.strip():
        return _template(value) if "{" in value or "}" in value else Columns((value,), in_order=True)
    if isinstance(value, list):
        return Columns(_words(value, "this"), in_order=True)
    if isinstance(value, dict) and len(value) == 1:
        key, content = next(iter(value.items()))
        if key == "any_of":
            return Columns(_words(content, "any_of"), in_order=False)
        if key == "constant" and isinstance(content, str) and content.strip():
            return Constant(content.strip())
        if content == "":
            raise ValueError(f'a template must stand in quotes: "{{{key}}}"')
    raise ValueError(
        "expected a column name, a list of column names, {any_of: [...]}, {constant: ...} or a quoted template"
    )


FieldSource = Annotated[Columns | Template | Constant, BeforeValidator(_source)]


def _headers(value: object) -> tuple[tuple[str, ...], ...]:
    """Read `recognised_by`: each entry is a header, or a list of which one must be there."""
    if not isinstance(value, list):
        raise ValueError("expected a list of column names")
    return tuple((item,) if isinstance(item, str) and item.strip() else _words(item, "each entry") for item in value)


class Profile(BaseModel):
    """One export format."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")]
    description: Annotated[str, Field(min_length=1)]
    recognised_by: Annotated[tuple[tuple[str, ...], ...], BeforeValidator(_headers)] = ()
    fields_: Annotated[dict[FieldName, FieldSource], Field(alias="fields")]
    timestamp_formats: tuple[str, ...] = ()
    timezone: str | None = None
    event_words: dict[str, EventType] = {}
    rows: Literal["point", "interval"] | None = None

    @property
    def fingerprint(self) -> str:
        """Hash of all that it says of files; only its description does not count."""
        told = self.model_dump(mode="json", exclude={"description"}, exclude_defaults=True)
        return sha256(json.dumps(told).encode()).hexdigest()

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, zone: str | None) -> str | None:
        if zone is not None and not is_zone(zone):
            raise ValueError(f"'{zone}' is no time zone; expected a name such as Europe/Paris or UTC")
        return zone

    @field_validator("timestamp_formats")
    @classmethod
    def _usable_formats(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        for text in formats:
            compile_format(text)
        return formats

    @field_validator("event_words")
    @classmethod
    def _distinct_words(cls, words: dict[str, EventType]) -> dict[str, EventType]:
        keyed: dict[str, EventType] = {}
        for word, event_type in words.items():
            if keyed.setdefault(word_key(word), event_type) != event_type:
                raise ValueError(f"'{word}' is given two meanings (case, spaces, '_' and '-' do not count)")
        return keyed

    @model_validator(mode="after")
    def _complete(self) -> Profile:
        for field in REQUIRED:
            if field not in self.fields_ and not (field == "event_type" and self.rows == "interval"):
                raise ValueError(f"fields must say where {field} comes from")
        if self.rows == "interval" and "end_time" not in self.fields_:
            raise ValueError("rows are intervals, so fields must say where end_time comes from")
        if self.rows == "point" and "end_time" in self.fields_:
            raise ValueError("rows are points, so there is no end_time; leave it out, or leave out rows")
        for field in ("timestamp", "end_time"):
            if isinstance(self.fields_.get(field), Constant):
                raise ValueError(f"{field} cannot be the same for every row")
        return self


class _Loader(yaml.BaseLoader):
    """Every scalar is text (`1`, `no` and `on` are words of files, not numbers or truth values); no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"'{key}' stands there twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


def _parse(path: Path) -> Profile:
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_Loader)  # noqa: S506 - a BaseLoader: text only
    except (OSError, UnicodeDecodeError) as problem:
        raise ProfileProblem(path, "", f"it cannot be read: {problem}.") from None
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        reason = getattr(problem, "problem", None) or str(problem)
        raise ProfileProblem(
            path,
            "",
            f'it is no valid YAML: {where}{reason}. A template must stand in quotes, as in "{{floor}}-{{zone}}".',
        ) from None
    if not isinstance(content, dict):
        raise ProfileProblem(path, "", "expected keys such as name, description and fields.")
    try:
        return Profile.model_validate(content)
    except ValidationError as problem:
        raise ProfileProblem(path, *_in_words(problem.errors()[0])) from None


def _in_words(error: Any) -> tuple[str, str]:
    """Give the key and the sentence of one of pydantic's errors."""
    location = [str(part) for part in error["loc"] if part not in {"[key]", "function-before"}]
    key = ".".join(dict.fromkeys(location))
    kind, message = error["type"], str(error["msg"]).removeprefix("Value error, ")
    if kind == "missing":
        return key, "it is missing."
    unknown_field = len(location) > 1 and location[0] == "fields" and kind == "literal_error"
    if kind == "extra_forbidden" or unknown_field:
        keys = [info.alias or name for name, info in Profile.model_fields.items()]
        names: list[str] = list(FIELDS) if unknown_field else keys
        close = difflib.get_close_matches(location[-1], names, 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        return key, f"there is no such key.{hint} Known are {', '.join(names)}."
    return key, f"{message}."


def load_profiles(user_folder: Path | None) -> list[Profile]:
    """Read the shipped profiles and the user's (`*.yml`, `*.yaml`); a user's replaces a shipped one of its name.

    Raises ProfileProblem for a file that is no usable profile, and for one name in two files of a folder.
    """
    profiles: dict[str, Profile] = {}
    for folder in (SHIPPED, user_folder):
        if folder is None or not folder.is_dir():
            continue
        seen: dict[str, Path] = {}
        for path in sorted(p for p in folder.iterdir() if p.suffix in {".yml", ".yaml"} and p.is_file()):
            profile = _parse(path)
            if profile.name in seen:
                raise ProfileProblem(path, "name", f"'{profile.name}' is the name of '{seen[profile.name]}' too.")
            seen[profile.name] = path
            profiles[profile.name] = profile
    return list(profiles.values())
