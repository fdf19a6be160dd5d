"""Questions to the running web servers, over HTTP: are they there, is our code loaded, do the daemons live.

Asked this way, because whoever asks (the supervisor, `footfall status`) need not import Dagster.
"""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any, Final

_HEALTH: Final = """{
  workspaceOrError {
    __typename
    ... on PythonError { message }
    ... on Workspace { locationEntries { loadStatus locationOrLoadError {
      __typename
      ... on PythonError { message }
    } } }
  }
  instance { daemonHealth { allDaemonStatuses { daemonType required healthy lastHeartbeatTime } } }
}"""
_RELOAD: Final = """mutation { reloadRepositoryLocation(repositoryLocationName: "footfall") { __typename } }"""


@dataclass(frozen=True)
class Health:
    """What the web server says: whether it answers, whether our code is loaded, since when each daemon is silent.

    `heartbeats` maps the daemons that are needed to the Unix time of their last sign of life (0: none yet).
    """

    answers: bool = False
    code_loaded: bool = False
    code_error: str | None = None
    heartbeats: dict[str, float] = field(default_factory=dict)

    def is_ready(self, since: float) -> bool:
        """Whether all is up: code loaded, and every daemon has given a sign of life after `since` (Unix time)."""
        return self.code_loaded and bool(self.heartbeats) and all(beat >= since for beat in self.heartbeats.values())


def ask(url: str, timeout: float = 3.0) -> Health:
    """Ask the web server at `url`; silence is an answer too."""
    try:
        data = _query(url, _HEALTH, timeout)
    except (OSError, ValueError, KeyError):
        return Health()
    workspace = data["workspaceOrError"]
    entries = workspace.get("locationEntries", [])
    outcomes = [entry["locationOrLoadError"] or {} for entry in entries]
    errors = [outcome["message"] for outcome in (workspace, *outcomes) if outcome.get("__typename") == "PythonError"]
    loaded = [entry["loadStatus"] == "LOADED" for entry in entries]
    statuses = data["instance"]["daemonHealth"]["allDaemonStatuses"]
    return Health(
        answers=True,
        code_loaded=bool(loaded) and all(loaded) and not errors,
        code_error=errors[0] if errors else None,
        heartbeats={one["daemonType"]: one["lastHeartbeatTime"] or 0.0 for one in statuses if one["required"]},
    )


def pages_answer(url: str, timeout: float = 3.0) -> bool:
    """Whether the process of our own pages at `url` answers."""
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=timeout) as answer:  # noqa: S310 - our own web server's
            return bool(json.load(answer) == {"status": "ok"})
    except (OSError, ValueError):
        return False


def reload_code(url: str) -> None:
    """Have the web server look at the code location again, which it does not do by itself after a failed first look."""
    try:
        _query(url, _RELOAD, 60.0)
    except (OSError, ValueError, KeyError):
        return


def run_status(url: str, run_id: str) -> str | None:
    """Return the state of a run in Dagster's words (STARTED, SUCCESS, FAILURE …), None where nobody answers."""
    try:
        data = _query(url, f"{{ runOrError(runId: {json.dumps(run_id)}) {{ ... on Run {{ status }} }} }}", 5.0)
    except (OSError, ValueError, KeyError):
        return None
    status: str | None = data["runOrError"].get("status")
    return status


def port_is_taken(host: str, port: int) -> bool:
    """Whether something listens there already, or the address is not ours to listen at."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def _query(url: str, query: str, timeout: float) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310 - the address is our own web server's
        f"{url}/graphql",
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
        data: dict[str, Any] = json.load(answer)["data"]
    return data
