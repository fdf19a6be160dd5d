"""What dbt is to build in a run: what new data change, everything, or what somebody picked by hand.

How it is built is `dbt_running`'s; what is told of it, `assets.models`'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import dagster as dg
import psycopg
from dagster_dbt import DagsterDbtTranslator
from dagster_dbt.asset_utils import (
    DAGSTER_DBT_UNIQUE_ID_METADATA_KEY as UNIQUE_ID,
)
from dagster_dbt.asset_utils import get_subset_selection_for_context
from pydantic import Field

# Stored models and the checks that read nothing but them and raw tables. Views are always as the data are, and what a
# check of one can find follows from how it is made.
WHAT_DATA_CHANGE: Final = (
    *("--select", "config.materialized:incremental", "config.materialized:table", "config.materialized:version"),
    *("source:*", "--indirect-selection", "cautious"),
)


class BuildModels(dg.Config):
    """How much of the dbt project a run builds."""

    everything: bool = Field(
        False,
        description="Make the views anew and run their checks, too. Happens by itself after a change of the project.",
    )


def selection(
    context: dg.AssetExecutionContext,
    config: BuildModels,
    manifest: Mapping[str, Any],
    translator: DagsterDbtTranslator,
    *,
    connection: psycopg.Connection[Any],
    project_state: str,
) -> Sequence[str]:
    """Return dbt's arguments for what this run is to build; `project_state` tells which project it is.

    Hand-picked models are built with all that they are made from: without their ancestors they would be made from
    what is out of date, and disagree with the others.
    """
    if context.is_subset and context.selected_asset_keys:
        specs = context.assets_def.specs_by_key
        nodes = [manifest["nodes"][specs[key].metadata[UNIQUE_ID]] for key in sorted(context.selected_asset_keys)]
        picked = (f"+fqn:{'.'.join(node['fqn'])}" for node in nodes)
        return ["--select", *picked, "--indirect-selection", "buildable"]
    if not context.is_subset and not config.everything and views_are_made(connection, manifest, project_state):
        return WHAT_DATA_CHANGE
    arguments, indirect = get_subset_selection_for_context(
        context=context,
        manifest=manifest,
        select="fqn:*",
        exclude=None,
        selector=None,
        dagster_dbt_translator=translator,
        current_dbt_indirect_selection_env=None,
    )
    return [*arguments, *(["--indirect-selection", indirect] if indirect else [])]


def views_are_made(connection: psycopg.Connection[Any], manifest: Mapping[str, Any], project_state: str) -> bool:
    """Whether this project has made every view in it, and all of them are still there."""
    if connection.execute("select to_regclass('intermediate.view_states') is null").fetchone() == (True,):
        return False
    models = (node for node in manifest["nodes"].values() if node["resource_type"] == "model")
    views = [model for model in models if model["config"]["materialized"] == "view"]
    made = connection.execute(
        """
        select count(*)
        from unnest(%s::text[], %s::text[]) as view (schema_name, name)
        inner join intermediate.view_states as states on view.name = states.model
        inner join pg_views as there on view.schema_name = there.schemaname and view.name = there.viewname
        where states.project = %s
        """,
        [[view["schema"] for view in views], [view["alias"] for view in views], project_state],
    ).fetchone()
    return made == (len(views),)
