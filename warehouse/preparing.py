"""What must exist before anything is loaded: roles, databases, schemas, privileges; `raw` and `serving` by migration.

`prepare` may run at every start and in several processes at once. The tables of the models are dbt's, not made here.
"""

from __future__ import annotations

from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

from warehouse.connections import DAGSTER_SCHEMA, Role, Warehouse
from warehouse.passwords import Passwords
from warehouse.problems import WarehouseProblem

MIGRATIONS = Path(__file__).parent / "migrations"
ADVISORY_LOCK = 7_064_531  # one process prepares at a time

SCHEMAS: dict[str, Role] = {
    "raw": "owner",
    "staging": "transformer",
    "intermediate": "transformer",
    "marts": "transformer",
    "serving": "owner",
}

# Which role may do what beyond what it owns, in the warehouse's database.
GRANTS: tuple[LiteralString, ...] = (
    "grant connect on database {database} to {loader}, {transformer}, {maintainer}, {api}, {bi_reader}",
    "grant temporary on database {database} to {loader}, {transformer}, {maintainer}",
    "grant usage on schema raw to {loader}, {transformer}, {maintainer}",
    "grant select, insert, update, delete on all tables in schema raw to {loader}, {maintainer}",
    "revoke insert, update, delete on raw.migration from {loader}, {maintainer}",
    "grant select on all tables in schema raw to {transformer}",
    # What figures about the whole are made of (`figures.py`): no name of a file, no cell.
    "grant usage on schema raw to {api}",
    """
    grant select (
        file_id, state, arrived_at, finished_at, batch_id, rows_read, rows_loaded, rows_rejected, rows_duplicate,
        rows_held, reject_counts, stage_seconds
    ) on raw.files to {api}
    """,
    """
    grant select (run_id, schema_name, table_name, name, layer, severity, status, decided_at)
    on raw.check_outcomes to {api}
    """,
    "grant select (kind, cleared_at) on raw.alerts to {api}",
    "grant select on raw.batches to {api}",
    # What is told of one file to whoever asks for it; marts.file_quality tells the same of all of them, but slowly.
    "grant select (sha256, file_name, site, size_bytes) on raw.files to {api}",
    "grant select (file_id, told_of, verdict) on raw.file_reports to {api}",
    "grant select on raw.load_progress to {api}",
    "grant usage on schema marts to {maintainer}, {api}, {bi_reader}",
    "grant select on all tables in schema marts to {maintainer}, {api}, {bi_reader}",
    # The API cannot make a key, nor change what one may do.
    "grant usage on schema serving to {api}",
    "grant select on serving.api_keys to {api}",
    "grant update (last_used_at) on serving.api_keys to {api}",
    "grant select, insert, delete on serving.audit to {api}",
    "grant select, insert, update, delete on serving.analytics_cache, serving.uploads to {api}",
    """
    alter default privileges for role {transformer} in schema marts
    grant select on tables to {maintainer}, {api}, {bi_reader}
    """,
)


def prepare(warehouse: Warehouse) -> None:
    """Bring the server to what this version of Footfall needs; an older warehouse is upgraded in place.

    Raises WarehouseProblem where the user of an external server lacks a right, where its roles are another Footfall's,
    or where a newer Footfall made the warehouse.
    """
    first = "postgres" if warehouse.is_embedded else warehouse.database
    with warehouse.connect_as_administrator(first, autocommit=True) as server:
        server.execute("select pg_advisory_lock(%s)", [ADVISORY_LOCK])
        try:
            if not warehouse.is_single_user:
                _make_roles(server, warehouse)
            if warehouse.is_embedded:
                _make_databases(server, warehouse)
            with warehouse.connect_as_administrator(warehouse.database) as connection:
                _make_schemas(connection, warehouse)
            migrate(warehouse)
            with warehouse.connect_as_administrator(warehouse.database) as connection:
                _grant(connection, warehouse)
        except psycopg.errors.InsufficientPrivilege as error:
            user = warehouse.administrator.user
            raise WarehouseProblem(
                f"The user {user} lacks a right in the database {warehouse.database}: {error.diag.message_primary}.",
                f"Have the database's owner run: grant create, temporary on database {warehouse.database} to {user};",
            ) from error


def migrate(warehouse: Warehouse, migrations: Path = MIGRATIONS) -> None:
    """Bring the schemas `raw` and `serving` to the newest of the `migrations`, in one transaction.

    Alembic is imported only where there is something to do: most starts have nothing.
    """
    newest = max(file.name[:4] for file in (migrations / "versions").glob("[0-9]*.py"))
    with warehouse.connect("owner") as connection:
        made = connection.execute("select to_regclass('raw.migration') is not null").fetchone() == (True,)
        (current,) = (connection.execute("select version_num from raw.migration").fetchone() if made else None) or ("",)
    if current == newest:
        return
    if current > newest:
        raise WarehouseProblem(
            f"A newer Footfall made the warehouse: its schema raw is at step {current}, this one knows {newest}.",
            "Update Footfall, or go back by restoring a backup of the database.",
        )
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    engine = create_engine("postgresql+psycopg://", creator=lambda: warehouse.connect("owner"), poolclass=NullPool)
    with engine.begin() as target:
        config = Config()
        config.set_main_option("script_location", str(migrations).replace("%", "%%"))
        config.attributes["connection"] = target
        command.upgrade(config, "head")


def _make_roles(server: psycopg.Connection, warehouse: Warehouse) -> None:
    """Make the roles that are missing and tell the server the passwords that it does not know.

    The password of a role that an external server has already is never changed: the role may be another Footfall's,
    which would be locked out.
    """
    passwords = Passwords(warehouse.passwords_file)
    existing = {row[0] for row in server.execute("select rolname from pg_roles")}
    unknown = passwords.not_yet_known()
    for role, login in warehouse.logins.items():
        if login == warehouse.administrator:
            continue
        is_new = login.user not in existing
        if is_new:
            server.execute(sql.SQL("create role {} login").format(sql.Identifier(login.user)))
        if login.password is not None and (is_new or login.user in unknown):
            if is_new or warehouse.is_embedded:
                _set_password(server, login.user, login.password)
            if not warehouse.is_embedded:
                _see_that_it_is_let_in(server, warehouse, role)
            passwords.mark_known([login.user])
        if not warehouse.is_embedded:
            _may_act_as(server, login.user)


def _set_password(server: psycopg.Connection, user: str, password: str) -> None:
    """Tell the server a password, encrypted on this side: it may log statements."""
    encrypted = server.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256").decode()
    server.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(user), sql.Literal(encrypted)))


def _see_that_it_is_let_in(server: psycopg.Connection, warehouse: Warehouse, role: Role) -> None:
    user = warehouse.logins[role].user
    names = [sql.Identifier(name) for name in (warehouse.database, user)]
    server.execute(sql.SQL("grant connect on database {} to {}").format(*names))
    try:
        warehouse.connect(role, connect_timeout=10).close()
    except psycopg.OperationalError as error:
        file = warehouse.passwords_file
        raise WarehouseProblem(
            f"The server at {warehouse.host} does not let in its role {user} with the password in {file}: "
            f"{' '.join(str(error).split())}.",
            f"If another Footfall made it, copy {file.name} from that one's FOOTFALL_HOME or, where that is gone, have "
            f"an administrator run: drop owned by {user}; drop role {user}; otherwise let the footfall roles and "
            "bi_reader in by the server's pg_hba.conf.",
        ) from error


def _may_act_as(server: psycopg.Connection, role: str) -> None:
    """See that the administrator, where it is no superuser, may give things to a role: only its members may."""
    if server.execute("select pg_has_role(%s, 'usage')", [role]).fetchone() != (True,):
        server.execute(sql.SQL("grant {} to current_user").format(sql.Identifier(role)))


def _make_databases(server: psycopg.Connection, warehouse: Warehouse) -> None:
    """Make both databases, to which nobody but the roles has access."""
    owners = {warehouse.dagster_database: warehouse.logins["dagster"], warehouse.database: warehouse.logins["owner"]}
    existing = {row[0] for row in server.execute("select datname from pg_database")}
    for name, owner in owners.items():
        database = sql.Identifier(name)
        if name not in existing:
            server.execute(sql.SQL("create database {} owner {}").format(database, sql.Identifier(owner.user)))
        server.execute(sql.SQL("revoke all on database {} from public").format(database))
    server.execute("revoke all on database postgres from public")


def _make_schemas(connection: psycopg.Connection, warehouse: Warehouse) -> None:
    """Make the schemas; one that was made when one user did everything, with what is in it, changes hands."""
    schemas = SCHEMAS | ({DAGSTER_SCHEMA: "dagster"} if warehouse.shares_database else {})
    owners: dict[str, str] = dict(
        connection.execute("select nspname, pg_get_userbyid(nspowner) from pg_namespace").fetchall()
    )
    for schema, role in schemas.items():
        user = warehouse.logins[role].user
        names = {"schema": sql.Identifier(schema), "user": sql.Identifier(user)}
        if schema not in owners:
            connection.execute(sql.SQL("create schema {schema} authorization {user}").format(**names))
        elif owners[schema] != user and not warehouse.is_single_user:
            connection.execute(sql.SQL("alter schema {schema} owner to {user}").format(**names))
            tables = connection.execute(
                "select relname from pg_class where relnamespace = %s::regnamespace and relkind = any('{r,p,v,m}')",
                [schema],
            ).fetchall()
            for (table,) in tables:
                statement = sql.SQL("alter table {} owner to {user}").format(sql.Identifier(schema, table), **names)
                connection.execute(statement)


def _grant(connection: psycopg.Connection, warehouse: Warehouse) -> None:
    names: dict[str, sql.Identifier] = {role: sql.Identifier(login.user) for role, login in warehouse.logins.items()}
    database = sql.Identifier(warehouse.database)
    if not warehouse.is_single_user:
        for statement in GRANTS:
            connection.execute(sql.SQL(statement).format(database=database, **names))
        if warehouse.shares_database:
            connection.execute(sql.SQL("grant connect on database {} to {}").format(database, names["dagster"]))
    if not warehouse.is_embedded:
        # What the embedded server has for everyone; see there.
        for user in {login.user for login in warehouse.logins.values()}:
            for setting in ("timezone = 'UTC'", "client_connection_check_interval = '1s'"):
                connection.execute(
                    sql.SQL("alter role {} in database {} set " + setting).format(sql.Identifier(user), database)
                )
