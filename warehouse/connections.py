"""Where PostgreSQL is and as whom to speak to it.

A `Warehouse` is a plain record: making one opens nothing. How it comes about is told in `embedded` (our own
server) and `opening` (somebody else's).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlencode

import psycopg

Role = Literal["owner", "loader", "transformer", "maintainer", "api", "bi_reader", "dagster"]
Database = Literal["warehouse", "dagster"]

ROLE_NAMES: Mapping[Role, str] = {
    "owner": "footfall_owner",
    "loader": "footfall_loader",
    "transformer": "footfall_transformer",
    "maintainer": "footfall_maintainer",
    "api": "footfall_api",
    "bi_reader": "bi_reader",
    "dagster": "footfall_dagster",
}

DAGSTER_SCHEMA = "dagster"


@dataclass(frozen=True, slots=True)
class Login:
    """A PostgreSQL user and the password it gives, if it gives one (peer and certificate logins do not)."""

    user: str
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Warehouse:
    """A PostgreSQL server with the databases and logins that belong to one Footfall.

    `database` holds the warehouse, `dagster_database` Dagster's storage; where both are one, Dagster's tables live
    in its schema `dagster`. `administrator` may create roles, databases and schemas; on an external server it is
    the user of the URL, who is the owner too, and on one without CREATEROLE is every role at once (`is_single_user`).
    `options` are further libpq keywords, `sslmode` always among them. `passwords_file` holds the roles' passwords.
    """

    passwords_file: Path
    host: str
    port: int
    administrator: Login
    logins: Mapping[Role, Login] = field(repr=False)
    database: str = "footfall"
    dagster_database: str = "dagster"
    socket_folder: Path | None = None
    options: Mapping[str, str] = field(default_factory=lambda: {"sslmode": "prefer"})

    @property
    def is_embedded(self) -> bool:
        """Whether the server is our own: only there does anyone speak through a socket folder of ours."""
        return self.socket_folder is not None

    @property
    def is_single_user(self) -> bool:
        """Whether one user of the server does everything, for want of the right to create roles."""
        return all(login == self.administrator for login in self.logins.values())

    @property
    def shares_database(self) -> bool:
        """Whether one database holds both the warehouse and Dagster's storage."""
        return self.database == self.dagster_database

    def parameters(self, role: Role, database: Database = "warehouse") -> dict[str, str]:
        """Return the libpq keywords of a connection: host, port, user, password, dbname, sslmode and others.

        `password` is left out where the login has none. `options` carries the search path where Dagster's storage is a
        schema of the warehouse's database.
        """
        login = self.logins[role]
        return self._parameters(login, self.dagster_database if database == "dagster" else self.database, database)

    def url(self, role: Role, database: Database = "warehouse") -> str:
        """Return the same as a `postgresql://` URL that libpq and SQLAlchemy both read."""
        parts = self.parameters(role, database)
        user = quote(parts.pop("user"), safe="")
        password = parts.pop("password", None)
        host, port, name = parts.pop("host"), parts.pop("port"), quote(parts.pop("dbname"), safe="")
        if host.startswith("/"):
            address = ""
            parts = {"host": host, "port": port} | parts
        else:
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        credentials = user if password is None else f"{user}:{quote(password, safe='')}"
        query = f"?{urlencode(parts, quote_via=quote)}" if parts else ""
        return f"postgresql://{credentials}@{address}/{name}{query}"

    def connect(self, role: Role, **keywords: Any) -> psycopg.Connection:
        """Open a connection to the warehouse; `keywords` go to `psycopg.connect`."""
        return psycopg.connect(**{"application_name": "footfall", **self.parameters(role), **keywords})

    def connect_as_administrator(self, dbname: str, **keywords: Any) -> psycopg.Connection:
        """Open a connection that may create roles and schemas; for preparing only."""
        parameters = self._parameters(self.administrator, dbname, "warehouse")
        return psycopg.connect(**{"application_name": "footfall", **parameters, **keywords})

    def _parameters(self, login: Login, dbname: str, database: Database) -> dict[str, str]:
        """Host and port as seen by that login: in the embedded server a login without password uses the socket."""
        by_socket = self.socket_folder is not None and login.password is None
        parts = {
            "host": str(self.socket_folder) if by_socket else self.host,
            "port": str(self.port),
            "user": login.user,
            "dbname": dbname,
            **self.options,
        }
        if login.password is not None:
            parts["password"] = login.password
        if database == "dagster" and self.shares_database:
            parts["options"] = f"{parts.get('options', '')} -csearch_path={DAGSTER_SCHEMA}".strip()
        return parts
