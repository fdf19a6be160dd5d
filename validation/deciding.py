"""What a content comes to: judged, and then, in one transaction, merged and entered in the ledger, or held back whole.

A load and a replay are the same but for what was there before: a replay replaces the rows that the file has, touching
none that come out as they are. The steps around it are in `loading` and `corrections`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal

import psycopg

from validation.context import LoadContext
from validation.judging import Content, Judgement, judge
from validation.ledger import Ledger
from validation.outcomes import TOO_MANY_REJECTED, Account, Correction, Outcome, Problem, percent
from validation.problems import FileProblem
from validation.progress import Reporter
from validation.rules import LoadingRules
from validation.staging import Staging
from validation.withdrawing import Withdrawal, Withdrawn, count_touched, forget_returned


@dataclass(frozen=True)
class Case:
    """A content to be decided on. `head` is what is known of it; its state is what it gets if it cannot be loaded.

    `has_rows`: it is loaded, and its rows are to be replaced. `released`: it is loaded whatever its rejected rows.
    """

    kind: Literal["load", "release", "replay"]
    head: Outcome
    content: Content
    has_rows: bool = False
    released: bool = False

    @property
    def file_id(self) -> int:
        """Its number in the ledger, which has begun it."""
        if self.head.file_id is None:
            raise RuntimeError(f"{self.head.name} has no row in the ledger.")
        return self.head.file_id


@dataclass
class Deciding:
    """One decision."""

    case: Case
    context: LoadContext
    connection: psycopg.Connection[Any]
    report: Reporter
    began: float

    def decide(self, on_commit: Callable[[Outcome], None] = lambda _outcome: None) -> Outcome:
        """Decide, and commit; `on_commit` is called in the transaction, with what the ledger is told."""
        case, rules = self.case, self.context.rules
        judgement = Judgement()
        try:
            with self.connection.transaction():
                self._ledger.forget_rejects(case.file_id)
                staging = Staging(self.connection, case.file_id)
                judge(case.content, staging, judgement, self.report, self._ledger.original)
                outcome = _described(case.head, judgement)
                account = judgement.account or Account(0)
                if too_many_rejected(account.rows_rejected, account.rows_read, rules) and not case.released:
                    outcome = self._held_back(replace(outcome, problem=_too_many(account, rules)))
                else:
                    outcome = self._merged(staging, outcome, account.rows_held)
                self._commit(outcome, on_commit)
        except FileProblem as problem:
            # The rows that had been staged until then are gone with the transaction, and are not told of.
            judgement = Judgement(
                judgement.detected, judgement.repairs, judgement.notices, stopwatch=judgement.stopwatch
            )
            outcome = replace(_described(case.head, judgement), problem=Problem.of(problem))
            with self.connection.transaction():
                self._ledger.forget_rejects(case.file_id)
                outcome = self._held_back(outcome)
                self._commit(outcome, on_commit)
        self.report("committed")
        return outcome

    def _merged(self, staging: Staging, outcome: Outcome, rows_good: int) -> Outcome:
        """Make events of the staged rows; whoever waits for it hears that it goes on."""
        with self._changing_events() as batch_id:
            withdrawn = Withdrawn()
            if self.case.has_rows:
                withdrawal = Withdrawal(self.connection, self.case.file_id)
                withdrawal.spare(staging)
                withdrawn = withdrawal.carry_out(batch_id)
            merged = staging.merge(batch_id)
            rows_loaded = self._ledger.count_events(self.case.file_id) if self.case.has_rows else merged.rows_loaded
            correction = self._counted(batch_id, withdrawn, merged.events_added)
        account = Account(
            rows_read=(outcome.account or Account(0)).rows_read,
            rows_loaded=rows_loaded,
            rows_rejected=(outcome.account or Account(0)).rows_rejected,
            rows_duplicate=rows_good - rows_loaded,
        )
        return replace(outcome, state="loaded", batch_id=batch_id, account=account, correction=correction)

    def _held_back(self, outcome: Outcome) -> Outcome:
        """Take back what is loaded of a file that cannot be used, if anything is."""
        if not self.case.has_rows:
            return replace(outcome, correction=None if self.case.kind == "load" else Correction(self.case.kind))
        with self._changing_events() as batch_id:
            withdrawn = Withdrawal(self.connection, self.case.file_id).carry_out(batch_id)
            return replace(outcome, batch_id=batch_id, correction=self._counted(batch_id, withdrawn, 0))

    @contextmanager
    def _changing_events(self) -> Iterator[int]:
        """Keep everybody else from changing events, to the end of the transaction, and begin a batch."""
        self.report("merging", 0)
        with self.report.heartbeat("merging"):
            self._ledger.lock_merging()
            yield self._ledger.begin_batch(self.case.kind, self.case.file_id)

    def _counted(self, batch_id: int, withdrawn: Withdrawn, inserted: int) -> Correction | None:
        if self.case.kind == "load":
            return None
        returned = forget_returned(self.connection, batch_id)
        added = inserted - returned
        return Correction(
            self.case.kind,
            events_added=added,
            events_changed=count_touched(self.connection, batch_id) - added,
            events_removed=withdrawn.events_removed - returned,
        )

    def _commit(self, outcome: Outcome, on_commit: Callable[[Outcome], None]) -> None:
        """Write the verdict into the ledger; the caller's transaction makes it true."""
        case = self.case
        outcome = replace(outcome, seconds=time.monotonic() - self.began)
        if case.kind != "load":
            self._ledger.judged_again(case.file_id, self.context.rules, self.context.run_id, released=case.released)
        self._ledger.decide_file(
            "loaded" if outcome.state == "loaded" else "quarantined", outcome, self.context.clock()
        )
        on_commit(outcome)
        self.report("committing")

    @property
    def _ledger(self) -> Ledger:
        return Ledger(self.connection)


def too_many_rejected(rows_rejected: int, rows_read: int, rules: LoadingRules) -> bool:
    """Whether so many rows are rejected that a file is held back whole."""
    return Decimal(rows_rejected) > Decimal(str(rules.max_rejected_share)) * rows_read


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
        site=outcome.site if judgement.repairs is None else judgement.repairs.site,
        repairs=judgement.repairs,
        account=judgement.account,
        detected=judgement.detected,
        notices=judgement.notices,
        reject_counts=judgement.reject_counts,
        first_rejects=judgement.first_rejects,
        first_event_time=judgement.first_event_time,
        last_event_time=judgement.last_event_time,
        timed={**outcome.timed, **judgement.stopwatch.seconds},
    )
