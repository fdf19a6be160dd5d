"""The generated passwords of the roles, in a file of FOOTFALL_HOME that only its owner can read."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from warehouse.connections import ROLE_NAMES, Login, Role
from warehouse.files import locked, replace_file
from warehouse.problems import WarehouseProblem


def passwords_file(home: Path, server: str | None = None) -> Path:
    """Say where the passwords for the embedded server are, or those for an external one (`server`: host and port)."""
    return home / ("passwords.json" if server is None else f"passwords-{re.sub(r'[^A-Za-z0-9.-]', '_', server)}.json")


@dataclass(frozen=True, slots=True)
class Passwords:
    """Role name -> password, and whether the server is known to have it.

    A password is written down before the server is told, so that no crash in between can lose it.
    """

    path: Path

    def ensure(self, roles: Iterable[str]) -> dict[str, str]:
        """Return the passwords of these roles, generated where they are missing. Several processes may ask at once."""
        wanted = list(roles)
        entries = self._entries()
        if not set(wanted) <= entries.keys():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self.path.with_suffix(".lock")):
                entries = self._entries()
                for role in wanted:
                    entries.setdefault(role, {"password": secrets.token_urlsafe(24), "known_to_server": False})
                self._write(entries)
        return {role: str(entries[role]["password"]) for role in wanted}

    def logins(self) -> dict[Role, Login]:
        """Make the logins of all roles but the owner, who needs no password."""
        names: dict[Role, str] = {role: name for role, name in ROLE_NAMES.items() if role != "owner"}
        passwords = self.ensure(names.values())
        return {role: Login(name, passwords[name]) for role, name in names.items()}

    def not_yet_known(self) -> set[str]:
        """Name the roles whose password the server may not have been told yet."""
        return {role for role, entry in self._entries().items() if not entry["known_to_server"]}

    def mark_known(self, roles: Iterable[str]) -> None:
        """Note that the server now has the passwords of these roles."""
        with locked(self.path.with_suffix(".lock")):
            entries = self._entries()
            self._write({**entries, **{role: {**entries[role], "known_to_server": True} for role in roles}})

    def _entries(self) -> dict[str, Mapping[str, object]]:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except PermissionError:
            raise WarehouseProblem(
                f"The database's passwords in {self.path} belong to another user.",
                "Run Footfall as the user who set it up, or as root.",
            ) from None
        try:
            return dict(json.loads(text))
        except ValueError:
            raise WarehouseProblem(
                f"The database's passwords in {self.path} cannot be read: the file is damaged.",
                "Put a copy of it back. For the embedded database, deleting it does as well: the next start makes new "
                "ones.",
            ) from None

    def _write(self, entries: Mapping[str, Mapping[str, object]]) -> None:
        replace_file(self.path, json.dumps(entries, indent=1))
