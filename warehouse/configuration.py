"""The embedded server's configuration: what Footfall wants anywhere, what follows from the machine, who is let in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

MEBIBYTE = 1024 * 1024
NOTE = "# Written by Footfall at every start: changes made here are lost. Use ALTER SYSTEM for settings.\n"
IDENTITY_MAP = "footfall"

SETTINGS = {
    "listen_addresses": "127.0.0.1",
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


@dataclass(frozen=True, slots=True)
class Machine:
    """What of a machine matters to PostgreSQL; `shared_memory_bytes` is the size of /dev/shm (0: there is none)."""

    memory_bytes: int
    processors: int
    shared_memory_bytes: int


def this_machine() -> Machine:
    """Look at the machine that this runs on, within the limits of its container."""
    memory = psutil.virtual_memory().total
    for limit in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        try:
            memory = min(memory, int(limit.read_text().strip()))
        except (OSError, ValueError):  # no such limit, or the word "max"
            continue
    shared = Path("/dev/shm")  # noqa: S108 - it is looked at, nothing is written
    return Machine(memory, os.cpu_count() or 1, shutil.disk_usage(shared).total if shared.is_dir() else 0)


def settings_for(machine: Machine) -> dict[str, str]:
    """PostgreSQL settings for a warehouse that shares its machine with Dagster, dbt and a loader.

    An eighth of the memory for shared buffers and half of it assumed as the system's cache: PostgreSQL's usual
    quarter is for a machine of its own.
    """

    def share(divisor: int, least: int, most: int) -> str:
        return f"{min(max(machine.memory_bytes // divisor // MEBIBYTE, least), most)}MB"

    settings = {
        "shared_buffers": share(8, 32, 4096),
        "effective_cache_size": share(2, 128, 65536),
        "work_mem": share(256, 4, 128),
        "maintenance_work_mem": share(32, 32, 1024),
        "max_worker_processes": str(max(8, machine.processors)),
        "max_parallel_workers": str(machine.processors),
        "max_parallel_workers_per_gather": str(min(4, max(1, machine.processors // 2))),
    }
    if machine.shared_memory_bytes < 512 * MEBIBYTE:
        # Containers often have 64 MB of /dev/shm, too little for one parallel hash join.
        settings["dynamic_shared_memory_type"] = "mmap"
    return settings


def postgresql_conf(settings: Mapping[str, str]) -> str:
    """Write down settings as the text of postgresql.conf."""
    quoted = {name: value.replace("'", "''") for name, value in settings.items()}
    return NOTE + "".join(f"{name} = '{value}'\n" for name, value in quoted.items())


def pg_hba_conf(privileged: Iterable[str]) -> str:
    """Say in pg_hba.conf who is let in: privileged users through the socket by who they are, others by password.

    The first line that fits decides, and none trusts anybody.
    """
    names = ",".join(privileged)
    address = f"{SETTINGS['listen_addresses']}/32"
    return (
        f"{NOTE}local all {names} peer map={IDENTITY_MAP}\n"
        f"host all {names} {address} reject\n"
        f"host all all {address} scram-sha-256\n"
    )


def pg_ident_conf(people: Iterable[str], privileged: Iterable[str]) -> str:
    """Say in pg_ident.conf which users of the system may be the privileged users of PostgreSQL."""
    users = list(privileged)
    return NOTE + "".join(f'{IDENTITY_MAP} "{person}" {user}\n' for person in people for user in users)
