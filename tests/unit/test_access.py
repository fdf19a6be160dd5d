"""Who counts as whom at the gate, without a database: addresses, scopes, limits, and the form of a key."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console

from orchestration.keys import KeysProblem, create
from orchestration.settings import load_settings
from serving.access.allowing import EVERYBODY, Access, is_this_machine
from serving.access.gate import is_for_everybody
from serving.access.keys import SCOPES, Keyring
from serving.access.limiting import Limits, address_group
from serving.access.store import Store
from serving.api.problems import Problem
from serving.refusing import is_api
from warehouse.connections import Warehouse


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "LOCALHOST", " 127.0.0.1 ", "::1", "[::1]"])
def test_what_is_reached_from_this_machine_alone(host: str) -> None:
    assert is_this_machine(host)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "", "10.0.0.7", "fe80::1", "::ffff:10.0.0.7", "localhost.example", "1", "127.0.0.1.example"],
)
def test_what_others_may_reach(host: str) -> None:
    assert not is_this_machine(host)


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::2", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_addresses_are_counted_by_who_has_them(address: str, group: str) -> None:
    assert address_group(address) == group


def test_each_scope_allows_what_those_before_it_do() -> None:
    allowed = [[Access(has, None, 1, "k").allows(needs) for needs in SCOPES] for has in SCOPES]
    assert allowed == [[True, False, False], [True, True, False], [True, True, True]]
    assert EVERYBODY.allows("admin")


def test_what_belongs_to_no_site_is_for_keys_of_all_sites() -> None:
    limited, none = Access("read", ("A",), 1, "k"), Access("read", (), 1, "k")
    assert [limited.allows_site(site) for site in ("A", "B", "", None)] == [True, False, False, False]
    assert [none.allows_site(site) for site in ("A", None)] == [False, False]
    assert EVERYBODY.allows_site(None)
    with pytest.raises(Problem, match="is for no site"):
        none.require_all_sites()


@pytest.mark.parametrize(
    ("path", "api", "everybody"),
    [
        ("/v1", True, False),
        ("/v1/kpis", True, False),
        ("/v1x", False, False),
        ("/v2/kpis", False, False),
        ("/healthz", False, True),
        ("/healthz/", False, False),
        ("/static/footfall.css", False, True),
        ("/staticx", False, False),
    ],
)
def test_which_paths_are_the_apis_and_which_everybodys(path: str, api: bool, everybody: bool) -> None:
    assert (is_api(path), is_for_everybody(path)) == (api, everybody)


@pytest.mark.parametrize(
    "presented",
    [
        *("", "ff_", "ff_1_", "ff_1_" + "A" * 42, "ff_1_" + "A" * 44, "ff_0_" + "A" * 43, "ff__" + "A" * 43),
        *("gg_1_" + "A" * 43, "ff_٣_" + "A" * 43, "ff_1_" + "A" * 42 + "\n", "ff_1_" + "A" * 43 + "\n", "\udc80"),
    ],
)
def test_what_has_not_the_form_of_a_key_is_not_looked_up(presented: str) -> None:
    def never() -> Warehouse:
        raise AssertionError("the database was asked")

    assert asyncio.run(Keyring(Store(never)).find(presented)) is None


def test_limits_count_kinds_and_askers_apart_and_none_is_none() -> None:
    async def count(limits: Limits, kind: str, who: str, times: int) -> int:
        """How many of these requests go through."""
        through = 0
        for _ in range(times):
            with suppress(Problem):
                await limits.count(kind, who)
                through += 1
        return through

    async def numbers() -> list[int]:
        limits, unlimited = Limits("7/hour", "3/day"), Limits(None, None)
        return [
            await count(limits, "reading", "a", 9),
            await count(limits, "reading", "b", 9),
            await count(limits, "uploading", "a", 9),
            await count(unlimited, "reading", "a", 2000),
            await count(unlimited, "refused", "a", 100),
        ]

    assert asyncio.run(numbers()) == [7, 7, 3, 2000, 60]


def test_many_at_once_get_no_more_than_one_after_the_other() -> None:
    async def through() -> int:
        limits = Limits("50/hour")
        done = await asyncio.gather(*(limits.count("reading", "a") for _ in range(200)), return_exceptions=True)
        assert all(isinstance(one, dict | Problem) for one in done)
        return sum(isinstance(one, dict) for one in done)

    assert asyncio.run(through()) == 50


@pytest.mark.parametrize(
    ("name", "site", "expires", "says"),
    [
        (" ", "A", None, "--name must be 1 to 100 characters that can be printed, not ' '."),
        ("a\nb", "A", None, r"--name must be 1 to 100 characters that can be printed, not 'a\nb'."),
        ("a" * 101, "A", None, "--name must be 1 to 100"),
        ("a", "", None, "--site must be 1 to 100"),
        ("a", "A", "soon", "--expires must be a time such as 12h, 90d or 52w, not 'soon'."),
        ("a", "A", "0d", "--expires must be a time"),
        ("a", "A", "-1d", "--expires must be a time"),
        ("a", "A", "1000000000w", "--expires must be a time"),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(
    tmp_path: Path, name: str, site: str, expires: str | None, says: str
) -> None:
    with pytest.raises(KeysProblem, match=re.escape(says)):
        create(load_settings(tmp_path), name, "read", sites=[site], expires=expires, err=Console(stderr=True))
    assert list(tmp_path.iterdir()) == []
