"""The pages that show what Great Expectations found: its Data Docs, fit to be read without a network.

Great Expectations renders each result; the pages around it are ours. Its own need scripts and styles from the internet,
without which their tables stay empty, and they show what cells hold as if it were HTML. Outcomes and results come from
`expecting`.
"""

from __future__ import annotations

import html
import shutil
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from validation.checks import CheckOutcome
from validation.outcomes import on_one_line

if TYPE_CHECKING:
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.render.view.view import DefaultJinjaComponentView

INDEX: Final = "index.html"
_SUITES: Final = {"raw": "New events", "marts": "Marts"}
_VERDICTS: Final = {"passed": "holds", "failed": "fails", "could_not_check": "could not be checked"}


def page_of(outcome: CheckOutcome) -> str:
    """Return where an outcome is shown: page and place in it, relative to the folder."""
    return f"{outcome.schema}.html#{outcome.name}"


def write(folder: Path, judged: Sequence[tuple[CheckOutcome, ExpectationValidationResult | None]]) -> None:
    """Write the pages of one run, all of them or none, in place of what is in the folder. Raises OSError."""
    from great_expectations.render.view.view import DefaultJinjaComponentView

    view = DefaultJinjaComponentView()
    page = view.env.from_string(_PAGE)
    shown = [(outcome, _rendered(outcome, result, view) if result else "") for outcome, result in judged]
    pages = {INDEX: page.render(title="Expectations", outcomes=[one for one, _ in shown], **_SHARED)}
    for suite, title in _SUITES.items():
        of_suite = [(outcome, result) for outcome, result in shown if outcome.schema == suite]
        pages[f"{suite}.html"] = page.render(title=f"Expectations: {title}", details=of_suite, **_SHARED)
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name, text in pages.items():
        (part / name).write_text(text, encoding="utf-8", errors="replace")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def prune_docs(folder: Path, keep: int) -> int:
    """Remove the pages of all but the newest `keep` runs, each a folder in `folder`; returns how many are gone."""
    if not folder.is_dir():
        return 0
    runs = [entry for entry in folder.iterdir() if entry.is_dir() and not entry.is_symlink()]
    oldest = sorted(runs, key=lambda run: run.stat().st_mtime)[: max(len(runs) - keep, 0)]
    for run in oldest:
        shutil.rmtree(run, ignore_errors=True)
    return len(oldest)


def _rendered(outcome: CheckOutcome, result: ExpectationValidationResult, view: DefaultJinjaComponentView) -> str:
    """Have Great Expectations render a result. It takes the texts in it for HTML, so they come as such."""
    from great_expectations.render.renderer.content_block.validation_results_table_content_block import (
        ValidationResultsTableContentBlockRenderer,
    )

    harmless = deepcopy(result)
    harmless.result = _escaped(result.result)
    block: Any = ValidationResultsTableContentBlockRenderer.render([harmless])
    rendered: str = view.render({"content_block": block.to_json_dict()})  # type: ignore[no-untyped-call]
    return rendered.replace('id="content-block', f'id="{outcome.name}-result')


def _escaped(value: Any) -> Any:
    match value:
        case str():
            return html.escape(on_one_line(value))
        case dict():
            return {_escaped(name): _escaped(item) for name, item in value.items()}
        case list():
            return [_escaped(item) for item in value]
        case tuple():
            return tuple(_escaped(item) for item in value)
        case _:
            return value


# Values are escaped, but for what Great Expectations has rendered. Nothing in these pages may run, whatever they hold.
_PAGE: Final = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{{ title }}</title>
<style>{{ style }}</style>
</head>
<body>
<nav><a href="index.html">All expectations</a>
{%- for suite, name in suites.items() %} · <a href="{{ suite }}.html">{{ name }}</a>{% endfor %}</nav>
<h1>{{ title }}</h1>
{% if outcomes is defined %}
<p>What Great Expectations found in this run. An expectation that fails is a warning: it holds nothing back.</p>
<table>
<thead><tr><th>Verdict</th><th>Expectation</th><th>Table</th><th>What was found</th></tr></thead>
<tbody>
{% for one in outcomes %}
<tr>
<td><span class="verdict {{ one.status }}">{{ verdicts[one.status] }}</span></td>
<td><a href="{{ one.schema }}.html#{{ one.name }}">{{ one.title }}</a></td>
<td>{{ one.schema }}.{{ one.table }}</td>
<td>{{ one.sentence }}</td>
</tr>
{% endfor %}
</tbody>
</table>
{% endif %}
{% for one, rendered in details | default([]) %}
<section id="{{ one.name }}">
<h2>{{ one.title }}</h2>
<p><span class="verdict {{ one.status }}">{{ verdicts[one.status] }}</span> {{ one.sentence }}</p>
{% if one.sample %}
<p>Some of those that fail:</p>
<ul>{% for text in one.sample %}<li>{{ text }}</li>{% endfor %}</ul>
{% endif %}
{% if rendered %}
<details><summary>As Great Expectations has it</summary>
{{ rendered | safe }}
</details>
{% endif %}
</section>
{% endfor %}
</body>
</html>
"""

_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-bottom: .25rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid #8884; }
td, li { overflow-wrap: anywhere; }
section { border-top: 1px solid #8884; padding: .5rem 0; } section:target { background: #fe82; }
.verdict { font-weight: 600; white-space: nowrap; }
.verdict.passed, .text-success { color: light-dark(#166534, #86efac); }
.verdict.failed, .text-danger { color: light-dark(#b91c1c, #fca5a5); }
.verdict.could_not_check, .text-warning { color: light-dark(#92400e, #fcd34d); }
.fa-check-circle::before { content: "holds"; } .fa-times::before { content: "fails"; }
"""

_SHARED: Final = {"style": _STYLE, "suites": _SUITES, "verdicts": _VERDICTS}
