"""In which time zone a file's times without an offset are read, and what of that is remembered with the file.

A row's zone is the profile's if that names one, else its camera's, else the default. Only the zones of cameras that
have times without an offset are remembered: no other zone could change an instant of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from validation.cameras import Camera
from validation.cells import Bools

# A file whose camera column holds something else must fill neither the memory nor the ledger with its names.
_REMEMBERED = 10_000
# Stands for every camera that is not remembered by its name, where there were too many; no camera is called so.
_ANY_OTHER = ""


class RowZones:
    """The zones of one file's rows."""

    def __init__(self, profile_zone: str | None, cameras: Sequence[Camera], default: str, prefix: str) -> None:
        """`prefix` stands before a camera's name, as the file has it, in the name that the camera list has."""
        self._prefix = prefix
        self._depends_on_camera = profile_zone is None
        self._zone_of = {} if profile_zone else {camera.camera_id: camera.timezone or default for camera in cameras}
        self.names = list(dict.fromkeys([profile_zone or default, *self._zone_of.values()]))
        self._place_of = {camera: self.names.index(zone) for camera, zone in self._zone_of.items()}
        self._used: dict[str, str] = {}
        self._too_many = False

    def index(self, cameras: pa.Array) -> npt.NDArray[np.int64]:
        """Find the place in `names` of each row's zone."""
        if len(self.names) == 1:
            return np.zeros(len(cameras), np.int64)
        encoded = cameras.dictionary_encode()
        places = [self._place_of.get(self._prefix + camera, 0) for camera in encoded.dictionary.to_pylist()]
        indices: npt.NDArray[np.int64] = pc.fill_null(encoded.indices, len(places)).to_numpy()
        return np.array([*places, 0], np.int64)[indices]

    def note(self, cameras: pa.Array, without_offset: Bools) -> None:
        """Remember the cameras of rows with a time without an offset."""
        if not self._depends_on_camera or self._too_many or not without_offset.any():
            return
        for camera in pc.drop_null(cameras.filter(pa.array(without_offset)).unique()).to_pylist():
            if len(self._used) >= _REMEMBERED:
                self._too_many = True
                break
            name = self._prefix + camera
            self._used[name] = self._zone_of.get(name, self.names[0])

    def used(self) -> dict[str, str]:
        """Camera -> the zone that its times without an offset were read in, sorted by camera."""
        used = self._used if not self._too_many else {**self._used, **self._zone_of, _ANY_OTHER: self.names[0]}
        return dict(sorted(used.items()))


def moved_zones(
    used: Mapping[str, str], cameras: Sequence[Camera], default: str
) -> Iterator[tuple[str | None, str, str]]:
    """Compare the zones that a file's times were read in with those of today: the camera, its zone then and now.

    None in a camera's place stands for the default zone, where the file has more cameras than are remembered.
    """
    zone_of = {camera.camera_id: camera.timezone or default for camera in cameras}
    for camera, then in used.items():
        if camera != _ANY_OTHER:
            now = zone_of.get(camera, default)
            if now != then:
                yield camera, then, now
        else:
            if default != then:
                yield None, then, default
            yield from ((other, then, now) for other, now in zone_of.items() if other not in used and now != then)
