"""Our own PostgreSQL server: initialised, started, adopted and stopped through pg_ctl.

What belongs here: the life of one server whose state is in FOOTFALL_HOME. Where its files are is told in `places`,
its settings in `configuration`, the programs it runs in `binaries`, the user it runs as in `accounts`. Its roles,
databases and tables are `preparing`'s.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

import psutil
import psycopg

from warehouse.accounts import Account, server_account
from warehouse.binaries import copy_of_wheel, major_version, wheel_binaries
from warehouse.configuration import (
    SETTINGS,
    pg_hba_conf,
    pg_ident_conf,
    postgresql_conf,
    settings_for,
    this_machine,
)
from warehouse.connections import ROLE_NAMES, Login, Role, Warehouse
from warehouse.files import locked, replace_file
from warehouse.passwords import Passwords, passwords_file
from warehouse.places import Places, label, make_socket_folder, socket_folder
from warehouse.problems import WarehouseProblem

BOOTSTRAP_USER = "postgres"
PRIVILEGED = (BOOTSTRAP_USER, ROLE_NAMES["owner"])
ADDRESS = SETTINGS["listen_addresses"]
PREFERRED_PORT = 5433
START_SECONDS = 300  # recovery after a crash in the middle of a long load takes its time
STOP_SECONDS = 60
LARGEST_LOG = 16 * 1024 * 1024


class EmbeddedPostgres:
    """One PostgreSQL server that belongs to one FOOTFALL_HOME; making the object touches nothing.

    `port` is insisted on where given; otherwise the server keeps the port it had, which at first is 5433 if that is
    free, else any free one (with `port` 0 any free one at once). `version` chooses among the wheel's programs for new
    data; data that exist choose their own. `bin_dir` names other programs (postgres, initdb, pg_ctl) instead of the
    wheel's. `settings` go over the server's settings. Every method may be called from several processes at once.
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
        self._places = Places(self.home)
        self._port = port
        self._version = version
        self._bin_dir = bin_dir
        self._settings = dict(settings or {})

    @property
    def data(self) -> Path | None:
        """Where the data are; None before the first start."""
        return self._places.data

    @property
    def log_file(self) -> Path:
        """What the server says of itself."""
        return self._places.log

    def start(self) -> Warehouse:
        """Start the server, or adopt the one that runs, and wait until it answers.

        Raises WarehouseProblem where it cannot be started.
        """
        try:
            self._places.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            with locked(self._places.lock):
                deadline = time.monotonic() + START_SECONDS
                while True:
                    if self._postmaster() is None:
                        self._launch()
                    if self._answers():
                        return self.warehouse()
                    if time.monotonic() > deadline:
                        raise WarehouseProblem(
                            "The embedded PostgreSQL runs but does not answer.", f"Its log is {self.log_file}."
                        )
                    time.sleep(0.05)
        except OSError as error:
            raise WarehouseProblem(
                f"The embedded PostgreSQL could not be started with its state in {self._places.folder}: {error}.",
                "See that this user may write there and that the disk is not full.",
            ) from error

    def stop(self) -> None:
        """Stop the server, cutting off whoever is connected; nothing happens where it does not run."""
        self._stop("fast", "immediate")

    def limit_log(self) -> None:
        """Begin the server's log anew where it has become long; the one before is kept.

        A running server has the file open, and appends: the file is copied and emptied. What it writes in between,
        in the blink of an eye, is lost.
        """
        with suppress(FileNotFoundError):
            if self.log_file.stat().st_size > LARGEST_LOG:
                shutil.copyfile(self.log_file, self.log_file.with_suffix(".log.1"))
                os.truncate(self.log_file, 0)

    def is_running(self) -> bool:
        """Whether the server's process lives."""
        return self._postmaster() is not None

    def remove(self) -> None:
        """Stop the server and delete it with all its data."""
        self._stop("immediate")
        data = self._places.data
        for folder in (data and socket_folder(data), self._places.outside, self._places.folder):
            if folder is not None and folder.is_dir():
                shutil.rmtree(folder)

    def binary(self, name: str) -> Path:
        """Return the path of one of PostgreSQL's programs, such as psql, of the version that the data are of."""
        return self._binaries() / name

    def warehouse(self) -> Warehouse:
        """Return the running server as its clients see it; raises WarehouseProblem where it does not run."""
        data = self._places.data
        if data is None or self._postmaster() is None:
            raise WarehouseProblem("The embedded PostgreSQL is not running.", "Start it with `footfall up`.")
        file = passwords_file(self.home)
        logins: dict[Role, Login] = {"owner": Login(ROLE_NAMES["owner"])}
        return Warehouse(
            passwords_file=file,
            host=ADDRESS,
            port=int((data / "postmaster.pid").read_text().splitlines()[3]),
            administrator=Login(BOOTSTRAP_USER),
            logins=logins | Passwords(file).logins(),
            socket_folder=socket_folder(data),
            # It listens on this machine only; said outright so that no PGSSLMODE of the user's asks for more.
            options={"sslmode": "disable", "gssencmode": "disable"},
        )

    def _stop(self, *modes: str) -> None:
        """Stop the server in the first of pg_ctl's modes that does it."""
        data = self._places.data
        if data is None or self._postmaster() is None:
            return
        with locked(self._places.lock):
            for mode in modes:
                if self._postmaster() is not None:
                    self._pg_ctl(server_account(data), data, "stop", "-m", mode, "-t", str(STOP_SECONDS))
            if self._postmaster() is not None:
                raise WarehouseProblem("The embedded PostgreSQL does not stop.", f"Its log is {self.log_file}.")
            with suppress(OSError):  # what is left in it, if anything, is looked at by the next start
                socket_folder(data).rmdir()

    def _launch(self) -> None:
        data = self._places.data or self._initialise()
        account = server_account(data)
        self._clear_after_crash(data)
        self.limit_log()
        tries = 1 if self._port else 5
        for attempt in range(tries):
            port = self._choose_port(fall_back=attempt > 0)
            self._configure(data, account, port)
            options = f"-c cluster_name={label(data)}"
            said = self._pg_ctl(account, data, "start", "-t", str(START_SECONDS), "-o", options)
            if self._postmaster() is not None:
                self._places.remember(port=port)
                return
            if "could not bind" not in said:  # otherwise somebody took the port between the look and the start
                break
        raise WarehouseProblem(
            f"The embedded PostgreSQL did not start. It says: {_essence(said)}", f"Its log is {self.log_file}."
        )

    def _initialise(self) -> Path:
        """Make the data folder with initdb. A half-made one, left by a crash, is made anew."""
        account = server_account(None)
        place = self._places.folder if account.can_enter(self._places.folder) else self._places.make_outside()
        binaries = self._reachable_binaries(account)
        partial = place / "data.partial"
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir(mode=0o700)
        account.own(partial)
        # Texts compare by code point everywhere, and upper and lower case are Unicode's.
        locale = (
            ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
            if major_version(binaries) >= 17
            else ["--lc-collate=C", "--lc-ctype=C.UTF-8"]
        )
        sync = ["--no-sync"] if self._settings.get("fsync") == "off" else []
        arguments = ["-U", BOOTSTRAP_USER, "-E", "UTF8", *locale, "--data-checksums", "--no-instructions", *sync]
        authentication = ["--auth-local=peer", "--auth-host=scram-sha-256"]
        with self.log_file.open("ab") as log:
            start = log.tell()
            command = [str(binaries / "initdb"), *arguments, *authentication]
            done = account.run(command, stdout=log, stderr=log, PGDATA=str(partial))
        if done.returncode != 0:
            raise WarehouseProblem(
                f"The embedded PostgreSQL could not be set up. It says: {_essence(self._logged_since(start))}",
                f"Its log is {self.log_file}.",
            )
        return partial.rename(place / "data")

    def _configure(self, data: Path, account: Account, port: int) -> None:
        """Write the server's own configuration; settings made by ALTER SYSTEM stay above it."""
        settings = {
            **SETTINGS,
            **settings_for(this_machine()),
            "port": str(port),
            "unix_socket_directories": str(make_socket_folder(data, account)),
            **self._settings,
        }
        people = dict.fromkeys(["root", account.name])
        texts = {
            "postgresql.conf": postgresql_conf(settings),
            "pg_hba.conf": pg_hba_conf(PRIVILEGED),
            "pg_ident.conf": pg_ident_conf(people, PRIVILEGED),
        }
        for name, text in texts.items():
            replace_file(data / name, text, uid=account.uid, gid=account.gid)

    def _choose_port(self, *, fall_back: bool) -> int:
        if self._port:
            if not _is_free(self._port):
                raise WarehouseProblem(
                    f"Port {self._port} on {ADDRESS}, where PostgreSQL was to listen, is taken by another program.",
                    "Choose another port, or none: then a free one is found.",
                )
            return self._port
        candidates = [self._places.recall("port"), PREFERRED_PORT if self._port is None else None]
        for port in candidates if not fall_back else []:
            if isinstance(port, int) and _is_free(port):
                return port
        with closing(socket.socket()) as probe:
            probe.bind((ADDRESS, 0))
            return int(probe.getsockname()[1])

    def _clear_after_crash(self, data: Path) -> None:
        """End what a killed server left: its orphaned backends, and the lock files that would stop a new one.

        PostgreSQL takes a lock file for good as long as any process has the number in it, which after a restart of the
        machine or container may be anybody's.
        """
        title = f"postgres: {label(data)}:"
        orphans = [
            process
            for process in psutil.process_iter(["cmdline"])
            if (process.info["cmdline"] or [""])[0].startswith(title)
        ]
        for process in orphans:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(orphans, timeout=10)
        lock = data / "postmaster.pid"
        if lock.exists() and not _is_in_use(lock):
            lock.unlink()
            for file in socket_folder(data).glob(".s.PGSQL.*"):
                file.unlink()

    def _answers(self) -> bool:
        try:
            self.warehouse().connect_as_administrator(BOOTSTRAP_USER, connect_timeout=10).close()
        except (psycopg.OperationalError, WarehouseProblem):
            return False
        return True

    def _pg_ctl(self, account: Account, data: Path, action: str, *arguments: str) -> str:
        """Run pg_ctl and return what was logged meanwhile.

        The data folder goes by PGDATA, because pg_ctl starts the server through a shell, in whose command line a path
        may mean something else.
        """
        binaries = self._reachable_binaries(account)
        with self.log_file.open("ab") as log:
            start = log.tell()
            command = [str(binaries / "pg_ctl"), action, "-w", "-s", *arguments]
            account.run(command, stdout=log, stderr=log, PGDATA=str(data))
        return self._logged_since(start)

    def _logged_since(self, start: int) -> str:
        with self.log_file.open("rb") as log:
            log.seek(start)
            return log.read(64 * 1024).decode("utf-8", "replace")

    def _binaries(self) -> Path:
        data = self._places.data
        made_by = None if data is None else int((data / "PG_VERSION").read_text())
        if self._bin_dir is None:
            return wheel_binaries(made_by or self._version)
        version = major_version(self._bin_dir)
        if made_by not in (None, version):
            raise WarehouseProblem(
                f"The data in {data} are of PostgreSQL {made_by}; the programs in {self._bin_dir} are {version}.",
                f"Use programs of PostgreSQL {made_by}.",
            )
        return self._bin_dir

    def _reachable_binaries(self, account: Account) -> Path:
        """Return the programs as the server's user can run them: in place, else a copy of the wheel's."""
        binaries = self._binaries()
        if account.can_run(binaries / "postgres"):
            return binaries
        if self._bin_dir is None and account.is_other:
            binaries = copy_of_wheel(binaries, self._places.make_outside())
            if account.can_run(binaries / "postgres"):
                return binaries
        raise WarehouseProblem(
            f"The user {account.name}, as whom PostgreSQL runs, cannot run the programs in {binaries}.",
            "Put them where every user can reach them and may run them.",
        )

    def _postmaster(self) -> psutil.Process | None:
        """Find the server's process; None where it does not live, even if its number is another process's now."""
        data = self._places.data
        if data is None:
            return None
        server_account(data)  # says so where the data are another user's, and could not be looked at
        try:
            process = psutil.Process(int((data / "postmaster.pid").read_text().splitlines()[0]))
            ours = f"cluster_name={label(data)}" in process.cmdline()
            return process if ours and process.status() != psutil.STATUS_ZOMBIE else None
        except (FileNotFoundError, IndexError, ValueError, psutil.NoSuchProcess):
            return None


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError:
            return False
        return True


def _is_in_use(lock: Path) -> bool:
    """Whether the server that wrote a postmaster.pid still lives: whether its shared memory is attached to anything.

    Where the system does not tell (the list is Linux's), the lock counts as in use and PostgreSQL decides.
    """
    lines = lock.read_text().splitlines()
    if len(lines) < 7:  # killed before it had any
        return bool(lines) and psutil.pid_exists(int(lines[0]))
    segment = lines[6].split()[1]
    try:
        rows = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
    except FileNotFoundError:
        return True
    return any(row[1] == segment and int(row[6]) > 0 for row in rows)


def _essence(said: str) -> str:
    """Pick the lines of a log that tell why something failed."""
    telling = [
        line
        for line in said.splitlines()
        if any(word in line for word in ("FATAL", "PANIC", "error", "invalid", "HINT"))
    ]
    return " ".join(" ".join(telling or said.splitlines()[-5:]).split()) or "nothing"
