"""A real PostgreSQL for the integration tests: one server per test process, a fresh database per test."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from psycopg import sql

from warehouse.connections import Warehouse
from warehouse.embedded import EmbeddedPostgres
from warehouse.preparing import prepare

if TYPE_CHECKING:  # Dagster and dbt take seconds to import, and many tests do without
    from dagster import DagsterInstance

    from orchestration.resources import Footfall
    from tests.integration.asking_api import Api
    from tests.integration.modelling import Models
    from tests.integration.transcripts import Replay, Transcripts


@pytest.fixture(scope="session")
def programs() -> Path | None:
    """The programs that the tests were told to run instead of the wheel's (Debian's PostgreSQL 15, say)."""
    folder = os.environ.get("FOOTFALL_TEST_POSTGRES_BIN")
    return Path(folder) if folder else None


@pytest.fixture(scope="session")
def fast_settings() -> dict[str, str]:
    """Settings for servers whose data need not outlive the machine; they are otherwise the real ones."""
    return {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "256MB"}


@pytest.fixture(scope="session")
def server(programs: Path | None, fast_settings: dict[str, str]) -> Iterator[EmbeddedPostgres]:
    """A running server in a temporary home, removed at the end; those of killed test runs go first."""
    temporary = Path(tempfile.gettempdir())
    for left in temporary.glob("footfall-test-[0-9]*-*"):
        with suppress(FileNotFoundError):  # another test run may be removing the same
            if left.stat().st_uid == os.geteuid() and not psutil.pid_exists(int(left.name.split("-")[2])):
                EmbeddedPostgres(left, bin_dir=programs).remove()
                shutil.rmtree(left, ignore_errors=True)
    home = Path(tempfile.mkdtemp(prefix=f"footfall-test-{os.getpid()}-", dir=temporary))
    home.chmod(0o755)
    postgres = EmbeddedPostgres(home, port=0, bin_dir=programs, settings=fast_settings)
    postgres.start()
    yield postgres
    postgres.remove()
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def template(server: EmbeddedPostgres) -> Warehouse:
    """A prepared warehouse that no test touches, to be copied."""
    warehouse = server.warehouse()
    prepare(warehouse)
    return warehouse


_numbers = itertools.count(1)


@contextmanager
def fresh_warehouse(template: Warehouse) -> Iterator[Warehouse]:
    """A prepared warehouse of its own, for as long as it is needed; Dagster's storage would be a schema of it."""
    name = f"footfall_{next(_numbers)}"
    fresh = replace(template, database=name, dagster_database=name)
    with template.connect_as_administrator("postgres", autocommit=True) as connection:
        connection.execute(
            sql.SQL("create database {} template {} owner {}").format(
                sql.Identifier(name), sql.Identifier(template.database), sql.Identifier("footfall_owner")
            )
        )
        prepare(fresh)
        yield fresh
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def warehouse(template: Warehouse) -> Iterator[Warehouse]:
    """A fresh, prepared warehouse; Dagster's storage, if wanted, is a schema of the same database."""
    with fresh_warehouse(template) as warehouse:
        yield warehouse


@pytest.fixture(scope="session")
def recorded(template: Warehouse) -> tuple[str, Transcripts]:
    """What dbt says to a database, and that database's name; recorded once per process."""
    from tests.integration.modelling import Models
    from tests.integration.recording import record

    with fresh_warehouse(template) as warehouse, closing(Models(warehouse)) as models:
        return warehouse.database, record(models)


@pytest.fixture
def replay(warehouse: Warehouse, recorded: tuple[str, Transcripts]) -> Iterator[Replay]:
    """dbt's runs, replayed on a fresh warehouse in which the models are built."""
    from tests.integration.transcripts import Replay

    database, transcripts = recorded
    with closing(Replay(warehouse, transcripts.in_database(database, warehouse.database))) as replay:
        replay.create()
        yield replay


@pytest.fixture(scope="session")
def function_definitions(template: Warehouse, recorded: tuple[str, Transcripts]) -> list[str]:
    """The statements that make the functions of the marts, which `dbt run` leaves out; made by dbt once per process."""
    from tests.integration.modelling import Models
    from tests.integration.transcripts import Replay

    database, transcripts = recorded
    with fresh_warehouse(template) as warehouse:
        with closing(Replay(warehouse, transcripts.in_database(database, warehouse.database))) as replay:
            replay.create()
        with closing(Models(warehouse)) as models:
            models.build("--select", "resource_type:function")
            rows = models.owner.execute(
                "select pg_get_functiondef(oid) from pg_proc where pronamespace = 'marts'::regnamespace"
            ).fetchall()
    return [definition for (definition,) in rows]


@pytest.fixture
def functions(warehouse: Warehouse, replay: Replay, function_definitions: list[str]) -> None:
    """The functions of the marts, in the test's warehouse."""
    with warehouse.connect("transformer") as connection:
        # Their texts name each other, and are looked into when they are made.
        connection.execute("set check_function_bodies = off")
        for definition in function_definitions:
            connection.execute(definition)  # type: ignore[arg-type]


@pytest.fixture
def models(warehouse: Warehouse, replay: Replay) -> Iterator[Models]:
    """The models, built; plain runs and full refreshes are replayed, whatever else is asked is done by dbt itself."""
    from tests.integration.recording import ReplayedModels

    with closing(ReplayedModels(warehouse, replay)) as models:
        yield models


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    """Dagster's storage, in memory."""
    from dagster import DagsterInstance

    with DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def footfall(tmp_path: Path, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Footfall:
    """An installation on the test's warehouse, able to build models."""
    from tests.integration.orchestrating import installation, share_parsing

    share_parsing(monkeypatch, warehouse)
    return installation(tmp_path, warehouse)


@pytest.fixture(scope="session")
def filled(template: Warehouse) -> Iterator[Warehouse]:
    """A store with something of everything in it, built once per process: to be read only."""
    from tests.integration.asking_api import fill
    from tests.integration.modelling import Models

    with fresh_warehouse(template) as warehouse, closing(Models(warehouse)) as models:
        fill(models)
        yield warehouse


@pytest.fixture
def api(filled: Warehouse, tmp_path: Path) -> Iterator[Api]:
    """The API of that store."""
    from tests.integration.asking_api import api_of

    with api_of(filled, tmp_path) as api:
        yield api
