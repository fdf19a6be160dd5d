"""Which loaded files may come out otherwise today: their recorded inputs against the settings of now. Looks only.

A setting counts only where what is recorded of the file does not prove that its change cannot matter: a zone, where the
file has times without an offset at that camera; the order of dates, where nothing in the file decides it; a limit that
is wider now, where it had rejected a row. Names, sites and capacities of cameras are the models' affair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from validation.cameras import Camera
from validation.deciding import too_many_rejected
from validation.finding import LedgerFile, files_where
from validation.matching import Match, match
from validation.outcomes import on_one_line
from validation.problems import FileProblem
from validation.profiles import Profile
from validation.row_zones import moved_zones
from validation.rules import LoadingRules
from validation.timestamps import DATE_ORDER_AMBIGUOUS

_SHOWN = 5
_BY_ZONES = "default_timezone"  # which is told by the zones of the file's cameras


@dataclass(frozen=True, slots=True)
class OutdatedFile:
    """A file that ought to be replayed, and why, in words (each reason a clause without a full stop)."""

    file: LedgerFile
    reasons: tuple[str, ...]


def outdated_files(
    connection: psycopg.Connection[Any],
    rules: LoadingRules,
    profiles: Sequence[Profile],
    cameras: Sequence[Camera],
) -> list[OutdatedFile]:
    """Find the files whose rows may come out otherwise under these settings, in the order in which they first came.

    Those are loaded files, and files that were loaded until a replay put them into quarantine. A file that was loaded
    before its inputs were recorded counts as outdated, once: its replay records them.
    """
    # Only what had rows has a batch.
    condition = "state = 'loaded' or state = 'quarantined' and batch_id is not null"
    files = {file.file_id: file for file in files_where(connection, condition)}
    columns = "file_id, state, released, profile, profile_fingerprint, header, rules, local_zones, reject_counts"
    query = f"select {columns}, notices, rows_read, rows_rejected from raw.files where {condition} order by file_id"  # noqa: S608
    with connection.cursor(row_factory=dict_row) as cursor:
        recorded = cursor.execute(query.encode()).fetchall()
    fits = _Fits(profiles)
    found = ((row["file_id"], tuple(_reasons(row, fits, rules, cameras))) for row in recorded)
    return [OutdatedFile(files[file_id], reasons) for file_id, reasons in found if reasons and file_id in files]


class _Fits:
    """Which profile fits a header today, looked up once for all files that share it."""

    def __init__(self, profiles: Sequence[Profile]) -> None:
        self._profiles = profiles
        self._known: dict[tuple[str, ...], Match | None] = {}

    def of(self, header: tuple[str, ...]) -> Match | None:
        if header not in self._known:
            try:
                self._known[header] = match(header, self._profiles)
            except FileProblem:
                self._known[header] = None
        return self._known[header]


def _reasons(row: Mapping[str, Any], fits: _Fits, now: LoadingRules, cameras: Sequence[Camera]) -> Iterator[str]:
    is_loaded = row["state"] == "loaded"
    if is_loaded and row["profile_fingerprint"] is None:
        yield "it was loaded before it was recorded what its rows depend on"
        return
    found = fits.of(tuple(row["header"] or ()))
    if (found and found.profile.fingerprint) != row["profile_fingerprint"]:
        yield _other_profile(row["profile"], found)
        return
    yield from _other_zones(row["local_zones"] or {}, cameras, now.default_timezone)
    before = _recorded_rules(row["rules"])
    for name in LoadingRules.__dataclass_fields__:
        values = getattr(before, name), getattr(now, name)
        if values[0] != values[1] and (_matters(name, row, found, before, now) if is_loaded else name != _BY_ZONES):
            yield f"{name} was {_in_words(values[0])}, is {_in_words(values[1])}"


def _recorded_rules(recorded: Mapping[str, Any]) -> LoadingRules:
    """Read the rules that a file was judged by; one that was not known then stood at its default."""
    values = {name: value for name, value in recorded.items() if name in LoadingRules.__dataclass_fields__}
    return LoadingRules(**{**values, "earliest_event": datetime.fromisoformat(values["earliest_event"])})


def _other_profile(before: str | None, found: Match | None) -> str:
    if found is None:
        return f"source profile '{before}' does not fit it any more, nor does another"
    if found.profile.name == before:
        return f"source profile '{before}' has changed"
    return f"source profile '{found.profile.name}' fits it now, it was " + (f"'{before}'" if before else "none")


def _other_zones(used: Mapping[str, str], cameras: Sequence[Camera], default: str) -> Iterator[str]:
    moved: dict[tuple[str, str], list[str]] = {}
    for camera, then, now in moved_zones(used, cameras, default):
        name = "others that no list names" if camera is None else f"'{on_one_line(camera)}'"
        moved.setdefault((then, now), []).append(name)
    for (then, now), names in moved.items():
        more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
        told = f"{', '.join(names[:_SHOWN])}{more}"
        if len(names) == 1:
            yield f"camera {told} is in time zone {now} now, it was in {then}"
        else:
            yield f"cameras {told} are in time zone {now} now, they were in {then}"


def _matters(name: str, row: Mapping[str, Any], found: Match | None, before: LoadingRules, now: LoadingRules) -> bool:
    """Whether the change of a rule may change the rows of a file that is loaded."""

    def narrowed(is_wider: bool, code: str) -> bool:
        # A limit that is wider now changes nothing where it had rejected no row.
        return not is_wider or code in row["reject_counts"]

    match name:
        case _ if name == _BY_ZONES:
            return False
        case "date_order":
            undecided = any(notice["code"] == DATE_ORDER_AMBIGUOUS for notice in row["notices"])
            return undecided and (before.date_order == "MDY") != (now.date_order == "MDY")
        case "max_rejected_share":
            return not row["released"] and too_many_rejected(row["rows_rejected"], row["rows_read"], now)
        case "max_interval_days":
            has_ends = found is not None and "end_time" in found.sources
            return has_ends and narrowed(now.max_interval_days > before.max_interval_days, "interval_too_long")
        case "future_tolerance_hours":
            return narrowed(now.future_tolerance_hours > before.future_tolerance_hours, "timestamp_out_of_range")
        case "earliest_event":
            return narrowed(now.earliest_event < before.earliest_event, "timestamp_out_of_range")
        case _:
            return True


def _in_words(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    return f"{value:g}" if isinstance(value, float) else str(value)
