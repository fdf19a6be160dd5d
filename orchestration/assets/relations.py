"""dbt's tests as outcomes of checks: what each demands in plain words, what it found, and some of the rows that fail.

Which tests run is `selecting`'s; the tests themselves are in dbt_project.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import dagster as dg
import psycopg
from dagster_dbt import DagsterDbtTranslator
from dagster_dbt.asset_utils import get_asset_check_key_for_test
from psycopg import sql

from validation.checks import CheckOutcome, Status
from validation.outcomes import on_one_line

SKIPPED: Final = "SkippingDetails"
_RESULT: Final = "LogTestResult"
_SAMPLES: Final = 5
_SAMPLE_SECONDS: Final = 5
_SHOWN: Final = 300
_STATUS: Final[dict[str, Status]] = {"pass": "passed", "fail": "failed", "warn": "failed"}


class Tests:
    """The tests of a parsed project, by their key in Dagster."""

    def __init__(self, manifest: Mapping[str, Any], translator: DagsterDbtTranslator, compiled: Path) -> None:
        """`compiled` is the folder in which dbt leaves the SQL that it ran."""
        self._manifest = manifest
        self._translator = translator
        self._compiled = compiled

    def key_of(self, event: Mapping[str, Any]) -> dg.AssetCheckKey | None:
        """Return the check whose result an event of dbt is; None for any other event."""
        if event["info"]["name"] not in {_RESULT, SKIPPED}:
            return None
        unique_id = event["data"].get("node_info", {}).get("unique_id", "")
        if self._manifest["nodes"].get(unique_id, {}).get("resource_type") != "test":
            return None
        return get_asset_check_key_for_test(self._manifest, self._translator, unique_id, project=None)

    def outcome(
        self, event: Mapping[str, Any], key: dg.AssetCheckKey, connection: psycopg.Connection[Any]
    ) -> CheckOutcome:
        """Return what a test found."""
        node = self._manifest["nodes"][event["data"]["node_info"]["unique_id"]]
        schema, table = key.asset_key.path
        status = _STATUS.get(str(event["data"].get("status")), "could_not_check")
        failed = int(event["data"].get("num_failures") or 0)
        checked = _row_count(connection, table)
        sample: tuple[str, ...] = ()
        if status == "passed":
            sentence = "Holds." if checked is None else f"Holds in all {checked:,} rows."
        elif status == "failed":
            sentence = "1 row fails." if failed == 1 else f"{failed:,} rows fail."
            sample = self._sample(node, connection)
        elif event["info"]["name"] == SKIPPED:
            sentence = "A step before it failed, so that there was nothing to look at."
        else:
            sentence = "The check itself ended in an error; the run's log has its words."
        return CheckOutcome(
            key.name,
            title_of(node),
            schema,
            table,
            "relations",
            status,
            sentence,
            checked=None if status == "could_not_check" else checked,
            failed=None if status == "could_not_check" else failed,
            sample=sample,
        )

    def _sample(self, node: Mapping[str, Any], connection: psycopg.Connection[Any]) -> tuple[str, ...]:
        """Return some of the rows that fail a test, read by the SQL that dbt ran; none where that is not there."""
        file = next(self._compiled.glob(f"*/{node['original_file_path']}/{node['path']}"), None)
        file = file or next(self._compiled.glob(f"*/{node['original_file_path']}"), None)
        if file is None or not file.is_file():
            return ()
        query = sql.SQL("select * from ({}) as failing limit {}").format(
            sql.SQL(file.read_text(encoding="utf-8")),
            _SAMPLES,
        )
        try:
            with connection.transaction():
                connection.execute(sql.SQL("set local statement_timeout = {}").format(_SAMPLE_SECONDS * 1000))
                cursor = connection.execute(query)
                names = [column.name for column in cursor.description or ()]
                return tuple(_told(names, row) for row in cursor.fetchall())
        except psycopg.Error:
            # A sample is an extra; that the check failed is told all the same.
            return ()


def title_of(node: Mapping[str, Any]) -> str:
    """Say in plain words what a test demands."""
    if node.get("description"):
        return " ".join(str(node["description"]).split())
    about = node.get("test_metadata") or {}
    arguments: Mapping[str, Any] = about.get("kwargs") or {}
    column = arguments.get("column_name")
    match about.get("name"):
        case "not_null":
            return f"{column} is given in every row."
        case "unique":
            return f"No two rows have the same {column}."
        case "holds_in_every_row":
            return f"In every row: {' '.join(str(arguments['condition']).split())}."
        case "includes_values":
            return f"{column} has all values that the models need."
        case "one_value_per":
            return f"Rows that agree in {arguments['per']} agree in {arguments['value']}."
        case "relationships":
            return f"Every {column} is one that {arguments['to']} knows."
        case "accepted_values":
            return f"{column} is one of {', '.join(map(str, arguments['values']))}."
    return f"{str(node['name']).replace('_', ' ').capitalize()}."


def _row_count(connection: psycopg.Connection[Any], table: str) -> int | None:
    """Return how many rows a table has, as its model noted when it was built; None for what is no stored model."""
    row = connection.execute("select row_count from intermediate.model_states where model = %s", [table]).fetchone()
    return int(row[0]) if row is not None and row[0] is not None else None


def _told(names: list[str], row: tuple[Any, ...]) -> str:
    text = ", ".join(f"{name} {value}" for name, value in zip(names, row, strict=True) if value is not None)
    return on_one_line(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
