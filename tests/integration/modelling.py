"""What tests of the models need: to put events into a warehouse as loads would, to run the real dbt, to read tables.

What the tables should hold is for the tests to say.
"""

from __future__ import annotations

import functools
import os
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

import psycopg
from dbt.cli.main import dbtRunner, dbtRunnerResult
from dbt.contracts.graph.manifest import Manifest
from dbt_common.events.base_types import EventMsg
from psycopg import sql
from psycopg.rows import dict_row, tuple_row
from psycopg.types.json import Jsonb

from warehouse.connections import Warehouse

PROJECT = Path(__file__).parents[2] / "dbt_project"
DEFAULT_PARAMETERS: dict[str, Any] = {
    "max_session_hours": 12.0,
    "repeat_seconds": 60.0,
    "visit_gap_minutes": 30.0,
    "bounce_seconds": 30.0,
    "default_timezone": "UTC",
    "excluded_ids": [],
    "min_confidence": None,
    "anonymous_ids": ["-1", "unknown", "anonymous"],
}


def at(text: str) -> datetime:
    """An instant from `2024-05-01 10:00:00` in UTC, or with an offset of its own."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


LATER = at("2030-01-01 00:00:00")


@dataclass(frozen=True)
class Signal:
    """One event as a file might tell of it. `number` orders the ids of events that are otherwise alike in time."""

    person_id: str
    camera_id: str
    event_type: str
    time: datetime
    end: datetime | None = None
    confidence: float | None = None
    number: int | None = None
    age: int | None = None
    age_group: str | None = None
    gender: str | None = None

    @property
    def event_id(self) -> UUID:
        if self.number is not None:
            return UUID(int=self.number)
        return uuid5(
            NAMESPACE_OID, "|".join(map(str, (self.person_id, self.camera_id, self.event_type, self.time, self.end)))
        )


def row_counts(warehouse: Warehouse) -> dict[str, tuple[int | None, int]]:
    """How many rows each stored model says it has, and how many it has."""
    with warehouse.connect("transformer") as connection:
        states = connection.execute(
            "select schemaname, model, row_count from intermediate.model_states"
            " inner join pg_tables on model = tablename"
        ).fetchall()
        counted = {}
        for schema, model, told in states:
            count = sql.SQL("select count(*) from {}").format(sql.Identifier(schema, model))
            (there,) = connection.execute(count).fetchone() or (0,)
            counted[model] = (told, there)
    return counted


@dataclass
class Models:
    """A warehouse's raw tables, to write, and its marts, to build and read."""

    warehouse: Warehouse
    owner: psycopg.Connection = field(init=False)

    def __post_init__(self) -> None:
        self.owner = self.warehouse.connect("owner", autocommit=True)
        self.set_parameters(**DEFAULT_PARAMETERS)

    def close(self) -> None:
        self.owner.close()

    def set_parameters(self, **values: Any) -> None:
        for name, value in values.items():
            self.owner.execute(
                "insert into raw.parameters values (%s, %s) on conflict (name) do update set value = excluded.value",
                [name, Jsonb(value)],
            )

    def set_cameras(self, *cameras: Mapping[str, Any]) -> None:
        with self.owner.transaction():
            self.owner.execute("delete from raw.cameras")
            for camera in cameras:
                self.owner.execute(
                    sql.SQL("insert into raw.cameras ({}) values ({})").format(
                        sql.SQL(", ").join(map(sql.Identifier, camera)),
                        sql.SQL(", ").join(sql.Placeholder() * len(camera)),
                    ),
                    list(camera.values()),
                )

    def load(self, signals: Iterable[Signal], arrived_at: datetime = LATER, site: str | None = None) -> int:
        """One file's events, committed as one batch; returns the file's id. Events that are there already stay.

        `site` is the subfolder that the file was dropped in, which then begins the name of each of its cameras.
        """
        signals = list(signals)
        assert site is None or all(signal.camera_id.startswith(f"{site}/") for signal in signals)
        with self.owner.transaction():
            file_id = self._one(
                "insert into raw.files (sha256, file_name, site, size_bytes, state, arrived_at, rows_read, rows_loaded,"
                " rows_rejected, rows_duplicate)"
                " values (gen_random_uuid()::text, 'x.csv', %s, 1, 'loaded', %s, 1, 1, 0, 0) returning file_id",
                site,
                arrived_at,
            )
            batch_id = self._batch("load", file_id)
            for row_number, signal in enumerate(signals, start=2):
                self.owner.execute(
                    "insert into raw.events (event_id, person_id, camera_id, event_type, event_word, event_time,"
                    " end_time, confidence, age, age_group, gender, attributes, file_id, row_number, batch_id)"
                    " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
                    [
                        signal.event_id,
                        signal.person_id,
                        signal.camera_id,
                        signal.event_type,
                        signal.event_type,
                        signal.time,
                        signal.end,
                        signal.confidence,
                        signal.age,
                        signal.age_group,
                        signal.gender,
                        Jsonb({"row": 1}),
                        file_id,
                        row_number,
                        batch_id,
                    ],
                )
        return file_id

    def retract(self, file_id: int) -> None:
        """Take a file's events back, as one batch."""
        with self.owner.transaction():
            batch_id = self._batch("retract", file_id)
            self.owner.execute(
                "with gone as (delete from raw.events where file_id = %s returning *)"
                " insert into raw.retracted_events"
                " select %s, event_id, person_id, camera_id, event_time, end_time from gone",
                [file_id, batch_id],
            )

    def retract_and_drop_elsewhere(self, file_id: int, site: str | None) -> None:
        """Take a file back and find the same content in another folder, where no row of it is good."""
        self.retract(file_id)
        self.owner.execute("update raw.files set site = %s, state = 'quarantined' where file_id = %s", [site, file_id])

    def restate(self, signal: Signal, confidence: float, age_group: str | None = None) -> None:
        """A later file's better row of an event that is there: it gives the event its columns."""
        with self.owner.transaction():
            file_id = self._one("select max(file_id) from raw.files")
            self.owner.execute(
                "update raw.events set confidence = %s, age_group = %s, batch_id = %s where event_id = %s",
                [confidence, age_group, self._batch("load", file_id), signal.event_id],
            )

    def dbt(
        self,
        *arguments: str,
        on_event: Callable[[EventMsg], None] | None = None,
        manifest: Manifest | None = None,
    ) -> dbtRunnerResult:
        """Run dbt in this process; `on_event` hears of all it does, each statement included before it is sent."""
        with _environment_of(self.warehouse):
            manifest = manifest or _manifest_for(self.warehouse.database)
            return dbtRunner(manifest, [on_event] if on_event else []).invoke([*arguments, *_paths()])

    def run(self, *arguments: str, on_event: Callable[[EventMsg], None] | None = None) -> None:
        """Run the models; the test fails if dbt does."""
        result = self.dbt("run", *arguments, on_event=on_event)
        assert result.success, account_of(result)

    def build(self, *arguments: str) -> None:
        """Run the models and the tests that dbt has of them; the test fails if one of them does."""
        result = self.dbt("build", *arguments)
        assert result.success, account_of(result)

    def compile_inline(self, statement: str) -> str:
        """Have dbt fill in the macros of a statement."""
        result = self.dbt("compile", "--inline", statement)
        assert result.success, account_of(result)
        compiled: str = result.result.results[0].node.compiled_code  # type: ignore[union-attr]
        return compiled

    def rows(self, table: str, columns: str = "*", order: str = "1") -> list[tuple[Any, ...]]:
        with self.warehouse.connect("bi_reader", row_factory=tuple_row) as connection:
            return connection.execute(f"select {columns} from marts.{table} order by {order}").fetchall()  # type: ignore[arg-type]

    def records(self, table: str, order: str = "1") -> list[dict[str, Any]]:
        with self.warehouse.connect("bi_reader", row_factory=dict_row) as connection:
            return connection.execute(f"select * from marts.{table} order by {order}").fetchall()  # type: ignore[arg-type]

    def row_versions(self) -> dict[str, set[tuple[str, str]]]:
        """Where each stored row lies and which transaction wrote it: the same if and only if nothing was written."""
        with self.warehouse.connect("transformer") as connection:
            return {
                table: set(connection.execute(f"select ctid::text, xmin::text from {table}"))  # type: ignore[arg-type]
                for table in stored_tables()
            }

    def _batch(self, kind: str, file_id: int) -> int:
        return self._one("insert into raw.batches (kind, file_id) values (%s, %s) returning batch_id", kind, file_id)

    def _one(self, query: str, *values: Any) -> int:
        row = self.owner.execute(query, values).fetchone()  # type: ignore[arg-type]
        assert row is not None
        return int(row[0])


@contextmanager
def unchanged(warehouse: Warehouse) -> Iterator[None]:
    """Every stored table and every mart that tells of events holds afterwards the rows that it held before."""
    of_builds = {"marts.data_version", "marts.present_state"}
    tables = sorted({*stored_tables(), *(f"marts.{mart}" for mart in model_names("marts"))} - of_builds)
    with warehouse.connect("transformer", autocommit=True) as connection:
        for number, table in enumerate(tables):
            connection.execute(f"create temporary table before_{number} as table {table}")  # type: ignore[arg-type]
        yield
        for number, table in enumerate(tables):
            came, went = (
                connection.execute(f"table {left} except all table {right}").fetchall()  # type: ignore[arg-type]
                for left, right in ((table, f"before_{number}"), (f"before_{number}", table))
            )
            assert (came, went) == ([], []), f"{table}: rows that came / rows that went"


def stay(person: str, camera: str, start: str | datetime, seconds: float | None = None) -> list[Signal]:
    """An entry and, unless the stay has no end, its exit."""
    entry = at(start) if isinstance(start, str) else start
    signals = [Signal(person, camera, "entry", entry)]
    if seconds is not None:
        signals.append(Signal(person, camera, "exit", entry + timedelta(seconds=seconds)))
    return signals


CAMERAS = ("C1", "C2", "out/C1", "out/C2")


def random_signals(chance: random.Random, count: int, cameras: Sequence[str] = CAMERAS) -> list[Signal]:
    """Events that meet often: few persons, cameras and instants, in two sites and an autumn night."""
    start = at("2024-10-26 20:00:00")
    signals = []
    for _ in range(count):
        time = start + timedelta(
            hours=chance.choice([0, 0, 0, 1, 5, 12, 13, 24]),
            seconds=chance.choice([0, 0, 10, 60, 61, 600, 1800]),
            microseconds=chance.choice([0, 0, 1]),
        )
        kind = chance.choice(["entry"] * 5 + ["exit"] * 5 + ["appearance", "other"])
        end = time + timedelta(minutes=chance.choice([0, 7, 90, 3000])) if kind == "appearance" else None
        person = chance.choice(["a", "b", "c", "unknown", "staff"])
        confidence = chance.choice([None, 0.3, 0.9])
        signals.append(Signal(person, chance.choice(cameras), kind, time, end, confidence))
    return signals


@functools.cache
def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="footfall-dbt-")


# The project that dbt works on, and where it keeps what it parsed; none means a temporary folder.
_places: list[tuple[Path, Path | None]] = [(PROJECT, None)]


def target_folder() -> Path:
    """Where dbt keeps what it parsed."""
    _, target = _places[-1]
    return target or Path(_temporary_folder().name)


@contextmanager
def other_project(project: Path, target: Path) -> Iterator[None]:
    """Let dbt work on another project in the meantime."""
    _places.append((project, target))
    try:
        yield
    finally:
        _places.pop()


def _paths() -> list[str]:
    project, target = str(_places[-1][0]), str(target_folder())
    return [
        "--project-dir", project, "--profiles-dir", project,
        "--target-path", target, "--log-path", target, "--log-level", "none",
    ]  # fmt: skip


def _parsed() -> tuple[str, Manifest]:
    return _parse(_places[-1][0])


@functools.cache
def _parse(_project: Path) -> tuple[str, Manifest]:
    """The parsed project, and the name of the database it was parsed for."""
    result = dbtRunner().invoke(["parse", *_paths()])
    assert result.success, account_of(result)
    assert isinstance(result.result, Manifest)
    return os.environ["FOOTFALL_DB_NAME"], result.result


def parsed_project(warehouse: Warehouse) -> Manifest:
    """The parsed project as dbt's own object, for this warehouse."""
    with _environment_of(warehouse):
        return _manifest_for(warehouse.database)


def model_names(schema: str | None = None) -> list[str]:
    """The models, or those that a schema holds."""
    return sorted(node.name for node in _models() if schema in {None, node.schema})


def incremental_models() -> list[str]:
    """The models that take in one batch after the other."""
    return sorted(node.name for node in _models() if node.config.materialized == "incremental")


def stored_tables() -> list[str]:
    """The models that are tables, with their schemas."""
    return sorted(f"{node.schema}.{node.name}" for node in _stored_models())


def stored_parents() -> dict[str, set[str]]:
    """Of each model that is a table, those that it reads."""
    names = {node.unique_id: node.name for node in _stored_models()}
    return {
        node.name: {names[parent] for parent in node.depends_on.nodes if parent in names} for node in _stored_models()
    }


def _stored_models() -> list[Any]:
    return [node for node in _models() if node.config.materialized in {"incremental", "table"}]


def _models() -> list[Any]:
    _, manifest = _parsed()
    return [node for node in manifest.nodes.values() if node.resource_type == "model"]


def _manifest_for(database: str) -> Manifest:
    """The parsed project for another database: parsing costs seconds, and each test has a database of its own."""
    parsed_for, parsed = _parsed()
    manifest = parsed.deepcopy()
    for node in (*manifest.nodes.values(), *manifest.sources.values(), *manifest.functions.values()):
        node.database = database
        if getattr(node, "relation_name", None):
            node.relation_name = node.relation_name.replace(f'"{parsed_for}"', f'"{database}"')
    manifest.rebuild_ref_lookup()
    return manifest


def account_of(result: dbtRunnerResult) -> str:
    """What dbt says went wrong."""
    if result.exception is not None:
        return str(result.exception)
    outcomes = getattr(result.result, "results", [])
    return "\n".join(f"{each.node.name}: {each.message}" for each in outcomes if str(each.status) in {"error", "fail"})


@contextmanager
def _environment_of(warehouse: Warehouse) -> Iterator[None]:
    parts = warehouse.parameters("transformer")
    names = {
        "HOST": "host",
        "PORT": "port",
        "USER": "user",
        "PASSWORD": "password",
        "NAME": "dbname",
        "SSLMODE": "sslmode",
    }
    before = dict(os.environ)
    os.environ.update({f"FOOTFALL_DB_{name}": parts[key] for name, key in names.items()})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
