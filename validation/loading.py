"""One dropped file into the warehouse: the order of the steps, and what is done when one of them fails.

The order is what makes a crash harmless at any point: the copy in the archive is on the disk, then the ledger and the
rows are committed in one transaction, then the file leaves the landing folder. Rows are read from the archived copy,
never from the landing folder. What comes again after a crash is found in the ledger:

- not committed: the try left nothing but its number, and the next one begins anew, with the same recorded arrival;
- committed as loaded: the arrival bears its outcome but is not finished, so the next look only removes the file;
- committed as quarantined: the file is judged afresh, comes to the same verdict, and is moved.

How rows are judged is in `judging`, the SQL in `staging` and `ledger`, the moving of unusable files in `quarantine`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import psycopg

from validation.archive import Archived, Gone, StillBeingWritten, is_still
from validation.context import LoadContext, LoadingFailed, cause, connect, failure
from validation.judging import Content, Judgement, judge
from validation.landing import ENDINGS, Waiting, companion_of
from validation.ledger import MAX_ATTEMPTS, Arrival, FileRow, Ledger, earlier
from validation.outcomes import TOO_MANY_REJECTED, Account, Outcome, Problem, percent
from validation.problems import FileProblem, Notice, Reject
from validation.progress import Progress, Reporter
from validation.quarantine import set_aside
from validation.rules import LoadingRules
from validation.staging import Staging

__all__ = ["LoadContext", "LoadingFailed", "Progress", "load_file"]


def load_file(waiting: Waiting, context: LoadContext) -> Outcome:
    """Load one file that is finished, or quarantine it, and say what became of it.

    Bad input never raises. Raises LoadingFailed for our own or the machine's faults; after the last of its attempts
    a file is quarantined with the error instead.
    """
    try:
        connection = connect(context.warehouse, "loader")
    except psycopg.OperationalError as error:
        raise _failure(waiting, error) from error
    with connection:
        ledger = Ledger(connection)
        with ledger.path_lock(waiting):
            return _Load(waiting, context, connection, ledger).run()


class _Load:
    """One try at one file."""

    def __init__(
        self, waiting: Waiting, context: LoadContext, connection: psycopg.Connection[Any], ledger: Ledger
    ) -> None:
        self._waiting = waiting
        self._context = context
        self._connection = connection
        self._ledger = ledger
        self._began = time.monotonic()
        self._report = Reporter(waiting.shown_name, waiting.size_bytes, context.on_progress)

    def run(self) -> Outcome:
        if not is_still(self._waiting):
            return self._not_there()
        arrival = self._ledger.begin_arrival(self._waiting, self._context.clock(), self._context.run_id)
        try:
            outcome = self._attempt(arrival)
        except (Gone, StillBeingWritten):
            self._ledger.take_back_attempt(arrival)
            return self._not_there()
        except Exception as error:
            return self._failed(arrival, error)
        except BaseException:
            # Somebody stopped the run: not a fault of the file. The connection may be in the middle of something.
            with suppress(psycopg.Error), connect(self._context.warehouse, "loader") as connection:
                Ledger(connection).take_back_attempt(arrival)
            raise
        self._report("finished")
        return outcome

    def _attempt(self, arrival: Arrival) -> Outcome:
        if arrival.attempts > MAX_ATTEMPTS:
            return self._given_up(arrival, arrival.error or "It was broken off each time.")
        archived = self._context.archive.take(self._waiting, lambda done: self._report("copying", done))
        self._report("archived")
        arrival = self._ledger.note_content(
            arrival, archived.sha256, self._waiting, self._context.clock(), self._context.run_id
        )
        with self._ledger.content_lock(archived.sha256):
            file = self._ledger.file(archived.sha256)
            if file is not None and file.state == "loaded":
                return self._known(arrival, archived, file)
            file_id = self._ledger.begin_file(
                self._waiting, archived.sha256, arrival.arrived_at, self._context.rules, self._context.run_id
            )
            outcome = Outcome(
                state="quarantined",
                name=self._waiting.shown_name,
                site=self._waiting.site,
                size_bytes=self._waiting.size_bytes,
                sha256=archived.sha256,
                file_id=file_id,
                arrived_at=arrival.arrived_at,
                attempt=arrival.attempts,
                max_rejected_share=self._context.rules.max_rejected_share,
            )
            return self._judged(arrival, archived, outcome)

    def _judged(self, arrival: Arrival, archived: Archived, outcome: Outcome) -> Outcome:
        """Judge a content that is not loaded, commit what it came to, and take the file out of the landing folder."""
        judgement = Judgement()
        rules = self._context.rules
        content = Content(
            archived.path, self._waiting.site, arrival.arrived_at, rules, self._context.profiles, self._context.cameras
        )
        try:
            _refuse_by_name(self._waiting)
            with self._connection.transaction():
                staging = Staging(self._connection, _known_id(outcome))
                judge(content, staging, judgement, self._report)
                account = judgement.account or Account(0)
                if Decimal(account.rows_rejected) > Decimal(str(rules.max_rejected_share)) * account.rows_read:
                    outcome = replace(_described(outcome, judgement), problem=_too_many(account, rules))
                else:
                    outcome = self._merged(staging, _described(outcome, judgement))
                self._commit(arrival, outcome)
        except FileProblem as problem:
            # The rows that had been staged until then are gone with the transaction, and are not told of.
            judgement = Judgement(judgement.detected, judgement.notices)
            outcome = replace(_described(outcome, judgement), problem=Problem.of(problem))
            with self._connection.transaction():
                self._commit(arrival, outcome)
        self._report("committed")
        return self._taken_away(arrival, outcome, archived.path)

    def _merged(self, staging: Staging, outcome: Outcome) -> Outcome:
        """Make events of the staged rows; whoever waits for it hears that it goes on."""
        self._report("merging", 0)
        with self._report.heartbeat("merging"):
            self._ledger.lock_merging()
            batch_id = self._ledger.begin_batch(_known_id(outcome))
            merged = staging.merge(batch_id)
        held = outcome.account or Account(0)
        account = Account(
            held.rows_read,
            rows_loaded=merged.rows_loaded,
            rows_rejected=held.rows_rejected,
            rows_duplicate=merged.rows_duplicate,
        )
        return replace(outcome, state="loaded", batch_id=batch_id, account=account)

    def _commit(self, arrival: Arrival, outcome: Outcome) -> None:
        """Write the verdict into the ledger; the caller's transaction makes it true."""
        state: Literal["loaded", "quarantined"] = "loaded" if outcome.state == "loaded" else "quarantined"
        outcome = replace(outcome, seconds=time.monotonic() - self._began)
        self._ledger.decide_file(state, outcome, self._context.clock())
        self._ledger.decide_arrival(arrival, state, outcome.problem.sentence if outcome.problem else None)
        self._report("committing")

    def _known(self, arrival: Arrival, archived: Archived, file: FileRow) -> Outcome:
        """Finish with a content that is loaded: by an earlier drop, or by this one before it was broken off."""
        if arrival.outcome == "loaded":
            outcome = self._ledger.recorded(self._waiting, archived.sha256)
        else:
            self._ledger.decide_arrival(arrival, "already_loaded")
            outcome = Outcome(
                state="already_loaded",
                name=self._waiting.shown_name,
                site=self._waiting.site,
                size_bytes=self._waiting.size_bytes,
                sha256=archived.sha256,
                file_id=file.file_id,
                arrived_at=arrival.arrived_at,
                attempt=arrival.attempts,
                earlier=earlier(file),
            )
        return self._taken_away(arrival, outcome, archived.path)

    def _given_up(self, arrival: Arrival, error: str) -> Outcome:
        """Quarantine a file that could not be loaded however often it was tried; it is not read again."""
        problem = Problem(
            "failed_repeatedly",
            f"The file could not be loaded in {MAX_ATTEMPTS} attempts. {error}",
            "This need not be the file's fault. Run 'footfall doctor', and drop the file again when the cause is gone.",
        )
        file = self._ledger.file(arrival.sha256) if arrival.sha256 else None
        outcome = Outcome(
            state="quarantined",
            name=self._waiting.shown_name,
            site=self._waiting.site,
            size_bytes=self._waiting.size_bytes,
            sha256=arrival.sha256,
            file_id=file.file_id if file else None,
            arrived_at=arrival.arrived_at,
            attempt=arrival.attempts,
            problem=problem,
        )
        with self._connection.transaction():
            if file is not None and file.state != "loaded":
                self._ledger.decide_file("quarantined", outcome, self._context.clock())
            self._ledger.decide_arrival(arrival, "quarantined", problem.sentence)
        return self._taken_away(arrival, outcome, None)

    def _taken_away(self, arrival: Arrival, outcome: Outcome, archived: Path | None) -> Outcome:
        """Take the file out of the landing folder, now that what became of it is committed."""
        outcome = replace(outcome, seconds=time.monotonic() - self._began)
        try:
            if outcome.state == "quarantined":
                content = archived if outcome.account is not None else None
                outcome = set_aside(
                    self._waiting, self._context.landing, outcome, content, self._rejects_of(outcome.file_id)
                )
            elif is_still(self._waiting):
                # Whatever has been put in its place in the meantime is another drop.
                self._waiting.path.unlink()
                companion_of(self._waiting.path).unlink(missing_ok=True)
        except OSError as error:
            sentence = (
                f"The file could not be taken out of the landing folder ({error.strerror}); remove it by hand. It will "
                "not be loaded twice."
            )
            return replace(outcome, notices=(*outcome.notices, Notice("left_in_landing", sentence)))
        self._ledger.finish_arrival(arrival, self._context.clock())
        return outcome

    def _rejects_of(self, file_id: int | None) -> Callable[[int, int], Mapping[int, Sequence[Reject]]]:
        def between(first: int, last: int) -> Mapping[int, Sequence[Reject]]:
            rows = self._connection.execute(
                "select row_number, column_name, code, sentence, raw_text from raw.rejects"
                " where file_id = %s and row_number between %s and %s order by row_number, reason",
                (file_id, first, last),
            ).fetchall()
            rejects = (Reject(*row) for row in rows)
            return {row: list(reasons) for row, reasons in groupby(rejects, key=lambda reject: reject.row_number)}

        return between

    def _not_there(self) -> Outcome:
        """Say what became of a file that is not (any more) what was seen."""
        name, site = self._waiting.shown_name, self._waiting.site
        if self._waiting.path.is_file():
            return Outcome(state="waiting", name=name, site=site)
        # Somebody else, who had the same file on his list, may just have loaded it.
        finished = self._ledger.finished_arrival(self._waiting)
        if finished is not None and finished.outcome == "loaded" and finished.sha256 is not None:
            return self._ledger.recorded(self._waiting, finished.sha256)
        return Outcome(state="gone", name=name, site=site)

    def _failed(self, arrival: Arrival, error: Exception) -> Outcome:
        """Record a failed try; the last one puts the file into quarantine."""
        failure = _failure(self._waiting, error, arrival.attempts)
        try:
            # The connection may be what has failed.
            with connect(self._context.warehouse, "loader") as connection:
                ledger = Ledger(connection)
                arrival = ledger.reread(arrival)
                ledger.decide_arrival(arrival, "failed", cause(error))
                if arrival.sha256 is not None:
                    ledger.fail_file(arrival.sha256, cause(error), self._context.clock())
                if arrival.attempts >= MAX_ATTEMPTS:
                    return _Load(self._waiting, self._context, connection, ledger)._given_up(arrival, cause(error))
        except (psycopg.Error, OSError):
            pass
        raise failure from error


def _refuse_by_name(waiting: Waiting) -> None:
    if waiting.is_too_deep:
        raise FileProblem(
            "too_deep",
            "The file lies in a folder within a folder. A folder in the landing folder names a site, and there is "
            "nothing below it.",
            "Drop the file into the landing folder itself or into the folder of its site.",
        )
    if waiting.ending is None:
        raise FileProblem(
            "unknown_ending",
            f"The name does not end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}, so it is not taken for a table.",
            "Export it as CSV (a workbook: save as 'CSV UTF-8'), or rename it if it is one.",
        )


def _too_many(account: Account, rules: LoadingRules) -> Problem:
    return Problem(
        TOO_MANY_REJECTED,
        f"{account.rows_rejected:,} of {account.rows_read:,} rows ({percent(account.rejected_share)}) were rejected; "
        f"at most {percent(rules.max_rejected_share)} may be. With so many, the whole file may be read wrongly.",
        "Look at the commonest reasons first: often all of them have one cause.",
    )


def _described(outcome: Outcome, judgement: Judgement) -> Outcome:
    return replace(
        outcome,
        account=judgement.account,
        detected=judgement.detected,
        notices=judgement.notices,
        reject_counts=judgement.reject_counts,
        first_rejects=judgement.first_rejects,
    )


def _known_id(outcome: Outcome) -> int:
    if outcome.file_id is None:
        raise RuntimeError(f"{outcome.name} has no row in the ledger.")
    return outcome.file_id


def _failure(waiting: Waiting, error: Exception, attempt: int | None = None) -> LoadingFailed:
    tries = f" (attempt {attempt} of {MAX_ATTEMPTS})" if attempt is not None else ""
    return failure(
        f"{waiting.shown_name} could not be loaded{tries}", error, "The file stays where it is and is tried again."
    )
