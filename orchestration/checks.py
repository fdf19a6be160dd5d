"""What was found about an asset, as Dagster's check results: the only place where one becomes the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg


@dataclass(frozen=True)
class CheckOutcome:
    """One judgement: `sentence` says in plain words what was found; `gates` whether what follows must not go on.

    `facts` are figures by name (numbers, texts).
    """

    name: str
    passed: bool
    sentence: str
    gates: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


def check_result(outcome: CheckOutcome, asset: dg.AssetKey) -> dg.AssetCheckResult:
    """Translate an outcome: what gates is an error, what does not a warning."""
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=outcome.name,
        passed=outcome.passed,
        severity=dg.AssetCheckSeverity.ERROR if outcome.gates else dg.AssetCheckSeverity.WARN,
        description=outcome.sentence,
        metadata=dict(outcome.facts),
    )
