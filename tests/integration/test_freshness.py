"""What Dagster makes of the freshness policies of our marts, after real runs."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.definitions.freshness_evaluator import TimeWindowFreshnessPolicyEvaluator
from dagster._core.loader import LoadingContextForTest

from orchestration import places
from orchestration.assets.models import FRESH
from orchestration.daemon import daemons
from orchestration.definitions import build_definitions
from orchestration.jobs import AUDIT, INGEST
from orchestration.resources import Footfall
from tests.integration.orchestrating import run_job


def states(footfall: Footfall, instance: dg.DagsterInstance) -> Counter[FreshnessState]:
    """How many assets that have a policy are in which state."""
    graph = build_definitions(footfall).resolve_asset_graph()
    nodes = [node for node in graph.asset_nodes if node.freshness_policy_or_from_metadata is not None]
    evaluator = TimeWindowFreshnessPolicyEvaluator()

    async def evaluate() -> list[FreshnessState]:
        context: Any = LoadingContextForTest(instance)
        return await asyncio.gather(*(evaluator.evaluate_freshness(context, node) for node in nodes))

    return Counter(asyncio.run(evaluate()))


def test_the_tables_of_the_marts_have_the_policy_and_nothing_else(footfall: Footfall) -> None:
    graph = build_definitions(footfall).resolve_asset_graph()
    with_policy = {node.key for node in graph.asset_nodes if node.freshness_policy_or_from_metadata == FRESH}
    tables = {node.key for node in graph.asset_nodes if node.key.path[0] == "marts" and "table" in node.kinds}
    assert with_policy == tables
    assert dg.AssetKey(["marts", "site_daily"]) in tables
    assert dg.AssetKey(["marts", "kpis"]) not in tables


def test_marts_stay_fresh_without_new_files_and_are_not_when_the_nightly_audit_is_missed(
    footfall: Footfall, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(states(footfall, instance)) == {FreshnessState.UNKNOWN}
    assert run_job(footfall, instance, INGEST).success
    assert set(states(footfall, instance)) == {FreshnessState.PASS}
    module = "dagster._core.definitions.freshness_evaluator.get_current_timestamp"
    for hours, state in ((25, FreshnessState.PASS), (27, FreshnessState.FAIL)):
        now = time.time() + hours * 3600
        monkeypatch.setattr(module, lambda now=now: now)
        assert set(states(footfall, instance)) == {state}
    monkeypatch.undo()
    audit = run_job(footfall, instance, AUDIT)
    assert audit.success
    built = {event.asset_key for event in audit.all_events if event.is_step_materialization}
    graph = build_definitions(footfall).resolve_asset_graph()
    with_policy = {node.key for node in graph.asset_nodes if node.freshness_policy_or_from_metadata is not None}
    assert with_policy <= built, "nothing was new, and every one was built all the same"


def test_the_daemon_that_judges_freshness_is_among_ours() -> None:
    ours = yaml.safe_load((Path(places.__file__).parent / "dagster_home" / "dagster.yaml").read_text(encoding="utf-8"))
    overrides = {name: ours[name] for name in ("freshness", "sensors", "auto_materialize")}
    with dg.DagsterInstance.local_temp(overrides=overrides) as instance:
        assert "FRESHNESS_DAEMON" in {daemon.daemon_type() for daemon in daemons(instance)}
