"""The prepared warehouse: what is in it, who may do what, and how it is brought up to date."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import create_engine, text

from warehouse.connections import Login, Role, Warehouse
from warehouse.preparing import MIGRATIONS, migrate, prepare
from warehouse.problems import WarehouseProblem

EVERYONE: tuple[Role, ...] = ("owner", "loader", "transformer", "maintainer", "api", "bi_reader", "dagster")
AN_EVENT = """
    insert into raw.events
        (event_id, person_id, camera_id, event_type, event_word, event_time, file_id, row_number, batch_id)
    values (gen_random_uuid(), 'p', 'c', 'entry', 'enter', '2025-01-01T00:00Z', 1, 2, 1)
"""

A_KEY = """
    insert into serving.api_keys (name, scope, key_hash, created_by) values ('me', 'admin', sha256('x'), 'me')
"""


@pytest.fixture
def with_mart(warehouse: Warehouse) -> Warehouse:
    """A warehouse in which the transformer has built a table in each of its schemas, after the grants were made."""
    with warehouse.connect("transformer") as connection:
        for schema in ("staging", "intermediate", "marts"):
            connection.execute(sql.SQL("create table {} as select 1 as one").format(sql.Identifier(schema, "built")))
    return warehouse


# Statement -> the roles that may run it; all others must be refused.
RIGHTS: dict[str, set[Role]] = {
    "select * from raw.events": {"owner", "loader", "transformer", "maintainer"},
    "select * from raw.files": {"owner", "loader", "transformer", "maintainer"},
    "select state, rows_read, reject_counts, stage_seconds from raw.files": {
        "owner",
        "loader",
        "transformer",
        "maintainer",
        "api",
    },
    "select stage, bytes_done from raw.load_progress": {"owner", "loader", "transformer", "maintainer", "api"},
    "delete from raw.load_progress": {"owner", "loader", "maintainer"},
    "select sha256, file_name, site, size_bytes from raw.files": {
        "owner",
        "loader",
        "transformer",
        "maintainer",
        "api",
    },
    "select verdict from raw.file_reports": {"owner", "loader", "transformer", "maintainer", "api"},
    "select error from raw.files": {"owner", "loader", "transformer", "maintainer"},
    "select header from raw.files": {"owner", "loader", "transformer", "maintainer"},
    "select status from raw.check_outcomes": {"owner", "loader", "transformer", "maintainer", "api"},
    "select sample from raw.check_outcomes": {"owner", "loader", "transformer", "maintainer"},
    "select kind from raw.alerts where cleared_at is null": {"owner", "loader", "transformer", "maintainer", "api"},
    "select sentence from raw.alerts": {"owner", "loader", "transformer", "maintainer"},
    "select raw_text from raw.rejects": {"owner", "loader", "transformer", "maintainer"},
    AN_EVENT: {"owner", "loader", "maintainer"},
    "update raw.files set state = 'retracted'": {"owner", "loader", "maintainer"},
    "delete from raw.events": {"owner", "loader", "maintainer"},
    "insert into raw.parameters values ('bounce_seconds', '30')": {"owner", "loader", "maintainer"},
    "update raw.migration set version_num = '0000'": {"owner"},
    "alter table raw.events add column more text": {"owner"},
    "drop table raw.events": {"owner"},
    "create table raw.mine (a int)": {"owner"},
    "create temporary table mine (a int)": {"owner", "loader", "transformer", "maintainer"},
    "select * from staging.built": {"transformer"},
    "select * from intermediate.built": {"transformer"},
    "select * from marts.built": {"transformer", "maintainer", "api", "bi_reader"},
    "insert into marts.built values (2)": {"transformer"},
    "drop table marts.built": {"transformer"},
    "create table marts.mine (a int)": {"transformer"},
    "create table serving.mine (a int)": {"owner"},
    A_KEY: {"owner"},
    "select * from serving.api_keys": {"owner", "api"},
    "update serving.api_keys set last_used_at = now()": {"owner", "api"},
    "update serving.api_keys set revoked_at = null": {"owner"},
    "update serving.api_keys set scope = 'admin'": {"owner"},
    "delete from serving.api_keys": {"owner"},
    "insert into serving.audit (key_name, action, subject, client) values ('', 'refused', '/', '')": {"owner", "api"},
    "delete from serving.audit where at < now() - interval '1 day'": {"owner", "api"},
    "update serving.audit set client = ''": {"owner"},
    "insert into serving.analytics_cache values ('k', '', 'text/csv', 'e', 1, now())": {"owner", "api"},
    "delete from serving.analytics_cache": {"owner", "api"},
    "insert into serving.uploads (upload_id, file_name, size_bytes) values (repeat('a', 64), 'x', 1)": {"owner", "api"},
    "delete from serving.uploads": {"owner", "api"},
    "drop table serving.analytics_cache": {"owner"},
    "create schema mine": {"owner"},
    "create table public.mine (a int)": {"owner"},
    "create role intruder": set(),
    "copy raw.files to program 'cat'": set(),
}


@pytest.mark.parametrize("statement", RIGHTS)
def test_each_role_may_do_what_it_needs_and_no_more(with_mart: Warehouse, statement: str) -> None:
    allowed = set()
    for role in set(EVERYONE) - {"dagster"}:
        with with_mart.connect(role) as connection:
            try:
                connection.execute(statement.encode())
                allowed.add(role)
            except psycopg.errors.InsufficientPrivilege:
                pass
            connection.rollback()
    assert allowed == RIGHTS[statement]


def test_a_file_is_loaded_with_the_loaders_rights_alone(warehouse: Warehouse) -> None:
    with warehouse.connect("loader") as connection:
        (file_id,) = connection.execute(
            "insert into raw.files (sha256, file_name, size_bytes, state, arrived_at)"
            " values ('ab', 'x.csv', 1, 'loading', now()) returning file_id"
        ).fetchone()
        (batch_id,) = connection.execute(
            "insert into raw.batches (kind, file_id) values ('load', %s) returning batch_id", [file_id]
        ).fetchone()
        connection.execute("create temporary table staged (event_id uuid, person_id text) on commit drop")
        with connection.cursor().copy("copy staged (event_id, person_id) from stdin") as copy:
            copy.write_row(["00000000-0000-0000-0000-000000000001", "p"])
    assert (file_id, batch_id) == (1, 1)


def test_the_maintainer_and_readers_see_marts_built_later(with_mart: Warehouse) -> None:
    with with_mart.connect("transformer") as connection:
        connection.execute("create table marts.later as select 2 as two")
    for role in ("maintainer", "api", "bi_reader"):
        with with_mart.connect(role) as connection:
            assert connection.execute("select two from marts.later").fetchone() == (2,)


def test_dagster_has_its_own_database(template: Warehouse) -> None:
    """Without Docker or any setting: two databases, and neither side sees the other's."""
    engine = create_engine(template.url("dagster", "dagster"))  # the driver that dagster-postgres uses
    with engine.begin() as connection:
        connection.execute(text("create table if not exists public.mine (a int)"))
        assert connection.execute(text("select current_database()")).scalar() == "dagster"
    engine.dispose()
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(template.url("dagster"))
    for role in ("loader", "transformer", "maintainer", "api", "bi_reader"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(template.url(role, "dagster"))


def test_dagster_in_the_warehouses_database_stays_in_its_schema(warehouse: Warehouse) -> None:
    engine = create_engine(warehouse.url("dagster", "dagster"))
    with engine.begin() as connection:
        connection.execute(text("create table runs (a int)"))
    engine.dispose()
    with warehouse.connect_as_administrator(warehouse.database) as connection:
        assert connection.execute("select to_regclass('dagster.runs') is not null").fetchone() == (True,)
    with psycopg.connect(warehouse.url("dagster")) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("select * from raw.events")


@pytest.mark.parametrize("role", EVERYONE)
def test_the_url_and_the_parameters_lead_to_the_same_place(warehouse: Warehouse, role: Role) -> None:
    who = "select current_user, current_database(), current_setting('timezone')"
    with psycopg.connect(warehouse.url(role)) as connection:
        by_url = connection.execute(who).fetchone()
    with psycopg.connect(**warehouse.parameters(role)) as connection:
        assert connection.execute(who).fetchone() == by_url
    assert by_url == (warehouse.logins[role].user, warehouse.database, "UTC")
    assert {"host", "port", "user", "dbname", "sslmode"} <= warehouse.parameters(role).keys()


def test_a_url_quotes_what_has_a_meaning_in_urls(tmp_path: Path) -> None:
    login = Login("us er@x", "p:/?#[]@!$&'()*+,;=% ü")
    elsewhere = Warehouse(
        passwords_file=tmp_path,
        host="::1",
        port=5432,
        administrator=login,
        logins=dict.fromkeys(EVERYONE, login),
        database="a/b c",
        dagster_database="a/b c",
        options={"sslmode": "verify-full", "sslrootcert": "/etc/my certs/ca.pem"},
    )
    parts = psycopg.conninfo.conninfo_to_dict(elsewhere.url("loader", "dagster"))
    assert parts == {**elsewhere.parameters("loader", "dagster"), "options": "-csearch_path=dagster"}
    assert "p:/?#" not in repr(elsewhere)


def test_no_password_is_shown_where_a_warehouse_is(warehouse: Warehouse) -> None:
    shown = repr(warehouse) + repr(warehouse.logins)
    assert not [login.user for login in warehouse.logins.values() if login.password and login.password in shown]


def test_passwords_are_for_their_owner_alone(warehouse: Warehouse) -> None:
    assert warehouse.passwords_file.stat().st_mode & 0o777 == 0o600
    secrets = [login.password for login in warehouse.logins.values() if login.password]
    assert len(set(secrets)) == 6
    assert min(map(len, secrets)) >= 32
    with warehouse.connect_as_administrator("postgres") as connection:
        stored = connection.execute(
            "select distinct left(rolpassword, 13) from pg_authid where rolname = any(%s)",
            [[login.user for login in warehouse.logins.values() if login.password]],
        ).fetchall()
    assert stored == [("SCRAM-SHA-256",)]


def test_lost_passwords_are_made_anew(warehouse: Warehouse, tmp_path: Path) -> None:
    """The embedded server's passwords can be deleted: the next start makes new ones, which hold."""
    copy = tmp_path / "passwords.json"
    from warehouse.passwords import Passwords

    fresh = replace(warehouse, passwords_file=copy, logins={**warehouse.logins, **Passwords(copy).logins()})
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        fresh.connect("loader")
    try:
        prepare(fresh)
        fresh.connect("loader").close()
    finally:  # the other tests' passwords hold again
        known = Passwords(warehouse.passwords_file)
        entries = known.path.read_text()
        known.path.write_text(entries.replace("true", "false"))
        prepare(warehouse)
    warehouse.connect("loader").close()


def test_preparing_again_changes_nothing(with_mart: Warehouse) -> None:
    with with_mart.connect("loader") as connection:
        connection.execute(AN_EVENT)
    before = _everything(with_mart)
    prepare(with_mart)
    assert _everything(with_mart) == before


def test_several_may_prepare_at_once(warehouse: Warehouse) -> None:
    before = _everything(warehouse)
    failures: list[BaseException] = []

    def one() -> None:
        try:
            prepare(warehouse)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert _everything(warehouse) == before


def test_an_older_warehouse_is_upgraded_in_place(warehouse: Warehouse, tmp_path: Path) -> None:
    """With a path that Alembic's configuration would otherwise take for an instruction."""
    with warehouse.connect("loader") as connection:
        connection.execute(AN_EVENT)
    newer = tmp_path / "100%(here)s newer"
    shutil.copytree(MIGRATIONS, newer)
    last = max((newer / "versions").glob("[0-9]*.py")).name[:4]
    (newer / "versions" / "9001_more.py").write_text(
        f"""
from alembic import op
revision, down_revision = "9001", "{last}"
def upgrade():
    op.execute("alter table raw.events add column seen_by text not null default 'camera'")
"""
    )
    migrate(warehouse, newer)
    with warehouse.connect("loader") as connection:
        assert connection.execute("select person_id, seen_by from raw.events").fetchall() == [("p", "camera")]
    with pytest.raises(WarehouseProblem, match=f"step 9001, this one knows {last}"):
        prepare(warehouse)


def test_a_schema_that_was_the_apis_becomes_the_owners(warehouse: Warehouse) -> None:
    """As it was before the API kept anything."""
    with warehouse.connect_as_administrator(warehouse.database) as connection:
        connection.execute("drop schema serving cascade")
        connection.execute("create schema serving authorization footfall_api")
        connection.execute("drop table raw.load_progress")
        connection.execute("update raw.migration set version_num = '0003'")
    prepare(warehouse)
    with warehouse.connect("owner") as connection:
        connection.execute(A_KEY)
    with warehouse.connect("api") as connection:
        assert connection.execute("select name from serving.api_keys").fetchall() == [("me",)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("create table serving.mine (a int)")


def test_every_table_and_column_that_migrations_make_for_the_api_says_what_it_is(warehouse: Warehouse) -> None:
    with warehouse.connect("owner") as connection:
        silent = connection.execute(
            """
            select oid::regclass::text, attname
            from pg_class join pg_attribute on attrelid = oid and attnum > 0
            where relnamespace = 'serving'::regnamespace and relkind = 'r'
              and (col_description(oid, attnum) is null or obj_description(oid, 'pg_class') is null)
            """
        ).fetchall()
    assert silent == []


def test_a_step_that_fails_leaves_the_warehouse_as_it_was(warehouse: Warehouse, tmp_path: Path) -> None:
    newer = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, newer)
    last = max((newer / "versions").glob("[0-9]*.py")).name[:4]
    (newer / "versions" / "9001_wrong.py").write_text(
        f"""
from alembic import op
revision, down_revision = "9001", "{last}"
def upgrade():
    op.execute("drop table raw.rejects")
    op.execute("drop table raw.no_such_table")
"""
    )
    before = _everything(warehouse)
    with pytest.raises(Exception, match="no_such_table"):
        migrate(warehouse, newer)
    assert _everything(warehouse) == before


def test_a_migrations_file_name_tells_its_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    steps = {Path(step.path).name[:4]: step.revision for step in scripts.walk_revisions()}
    assert steps
    assert all(name == revision for name, revision in steps.items())
    assert scripts.get_current_head() == max(steps)


@pytest.mark.parametrize(
    ("state", "counts", "holds"),
    [
        ("loaded", {"rows_read": 6, "rows_loaded": 3, "rows_rejected": 2, "rows_duplicate": 1}, True),
        ("loaded", {"rows_read": 7, "rows_loaded": 3, "rows_rejected": 2, "rows_duplicate": 1}, False),
        ("loaded", {"rows_read": 3, "rows_loaded": 3}, False),
        ("loaded", {}, False),
        ("quarantined", {"rows_read": 6, "rows_held": 3, "rows_rejected": 2, "rows_duplicate": 1}, True),
        ("quarantined", {"rows_read": 6, "rows_held": 4, "rows_rejected": 2, "rows_duplicate": 1}, False),
        ("quarantined", {"rows_held": 4}, False),
        ("quarantined", {}, True),
        ("failed", {}, True),
        ("lost", {}, False),
    ],
)
def test_the_ledger_accepts_only_accounts_that_add_up(
    warehouse: Warehouse, state: str, counts: dict[str, int], holds: bool
) -> None:
    row = {"sha256": "ab", "file_name": "x.csv", "size_bytes": 1, "state": state, "arrived_at": "2025-01-01", **counts}
    statement = sql.SQL("insert into raw.files ({}) values ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, row)), sql.SQL(", ").join(map(sql.Placeholder, row))
    )
    with warehouse.connect("loader") as connection:
        if holds:
            connection.execute(statement, row)
        else:
            with pytest.raises(psycopg.errors.CheckViolation):
                connection.execute(statement, row)


def test_keys_compare_by_code_point_and_case_is_unicodes(warehouse: Warehouse) -> None:
    with warehouse.connect("owner") as connection:
        collations = connection.execute(
            """
            select attrelid::regclass::text || '.' || attname, collname
            from pg_attribute join pg_collation on pg_collation.oid = attcollation
            where attrelid in ('raw.events'::regclass, 'raw.duplicates'::regclass, 'raw.cameras'::regclass)
              and attname in ('person_id', 'camera_id', 'event_type', 'event_word', 'site_id')
            """
        ).fetchall()
        assert {collation for _, collation in collations} == {"C"}
        assert len(collations) == 10
        assert connection.execute("select lower('ÉMILE')").fetchone() == ("émile",)
        assert connection.execute("select 'Z' < 'a', 'é' > 'z'").fetchone() == (True, True)


def _everything(warehouse: Warehouse) -> list[object]:
    """Every table with its owner, rights and columns, every schema, and how many events there are."""
    with warehouse.connect_as_administrator(warehouse.database) as connection:
        statements = (
            """
            select nspname, relname, relkind, pg_get_userbyid(relowner), relacl::text,
                (select json_agg(attname || format_type(atttypid, atttypmod) order by attnum)
                 from pg_attribute where attrelid = pg_class.oid and attnum > 0)::text
            from pg_class join pg_namespace on pg_namespace.oid = relnamespace
            where nspname !~ '^pg_' and nspname <> 'information_schema' order by 1, 2
            """,
            "select nspname, pg_get_userbyid(nspowner), nspacl::text from pg_namespace order by 1",
            "select datacl::text from pg_database where datname = current_database()",
            "select defaclacl::text from pg_default_acl order by 1",
            "select rolname, rolsuper, rolcreaterole, rolcreatedb, rolcanlogin from pg_roles order by 1",
            "select * from raw.migration",
            "select count(*) from raw.events",
        )
        return [connection.execute(statement.encode()).fetchall() for statement in statements]
