"""How often one may ask: so many requests in a time, per key, and per address where there is no key.

Counted in this process's memory: a restart begins anew. Counted is by a sliding window, so that nobody gets twice as
much around the turn of a minute.
"""

from __future__ import annotations

import ipaddress
import math
import time
from typing import Final

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from serving.api.problems import Problem

READING: Final = "600/minute"
UPLOADING: Final = "60/minute"
# What is refused is no use to anybody: whoever is refused more often is looking for something.
REFUSED: Final = "60/minute"


class Limits:
    """Counts requests of several kinds, each with a limit such as `600/minute`; None: there is none."""

    def __init__(
        self, reading: str | None = READING, uploading: str | None = UPLOADING, refused: str | None = REFUSED
    ) -> None:
        given = {"reading": reading, "uploading": uploading, "refused": refused}
        self._limits: dict[str, RateLimitItem] = {name: parse(limit) for name, limit in given.items() if limit}
        self._counter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def count(self, kind: str, who: str) -> dict[str, str]:
        """Count a request and return the headers that tell how many more are free.

        `kind` is reading, uploading or refused. Raises `Problem` where there were too many already.
        """
        limit = self._limits.get(kind)
        if limit is None:
            return {}
        is_free = await self._counter.hit(limit, kind, who)
        headers = await self._headers(limit, kind, who)
        if not is_free:
            raise await self._problem(limit, kind, who, headers)
        return headers

    async def see_that_one_is_free(self, kind: str, who: str) -> None:
        """Raise a `Problem` where there were too many requests already; counts none."""
        limit = self._limits.get(kind)
        if limit is not None and not await self._counter.test(limit, kind, who):
            raise await self._problem(limit, kind, who, await self._headers(limit, kind, who))

    async def _headers(self, limit: RateLimitItem, kind: str, who: str) -> dict[str, str]:
        """As in the draft standard "RateLimit header fields for HTTP": q requests in w seconds; r are left for now."""
        stats = await self._counter.get_window_stats(limit, kind, who)
        seconds = max(math.ceil(stats.reset_time - time.time()), 1)
        return {
            "RateLimit-Policy": f'"{kind}";q={limit.amount};w={limit.get_expiry()}',
            "RateLimit": f'"{kind}";r={stats.remaining};t={seconds}',
        }

    async def _problem(self, limit: RateLimitItem, kind: str, who: str, headers: dict[str, str]) -> Problem:
        stats = await self._counter.get_window_stats(limit, kind, who)
        seconds = max(math.ceil(stats.reset_time - time.time()), 1)
        return Problem(
            429,
            "Too many requests",
            f"At most {limit.amount} requests ({kind}) are answered in {limit.get_expiry()} seconds. "
            f"Try again in {seconds} s.",
            headers={**headers, "Retry-After": str(seconds)},
        )


def address_group(address: str) -> str:
    """Return what an address is counted as: one of IPv6 by its network, since who has one has all of them."""
    try:
        number = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(number, ipaddress.IPv6Address):
        if number.ipv4_mapped is not None:
            return str(number.ipv4_mapped)
        return str(ipaddress.ip_network((number, 64), strict=False))
    return str(number)
