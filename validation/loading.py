"""One dropped file into the warehouse: the order of the steps, and what is done when one of them fails.

The order is what makes a crash harmless at any point: the copy in the archive is on the disk, then the ledger and the
rows are committed in one transaction, then the file leaves the landing folder. Rows are read from the archived copy,
never from the landing folder. What comes again after a crash is found in the ledger:

- not committed: the try left nothing but its number, and the next one begins anew, with the same recorded arrival;
- committed as loaded: the arrival bears its outcome but is not finished, so the next look only removes the file;
- committed as quarantined: the file is judged afresh, comes to the same verdict, and is moved.

What a content comes to is decided in `deciding`; the moving of unusable files is in `quarantine`.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import psycopg

from validation.archive import Archived, Gone, StillBeingWritten, is_still
from validation.context import LoadContext, LoadingFailed, cause, connect, failure, is_disk_full
from validation.deciding import Case, Deciding
from validation.judging import Content
from validation.landing import Waiting, companion_of
from validation.ledger import MAX_ATTEMPTS, Arrival, FileRow, Ledger, earlier
from validation.outcomes import Outcome, Problem, State, moment
from validation.problems import Notice
from validation.progress import Progress, Reporter
from validation.quarantine import rejects_of, set_aside
from validation.timing import Stopwatch

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
        self._stopwatch = Stopwatch()
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
        with self._stopwatch.timing("hash"):
            archived = self._context.archive.take(self._waiting, lambda done: self._report("copying", done))
        self._report.sha256 = archived.sha256
        self._report("archived")
        arrival = self._ledger.note_content(
            arrival, archived.sha256, self._waiting, self._context.clock(), self._context.run_id
        )
        with self._ledger.content_lock(archived.sha256):
            file = self._ledger.file(archived.sha256)
            if file is not None and file.state == "loaded":
                return self._known(arrival, archived, file)
            if file is not None and file.state == "retracted" and arrival.outcome in {"loaded", "already_loaded"}:
                # It was taken back before it could be removed; only what is dropped after that is judged afresh.
                head = self._head("retracted", arrival, archived.sha256, file.file_id)
                return self._taken_away(arrival, head, archived.path)
            file_id = self._ledger.begin_file(
                self._waiting, archived.sha256, arrival.arrived_at, self._context.rules, self._context.run_id
            )
            content = Content(
                archived.path,
                self._waiting.name,
                self._waiting.site,
                arrival.arrived_at,
                self._context.rules,
                self._context.profiles,
                self._context.cameras,
            )
            head = replace(
                self._head("quarantined", arrival, archived.sha256, file_id),
                max_rejected_share=self._context.rules.max_rejected_share,
            )
            case = Case("load", head, content)
            deciding = Deciding(case, self._context, self._connection, self._report, self._began)
            outcome = deciding.decide(lambda outcome: self._decide_arrival(arrival, outcome))
            return self._taken_away(arrival, self._noting_namesake(outcome), archived.path)

    def _decide_arrival(self, arrival: Arrival, outcome: Outcome) -> None:
        state: Literal["loaded", "quarantined"] = "loaded" if outcome.state == "loaded" else "quarantined"
        self._ledger.decide_arrival(arrival, state, outcome.problem.sentence if outcome.problem else None)

    def _head(self, state: State, arrival: Arrival, sha256: str | None, file_id: int | None) -> Outcome:
        """Say what is known of the file before anything is known of its content."""
        return Outcome(
            state=state,
            name=self._waiting.shown_name,
            site=self._waiting.site,
            size_bytes=self._waiting.size_bytes,
            sha256=sha256,
            file_id=file_id,
            arrived_at=arrival.arrived_at,
            attempt=arrival.attempts,
            timed=dict(self._stopwatch.seconds),
        )

    def _recorded(self, sha256: str) -> Outcome:
        return replace(self._ledger.recorded(sha256), name=self._waiting.shown_name)

    def _noting_namesake(self, outcome: Outcome) -> Outcome:
        """Add a word on other content that is loaded under the same name; it is none of this content's own story."""
        if outcome.state != "loaded" or outcome.sha256 is None:
            return outcome
        namesake = self._ledger.namesake(self._waiting, outcome.sha256)
        return outcome if namesake is None else replace(outcome, notices=(*outcome.notices, _other_content(namesake)))

    def _known(self, arrival: Arrival, archived: Archived, file: FileRow) -> Outcome:
        """Finish with a content that is loaded: by an earlier drop, or by this one before it was broken off."""
        if arrival.outcome == "loaded":
            outcome = self._noting_namesake(self._recorded(archived.sha256))
        else:
            self._ledger.decide_arrival(arrival, "already_loaded")
            outcome = replace(
                self._head("already_loaded", arrival, archived.sha256, file.file_id),
                earlier=earlier(file),
                repairs=self._ledger.recorded(archived.sha256).repairs,
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
        outcome = replace(
            self._head("quarantined", arrival, arrival.sha256, file.file_id if file else None), problem=problem
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
                    self._waiting,
                    self._context.landing,
                    outcome,
                    content,
                    rejects_of(self._connection, outcome.file_id),
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

    def _not_there(self) -> Outcome:
        """Say what became of a file that is not (any more) what was seen."""
        name, site = self._waiting.shown_name, self._waiting.site
        if self._waiting.path.is_file():
            return Outcome(state="waiting", name=name, site=site)
        # Somebody else, who had the same file on his list, may just have loaded it.
        finished = self._ledger.finished_arrival(self._waiting)
        if finished is not None and finished.outcome == "loaded" and finished.sha256 is not None:
            return self._recorded(finished.sha256)
        return Outcome(state="gone", name=name, site=site)

    def _failed(self, arrival: Arrival, error: Exception) -> Outcome:
        """Record a failed try; the last one puts the file into quarantine. One for want of room does not count."""
        failure = _failure(self._waiting, error, arrival.attempts)
        try:
            # The connection may be what has failed.
            with connect(self._context.warehouse, "loader") as connection:
                ledger = Ledger(connection)
                arrival = ledger.reread(arrival)
                if is_disk_full(error):
                    ledger.take_back_attempt(arrival)
                else:
                    ledger.decide_arrival(arrival, "failed", cause(error))
                if arrival.sha256 is not None:
                    ledger.fail_file(arrival.sha256, cause(error), self._context.clock())
                if arrival.attempts >= MAX_ATTEMPTS and not is_disk_full(error):
                    return _Load(self._waiting, self._context, connection, ledger)._given_up(arrival, cause(error))
        except (psycopg.Error, OSError):
            pass
        raise failure from error


def _failure(waiting: Waiting, error: Exception, attempt: int | None = None) -> LoadingFailed:
    tries = f" (attempt {attempt} of {MAX_ATTEMPTS})" if attempt is not None else ""
    return failure(
        f"{waiting.shown_name} could not be loaded{tries}", error, "The file stays where it is and is tried again."
    )


def _other_content(file: FileRow) -> Notice:
    when = f" on {moment(file.finished_at)}" if file.finished_at else ""
    return Notice(
        "same_name",
        f"A file of this name was loaded{when} with other content; its events stay. To take them back: footfall "
        f"retract {file.sha256[:12]}",
    )
