"""Where the embedded server's data, log, lock and socket are.

`HOME/postgres/` holds `data/`, `server.log`, `server.json` (the port, and the place outside if there is one) and
`lock`. As root, where the server's user cannot enter HOME, the data and a copy of the programs are in
`/var/lib/footfall/<hash of HOME>/` instead. The socket is in a folder of /tmp with a short name, because the system
allows a socket's path 107 bytes only.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from itertools import count
from pathlib import Path

from warehouse.accounts import Account
from warehouse.files import replace_file
from warehouse.problems import WarehouseProblem

VAR_LIB = Path("/var/lib/footfall")


class Places:
    """The files of one server."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "postgres"
        self.log = self.folder / "server.log"
        self.lock = self.folder / "lock"
        self._facts = self.folder / "server.json"

    @property
    def data(self) -> Path | None:
        """The data folder; None before there is one."""
        candidates = [place / "data" for place in (self.outside, self.folder) if place is not None]
        return next((data for data in candidates if data.is_dir()), None)

    @property
    def outside(self) -> Path | None:
        """The place under /var/lib/footfall, where one had to be made."""
        recorded = self.recall("place")
        return Path(str(recorded)) if recorded else None

    def make_outside(self) -> Path:
        """Return the place under /var/lib/footfall, made at the first call.

        One left by an earlier home of the same path is neither used nor touched: its data are not this home's.
        """
        place = self.outside
        if place is None:
            VAR_LIB.mkdir(mode=0o755, parents=True, exist_ok=True)
            name = _digest(self.home)
            candidates = (VAR_LIB / (name if number == 1 else f"{name}-{number}") for number in count(1))
            place = next(candidate for candidate in candidates if not candidate.exists())
            place.mkdir()
            place.chmod(0o755)
            self.remember(place=str(place))
        return place

    def recall(self, fact: str) -> object:
        """One fact noted in server.json, or None."""
        try:
            return json.loads(self._facts.read_text(encoding="utf-8")).get(fact)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def remember(self, **facts: object) -> None:
        """Note facts in server.json."""
        known = json.loads(self._facts.read_text(encoding="utf-8")) if self._facts.exists() else {}
        replace_file(self._facts, json.dumps({**known, **facts}, indent=1))


def label(data: Path) -> str:
    """Name the server of that data folder in a way by which its processes are told from other servers' ones."""
    return f"footfall-{_digest(data)}"


def socket_folder(data: Path) -> Path:
    """Say which folder the server's socket is in."""
    return Path("/tmp") / f"footfall-{data.stat().st_uid}-{_digest(data)}"  # noqa: S108 - made private below


def make_socket_folder(data: Path, account: Account) -> Path:
    """Make the folder of the socket. Anybody could have put something of that name there, so it is looked at."""
    folder = socket_folder(data)
    try:
        folder.mkdir(mode=0o700)
        account.own(folder)
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid or found.st_mode & 0o077:
            raise WarehouseProblem(
                f"PostgreSQL's socket belongs in {folder}, but that is no private folder of the user {account.name}.",
                "Remove it and start again.",
            ) from None
    return folder


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:12]
