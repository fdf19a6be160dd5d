"""Where the time of a build goes: into models, checks, and publishing. How long a run waited before is `waits.py`'s."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import dagster as dg

_PUBLISHING: Final = "data_version"


class Stages:
    """Hears the events of one build, and splits its time when the result of publishing comes."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._models_done: float | None = None
        self._seconds: dict[str, float] = {}

    @property
    def seconds(self) -> dict[str, float]:
        """The split; empty until something was published."""
        return dict(self._seconds)

    def hear(self, event: Mapping[str, Any]) -> None:
        """Take note of an event of dbt."""
        now = datetime.fromisoformat(event["info"]["ts"]).timestamp()
        self._began = self._began or now
        if event["info"]["name"] != "LogModelResult":
            return
        if event["data"]["node_info"]["node_name"] != _PUBLISHING:
            self._models_done = now
            return
        publishing = float(event["data"]["execution_time"])
        models_done = self._models_done or self._began
        self._seconds = {
            "models": models_done - self._began,
            "checks": max(now - publishing - models_done, 0.0),
            "publish": publishing,
        }

    def told_with(self, result: Any) -> Any:
        """Add the split to the result of publishing; any other result stays as it is."""
        if not isinstance(result, dg.Output) or result.output_name.split("__")[-1] != _PUBLISHING:
            return result
        told = {stage: round(seconds, 3) for stage, seconds in self._seconds.items()}
        return result.with_metadata({**result.metadata, "seconds_by_stage": told})
