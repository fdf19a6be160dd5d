"""Whether there is room for another file: PostgreSQL must not be the one to find out that the disk is full.

A file that there is no room for stays in the landing folder, as if it had not been seen: no attempt is counted, and it
is loaded once there is room. Two disks may be concerned: the one with FOOTFALL_HOME, and the one with the embedded
server's data where those had to lie elsewhere. An external server has a disk that cannot be looked at from here.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from orchestration.settings import Settings
from warehouse.embedded import EmbeddedPostgres

GIGABYTE: Final = 1_000_000_000
# Measured with narrow rows (39 bytes each), which grow the most: events, their keys and the marts made of them took 16
# times the CSV file, and what is logged ahead of that 13 times, which PostgreSQL keeps to its max_wal_size.
_ARCHIVED: Final = 1
_STORED: Final = 16
_LOGGED: Final = 13
_MOST_LOGGED: Final = 4 * GIGABYTE
_UNPACKED: Final = 10  # a CSV file under gzip, at most as a rule


def folders(settings: Settings) -> dict[str, Path]:
    """Return the folders whose disks may fill up, by what is kept there."""
    found = {"home": settings.home}
    if settings.external_url is None and (data := EmbeddedPostgres(settings.home).data) is not None:
        found["database"] = data
    return found


def disk_problem(settings: Settings, size_bytes: int = 0, name: str = "") -> str | None:
    """Say what is free and what is needed where there is too little room, for a file of this size or at all.

    None where there is enough, where none is to be left free (`min_free_gb = 0`) or where it cannot be found out.
    """
    if not settings.min_free_gb:
        return None
    least = int(settings.min_free_gb * GIGABYTE)
    for disk, need in _needs(settings, size_bytes, name).items():
        try:
            free = shutil.disk_usage(disk).free
        except OSError:  # Whoever writes there will say so.
            continue
        if free < least + need:
            return _sentence(disk, free, least, need)
    return None


def _needs(settings: Settings, size_bytes: int, name: str) -> Mapping[Path, int]:
    """Return what a file needs, for each disk once."""
    unpacked = size_bytes * (_UNPACKED if name.lower().endswith(".gz") else 1)
    stored = unpacked * _STORED + min(unpacked * _LOGGED, _MOST_LOGGED)
    parts = {"home": size_bytes * _ARCHIVED, "database": stored}
    needs: dict[int, tuple[Path, int]] = {}
    for what, folder in folders(settings).items():
        try:
            device = folder.stat().st_dev
        except OSError:
            continue
        first, need = needs.get(device, (folder, 0))
        needs[device] = (first, need + parts[what])
    return dict(needs.values())


def _sentence(disk: Path, free: int, least: int, need: int) -> str:
    wanted = f"about {_gigabytes(need)} GB for it and " if need else ""
    return (
        f"There is too little room on the disk with {disk}: {_gigabytes(free)} GB are free, where {wanted}"
        f"{_gigabytes(least)} GB to stay free (the setting min_free_gb) are needed. Make room; files wait in the "
        "landing folder until then, and are loaded by themselves."
    )


def _gigabytes(size: int) -> str:
    return f"{size / GIGABYTE:,.2f}".rstrip("0").rstrip(".")
