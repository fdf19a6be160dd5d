"""Finding the warehouse that the settings name: our own server, or somebody else's by its URL."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from warehouse.connections import ROLE_NAMES, Login, Warehouse
from warehouse.embedded import EmbeddedPostgres
from warehouse.passwords import Passwords, passwords_file
from warehouse.problems import WarehouseProblem

OLDEST_VERSION = 15
SETTING = "FOOTFALL_DATABASE_URL"
EXAMPLE = f"Give {SETTING} the form postgresql://user:password@host:5432/database?sslmode=require."


def open_warehouse(home: Path, database_url: str | None) -> Warehouse:
    """Find the warehouse of this FOOTFALL_HOME: the running embedded server, or the external one at `database_url`.

    Starts and prepares nothing; an external server is asked for its version, encoding and our rights there. Raises
    WarehouseProblem where it does not run, cannot be reached or will not do.
    """
    return EmbeddedPostgres(home).warehouse() if database_url is None else _external(home, database_url)


def _external(home: Path, database_url: str) -> Warehouse:
    parts = _read_url(database_url)
    host, port, database = parts.pop("host"), int(parts.pop("port", "5432")), parts.pop("dbname")
    administrator = Login(parts.pop("user"), parts.pop("password", None))
    where = f"The database {database} on {host}:{port}"
    warehouse = Warehouse(
        passwords_file=passwords_file(home, f"{host}-{port}"),
        host=host,
        port=port,
        administrator=administrator,
        logins=dict.fromkeys(ROLE_NAMES, administrator),
        database=database,
        dagster_database=database,
        options={"sslmode": "prefer", **parts},
    )
    try:
        timeout = {} if "connect_timeout" in parts else {"connect_timeout": 10}
        with warehouse.connect_as_administrator(database, **timeout) as connection:
            version = connection.info.server_version // 10_000
            (encoding,) = connection.execute("show server_encoding").fetchone() or ("",)
            (makes_roles,) = connection.execute(
                "select rolsuper or rolcreaterole from pg_roles where rolname = current_user"
            ).fetchone() or (False,)
    except psycopg.Error as error:
        raise WarehouseProblem(
            f"{where} cannot be reached as {administrator.user}: {_in_one_line(error)}.",
            f"Check {SETTING} and that the server runs and lets this machine in.",
        ) from error
    if version < OLDEST_VERSION:
        raise WarehouseProblem(
            f"{where} is PostgreSQL {version}; Footfall needs {OLDEST_VERSION} or newer.",
            f"Upgrade the server, name another in {SETTING}, or leave it out: then Footfall runs its own.",
        )
    if encoding != "UTF8":
        raise WarehouseProblem(
            f"{where} has the encoding {encoding}, which cannot hold every name; Footfall needs UTF8.",
            f"Make a database for it: create database {database}_utf8 encoding 'UTF8' template template0.",
        )
    if not makes_roles:
        return warehouse
    return replace(warehouse, logins={**warehouse.logins, **Passwords(warehouse.passwords_file).logins()})


def _read_url(database_url: str) -> dict[str, str]:
    """Take a URL apart that must name one server, one database and one user. No message repeats it."""
    try:
        parts = {name: str(value) for name, value in conninfo_to_dict(database_url).items()}
    except psycopg.ProgrammingError:
        hint = " (leave out the driver, +psycopg2 or the like)" if "+" in database_url.partition(":")[0] else ""
        raise WarehouseProblem(f"{SETTING} is not an address of a PostgreSQL database{hint}.", EXAMPLE) from None
    for name, word in {"host": "host", "dbname": "database", "user": "user"}.items():
        if not parts.get(name):
            raise WarehouseProblem(f"{SETTING} names no {word}.", EXAMPLE)
    if "," in parts["host"] or not parts.get("port", "5432").isdecimal():
        raise WarehouseProblem(f"{SETTING} names several servers or no proper port; it must name one.", EXAMPLE)
    return parts


def _in_one_line(error: psycopg.Error) -> str:
    return " ".join(str(error).split()).rstrip(".")
