"""A PostgreSQL of somebody else's, named by its URL: with every right, with CREATEROLE, with next to none."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import create_engine, inspect, text

from warehouse.connections import ROLE_NAMES, Warehouse
from warehouse.embedded import EmbeddedPostgres
from warehouse.opening import open_warehouse
from warehouse.preparing import prepare
from warehouse.problems import WarehouseProblem

PASSWORD = "it's a: p@ss/word?"  # as administrators like them


@dataclass
class Elsewhere:
    """Somebody else's server as its administrator sees it, with one fresh database on it."""

    administrator: Warehouse
    database: str

    def url(self, user: str, rest: str = "") -> str:
        host, port = self.administrator.host, self.administrator.port
        return f"postgresql://{user}:{quote(PASSWORD, safe='')}@{host}:{port}/{self.database}{rest}"

    def run(self, *statements: str, database: str = "postgres") -> None:
        with self.administrator.connect_as_administrator(database, autocommit=True) as connection:
            for statement in statements:
                connection.execute(sql.SQL(statement).format(password=sql.Literal(PASSWORD)))

    def ask(self, question: str) -> list[tuple[object, ...]]:
        with self.administrator.connect_as_administrator(self.database) as connection:
            return connection.execute(question.encode()).fetchall()


@pytest.fixture(scope="module")
def bare_server(
    tmp_path_factory: pytest.TempPathFactory, programs: Path | None, fast_settings: dict[str, str]
) -> Iterator[Warehouse]:
    """A server on which nothing of ours was prepared."""
    server = EmbeddedPostgres(
        tmp_path_factory.mktemp("elsewhere"),
        port=0,
        bin_dir=programs,
        settings={**fast_settings, "timezone": "Asia/Tokyo"},
    )
    yield server.start()
    server.remove()


_numbers = itertools.count(1)


@pytest.fixture
def elsewhere(bare_server: Warehouse) -> Iterator[Elsewhere]:
    """A fresh database, with three users: the superuser dba, lead who may create roles, and guest who may not."""
    there = Elsewhere(bare_server, f"analytics_{next(_numbers)}")
    there.run(
        "create role dba login superuser password {password}",
        "create role lead login createrole password {password}",
        "create role guest login password {password}",
        f"create database {there.database}",
        f"grant create, temporary on database {there.database} to lead, guest",
    )
    yield there
    there.run(f"drop database {there.database} with (force)")
    with there.administrator.connect_as_administrator("postgres", autocommit=True) as connection:
        ours = ["dba", "lead", "guest", *ROLE_NAMES.values()]
        left = connection.execute("select rolname from pg_roles where rolname = any(%s)", [ours]).fetchall()
    there.run(*(f"drop role {role}" for (role,) in left))


@pytest.mark.parametrize("user", ["dba", "lead"])
def test_who_may_create_roles_gets_them(elsewhere: Elsewhere, tmp_path: Path, user: str) -> None:
    warehouse = open_warehouse(tmp_path, elsewhere.url(user))
    assert not warehouse.is_embedded
    assert not warehouse.is_single_user
    assert not list(elsewhere.ask("select 1 from pg_roles where rolname = 'footfall_loader'"))
    prepare(warehouse)
    prepare(open_warehouse(tmp_path, elsewhere.url(user)))
    _use(warehouse)
    with warehouse.connect("api") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("select * from raw.events")
    with warehouse.connect("loader") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("select * from marts.built")
    assert warehouse.passwords_file.parent == tmp_path
    assert warehouse.passwords_file.stat().st_mode & 0o777 == 0o600
    assert elsewhere.ask("select distinct pg_get_userbyid(relowner) from pg_class where relname = 'events'") == [
        (user,)
    ]
    assert elsewhere.ask("select count(*) from pg_roles where rolsuper and rolname ~ 'footfall_[^o]|bi_reader'") == [
        (0,)
    ]


def test_who_may_not_does_everything(elsewhere: Elsewhere, tmp_path: Path) -> None:
    warehouse = open_warehouse(tmp_path, elsewhere.url("guest"))
    assert warehouse.is_single_user
    prepare(warehouse)
    prepare(warehouse)
    _use(warehouse)
    assert list(tmp_path.iterdir()) == []
    assert elsewhere.ask("select rolname from pg_roles where rolname ~ 'footfall_[^o]|bi_reader'") == []


def test_who_gets_the_right_later_hands_everything_over(elsewhere: Elsewhere, tmp_path: Path) -> None:
    warehouse = open_warehouse(tmp_path, elsewhere.url("guest"))
    prepare(warehouse)
    _use(warehouse)
    elsewhere.run("alter role guest createrole")
    warehouse = open_warehouse(tmp_path, elsewhere.url("guest"))
    assert not warehouse.is_single_user
    prepare(warehouse)
    with warehouse.connect("transformer") as connection:
        connection.execute("drop table marts.built")
    _use(warehouse)
    with warehouse.connect("bi_reader") as connection:
        assert connection.execute("select * from marts.built").fetchall() == [(1,)]


def test_who_may_not_create_schemas_is_told(elsewhere: Elsewhere, tmp_path: Path) -> None:
    elsewhere.run(f"revoke create on database {elsewhere.database} from guest")
    with pytest.raises(WarehouseProblem, match=r"user guest lacks a right .* grant create, temporary on database"):
        prepare(open_warehouse(tmp_path, elsewhere.url("guest")))


def test_the_roles_of_another_footfall_are_left_alone(elsewhere: Elsewhere, tmp_path: Path) -> None:
    first = open_warehouse(tmp_path / "first", elsewhere.url("dba"))
    prepare(first)
    second = open_warehouse(tmp_path / "second", elsewhere.url("dba"))
    with pytest.raises(
        WarehouseProblem, match=r"does not let in .* If another Footfall made it, copy passwords-127\.0\.0\.1-\d+\.json"
    ):
        prepare(second)
    first.connect("loader").close()

    second.passwords_file.write_bytes(first.passwords_file.read_bytes())  # as the message says
    prepare(open_warehouse(tmp_path / "second", elsewhere.url("dba")))


def test_a_crash_before_the_passwords_were_noted_as_told_is_no_hindrance(elsewhere: Elsewhere, tmp_path: Path) -> None:
    warehouse = open_warehouse(tmp_path, elsewhere.url("lead"))
    prepare(warehouse)
    noted = warehouse.passwords_file.read_text()
    warehouse.passwords_file.write_text(noted.replace("true", "false"))
    prepare(warehouse)
    assert warehouse.passwords_file.read_text() == noted


def test_roles_that_the_server_does_not_let_in_are_told(
    elsewhere: Elsewhere, tmp_path: Path, bare_server: Warehouse
) -> None:
    """Some servers let in by their pg_hba.conf only whom they know by name."""
    ((rules,),) = elsewhere.ask("show hba_file")
    before = Path(str(rules)).read_text()
    Path(str(rules)).write_text(
        f"local all postgres peer map=footfall\nhost {elsewhere.database} dba all scram-sha-256\n"
    )
    try:
        elsewhere.run("select pg_reload_conf()")
        for _ in range(2):
            with pytest.raises(WarehouseProblem, match=r"does not let in .*no pg_hba\.conf entry"):
                prepare(open_warehouse(tmp_path, elsewhere.url("dba")))
    finally:
        Path(str(rules)).write_text(before)
        elsewhere.run("select pg_reload_conf()")
    prepare(open_warehouse(tmp_path, elsewhere.url("dba")))


def test_a_database_that_is_closed_to_the_public_is_opened_to_the_roles(elsewhere: Elsewhere, tmp_path: Path) -> None:
    elsewhere.run(
        f"revoke all on database {elsewhere.database} from public", f"alter database {elsewhere.database} owner to lead"
    )
    warehouse = open_warehouse(tmp_path, elsewhere.url("lead"))
    prepare(warehouse)
    _use(warehouse)


@pytest.mark.parametrize("user", ["lead", "guest"])
def test_one_database_holds_both_stores(elsewhere: Elsewhere, tmp_path: Path, user: str) -> None:
    warehouse = open_warehouse(tmp_path, elsewhere.url(user, "?application_name=ours"))
    prepare(warehouse)
    engine = create_engine(warehouse.url("dagster", "dagster"))
    with engine.begin() as connection:
        connection.execute(text("create table runs (a int)"))
        assert connection.execute(text("show application_name")).scalar() == "ours"
    assert inspect(engine).get_table_names() == ["runs"]
    engine.dispose()
    assert elsewhere.ask("select to_regclass('dagster.runs') is not null") == [(True,)]
    assert warehouse.parameters("dagster", "dagster")["options"] == "-csearch_path=dagster"
    assert "options" not in warehouse.parameters("loader")


@pytest.mark.parametrize("user", ["lead", "guest"])
def test_sessions_are_as_on_our_own_server(elsewhere: Elsewhere, tmp_path: Path, user: str) -> None:
    warehouse = open_warehouse(tmp_path, elsewhere.url(user))
    prepare(warehouse)
    for role in ROLE_NAMES:
        with psycopg.connect(warehouse.url(role)) as connection:
            assert connection.execute(
                "select current_setting('timezone'), current_setting('client_connection_check_interval')"
            ).fetchone() == ("UTC", "1s")


def test_sslmode_is_honoured(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """The server here speaks no TLS: a URL that asks for it must not fall back to plain text."""
    with pytest.raises(WarehouseProblem, match=r"cannot be reached as dba: .*server does not support SSL"):
        open_warehouse(tmp_path, elsewhere.url("dba", "?sslmode=require"))
    warehouse = open_warehouse(tmp_path, elsewhere.url("dba", "?sslmode=disable"))
    for role in ROLE_NAMES:
        assert warehouse.parameters(role)["sslmode"] == "disable"
        assert warehouse.url(role).endswith("sslmode=disable")
    assert open_warehouse(tmp_path, elsewhere.url("dba")).parameters("api")["sslmode"] == "prefer"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://u:secret@h/d", "is not an address of a PostgreSQL database"),
        ("postgresql+psycopg2://u:secret@h/d", r"leave out the driver"),
        ("postgresql://u:secret@h:port/d", "names several servers or no proper port"),
        ("postgresql://u:secret@a,b/d", "names several servers"),
        ("postgresql://u:secret@/d", "names no host"),
        ("postgresql://h:1/d?password=secret", "names no user"),
        ("postgresql://u:secret@h:1", "names no database"),
        ("postgresql://u:secret@h:1/d?nonsense=1", "is not an address"),
        ("secret", "is not an address"),
        ("", "names no host"),
        ("postgresql://u:secret@127.0.0.1:1/d", r"The database d on 127.0.0.1:1 cannot be reached as u: .*refused"),
        ("postgresql://u:secret@no-such-host.invalid/d", r"cannot be reached as u: .*no-such-host\.invalid"),
    ],
)
def test_a_wrong_url_is_told_without_repeating_the_password(tmp_path: Path, url: str, says: str) -> None:
    with pytest.raises(WarehouseProblem, match=says) as problem:
        open_warehouse(tmp_path, url)
    assert "secret" not in str(problem.value)
    assert "FOOTFALL_DATABASE_URL" in str(problem.value)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_password_is_told(elsewhere: Elsewhere, tmp_path: Path) -> None:
    with pytest.raises(WarehouseProblem, match=r"cannot be reached as dba: .*password authentication failed"):
        open_warehouse(tmp_path, elsewhere.url("dba").replace("word", "sword"))


def test_a_server_that_is_too_old_is_refused(
    elsewhere: Elsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((version,),) = elsewhere.ask("select current_setting('server_version_num')::int / 10000")
    open_warehouse(tmp_path, elsewhere.url("dba"))
    monkeypatch.setattr("warehouse.opening.OLDEST_VERSION", version + 1)
    with pytest.raises(WarehouseProblem, match=rf"is PostgreSQL {version}; Footfall needs {version + 1} or newer\."):
        open_warehouse(tmp_path, elsewhere.url("dba"))


def test_a_database_that_cannot_hold_every_name_is_refused(elsewhere: Elsewhere, tmp_path: Path) -> None:
    elsewhere.run(
        f"drop database {elsewhere.database}",
        f"create database {elsewhere.database} encoding 'LATIN1' locale_provider libc locale 'C' template template0",
    )
    with pytest.raises(WarehouseProblem, match="has the encoding LATIN1"):
        open_warehouse(tmp_path, elsewhere.url("dba"))


def _use(warehouse: Warehouse) -> None:
    """Do as each role what it is there for."""
    with warehouse.connect("loader") as connection:
        connection.execute("create temporary table staged (like raw.events)")
        connection.execute("insert into raw.cameras (camera_id) values ('CAM-1')")
    with warehouse.connect("maintainer") as connection:
        connection.execute("delete from raw.cameras")
    with warehouse.connect("transformer") as connection:
        connection.execute("select * from raw.events")
        connection.execute("create table if not exists marts.built as select 1 as one")
        connection.execute("create temporary table half (a int)")
    for role in ("api", "bi_reader", "maintainer"):
        with warehouse.connect(role) as connection:
            assert connection.execute("select one from marts.built").fetchall() == [(1,)]
    with warehouse.connect("api") as connection:
        connection.execute("select * from serving.api_keys")
        connection.execute("delete from serving.analytics_cache")
    with warehouse.connect("owner") as connection:
        connection.execute("update serving.api_keys set revoked_at = now()")
