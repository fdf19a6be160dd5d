"""Answers in this process's own memory: a look that costs microseconds, before one at a backend that others share."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from serving.cache.answers import Answer

MOST_BYTES: Final = 64 * 1024**2
_LARGEST_SHARE: Final = 16
_BESIDES: Final = 1024
"""About what an answer takes beside its body, in bytes."""


class Memory:
    """Keeps answers within a number of bytes; what was not asked for the longest time goes first."""

    def __init__(self, most_bytes: int = MOST_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep `most_bytes` at most, and no answer of more than a sixteenth of it. `clock` tells seconds."""
        self._most = most_bytes
        self._clock = clock
        self._kept: OrderedDict[str, tuple[Answer, float]] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> Answer | None:
        """Return what was put under the key, if its time is not over."""
        answer, until = self._kept.get(key, (None, 0.0))
        if answer is None:
            return None
        if self._clock() >= until:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return answer

    def put(self, key: str, answer: Answer, seconds: float) -> None:
        """Keep an answer for so long at most."""
        self._drop(key)
        size = _size(answer)
        if size > self._most // _LARGEST_SHARE:
            return
        self._kept[key] = (answer, self._clock() + seconds)
        self._bytes += size
        while self._bytes > self._most:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        if (dropped := self._kept.pop(key, None)) is not None:
            self._bytes -= _size(dropped[0])


def _size(answer: Answer) -> int:
    return len(answer.body) + _BESIDES
