"""Which files a change of settings touches; and that those which it does not touch would come out the same."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from psycopg import sql

from tests.integration.dropping import HEADER, Dropping, csv_of, good_rows
from validation.cameras import Camera
from validation.corrections import release_file, replay_file, retract_file
from validation.outcomes import Outcome
from validation.outdated import outdated_files
from validation.profiles import load_profiles
from warehouse.connections import Warehouse
from warehouse.preparing import MIGRATIONS, migrate, prepare

INTERVALS = HEADER + ",end_time"
LOCAL = ["2024-05-01 10:00:00,P,CAM-1,entry", "2024-05-01 10:00:00,P,CAM-2,entry"]
WITH_OFFSETS = ["2024-05-01T10:00:00Z,P,CAM-1,entry", "1714557600,P,CAM-1,exit"]


@pytest.fixture
def house(warehouse: Warehouse, tmp_path: Path) -> Dropping:
    (tmp_path / "landing").mkdir()
    (tmp_path / "home").mkdir()
    return Dropping(warehouse, tmp_path / "home", tmp_path / "landing").with_rules(max_rejected_share=0.5)


def camera(name: str, timezone: str | None, **more: object) -> Camera:
    return replace(Camera(name, name, None, "default", timezone, None), **more)  # type: ignore[arg-type]


def outdated(house: Dropping) -> dict[str, tuple[str, ...]]:
    """Name -> why it is outdated under the settings of this house."""
    with house.warehouse.connect("loader") as connection:
        found = outdated_files(connection, house.rules, house.profiles, house.cameras)
    return {one.file.name: one.reasons for one in found}


def replayed(house: Dropping, outcome: Outcome) -> Outcome:
    return replay_file(str(outcome.sha256), house.context())


class TestZones:
    def test_of_cameras_with_times_without_an_offset_count(self, house: Dropping) -> None:
        house.load(LOCAL, "local.csv")
        house.load(WITH_OFFSETS, "offsets.csv")
        house.load([*LOCAL, LOCAL[0].replace("P", "Q")], "North/of another site.csv")
        house.load(["2024-05-01 25:00:00,P,CAM-1,entry", "2024-05-01T10:00:00Z,P,CAM-1,in"], "unreadable.csv")
        assert outdated(house) == {}

        moved = replace(house, cameras=[camera("CAM-1", "Europe/Berlin"), camera("CAM-3", "Asia/Tokyo")])
        assert outdated(moved) == {"local.csv": ("camera 'CAM-1' is in time zone Europe/Berlin now, it was in UTC",)}
        everywhere = house.with_rules(default_timezone="Asia/Tokyo")
        assert outdated(everywhere) == {
            "local.csv": ("cameras 'CAM-1', 'CAM-2' are in time zone Asia/Tokyo now, they were in UTC",),
            "North/of another site.csv": (
                "cameras 'North/CAM-1', 'North/CAM-2' are in time zone Asia/Tokyo now, they were in UTC",
            ),
        }

    def test_of_rejected_rows_count_too(self, house: Dropping) -> None:
        """Under another zone, the row may not be too late any more."""
        house.load([*good_rows(3), "2024-06-02 12:30:00,P,CAM-2,entry"])
        moved = replace(house, cameras=[camera("CAM-2", "Europe/Berlin")])
        assert list(outdated(moved)) == ["x.csv"]

    def test_that_stay_as_they_were_do_not(self, house: Dropping) -> None:
        house.load(LOCAL)
        same = [
            camera("CAM-1", None, camera_name="Door", site_id="S", capacity=3, zone="hall"),
            camera("CAM-2", "UTC"),
            camera("CAM-9", "Asia/Tokyo"),
        ]
        assert outdated(replace(house, cameras=same)) == {}
        assert outdated(replace(house, cameras=[camera("CAM-1", "UTC"), camera("CAM-2", "UTC")])) == {}

    def test_are_the_profiles_if_it_names_one(self, house: Dropping) -> None:
        rows = ["Trip Duration,Start Time,Stop Time,Start Station ID,End Station ID,Bike ID,User Type,Gender"]
        rows.append("60,2015-10-01 00:16:26,2015-10-01 00:17:26,1,2,3,Subscriber,1")
        assert house.load("\n".join([*rows, ""]).encode()).detected.local_zones == {}
        assert outdated(house.with_rules(default_timezone="Asia/Tokyo")) == {}
        assert outdated(replace(house, cameras=[camera("ride", "Asia/Tokyo")])) == {}

    def test_of_more_cameras_than_are_remembered_count_all(self, house: Dropping) -> None:
        rows = [f"2024-05-01 10:00:00,P,C{i},entry" for i in range(10_001)]
        here = replace(house, cameras=[camera("C10000", "Europe/Berlin")])
        here.load(rows)
        assert outdated(here) == {}
        assert outdated(replace(here, cameras=[*here.cameras, camera("C5", "Asia/Tokyo")])) == {
            "x.csv": ("camera 'C5' is in time zone Asia/Tokyo now, it was in UTC",)
        }
        for cameras in ([*here.cameras, camera("unknown", "Asia/Tokyo")], []):
            assert list(outdated(replace(here, cameras=cameras))) == ["x.csv"]
        (reasons,) = outdated(here.with_rules(default_timezone="Asia/Tokyo")).values()
        assert "and 9,996 more are in time zone Asia/Tokyo now" in reasons[0]

    def test_are_todays_after_a_replay(self, house: Dropping) -> None:
        loaded = house.load(LOCAL)
        moved = replace(house, cameras=[camera("CAM-1", "Europe/Berlin")])
        replayed(moved, loaded)
        assert outdated(moved) == {}
        assert outdated(house) == {"x.csv": ("camera 'CAM-1' is in time zone UTC now, it was in Europe/Berlin",)}


class TestRules:
    @pytest.mark.parametrize(
        ("rows", "change", "reason"),
        [
            (["03/04/2024 10:00,P,C,in"], {"date_order": "MDY"}, "date_order was auto, is MDY"),
            (["03/04/2024 10:00,P,C,in"], {"date_order": "DMY"}, None),
            (["03/04/2024 10:00,P,C,in", "13/04/2024 10:00,P,C,in"], {"date_order": "MDY"}, None),
            (["2024-04-03 10:00,P,C,in"], {"date_order": "MDY"}, None),
            (
                ["2024-04-03 10:00,P,C,in", "never,P,C,in"],
                {"max_rejected_share": 0.4},
                "max_rejected_share was 0.5, is 0.4",
            ),
            (["2024-04-03 10:00,P,C,in"], {"max_rejected_share": 0.0}, None),
            (["2024-04-03 10:00,P,C,in"], {"max_interval_days": 1.0}, None),
            (["2024-04-03 10:00,P,C,in"], {"future_tolerance_hours": 48.0}, None),
            (["2024-04-03 10:00,P,C,in"], {"future_tolerance_hours": 1.0}, "future_tolerance_hours was 24, is 1"),
            (
                ["2024-04-03 10:00,P,C,in", "2024-06-03 10:00,P,C,in"],
                {"future_tolerance_hours": 48.0},
                "future_tolerance_hours was 24, is 48",
            ),
            (["2024-04-03 10:00,P,C,in"], {"earliest_event": datetime(1990, 1, 1, tzinfo=UTC)}, None),
            (
                ["2024-04-03 10:00,P,C,in"],
                {"earliest_event": datetime(2010, 1, 1, tzinfo=UTC)},
                "earliest_event was 2000-01-01 00:00:00+00:00, is 2010-01-01 00:00:00+00:00",
            ),
            (
                ["2024-04-03 10:00,P,C,in", "1999-04-03 10:00,P,C,in"],
                {"earliest_event": datetime(1990, 1, 1, tzinfo=UTC)},
                "earliest_event was 2000-01-01 00:00:00+00:00, is 1990-01-01 00:00:00+00:00",
            ),
        ],
    )
    def test_count_where_their_change_may_matter(
        self, house: Dropping, rows: list[str], change: dict[str, object], reason: str | None
    ) -> None:
        loaded = house.load(rows)
        before = house.snapshot()
        changed = house.with_rules(**change)
        assert outdated(changed) == ({} if reason is None else {"x.csv": (reason,)})
        replayed(changed, loaded)
        if reason is None:
            assert house.snapshot()["events"] == before["events"]
        assert outdated(changed) == {}

    def test_of_intervals_count_where_there_are_any(self, house: Dropping) -> None:
        house.load(csv_of(["2024-04-01,P,C,stay,2024-04-03"], INTERVALS))
        assert outdated(house.with_rules(max_interval_days=500.0)) == {}
        assert outdated(house.with_rules(max_interval_days=1.5)) == {"x.csv": ("max_interval_days was 366, is 1.5",)}

    def test_do_not_bring_down_what_was_released(self, house: Dropping) -> None:
        held = house.load(["2024-04-03 10:00,P,C,in", "never,P,C,in", "never,P,C,out"])
        release_file(str(held.sha256), house.context())
        assert outdated(house.with_rules(max_rejected_share=0.01)) == {}


class TestProfiles:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "profiles"
        folder.mkdir()
        return folder

    def under(self, house: Dropping, folder: Path, **keys: str) -> Dropping:
        keys = {"name": "mine", "description": "d", "recognised_by": "[floor]", **keys}
        fields = {
            "timestamp": "timestamp",
            "person_id": "person_id",
            "camera_id": "camera_id",
            "event_type": "event_type",
        }
        lines = [f"{key}: {value}" for key, value in keys.items()]
        lines += ["fields:", *(f"  {field}: {column}" for field, column in fields.items())]
        (folder / "a file.yml").write_text("\n".join(lines), encoding="utf-8")
        return replace(house, profiles=load_profiles(folder))

    def test_count_by_what_they_say_to_the_files_that_they_fit(self, house: Dropping, folder: Path) -> None:
        here = self.under(house, folder)
        here.load(csv_of(["2024-05-01 10:00,P,C,in,1"], HEADER + ",floor"), "mine.csv")
        here.load(good_rows(2), "generic.csv")
        assert outdated(here) == {}

        assert outdated(self.under(house, folder, description="other words")) == {}
        (folder / "a file.yml").rename(folder / "renamed.yml")
        assert outdated(replace(house, profiles=load_profiles(folder))) == {}

    def test_that_say_something_else_now(self, house: Dropping, folder: Path) -> None:
        here = self.under(house, folder)
        loaded = here.load(csv_of(["2024-05-01 10:00,P,C,in,1"], HEADER + ",floor"), "mine.csv")
        changed = self.under(house, folder, timezone="Asia/Tokyo")
        assert outdated(changed) == {"mine.csv": ("source profile 'mine' has changed",)}
        assert outdated(house) == {"mine.csv": ("source profile 'generic' fits it now, it was 'mine'",)}
        assert outdated(replace(house, profiles=[])) == {
            "mine.csv": ("source profile 'mine' does not fit it any more, nor does another",)
        }
        replayed(changed, loaded)
        assert outdated(changed) == {}

    def test_that_were_broken_for_a_while_bring_the_file_back(self, house: Dropping, folder: Path) -> None:
        """A replay that put a file into quarantine is not the last word once the settings are other ones."""
        loaded = house.load(good_rows(2))
        broken = replace(house, profiles=[])
        assert replayed(broken, loaded).state == "quarantined"
        assert outdated(broken) == {}
        assert outdated(broken.with_rules(default_timezone="Asia/Tokyo")) == {}
        assert outdated(house) == {"x.csv": ("source profile 'generic' fits it now, it was none",)}
        assert replayed(house, loaded).state == "loaded"
        assert outdated(house) == {}

    def test_and_rules_bring_it_back_too(self, house: Dropping) -> None:
        loaded = house.load(["2024-04-03 10:00,P,C,in", "never,P,C,in"])
        strict = house.with_rules(max_rejected_share=0.1)
        assert replayed(strict, loaded).state == "quarantined"
        assert outdated(strict) == {}
        assert outdated(house) == {"x.csv": ("max_rejected_share was 0.1, is 0.5",)}


def test_only_what_is_loaded_is_asked_about(house: Dropping) -> None:
    retract_file(str(house.load(LOCAL).sha256), house.context())
    house.load(b"a,b\n1,2\n", "quarantined.csv")
    house.with_rules(max_rejected_share=0.0).load([*LOCAL, "never,P,C,in"], "held.csv")
    assert outdated(house.with_rules(default_timezone="Asia/Tokyo", max_rejected_share=0.9)) == {}


def test_a_warehouse_of_before_is_brought_up_to_date(house: Dropping, tmp_path: Path) -> None:
    """With files of every state; what is loaded is judged once again, and comes out as it was."""
    loaded = house.load([*good_rows(4), "2024-05-01 10:00:00,P,CAM-1,entry", "never,P,C,in"], "loaded.csv")
    house.with_rules(max_rejected_share=0.0).load([*good_rows(2), "never,P,C,in"], "held.csv")
    house.load(b"a,b\n1,2\n", "refused.csv")
    before = house.snapshot()
    older = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, older)
    for version in (older / "versions").glob("000[2-9]_*.py"):
        version.unlink()
    with house.warehouse.connect_as_administrator(house.warehouse.database) as connection:
        connection.execute("drop schema serving cascade")
    tables = ("files", "arrivals", "batches", "events", "duplicates", "rejects")
    with house.warehouse.connect("owner") as connection:
        # The same rows in a schema as it was made then.
        connection.execute("alter schema raw rename to newer")
        connection.execute("create schema raw")
    migrate(house.warehouse, older)
    with house.warehouse.connect("owner") as connection:
        for table in tables:
            columns = sql.SQL(", ").join(
                sql.Identifier(name)
                for (name,) in connection.execute(
                    "select column_name from information_schema.columns where table_schema = 'raw' and table_name = %s",
                    (table,),
                )
            )
            names = {"new": sql.Identifier("raw", table), "old": sql.Identifier("newer", table), "columns": columns}
            connection.execute(
                sql.SQL("insert into {new} ({columns}) overriding system value select {columns} from {old}").format(
                    **names
                )
            )
        for table, column in (("files", "file_id"), ("arrivals", "arrival_id"), ("batches", "batch_id")):
            connection.execute(
                sql.SQL("alter table {} alter column {} restart with 1000").format(
                    sql.Identifier("raw", table), sql.Identifier(column)
                )
            )
        connection.execute("drop schema newer cascade")

    prepare(house.warehouse)

    assert house.snapshot() == before
    assert house.rows("select distinct released, profile_fingerprint, local_zones from raw.files") == [
        (False, None, None)
    ]
    assert outdated(house) == {"loaded.csv": ("it was loaded before it was recorded what its rows depend on",)}
    replayed(house, loaded)
    assert outdated(house) == {}
    assert house.snapshot() == before
    assert retract_file(str(loaded.sha256), house.context()).state == "retracted"
