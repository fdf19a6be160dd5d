"""The ledger in PostgreSQL: a row per content, a row per arrival. It is the truth about which file is loaded.

Only the statements on `raw.files`, `raw.arrivals` and `raw.batches` are here. When which of them is due is decided in
`loading` and `corrections`; what an outcome looks like as a row is said in `recorded`; rows of events are handled in
`staging`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Literal

import psycopg
from psycopg.rows import class_row, dict_row

from validation.landing import Waiting
from validation.outcomes import Earlier, Original, Outcome
from validation.recorded import columns_of, outcome_of
from validation.rules import LoadingRules
from validation.storable import storable, storable_json
from validation.timestamps import DATE_ORDER_AMBIGUOUS

MAX_ATTEMPTS = 3
FINISHED = ("loaded", "already_loaded", "quarantined")

BatchKind = Literal["load", "retract", "release", "replay"]
ArrivalOutcome = Literal["loaded", "already_loaded", "quarantined", "failed"]

# Namespaces of advisory locks. A loader takes them in this order, at most one of each: no two wait for each other.
_PATH_LOCK, _CONTENT_LOCK, _MERGE_LOCK = 0x466F6F01, 0x466F6F02, 0x466F6F03

_FILE = "file_id, sha256, state, file_name, site, batch_id, finished_at"
_ARRIVAL = "arrival_id, arrived_at, attempts, sha256, outcome, error, finished_at"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_MICROS = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One time a file was dropped. `attempts` counts the tries to load it, this one included.

    `outcome` without `finished_at` says that the verdict stands but the file may still lie in the landing folder.
    """

    arrival_id: int
    arrived_at: datetime
    attempts: int
    sha256: str | None
    outcome: ArrivalOutcome | None
    error: str | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class FileRow:
    """What the ledger says of one content."""

    file_id: int
    sha256: str
    state: Literal["loading", "loaded", "quarantined", "failed", "retracted"]
    file_name: str
    site: str | None
    batch_id: int | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Due:
    """A file in the landing folder that is to be loaded, and the number of the try that this would be."""

    waiting: Waiting
    attempt: int


def _lock_number(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8"), digest_size=4).digest(), "big", signed=True)


def _modified_at(waiting: Waiting) -> datetime:
    """Return when the file says it was changed, which may be any time, cut to what can be stored."""
    micros = min(max(waiting.modified_ns // 1000, -_LATEST_MICROS // 2), _LATEST_MICROS)
    return _EPOCH + timedelta(microseconds=micros)


class Ledger:
    """Reads and writes the ledger over one connection, which is in autocommit mode outside `transaction` blocks."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    # Locks

    @contextmanager
    def path_lock(self, waiting: Waiting) -> Iterator[None]:
        """Keep everybody else from working on this place in the landing folder."""
        with self._lock(_PATH_LOCK, waiting.shown_name):
            yield

    @contextmanager
    def content_lock(self, sha256: str) -> Iterator[None]:
        """Keep everybody else from judging this content."""
        with self._lock(_CONTENT_LOCK, sha256):
            yield

    @contextmanager
    def _lock(self, namespace: int, text: str) -> Iterator[None]:
        key = (namespace, _lock_number(text))
        self._connection.execute("select pg_advisory_lock(%s, %s)", key)
        yield
        # After an exception the connection may be in the middle of a statement; the lock then goes with it.
        self._connection.execute("select pg_advisory_unlock(%s, %s)", key)

    def lock_merging(self) -> None:
        """Wait until no other loader merges; held to the end of the transaction, so that batches commit in order."""
        self._connection.execute("select pg_advisory_xact_lock(%s, 0)", (_MERGE_LOCK,))

    # Arrivals

    def due(self, waiting: Sequence[Waiting]) -> list[Due]:
        """Those of the files that are to be loaded: all but the ones that are finished and cannot be removed."""
        return [
            Due(one, arrival.attempts + 1 if arrival else 1)
            for one in waiting
            if (arrival := self._unfinished(one)) is None
            or arrival.outcome not in FINISHED
            or arrival.attempts < MAX_ATTEMPTS
        ]

    def begin_arrival(self, waiting: Waiting, now: datetime, run_id: str) -> Arrival:
        """Note that this file is being looked at: a new arrival, or one more try at one that was never finished."""
        before = self._unfinished(waiting)
        if before is None:
            return self._new_arrival(waiting, now, run_id)
        self._connection.execute(
            "update raw.arrivals set attempts = attempts + 1, run_id = %s where arrival_id = %s",
            (run_id, before.arrival_id),
        )
        return replace(before, attempts=before.attempts + 1)

    def _new_arrival(self, waiting: Waiting, now: datetime, run_id: str) -> Arrival:
        with self._connection.cursor(row_factory=class_row(Arrival)) as cursor:
            row = cursor.execute(
                "insert into raw.arrivals (path, site, size_bytes, modified_at, arrived_at, run_id)"  # noqa: S608
                f" values (%s, %s, %s, %s, %s, %s) returning {_ARRIVAL}",
                (waiting.shown_name, _site(waiting), waiting.size_bytes, _modified_at(waiting), now, run_id),
            ).fetchone()
        assert row is not None  # noqa: S101 - an insert returns its row
        return row

    def _unfinished(self, waiting: Waiting) -> Arrival | None:
        return self._latest_arrival(waiting, "finished_at is null")

    def finished_arrival(self, waiting: Waiting) -> Arrival | None:
        """Find the last time that exactly this file was finished, for one that has just left the landing folder."""
        return self._latest_arrival(waiting, "finished_at is not null")

    def _latest_arrival(
        self, waiting: Waiting, condition: Literal["finished_at is null", "finished_at is not null"]
    ) -> Arrival | None:
        with self._connection.cursor(row_factory=class_row(Arrival)) as cursor:
            return cursor.execute(
                f"select {_ARRIVAL} from raw.arrivals"  # noqa: S608
                f" where path = %s and size_bytes = %s and modified_at = %s and {condition}"
                " order by arrival_id desc limit 1",
                (waiting.shown_name, waiting.size_bytes, _modified_at(waiting)),
            ).fetchone()

    def note_content(self, arrival: Arrival, sha256: str, waiting: Waiting, now: datetime, run_id: str) -> Arrival:
        """Note what the file turned out to hold; returns its arrival.

        That is another one where the same place held other content before, whatever size and time of change say.
        """
        if arrival.sha256 not in {None, sha256}:
            self.finish_arrival(arrival, now)
            arrival = self._new_arrival(waiting, now, run_id)
        self._connection.execute(
            "update raw.arrivals set sha256 = %s where arrival_id = %s", (sha256, arrival.arrival_id)
        )
        return arrival

    def decide_arrival(self, arrival: Arrival, outcome: ArrivalOutcome, error: str | None = None) -> None:
        """Note the verdict; the file may still lie where it was dropped."""
        self._connection.execute(
            "update raw.arrivals set outcome = %s, error = %s where arrival_id = %s",
            (outcome, error and storable(error), arrival.arrival_id),
        )

    def finish_arrival(self, arrival: Arrival, now: datetime) -> None:
        """Note that the file has left the landing folder."""
        self._connection.execute(
            "update raw.arrivals set finished_at = %s where arrival_id = %s", (now, arrival.arrival_id)
        )

    def reread(self, arrival: Arrival) -> Arrival:
        """Return the arrival as it stands now."""
        with self._connection.cursor(row_factory=class_row(Arrival)) as cursor:
            row = cursor.execute(
                f"select {_ARRIVAL} from raw.arrivals where arrival_id = %s",  # noqa: S608
                (arrival.arrival_id,),
            ).fetchone()
        return row or arrival

    def take_back_attempt(self, arrival: Arrival) -> None:
        """Forget a try that was not the file's fault: it was interrupted, or the file was still being written."""
        self._connection.execute(
            "update raw.arrivals set attempts = attempts - 1 where arrival_id = %s", (arrival.arrival_id,)
        )
        self._connection.execute(
            "delete from raw.arrivals where arrival_id = %s and attempts = 0 and outcome is null", (arrival.arrival_id,)
        )

    # Contents

    def file(self, sha256: str) -> FileRow | None:
        """Look up what is known of a content."""
        with self._connection.cursor(row_factory=class_row(FileRow)) as cursor:
            return cursor.execute(
                f"select {_FILE} from raw.files where sha256 = %s",  # noqa: S608
                (sha256,),
            ).fetchone()

    def begin_file(self, waiting: Waiting, sha256: str, arrived_at: datetime, rules: LoadingRules, run_id: str) -> int:
        """Note that a content is being judged, for the first time or afresh; returns its file_id.

        What an earlier judgement found is forgotten, its rejects too.
        """
        row = self._connection.execute(
            """
            insert into raw.files (sha256, file_name, site, size_bytes, state, arrived_at, run_id, rules)
            values (%(sha256)s, %(name)s, %(site)s, %(size)s, 'loading', %(arrived_at)s, %(run_id)s, %(rules)s)
            on conflict (sha256) do update set
                file_name = excluded.file_name, site = excluded.site, state = 'loading', run_id = excluded.run_id,
                attempts = case when files.state in ('loading', 'failed') then files.attempts + 1 else 1 end,
                arrived_at = excluded.arrived_at, rules = excluded.rules, finished_at = null, batch_id = null,
                repairs_file_id = null, first_event_time = null, last_event_time = null,
                profile = null, encoding = null, compression = null, delimiter = null, line_ending = null,
                date_order = null, header = null, time_formats = null, profile_fingerprint = null, local_zones = null,
                rows_read = null, rows_loaded = null, rows_rejected = null, rows_duplicate = null, rows_held = null,
                reject_counts = null, notices = null, released = false, seconds = null,
                stage_seconds = null, error_code = null, error = null
            where files.state <> 'loaded'
            returning file_id
            """,
            {
                "sha256": sha256,
                "name": waiting.shown_name,
                "site": _site(waiting),
                "size": waiting.size_bytes,
                "arrived_at": arrived_at,
                "run_id": run_id,
                "rules": storable_json(asdict(rules)),
            },
        ).fetchone()
        if row is None:
            raise RuntimeError(f"The content {sha256} is loaded and cannot be judged afresh.")
        file_id = int(row[0])
        self.forget_rejects(file_id)
        return file_id

    def judged_again(self, file_id: int, rules: LoadingRules, run_id: str, *, released: bool) -> None:
        """Note by which rules a content was judged that is not begun afresh; `released`: whatever its rejects."""
        self._connection.execute(
            "update raw.files set rules = %s, run_id = %s, released = %s where file_id = %s",
            (storable_json(asdict(rules)), run_id, released, file_id),
        )

    def count_events(self, file_id: int) -> int:
        """Count the events that are a content's own."""
        row = self._connection.execute("select count(*) from raw.events where file_id = %s", (file_id,)).fetchone()
        return int(row[0]) if row else 0

    def forget_rejects(self, file_id: int) -> None:
        """Forget which rows an earlier judgement set aside."""
        self._connection.execute("delete from raw.rejects where file_id = %s", (file_id,))

    def begin_batch(self, kind: BatchKind, file_id: int) -> int:
        """Begin a batch for what is done to a file; its number is greater than that of every batch committed so far."""
        row = self._connection.execute(
            "insert into raw.batches (kind, file_id) values (%s, %s) returning batch_id", (kind, file_id)
        ).fetchone()
        assert row is not None  # noqa: S101 - an insert returns its row
        return int(row[0])

    def decide_file(self, state: Literal["loaded", "quarantined", "failed"], outcome: Outcome, now: datetime) -> None:
        """Write what a load came to into the content's row."""
        values = {**columns_of(outcome, held=state == "quarantined"), "state": state, "finished_at": now}
        told = ", ".join(f"{column} = %({column})s" for column in values)
        self._connection.execute(
            f"update raw.files set {told} where file_id = %(file_id)s".encode(),  # noqa: S608
            {**values, "file_id": outcome.file_id},
        )

    def retract_file(self, file_id: int, batch_id: int, run_id: str, now: datetime) -> None:
        """Note that the rows of a loaded content are not loaded any more."""
        self._connection.execute(
            "update raw.files set state = 'retracted', rows_held = rows_loaded + rows_duplicate, rows_loaded = null,"
            " rows_duplicate = 0, released = false, batch_id = %s, run_id = %s, finished_at = %s where file_id = %s",
            (batch_id, run_id, now, file_id),
        )

    def namesake(self, waiting: Waiting, sha256: str) -> FileRow | None:
        """Find the other content that is loaded under the name of this file; the last, where there are several."""
        with self._connection.cursor(row_factory=class_row(FileRow)) as cursor:
            return cursor.execute(
                f"select {_FILE} from raw.files where file_name = %s and sha256 <> %s and state = 'loaded'"  # noqa: S608
                " order by finished_at desc, file_id desc limit 1",
                (waiting.shown_name, sha256),
            ).fetchone()

    def fail_file(self, sha256: str, error: str, now: datetime) -> None:
        """Note that a content could not be judged, for no fault of its own."""
        self._connection.execute(
            "update raw.files set state = 'failed', error_code = 'failed', error = %s, finished_at = %s"
            " where sha256 = %s and state = 'loading'",
            (storable(error), now, sha256),
        )

    def recorded(self, sha256: str) -> Outcome:
        """Return what became of a content, as the ledger has it now."""
        with self._connection.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute("select * from raw.files where sha256 = %s", (sha256,)).fetchone()
        if row is None:
            raise RuntimeError(f"The content {sha256} is not in the ledger.")
        return outcome_of(row, self._original("file_id", row["repairs_file_id"]))

    def original(self, sha256: str) -> Original | None:
        """Look up the file that a rejects file says it belongs to."""
        return self._original("sha256", sha256)

    def _original(self, column: Literal["file_id", "sha256"], value: object) -> Original | None:
        undecided = storable_json([{"code": DATE_ORDER_AMBIGUOUS}])
        with self._connection.cursor(row_factory=class_row(Original)) as cursor:
            return cursor.execute(
                "select file_id, file_name as name, site,"  # noqa: S608
                " case when notices @> %s then null else date_order end as date_order"
                f" from raw.files where {column} = %s",
                (undecided, value),
            ).fetchone()


def _site(waiting: Waiting) -> str | None:
    return None if waiting.site is None else storable(waiting.site)


def earlier(file: FileRow) -> Earlier:
    """Tell by which load a content that is dropped again came in."""
    return Earlier(file.file_name, file.site, file.finished_at)
