"""Where the time of a load goes: seconds by stage, summed over the chunks that stream through."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

TimedStage = Literal["hash", "read", "validate"]
T = TypeVar("T")


class Stopwatch:
    """Seconds by stage; a stage may come again and again."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timing(self, stage: TimedStage) -> Iterator[None]:
        """Count what is done meanwhile to a stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began

    def drawing(self, stage: TimedStage, items: Iterable[T]) -> Iterator[T]:
        """Count to a stage what it takes to get each item, not what is done with it."""
        rest = iter(items)
        while True:
            with self.timing(stage):
                try:
                    item = next(rest)
                except StopIteration:
                    return
            yield item
