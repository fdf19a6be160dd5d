"""The raw layer as assets: one op that loads or corrects files and refreshes what the models need to know besides.

How a file is read, judged, loaded and corrected is `validation`'s; which files is `assets.choosing`'s. Here is what is
told of it in Dagster, and what makes the run fail.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import dagster as dg
import psycopg
from psycopg import sql

from orchestration.assets.choosing import LoadFiles, tasks
from orchestration.assets.waits import seconds_waited
from orchestration.checks import check_result
from orchestration.disk_space import disk_problem
from orchestration.event_log import EventLog
from orchestration.inputs import InputProblem, Inputs, outdated_sentence
from orchestration.launcher import begin_work
from orchestration.resources import Footfall, statements_interruptible
from validation import check_log
from validation.checks import CheckOutcome, Status, severity
from validation.corrections import CorrectionProblem
from validation.landing import LandingFolder
from validation.load_progress import ShownProgress
from validation.loading import LoadContext
from validation.outcomes import Outcome, on_one_line
from validation.progress import Progress
from validation.reports import prose, reasons_table, rejects_table
from validation.row_checks import ROW_CHECKS, over_all, row_outcomes

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
_OVERALL: Final = {
    "rows_add_up": "No row of a file is lost.",
    "files_usable": "No file had to be quarantined.",
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
        *(
            dg.AssetCheckSpec(name, asset=EVENTS, description=title, blocking=severity("rows", name) == "error")
            for name, title in _OVERALL.items()
        ),
        *(dg.AssetCheckSpec(check.name, asset=EVENTS, description=check.title) for check in ROW_CHECKS),
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
    log = EventLog(settings.logs)
    try:
        inputs = Inputs.read(settings)
        with footfall.warehouse.connect("loader", autocommit=True) as connection:
            for change in inputs.store(connection):
                listener.on_note(change)
            folder = LandingFolder(settings.landing, settings.settle_seconds)
            todo = tasks(config, folder, connection, inputs, listener.on_note)
    except (InputProblem, CorrectionProblem) as problem:
        raise dg.Failure(str(problem), allow_retries=False) from None
    shown = ShownProgress(footfall.warehouse)

    def on_progress(progress: Progress) -> None:
        listener.on_progress(progress)
        shown.on_progress(progress)

    load = LoadContext(
        warehouse=footfall.warehouse,
        home=settings.home,
        landing=settings.landing,
        rules=inputs.rules,
        profiles=inputs.profiles,
        cameras=inputs.cameras,
        run_id=context.run_id,
        on_progress=on_progress,
    )
    outcomes: list[Outcome] = []
    problems: list[str] = []
    failures: list[str] = []
    held: list[str] = []
    with footfall.interruptible(context), statements_interruptible():
        for task in todo:
            # Asked before each: the one before has taken some. Taking a file back needs next to nothing.
            if config.do != "retract" and (no_room := disk_problem(settings, task.size_bytes, task.name)) is not None:
                held.append(f"{on_one_line(task.name)} was not {config.done}. {no_room}")
                listener.on_problem(held[-1])
                log.file_failed(task.name, held[-1], context.run_id)
                continue
            try:
                with shown.of_one_load():
                    outcome = task.do(load)
            except CorrectionProblem as problem:
                listener.on_problem(str(problem))
                log.file_failed(task.name, str(problem), context.run_id)
                problems.append(str(problem))
            except Exception as error:
                context.log.exception(f"{task.name} could not be {config.done}.")
                log.file_failed(task.name, str(error), context.run_id)
                failures.append(f"{task.name}: {error}")
            else:
                listener.on_outcome(outcome)
                log.file(outcome, context.run_id)
                outcomes.append(outcome)
    if failures:
        told = "\n".join(failures)
        raise dg.Failure(f"{len(failures)} files could not be {config.done}:\n{told}", allow_retries=False)
    with footfall.warehouse.connect("loader", autocommit=True) as connection:
        if outdated := inputs.outdated(connection):
            listener.on_note(outdated_sentence(outdated))
        found = _judge(connection, outcomes, problems)
        check_log.record(connection, context.run_id, found.kept)
        yield from _results(connection, outcomes, [*problems, *held], waited, found)


@dataclass(frozen=True)
class _Found:
    """What the checks of the raw tables found: in each file, over all of them, and how many events there are."""

    per_file: list[CheckOutcome]
    overall: list[CheckOutcome]
    events: int

    @property
    def kept(self) -> list[CheckOutcome]:
        """What is kept: of a check of rows what it found in each file, not the sum of it."""
        return [*self.per_file, *(one for one in self.overall if one.name in _OVERALL)]


def _judge(connection: psycopg.Connection, outcomes: Sequence[Outcome], problems: Sequence[str]) -> _Found:
    per_file = list(row_outcomes(connection, outcomes))
    adding_up, events = _rows_add_up(connection)
    of_rows = (over_all(check, per_file) for check in ROW_CHECKS)
    return _Found(per_file, [adding_up, _files_usable(outcomes, problems), *of_rows], events)


def _results(
    connection: psycopg.Connection,
    outcomes: Sequence[Outcome],
    problems: Sequence[str],
    waited: Mapping[str, float],
    found: _Found,
) -> Iterator[dg.MaterializeResult[None]]:
    judged = [outcome for outcome in outcomes if outcome.account is not None]
    for table in _TABLES:
        rows = found.events if table == "events" else _count(connection, table)
        metadata: dict[str, Any] = {"dagster/row_count": rows, "dagster/column_schema": _columns(connection, table)}
        checks = []
        if table == "events":
            metadata |= _account_metadata(judged) | _told(outcomes, problems)
            metadata["seconds_by_stage"] = _by_stage(outcomes, waited)
            checks = [check_result(outcome) for outcome in found.overall]
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


def _rows_add_up(connection: psycopg.Connection) -> tuple[CheckOutcome, int]:
    """Compare the ledger with itself and with the events, over all files that are loaded; return how many there are.

    All of a table that grows without end is counted once in a run.
    """
    read, gone, loaded, present = connection.execute(
        """
        select
            coalesce(sum(rows_read), 0)::bigint,
            coalesce(sum(rows_rejected + rows_duplicate), 0)::bigint,
            coalesce(sum(rows_loaded), 0)::bigint,
            (select count(*) from raw.events)
        from raw.files where state = 'loaded'
        """
    ).fetchone() or (0, 0, 0, 0)
    missing = abs(read - loaded - gone) + abs(loaded - present)
    sentence = (
        f"Of {read:,} rows read, {loaded:,} were loaded and {gone:,} were rejected or duplicates; "
        f"{present:,} events are in the table."
    )
    outcome = _overall("rows_add_up", not missing, sentence, checked=read, failed=missing)
    return outcome, present


def _files_usable(outcomes: Sequence[Outcome], problems: Sequence[str]) -> CheckOutcome:
    bad = [on_one_line(outcome.name) for outcome in outcomes if outcome.state == "quarantined"]
    sentences = [*([f"Quarantined: {', '.join(bad)}."] if bad else []), *problems]
    sentence = " ".join(sentences) or "No file of this run had to be quarantined."
    told = len(outcomes) + len(problems)
    return _overall(
        "files_usable", not sentences, sentence, checked=told, failed=len(bad) + len(problems), unit="files"
    )


def _overall(name: str, passed: bool, sentence: str, **counts: Any) -> CheckOutcome:
    status: Status = "passed" if passed else "failed"
    return CheckOutcome(name, _OVERALL[name], "raw", "events", "rows", status, sentence, **counts)
