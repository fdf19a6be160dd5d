"""The dbt models as assets: their names, groups, owners and columns, and the one op that builds them.

What a model computes is in dbt_project; how dbt is called in `dbt_running`.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

import dagster as dg
import psycopg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtProject, dbt_assets
from dagster_dbt.asset_utils import get_checks_on_sources_upstream_of_selected_assets
from dagster_dbt.core.dbt_cli_event import DbtCoreCliEventMessage
from psycopg import sql

from orchestration import dbt_running
from orchestration.assets.relations import SKIPPED, Tests
from orchestration.assets.selecting import BuildModels, selection
from orchestration.assets.stages import Stages
from orchestration.checks import check_result
from orchestration.data_version import newest_version, version_sentence
from orchestration.dbt_running import DbtProblem
from orchestration.event_log import EventLog
from orchestration.launcher import begin_work
from orchestration.resources import Footfall
from validation import check_log
from validation.checks import CheckOutcome

POOL: Final = "dbt"
OP_NAME: Final = "build_models"
# The nightly audit builds every mart, new data or none, and may take a while: one that is older was missed out, and may
# lack what has arrived. That nothing arrives is no fault of a mart but an alert. A view is as fresh as what it reads.
FRESH: Final = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=26))
# Sources that are no assets of their own: bookkeeping of the load, written in the same transaction as the events.
_PART_OF_EVENTS: Final = {"batches", "duplicates", "retracted_events"}


class Translator(DagsterDbtTranslator):
    """How dbt's nodes appear as assets: schema and name as the key, the folder (layer) as the group."""

    def __init__(self) -> None:
        super().__init__(
            DagsterDbtTranslatorSettings(
                enable_asset_checks=True,
                enable_source_tests_as_checks=True,
                enable_duplicate_source_asset_keys=True,
                enable_source_metadata=False,
            )
        )

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        """Describe one node: group by layer, kinds by what it becomes in the database, an owner."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        node = self.get_resource_props(manifest, unique_id)
        if node["resource_type"] == "source":
            table = "events" if node["name"] in _PART_OF_EVENTS else node["name"]
            return spec.replace_attributes(key=dg.AssetKey([node["schema"], table]), group_name="raw")
        layer = node["fqn"][1] if len(node["fqn"]) > 2 else node["schema"]
        shape = "view" if node["config"].get("materialized") == "view" else "table"
        fresh = FRESH if layer == "marts" and shape == "table" else None
        return spec.replace_attributes(
            key=dg.AssetKey([node["schema"], node["name"]]),
            group_name=layer,
            owners=spec.owners or ["team:analytics"],
            kinds={"dbt", "postgres", shape},
            freshness_policy=fresh,
        )


def build_models_asset(manifest: Mapping[str, Any]) -> dg.AssetsDefinition:
    """Return the asset of all models in a parsed project."""
    translator = Translator()

    @dbt_assets(manifest=manifest, dagster_dbt_translator=translator, name=OP_NAME, pool=POOL)
    def build_models(
        context: dg.AssetExecutionContext, config: BuildModels, footfall: dg.ResourceParam[Footfall]
    ) -> Iterator[Any]:
        begin_work(context.instance, context.run_id)
        listener = footfall.listener(context.log)
        events = EventLog(footfall.settings.logs)
        dbt = footfall.dbt
        with footfall.warehouse.connect("transformer", autocommit=True) as connection:
            before = newest_version(connection)
            why_none = "this run was of hand-picked models" if context.is_subset else "nothing changed"
            what = selection(context, config, manifest, translator, connection=connection, project_state=dbt.state)
            stages = Stages()
            tests, outcomes = Tests(manifest, translator, dbt.target / "compiled"), list[CheckOutcome]()
            try:
                with footfall.interruptible(context):
                    for event in dbt.build(footfall.warehouse, what, quiet=footfall.quiet):
                        stages.hear(event)
                        if (outcome := _outcome(event, context, tests, connection)) is not None:
                            outcomes.append(outcome)
                            yield check_result(outcome)
                        for result in _results(event, context, manifest, translator):
                            yield stages.told_with(_with_row_count(result, manifest, connection))
                        match event["info"]["name"]:
                            case "LogModelResult":
                                listener.on_model(event["data"]["node_info"]["node_name"])
                            case dbt_running.SAID:
                                listener.on_note(event["info"]["msg"])
                                if event["data"].get("node_info", {}).get("node_name") == "data_version":
                                    why_none = "see above"
            except DbtProblem as problem:
                listener.on_note(version_sentence(before, newest_version(connection), "a step or a check failed"))
                events.build_failed(str(problem), context.run_id)
                raise dg.Failure(str(problem), allow_retries=False) from None
            finally:
                with footfall.warehouse.connect("loader") as loader:
                    check_log.record(loader, context.run_id, outcomes)
            after = newest_version(connection)
            listener.on_note(version_sentence(before, after, why_none))
            if after is not None and after != before:
                events.published(after, stages.seconds, context.run_id)

    return build_models


def _outcome(
    event: Mapping[str, Any], context: dg.AssetExecutionContext, tests: Tests, connection: psycopg.Connection[Any]
) -> CheckOutcome | None:
    """Return what a check found that this run has; None for any other event of dbt."""
    key = tests.key_of(event)
    if key is None:
        return None
    upstream = get_checks_on_sources_upstream_of_selected_assets(context.assets_def, context.selected_asset_keys)
    return tests.outcome(event, key, connection) if key in {*context.selected_asset_check_keys, *upstream} else None


def _results(
    event: Mapping[str, Any], context: dg.AssetExecutionContext, manifest: Mapping[str, Any], translator: Translator
) -> Iterator[Any]:
    """Translate an event about a model; what nobody picked but was built on the way is a bare materialization."""
    node = manifest["nodes"].get(event["data"].get("node_info", {}).get("unique_id"))
    if node is None or node["resource_type"] == "test" or event["info"]["name"] == SKIPPED:
        return
    message = DbtCoreCliEventMessage(raw_event=dict(event), event_history_metadata={})
    for result in message.to_default_asset_events(manifest, translator, context):
        asset = translator.get_asset_spec(manifest, node["unique_id"], None).key
        if isinstance(result, dg.Output) and asset not in context.selected_asset_keys:
            context.log_event(dg.AssetMaterialization(asset, metadata=result.metadata))
        else:
            yield result


def _with_row_count(result: Any, manifest: Mapping[str, Any], connection: psycopg.Connection) -> Any:
    """Add how many rows a table has, or a view of the marts: those of the other layers are not worth computing.

    A model that is built in place knows that itself: counting takes longer, the longer the history is.
    """
    if not isinstance(result, dg.Output):
        return result
    node = manifest["nodes"][result.metadata["unique_id"].value]
    if node["config"].get("materialized") == "view" and node["schema"] != "marts":
        return result
    known = "select row_count from intermediate.model_states where model = %s"
    (rows,) = connection.execute(known, [node["name"]]).fetchone() or (None,)
    if rows is None:
        table = sql.Identifier(node["schema"], node["alias"])
        (rows,) = connection.execute(sql.SQL("select count(*) from {}").format(table)).fetchone() or (0,)
    return result.with_metadata({**result.metadata, "dagster/row_count": rows})


def read_manifest(footfall: Footfall) -> Mapping[str, Any]:
    """Return the manifest of the project, parsed first where it changed."""
    manifest: Mapping[str, Any] = json.loads(footfall.dbt.prepare().read_text(encoding="utf-8"))
    return manifest
