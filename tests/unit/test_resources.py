"""What runs and ticks are given: Footfall with the settings of now, or what is to be said where those are wrong."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from orchestration.assets.run_log import RunLog
from orchestration.resources import Footfall, FreshFootfall
from orchestration.settings import Settings, SettingsProblem


class Read:
    """Settings that somebody edits."""

    def __init__(self, settings: Settings) -> None:
        self.now: Settings | SettingsProblem = settings

    def __call__(self) -> Settings:
        if isinstance(self.now, SettingsProblem):
            raise self.now
        return self.now


@pytest.fixture
def read(tmp_path: Path) -> Read:
    return Read(Settings(home=tmp_path / "home", landing=tmp_path / "landing"))


@pytest.fixture
def fresh(read: Read) -> FreshFootfall:
    return FreshFootfall(read(), RunLog, read)


def of_a_run(fresh: FreshFootfall) -> Footfall:
    with dg.build_resources({"footfall": fresh.for_run()}) as resources:
        found = resources.footfall
    assert isinstance(found, Footfall)
    return found


def test_a_run_and_a_tick_have_the_settings_of_now(fresh: FreshFootfall, read: Read, tmp_path: Path) -> None:
    assert of_a_run(fresh).settings == fresh.for_tick().settings == read()
    read.now = Settings(home=tmp_path / "home", landing=tmp_path / "elsewhere")
    assert of_a_run(fresh).settings == fresh.for_tick().settings == read.now
    assert fresh.for_tick().reread() == read.now


def test_where_settings_are_wrong_a_run_says_so_and_a_tick_goes_on(fresh: FreshFootfall, read: Read) -> None:
    before = read()
    read.now = SettingsProblem("visit_gap_minutes must be a number.")
    with pytest.raises(dg.DagsterResourceFunctionError) as failure:
        of_a_run(fresh)
    assert "visit_gap_minutes must be a number." in str(failure.value.__cause__)
    assert fresh.for_tick().settings == before
    with pytest.raises(SettingsProblem):
        fresh.for_tick().reread()
