"""Small pictures for a report's page, as SVG: numbers in, text out. Pure, without a drawing library.

Each has a title that says in words what it shows, for those who cannot see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from validation.outcomes import Account, on_one_line, percent
from validation.report_facts import Bar, Neighbour, Unit

_WIDTH: Final = 640
_HEIGHT: Final = 180
_LEFT: Final = 56
_BOTTOM: Final = 24
_TOP: Final = 12
_COLOURS: Final = {"loaded": "#2f7d4f", "held back": "#8a6d1d", "rejected": "#b3261e", "duplicates": "#8a93a0"}
_INK: Final = "#5a6472"
_BLUE: Final = "#2b6cb0"
_TIMES: Final[dict[Unit, str]] = {"hour": "%m-%d %H:%M", "day": "%Y-%m-%d", "week": "%Y-%m-%d", "month": "%Y-%m"}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, and in words what it shows."""

    caption: str
    svg: str


def account_bar(account: Account) -> Picture | None:
    """Draw where the rows of a file went, as one bar; nothing for a file without rows."""
    if not account.rows_read:
        return None
    parts = {
        "loaded": account.rows_loaded,
        "held back": account.rows_held,
        "rejected": account.rows_rejected,
        "duplicates": account.rows_duplicate,
    }
    there = {name: count for name, count in parts.items() if count}
    # Whatever is there can be seen.
    widths = {name: max(_WIDTH * count / account.rows_read, 3) for name, count in there.items()}
    scale = _WIDTH / sum(widths.values())
    shapes, x = [], 0.0
    for name, width in widths.items():
        shapes.append(_box(x, 0, width * scale, 24, colour=_COLOURS[name], told=f"{name}: {there[name]:,}"))
        x += width * scale
    keys, x = [], 0.0
    for name, count in there.items():
        text = f"{name} {count:,} ({percent(count / account.rows_read)})"
        keys.append(_box(x, 36, 10, 10, colour=_COLOURS[name]) + _text(x + 15, 45, text))
        x += 40 + 7.6 * len(text)
    told = ", ".join(f"{count:,} {name}" for name, count in there.items())
    return _svg(f"Of {account.rows_read:,} rows: {told}.", 52, shapes + keys)


def events_chart(bars: Sequence[Bar], unit: Unit) -> Picture:
    """Draw how many events fall into each hour (day, week, month); times without events stay empty."""
    most = max(bar.events for bar in bars)
    first, last = bars[0].start, bars[-1].start
    step = _seconds(unit)
    span = (last - first).total_seconds() + step
    scale = (_WIDTH - _LEFT) / span
    shapes = _axes(f"{most:,}", "0")
    for bar in bars:
        height = max(_plot() * bar.events / most, 1)
        x = _LEFT + (bar.start - first).total_seconds() * scale
        told = f"{bar.start:{_TIMES[unit]}}: {bar.events:,}"
        shapes.append(_box(x, _TOP + _plot() - height, max(step * scale - 1, 1), height, colour=_BLUE, told=told))
    shapes.append(_text(_LEFT, _HEIGHT - 6, f"{first:{_TIMES[unit]}}"))
    if len(bars) > 1:
        shapes.append(_text(_WIDTH, _HEIGHT - 6, f"{last:{_TIMES[unit]}}", "end"))
    total = sum(bar.events for bar in bars)
    return _svg(f"Events per {unit} (UTC): {total:,} in all, {most:,} at most.", _HEIGHT, shapes)


def reject_trend(files: Sequence[Neighbour], allowed: float | None) -> Picture:
    """Draw the share of rejected rows in the last files, the newest at the right, and how much is allowed."""
    shares = [(one, share) for one in files if (share := one.rejected_share) is not None]
    most = max([share for _, share in shares] + [allowed or 0, 0.001])
    shapes = _axes(percent(most), "0 %")
    step = (_WIDTH - _LEFT) / len(shares)
    for number, (one, share) in enumerate(shares):
        height = max(_plot() * share / most, 1)
        colour = _COLOURS["rejected"] if one.state == "quarantined" else _BLUE
        told = f"{on_one_line(one.name)}: {percent(share)}"
        shapes.append(
            _box(
                _LEFT + number * step,
                _TOP + _plot() - height,
                max(min(step - 2, 40), 1),
                height,
                colour=colour,
                told=told,
            )
        )
    if allowed:
        y = _TOP + _plot() * (1 - allowed / most)
        shapes.append(
            f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH}" y2="{y:.1f}" stroke="{_INK}" stroke-dasharray="4 3"/>'
        )
        shapes.append(_text(_WIDTH, max(y - 4, 10), f"allowed: {percent(allowed)}", "end"))
    shapes.append(_text(_LEFT, _HEIGHT - 6, f"{shares[0][0].arrived_at:%Y-%m-%d}"))
    shapes.append(_text(_WIDTH, _HEIGHT - 6, f"{shares[-1][0].arrived_at:%Y-%m-%d}", "end"))
    title = (
        f"Rejected rows of the last {len(shares)} files: this one {percent(shares[-1][1])}, {percent(most)} at most."
    )
    return _svg(title, _HEIGHT, shapes)


def _seconds(unit: Unit) -> int:
    return {"hour": 3600, "day": 86_400, "week": 7 * 86_400, "month": 30 * 86_400}[unit]


def _plot() -> int:
    return _HEIGHT - _BOTTOM - _TOP


def _axes(top: str, bottom: str) -> list[str]:
    base = _TOP + _plot()
    return [
        f'<line x1="{_LEFT}" y1="{base}" x2="{_WIDTH}" y2="{base}" stroke="{_INK}"/>',
        _text(_LEFT - 6, _TOP + 8, top, "end"),
        _text(_LEFT - 6, base, bottom, "end"),
    ]


def _box(x: float, y: float, width: float, height: float, *, colour: str, told: str = "") -> str:
    shape = f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"'
    return f"{shape}><title>{escape(told)}</title></rect>" if told else f"{shape}/>"


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    """Write text, with a rim that keeps it readable where it lies over a bar."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="13" fill="{_INK}" text-anchor="{anchor}" '
        f'paint-order="stroke" stroke="#fff" stroke-width="3">{escape(text)}</text>'
    )


def _svg(title: str, height: int, shapes: Sequence[str]) -> Picture:
    label = escape(title)
    return Picture(
        title,
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">'
        f"<title>{label}</title>{''.join(shapes)}</svg>",
    )
