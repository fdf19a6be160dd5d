"""Great Expectations, asked about new events and the marts: the only place that knows its results.

What is expected is listed in `expectations`, which rows are judged in `expected_rows`; the pages that show it are made
in `data_docs`. Everything is read, in transactions that may do nothing else, and a statement that takes too long is
given up. Importing this module does not import Great Expectations; judging does.
"""

from __future__ import annotations

import os
import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg

from validation import data_docs
from validation.checks import CheckOutcome
from validation.expectations import EXPECTATIONS, Expectation
from validation.expected_rows import NewFiles, Rows, rows_of
from validation.outcomes import on_one_line, percent
from warehouse.connections import Role, Warehouse

if TYPE_CHECKING:
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.datasource.fluent.interfaces import Batch
    from great_expectations.datasource.fluent.sql_datasource import SQLDatasource

_SAMPLES: Final = 5
_SHOWN: Final = 300
# For one of the queries, however much is asked of it. About 10,000 new events that takes a fraction of a second.
_LONGEST_SECONDS: Final = 300.0
# As PostgreSQL has it.
_TOO_LONG: Final = "statement timeout"
# All rows are counted in one statement. A sample is a statement or two of its own for each that fails, hence the others
# are not asked for any.
_COUNTED: Final = {"result_format": "BASIC", "partial_unexpected_count": 0}
_SAMPLED: Final = {
    "result_format": "BASIC",
    "partial_unexpected_count": _SAMPLES,
    "include_unexpected_rows": True,
}

# What was found, and how Great Expectations has it, if it came to a result.
_Judged = tuple[CheckOutcome, "ExpectationValidationResult | None"]


def judge_expectations(
    warehouse: Warehouse,
    run_ids: Sequence[str],
    docs: Path,
    link: str | None,
    *,
    longest_seconds: float = _LONGEST_SECONDS,
) -> list[CheckOutcome]:
    """Judge the events that these runs brought, and the marts: one outcome for each of EXPECTATIONS, in their order.

    The pages that show it are written into the folder `docs`, in place of what is there; `link` is the address at which
    that folder is served. What cannot be judged is an outcome too, and never one that has passed. Raises OSError where
    the pages cannot be written.
    """
    with _judge(warehouse, longest_seconds) as judge:
        judged = {one.name: found for one, found in judge.all(run_ids)}
    in_order = [judged[one.name] for one in EXPECTATIONS]
    if link is not None:
        in_order = [
            (replace(one, link=f"{link.rstrip('/')}/{data_docs.page_of(one)}"), result) for one, result in in_order
        ]
    data_docs.write(docs, in_order)
    return [outcome for outcome, _ in in_order]


@contextmanager
def _judge(warehouse: Warehouse, longest_seconds: float) -> Iterator[_Judge]:
    """Import Great Expectations and lend it the warehouse; its connections are closed at the end."""
    # Whether it tells its maker of its use; it takes settings from the environment alone.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    judge = _Judge(warehouse, longest_seconds)
    try:
        yield judge
    finally:
        judge.close()


class _Judge:
    """Great Expectations with a data source per role, each made when it is first needed."""

    def __init__(self, warehouse: Warehouse, longest_seconds: float) -> None:
        from great_expectations import get_context
        from great_expectations.data_context.types.base import ProgressBarsConfig

        self._warehouse = warehouse
        self._longest_seconds = longest_seconds
        self._context = get_context(mode="ephemeral")
        self._context.variables.progress_bars = ProgressBarsConfig(globally=False)
        self._sources: dict[Role, SQLDatasource] = {}

    def close(self) -> None:
        for source in self._sources.values():
            source.get_engine().dispose()
            source.get_execution_engine().engine.dispose()

    def all(self, run_ids: Sequence[str]) -> Iterator[tuple[Expectation, _Judged]]:
        """Judge everything, rows by rows: each is asked for once, about all that is expected of it."""
        new: NewFiles | None = None
        for name in dict.fromkeys(one.rows for one in EXPECTATIONS):
            expected = [one for one in EXPECTATIONS if one.rows == name]
            try:
                new = new or self._new_files(run_ids)
                results = self._results(name, rows_of(name, new), expected)
            except Exception as error:  # whatever stops it, it is told, and the other rows are judged
                why = self._in_words(str(error), by_server=isinstance(error, psycopg.Error))
                yield from ((one, (_not_judged(one, why), None)) for one in expected)
                continue
            for one in expected:
                result = results.get(one.name)
                if result is None:
                    yield one, (_not_judged(one, "Great Expectations came to no result."), None)
                else:
                    outcome = self._outcome(one, result)
                    # What could not be judged has no green result to be shown.
                    yield one, (outcome, None if outcome.status == "could_not_check" else result)

    def _new_files(self, run_ids: Sequence[str]) -> NewFiles:
        with self._warehouse.connect("transformer") as connection:
            return NewFiles.of(connection, run_ids)

    def _results(
        self, name: str, rows: Rows, expected: Sequence[Expectation]
    ) -> dict[str, ExpectationValidationResult]:
        """Ask Great Expectations; the results by name."""
        source = self._source(rows.role)
        asset = source.add_query_asset(name, query=rows.query)
        batch = asset.add_batch_definition_whole_table(name).get_batch()
        with _asked_within(self._longest_seconds, source, rows.query):
            found = _validated(batch, name, expected, _COUNTED)
            failing = [one for one in expected if one.name in found and _has_failed(found[one.name])]
            return found | (_validated(batch, name, failing, _SAMPLED) if failing else {})

    def _source(self, role: Role) -> SQLDatasource:
        if role not in self._sources:
            from great_expectations.datasource.fluent.interfaces import GxDatasourceWarning

            options = (
                f"{self._warehouse.options.get('options', '')} -c default_transaction_read_only=on"
                f" -c statement_timeout={round(1000 * self._longest_seconds)}"
            )
            lent = replace(
                self._warehouse,
                options={"application_name": "footfall", **self._warehouse.options, "options": options.strip()},
            )
            with warnings.catch_warnings():
                # Its source for PostgreSQL refuses servers that are reached through a socket.
                warnings.simplefilter("ignore", GxDatasourceWarning)
                self._sources[role] = self._context.data_sources.add_sql(
                    role,
                    connection_string="postgresql+psycopg" + lent.url(role).removeprefix("postgresql"),
                )
        return self._sources[role]

    def _outcome(self, expected: Expectation, result: ExpectationValidationResult) -> CheckOutcome:
        error = _error_of(result)
        if error is not None:
            return _not_judged(expected, self._in_words(error))
        found = result.result
        checked = int(found["element_count"]) - int(found.get("missing_count") or 0)
        failed = int(found["unexpected_count"] or 0)
        if not checked and expected.if_nothing == "could_not_check":
            return _not_judged(expected, expected.nothing)
        return CheckOutcome(
            expected.name,
            expected.title,
            expected.schema,
            expected.table,
            "expectations",
            "passed" if result.success else "failed",
            _sentence(expected, checked, failed),
            checked,
            failed,
            expected.unit,
            ()
            if result.success
            else tuple(_told(expected, row) for row in found.get("unexpected_rows", ())[:_SAMPLES]),
        )

    def _in_words(self, error: str, *, by_server: bool = False) -> str:
        """Say why something could not be judged: the server's own words, where it has any."""
        if _TOO_LONG in error:
            return f"It took longer than {self._longest_seconds:g} seconds and was given up."
        words = re.search(r"\(psycopg\.[\w.]+\) ([^\n]+)", error)
        who = "PostgreSQL" if words or by_server else "Great Expectations"
        line = words[1] if words else next(iter(error.splitlines()), "nothing")
        return f"{who} says: {on_one_line(line[:_SHOWN]).rstrip('.')}."


def _validated(
    batch: Batch, name: str, expected: Sequence[Expectation], result_format: Mapping[str, Any]
) -> dict[str, ExpectationValidationResult]:
    from great_expectations import ExpectationSuite
    from great_expectations import expectations as kinds

    suite = ExpectationSuite(
        name,
        expectations=[
            getattr(kinds, one.kind)(**one.arguments, description=one.title, meta={"name": one.name})
            for one in expected
        ],
    )
    validated = batch.validate(suite, result_format=dict(result_format))
    return {one.expectation_config.meta["name"]: one for one in validated.results if one.expectation_config is not None}


def _has_failed(result: ExpectationValidationResult) -> bool:
    return not result.success and _error_of(result) is None


@contextmanager
def _asked_within(seconds: float, source: SQLDatasource, query: str) -> Iterator[None]:
    """Have a query run in full for results alone, and nothing more be asked of it when its time is over.

    Great Expectations runs it as it is for the names of its columns: all of its rows would come here. And it asks
    many questions, each of which may wait for as long as a statement may.
    """
    from sqlalchemy import event

    end = time.monotonic() + seconds

    def before_statement(
        _connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
    ) -> tuple[str, Any]:
        if time.monotonic() > end:
            raise TimeoutError(_TOO_LONG)
        is_query = statement.strip() == query.strip()
        return (f"select * from ({statement}) as named limit 0" if is_query else statement), parameters  # noqa: S608

    engine = source.get_execution_engine().engine
    event.listen(engine, "before_cursor_execute", before_statement, retval=True)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", before_statement)


def _error_of(result: ExpectationValidationResult) -> str | None:
    """Return the error in which a result ended: there is one, or one per metric, or none."""
    info: Mapping[str, Any] = result.exception_info or {}
    for one in [info] if "raised_exception" in info else info.values():
        if one.get("raised_exception"):
            return str(one.get("exception_message") or "")
    return None


def _not_judged(expected: Expectation, why: str) -> CheckOutcome:
    return CheckOutcome(
        expected.name,
        expected.title,
        expected.schema,
        expected.table,
        "expectations",
        "could_not_check",
        why,
        unit=expected.unit,
    )


def _sentence(expected: Expectation, checked: int, failed: int) -> str:
    if not checked:
        return expected.nothing
    if not failed:
        return f"Holds for all {checked:,} {expected.unit}." if checked > 1 else f"Holds; {expected.unit}: 1."
    allowed = f"; up to {percent(expected.allowed_share)} may" if expected.allowed_share else ""
    fails = "fails" if failed == 1 else "fail"
    return f"{failed:,} of {checked:,} {expected.unit} {fails} ({percent(failed / checked)}){allowed}."


def _told(expected: Expectation, row: Mapping[str, Any]) -> str:
    """Tell of a row that fails: what it is by its value alone, the rest with the names of the columns."""
    first, *others = expected.shown
    told = [str(row[first]), *(f"{name.replace('_', ' ')} {row[name]}" for name in others if row[name] is not None)]
    text = ", ".join(told)
    return on_one_line(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…")
