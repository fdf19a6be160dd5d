"""The camera list's copy in the warehouse."""

from __future__ import annotations

from validation.cameras import Camera, store_cameras
from warehouse.connections import Warehouse

DOOR = Camera("C1", "Door", "Front", "shop", "Europe/Paris", 40)
GATE = Camera("Ärger/é\t", "a\\b\n", None, "default", None, None)


def test_the_copy_follows_the_list_and_says_whether_it_changed(warehouse: Warehouse) -> None:
    with warehouse.connect("loader") as connection:

        def stored() -> list[Camera]:
            return [Camera(*row) for row in connection.execute("select * from raw.cameras order by camera_id")]

        assert store_cameras(connection, []) is False
        assert store_cameras(connection, [GATE, DOOR]) is True
        assert stored() == [DOOR, GATE]
        assert store_cameras(connection, [DOOR, GATE]) is False
        moved = Camera("C1", "Door", "Front", "shop", "Europe/Berlin", 40)
        assert store_cameras(connection, [moved]) is True
        assert stored() == [moved]
        assert store_cameras(connection, []) is True
        assert stored() == []


def test_two_loaders_may_store_the_list_at_once(warehouse: Warehouse) -> None:
    with warehouse.connect("loader") as one, warehouse.connect("loader") as other:
        with one.transaction():
            assert store_cameras(one, [DOOR]) is True
            assert other.execute("select count(*) from raw.cameras").fetchone() == (0,)
            other.commit()
        assert store_cameras(other, [DOOR]) is False
