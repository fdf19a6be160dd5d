"""What was found about a table, as Dagster's check results: the only place where one becomes the other."""

from __future__ import annotations

from typing import Any

import dagster as dg

from validation.checks import LAYERS, CheckOutcome
from validation.outcomes import percent
from validation.reports import prose


def asset_of(outcome: CheckOutcome) -> dg.AssetKey:
    """Return the asset that an outcome is about: schema and table."""
    return dg.AssetKey([outcome.schema, outcome.table])


def check_result(outcome: CheckOutcome) -> dg.AssetCheckResult:
    """Translate an outcome. One that could not check has not passed, and says so."""
    return dg.AssetCheckResult(
        asset_key=asset_of(outcome),
        check_name=outcome.name,
        passed=outcome.passed,
        severity=dg.AssetCheckSeverity.ERROR if outcome.severity == "error" else dg.AssetCheckSeverity.WARN,
        description=_sentence(outcome),
        metadata=_facts(outcome),
    )


def _sentence(outcome: CheckOutcome) -> str:
    return f"Could not be checked. {outcome.sentence}" if outcome.status == "could_not_check" else outcome.sentence


def _facts(outcome: CheckOutcome) -> dict[str, Any]:
    """Return its figures by name; what is not known is left out."""
    facts: dict[str, Any] = {
        "demand": outcome.title,
        "status": outcome.status.replace("_", " "),
        "judged_by": LAYERS[outcome.layer],
    }
    if outcome.checked is not None:
        facts[f"{outcome.unit}_checked"] = outcome.checked
    if outcome.failed is not None:
        facts[f"{outcome.unit}_failed"] = outcome.failed
    if outcome.failed_share is not None:
        facts["failed_share"] = percent(outcome.failed_share)
    if outcome.sample:
        facts["sample"] = dg.MetadataValue.md("\n".join(f"- {prose(one)}" for one in outcome.sample))
    if outcome.link is not None:
        facts["more"] = dg.MetadataValue.url(outcome.link)
    return facts
