"""The parameters that act on loading, in one immutable record.

The values and their defaults are part of the contract on numbers; where they come from (environment, a
settings file) is not decided here. Parameters that act only on the models are not here either.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

DateOrderSetting = Literal["auto", "DMY", "MDY"]


@dataclass(frozen=True, slots=True)
class LoadingRules:
    """How a file is judged; recorded with every load so that a replay gives the same rows."""

    default_timezone: str = "UTC"
    date_order: DateOrderSetting = "auto"
    max_rejected_share: float = 0.05
    max_interval_days: float = 366.0
    future_tolerance_hours: float = 24.0
    earliest_event: datetime = datetime(2000, 1, 1, tzinfo=UTC)
