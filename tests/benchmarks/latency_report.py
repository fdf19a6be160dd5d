"""What `latency` found, as a table in Markdown and as a picture."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.benchmarks.latency import Mode

# In their order. "rest" is what lies between the stages that are measured by themselves.
STAGES: Final = (
    "sensor", "queue", "start", "hash", "read", "validate", "load", "models", "checks", "publish", "rest",
)  # fmt: skip
BEGIN: Final = "<!-- figures: written by `make bench-latency` -->"
END: Final = "<!-- end of figures -->"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(-(-len(ordered) * share // 1), 1).__int__() - 1]


def table(modes: Sequence[Mode], events: int) -> str:
    """All figures, in Markdown."""
    lines = [
        f"History: {events:,} events; seconds from the rename to the version and the right count being seen.",
        "",
        "| mode | files | median | p95 | max | right after another: median | p95 | max |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for mode in modes:
        figures = [
            f"{value:.2f}"
            for series in (mode.single, mode.second)
            for value in (statistics.median(series), percentile(series, 0.95), max(series))
        ]
        lines.append(f"| {mode.name} | {len(mode.single)} | {' | '.join(figures)} |")
    lines += ["", f"| median seconds by stage | {' | '.join(STAGES)} |", "|---" * (len(STAGES) + 1) + "|"]
    for mode in modes:
        medians = mode.stage_medians()
        lines.append(f"| {mode.name} | {' | '.join(f'{medians[stage]:.2f}' for stage in STAGES)} |")
    lines += [
        "",
        "| mode | `up` to ready | the very first | idle CPU | idle PSS | idle RSS |",
        "|---|---|---|---|---|---|",
    ]
    for mode in modes:
        if mode.usage is None:
            continue
        first = "" if mode.first_start is None else f"{mode.first_start:.1f} s"
        lines.append(
            f"| {mode.name} | {mode.start:.1f} s | {first} | {sum(mode.usage.cpu.values()):.1%} of a core | "
            f"{sum(mode.usage.pss.values()) / 1e6:,.0f} MB | {sum(mode.usage.rss.values()) / 1e6:,.0f} MB |"
        )
    lines += ["", "| mode | part | idle CPU | PSS | RSS |", "|---|---|---|---|---|"]
    for mode in modes:
        for part in mode.usage.pss if mode.usage else ():
            usage = mode.usage
            assert usage is not None
            lines.append(
                f"| {mode.name} | {part} | {usage.cpu.get(part, 0.0):.1%} | {usage.pss[part] / 1e6:,.0f} MB | "
                f"{usage.rss[part] / 1e6:,.0f} MB |"
            )
    return "\n".join(lines)


def fill_in(page: Path, figures: str) -> None:
    """Write the figures between the two marks of a page."""
    before, mark, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise SystemExit(f"{page} lacks the lines {BEGIN} and {END}.")
    page.write_text(f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}", encoding="utf-8")


def draw(medians: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Draw a bar per mode, made of its stages."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    mpl.rcParams["svg.hashsalt"] = "footfall"
    figure, axes = pyplot.subplots(figsize=(9, 1.4 + 0.8 * len(medians)), layout="constrained")
    colours = pyplot.get_cmap("tab20").colors  # type: ignore[attr-defined]
    names = list(medians)
    left = [0.0] * len(names)
    for number, stage in enumerate(STAGES):
        widths = [medians[name][stage] for name in names]
        axes.barh(names, widths, left=left, label=stage, color=colours[number])
        left = [start + width for start, width in zip(left, widths, strict=True)]
    for name, end in zip(names, left, strict=True):
        axes.text(end, name, f" {end:.1f} s", va="center")
    axes.invert_yaxis()
    axes.set(xlabel="seconds from the rename, medians by stage", title="From drop to fresh marts: 10,000 events")
    axes.margins(x=0.08)
    figure.legend(ncols=6, loc="outside lower center", frameon=False)
    figure.savefig(path, metadata={"Date": None})
