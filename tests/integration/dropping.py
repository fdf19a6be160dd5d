"""A landing folder, an archive and a warehouse, for tests that drop files and look at what became of them."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from validation.cameras import Camera
from validation.landing import LandingFolder, Waiting
from validation.loading import LoadContext, Progress, load_file
from validation.outcomes import Outcome
from validation.profiles import Profile, load_profiles
from validation.rules import LoadingRules
from warehouse.connections import Warehouse

ARRIVAL = datetime(2024, 6, 1, 12, 0, tzinfo=UTC)
HEADER = "timestamp,person_id,camera_id,event_type"

# Everything that must not depend on the order in which files came: not the numbers of files, batches and arrivals.
EVENT = (
    "event_id, person_id, camera_id, event_type, event_word, event_time, end_time, zone, confidence, age, age_group,"
    " gender, attributes"
)


def csv_of(rows: Iterable[str], header: str = HEADER) -> bytes:
    return "\n".join([header, *rows, ""]).encode()


def good_rows(count: int, person: str = "P") -> list[str]:
    return [
        f"2024-05-{1 + i // 1440 % 28:02d} {i // 60 % 24:02d}:{i % 60:02d}:00,{person}{i},CAM-1,entry"
        for i in range(count)
    ]


@dataclass
class Dropping:
    """`drop` puts a file into the landing folder, `load` loads it; the rest looks at the results."""

    warehouse: Warehouse
    home: Path
    landing: Path
    rules: LoadingRules = field(default_factory=LoadingRules)
    profiles: Sequence[Profile] = field(default_factory=lambda: load_profiles(None))
    cameras: Sequence[Camera] = ()
    now: datetime = ARRIVAL

    def context(self, on_progress: Callable[[Progress], None] = lambda _progress: None) -> LoadContext:
        return LoadContext(
            warehouse=self.warehouse,
            home=self.home,
            landing=self.landing,
            rules=self.rules,
            profiles=self.profiles,
            cameras=self.cameras,
            run_id="run-1",
            on_progress=on_progress,
            clock=lambda: self.now,
        )

    def with_rules(self, **rules: Any) -> Dropping:
        return replace(self, rules=replace(self.rules, **rules))

    def drop(self, content: bytes | Iterable[str], name: str = "x.csv") -> Waiting:
        path = self.landing / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else csv_of(content)
        packed = name.endswith(".gz") and not data.startswith(b"\x1f\x8b")
        path.write_bytes(gzip.compress(data, mtime=0) if packed else data)
        return Waiting.at(path, self.landing)

    def load(
        self,
        content: bytes | Iterable[str],
        name: str = "x.csv",
        on_progress: Callable[[Progress], None] = lambda _progress: None,
    ) -> Outcome:
        return load_file(self.drop(content, name), self.context(on_progress))

    def waiting(self) -> list[Waiting]:
        return LandingFolder(self.landing).look()

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self.warehouse.connect("owner") as connection:
            return connection.execute(query, values or None).fetchall()  # type: ignore[call-overload]

    def row(self, query: str, *values: object) -> tuple[Any, ...]:
        (row,) = self.rows(query, *values)
        return row

    def value(self, query: str, *values: object) -> Any:
        return self.row(query, *values)[0]

    def count(self, table: str) -> int:
        return int(self.value(f"select count(*) from raw.{table}"))

    def snapshot(self) -> dict[str, list[tuple[Any, ...]]]:
        """What the tables say, without numbers that only tell in which order things happened."""
        return {
            "events": self.rows(
                f"select {EVENT}, sha256, row_number from raw.events join raw.files using (file_id) order by event_id"
            ),
            "duplicates": self.rows(
                f"select {EVENT}, sha256, row_number from raw.duplicates join raw.files using (file_id)"
                " order by sha256, row_number"
            ),
            "rejects": self.rows(
                "select sha256, row_number, reason, column_name, code, sentence, raw_text"
                " from raw.rejects join raw.files using (file_id) order by 1, 2, 3"
            ),
            "files": self.rows(
                "select sha256, state, site, profile, rows_read, rows_loaded, rows_rejected, rows_duplicate, rows_held,"
                " reject_counts, notices, error_code, arrived_at from raw.files order by sha256"
            ),
        }

    def empty(self) -> None:
        with self.warehouse.connect("owner") as connection:
            connection.execute(
                "truncate raw.files, raw.arrivals, raw.batches, raw.events, raw.duplicates, raw.rejects,"
                " raw.retracted_events, raw.file_reports"
            )

    def accounts_add_up(self) -> None:
        """Check that the ledger and the tables tell the same of every file, whatever has happened to it."""
        for row in self.rows(
            "select file_name, rows_read, rows_loaded, rows_rejected, rows_duplicate,"
            " (select count(*) from raw.events where events.file_id = files.file_id),"
            " (select count(*) from raw.duplicates where duplicates.file_id = files.file_id),"
            " (select count(distinct row_number) from raw.rejects where rejects.file_id = files.file_id)"
            " from raw.files where state = 'loaded'"
        ):
            name, read, loaded, rejected, duplicate, events, duplicates, rejects = row
            assert read == loaded + rejected + duplicate, name
            assert (loaded, rejected, duplicate) == (events, rejects, duplicates), name
