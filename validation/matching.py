"""Which source profile fits a file's header, and which of its columns is which field.

What a profile may say is judged in `profiles`; what is done with the cells is decided in `cleaning`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from validation.problems import FileProblem
from validation.profiles import REQUIRED, Columns, Constant, FieldName, Profile, Template

_SHOWN_COLUMNS = 40
_SHOWN_ALIASES = 3


@dataclass(frozen=True, slots=True)
class Source:
    """Where a field's text comes from in a given file.

    The text is literals[0] + cell of columns[0] + literals[1] + …; `columns` are header names as written.
    """

    columns: tuple[str, ...]
    literals: tuple[str, ...]
    is_template: bool = False

    @property
    def column(self) -> str | None:
        """The one column that is this field, or None for a template or a constant."""
        return self.columns[0] if self.columns and not self.is_template else None


@dataclass(frozen=True, slots=True)
class Match:
    """A header, the profile that fits it, and where each field that the file has comes from."""

    profile: Profile
    header: tuple[str, ...]
    sources: Mapping[FieldName, Source]

    @property
    def extra_columns(self) -> tuple[str, ...]:
        """The columns that are no field: what they hold is kept in `attributes`."""
        taken = {source.column for source in self.sources.values()}
        return tuple(column for column in self.header if column not in taken)


def normalise(name: str) -> str:
    """Take from a header name what does not count: case, white space, dots, dashes, underscores."""
    return re.sub(r"[\s._\-]+", "", name).casefold()


class _Header:
    """Looks names up in a file's header."""

    def __init__(self, header: Sequence[str]) -> None:
        self.names = tuple(header)
        self._by_key: dict[str, list[str]] = {}
        for name in self.names:
            self._by_key.setdefault(normalise(name), []).append(name)

    def has(self, name: str) -> bool:
        return normalise(name) in self._by_key

    def find(self, name: str, field: str) -> str | None:
        """Find the column of this name: as written, else the one that differs in nothing that counts."""
        if name in self.names:
            return name
        found = self._by_key.get(normalise(name), [])
        if len(found) > 1:
            raise _ambiguous(field, found)
        return found[0] if found else None

    def find_any(self, names: Iterable[str], field: str) -> str | None:
        """Find the column that is this field, by the field's own name or else by one of these."""
        own = self.find(field, field)
        if own is not None:
            return own
        keys = {normalise(name) for name in names}
        found = [name for name in self.names if normalise(name) in keys]
        if len(found) > 1:
            raise _ambiguous(field, found)
        return found[0] if found else None


def _quoted(names: Iterable[str]) -> str:
    names = list(names)
    shown = ", ".join(f"'{name[:80]}'" for name in names[:_SHOWN_COLUMNS])
    return shown + (f" and {len(names) - _SHOWN_COLUMNS} more" if len(names) > _SHOWN_COLUMNS else "")


def _ambiguous(field: str, columns: Sequence[str]) -> FileProblem:
    return FileProblem(
        "ambiguous_columns",
        f"The columns {_quoted(columns)} could each be the {field}.",
        f"Name the right one '{field}', or add a source profile that says which one it is.",
    )


def _resolve(source: Columns | Template | Constant, field: FieldName, header: _Header) -> Source | list[str]:
    """Where the field comes from in this header, or the names that are missing for it."""
    if isinstance(source, Constant):
        return Source((), (source.text,))
    if isinstance(source, Template):
        columns = [(name, header.find(name, field)) for name in source.names]
        missing = [name for name, found in columns if found is None]
        return missing or Source(tuple(found for _, found in columns if found), source.literals, is_template=True)
    if source.in_order:
        column = next((found for name in source.names if (found := header.find(name, field)) is not None), None)
    else:
        column = header.find_any(source.names, field)
    if column is not None:
        return Source((column,), ("", ""))
    first = field if not source.in_order else source.names[0]
    others = [name for name in source.names if name != first]
    told = ", ".join(others[:_SHOWN_ALIASES]) + (", …" if len(others) > _SHOWN_ALIASES else "")
    return [f"{first} (or {told})" if others else first]


@dataclass
class _Trial:
    """How well one profile fits one header."""

    profile: Profile
    sources: dict[FieldName, Source]
    missing: list[str]
    needed: int
    problem: FileProblem | None = None


def _try(profile: Profile, header: _Header) -> _Trial:
    trial = _Trial(profile, {}, [], len(profile.recognised_by) + len(REQUIRED))
    for alternatives in profile.recognised_by:
        if not any(header.has(name) for name in alternatives):
            trial.missing.append(" or ".join(alternatives))
    sources: dict[FieldName, Columns | Template | Constant] = dict(profile.fields_)
    for field, source in sources.items():
        try:
            found = _resolve(source, field, header)
        except FileProblem as problem:
            trial.problem = trial.problem or problem
            continue
        if isinstance(found, Source):
            trial.sources[field] = found
        elif field == "event_type" and profile.rows == "interval":
            continue
        elif field in REQUIRED or (field == "end_time" and profile.rows == "interval"):
            trial.missing.extend(name for name in found if name not in trial.missing)
    if profile.rows == "interval":
        trial.sources.setdefault("event_type", Source((), ("appearance",)))
    return trial


def match(header: Sequence[str], profiles: Iterable[Profile]) -> Match:
    """Find the profile that fits this header best: the one recognised by the most headers.

    Raises FileProblem: `no_profile_fits` (with the columns found, those missing and the nearest profile),
    `several_profiles_fit` for a tie, `ambiguous_columns` where two columns could be one field.
    """
    columns = _Header(header)
    trials = [_try(profile, columns) for profile in profiles]
    fitting = [trial for trial in trials if not trial.missing]
    if not fitting:
        raise _no_fit(columns, trials)
    most = max(len(trial.profile.recognised_by) for trial in fitting)
    best = [trial for trial in fitting if len(trial.profile.recognised_by) == most]
    if len(best) > 1:
        raise FileProblem(
            "several_profiles_fit",
            f"The source profiles {_quoted(trial.profile.name for trial in best)} fit this file equally well.",
            "Add to one of them, under recognised_by, a column that only its files have.",
        )
    if best[0].problem is not None:
        raise best[0].problem
    return Match(best[0].profile, columns.names, best[0].sources)


def _no_fit(header: _Header, trials: Sequence[_Trial]) -> FileProblem:
    sentence = f"No source profile fits this file. Its columns are {_quoted(header.names)}."
    if trials:
        nearest = min(trials, key=lambda trial: (len(trial.missing), -trial.needed, trial.profile.name))
        sentence += (
            f" The nearest profile is '{nearest.profile.name}', for which is missing: {'; '.join(nearest.missing)}."
        )
    return FileProblem(
        "no_profile_fits",
        sentence,
        "Rename the columns, or add a source profile (a YAML file) that says which column is which.",
    )
