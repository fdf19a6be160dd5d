"""Showing rows without telling who was in front of a camera: the ids of persons are personal data. Pure.

Which column of a row holds the person is a source profile's to say, and profiles change. So of a row that is shown as
an example nothing is left whole but the cell at fault.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from validation.checks import CheckOutcome
from validation.problems import Reject

_CELLS: Final = 40
# As `rejections` words what it finds in the id of a person.
_PERSON_VALUE: Final = re.compile(r"(the person id )'(.*)'( in column | from columns | given by )", re.DOTALL)
# As rows of tables are shown as samples.
_PERSON_COLUMN: Final = re.compile(r"(?<![^\s,])(person_id )([^,]*)")


def masked(reject: Reject, header: Sequence[str], delimiter: str) -> Reject:
    """Cut every cell of a rejected row but the one at fault to two characters: persons can be told from their ids."""
    is_of_person = _PERSON_VALUE.search(reject.sentence) is not None
    at_fault = set() if is_of_person or reject.column is None else {reject.column, *reject.column.split(", ")}
    try:
        cells = next(csv.reader([reject.raw_text], delimiter=delimiter), [])
    except csv.Error:
        cells = reject.raw_text.split(delimiter)
    names = [*header, *[""] * len(cells)]
    told = [cell if name in at_fault else _cut(cell) for name, cell in zip(names, cells[:_CELLS], strict=False)]
    return replace(reject, sentence=_without_person(reject.sentence), raw_text=delimiter.join(told))


def with_masked_samples(outcome: CheckOutcome) -> CheckOutcome:
    """Return an outcome whose samples tell no person."""
    return replace(outcome, sample=tuple(_without_person(text) for text in outcome.sample))


def _without_person(text: str) -> str:
    text = _PERSON_VALUE.sub(lambda found: f"{found[1]}'{_cut(found[2])}'{found[3]}", text)
    return _PERSON_COLUMN.sub(lambda found: f"{found[1]}{_cut(found[2])}", text)


def _cut(text: str) -> str:
    return text if len(text) <= 2 else f"{text[:2]}…"
