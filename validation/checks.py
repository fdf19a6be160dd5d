"""One judgement, whoever made it: Pandera on the rows of a file, dbt on the tables, Great Expectations on both.

Here are its shape and the policy: which failed check holds a data version back, and which only warns. Who judges what
stands in `row_checks` (rows), dbt_project (relations) and `expectations`; how Dagster hears of it in orchestration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Layer = Literal["rows", "relations", "expectations"]
Severity = Literal["error", "warning"]
Status = Literal["passed", "failed", "could_not_check"]

LAYERS: Final[dict[Layer, str]] = {
    "rows": "Rows on the way in (Pandera)",
    "relations": "Tables (dbt)",
    "expectations": "Expectations (Great Expectations)",
}

# The policy: what a failed check comes to. An error gates: the data version does not advance. A warning is told.
# A row that fails is set aside, and a file with too many of them is quarantined whole: neither stops other files.
_SEVERITY: Final[dict[Layer, Severity]] = {
    "rows": "warning",
    "relations": "error",
    "expectations": "warning",
}
_EXCEPTIONS: Final[dict[str, Severity]] = {
    "rows_add_up": "error",
}


def severity(layer: Layer, name: str) -> Severity:
    """Return what a failure of a check comes to."""
    return _EXCEPTIONS.get(name, _SEVERITY[layer])


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """What one check found about one table.

    `name` is stable and machine-readable, `title` what is demanded in plain words, `sentence` what was found.
    `checked` and `failed` count rows (or whatever `unit` says); None where nothing was counted. `sample` are some of
    those that failed, as text, hostile like everything that files hold. `link` leads to more. `file_id` is the one
    file that was judged; None where the whole table was.
    """

    name: str
    title: str
    schema: str
    table: str
    layer: Layer
    status: Status
    sentence: str
    checked: int | None = None
    failed: int | None = None
    unit: str = "rows"
    sample: tuple[str, ...] = ()
    link: str | None = None
    file_id: int | None = None

    @property
    def passed(self) -> bool:
        """Whether what is demanded was found: what could not be checked has not passed."""
        return self.status == "passed"

    @property
    def severity(self) -> Severity:
        """What it comes to if it has not passed."""
        return severity(self.layer, self.name)

    @property
    def gates(self) -> bool:
        """Whether it holds back the data version."""
        return self.severity == "error" and not self.passed

    @property
    def failed_share(self) -> float | None:
        """What failed, as a share of what was checked; None where it was not counted, or nothing was there."""
        return self.failed / self.checked if self.checked and self.failed is not None else None
