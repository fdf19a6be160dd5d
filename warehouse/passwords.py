"""The generated passwords of the roles, in one file that only its owner can read."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from warehouse.problems import WarehouseProblem


@dataclass(frozen=True, slots=True)
class Passwords:
    """`passwords.json` in FOOTFALL_HOME (mode 0600): role name -> password, and whether the server knows it yet.

    A password is written down before the server is told, so that no crash in between can lose it.
    """

    path: Path

    def read(self) -> dict[str, str]:
        """Role name -> password; empty where the file does not exist."""
        return {role: entry["password"] for role, entry in self._entries().items()}

    def ensure(self, roles: list[str]) -> dict[str, str]:
        """Passwords of these roles, generated where they are missing."""
        entries = self._entries()
        missing = [role for role in roles if role not in entries]
        for role in missing:
            entries[role] = {"password": secrets.token_urlsafe(24), "known_to_server": False}
        if missing:
            self._write(entries)
        return {role: entries[role]["password"] for role in roles}

    def not_yet_known(self) -> list[str]:
        """Roles whose password the server has not been told yet."""
        return [role for role, entry in self._entries().items() if not entry["known_to_server"]]

    def mark_known(self, roles: list[str]) -> None:
        """Note that the server now has the passwords of these roles."""
        entries = self._entries()
        for role in roles:
            entries[role]["known_to_server"] = True
        self._write(entries)

    def _entries(self) -> dict[str, dict[str, object]]:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except PermissionError:
            raise WarehouseProblem(
                f"The passwords of the database in {self.path} belong to another user.",
                "Run Footfall as the user who set it up, or as root.",
            ) from None
        try:
            return dict(json.loads(text))
        except ValueError:
            raise WarehouseProblem(
                f"The passwords of the database in {self.path} cannot be read: the file is damaged.",
                "Put back a copy of it, or delete it: new passwords are then made at the next start.",
            ) from None

    def _write(self, entries: dict[str, dict[str, object]]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            json.dump(entries, out, indent=1)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(self.path)
