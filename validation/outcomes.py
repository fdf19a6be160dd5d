"""What became of a file: the record that every load ends with, and its verdict in one sentence.

Plain values only. What decides the outcome lives in `loading`; longer accounts for people are made in `reports`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from validation.problems import CAUSES, FileProblem, Notice, Reject

State = Literal["loaded", "already_loaded", "quarantined", "retracted", "waiting", "gone"]


@dataclass(frozen=True, slots=True)
class Account:
    """Where the rows of a file went: rows_read = rows_loaded + rows_rejected + rows_duplicate + rows_held.

    Only a file that was quarantined whole holds rows, and such a file has none loaded.
    """

    rows_read: int
    rows_loaded: int = 0
    rows_rejected: int = 0
    rows_duplicate: int = 0
    rows_held: int = 0

    def __post_init__(self) -> None:
        accounted = self.rows_loaded + self.rows_rejected + self.rows_duplicate + self.rows_held
        if self.rows_read != accounted:
            raise ValueError(f"{self.rows_read} rows were read but {accounted} are accounted for: {self}")

    @property
    def rejected_share(self) -> float:
        """Rejected rows as a share of the rows read; 0 for a file without rows."""
        return self.rows_rejected / self.rows_read if self.rows_read else 0.0


@dataclass(frozen=True, slots=True)
class Detected:
    """How the file turned out to be written, and what besides the rules its rows depend on.

    `date_order` is None where no date in it depends on one. `profile_fingerprint` tells what the profile said;
    `local_zones` the zones that times without an offset were read in, by camera, where they depend on the camera (None:
    it was not read that far).
    """

    profile: str | None = None
    encoding: str | None = None
    compression: str | None = None
    delimiter: str | None = None
    line_ending: str | None = None
    date_order: str | None = None
    header: tuple[str, ...] = ()
    time_formats: Mapping[str, int] = field(default_factory=dict)
    profile_fingerprint: str | None = None
    local_zones: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a file as a whole cannot be used."""

    code: str
    sentence: str
    advice: str

    @classmethod
    def of(cls, problem: FileProblem) -> Problem:
        """Take over the account that an exception carries."""
        return cls(problem.code, problem.sentence, problem.advice)


@dataclass(frozen=True, slots=True)
class Earlier:
    """The load that brought in content which was dropped again. `site` is the site it was loaded for."""

    name: str
    site: str | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Original:
    """The file whose rejects file was dropped again, put right, as the ledger knows it.

    `date_order` is the order of its dates where its own rows decided it, else None.
    """

    file_id: int
    name: str
    site: str | None = None
    date_order: str | None = None


@dataclass(frozen=True, slots=True)
class Correction:
    """What a correction of a file did to the events.

    `events_kept` are the events of a retracted file that other loaded files also brought: they stay.
    """

    kind: Literal["retract", "release", "replay"]
    events_added: int = 0
    events_changed: int = 0
    events_removed: int = 0
    events_kept: int = 0

    @property
    def changes(self) -> str:
        """The same in words."""
        counts = {"new": self.events_added, "changed": self.events_changed, "taken back": self.events_removed}
        told = [f"{count:,} {what}" for what, count in counts.items() if count]
        return f"events: {', '.join(told)}" if told else "no event has changed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file that was dropped, or of one that was corrected (`correction`).

    `waiting`: it was still being written and is left for the next look. `gone`: it was no longer there. `name` is
    its name within the landing folder, fit to be shown. `first_rejects` are the first reasons, in file order;
    `reject_counts` counts all of them by code. `first_event_time` and `last_event_time` are the earliest and the latest
    time of the good rows, ends of intervals included. `repairs` is the file that it puts right, if it is a rejects
    file. `moved_to` is where a quarantined file lies now. `seconds` is what all of it took, `timed` what some stages of
    it took.
    """

    state: State
    name: str
    site: str | None = None
    size_bytes: int = 0
    sha256: str | None = None
    file_id: int | None = None
    batch_id: int | None = None
    arrived_at: datetime | None = None
    attempt: int = 1
    account: Account | None = None
    repairs: Original | None = None
    max_rejected_share: float | None = None
    first_event_time: datetime | None = None
    last_event_time: datetime | None = None
    detected: Detected = field(default_factory=Detected)
    reject_counts: Mapping[str, int] = field(default_factory=dict)
    first_rejects: tuple[Reject, ...] = ()
    notices: tuple[Notice, ...] = ()
    problem: Problem | None = None
    earlier: Earlier | None = None
    correction: Correction | None = None
    moved_to: Path | None = None
    seconds: float = 0.0
    timed: Mapping[str, float] = field(default_factory=dict, compare=False)

    @property
    def seconds_by_stage(self) -> dict[str, float]:
        """Where the seconds went: hash, read and validate as they were timed; load is all the rest."""
        return {**self.timed, "load": max(self.seconds - sum(self.timed.values()), 0.0)}

    @property
    def has_warnings(self) -> bool:
        """Whether there is something to look at although the file was loaded."""
        if self.account is not None and self.account.rows_rejected:
            return True
        return any(notice.code not in _NO_WARNINGS for notice in self.notices)

    @property
    def headline(self) -> str:
        """The verdict in two or three words."""
        match self.state:
            case "loaded":
                if self.correction is not None:
                    return "Released" if self.correction.kind == "release" else "Replayed"
                empty = self.account is None or not self.account.rows_read
                return "Usable, but empty" if empty else WITH_WARNINGS if self.has_warnings else USABLE
            case "already_loaded":
                return "Nothing new"
            case "quarantined":
                return "Not usable"
            case "retracted":
                return "Retracted"
            case "waiting":
                return "Not yet"
            case "gone":
                return "Nothing done"

    @property
    def sentence(self) -> str:
        """The verdict, for a manager, and what is behind it."""
        return with_remarks(self.verdict, self.remarks)

    @property
    def verdict(self) -> str:
        """The verdict in one sentence, figures only."""
        return f"{self.headline}: {self._told()}"

    @property
    def remarks(self) -> list[str]:
        """What the figures are due to: why most of the rejected rows were, and the first thing worth knowing.

        Each continues a sentence.
        """
        if self.state not in {"loaded", "quarantined"} or self.account is None:
            return []
        warnings = [notice.sentence for notice in self.notices if notice.code not in _NO_WARNINGS]
        told = [self._cause()] if self.reject_counts else []
        if warnings:
            first, _, _ = warnings[0].partition(". ")
            begins_a_sentence = first[:2].istitle()  # and not with a name in capitals
            told.append((first[:1].lower() if begins_a_sentence else first[:1]) + first[1:].removesuffix("."))
        if len(warnings) > 1:
            told.append(f"{len(warnings) - 1} more to know of")
        return told

    def _cause(self) -> str:
        counts = sorted(self.reject_counts.items(), key=lambda item: (-item[1], item[0]))
        (code, most), reasons = counts[0], sum(self.reject_counts.values())
        how = "" if most == reasons else "mostly " if 2 * most > reasons else "first of all "
        return f"rejected {how}for {CAUSES.get(code, code.replace('_', ' '))}"

    def _told(self) -> str:
        name = on_one_line(self.name)
        if self.repairs is not None:
            name += f" (repairs {on_one_line(self.repairs.name)})"
        match self.state:
            case "loaded":
                return self._loaded(name)
            case "already_loaded":
                return f"{name} {self._same_content()}; nothing was loaded twice."
            case "quarantined":
                return f"{name}{self._not_usable()}"
            case "retracted":
                return f"{name}{self._taken_back()}"
            case "waiting":
                return f"{name} was still being written and will be looked at again."
            case "gone":
                return f"{name} was no longer there."

    def _loaded(self, name: str) -> str:
        account = self.account or Account(0)
        if account.rows_read == 0:
            return f"{name} has a header and no rows."
        share = f" ({percent(account.rejected_share)})" if account.rows_rejected else ""
        changes = f"; {self.correction.changes}" if self.correction and self.correction.kind == "replay" else ""
        return (
            f"{name}, {account.rows_loaded:,} of {account.rows_read:,} rows loaded, "
            f"{account.rows_rejected:,} rejected{share}, {account.rows_duplicate:,} duplicates{changes}."
        )

    def _taken_back(self) -> str:
        done = self.correction
        if done is None:
            return " had been taken back before it left the landing folder."
        kept = f"{done.events_kept:,} that other files also brought stay" if done.events_kept else ""
        if not done.events_removed:
            return f", no event was taken back{f'; all {kept}' if kept else ': it had none'}."
        return f", {_events(done.events_removed)} taken back{f'; {kept}' if kept else ''}."

    def _same_content(self) -> str:
        if self.earlier is None:
            return "has content that is already loaded"
        when = f" on {moment(self.earlier.finished_at)}" if self.earlier.finished_at else ""
        where = ""
        if self.earlier.site != self.site:
            where = f" for site {on_one_line(self.earlier.site)}" if self.earlier.site else " for no site in particular"
        return f"has the same content as {on_one_line(self.earlier.name)}, loaded{when}{where}"

    def _not_usable(self) -> str:
        nothing = "Nothing was loaded."
        if self.correction is not None and self.correction.events_removed:
            nothing = f"{_events(self.correction.events_removed)} taken back."
        if self.problem is not None and self.problem.code != TOO_MANY_REJECTED:
            return f". {self.problem.sentence} {nothing}"
        account, allowed = self.account or Account(0), self.max_rejected_share or 0.0
        return (
            f", {account.rows_rejected:,} of {account.rows_read:,} rows rejected ({percent(account.rejected_share)}) "
            f"where at most {percent(allowed)} are allowed. {nothing}"
        )


# A camera need not be on the list; until there is one, none is.
# One export may be dropped day after day under one name.
# The order of dates of a file that is put right is known.
_NO_WARNINGS = {"unlisted_cameras", "same_name", "date_order_of_original"}

USABLE = "Usable"
WITH_WARNINGS = "Usable, with warnings"

TOO_MANY_REJECTED = "too_many_rejected_rows"
"""The code of the problem that quarantines a file which could be read."""


def _events(count: int) -> str:
    return "1 event was" if count == 1 else f"{count:,} events were"


def with_remarks(verdict: str, remarks: Sequence[str]) -> str:
    """Have remarks continue a verdict, whose full stop comes last."""
    return f"{'; '.join([verdict.removesuffix('.'), *remarks])}." if remarks else verdict


def percent(share: float) -> str:
    """Write a share for people: `0.7 %`, `12 %`; a very small one is not shown as none."""
    if 0 < share < 0.0005:
        return "under 0.1 %"
    text = f"{100 * share:.1f}".removesuffix(".0")
    if text == "100" and share < 1:
        return "over 99.9 %"
    return f"{text} %"


def moment(at: datetime) -> str:
    """Write an instant for people, in its own zone."""
    return f"{at:%Y-%m-%d %H:%M} {at.tzname() or ''}".rstrip()


def duration(length: timedelta) -> str:
    """Write a length of time for people, in its two largest units: `4 s`, `2 min 10 s`, `3 days 4 h`."""
    seconds = round(abs(length).total_seconds())
    if not seconds:
        return "under 1 s"
    parts = []
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min"), (1, "s")):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count:,} {'day' if count == 1 and unit == 'days' else unit}")
        elif parts:
            break
    return " ".join(parts[:2])


def on_one_line(text: str) -> str:
    """Make everything in hostile text visible that would break out of a line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
