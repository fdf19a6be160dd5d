"""The raw layer as assets: one op that loads or corrects files and refreshes what the models need to know besides.

How a file is read, judged, loaded and corrected is `validation`'s; which files is `assets.choosing`'s. Here is what is
told of it in Dagster, and what makes the run fail.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import dagster as dg
import psycopg
from psycopg import sql

from orchestration.assets.choosing import LoadFiles, tasks
from orchestration.assets.waits import seconds_waited
from orchestration.checks import CheckOutcome, check_result
from orchestration.inputs import InputProblem, Inputs, outdated_sentence
from orchestration.launcher import begin_work
from orchestration.resources import Footfall, statements_interruptible
from validation.corrections import CorrectionProblem
from validation.landing import LandingFolder
from validation.loading import LoadContext
from validation.outcomes import Outcome
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
    """Load or correct the files, one transaction each; fail at the end if one could not be through no fault of its own.

    What cannot be done to a file and will not be another time either (its original is missing, say) is told, and the
    models follow what was done to the others.
    """
    begin_work(context.instance, context.run_id)
    waited = seconds_waited(context.instance, context.run)
    settings = footfall.settings
    listener = footfall.listener(context.log)
    try:
        inputs = Inputs.read(settings)
        with footfall.warehouse.connect("loader", autocommit=True) as connection:
            for change in inputs.store(connection):
                listener.on_note(change)
            folder = LandingFolder(settings.landing, settings.settle_seconds)
            todo = tasks(config, folder, connection, inputs, listener.on_note)
    except (InputProblem, CorrectionProblem) as problem:
        raise dg.Failure(str(problem), allow_retries=False) from None
    load = LoadContext(
        warehouse=footfall.warehouse,
        home=settings.home,
        landing=settings.landing,
        rules=inputs.rules,
        profiles=inputs.profiles,
        cameras=inputs.cameras,
        run_id=context.run_id,
        on_progress=listener.on_progress,
    )
    outcomes: list[Outcome] = []
    problems: list[str] = []
    failures: list[str] = []
    with footfall.interruptible(context), statements_interruptible():
        for task in todo:
            try:
                outcome = task.do(load)
            except CorrectionProblem as problem:
                listener.on_problem(str(problem))
                problems.append(str(problem))
            except Exception as error:
                context.log.exception(f"{task.name} could not be {config.done}.")
                failures.append(f"{task.name}: {error}")
            else:
                listener.on_outcome(outcome)
                outcomes.append(outcome)
    if failures:
        told = "\n".join(failures)
        raise dg.Failure(f"{len(failures)} files could not be {config.done}:\n{told}", allow_retries=False)
    with footfall.warehouse.connect("loader", autocommit=True) as connection:
        if outdated := inputs.outdated(connection):
            listener.on_note(outdated_sentence(outdated))
        yield from _results(connection, outcomes, problems, waited)


def _results(
    connection: psycopg.Connection, outcomes: Sequence[Outcome], problems: Sequence[str], waited: Mapping[str, float]
) -> Iterator[dg.MaterializeResult[None]]:
    judged = [outcome for outcome in outcomes if outcome.account is not None]
    adding_up = _rows_add_up(connection)
    for table in _TABLES:
        rows = adding_up.facts["events"] if table == "events" else _count(connection, table)
        metadata = {"dagster/row_count": rows, "dagster/column_schema": _columns(connection, table)}
        checks = []
        if table == "events":
            metadata |= _account_metadata(judged) | _told(outcomes, problems)
            metadata["seconds_by_stage"] = _by_stage(outcomes, waited)
            found = (adding_up, _files_usable(outcomes, problems))
            checks = [check_result(outcome, EVENTS) for outcome in found]
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


def _by_stage(outcomes: Sequence[Outcome], waited: Mapping[str, float]) -> dict[str, float]:
    """Return where the time went so far: until the work began, and with the files, summed over all of them."""
    stages = Counter(waited)
    for outcome in outcomes:
        stages.update(outcome.seconds_by_stage)
    return {stage: round(seconds, 4) for stage, seconds in stages.items()}


def _told(outcomes: Sequence[Outcome], problems: Sequence[str]) -> dict[str, Any]:
    """Return what people read: the verdicts, why rows were rejected, and the first of those rows."""
    parts = {
        "verdicts": [f"- {prose(sentence)}" for sentence in (*problems, *(one.sentence for one in outcomes))],
        "reject_reasons": [_part(one, reasons_table(one)) for one in outcomes if one.reject_counts],
        "first_rejects": [_part(one, rejects_table(one.first_rejects)) for one in outcomes if one.first_rejects],
    }
    return {name: dg.MetadataValue.md("\n".join(lines[:_FILES_TOLD])) for name, lines in parts.items() if lines}


def _part(outcome: Outcome, table: str) -> str:
    return f"**{prose(outcome.name)}**\n\n{table}\n"


def _count(connection: psycopg.Connection, table: str) -> int:
    query = sql.SQL("select count(*) from raw.{}").format(sql.Identifier(table))
    (rows,) = connection.execute(query).fetchone() or (0,)
    return int(rows)


def _columns(connection: psycopg.Connection, table: str) -> dg.TableSchema:
    columns = connection.execute(
        """
        select attname, format_type(atttypid, atttypmod), coalesce(col_description(attrelid, attnum), ''), attnotnull
        from pg_attribute
        where attrelid = %s::regclass and attnum > 0 and not attisdropped
        order by attnum
        """,
        [f"raw.{table}"],
    ).fetchall()
    return dg.TableSchema(
        [
            dg.TableColumn(name, kind, note, dg.TableColumnConstraints(nullable=not required))
            for name, kind, note, required in columns
        ]
    )


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
    # All of a table that grows without end is counted once in a run.
    return CheckOutcome("rows_add_up", passed, sentence, gates=True, facts={"events": present})


def _files_usable(outcomes: Sequence[Outcome], problems: Sequence[str]) -> CheckOutcome:
    bad = [outcome.name for outcome in outcomes if outcome.state == "quarantined"]
    sentences = [*([f"Quarantined: {', '.join(bad)}."] if bad else []), *problems]
    sentence = " ".join(sentences) or "No file of this run had to be quarantined."
    return CheckOutcome("files_usable", not sentences, sentence)
