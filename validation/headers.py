"""Comparing the headers of two files of one source: which columns are new, missing, or renamed. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

from validation.events import word_key

_ALIKE: Final = 0.6


def compare_headers(
    before: Iterable[str], now: Iterable[str]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Return new, missing and (as pairs, the old name first) probably renamed columns; case and spaces do not count."""
    old = {word_key(name) or name: name for name in before}
    new = {word_key(name) or name: name for name in now}
    gone, come = [key for key in old if key not in new], [key for key in new if key not in old]
    renamed = []
    for key in list(gone):
        alike = difflib.get_close_matches(key, come, n=1, cutoff=_ALIKE)
        if alike:
            renamed.append((old[key], new[alike[0]]))
            gone.remove(key)
            come.remove(alike[0])
    return tuple(new[key] for key in come), tuple(old[key] for key in gone), tuple(renamed)
