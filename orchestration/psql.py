"""`footfall psql`: PostgreSQL's own shell, from the wheel, connected."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from typing import Final, cast, get_args

from orchestration.places import make_places
from orchestration.problems import Problem
from orchestration.server import Server
from orchestration.settings import Settings, machine_environment
from warehouse.connections import Role
from warehouse.embedded import EmbeddedPostgres

DEFAULT_ROLE: Final[Role] = "bi_reader"
_VARIABLES: Final = {
    "host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT",
}  # fmt: skip


class UnknownRole(Problem):
    """There is no such role."""


def run_psql(settings: Settings, arguments: Sequence[str]) -> int:
    """Run psql until it ends and return its exit code; the embedded server is started where it does not run.

    `--as ROLE` as the first two arguments connects as another role than the reader of the marts. Raises
    `UnknownRole`, or `WarehouseProblem` where there is no server to connect to.
    """
    role, arguments = _role(list(arguments))
    make_places(settings)
    with Server(settings).in_use(prepare_anyway=False) as warehouse:
        parameters = warehouse.parameters(role, "dagster" if role == "dagster" else "warehouse")
        variables = {variable: parameters[name] for name, variable in _VARIABLES.items() if name in parameters}
        psql = EmbeddedPostgres(settings.home).binary("psql")
        # Ctrl-C is psql's: it cancels a query there.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            environment = (
                machine_environment() | variables | {"PGOPTIONS": parameters.get("options", "-csearch_path=marts,raw")}
            )
            return subprocess.run([str(psql), *arguments], env=environment, check=False, preexec_fn=_listen).returncode
        finally:
            signal.signal(signal.SIGINT, before)


def _listen() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _role(arguments: list[str]) -> tuple[Role, list[str]]:
    if arguments[:1] != ["--as"]:
        return DEFAULT_ROLE, arguments
    known = get_args(Role)
    name = arguments[1] if len(arguments) > 1 else ""
    if name not in known:
        raise UnknownRole(f"'{name}' is not a role; --as takes one of {', '.join(known)}.")
    return cast("Role", name), arguments[2:]
