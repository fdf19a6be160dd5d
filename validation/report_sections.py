"""The parts of a file's report, in Markdown, each with the picture that a page shows beside it. Pure.

Tables and spans that the short report of a load has as well are `reports`'; the pictures are `pictures`'; what is told,
`report_facts`. How parts become a text or a page is `report_pages`' business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote

from validation import pictures
from validation.checks import LAYERS
from validation.outcomes import duration, moment, percent
from validation.pictures import Picture
from validation.report_facts import CameraLine, CheckLine, FileReport, Related
from validation.reports import ADVICE, about, account_table, code, detected_table, prose, rejects_table, table

_SHOWN_REASONS: Final = 10
_SHOWN_CAMERAS: Final = 50
_SHOWN_NAMES: Final = 20
_SHOWN_SILENCES: Final = 20
# Fewer files make no trend.
_FILES_OF_A_TREND: Final = 3

STATES: Final = {
    "loading": "being loaded",
    "loaded": "loaded",
    "quarantined": "not usable",
    "failed": "not loaded",
    "retracted": "retracted",
}


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report: its Markdown, and what only the page has. `folded`: the page shows it when asked."""

    title: str
    text: str
    picture: Picture | None = None
    folded: bool = False


def sections(report: FileReport, root: str) -> list[Section]:
    """Write the report part by part. `root` is the address of the folder of all reports, seen from the reader."""
    parts = [
        _account(report),
        _repairs(report, root),
        _what_to_do(report, root),
        _failed_checks(report, root),
        _rejects(report),
        _samples(report, root),
        _drift(report),
        _coverage(report),
        _clocks(report),
        _marts(report),
        _notices(report),
        _cameras(report),
        _passed_checks(report),
        _detected(report),
        _drops(report),
    ]
    return [part for part in parts if part is not None]


def introduction(report: FileReport) -> str:
    """Write what stands above all parts: the verdict, and what file it is about."""
    parts = [prose(report.verdict), about(report.outcome)]
    if report.released and report.state == "loaded":
        parts.append("It was released by hand although more of its rows were rejected than are allowed.")
    return "\n\n".join(parts)


def _account(report: FileReport) -> Section | None:
    account = report.outcome.account
    if account is None:
        return None
    return Section("Where the rows went", account_table(account), pictures.account_bar(account))


def _repairs(report: FileReport, root: str) -> Section | None:
    lines = []
    if report.repairs is not None:
        lines.append(f"- This file repairs {_related(report.repairs, root)}.")
    lines += [f"- It is repaired by {_related(one, root)}." for one in report.repaired_by]
    return Section("Repairs", "\n".join(lines)) if lines else None


def _related(one: Related, root: str) -> str:
    when = f", {moment(one.finished_at)}" if one.finished_at else ""
    name = f"[{code(one.name)}]({root}/files/{one.file_id}/index.html)" if one.has_page else code(one.name)
    return f"{name} ({STATES[one.state]}{when})"


def _what_to_do(report: FileReport, root: str) -> Section | None:
    outcome, steps = report.outcome, []
    if report.state == "failed":
        steps.append("Look at the run's log, and drop the file again once the cause is gone.")
    elif report.reasons:
        steps.append("See below why rows were rejected, and what helps.")
        if report.has_rejects_file:
            steps.append(
                f"Open [the rejected rows]({_rejects_file(report, root)}) in a spreadsheet or an editor. "
                "Correct the text between « and »; what stands beside it says why the row was rejected."
            )
            steps.append("Save it as CSV and drop it into the landing folder. No row of it counts twice.")
        else:
            steps.append("Correct the rows at the source and drop the file again, under any name. No row counts twice.")
    elif report.state == "quarantined":
        steps.append("Correct the file at the source and drop it into the landing folder again, under any name.")
    if report.state == "quarantined" and outcome.problem is not None:
        steps.insert(0, prose(outcome.problem.sentence))
    if report.state == "retracted":
        steps.append("Its events are taken back. Drop the file again to have it judged afresh.")
    if not steps:
        return None
    return Section("What to do", "\n".join(f"{number}. {step}" for number, step in enumerate(steps, start=1)))


def failing(report: FileReport) -> list[CheckLine]:
    """Return the checks that did not pass."""
    return [line for line in report.checks if not line.outcome.passed]


def _failed_checks(report: FileReport, root: str) -> Section | None:
    if not report.checks:
        return None
    failed = failing(report)
    passed = len(report.checks) - len(failed)
    if not failed:
        return Section("Checks", f"All {passed:,} checks passed.")
    rows = []
    for line in failed:
        outcome = line.outcome
        told = prose(outcome.sentence)
        if outcome.sample and outcome.layer != "rows":  # rejected rows are shown by themselves
            told += " For example: " + "; ".join(code(one) for one in outcome.sample[:3]) + "."
        if outcome.link:
            told += f" [More]({_address(outcome.link, root)})"
        found = {"failed": "failed", "could_not_check": "could not be checked"}.get(outcome.status, outcome.status)
        rows.append((prose(outcome.title), f"{found} ({outcome.severity})", told, _trend(line)))
    text = table(("what is demanded", "result", "what was found", "of late"), rows, "llll")
    return Section("Checks that did not pass", f"{len(failed):,} of {len(report.checks):,} checks.\n\n{text}")


def _trend(line: CheckLine) -> str:
    since = line.failing_since
    if line.judged_in <= 1:
        return "" if line.outcome.passed else "checked for the first time"
    told = f"passed in {line.passed_in:,} of the last {line.judged_in:,}"
    return f"{told}; failing since {code(since.name)} on {since.arrived_at:%Y-%m-%d}" if since else told


def _address(link: str, root: str) -> str:
    """Write the address of a page in the folder of all reports, or of one elsewhere."""
    safe = quote(link, safe="/:?&=%._-#")
    return safe if safe.startswith(("http://", "https://")) else f"{root}/{safe.lstrip('/')}"


def _trend_picture(report: FileReport) -> Picture | None:
    judged = [one for one in report.earlier if one.rejected_share is not None]
    if len(judged) < _FILES_OF_A_TREND:
        return None
    return pictures.reject_trend(list(reversed(judged)), report.outcome.max_rejected_share)


def _passed_checks(report: FileReport) -> Section | None:
    passed = [line for line in report.checks if line.outcome.passed]
    if not passed:
        return None
    rows = [
        (
            LAYERS[line.outcome.layer],
            code(f"{line.outcome.schema}.{line.outcome.table}"),
            prose(line.outcome.title),
            prose(line.outcome.sentence),
            _trend(line),
        )
        for line in passed
    ]
    return Section(
        f"Checks that passed ({len(passed):,})",
        table(("who checks", "table", "what is demanded", "what was found", "of late"), rows, "lllll"),
        folded=True,
    )


def _rejects(report: FileReport) -> Section | None:
    if not report.reasons:
        return None
    read = report.outcome.account.rows_read if report.outcome.account is not None else 0
    rows = []
    for reason in report.reasons[:_SHOWN_REASONS]:
        first = ", ".join(str(number) for number in reason.first_rows)
        more = " …" if reason.rows > len(reason.first_rows) else ""
        rows.append(
            (
                reason.code.replace("_", " "),
                f"{reason.rows:,}",
                percent(reason.rows / read) if read else "",
                first + more,
                ", ".join(code(column) for column in reason.columns),
                ADVICE.get(reason.code, ""),
            )
        )
    text = table(("reason", "rows", "of all", "first in rows", "columns", "what helps"), rows, "lrrlll")
    text += "\n\nA row with two reasons counts in both."
    return Section("Why rows were rejected", text, _trend_picture(report))


def _samples(report: FileReport, root: str) -> Section | None:
    if not report.samples:
        return None
    text = "Every cell but the one at fault is cut to two characters, for persons can be told from their ids"
    text += f"; [the rejected rows]({_rejects_file(report, root)}) are whole." if report.has_rejects_file else "."
    return Section("Some of the rejected rows", f"{text}\n\n{rejects_table(report.samples)}", folded=True)


def _rejects_file(report: FileReport, root: str) -> str:
    return f"{root}/files/{report.file_id}/rejects.csv"


def _drift(report: FileReport) -> Section | None:
    drift = report.drift
    if drift.compared_with is None:
        return Section("Compared with earlier files", "It is the first file of its source that could be compared.")
    before = code(drift.compared_with.name)
    lines = [f"- Column {code(old)} is now called {code(new)}, it seems." for old, new in drift.renamed_columns]
    lines += [f"- New column: {code(name)}." for name in drift.new_columns[:_SHOWN_NAMES]]
    lines += [f"- Column that is missing: {code(name)}." for name in drift.missing_columns[:_SHOWN_NAMES]]
    if drift.new_cameras:
        count = len(drift.new_cameras)
        what = "A camera that" if count == 1 else f"{count:,} cameras that"
        lines.append(f"- {what} no earlier file told of: {_names(drift.new_cameras)}.")
    if drift.new_words:
        files = "file" if drift.files_read == 1 else f"{drift.files_read:,} files"
        lines.append(f"- Event words that the {files} before it did not have: {_names(drift.new_words)}.")
    if drift.is_none:
        what = "columns" if drift.new_cameras is None else "columns, cameras and event words"
        return Section("Compared with earlier files", f"The same {what} as {before} and those before it.")
    return Section("Compared with earlier files", f"Columns are compared with {before}.\n\n" + "\n".join(lines))


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN_NAMES:,} more" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(code(name) for name in names[:_SHOWN_NAMES]) + more


def _coverage(report: FileReport) -> Section | None:
    if report.first_event is None or report.last_event is None or report.lag is None:
        return None
    span = duration(report.last_event - report.first_event)
    lines = [f"- From {moment(report.first_event)} to {moment(report.last_event)}: {span}."]
    if report.lag > timedelta():
        late = f"- The newest event was {duration(report.lag)} old when the file arrived"
        usual = f"; usually that is {duration(report.usual_lag)}" if report.usual_lag is not None else ""
        lines.append(f"{late}{usual}.")
    events = report.events
    if report.state == "loaded":
        lines += _silences(report)
    if not events.bars:
        return Section("Time covered", "\n".join(lines))
    return Section("Time covered", "\n".join(lines), pictures.events_chart(events.bars, events.unit))


def _silences(report: FileReport) -> Iterator[str]:
    silences = report.events.silences
    if silences is None:
        yield f"- Whether a camera was silent cannot be told: {report.events.silences_unknown}."
    elif not silences:
        yield "- No camera was silent in an hour in which it usually has events: same weekday, of 6 weeks before."
    else:
        for one in silences[:_SHOWN_SILENCES]:
            yield (
                f"- Camera {code(one.camera_id)} was silent from {_clock(one.start)} to {_clock(one.end)}, where it "
                f"usually has {one.usual_events:,.0f} events an hour."
            )
        if len(silences) > _SHOWN_SILENCES:
            yield f"- … and {len(silences) - _SHOWN_SILENCES:,} more silences."


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def _clocks(report: FileReport) -> Section | None:
    if not report.events.cameras:
        return None
    ahead = report.ahead
    if not ahead:
        return Section("Clocks", "No sign of clock skew: no event is later than the file's arrival.")
    lines = []
    for camera, by in ahead[:_SHOWN_NAMES]:
        line = f"- The clock of {code(camera.camera_id)} is ahead by {duration(by)} at least: "
        line += f"its newest event is of {moment(camera.last)}."
        hours = round(by / timedelta(hours=1))
        if hours and abs(by - timedelta(hours=hours)) < timedelta(minutes=10):
            line += " That is close to whole hours: is its time zone right?"
        lines.append(line)
    if len(ahead) > _SHOWN_NAMES:
        lines.append(f"- … and {len(ahead) - _SHOWN_NAMES:,} more cameras.")
    return Section("Clocks", "\n".join(lines))


def _marts(report: FileReport) -> Section | None:
    publication = report.publication
    if publication is None:
        return None
    if publication.version is None:
        lines = [f"- {publication.sentence[:1].upper()}{prose(publication.sentence[1:].rstrip('.'))}."]
    else:
        at = moment(publication.published_at) if publication.published_at else ""
        lines = [f"- Data version {publication.version:,}, published {at}."]
    changes = {"new or changed": publication.events, "taken back": publication.taken_back}
    told = [f"{count:,} {what}" for what, count in changes.items() if count]
    lines.append(f"- Events: {', '.join(told) if told else 'none changed'}.")
    events = report.events
    if events.rows:
        hours = "1 hour" if events.hours == 1 else f"{events.hours:,} hours"
        lines.append(f"- Events of {events.persons:,} persons at {len(events.cameras):,} cameras, in {hours}.")
    if (links := events.links) is not None:
        lines.append(
            f"- Sessions: {links.sessions:,}; without exit {links.without_exit:,}, still open {links.still_open:,}; "
            f"exits without entry {links.unmatched_exits:,}."
        )
    return Section("In the marts", "\n".join(lines))


def _cameras(report: FileReport) -> Section | None:
    cameras = report.events.cameras
    if not cameras:
        return None
    text = table(
        (
            "camera",
            "events",
            "first",
            "last",
            "longest gap",
            "usual gap",
            "sessions",
            "without exit",
            "still open",
            "exits without entry",
        ),
        [_camera(camera) for camera in cameras[:_SHOWN_CAMERAS]],
        "lrrrlrrrrr",
    )
    if len(cameras) > _SHOWN_CAMERAS:
        text += f"\n\n… and {len(cameras) - _SHOWN_CAMERAS:,} more, with fewer events."
    return Section("Cameras", text, folded=len(cameras) > 10)


def _camera(camera: CameraLine) -> tuple[str, ...]:
    gap = ""
    if camera.gap_from is not None and camera.gap_to is not None:
        gap = f"{duration(camera.gap_to - camera.gap_from)} from {_clock(camera.gap_from)}"
    links = camera.links
    counts = (links.sessions, links.without_exit, links.still_open, links.unmatched_exits) if links else ()
    return (
        code(camera.camera_id),
        f"{camera.events:,}",
        _clock(camera.first),
        _clock(camera.last),
        gap,
        duration(camera.usual_gap) if camera.usual_gap is not None else "",
        *([f"{count:,}" for count in counts] or ["", "", "", ""]),
    )


def _notices(report: FileReport) -> Section | None:
    lines = [f"- {prose(notice.sentence)}" for notice in report.outcome.notices]
    return Section("Worth knowing", "\n".join(lines)) if lines else None


def _detected(report: FileReport) -> Section | None:
    if report.outcome.detected.encoding is None:
        return None
    return Section("How the file is written", detected_table(report.outcome))


def _drops(report: FileReport) -> Section | None:
    if not report.drops:
        return None
    said = {"already_loaded": "nothing new"}
    lines = [
        f"- {moment(drop.arrived_at)}: {code(drop.path)}"
        f"{f' ({said.get(drop.outcome, STATES.get(drop.outcome, drop.outcome))})' if drop.outcome else ''}"
        for drop in report.drops
    ]
    return Section("When it was dropped", "\n".join(lines))
