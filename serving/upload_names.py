"""Which names an uploaded file and its site's folder may have. The landing folder's own rules are in `validation`.

These are stricter: whoever drops a file has a disk to look at, whoever uploads one has only our answer.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from serving.api.problems import FieldError, Problem
from serving.rendering import visible

ENDINGS: Final = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
LONGEST: Final = 200  # bytes in UTF-8; the numbers that tell namesakes apart need some, too
# Where the landing folder keeps what could not be used.
_REJECTED: Final = "rejected"
# Control characters, halves of characters, and what breaks lines.
_REFUSED_KINDS: Final = {"Cc", "Cs", "Zl", "Zp"}
# What turns the direction of writing round, so that a name reads as another.
_TURNING: Final = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
_EXPECTED_NAME: Final = (
    f"a plain file name of at most {LONGEST} bytes that ends in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}"
)
_EXPECTED_SITE: Final = f"the name of a site, without / and \\, of at most {LONGEST} bytes"


def checked_name(name: str) -> str:
    """Return the name of an upload as it was given. Raises `Problem` 400 for one that cannot be a file's here."""
    problem = _fault(name)
    if problem is None and name.startswith("~"):
        problem = "It begins with ~, as names of unfinished files do."
    if problem is None and not name.lower().endswith(ENDINGS):
        problem = "It does not end like a file of events."
    if problem is not None:
        raise _refused("name", "This file cannot be received under this name", name, problem, _EXPECTED_NAME)
    return name


def checked_site(site_id: str) -> str:
    """Return the name of a site's folder, its letters composed (NFC). Raises `Problem` 400 for one that cannot be."""
    site_id = unicodedata.normalize("NFC", site_id)
    problem = _fault(site_id)
    if problem is None and site_id.lower() == _REJECTED:
        problem = "A folder of this name holds what could not be used."
    if problem is not None:
        raise _refused("site_id", "There can be no such site", site_id, problem, _EXPECTED_SITE)
    return site_id


def _fault(name: str) -> str | None:
    """Say what keeps a name from being one plain part of a path, if anything does."""
    if not name.strip():
        return "It is empty."
    if "/" in name or "\\" in name:
        return "It has a / or \\ in it: it must be a name, not a path."
    if any(unicodedata.category(c) in _REFUSED_KINDS or unicodedata.bidirectional(c) in _TURNING for c in name):
        return "It has control characters in it."
    if name.startswith("."):
        return "It begins with a dot, as names of hidden files do."
    if len(name.encode()) > LONGEST:
        return f"It is {len(name.encode()):,} bytes long."
    return None


def _refused(field: str, title: str, name: str, problem: str, expected: str) -> Problem:
    shown = visible(name[:LONGEST])
    return Problem(400, title, f"“{shown}”: {problem}", errors=[FieldError(field, problem, expected)])
