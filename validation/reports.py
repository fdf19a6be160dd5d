"""Outcomes as text for people: a report in Markdown, tables for a run's page, the lines of a rejects file. Pure.

What a file holds is hostile. In Markdown it stands in code spans, where nothing is a tag, a link or a table's edge.
In a rejects file, which is opened in spreadsheets, the text of a row is not changed by a character, but it stands
between « and », so that no cell begins with what a spreadsheet takes for a formula.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from validation.outcomes import Account, Outcome, moment, on_one_line, percent
from validation.problems import Reject

REJECTS_HEADER = ("row", "verdict", "columns", "codes", "reasons", "the row as it stands in the file", "file")
HEADER_VERDICT, NOT_JUDGED = "header", "not judged"
DELIMITER_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
# The text of a row with one of these is not what stands in the file, and must not be taken for it.
_NOT_AS_IT_STANDS = {"not_text", "record_too_long", "not_between_marks"}
_SHOWN = 120
_SHOWN_REASONS = 10
_SHOWN_ZONES = 5

ADVICE = {
    "missing_value": "Fill in the value, or leave the row out.",
    "timestamp_unreadable": "Write the time as 2024-03-11 14:05:00; a source profile can name another format.",
    "timestamp_too_coarse": "Export the column as text: a spreadsheet has rounded the number, and the time is gone.",
    "timestamp_out_of_range": "Check the unit of the time (seconds or milliseconds) and the clock of the camera.",
    "interval_negative": "Check the start and the end; they may have been exchanged.",
    "interval_too_long": "Check the end; the limit is the setting max_interval_days.",
    "id_too_long": "Check that the column is the right one; persons may have 100 characters, cameras 50.",
    "control_characters": "Remove characters that cannot be seen (line breaks, tabs) from the id.",
    "wrong_field_count": "Put quotation marks around values that hold the delimiter, and look for missing ones.",
    "unclosed_quote": "Close the quotation mark, or double it where it is meant as a character.",
    "record_too_long": "Look for a quotation mark that is missing somewhere before this row.",
    "not_between_marks": "Write « before the row and » behind it.",
    "several_rows_in_a_cell": "Put each row on a line of its own, between « and ».",
    "not_text": "Export the file again, as UTF-8; it may have been damaged on its way.",
}
_ENCODINGS = {"utf-8": "UTF-8", "utf-16": "UTF-16", "windows-1252": "Windows-1252"}
_ORDERS = {"DMY": "day first", "MDY": "month first"}


def report(outcome: Outcome) -> str:
    """Write the whole account of one file, as Markdown."""
    parts = [f"# {outcome.headline}: {code(outcome.name)}", prose(outcome.sentence), about(outcome)]
    if outcome.problem is not None and outcome.account is not None:
        parts.append(f"## What is wrong\n\n{prose(outcome.problem.sentence)}")
    if outcome.account is not None:
        parts.append(f"## Where the rows went\n\n{account_table(outcome.account)}")
    if outcome.reject_counts:
        parts.append(f"## Why rows were rejected\n\n{reasons_table(outcome)}")
    if outcome.first_rejects:
        parts.append(f"### The first of them\n\n{rejects_table(outcome.first_rejects)}")
    if outcome.notices:
        parts.append("## Worth knowing\n\n" + "\n".join(f"- {prose(notice.sentence)}" for notice in outcome.notices))
    if outcome.detected.encoding is not None:
        parts.append(f"## How the file is written\n\n{detected_table(outcome)}")
    if outcome.state == "quarantined":
        parts.append(f"## What to do\n\n{_what_to_do(outcome)}")
    return "\n\n".join(parts) + "\n"


def account_table(account: Account) -> str:
    """Write the account as a table."""
    rows = [("read", account.rows_read, "")]
    if account.rows_held:
        rows.append(("held back (good rows of a file that was not loaded)", account.rows_held, ""))
    else:
        rows.append(("loaded", account.rows_loaded, ""))
    rows.append(("rejected", account.rows_rejected, percent(account.rejected_share) if account.rows_rejected else ""))
    rows.append(("duplicates (of an event that is counted already)", account.rows_duplicate, ""))
    return table(("rows", "count", "share"), [(name, f"{count:,}", share) for name, count, share in rows], "lrr")


def reasons_table(outcome: Outcome) -> str:
    """List how often each reason occurs, the commonest first, with an example and what to do about it."""
    examples: dict[str, Reject] = {}
    for reject in outcome.first_rejects:
        examples.setdefault(reject.code, reject)
    commonest = sorted(outcome.reject_counts.items(), key=lambda item: (-item[1], item[0]))
    rows = []
    for reason, count in commonest[:_SHOWN_REASONS]:
        example = examples.get(reason)
        rows.append(
            (
                reason.replace("_", " "),
                f"{count:,}",
                prose(example.sentence) if example else "",
                ADVICE.get(reason, ""),
            )
        )
    return table(("reason", "rows", "for example", "what helps"), rows, "lrll")


def rejects_table(rejects: Sequence[Reject]) -> str:
    """List rejected rows, one line per reason."""
    return table(
        ("row", "column", "reason", "the row"),
        [
            (str(reject.row_number), code(reject.column or ""), prose(reject.sentence), code(reject.raw_text))
            for reject in rejects
        ],
        "rlll",
    )


def detected_table(outcome: Outcome) -> str:
    """List what was found out about the file."""
    detected = outcome.detected
    rows = [("source profile", code(detected.profile) if detected.profile else "none fits")]
    if detected.encoding:
        packed = f", compressed ({detected.compression})" if detected.compression else ""
        rows.append(("encoding", _ENCODINGS.get(detected.encoding, detected.encoding) + packed))
    if detected.delimiter:
        rows.append(("delimiter", DELIMITER_NAMES.get(detected.delimiter, code(detected.delimiter))))
    if detected.line_ending:
        rows.append(("line ends", detected.line_ending))
    if detected.date_order:
        rows.append(("dates", f"{_ORDERS.get(detected.date_order, detected.date_order)}; {_how_sure(outcome)}"))
    if detected.time_formats:
        formats = (f"{prose(name)} ({count:,})" for name, count in detected.time_formats.items())
        rows.append(("times", ", ".join(formats)))
    if detected.local_zones:
        zones = Counter(detected.local_zones.values()).most_common(_SHOWN_ZONES)
        told = (f"{code(zone)} ({count:,} {'camera' if count == 1 else 'cameras'})" for zone, count in zones)
        rows.append(("time zone of times without an offset", ", ".join(told)))
    rows.append(("columns", ", ".join(code(name) for name in detected.header[:40])))
    return table(("", ""), rows, "ll")


def _how_sure(outcome: Outcome) -> str:
    """Say whether the file itself tells the order of day and month."""
    for notice in outcome.notices:
        if notice.code == "date_order_ambiguous":
            return (
                f"taken from the settings, for nothing in the file tells ({notice.rows:,} rows could be read both ways)"
            )
        if notice.code == "date_order_differs":
            return "its own values tell, other than the settings"
    return "its own values tell"


def about(outcome: Outcome) -> str:
    """Name size, site and arrival, in brackets."""
    facts = [f"{outcome.size_bytes:,} bytes"]
    if outcome.site is not None:
        facts.append(f"site {code(outcome.site)}")
    if outcome.arrived_at is not None:
        facts.append(f"arrived {moment(outcome.arrived_at)}")
    return f"({', '.join(facts)}.)"


def _what_to_do(outcome: Outcome) -> str:
    steps = []
    if outcome.problem is not None and outcome.problem.advice:
        steps.append(prose(outcome.problem.advice))
    if outcome.moved_to is not None:
        steps.append(f"The file now lies in {code(str(outcome.moved_to.parent))} as {code(outcome.moved_to.name)}.")
    if outcome.account is not None:
        steps.append(
            "Correct the rows at the source, or in the rejects file beside this report: it lists every row with its "
            "reasons, the text of the row between « and », and can be put into the landing folder as it is."
        )
    if outcome.correction is not None and outcome.correction.kind == "replay":
        steps.append(
            "It was judged under the settings of today. If it is they that are wrong, correct them and replay it."
        )
    steps.append(
        "Put the corrected file into the landing folder again, under any name. Nothing of this file is loaded, so "
        "nothing will be counted twice."
    )
    return "\n".join(f"{number}. {step}" for number, step in enumerate(steps, start=1))


def header_line(header_text: str, delimiter: str, sha256: str | None) -> tuple[str, ...]:
    """Write the first line of a rejects file: what is needed to read the rows below when it is dropped again."""
    return (
        "",
        HEADER_VERDICT,
        "",
        DELIMITER_NAMES.get(delimiter) or between_marks(delimiter),
        "Leave this line as it is: with it the rows below can be read when this file is dropped again.",
        between_marks(header_text),
        _file(sha256),
    )


def rejects_line(row_number: int, rejects: Sequence[Reject], raw_text: str, sha256: str | None) -> tuple[str, ...]:
    """Write one row of a file (with this content) as a line of its rejects file: its reasons, if any, and its text.

    A text that is not the row as it stands in the file ends in … and lacks the closing », so that it is not taken for
    one when the rejects file is dropped again.
    """
    columns = dict.fromkeys(reject.column for reject in rejects if reject.column)
    codes = dict.fromkeys(reject.code for reject in rejects)
    text = between_marks(raw_text)
    if not _NOT_AS_IT_STANDS.isdisjoint(codes):
        text = f"«{raw_text.removeprefix('«').removesuffix('…')}…"
    return (
        str(row_number),
        "rejected" if rejects else "held back",
        between_marks(", ".join(columns)) if columns else "",
        ", ".join(codes),
        harmless(" ".join(reject.sentence for reject in rejects)),
        text,
        _file(sha256),
    )


def problem_line(outcome: Outcome) -> tuple[str, ...]:
    """Write the one line of the rejects file of a file whose rows could not be judged."""
    problem = outcome.problem
    if problem is None:
        raise ValueError("The outcome names no problem.")
    reason = harmless(f"{problem.sentence} {problem.advice}")
    return ("", NOT_JUDGED, "", problem.code, reason, "", _file(outcome.sha256))


def _file(sha256: str | None) -> str:
    """Name a content so that no spreadsheet takes it for a number."""
    return f"sha256:{sha256}" if sha256 else ""


def between_marks(text: str) -> str:
    """Put text from the file, unchanged, between « and »."""
    return f"«{text}»"


def harmless(text: str) -> str:
    """Put a sentence of ours between marks should it begin as a formula does."""
    begins_so = text.lstrip()[:1] in {"=", "+", "-", "@"} or text.lstrip(" ")[:1] in {"\t", "\r"}
    return between_marks(text) if begins_so else text


def code(text: str) -> str:
    """Make a code span of hostile text, fit for a table: one line, bounded, nothing in it is markup."""
    if not text:
        return ""
    line = on_one_line(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
    longest = max((len(run) for run in re.findall(r"`+", line)), default=0)
    fence = "`" * (longest + 1)
    space = " " if line.startswith(("`", " ")) or line.endswith(("`", " ")) else ""
    # A vertical bar ends a table's cell even in a code span, unless it is escaped.
    return f"{fence}{space}{line}{space}{fence}".replace("|", "\\|")


def prose(text: str) -> str:
    """Make plain in a sentence that quotes hostile text what would be markup, a tag or a link."""
    line = on_one_line(text).lstrip().replace("&", "&amp;").replace("<", "&lt;")
    line = re.sub(r"([\\`*\[\]|~])", r"\\\1", line)
    line = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\_", line)
    # At the beginning of a line they would make a heading, a quotation or a list.
    line = re.sub(r"^([#>+=-])", r"\\\1", line)
    line = re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", line)
    line = re.sub(r"www\.", "www&#46;", line, flags=re.IGNORECASE)
    return line.replace("://", "&#58;//").replace("@", "&#64;")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], sides: str) -> str:
    """Write a table; `sides` says of each column whether it stands left (l) or right (r)."""
    rule = ["---:" if side == "r" else ":---" for side in sides]
    return "\n".join(f"| {' | '.join(map(_within_a_cell, cells))} |" for cells in [header, rule, *rows])


def _within_a_cell(text: str) -> str:
    """Keep a cell's vertical bars in it: backslashes right before the one that escapes a bar pair up with it."""
    return re.sub(r"(?<!\\)((?:\\\\)+)\|", r"\1\\|", text)
