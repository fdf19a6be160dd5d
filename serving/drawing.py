"""Where the bars of a chart stand: numbers to coordinates. How they look is in static/footfall.css."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

WIDTH: Final = 720
HEIGHT: Final = 140
_GAP: Final = 4.0
# What is there is seen, however little it is beside the rest.
_LEAST: Final = 1.5


@dataclass(frozen=True)
class Bar:
    """A day's bar: what was rejected stands upon what was loaded. The chart's origin is its upper left corner."""

    day: date
    loaded: int
    rejected: int
    x: float
    width: float
    loaded_height: float
    rejected_height: float

    @property
    def loaded_y(self) -> float:
        """Where the part for loaded rows begins."""
        return HEIGHT - self.loaded_height

    @property
    def rejected_y(self) -> float:
        """Where the part for rejected rows begins."""
        return self.loaded_y - self.rejected_height


def bars(days: Sequence[tuple[date, int, int]]) -> list[Bar]:
    """Return a bar for each day, its loaded and its rejected rows; the tallest is as high as the chart."""
    step = WIDTH / max(len(days), 1)
    most = max((loaded + rejected for _, loaded, rejected in days), default=0)
    return [
        Bar(
            day,
            loaded,
            rejected,
            x=round(number * step + _GAP / 2, 2),
            width=round(step - _GAP, 2),
            loaded_height=_height(loaded, most),
            rejected_height=_height(rejected, most),
        )
        for number, (day, loaded, rejected) in enumerate(days)
    ]


def _height(rows: int, most: int) -> float:
    # Room is left for what is drawn larger than it is.
    return round(max(rows / most * (HEIGHT - _LEAST), _LEAST), 2) if rows else 0.0
