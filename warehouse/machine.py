"""Settings of the embedded server that follow from the machine it runs on.

Only what depends on memory and processors is decided here; what Footfall wants anywhere is in `embedded`.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Machine:
    """What of a machine matters to PostgreSQL; `shared_memory_bytes` is the size of /dev/shm (0: there is none)."""

    memory_bytes: int
    processors: int
    shared_memory_bytes: int


def this_machine() -> Machine:
    """This machine, within the limits of its container."""
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
