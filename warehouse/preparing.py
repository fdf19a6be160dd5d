"""What must exist before anything is loaded: roles, databases, schemas, privileges, and schema `raw` by migration.

`prepare` may run at every start and in several processes at once. Tables of the models are dbt's, not made here.
"""

from __future__ import annotations

from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

from warehouse.connections import DAGSTER_SCHEMA, Login, Role, Warehouse
from warehouse.passwords import Passwords

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 7064531  # an advisory lock: one process prepares at a time


def prepare(warehouse: Warehouse) -> None:
    """Bring the server to what this version of Footfall needs; an older warehouse is upgraded in place.

    Raises WarehouseProblem where the user of an external server lacks a right, or where the warehouse was made
    by a newer Footfall.
    """
    first = "postgres" if warehouse.is_embedded else warehouse.database
    with warehouse.connect_as_administrator(first, autocommit=True) as server:
        server.execute("select pg_advisory_lock(%s)", [LOCK])
        if not warehouse.is_single_user:
            _make_roles(server, warehouse)
        if warehouse.is_embedded:
            _make_databases(server, warehouse)
        with warehouse.connect_as_administrator(warehouse.database) as connection:
            _make_schemas(connection, warehouse)
        _migrate(warehouse)
        with warehouse.connect_as_administrator(warehouse.database) as connection:
            _grant(connection, warehouse)


def _make_roles(server: psycopg.Connection, warehouse: Warehouse) -> None:
    passwords = Passwords(warehouse.home / "passwords.json")
    unknown = set(passwords.not_yet_known())
    existing = {row[0] for row in server.execute("select rolname from pg_roles")}
    told = []
    with server.transaction():
        for login in warehouse.logins.values():
            if login == warehouse.administrator:
                continue
            role = sql.Identifier(login.user)
            if login.user not in existing:
                server.execute(sql.SQL("create role {} login").format(role))
            if login.password is not None and (login.user not in existing or login.user in unknown):
                server.execute(sql.SQL("alter role {} password {}").format(role, sql.Literal(login.password)))
                told.append(login.user)
    if told:
        passwords.mark_known(told)


def _make_databases(server: psycopg.Connection, warehouse: Warehouse) -> None:
    owners: dict[str, Login] = {warehouse.dagster_database: warehouse.logins["dagster"]}
    owners[warehouse.database] = warehouse.logins["owner"]
    existing = {row[0] for row in server.execute("select datname from pg_database")}
    for name, owner in owners.items():
        if name not in existing:
            server.execute(
                sql.SQL("create database {} owner {}").format(sql.Identifier(name), sql.Identifier(owner.user))
            )


def _make_schemas(connection: psycopg.Connection, warehouse: Warehouse) -> None:
    owners: dict[str, Role] = {
        "raw": "owner",
        "staging": "transformer",
        "intermediate": "transformer",
        "marts": "transformer",
        "serving": "api",
    }
    if warehouse.shares_database:
        owners[DAGSTER_SCHEMA] = "dagster"
    existing = {row[0] for row in connection.execute("select nspname from pg_namespace")}
    for schema, role in owners.items():
        if schema not in existing:
            connection.execute(
                sql.SQL("create schema {} authorization {}").format(
                    sql.Identifier(schema), sql.Identifier(warehouse.logins[role].user)
                )
            )


# Which role may do what; {role} stands for the role's name on this server, {database} for the database's.
GRANTS: tuple[LiteralString, ...] = (
    "grant connect on database {database} to {loader}, {transformer}, {maintainer}, {api}, {bi_reader}",
    "grant temporary on database {database} to {loader}, {transformer}, {maintainer}",
    "grant usage on schema raw to {loader}, {transformer}, {maintainer}",
    "grant select, insert, update, delete on all tables in schema raw to {loader}, {maintainer}",
    "grant select on all tables in schema raw to {transformer}",
    "grant usage on schema marts to {maintainer}, {api}, {bi_reader}",
    "grant select on all tables in schema marts to {maintainer}, {api}, {bi_reader}",
    "alter default privileges for role {transformer} in schema marts"
    " grant select on tables to {maintainer}, {api}, {bi_reader}",
)


def _grant(connection: psycopg.Connection, warehouse: Warehouse) -> None:
    if warehouse.is_single_user:
        return
    names = {role: sql.Identifier(login.user) for role, login in warehouse.logins.items()}
    for statement in GRANTS:
        connection.execute(sql.SQL(statement).format(database=sql.Identifier(warehouse.database), **names))
    if warehouse.is_embedded:
        connection.execute(sql.SQL("revoke all on database {} from public").format(sql.Identifier(warehouse.database)))


def _migrate(warehouse: Warehouse) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    engine = create_engine("postgresql+psycopg://", creator=lambda: warehouse.connect("owner"), poolclass=NullPool)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
