"""Corrections of what is loaded: retracting a file, releasing one from quarantine, judging one again.

Each of them is one transaction with a batch of its own in `raw.batches`, so that the models follow; killed at any point
it has been done whole or not at all. Which file is meant is found in `finding`, which files ought to be replayed in
`outdated`; what a judgement comes to is decided in `deciding`, the SQL is in `withdrawing` and `staging`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import psycopg

from validation.context import LoadContext, LoadingFailed, connect, failure
from validation.deciding import Case, Deciding
from validation.finding import CorrectionKind, CorrectionProblem, LedgerFile, file_by_hash
from validation.judging import Content
from validation.ledger import Ledger
from validation.outcomes import TOO_MANY_REJECTED, Account, Correction, Outcome, on_one_line
from validation.problems import Notice
from validation.progress import Reporter
from validation.quarantine import rejects_of, set_copy_aside
from validation.withdrawing import Withdrawal

__all__ = ["CorrectionProblem", "LoadContext", "LoadingFailed", "release_file", "replay_file", "retract_file"]

_DONE: dict[CorrectionKind, str] = {"retract": "retracted", "release": "released", "replay": "replayed"}


def retract_file(sha256: str, context: LoadContext) -> Outcome:
    """Take a loaded file's events back, but for those that another loaded file also brought.

    The outcome's state is `retracted`; its `correction` counts the events. Dropping the content again judges it
    afresh. Raises CorrectionProblem if it is not loaded, LoadingFailed for our own or the machine's faults; everything
    then is as it was before.
    """
    return _correct("retract", sha256, context, _Correction.retract)


def release_file(sha256: str, context: LoadContext) -> Outcome:
    """Load the good rows of a file that was quarantined for its share of rejected rows, whatever that share is.

    It is judged again, under the settings of today, with its recorded arrival as "now"; replays honour the release. The
    outcome is `loaded`, or `quarantined` if under those settings the file cannot be used at all. Raises
    CorrectionProblem if it is not quarantined for that reason, or its original is missing from the archive;
    LoadingFailed as `retract_file`.
    """
    return _correct("release", sha256, context, _Correction.release)


def replay_file(sha256: str, context: LoadContext) -> Outcome:
    """Judge a file's archived original again under the settings of today, with its recorded arrival as "now".

    Rows that come out as they are stay untouched. The outcome is `loaded`, or `quarantined` if the file cannot be used
    under these settings; it then lies in the landing folder's `rejected/` with its report. A file that is quarantined
    can be replayed too. Raises CorrectionProblem if it is retracted or never was judged to the end, or if its original
    is missing from the archive; LoadingFailed as `retract_file`.
    """
    return _correct("replay", sha256, context, _Correction.replay)


def _correct(
    kind: CorrectionKind, sha256: str, context: LoadContext, correct: Callable[[_Correction], Outcome]
) -> Outcome:
    name = sha256[:12]
    try:
        with (
            closing(connect(context.warehouse, "maintainer" if kind == "retract" else "loader")) as connection,
            Ledger(connection).content_lock(sha256),
        ):
            file = file_by_hash(connection, sha256)
            if file is None:
                raise CorrectionProblem("no_such_file", f"No file in the ledger has the hash {on_one_line(sha256)}.")
            name = on_one_line(file.name)
            return correct(_Correction(kind, file, context, connection))
    except CorrectionProblem:
        raise
    except Exception as error:
        raise failure(f"{name} could not be {_DONE[kind]}", error, "Everything is as it was before.") from error


class _Correction:
    """One correction of one file, whose content nobody else judges meanwhile."""

    def __init__(
        self, kind: CorrectionKind, file: LedgerFile, context: LoadContext, connection: psycopg.Connection[Any]
    ) -> None:
        self._kind = kind
        self._file = file
        self._name = on_one_line(file.name)
        self._context = context
        self._connection = connection
        self._ledger = Ledger(connection)
        self._began = time.monotonic()
        self._head = self._ledger.recorded(file.sha256)
        self._report = Reporter(file.name, self._head.size_bytes, context.on_progress, file.sha256)

    def retract(self) -> Outcome:
        file, account = self._file, self._head.account
        if file.state != "loaded" or account is None:
            raise self._refused("not_loaded", "" if file.state == "retracted" else "There is nothing to take back.")
        self._report("merging", 0)
        with self._connection.transaction(), self._report.heartbeat("merging"):
            self._ledger.lock_merging()
            batch_id = self._ledger.begin_batch("retract", file.file_id)
            withdrawal = Withdrawal(self._connection, file.file_id)
            stated = withdrawal.count_events()
            withdrawn = withdrawal.carry_out(batch_id)
            self._ledger.retract_file(file.file_id, batch_id, self._context.run_id, self._context.clock())
            self._report("committing")
        self._report("committed")
        self._report("finished")
        return replace(
            self._head,
            state="retracted",
            batch_id=batch_id,
            account=Account(
                account.rows_read,
                rows_rejected=account.rows_rejected,
                rows_held=account.rows_read - account.rows_rejected,
            ),
            correction=Correction(
                "retract",
                events_changed=withdrawn.events_passed_on,
                events_removed=withdrawn.events_removed,
                events_kept=stated - withdrawn.events_removed,
            ),
            seconds=time.monotonic() - self._began,
        )

    def release(self) -> Outcome:
        file = self._file
        if file.state != "quarantined":
            raise self._refused("not_quarantined", "Only a file in quarantine can be released.")
        if file.error_code != TOO_MANY_REJECTED:
            raise CorrectionProblem(
                "cannot_be_released",
                f"{self._name} cannot be released: it was not quarantined for its share of rejected rows. "
                f"{file.error or ''}".strip(),
            )
        return self._judge_again("release", released=True)

    def replay(self) -> Outcome:
        if self._file.state == "retracted":
            raise self._refused("not_loaded", "To load it again, drop it again.")
        if self._file.state not in {"loaded", "quarantined"}:
            raise self._refused("not_loaded", "It is judged when it is dropped again.")
        return self._judge_again("replay", released=self._file.released)

    def _judge_again(self, kind: Literal["release", "replay"], *, released: bool) -> Outcome:
        file, context = self._file, self._context
        original = context.archive.find(file.sha256)
        if original is None:
            raise CorrectionProblem(
                "original_missing",
                f"{self._name} cannot be {_DONE[kind]}: its original ({file.sha256}) is not in "
                f"{context.archive.folder}.",
                "Restore the archive from a backup, or drop the file again.",
            )
        content = Content(
            original, file.name, file.site, file.arrived_at, context.rules, context.profiles, context.cameras
        )
        head = replace(
            self._head, state="quarantined", account=None, max_rejected_share=context.rules.max_rejected_share
        )
        case = Case(kind, head, content, has_rows=file.state == "loaded", released=released)
        outcome = Deciding(case, context, self._connection, self._report, self._began).decide()
        if outcome.state == "quarantined":
            outcome = self._shown(outcome, original)
        self._report("finished")
        return replace(outcome, seconds=time.monotonic() - self._began)

    def _shown(self, outcome: Outcome, original: Path) -> Outcome:
        """See that people find a file that is not loaded any more, now that it is committed."""
        rejects = rejects_of(self._connection, self._file.file_id)
        try:
            return set_copy_aside(original, self._context.landing, outcome, rejects)
        except OSError as error:
            sentence = f"Its report could not be written to the landing folder ({error.strerror})."
            return replace(outcome, notices=(*outcome.notices, Notice("no_report", sentence)))

    def _refused(self, code: str, advice: str) -> CorrectionProblem:
        states = {
            "loaded": "is loaded",
            "retracted": "is retracted already" if self._kind == "retract" else "is retracted",
            "quarantined": "is in quarantine, so nothing of it is loaded",
            "loading": "has not been judged to the end",
            "failed": "has not been judged to the end",
        }
        code = "already_retracted" if self._file.state == "retracted" and self._kind == "retract" else code
        return CorrectionProblem(code, f"{self._name} {states[self._file.state]}.", advice, (self._file,))
