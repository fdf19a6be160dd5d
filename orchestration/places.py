"""What lies where under FOOTFALL_HOME, made when missing, and the environment in which Dagster's processes run.

Every process of Footfall that speaks to Dagster, the command line included, gets its Dagster from here, so that all
of them see the same one.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from orchestration.settings import PROJECT, Settings, SettingsProblem, machine_environment

if TYPE_CHECKING:
    from warehouse.connections import Warehouse

# A Unix socket's path may have 107 bytes, and gRPC reads it as a URL.
_SOCKET_PATH: Final = re.compile(r"[A-Za-z0-9/._-]{1,100}")
_CAMERA_LIST: Final = "camera_id,camera_name,zone,site_id,timezone,capacity\n"
LOCATION: Final = "footfall"


def make_places(settings: Settings) -> None:
    """Make the folders and files that a first start finds missing. Raises `SettingsProblem` where that is forbidden."""
    try:
        for folder in (settings.home, settings.landing, settings.profiles_folder):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in (
            settings.dagster_home,
            settings.logs,
            settings.run_folder,
            settings.dbt_folder,
            settings.reports,
        ):
            folder.mkdir(mode=0o700, exist_ok=True)
        if not settings.cameras_file.exists():
            settings.cameras_file.write_text(_CAMERA_LIST, encoding="utf-8")
        template = Path(__file__).parent / "dagster_home" / "dagster.yaml"
        (settings.dagster_home / "dagster.yaml").write_bytes(template.read_bytes())
    except OSError as error:
        raise SettingsProblem(
            f"{error.filename} cannot be made or written ({error.strerror}); "
            "FOOTFALL_HOME and FOOTFALL_LANDING must be folders that you may write to."
        ) from None


def code_socket(settings: Settings) -> Path:
    """Return where the code server listens, the same place at every start: Dagster knows the code location by it."""
    return _private_socket(settings, "code.sock")


def run_socket(settings: Settings) -> Path | None:
    """Return where the run template listens; None where runs are started in Dagster's own way."""
    return _private_socket(settings, "run.sock") if settings.warm else None


def _private_socket(settings: Settings, name: str) -> Path:
    """Return a socket's path that nobody but its owner can reach.

    It lies in FOOTFALL_HOME; where that path is too long or has a space in it, in a folder of our own under the
    system's temporary one.
    """
    path = settings.run_folder / name
    if _SOCKET_PATH.fullmatch(str(path)):
        return path
    home = hashlib.sha256(os.fsencode(settings.home)).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"footfall-code-{os.geteuid()}-{home}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise SettingsProblem(f"{folder} is not a private folder of yours; remove it, Footfall makes it anew.")
    return folder / name


def dagster_environment(settings: Settings, warehouse: Warehouse) -> dict[str, str]:
    """Return all that Dagster's processes need to know, the settings of this process included."""
    return {
        **settings.environment(),
        "DAGSTER_HOME": str(settings.dagster_home),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "DO_NOT_TRACK": "1",
        # Freshness is a matter of hours here, and each look reads the whole graph of assets.
        "FRESHNESS_DAEMON_INTERVAL_SECONDS": "300",
        "FOOTFALL_DAGSTER_URL": _in_haste(warehouse.url("dagster", "dagster")),
        "FOOTFALL_CODE_SOCKET": str(code_socket(settings)),
        "FOOTFALL_RUN_SOCKET": str(run_socket(settings) or ""),
    }


def _in_haste(url: str) -> str:
    """Return the URL of Dagster's storage with one setting more: a commit does not wait for the disk.

    Dagster commits each of a run's hundreds of events by itself, and waiting took longer than the work. A crash of the
    machine may lose the last half second of its log, never an event of a camera: those have another connection.
    The database's name goes among the keywords, because SQLAlchemy does not decode a path.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    query["options"] = f"{query.get('options', '')} -csynchronous_commit=off".strip()
    query["dbname"] = unquote(parts.path.removeprefix("/"))
    return urlunsplit(parts._replace(path="/", query=urlencode(query, quote_via=quote)))


def plain_environment(settings: Settings) -> dict[str, str]:
    """Return the environment of a child process that has nothing to do with Dagster: this machine's, and the settings.

    It finds the database by its settings: no password is on a command line, where every user of the machine sees it.
    """
    machine = machine_environment()
    # Where this is set, each process compiles everything that it imports anew.
    machine.pop("PYTHONDONTWRITEBYTECODE", None)
    path = os.pathsep.join(filter(None, [str(PROJECT), machine.get("PYTHONPATH", "")]))
    return machine | settings.environment() | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def child_environment(settings: Settings, warehouse: Warehouse) -> dict[str, str]:
    """Return the whole environment of a child process that is Dagster's: what every child has, and Dagster's own."""
    return plain_environment(settings) | dagster_environment(settings, warehouse)
