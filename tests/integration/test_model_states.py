"""What is known of each stored model: what it was filled under, and whether its rows have changed since."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dbt_common.events.base_types import EventMsg

from tests.integration.modelling import Models, Signal, at, row_counts, stay
from warehouse.connections import Warehouse


@pytest.fixture
def models(warehouse: Warehouse) -> Iterator[Models]:
    models = Models(warehouse)
    yield models
    models.close()


def run_and_listen(models: Models) -> set[str]:
    """Run dbt; what it said of full refreshes."""
    said = []

    def listen(event: EventMsg) -> None:
        if "is refreshed fully" in event.info.msg:
            said.append(event.info.msg)

    models.run(on_event=listen)
    return set(said)


def revisions(models: Models) -> dict[str, int]:
    with models.warehouse.connect("transformer") as connection:
        return dict(connection.execute("select model, revision from intermediate.model_states").fetchall())


def raised(models: Models, before: dict[str, int]) -> set[str]:
    """The models whose revision is a higher one than before."""
    after = revisions(models)
    assert all(revision >= before[model] for model, revision in after.items())
    return {model for model, revision in after.items() if revision > before[model]}


@pytest.mark.soak
def test_dbt_says_why_a_model_is_refreshed_fully_though_nobody_asked(models: Models) -> None:
    models.load(stay("p", "CAM", "2024-05-01 10:00:00", 600))
    assert run_and_listen(models) == set()
    models.set_parameters(repeat_seconds=30.5)
    said = run_and_listen(models)
    assert "int_linked_events is refreshed fully: repeat_seconds is 30.5, was 60.0" in said
    assert "int_sessions is refreshed fully: int_linked_events was" in said
    assert run_and_listen(models) == set()
    models.set_cameras({"camera_id": "CAM", "site_id": "shop", "timezone": "Asia/Tokyo"})
    said = run_and_listen(models)
    assert "dim_cameras is refreshed fully: cameras stand elsewhere or in another time zone" in said
    assert "camera_hourly is refreshed fully: dim_cameras was; dim_sites was" in said
    with models.warehouse.connect("transformer") as connection:  # as an earlier version left it
        connection.execute(
            "update intermediate.model_states set fingerprint = md5(fingerprint) where model = 'int_sessions'"
        )
        connection.execute("alter table intermediate.model_states drop column revision")
        connection.execute("alter table intermediate.int_sessions drop column gender cascade")
        connection.execute("alter table intermediate.int_sessions_changes drop column person_id")
    assert "int_sessions is refreshed fully: an earlier version of Footfall filled it" in run_and_listen(models)
    with models.warehouse.connect("transformer") as connection:
        assert connection.execute("select gender from intermediate.int_sessions").fetchall() == [("unknown",)]
        connection.execute("select person_id from intermediate.int_sessions_changes")
    assert run_and_listen(models) == set()


@pytest.mark.soak
def test_a_model_knows_how_many_rows_it_has(models: Models) -> None:
    def told() -> dict[str, int | None]:
        counts = row_counts(models.warehouse)
        assert all(told in {None, there} for told, there in counts.values()), counts
        return {model: told for model, (told, _) in counts.items()}

    file_id = models.load(stay("p", "CAM", "2024-05-01 10:00:00", 600))
    models.run()
    assert (told()["int_linked_events"], told()["int_sessions"], told()["dim_cameras"]) == (2, 1, 1)
    models.load([*stay("q", "DOOR", "2024-05-01 10:00:00", 600), Signal("q", "CAM", "exit", at("2024-05-02 10:00:00"))])
    models.retract(file_id)
    models.run()
    assert (told()["int_linked_events"], told()["int_sessions"], told()["dim_cameras"]) == (3, 1, 2)
    with models.warehouse.connect("transformer") as connection:  # as an earlier version left it
        connection.execute("alter table intermediate.model_states drop column row_count")
    models.run()
    assert told()["int_sessions"] is None
    models.run("--full-refresh")
    assert set(told().values()).isdisjoint({None})


@pytest.mark.soak
def test_a_revision_is_raised_by_whatever_changes_rows_and_by_nothing_else(models: Models) -> None:
    models.load(stay("p", "CAM", "2024-05-01 10:00:00", 600))
    models.run()
    before = revisions(models)
    models.run()
    assert raised(models, before) == set()
    repeat = Signal("p", "CAM", "entry", at("2024-05-01 10:00:30"))
    file_id = models.load([repeat])
    models.run()
    # The site list and the sessions stay as they are; the batch was taken in nevertheless.
    assert "int_linked_events" in raised(models, before)
    assert not {"int_sessions", "dim_sites", "dim_cameras"} & raised(models, before)
    before = revisions(models)
    models.retract(file_id)
    models.run()
    assert "int_linked_events" in raised(models, before)
    before = revisions(models)
    models.run("--full-refresh")
    assert raised(models, before) >= {"int_linked_events", "int_sessions", "camera_hourly", "dim_cameras", "dim_sites"}
