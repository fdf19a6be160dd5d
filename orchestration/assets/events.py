"""The raw layer as assets: one op that loads waiting files and refreshes what the models need to know besides.

How a file is read, judged and loaded is `validation.loading`'s; here is which files, what is told of it in Dagster,
and what makes the run fail.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import dagster as dg
import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb
from pydantic import Field

from orchestration.checks import CheckOutcome, check_result
from orchestration.launcher import begin_work
from orchestration.resources import Footfall
from validation.cameras import CameraListProblem, read_cameras, store_cameras
from validation.landing import LandingFolder, Waiting
from validation.loading import LoadContext, load_file
from validation.outcomes import Outcome
from validation.profiles import ProfileProblem, load_profiles
from validation.reports import prose, reasons_table, rejects_table

LOAD_OP: Final = "load_files"
FILES: Final = dg.AssetKey(["landing", "files"])
EVENTS: Final = dg.AssetKey(["raw", "events"])
_TABLES: Final = {
    "events": "Every event that was loaded, once, with the file and row it came from.",
    "files": "The ledger: a row per content that was ever dropped, with its state, counts and what was detected.",
    "rejects": "Every reason why a row was set aside, with the row as it stood in the file.",
    "cameras": "The camera list, as the file cameras.csv has it.",
    "parameters": "The settings that act on the models.",
}
RAW_KEYS: Final = frozenset(dg.AssetKey(["raw", table]) for table in _TABLES)
# More would make a page that nobody reads; the ledger has all of them.
_FILES_TOLD: Final = 50

LANDING: Final = dg.AssetSpec(
    FILES,
    description="Files that people or cameras drop into the landing folder.",
    group_name="landing",
    kinds={"file", "csv"},
    owners=["team:operations"],
)


class LoadFiles(dg.Config):
    """Which files a run loads."""

    files: list[str] | None = Field(
        None,
        description="Names within the landing folder. Left out: whatever waits there. An empty list: none, so that "
        "only what was loaded already goes on to the marts.",
    )


def _specs() -> list[dg.AssetSpec]:
    return [
        dg.AssetSpec(
            dg.AssetKey(["raw", table]),
            deps=[FILES] if table in {"events", "files", "rejects"} else [],
            description=description,
            group_name="raw",
            kinds={"python", "postgres", "table"},
            owners=["team:operations"],
            metadata={"dagster/table_name": f"raw.{table}"},
        )
        for table, description in _TABLES.items()
    ]


@dg.multi_asset(
    name=LOAD_OP,
    specs=_specs(),
    check_specs=[
        dg.AssetCheckSpec("rows_add_up", asset=EVENTS, blocking=True, description="No row of a file is lost."),
        dg.AssetCheckSpec("files_usable", asset=EVENTS, description="No file had to be quarantined."),
    ],
)
def load_files(
    context: dg.AssetExecutionContext, config: LoadFiles, footfall: dg.ResourceParam[Footfall]
) -> Iterator[dg.MaterializeResult[None]]:
    """Load the files, one transaction each; fail at the end if one could not be loaded through no fault of its own."""
    begin_work(context.instance, context.run_id)
    settings = footfall.settings
    listener = footfall.listener(context.log)
    try:
        cameras, profiles = read_cameras(settings.cameras_file), load_profiles(settings.profiles_folder)
    except (CameraListProblem, ProfileProblem) as problem:
        raise dg.Failure(str(problem), allow_retries=False) from None
    with footfall.warehouse.connect("loader") as connection:
        changed = store_cameras(connection, cameras)
        changed |= store_parameters(connection, settings.model_parameters)
    if changed:
        context.log.info("The camera list or the settings of the models changed.")
    load = LoadContext(
        warehouse=footfall.warehouse,
        home=settings.home,
        landing=settings.landing,
        rules=settings.loading_rules,
        profiles=profiles,
        cameras=cameras,
        run_id=context.run_id,
        on_progress=listener.on_progress,
    )
    outcomes: list[Outcome] = []
    failures: list[str] = []
    for waiting in _chosen(LandingFolder(settings.landing, settings.settle_seconds), config.files):
        try:
            outcome = load_file(waiting, load)
        except Exception as error:
            context.log.exception(f"{waiting.shown_name} could not be loaded.")
            failures.append(f"{waiting.shown_name}: {error}")
            continue
        listener.on_outcome(outcome)
        outcomes.append(outcome)
    if failures:
        told = "\n".join(failures)
        raise dg.Failure(f"{len(failures)} files could not be loaded and are tried again:\n{told}", allow_retries=False)
    with footfall.warehouse.connect("loader", autocommit=True) as connection:
        yield from _results(connection, outcomes)


def store_parameters(connection: psycopg.Connection, parameters: dict[str, Any]) -> bool:
    """Put the settings of the models where the models read them; True if any is another than before."""
    with connection.transaction():
        before: dict[str, Any] = dict(connection.execute("select name, value from raw.parameters").fetchall())
        if before == parameters:
            return False
        connection.execute("delete from raw.parameters")
        with connection.cursor() as cursor:
            cursor.executemany(
                "insert into raw.parameters (name, value) values (%s, %s)",
                [(name, Jsonb(value)) for name, value in parameters.items()],
            )
    return True


def _chosen(folder: LandingFolder, names: Sequence[str] | None) -> list[Waiting]:
    """Return the files to load: those named that still lie there, or whatever is finished."""
    if names is None:
        return folder.settled()
    wanted = set(names)
    return [waiting for waiting in folder.look() if waiting.shown_name in wanted]


def _results(connection: psycopg.Connection, outcomes: Sequence[Outcome]) -> Iterator[dg.MaterializeResult[None]]:
    judged = [outcome for outcome in outcomes if outcome.account is not None]
    for table in _TABLES:
        metadata = _table_metadata(connection, table)
        checks = []
        if table == "events":
            metadata |= _account_metadata(judged) | _told(outcomes)
            checks = [check_result(outcome, EVENTS) for outcome in (_rows_add_up(connection), _files_usable(outcomes))]
        yield dg.MaterializeResult(asset_key=dg.AssetKey(["raw", table]), metadata=metadata, check_results=checks)


def _account_metadata(judged: Sequence[Outcome]) -> dict[str, Any]:
    accounts = [outcome.account for outcome in judged if outcome.account is not None]
    seconds = sum(outcome.seconds for outcome in judged)
    read = sum(account.rows_read for account in accounts)
    figures = {
        "files_judged": len(judged),
        "rows_read": read,
        "rows_loaded": sum(account.rows_loaded for account in accounts),
        "rows_rejected": sum(account.rows_rejected for account in accounts),
        "rows_duplicate": sum(account.rows_duplicate for account in accounts),
        "rows_held": sum(account.rows_held for account in accounts),
        "seconds": round(seconds, 3),
    }
    return figures | ({"rows_per_second": round(read / seconds)} if seconds > 0 and read else {})


def _told(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what people read: the verdicts, why rows were rejected, and the first of those rows."""
    parts = {
        "verdicts": [f"- {prose(outcome.sentence)}" for outcome in outcomes],
        "reject_reasons": [_part(one, reasons_table(one)) for one in outcomes if one.reject_counts],
        "first_rejects": [_part(one, rejects_table(one.first_rejects)) for one in outcomes if one.first_rejects],
    }
    return {name: dg.MetadataValue.md("\n".join(lines[:_FILES_TOLD])) for name, lines in parts.items() if lines}


def _part(outcome: Outcome, table: str) -> str:
    return f"**{prose(outcome.name)}**\n\n{table}\n"


def _table_metadata(connection: psycopg.Connection, table: str) -> dict[str, Any]:
    (rows,) = connection.execute(sql.SQL("select count(*) from raw.{}").format(sql.Identifier(table))).fetchone() or (
        0,
    )
    columns = connection.execute(
        """
        select attname, format_type(atttypid, atttypmod), coalesce(col_description(attrelid, attnum), ''), attnotnull
        from pg_attribute
        where attrelid = %s::regclass and attnum > 0 and not attisdropped
        order by attnum
        """,
        [f"raw.{table}"],
    ).fetchall()
    schema = dg.TableSchema(
        [
            dg.TableColumn(name, kind, note, dg.TableColumnConstraints(nullable=not required))
            for name, kind, note, required in columns
        ]
    )
    return {"dagster/row_count": rows, "dagster/column_schema": schema}


def _rows_add_up(connection: psycopg.Connection) -> CheckOutcome:
    """Compare the ledger with itself and with the events, over all files that are loaded."""
    read, gone, loaded, present = connection.execute(
        """
        select
            coalesce(sum(rows_read), 0),
            coalesce(sum(rows_rejected + rows_duplicate), 0),
            coalesce(sum(rows_loaded), 0),
            (select count(*) from raw.events)
        from raw.files where state = 'loaded'
        """
    ).fetchone() or (0, 0, 0, 0)
    passed = read == loaded + gone and loaded == present
    sentence = (
        f"Of {read:,} rows read, {loaded:,} were loaded and {gone:,} were rejected or duplicates; "
        f"{present:,} events are in the table."
    )
    return CheckOutcome("rows_add_up", passed, sentence, gates=True)


def _files_usable(outcomes: Sequence[Outcome]) -> CheckOutcome:
    bad = [outcome.name for outcome in outcomes if outcome.state == "quarantined"]
    sentence = f"Quarantined: {', '.join(bad)}." if bad else "No file of this run had to be quarantined."
    return CheckOutcome("files_usable", not bad, sentence)
