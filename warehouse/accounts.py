"""The system user that PostgreSQL runs as.

PostgreSQL refuses to run as root. As an ordinary user it runs as that user; as root it runs as whoever owns the
data already, else as the system user `footfall`, which is made when missing.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from warehouse.problems import WarehouseProblem

SYSTEM_USER = "footfall"


@dataclass(frozen=True, slots=True)
class Account:
    """A system user; `is_other` where it is not the one this process runs as (which then is root)."""

    name: str
    uid: int
    gid: int
    is_other: bool

    def run(
        self,
        command: Sequence[str | Path],
        *,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.DEVNULL,
        **environment: str,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command as this user, in a clean environment, from a folder that every user can enter."""
        try:
            return subprocess.run(
                [str(part) for part in command],
                user=self.uid if self.is_other else None,
                group=self.gid if self.is_other else None,
                extra_groups=[] if self.is_other else None,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd="/",
                env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", **environment},
                check=False,
            )
        except PermissionError:
            return subprocess.CompletedProcess(list(command), 126)

    def can_enter(self, folder: Path) -> bool:
        """Whether this user can reach into a folder; asked of the system, which knows of ACLs and mounts."""
        return not self.is_other or self.run(["test", "-x", folder]).returncode == 0

    def can_run(self, program: Path) -> bool:
        """Whether this user can run a program of PostgreSQL; found out by having it say its version."""
        return self.run([program, "--version"]).returncode == 0

    def own(self, path: Path) -> None:
        """Make a file or folder of ours this user's."""
        if self.is_other:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def server_account(data: Path | None) -> Account:
    """Who runs the server whose data are in `data` (None: there are none yet)."""
    me = os.geteuid()
    owner = me if data is None else data.stat().st_uid
    if me == 0 and owner == 0:
        return _system_user()
    if me not in (0, owner):
        raise WarehouseProblem(
            f"The database in {data} belongs to the user {_name(owner)}.",
            f"Run Footfall as {_name(owner)} or as root, or choose another FOOTFALL_HOME.",
        )
    try:
        entry = pwd.getpwuid(owner)
    except KeyError:
        raise WarehouseProblem(
            f"The user with the number {owner} has no name on this machine, and PostgreSQL refuses to run without one.",
            "Give it a line in /etc/passwd, run Footfall as another user, or set FOOTFALL_DATABASE_URL.",
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, is_other=me == 0)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _system_user() -> Account:
    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        entry = _make_system_user()
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, is_other=True)


def _make_system_user() -> pwd.struct_passwd:
    why = f"PostgreSQL refuses to run as root, and the system user {SYSTEM_USER} that it would run as"
    by_hand = f"useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {SYSTEM_USER}"
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is None:
        raise WarehouseProblem(
            f"{why} does not exist; the program useradd to make it is missing as well.",
            "Install it (Debian: apt-get install passwd; Fedora: dnf install shadow-utils; Alpine: apk add shadow), "
            "run Footfall as an ordinary user, or set FOOTFALL_DATABASE_URL.",
        )
    made = subprocess.run([useradd, *by_hand.split()[1:]], capture_output=True, text=True, check=False)
    try:
        return pwd.getpwnam(SYSTEM_USER)  # another process may have made it in the meantime
    except KeyError:
        raise WarehouseProblem(
            f"{why} could not be made: {made.stderr.strip() or 'useradd failed'}.",
            f"Make it by hand ({by_hand}), run Footfall as an ordinary user, or set FOOTFALL_DATABASE_URL.",
        ) from None
