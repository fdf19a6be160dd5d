"""How a sensor asks again for what a run did not bring about: after ever longer pauses, kept in its cursor."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

# A run a day is no nuisance.
PAUSES_SECONDS: Final = (15.0, 60.0, 300.0, 1800.0, 21_600.0, 86_400.0)


@dataclass(frozen=True)
class Asked:
    """What was asked for (a hash of it), how often, and before when (Unix time) not again."""

    what: str = ""
    times: int = 0
    again_at: float = 0.0

    @classmethod
    def remembered(cls, memory: Any) -> Asked:
        """Take it from what `as_memory` gave; nothing remembered is nothing asked for."""
        return cls(**memory) if isinstance(memory, dict) else cls()

    def as_memory(self) -> dict[str, Any]:
        """Return it as plain values, for a cursor."""
        return asdict(self)

    def of(self, why: Sequence[str]) -> Asked:
        """Return what is known of asking for this, for these reasons."""
        what = hashlib.sha256("\n".join(why).encode("utf-8", "surrogatepass")).hexdigest()
        return self if self.what == what else Asked(what)

    @property
    def is_too_soon(self) -> bool:
        """Whether it was asked for in vain, a short time ago."""
        return self.times > 0 and time.time() < self.again_at

    def once_more(self) -> Asked:
        """Return it as it is after asking now."""
        pause = PAUSES_SECONDS[min(self.times, len(PAUSES_SECONDS) - 1)]
        return replace(self, times=self.times + 1, again_at=time.time() + pause)
