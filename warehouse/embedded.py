"""Our own PostgreSQL server: initialised, started, adopted and stopped through pg_ctl.

What belongs here: the life of one server whose state is in FOOTFALL_HOME. Its roles, databases and tables are
`preparing`'s; the programs it runs `binaries`'; the user it runs as `accounts`'.

Layout: `HOME/postgres/` holds `data/`, `server.log`, `server.json` (port, and where the data are if elsewhere) and
`lock`. As root, where the server's user cannot enter HOME, data and a copy of the programs are in
`/var/lib/footfall/<hash of HOME>/` instead. The socket is in a folder of /tmp with a short name, because the
system allows a socket's path 107 bytes only.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import psycopg

from warehouse.accounts import Account, server_account
from warehouse.binaries import copy_of_wheel, major_version, wheel_binaries
from warehouse.connections import ROLE_NAMES, Login, Role, Warehouse
from warehouse.machine import settings_for, this_machine
from warehouse.passwords import Passwords
from warehouse.problems import WarehouseProblem

BOOTSTRAP_USER = "postgres"
PREFERRED_PORT = 5433
ADDRESS = "127.0.0.1"
VAR_LIB = Path("/var/lib/footfall")
START_SECONDS = 300  # recovery after a crash in the middle of a long load takes its time
STOP_SECONDS = 60

SETTINGS = {
    "listen_addresses": ADDRESS,
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    # The lock of a client that was killed goes within a second.
    "client_connection_check_interval": "1s",
    # No standby and no log archive: loads into new tables need not go through the write-ahead log.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "jit": "off",
    # Rows of a failed statement hold people's ids: the log names the error, the client is told the rest.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
}


class EmbeddedPostgres:
    """One PostgreSQL server that belongs to one FOOTFALL_HOME; making the object touches nothing.

    `port` is insisted on where given, 0 means any free one; without it the server keeps the port it had, at first 5433
    if that is free. `version` chooses among the wheel's programs for new data; data that exist already choose their own.
    `bin_dir` names other programs (postgres, initdb, pg_ctl) instead of the wheel's. `settings` go over the server's
    settings. Every method may be called from several processes at once.
    """

    def __init__(
        self,
        home: Path,
        port: int | None = None,
        version: int = 18,
        *,
        bin_dir: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.home = home.absolute()
        self.folder = self.home / "postgres"
        self.log_file = self.folder / "server.log"
        self._port = port
        self._version = version
        self._bin_dir = bin_dir
        self._settings = dict(settings or {})

    # -- what others ask ------------------------------------------------------------------------------------------

    def start(self) -> Warehouse:
        """Start the server, or adopt the one that runs, and wait until it answers.

        Raises WarehouseProblem where it cannot be started.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock():
            if self._postmaster() is None:
                self._launch()
            warehouse = self.warehouse()
            self._wait_until_it_answers(warehouse)
            return warehouse

    def stop(self) -> None:
        """Stop the server, cutting off whoever is connected; nothing happens where it does not run."""
        if not self.folder.is_dir():
            return
        with self._lock():
            self._stop()

    def is_running(self) -> bool:
        """Whether the server's process lives."""
        return self._postmaster() is not None

    def remove(self) -> None:
        """Stop the server and delete it with all its data."""
        if not self.folder.is_dir():
            return
        with self._lock():
            self._stop()
            data = self.data
            if data is not None:
                shutil.rmtree(self._socket_folder(data), ignore_errors=True)
                shutil.rmtree(data)
                if data.parent.parent == VAR_LIB:
                    shutil.rmtree(data.parent)
            shutil.rmtree(self.folder)

    def binary(self, name: str) -> Path:
        """The path of one of PostgreSQL's programs, such as psql, of the version that the data are of."""
        return self._binaries() / name

    @property
    def data(self) -> Path | None:
        """Where the data are; None before the first start."""
        elsewhere = self._state().get("data")
        data = Path(str(elsewhere)) if elsewhere else self.folder / "data"
        return data if data.is_dir() else None

    def warehouse(self) -> Warehouse:
        """The running server as its clients see it; raises WarehouseProblem where it does not run."""
        data = self.data
        if data is None or self._postmaster() is None:
            raise WarehouseProblem("The embedded PostgreSQL is not running.", "Start it with `footfall up`.")
        port = int((data / "postmaster.pid").read_text().splitlines()[3])
        roles: dict[Role, str] = {role: name for role, name in ROLE_NAMES.items() if role != "owner"}
        passwords = Passwords(self.home / "passwords.json").ensure(list(roles.values()))
        logins: dict[Role, Login] = {"owner": Login(ROLE_NAMES["owner"])}
        logins |= {role: Login(name, passwords[name]) for role, name in roles.items()}
        return Warehouse(
            home=self.home,
            host=ADDRESS,
            port=port,
            administrator=Login(BOOTSTRAP_USER),
            logins=logins,
            socket_folder=self._socket_folder(data),
        )

    # -- starting -------------------------------------------------------------------------------------------------

    def _launch(self) -> None:
        data = self._initialised()
        account = server_account(data)
        binaries = self._reachable_binaries(account, data)
        self._clear_after_crash(data)
        tries = 1 if self._port else 5
        for attempt in range(tries):
            port = self._choose_port(avoid_known=attempt > 0)
            self._configure(data, account, port)
            said = self._pg_ctl(
                account, data, binaries, "start", "-t", str(START_SECONDS), "-o", f"-c cluster_name={_label(data)}"
            )
            if self._postmaster() is not None:
                self._remember(port=port)
                return
            if "could not bind" not in said:  # somebody took the port between the look and the start
                break
        raise WarehouseProblem(
            f"The embedded PostgreSQL did not start. It says: {said.strip() or 'nothing'}",
            f"Its log is {self.log_file}.",
        )

    def _initialised(self) -> Path:
        """The data folder, made by initdb where there is none. Half-made ones, left by a crash, are made anew."""
        data = self.data
        if data is not None:
            return data
        account = server_account(None)
        if account.can_enter(self.folder):
            place = self.folder
        else:
            place = _place_in_var_lib(self.home)
        binaries = self._reachable_binaries(account, place / "data")
        partial = place / "data.partial"
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir(mode=0o700)
        account.own(partial)
        locale = (
            ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
            if major_version(binaries) >= 17
            else ["--lc-collate=C", "--lc-ctype=C.UTF-8"]
        )
        with self.log_file.open("ab") as log:
            start = log.tell()
            done = account.run(
                [binaries / "initdb", "-D", partial, "-U", BOOTSTRAP_USER, "-E", "UTF8", *locale, "--data-checksums",
                 "--auth-local=peer", "--auth-host=scram-sha-256", "--no-instructions"],
                stdout=log,
                stderr=log,
            )  # fmt: skip
        if done.returncode != 0:
            raise WarehouseProblem(
                f"The embedded PostgreSQL could not be set up. It says: {self._log_since(start)}",
                f"Its log is {self.log_file}.",
            )
        data = place / "data"
        partial.rename(data)
        if place != self.folder:
            self._remember(data=str(data))
        return data

    def _configure(self, data: Path, account: Account, port: int) -> None:
        """Write the server's own configuration; settings made by ALTER SYSTEM stay above it."""
        folder = self._socket_folder(data)
        _private_folder(folder, account)
        settings = {
            **SETTINGS,
            **settings_for(this_machine()),
            "port": str(port),
            "unix_socket_directories": str(folder),
            **self._settings,
        }
        note = "# Written by Footfall at every start: changes made here are lost. Use ALTER SYSTEM.\n"
        lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in settings.items()]
        _write_for(account, data / "postgresql.conf", note + "".join(lines))
        own = f"{BOOTSTRAP_USER},{ROLE_NAMES['owner']}"
        _write_for(
            account,
            data / "pg_hba.conf",
            f"{note}local all {own} peer map=footfall\n"
            f"host all {own} {ADDRESS}/32 reject\n"
            f"host all all {ADDRESS}/32 scram-sha-256\n",
        )
        people = dict.fromkeys(["root", account.name])
        mapped = [f'footfall "{person}" {user}\n' for person in people for user in own.split(",")]
        _write_for(account, data / "pg_ident.conf", note + "".join(mapped))

    def _choose_port(self, *, avoid_known: bool) -> int:
        if self._port:
            if not _is_free(self._port):
                raise WarehouseProblem(
                    f"Port {self._port} on {ADDRESS}, where PostgreSQL was to listen, is taken by another program.",
                    "Choose another port, or none: then a free one is found.",
                )
            return self._port
        if self._port is None and not avoid_known:
            for port in (self._state().get("port"), PREFERRED_PORT):
                if isinstance(port, int) and _is_free(port):
                    return port
        with closing(socket.socket()) as probe:
            probe.bind((ADDRESS, 0))
            return int(probe.getsockname()[1])

    def _clear_after_crash(self, data: Path) -> None:
        """End what a killed server left: its orphaned backends and the lock files that would stop a new one."""
        orphans = [
            process
            for process in psutil.process_iter(["cmdline"])
            if (process.info["cmdline"] or [""])[0].startswith(f"postgres: {_label(data)}:")
        ]
        for process in orphans:
            process.kill()
        psutil.wait_procs(orphans, timeout=10)
        lock = data / "postmaster.pid"
        if lock.exists() and not _is_postgres(int(lock.read_text().split()[0])):
            lock.unlink()
        folder = self._socket_folder(data)
        if folder.is_dir():
            for file in folder.glob(".s.PGSQL.*"):
                file.unlink()

    def _wait_until_it_answers(self, warehouse: Warehouse) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                warehouse.connect_as_administrator(BOOTSTRAP_USER, connect_timeout=10).close()
                return
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline or not self.is_running():
                    raise WarehouseProblem(
                        f"The embedded PostgreSQL runs but does not answer: {error}", f"Its log is {self.log_file}."
                    ) from error
            time.sleep(0.1)

    # -- stopping -------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        data = self.data
        if data is None or self._postmaster() is None:
            return
        account = server_account(data)
        binaries = self._reachable_binaries(account, data)
        for mode in ("fast", "immediate"):
            self._pg_ctl(account, data, binaries, "stop", "-m", mode, "-t", str(STOP_SECONDS))
            if self._postmaster() is None:
                return
        raise WarehouseProblem("The embedded PostgreSQL does not stop.", f"Its log is {self.log_file}.")

    # -- helpers --------------------------------------------------------------------------------------------------

    def _pg_ctl(self, account: Account, data: Path, binaries: Path, action: str, *arguments: str) -> str:
        """Run pg_ctl and return what was logged meanwhile. The data folder goes by PGDATA: pg_ctl starts the server
        through a shell, in whose command line a path may mean something else.
        """
        if self.log_file.exists() and self.log_file.stat().st_size > 16 * 1024 * 1024 and action == "start":
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        with self.log_file.open("ab") as log:
            start = log.tell()
            account.run([binaries / "pg_ctl", action, "-w", "-s", *arguments], stdout=log, stderr=log, PGDATA=str(data))
        return self._log_since(start)

    def _log_since(self, start: int) -> str:
        with self.log_file.open("rb") as log:
            log.seek(start)
            return log.read(4000).decode("utf-8", "replace").strip()

    def _binaries(self) -> Path:
        if self._bin_dir is not None:
            return self._bin_dir
        data = self.data
        version = self._version if data is None else int((data / "PG_VERSION").read_text())
        return wheel_binaries(version)

    def _reachable_binaries(self, account: Account, data: Path) -> Path:
        binaries = self._binaries()
        if account.run([binaries / "postgres", "--version"]).returncode == 0:
            return binaries
        if self._bin_dir is not None:
            raise WarehouseProblem(
                f"The user {account.name}, as whom PostgreSQL runs, cannot run the programs in {binaries}.",
                "Put them where every user can reach them.",
            )
        place = data.parent if data.parent.parent == VAR_LIB else _place_in_var_lib(self.home)
        return copy_of_wheel(binaries, place)

    def _postmaster(self) -> psutil.Process | None:
        """The server's process; None where there is none, or where the number in its lock file is now another's."""
        data = self.data
        if data is None:
            return None
        try:
            lines = (data / "postmaster.pid").read_text().splitlines()
            process = psutil.Process(int(lines[0]))
            ours = f"cluster_name={_label(data)}" in process.cmdline()
            return process if ours and process.status() != psutil.STATUS_ZOMBIE else None
        except (FileNotFoundError, IndexError, ValueError, psutil.NoSuchProcess):
            return None

    def _socket_folder(self, data: Path) -> Path:
        return Path("/tmp") / f"footfall-{data.stat().st_uid}-{_label(data)[-12:]}"  # noqa: S108 - made private

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _state(self) -> dict[str, object]:
        try:
            return dict(json.loads((self.folder / "server.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}

    def _remember(self, **facts: object) -> None:
        temporary = self.folder / "server.json.new"
        temporary.write_text(json.dumps({**self._state(), **facts}, indent=1), encoding="utf-8")
        temporary.replace(self.folder / "server.json")


def _label(data: Path) -> str:
    """A name for the server of that data folder, by which its processes are told from other servers' ones."""
    return f"footfall-{hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:12]}"


def _place_in_var_lib(home: Path) -> Path:
    """A new folder under /var/lib/footfall for a home that the server's user cannot enter."""
    name = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:12]
    VAR_LIB.mkdir(mode=0o755, parents=True, exist_ok=True)
    place = VAR_LIB / name
    place.mkdir(mode=0o755, exist_ok=True)
    return place


def _private_folder(folder: Path, account: Account) -> None:
    """Make a folder of a well-known place that only the server's user enters, unless it is there already."""
    try:
        folder.mkdir(mode=0o700)
        account.own(folder)
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid or found.st_mode & 0o077:
            raise WarehouseProblem(
                f"PostgreSQL's socket belongs in {folder}, but that is not a private folder of the user {account.name}.",
                "Remove it and start again.",
            ) from None


def _write_for(account: Account, path: Path, text: str) -> None:
    """Replace a file in the server's own folder, following no link that may lie there."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    account.own(temporary)
    temporary.replace(path)


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError:
            return False
        return True


def _is_postgres(pid: int) -> bool:
    try:
        return psutil.Process(pid).name().startswith("postgres")
    except psutil.NoSuchProcess:
        return False
