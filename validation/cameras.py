"""The camera list: a CSV that the user edits, and its copy in the warehouse.

Columns: `camera_id` (as events bear it: `SITE/CAM-1` for a camera of the landing folder's subfolder SITE), and, each
of them optional, `camera_name`, `zone`, `site_id`, `timezone`, `capacity`. The list is read as tolerantly as any file
(delimiter, encoding) and judged strictly: an error in it would move instants. What a camera that is not on it
belongs to is decided where events are judged and in the models.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from validation.matching import normalise
from validation.problems import FileProblem
from validation.reading import open_source
from validation.rejections import naming_its_row
from validation.zones import is_zone

_COLUMNS = ("camera_id", "camera_name", "zone", "site_id", "timezone", "capacity")
_ALIASES = {"camera": "camera_id", "id": "camera_id", "name": "camera_name", "site": "site_id", "tz": "timezone"}
_SHOWN = 20
_LARGEST_CAPACITY = 2**31 - 1
DEFAULT_SITE = "default"


@dataclass(frozen=True, slots=True)
class Camera:
    """One line of the camera list. `timezone` is an IANA name; None stands for the default zone."""

    camera_id: str
    camera_name: str
    zone: str | None
    site_id: str
    timezone: str | None
    capacity: int | None


class CameraListProblem(Exception):
    """The camera list cannot be used; `sentences` name the rows and what is wrong with each."""

    def __init__(self, path: Path, sentences: Sequence[str]) -> None:
        shown = list(sentences[:_SHOWN])
        if len(sentences) > _SHOWN:
            shown.append(f"And {len(sentences) - _SHOWN} more problems.")
        super().__init__("\n".join([f"The camera list '{path}' cannot be used:", *shown]))
        self.path = path
        self.sentences = tuple(sentences)


def read_cameras(path: Path) -> list[Camera]:
    """Read the camera list, sorted by camera id; an empty list where there is no file.

    A camera without a name is called by its id; without a site, it belongs to the subfolder that its id begins
    with, else to `default`; without a time zone, it is in the one that the list gives its site, else in the default.
    Raises CameraListProblem naming every row that is wrong.
    """
    if not path.exists():
        return []
    try:
        source = open_source(path)
        columns = _columns(path, source.header)
        chunks = list(source.chunks())
    except FileProblem as problem:
        raise CameraListProblem(path, [str(problem)]) from problem
    problems = [naming_its_row(reject).sentence for chunk in chunks for reject in chunk.rejects]
    lines: list[tuple[int, Camera]] = []
    for chunk in chunks:
        for row, cells in zip(chunk.row_numbers.tolist(), chunk.table.to_pylist(), strict=True):
            values = {field: cells[column].strip() for field, column in columns.items()}
            camera, wrong = _camera(values)
            problems += [f"Row {row}: {sentence}" for sentence in wrong]
            lines.append((row, camera))
    problems += _disagreements(lines)
    if problems:
        raise CameraListProblem(path, problems)
    zone_of = {camera.site_id: camera.timezone for _, camera in lines if camera.timezone}
    cameras = [
        Camera(c.camera_id, c.camera_name, c.zone, c.site_id, zone_of.get(c.site_id), c.capacity) for _, c in lines
    ]
    return sorted(cameras, key=lambda camera: camera.camera_id)


def _columns(path: Path, header: Sequence[str]) -> dict[str, str]:
    """Our column -> the header name. A column of another name may hold anything, unless the name looks like a slip."""
    keys = {normalise(name): name for name in _COLUMNS} | {normalise(alias): name for alias, name in _ALIASES.items()}
    found: dict[str, str] = {}
    problems = []
    for name in header:
        field = keys.get(normalise(name))
        if field in found:
            problems.append(f"The columns '{found[field]}' and '{name}' could each be the {field}.")
        elif field is not None:
            found[field] = name
        elif close := difflib.get_close_matches(normalise(name), [normalise(column) for column in _COLUMNS], 1, 0.8):
            problems.append(f"The column '{name}' is not known; did you mean '{keys[close[0]]}'?")
    if "camera_id" not in found and not problems:
        listed = ", ".join(f"'{name}'" for name in header)
        problems.append(f"The column 'camera_id' is missing; the columns are {listed}.")
    if problems:
        raise CameraListProblem(path, problems)
    return found


def _camera(values: Mapping[str, str]) -> tuple[Camera, list[str]]:
    """One line as a camera, and what is wrong with it."""
    wrong = []
    camera_id = values["camera_id"]
    if not camera_id:
        wrong.append("the camera_id is missing.")
    if any(re.search(r"[\x00-\x1f\x7f-\x9f]", value) for value in values.values()):
        wrong.append("it holds control characters.")
    timezone = values.get("timezone") or None
    if timezone is not None and not is_zone(timezone):
        wrong.append(f"'{timezone}' is no time zone; expected a name such as Europe/Paris or UTC.")
    capacity, text = None, values.get("capacity") or None
    if text is not None:
        if re.fullmatch(r"[0-9]{1,10}", text) and int(text) <= _LARGEST_CAPACITY:
            capacity = int(text)
        else:
            wrong.append(f"the capacity '{text}' is no whole number of persons (0 or more).")
    folder, slash, _ = camera_id.partition("/")
    camera = Camera(
        camera_id,
        values.get("camera_name") or camera_id,
        values.get("zone") or None,
        values.get("site_id") or (folder if slash and folder else DEFAULT_SITE),
        timezone,
        capacity,
    )
    return camera, wrong


def _disagreements(lines: Sequence[tuple[int, Camera]]) -> list[str]:
    """Cameras that are listed twice, and sites with more than one time zone."""
    rows_of: dict[str, list[int]] = {}
    zones_of: dict[str, dict[str, list[int]]] = {}
    for row, camera in lines:
        if camera.camera_id:
            rows_of.setdefault(camera.camera_id, []).append(row)
        if camera.timezone:
            zones_of.setdefault(camera.site_id, {}).setdefault(camera.timezone, []).append(row)
    problems = [
        f"Rows {_listed(rows)}: '{name}' is listed {len(rows)} times."
        for name, rows in rows_of.items()
        if len(rows) > 1
    ]
    for site, zones in zones_of.items():
        if len(zones) > 1:
            told = ", ".join(
                f"'{zone}' in row{'s' if len(rows) > 1 else ''} {_listed(rows)}" for zone, rows in zones.items()
            )
            problems.append(f"The site '{site}' has more than one time zone: {told}. A site has one.")
    return problems


def _listed(rows: Sequence[int]) -> str:
    shown = ", ".join(str(row) for row in rows[:_SHOWN])
    return shown + (", …" if len(rows) > _SHOWN else "")


def store_cameras(connection: psycopg.Connection, cameras: Sequence[Camera]) -> bool:
    """Make raw.cameras say what the list says, in one transaction; whether that changed anything."""
    wanted = sorted(astuple(camera) for camera in cameras)
    columns = sql.SQL(", ").join(map(sql.Identifier, _COLUMNS))
    with connection.transaction(), connection.cursor() as cursor:
        # Two runs may come at once; readers are not held up.
        cursor.execute("lock table raw.cameras in share row exclusive mode")
        stored = cursor.execute(sql.SQL("select {} from raw.cameras order by camera_id").format(columns)).fetchall()
        if stored == wanted:
            return False
        cursor.execute("delete from raw.cameras")
        with cursor.copy(sql.SQL("copy raw.cameras ({}) from stdin").format(columns)) as copy:
            for camera in wanted:
                copy.write_row(camera)
    return True
