"""The embedded server's life: started, adopted, killed, recovered; as root and as an ordinary user; anywhere."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from warehouse.accounts import server_account
from warehouse.binaries import copy_of_wheel, wheel_binaries
from warehouse.configuration import Machine, settings_for
from warehouse.connections import Warehouse
from warehouse.embedded import PREFERRED_PORT, EmbeddedPostgres
from warehouse.opening import open_warehouse
from warehouse.places import VAR_LIB, label, socket_folder
from warehouse.preparing import prepare
from warehouse.problems import WarehouseProblem

PROJECT = Path(__file__).parents[2]
IS_ROOT = os.geteuid() == 0

Server = Callable[..., EmbeddedPostgres]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A temporary folder that every user can enter; pytest's own, made by root, is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="footfall-open-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def new_server(open_folder: Path, fast_settings: dict[str, str], programs: Path | None) -> Iterator[Server]:
    """Makes servers in homes of their own; all are removed at the end."""
    made: list[EmbeddedPostgres] = []

    def make(home: Path | None = None, port: int | None = 0, **more: object) -> EmbeddedPostgres:
        arguments = {"bin_dir": programs, "settings": fast_settings, **more}
        made.append(EmbeddedPostgres(home or open_folder / "home", port, **arguments))
        return made[-1]

    yield make
    for server in made:
        server.remove()


def test_data_and_port_outlive_the_server(new_server: Server) -> None:
    server = new_server()
    assert not server.is_running()
    assert server.data is None
    warehouse = server.start()
    assert server.is_running()
    _note(warehouse, "kept")
    server.stop()
    assert not server.is_running()
    assert not warehouse.socket_folder.exists()
    with pytest.raises(psycopg.OperationalError):
        warehouse.connect_as_administrator("postgres")
    server.stop()  # once more does no harm

    again = new_server(port=None).start()
    assert again.port == warehouse.port
    assert _notes(again) == ["kept"]


def test_a_running_server_is_adopted(new_server: Server) -> None:
    first, second = new_server(), new_server()
    one = first.start()
    pid = _pid(first)
    assert second.is_running()
    assert second.start() == one == open_warehouse(first.home, None)
    assert _pid(second) == pid
    second.stop()
    assert not first.is_running()


def test_starting_at_once_makes_one_server(new_server: Server) -> None:
    servers = [new_server() for _ in range(4)]
    warehouses: list[Warehouse] = []
    threads = [threading.Thread(target=lambda s=server: warehouses.append(s.start())) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(warehouses) == 4
    assert all(warehouse == warehouses[0] for warehouse in warehouses)
    title = f"cluster_name={label(servers[0].data)}"
    assert sum(title in (process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])) == 1


def test_opening_starts_nothing(new_server: Server) -> None:
    server = new_server()
    for _ in range(2):
        with pytest.raises(WarehouseProblem, match=r"is not running\. Start it with `footfall up`"):
            open_warehouse(server.home, None)
        server.start()
        server.stop()


def test_a_killed_server_is_recovered(new_server: Server) -> None:
    """Also while one of its backends, busy, has not noticed and still holds the server's memory."""
    server = new_server()
    warehouse = server.start()
    _note(warehouse, "committed")
    busy = warehouse.connect_as_administrator("postgres", autocommit=True)
    busy.pgconn.send_query(b"select count(*) from generate_series(1, 1000000000000)")
    backend = psutil.Process(busy.info.backend_pid)
    psutil.Process(_pid(server)).kill()
    _until(lambda: not server.is_running())
    assert backend.is_running()

    again = server.start()
    assert again.port == warehouse.port
    assert not backend.is_running()
    busy.close()
    assert _notes(again) == ["committed"]


def test_a_lock_file_that_names_another_process_is_no_hindrance(new_server: Server) -> None:
    """After a restart of the machine the dead server's number may be any process's, of the same user too."""
    server = new_server()
    warehouse = server.start()
    _note(warehouse, "committed")
    _kill_all_of(server)
    account = server_account(server.data)
    other = subprocess.Popen(["sleep", "100"], user=account.uid if account.is_other else None)
    lock = server.data / "postmaster.pid"
    lock.write_text("\n".join([str(other.pid), *lock.read_text().splitlines()[1:]]) + "\n")
    for stale in warehouse.socket_folder.glob("*.lock"):
        stale.write_text(lock.read_text())
    try:
        assert not server.is_running()
        assert _notes(server.start()) == ["committed"]
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_half_made_data_folder_is_made_anew(new_server: Server) -> None:
    server = new_server()
    left = server.home / "postgres" / "data.partial" / "base"
    left.mkdir(parents=True)
    server.start()
    assert not left.parent.exists()


def test_a_lock_file_that_was_not_finished_is_no_hindrance(new_server: Server) -> None:
    server = new_server()
    server.start()
    _kill_all_of(server)
    for text in ("", "999999999\n"):
        (server.data / "postmaster.pid").write_text(text)
        assert not server.is_running()
        server.start()
        server.stop()


def test_a_server_started_by_hand_on_the_same_data_is_left_alone(new_server: Server) -> None:
    server = new_server()
    server.start()
    pg_ctl = Path(psutil.Process(_pid(server)).exe()).with_name("pg_ctl")
    server.stop()
    account, data = server_account(server.data), server.data
    socket_folder(data).mkdir(mode=0o700)
    account.own(socket_folder(data))
    account.run([pg_ctl, "start", "-w"], PGDATA=str(data))
    pid = (data / "postmaster.pid").read_text()
    try:
        with pytest.raises(WarehouseProblem, match=r"postmaster\.pid.* already exists"):
            server.start()
        assert (data / "postmaster.pid").read_text() == pid
    finally:
        account.run([pg_ctl, "stop", "-m", "fast"], PGDATA=str(data))


@pytest.mark.parametrize("name", ['it\'s; a $HOME `id` "quoted" \\ %s', f"größe-日本-{'long' * 40}"])
def test_any_path_will_do(new_server: Server, open_folder: Path, name: str) -> None:
    server = new_server(open_folder / name)
    warehouse = server.start()
    prepare(warehouse)
    warehouse.connect("loader").close()
    assert server.data.is_relative_to(open_folder / name)
    assert len(os.fsencode(warehouse.socket_folder / ".s.PGSQL.65535")) < 107


def test_without_a_port_it_is_5433_or_a_free_one_that_stays(new_server: Server, open_folder: Path) -> None:
    with closing(socket.socket()) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", PREFERRED_PORT))
            other.listen()
        except OSError:  # somebody has it already, which serves as well
            pass
        server = new_server(port=None)
        port = server.start().port
        assert port != PREFERRED_PORT
        server.stop()
    assert server.start().port == port
    server.stop()
    with closing(socket.socket()) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        assert server.start().port != port


def test_a_port_that_was_asked_for_is_insisted_on(new_server: Server) -> None:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        server = new_server(port=port)
        with pytest.raises(WarehouseProblem, match=rf"Port {port} on 127\.0\.0\.1.* is taken by another program"):
            server.start()
    assert server.start().port == port


def test_a_port_taken_at_the_last_moment_is_exchanged(new_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        server = new_server(port=None)
        server.home.joinpath("postgres").mkdir(parents=True)
        server.home.joinpath("postgres", "server.json").write_text(json.dumps({"port": taken}))
        monkeypatch.setattr("warehouse.embedded._is_free", lambda port: True)
        assert server.start().port != taken


def test_nobody_is_trusted(server: EmbeddedPostgres, template: Warehouse) -> None:
    with template.connect_as_administrator("postgres") as connection:
        rules = connection.execute(
            "select type, user_name, address, auth_method, error from pg_hba_file_rules order by line_number"
        ).fetchall()
        listening = connection.execute(
            "select current_setting('listen_addresses'), current_setting('password_encryption')"
        ).fetchone()
    own = ["postgres", "footfall_owner"]
    assert rules == [
        ("local", own, None, "peer", None),
        ("host", own, "127.0.0.1", "reject", None),
        ("host", ["all"], "127.0.0.1", "scram-sha-256", None),
    ]
    assert listening == ("127.0.0.1", "scram-sha-256")
    address = {"host": template.host, "port": template.port, "dbname": "footfall"}
    for user, password in (("postgres", "x"), ("footfall_owner", "x"), ("footfall_loader", "x"), ("bi_reader", "")):
        with pytest.raises(psycopg.OperationalError, match=r"rejects|authentication failed|no password supplied"):
            psycopg.connect(**address, user=user, password=password)
    assert template.socket_folder.stat().st_mode & 0o777 == 0o700
    assert server.data.stat().st_mode & 0o777 == 0o700


def test_the_settings_hold(template: Warehouse) -> None:
    wanted = {
        "client_connection_check_interval": "1s",
        "TimeZone": "UTC",
        "server_encoding": "UTF8",
        "data_checksums": "on",
        "wal_level": "minimal",
        "log_error_verbosity": "terse",
        "lc_collate": "C",
    }
    with template.connect_as_administrator("footfall") as connection:
        row = connection.execute(
            "select json_object_agg(name, current_setting(name)) from pg_settings where name = any(%s)",
            [[name for name in wanted if name != "lc_collate"]],
        ).fetchone()
        (collate,) = connection.execute("select datcollate from pg_database where datname = 'footfall'").fetchone()
    assert {**row[0], "lc_collate": collate} == wanted


def test_ids_in_failed_statements_stay_out_of_the_log(server: EmbeddedPostgres, warehouse: Warehouse) -> None:
    twice = "insert into raw.cameras (camera_id) values ('face-of-somebody'), ('face-of-somebody')"
    with warehouse.connect("loader") as connection, pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute(twice)
    log = server.log_file.read_text()
    assert "cameras_pkey" in log
    assert "face-of-somebody" not in log


def test_the_lock_of_a_killed_client_goes_while_its_statement_runs(template: Warehouse) -> None:
    client = subprocess.Popen(
        [sys.executable, "-c", "import psycopg, sys; psycopg.connect(sys.argv[1]).execute(sys.argv[2])",
         template.url("loader"), "select pg_advisory_xact_lock(99), pg_sleep(3600)"],
    )  # fmt: skip
    held = "select count(*) from pg_locks where locktype = 'advisory' and objid = 99"
    with template.connect("loader", autocommit=True) as connection:
        _until(lambda: connection.execute(held).fetchone() == (1,))
        client.kill()
        client.wait()
        _until(lambda: connection.execute(held).fetchone() == (0,))


def test_memory_follows_the_machine() -> None:
    gib = 1024**3
    small = settings_for(Machine(memory_bytes=gib // 2, processors=1, shared_memory_bytes=gib))
    large = settings_for(Machine(memory_bytes=24 * gib, processors=8, shared_memory_bytes=24 * gib))
    huge = settings_for(Machine(memory_bytes=512 * gib, processors=64, shared_memory_bytes=24 * gib))
    assert (small["shared_buffers"], small["work_mem"], small["max_parallel_workers_per_gather"]) == (
        "64MB",
        "4MB",
        "1",
    )
    assert (large["shared_buffers"], large["work_mem"], large["max_parallel_workers_per_gather"]) == (
        "3072MB",
        "96MB",
        "4",
    )
    assert (huge["shared_buffers"], huge["max_parallel_workers"]) == ("4096MB", "64")
    container = settings_for(Machine(memory_bytes=gib, processors=2, shared_memory_bytes=64 * 1024**2))
    assert container["dynamic_shared_memory_type"] == "mmap"
    assert "dynamic_shared_memory_type" not in large


def test_the_smallest_machines_settings_start(new_server: Server, fast_settings: dict[str, str]) -> None:
    tiny = settings_for(Machine(memory_bytes=1, processors=1, shared_memory_bytes=0))
    with new_server(settings={**fast_settings, **tiny}).start().connect_as_administrator("postgres") as connection:
        assert connection.execute("show dynamic_shared_memory_type").fetchone() == ("mmap",)


def test_what_alter_system_sets_outlives_a_restart(new_server: Server) -> None:
    server = new_server()
    with server.start().connect_as_administrator("postgres", autocommit=True) as connection:
        connection.execute("alter system set work_mem = '77MB'")
    server.stop()
    with server.start().connect_as_administrator("postgres") as connection:
        assert connection.execute("show work_mem").fetchone() == ("77MB",)


def test_a_home_that_the_servers_user_cannot_enter(
    new_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone and its environment under a closed folder, as root's home is: nothing there is opened up."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    programs = copy_of_wheel(wheel_binaries(18), closed)
    monkeypatch.setattr("warehouse.embedded.wheel_binaries", lambda version: programs)
    before = {folder: folder.stat().st_mode for folder in [closed, *closed.parents]}
    server = new_server(closed / "project" / ".footfall", bin_dir=None)
    found = server.start()
    prepare(found)
    _note(found, "kept")
    data = server.data
    postmaster = psutil.Process(_pid(server))
    if IS_ROOT:
        assert data.parent.parent == VAR_LIB
        assert postmaster.username() == "footfall"
        assert Path(postmaster.exe()).is_relative_to(data.parent)
        assert server.binary("psql").parent == programs
    else:
        assert data.is_relative_to(server.home)
    server.stop()
    assert _notes(server.start()) == ["kept"]
    assert server.data == data
    assert {folder: folder.stat().st_mode for folder in before} == before

    server.stop()
    shutil.rmtree(server.home)  # a new clone in the same place
    again = new_server(server.home, bin_dir=None)
    assert _notes(again.start()) == []
    if IS_ROOT:
        assert data.is_dir()
        shutil.rmtree(data.parent)
    again.remove()
    assert not VAR_LIB.exists() or not list(VAR_LIB.glob(f"{data.parent.name}*"))


def test_an_ordinary_user_needs_nothing_outside_its_home(open_folder: Path, fast_settings: dict[str, str]) -> None:
    """In a process of its own that, run by root, becomes an ordinary user before it touches anything.

    Root's clone may be closed to that user: it gets a copy of the package, and imports what it needs while it is root.
    """
    shutil.copytree(PROJECT / "warehouse", open_folder / "warehouse")
    programs = copy_of_wheel(wheel_binaries(18), open_folder)
    user, is_made = _ordinary_user()
    home = open_folder / "home of a user"
    home.mkdir()
    os.chown(home, user.pw_uid, user.pw_gid)
    try:
        done = subprocess.run(
            [sys.executable, "-c", AS_ORDINARY_USER, home, programs, str(user.pw_uid), json.dumps(fast_settings)],
            capture_output=True,
            text=True,
            cwd=open_folder,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told == {
            "server runs as": user.pw_name,
            "data": str(home / "postgres" / "data"),
            "passwords": "0o600",
            "events": 0,
            "runs after stop": False,
        }
        assert {path.stat().st_uid for path in home.rglob("*")} == {user.pw_uid}

        # Whoever set it up, root can run it, and leaves it to its owner.
        server = EmbeddedPostgres(home, port=0, bin_dir=programs, settings=fast_settings)
        prepare(server.start())
        assert psutil.Process(_pid(server)).username() == user.pw_name
        server.stop()
        assert {path.stat().st_uid for path in home.rglob("*")} == {user.pw_uid}
    finally:
        EmbeddedPostgres(home, bin_dir=programs).remove()
        if is_made:
            subprocess.run(["userdel", user.pw_name], check=True, capture_output=True)


AS_ORDINARY_USER = """
import json, os, sys
from pathlib import Path
import alembic.command, alembic.config, alembic.script, logging.config, psutil, sqlalchemy.dialects.postgresql.psycopg
from warehouse.embedded import EmbeddedPostgres
from warehouse.preparing import prepare
home, programs, uid, settings = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(home.stat().st_gid); os.setuid(uid)
server = EmbeddedPostgres(home, port=0, bin_dir=programs, settings=settings)
warehouse = server.start()
prepare(warehouse)
with warehouse.connect("loader") as connection:
    (events,) = connection.execute("select count(*) from raw.events").fetchone()
told = {
    "server runs as": psutil.Process(int((server.data / "postmaster.pid").read_text().split()[0])).username(),
    "data": str(server.data),
    "passwords": oct(warehouse.passwords_file.stat().st_mode & 0o777),
    "events": events,
}
server.stop()
print(json.dumps(told | {"runs after stop": server.is_running()}))
"""


def test_another_users_data_are_not_touched(new_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server = new_server()
    server.start()
    server.stop()
    owner = pwd.getpwuid(server.data.stat().st_uid).pw_name
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    for use in (server.start, server.is_running, lambda: open_warehouse(server.home, None)):
        with pytest.raises(
            WarehouseProblem, match=rf"belongs to the user {owner}\. Run Footfall as {owner} or as root"
        ):
            use()
    monkeypatch.undo()


def test_what_is_missing_for_root_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("warehouse.accounts.SYSTEM_USER", "no-such-user-here")
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(
        WarehouseProblem, match=r"refuses to run as root.*useradd to make it is missing.*apt-get install"
    ):
        server_account(None)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: "/bin/false")
    with pytest.raises(
        WarehouseProblem, match=r"could not be made: useradd failed\. Make it by hand \(useradd --system"
    ):
        server_account(None)


def test_a_user_without_a_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    with pytest.raises(WarehouseProblem, match="number 4000000 has no name on this machine"):
        server_account(None)


def test_a_folder_of_the_sockets_name_that_is_not_ours_is_refused(new_server: Server, open_folder: Path) -> None:
    server = new_server()
    server.start()
    server.stop()
    folder = socket_folder(server.data)
    folder.symlink_to(open_folder)
    with pytest.raises(WarehouseProblem, match="no private folder"):
        server.start()
    folder.unlink()
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(WarehouseProblem, match="no private folder"):
        server.start()
    folder.rmdir()


def test_data_choose_the_programs_of_their_version(new_server: Server, tmp_path: Path) -> None:
    old = new_server(bin_dir=None, version=16)
    with old.start().connect_as_administrator("postgres") as connection:
        assert connection.info.server_version // 10_000 == 16
    old.stop()
    newer = new_server(bin_dir=None, version=18)
    with newer.start().connect_as_administrator("postgres") as connection:
        assert connection.info.server_version // 10_000 == 16
    newer.stop()
    with pytest.raises(WarehouseProblem, match=r"are of PostgreSQL 16; the programs in .* are 18"):
        new_server(bin_dir=wheel_binaries(18)).start()
    with pytest.raises(WarehouseProblem, match=r"no embedded PostgreSQL 17 here; .* brings 16 and 18"):
        EmbeddedPostgres(tmp_path / "other", version=17).binary("psql")


def test_why_it_does_not_start_is_said(new_server: Server, fast_settings: dict[str, str]) -> None:
    server = new_server(settings={**fast_settings, "shared_buffers": "a lot"})
    with pytest.raises(WarehouseProblem, match=r'did not start\. It says: .*"shared_buffers": "a lot".* Its log is'):
        server.start()
    with pytest.raises(WarehouseProblem, match="do not run"):
        new_server(server.home.parent / "elsewhere", bin_dir=server.home).start()


def test_why_it_cannot_be_set_up_is_said(new_server: Server, open_folder: Path) -> None:
    (open_folder / "home").write_text("a file where a folder should be")
    with pytest.raises(WarehouseProblem, match=r"could not be started with its state in .*Not a directory"):
        new_server().start()

    broken = copy_of_wheel(wheel_binaries(18), open_folder)
    (broken / "initdb").write_text(
        "#!/bin/sh\necho creating\necho 'initdb: error: no locale of that name' >&2\nexit 1\n"
    )
    (broken / "initdb").chmod(0o755)
    with pytest.raises(WarehouseProblem, match=r"could not be set up\. It says: initdb: error: no locale of that name"):
        new_server(open_folder / "other", bin_dir=broken).start()


def test_programs_that_the_servers_user_cannot_run_are_named(new_server: Server, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    programs = copy_of_wheel(wheel_binaries(18), closed)
    if not IS_ROOT:
        (programs / "postgres").chmod(0o600)
    with pytest.raises(
        WarehouseProblem, match=r"cannot run the programs in .*closed|programs in .*closed.* do not run"
    ):
        new_server(bin_dir=programs).start()


def test_a_long_log_is_begun_anew(new_server: Server) -> None:
    server = new_server()
    server.start()
    server.stop()
    with server.log_file.open("r+b") as log:
        log.truncate(20_000_000)
    server.start()
    assert server.log_file.stat().st_size < 20_000
    assert server.log_file.with_suffix(".log.1").stat().st_size == 20_000_000


def test_a_log_is_begun_anew_while_the_server_runs_and_goes_on_writing(new_server: Server) -> None:
    server = new_server()
    warehouse = server.start()
    with server.log_file.open("ab") as log:
        log.truncate(20_000_000)
    server.limit_log()
    assert server.log_file.stat().st_size < 20_000
    assert server.log_file.with_suffix(".log.1").stat().st_size == 20_000_000
    with pytest.raises(psycopg.OperationalError, match="password"):
        warehouse.connect("loader")  # There is no such role yet.
    _until(lambda: "FATAL" in server.log_file.read_text())
    assert server.log_file.read_bytes().count(b"\0") == 0, "it appends"
    server.limit_log()
    assert "FATAL" in server.log_file.read_text()


def test_damaged_passwords_are_told(new_server: Server) -> None:
    server = new_server()
    file = server.start().passwords_file
    file.write_text("{")
    with pytest.raises(
        WarehouseProblem, match=r"passwords\.json cannot be read: the file is damaged\..*deleting it does"
    ):
        server.warehouse()
    file.unlink()
    prepare(server.warehouse())
    server.warehouse().connect("loader").close()


def test_psql_of_the_same_version_connects(server: EmbeddedPostgres, template: Warehouse) -> None:
    done = subprocess.run(
        [server.binary("psql"), "-XAtc", "select count(*) from raw.events", template.url("owner")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


def _note(warehouse: Warehouse, word: str) -> None:
    with warehouse.connect_as_administrator("postgres") as connection:
        connection.execute("set local synchronous_commit = on")
        connection.execute("create table if not exists public.notes (word text)")
        connection.execute("insert into public.notes values (%s)", [word])


def _notes(warehouse: Warehouse) -> list[str]:
    with warehouse.connect_as_administrator("postgres") as connection:
        if connection.execute("select to_regclass('public.notes')").fetchone() == (None,):
            return []
        return [word for (word,) in connection.execute("select word from public.notes")]


def _pid(server: EmbeddedPostgres) -> int:
    return int((server.data / "postmaster.pid").read_text().split()[0])


def _kill_all_of(server: EmbeddedPostgres) -> None:
    """Kill a server with all its processes, as a power failure does."""
    postmaster = psutil.Process(_pid(server))
    family = [postmaster, *postmaster.children(recursive=True)]
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, timeout=60)


def _until(happens: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(1200):
        if happens():
            return
        waiting.wait(0.05)
    pytest.fail("It did not happen within a minute.")


def _ordinary_user() -> tuple[pwd.struct_passwd, bool]:
    """Whoever runs the tests; if that is root, a user made for the purpose."""
    if not IS_ROOT:
        return pwd.getpwuid(os.geteuid()), False
    name = f"footfall-test-{os.getpid()}"
    subprocess.run(["useradd", "--system", "--no-create-home", name], check=True, capture_output=True)
    return pwd.getpwnam(name), True
