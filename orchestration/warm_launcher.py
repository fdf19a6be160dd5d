"""Starts runs by having them forked from the run template, which has everything loaded already.

How that works, and what it keeps of what Dagster's default launcher promises, is in docs/launching.md. Who executes a
run, how it is ended and how its health is judged is the same for all launchers of ours: `launcher.py`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from dagster import StringSource
from dagster import _check as check
from dagster._config import Field
from dagster._core.errors import DagsterLaunchFailedError, DagsterUserCodeUnreachableError
from dagster._core.launcher import LaunchRunContext
from dagster._serdes import serialize_value

from orchestration.launcher import WatchedRunLauncher
from orchestration.places import LOCATION
from orchestration.run_socket import GO, NotThere, Request, Talk

if TYPE_CHECKING:
    from dagster._serdes.config_class import ConfigurableClassData

_PAUSE_SECONDS: Final = 0.1


class WarmRunLauncher(WatchedRunLauncher):
    """Has runs of our code location forked; without a `socket` (`warm` is off) it is Dagster's default launcher."""

    def __init__(
        self, socket: str = "", patience_seconds: float = 25.0, inst_data: ConfigurableClassData | None = None
    ) -> None:
        self._socket = Path(socket) if socket else None
        self._patience_seconds = patience_seconds
        super().__init__(inst_data)

    @classmethod
    def config_type(cls) -> Any:
        """Where the run template listens, and how long a launch waits for it: less than monitoring's start timeout."""
        return {
            "socket": Field(StringSource, is_required=False, default_value=""),
            "patience_seconds": Field(float, is_required=False, default_value=25.0),
        }

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        """Make a launcher from dagster.yaml."""
        return cls(inst_data=inst_data, **config_value)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start a run; return once its process has declared itself and was told to begin.

        Raises `DagsterLaunchFailedError` where its process cannot begin. Where the template cannot be reached, nothing
        has begun: `DagsterUserCodeUnreachableError`, on which Dagster puts the run back into its queue.
        """
        run = context.dagster_run
        origin = check.not_none(run.remote_job_origin).repository_origin.code_location_origin
        if self._socket is None or origin.location_name != LOCATION:
            super().launch_run(context)
            return
        location = check.not_none(context.workspace).get_code_location(LOCATION)
        request = Request(
            run_id=run.run_id,
            job=run.job_name,
            instance=serialize_value(self._instance.get_ref()),
            server_id=getattr(location, "server_id", ""),
        )
        self._launch(self._socket, request)

    def _launch(self, socket: Path, request: Request) -> None:
        deadline = time.monotonic() + self._patience_seconds
        while True:
            try:
                self._ask(socket, request, deadline - time.monotonic())
                return
            except NotThere as problem:
                if time.monotonic() + _PAUSE_SECONDS > deadline:
                    raise DagsterUserCodeUnreachableError(
                        f"{problem} What starts runs may be starting itself; its log is run-template.log in "
                        "FOOTFALL_HOME/logs."
                    ) from None
            time.sleep(_PAUSE_SECONDS)

    def _ask(self, socket: Path, request: Request, patience: float) -> None:
        with Talk(socket, max(patience, _PAUSE_SECONDS)) as talk:
            talk.send(request.line())
            first = talk.hear()
            _refuse(first)
            try:
                _refuse(talk.hear())
                talk.send(GO)
            except NotThere:
                raise _failed(
                    f"The process for the run ({first['worker']}) did not come to begin it. Its last words are in "
                    "run-template.log in FOOTFALL_HOME/logs."
                ) from None


def _refuse(answer: Mapping[str, Any]) -> None:
    if answer.get("error"):
        raise _failed(f"The run cannot be started: {answer['error']}")


def _failed(sentence: str) -> DagsterLaunchFailedError:
    return DagsterLaunchFailedError(sentence)  # type: ignore[no-untyped-call]
