"""Whether the pages ask for a key, and that there is one where they do. Keys as such are `keys`'."""

from __future__ import annotations

from typing import Final

from orchestration.problems import Problem
from orchestration.settings import Settings
from serving.access.allowing import is_this_machine
from warehouse.connections import Warehouse

_ONE_THAT_HOLDS: Final = """
    select from serving.api_keys where revoked_at is null and coalesce(expires_at > now(), true) limit 1
"""


class NoKey(Problem):
    """The pages ask for a key, and there is none that holds: nobody could use them."""


def keys_are_needed(settings: Settings) -> bool:
    """Whether the pages ask for a key: wherever another machine can reach them, and where it is set."""
    return settings.api_keys_required or not is_this_machine(settings.bind)


def see_that_there_is_a_key(settings: Settings, warehouse: Warehouse) -> None:
    """Raise `NoKey` where the pages ask for a key and there is none that holds."""
    if not keys_are_needed(settings):
        return
    with warehouse.connect("api", connect_timeout=10) as connection:
        if connection.execute(_ONE_THAT_HOLDS).fetchone() is not None:
            return
    why, way_back = (
        ("FOOTFALL_API_KEYS_REQUIRED is set", "unset it")
        if is_this_machine(settings.bind)
        else (
            f"FOOTFALL_BIND is {settings.bind}, where other machines may reach the pages",
            "set FOOTFALL_BIND to 127.0.0.1",
        )
    )
    raise NoKey(
        f"{why}, and there is no key that holds. Make one with `footfall keys create --name NAME --scope read`, "
        f"or {way_back}."
    )
