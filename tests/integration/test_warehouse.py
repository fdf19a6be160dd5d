"""The prepared warehouse: what is in it and who may do what."""

from warehouse.connections import Warehouse


def test_fresh(warehouse: Warehouse) -> None:
    with warehouse.connect("loader") as connection:
        assert connection.execute("select count(*) from raw.events").fetchone() == (0,)


def test_fresh2(warehouse: Warehouse) -> None:
    with warehouse.connect("transformer") as connection:
        assert connection.execute("select count(*) from raw.events").fetchone() == (0,)
