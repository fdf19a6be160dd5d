"""The pages that show what Great Expectations found: its Data Docs, fit to be read without a network.

Great Expectations renders each result; the page around it is ours. Its own needs scripts and styles from five places of
the internet, without which its tables stay empty. Outcomes and results come from `expecting`.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from validation.checks import CheckOutcome

if TYPE_CHECKING:
    from great_expectations.core import ExpectationValidationResult

INDEX: Final = "index.html"
_PART: Final = ".part"
_SUITES: Final = {"raw": "New events", "marts": "Marts"}
_VERDICTS: Final = {"passed": "holds", "failed": "fails", "could_not_check": "could not be checked"}


def page_of(outcome: CheckOutcome) -> str:
    """Return the page on which an outcome is shown, relative to the folder."""
    return f"{outcome.schema}.html#{outcome.name}"


def write(folder: Path, judged: Sequence[tuple[CheckOutcome, ExpectationValidationResult | None]]) -> None:
    """Write the pages of one run into a folder, all of them or none, in place of what is there."""
    from great_expectations.render.view import DefaultJinjaPageView

    view = DefaultJinjaPageView()
    page = view.env.from_string(_PAGE)
    outcomes = [outcome for outcome, _ in judged]
    about = {"style": _STYLE, "verdicts": _VERDICTS, "suites": _SUITES}
    pages = {INDEX: page.render(title="Expectations", outcomes=outcomes, **about)}
    for suite, title in _SUITES.items():
        shown = [(outcome, _rendered(result)) for outcome, result in judged if outcome.schema == suite]
        pages[f"{suite}.html"] = page.render(title=f"Expectations: {title}", shown=shown, **about)
    part = folder.with_name(f".{folder.name}{_PART}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name, text in pages.items():
        (part / name).write_text(text, encoding="utf-8", errors="replace")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def prune_docs(folder: Path, keep: int) -> int:
    """Remove all but the newest `keep` of the runs whose pages lie in a folder; returns how many that were."""
    if not folder.is_dir():
        return 0
    runs = [entry for entry in folder.iterdir() if entry.is_dir() and not entry.is_symlink()]
    newest_first = sorted(runs, key=lambda entry: entry.stat().st_mtime, reverse=True)
    for run in newest_first[keep:]:
        shutil.rmtree(run, ignore_errors=True)
    return len(newest_first[keep:])
