"""A file's report put together: its parts as one Markdown text, or as a page with pictures. Pure.

Both forms are made of the same parts, so that they say the same; the parts are `report_sections`'.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from validation.outcomes import on_one_line
from validation.report_facts import FileReport
from validation.report_sections import failing, introduction, sections
from validation.reports import code

_TEMPLATES: Final = Path(__file__).parent / "templates"


def markdown(report: FileReport, root: str = "../..") -> str:
    """Write the report as one Markdown text; links in it begin with `root`."""
    head = f"# {report.headline}: {code(report.outcome.name)}\n\n{introduction(report)}"
    return "\n\n".join([head, *(f"## {part.title}\n\n{part.text}" for part in sections(report, root))]) + "\n"


def page(report: FileReport, root: str = "../..") -> str:
    """Write the report as a page that needs nothing else."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markdown_it import MarkdownIt

    written = MarkdownIt("commonmark", {"html": False}).enable("table")
    templates = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)
    return templates.get_template("file_report.html").render(
        headline=report.headline,
        name=on_one_line(report.outcome.name),
        tone=_tone(report),
        introduction=written.render(introduction(report)),
        sections=[(part, written.render(part.text)) for part in sections(report, root)],
    )


def _tone(report: FileReport) -> str:
    if report.state in {"quarantined", "failed"}:
        return "bad"
    return "good" if report.headline == "Usable" and not failing(report) else "fair"
