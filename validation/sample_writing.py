"""How the made-up export writes things: moments in many formats, cells in quotes, and lines that are no good.

Nothing here decides who is where; see `sample`. A moment is written from milliseconds since local midnight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

HEADER = (
    "timestamp",
    "person_id",
    "camera_id",
    "event_type",
    "end_time",
    "zone",
    "confidence",
    "age",
    "gender",
    "frame",
    "note",
)

_DAY = 86_400

# Names of months and days do not follow the machine's language.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class DayClock:
    """One local day, with its dates already written. The zone's offset at noon holds for the whole of it."""

    def __init__(self, day: date, zone: ZoneInfo) -> None:
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=zone)
        offset = noon.utcoffset() or timedelta(0)
        self.offset = offset // timedelta(seconds=1)
        self.midnight = round((datetime(day.year, day.month, day.day, tzinfo=UTC) - offset).timestamp())
        self.iso = day.isoformat()
        self.iso_around = tuple((day + timedelta(days=days)).isoformat() for days in (-1, 0, 1))
        self.basic_around = tuple(text.replace("-", "") for text in self.iso_around)
        self.slashes = f"{day:%d/%m/%Y}"
        self.dots = f"{day:%d.%m.%Y}"
        self.dashes = f"{day:%d-%m-%Y}"
        self.year_first = f"{day:%Y/%m/%d}"
        self.month_name = f"{day.day} {_MONTHS[day.month - 1]} {day.year}"
        self.mail = f"{_WEEKDAYS[day.weekday()]}, {day.day:02d} {self.month_name.split(' ', 1)[1]}"
        sign, distance = "-" if self.offset < 0 else "+", abs(self.offset) // 60
        self.mail_offset = f"{sign}{distance // 60:02d}{distance % 60:02d}"

    def utc_milliseconds(self, at: int) -> int:
        """Unix milliseconds of the moment `at` milliseconds after local midnight."""
        return self.midnight * 1000 + at


Write = Callable[[DayClock, int], str]


@cache
def _times() -> list[str]:
    """HH:MM:SS of every second of a day."""
    return [f"{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}" for s in range(_DAY)]


def _with_offset(clock: DayClock, at: int, offset: int, suffix: str, around: tuple[str, ...]) -> str:
    days, second = divmod(at // 1000 - clock.offset + offset, _DAY)
    return f"{around[days + 1]}T{_times()[second]}{suffix}"


def _twelve_hours(second: int) -> str:
    hour = second // 3600
    return f"{hour % 12 or 12:02d}{_times()[second][2:]} {'AM' if hour < 12 else 'PM'}"


def plain(clock: DayClock, at: int) -> str:
    """`2025-11-30 14:05:06`, with the milliseconds if there are any."""
    text = f"{clock.iso} {_times()[at // 1000]}"
    return text if at % 1000 == 0 else f"{text}.{at % 1000:03d}"


# Every format that can be read unambiguously, or day-first: the mixture is consistent. How often each is used
# follows its position: formats are listed as often as they are to be drawn.
_SECONDS: tuple[Write, ...] = (
    *([plain] * 8),
    *([lambda clock, at: f"{clock.slashes} {_times()[at // 1000]}"] * 3),
    *([lambda clock, at: _with_offset(clock, at, 0, "Z", clock.iso_around)] * 3),
    *([lambda clock, at: str(clock.midnight + at // 1000)] * 3),
    lambda clock, at: f"{clock.dots} {_times()[at // 1000]}",
    lambda clock, at: f"{clock.dashes} {_twelve_hours(at // 1000)}",
    lambda clock, at: f"{clock.year_first} {_times()[at // 1000]}",
    lambda clock, at: f"{clock.month_name} {_times()[at // 1000]}",
    lambda clock, at: f'"{clock.mail} {_times()[at // 1000]} {clock.mail_offset}"',
    lambda clock, at: _with_offset(clock, at, 7200, "+02:00", clock.iso_around),
    lambda clock, at: _with_offset(clock, at, -18000, "-0500", clock.iso_around),
    lambda clock, at: _with_offset(clock, at, 0, "Z", clock.basic_around).replace(":", ""),
    # Ten digits: exact to the second.
    lambda clock, at: f"{(clock.midnight + at // 1000) / 1e9:.9f}E+09",
)

_MILLISECONDS: tuple[Write, ...] = (
    *([plain] * 4),
    *([lambda clock, at: str(clock.utc_milliseconds(at))] * 3),
    lambda clock, at: _with_offset(clock, at, 0, f".{at % 1000:03d}Z", clock.iso_around),
    lambda clock, at: f"{clock.midnight + at // 1000}.{at % 1000:03d}",
    lambda clock, at: f"{clock.utc_milliseconds(at)}000",
    lambda clock, at: f"{clock.utc_milliseconds(at)}000000",
    lambda clock, at: f"{clock.slashes} {_times()[at // 1000]}.{at % 1000:03d}",
    lambda clock, at: _with_offset(clock, at, 0, f".{at % 1000:03d}000000+00:00", clock.iso_around),
)


class Writing:
    """Which time format is used for which signal: one for the whole file, or all of them mixed."""

    def __init__(self, *, mixed: bool) -> None:
        self._mixed = mixed

    def choose(self, draw: float, milliseconds: bool) -> Write:
        """Choose the format by a draw from [0, 1); `milliseconds` asks for one that can show them."""
        if not self._mixed:
            return plain
        formats = _MILLISECONDS if milliseconds else _SECONDS
        return formats[int(draw * len(formats))]


def quoted(cell: str) -> str:
    """Write a cell as it must stand between commas."""
    if any(character in cell for character in ',"\n\r'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


@dataclass(frozen=True, slots=True)
class _Damage:
    """A way in which a row is no good: what stands in which columns instead, and the codes of its reasons."""

    codes: tuple[str, ...]
    cells: dict[str, str]
    drop: int = 0
    add: int = 0


_MISSING = ("", "null", "None", "NaN", "n/a", "N/A", "   ")

_DAMAGES = (
    *(_Damage(("missing_value",), {"timestamp": text}) for text in _MISSING),
    *(_Damage(("missing_value",), {"person_id": text}) for text in _MISSING),
    *(_Damage(("missing_value",), {"camera_id": text}) for text in _MISSING),
    *(_Damage(("missing_value",), {"event_type": text}) for text in _MISSING),
    _Damage(("timestamp_unreadable",), {"timestamp": "yesterday"}),
    _Damage(("timestamp_unreadable",), {"timestamp": "2025-13-45 10:00:00"}),
    _Damage(("timestamp_unreadable",), {"timestamp": "31/02/2025 10:00:00"}),
    _Damage(("timestamp_unreadable",), {"timestamp": "2025-11-30 25:61:00"}),
    _Damage(("timestamp_unreadable",), {"event_type": "appearance", "end_time": "later"}),
    _Damage(("timestamp_too_coarse",), {"timestamp": "1.76E+12"}),
    _Damage(("timestamp_out_of_range",), {"timestamp": "1970-01-01 00:00:00"}),
    _Damage(("timestamp_out_of_range",), {"timestamp": "1999-12-30T23:59:59Z"}),
    _Damage(("timestamp_out_of_range",), {"timestamp": "2099-01-01 12:00:00"}),
    _Damage(("id_too_long",), {"person_id": "P" * 101}),
    _Damage(("id_too_long",), {"camera_id": "C" * 51}),
    _Damage(("control_characters",), {"person_id": "P00\x0712"}),
    _Damage(("control_characters",), {"camera_id": '"CAM\n01"'}),
    _Damage(("interval_negative",), {"timestamp": "2025-01-02 10:00:00", "end_time": "2025-01-02 09:59:59"}),
    _Damage(("interval_too_long",), {"timestamp": "2010-01-01 10:00:00", "end_time": "2012-01-01 10:00:00"}),
    _Damage(("wrong_field_count",), {}, drop=1),
    _Damage(("wrong_field_count",), {}, drop=8),
    _Damage(("wrong_field_count",), {}, add=1),
    _Damage(("wrong_field_count",), {"note": '"broken, and quoted"'}, add=3),
    _Damage(("missing_value", "timestamp_unreadable"), {"timestamp": "soon", "person_id": ""}),
    _Damage(("id_too_long", "control_characters"), {"person_id": "P" * 60 + "\x1b" + "P" * 60}),
)


class BadRows:
    """Rows that must be set aside, every kind in turn."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        # One kind of reason after the other, so that a short file has many.
        self._damages = _endlessly(sorted(_DAMAGES, key=_turn))

    def next(self, clock: DayClock) -> tuple[tuple[str, ...], str]:
        """Give the codes of the reasons, and the line."""
        damage = next(self._damages)
        at = 1000 * int((9 + self._random() * 10) * 3600)
        cells = dict.fromkeys(HEADER, "")
        cells |= {
            "timestamp": plain(clock, at),
            "person_id": f"P{int(self._random() * 99999):05d}",
            "camera_id": "CAM-01",
            "event_type": "appearance" if damage.cells.get("end_time") else "entry",
            "confidence": "0.5",
        }
        cells |= damage.cells
        texts = list(cells.values())
        texts = texts[: len(texts) - damage.drop] + ["?"] * damage.add
        return damage.codes, ",".join(texts) + "\n"


def _turn(damage: _Damage) -> int:
    same = [other for other in _DAMAGES if other.codes == damage.codes]
    return same.index(damage)


def _endlessly(damages: list[_Damage]) -> Iterator[_Damage]:
    while True:
        yield from damages
