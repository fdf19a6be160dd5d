"""Ten exports that went wrong the way exports do, each with one flaw; what becomes of them is for the tests to say.

Each is of days of its own. The last is a Monday, DAY, which `history` precedes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

HEADER: Final = "timestamp,person_id,camera_id,event_type"
CAMERAS: Final = ("cam-north", "cam-south", "cam-east", "cam-west")
DAY: Final = datetime(2024, 5, 13, 8, tzinfo=UTC)
ROWS: Final = 400


def later(weeks: int) -> datetime:
    """A Monday after DAY."""
    return DAY + timedelta(weeks=weeks)


def times(day: datetime, rows: int = ROWS) -> list[datetime]:
    """One event every minute and a half, from eight in the morning on."""
    return [day + timedelta(seconds=90 * number) for number in range(rows)]


def row(number: int, time: str, person: str | None = None) -> list[str]:
    """Row `number`: persons come and leave in turn, at one camera after the other."""
    stay, leaves = divmod(number, 2)
    return [time, person or f"p{stay:03d}", CAMERAS[stay % 4], "exit" if leaves else "entry"]


def lines(*rows: list[str], header: str = HEADER) -> str:
    """The file as text."""
    return "\n".join([header, *(",".join(cells) for cells in rows), ""])


def day_of(write: Callable[[datetime], str] = datetime.isoformat, *, day: datetime) -> list[list[str]]:
    """The rows of one good day, its times written by `write`."""
    return [row(number, write(at)) for number, at in enumerate(times(day))]


def missing_column() -> bytes:
    """Nobody exported the cameras."""
    rows = [[time, person, event] for time, person, _, event in day_of(day=later(1))]
    return lines(*rows, header="timestamp,person_id,event_type").encode()


def swapped_day_and_month() -> bytes:
    """Two exports pasted together: one writes the day first, the other the month."""
    first = day_of(lambda at: f"{at:%d/%m/%Y %H:%M:%S}", day=later(2))
    second = day_of(lambda at: f"{at:%m/%d/%Y %H:%M:%S}", day=later(5))
    return lines(*first, *second).encode()


def wrong_epoch_unit() -> bytes:
    """Milliseconds, divided by a thousand once too often."""
    return lines(*day_of(lambda at: f"{at.timestamp() / 1000:.6f}", day=later(5))).encode()


def empty_ids() -> bytes:
    """The tracker lost three in ten persons."""
    rows = [
        [time, "" if number % 10 < 3 else person, *rest]
        for number, (time, person, *rest) in enumerate(day_of(day=later(6)))
    ]
    return lines(*rows).encode()


def shifted_columns() -> bytes:
    """From the middle on a cell too many at the left: an index column that somebody forgot to leave out."""
    rows = day_of(day=later(7))
    half = len(rows) // 2
    return lines(*rows[:half], *([str(number), *cells] for number, cells in enumerate(rows[half:]))).encode()


def two_headers() -> bytes:
    """Two files joined by `cat`."""
    return (lines(*day_of(day=later(8))) + lines(*day_of(day=later(9)))).encode()


def utf_16() -> bytes:
    """Saved as "Unicode text", with umlauts and tabs."""
    rows = [[time, f"Jürgen {person}", *rest] for time, person, *rest in day_of(day=later(10))]
    return lines(*rows).replace(",", "\t").encode("utf-16")


def truncated_last_line() -> bytes:
    """The disk was full, or the transfer ended early."""
    return lines(*day_of(day=later(11))).encode()[:-30]


def new_event_words() -> bytes:
    """The camera's new firmware has words of its own."""
    rows = [[*cells, {"entry": "tripwire_a", "exit": "exit"}[event]] for *cells, event in day_of(day=later(12))]
    return lines(*rows).encode()


def half_the_cameras_silent() -> bytes:
    """A switch lost power: two of four cameras say nothing all day."""
    rows = [cells for cells in day_of(day=DAY) if cells[2] in CAMERAS[:2]]
    return lines(*rows).encode()


def good_day(day: datetime) -> bytes:
    """A day on which nothing is wrong."""
    return lines(*day_of(day=day)).encode()


def history() -> dict[str, bytes]:
    """The four Mondays before DAY."""
    days = [DAY - timedelta(weeks=weeks) for weeks in (4, 3, 2, 1)]
    return {f"{day:%Y-%m-%d}.csv": good_day(day) for day in days}


FLAWED: Final[dict[str, Callable[[], bytes]]] = {
    "missing column.csv": missing_column,
    "swapped day and month.csv": swapped_day_and_month,
    "wrong epoch unit.csv": wrong_epoch_unit,
    "empty ids.csv": empty_ids,
    "shifted columns.csv": shifted_columns,
    "two headers.csv": two_headers,
    "utf-16.csv": utf_16,
    "truncated last line.csv": truncated_last_line,
    "new event words.csv": new_event_words,
    "half the cameras silent.csv": half_the_cameras_silent,
}
