"""What dbt does once in the life of a process, done before the process forks itself into runs.

In its first build a process makes schemas of dbt's own classes, compiles the templates of macros and the readers of
the parsed project: half of the time that dbt's Python takes in a run. How a build is run is `dbt_running.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from orchestration.dbt_running import DbtProblem, DbtProject
from orchestration.settings import set_environment

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

# A selection of nothing: dbt reads its settings for it and asks no database.
_NOTHING = ("--select", "config.alias:none")


def rehearse(project: DbtProject) -> None:
    """Have this process know what a build of the project needs. Raises `DbtProblem`.

    The manifest is not kept, nor are dbt's adapters: they hold locks, which forks must not share.
    """
    from dbt.adapters.factory import reset_adapters
    from dbt.cli.main import dbtRunner
    from dbt_common.clients.jinja import template_cache

    manifest = project.manifest()
    set_environment(project.nowhere())
    done = dbtRunner(manifest=manifest).invoke(
        ["--quiet", "--log-level", "none", *project.arguments("list"), *_NOTHING]
    )
    reset_adapters()  # type: ignore[no-untyped-call]
    if not done.success:
        raise DbtProblem(f"dbt cannot read its project: {done.exception}")
    for name in macros_of_builds(manifest):
        template_cache.get_node_template(manifest.macros[name])


def macros_of_builds(manifest: Manifest) -> Iterable[str]:
    """Return the macros that a build may call: the project's own, those that nodes name, and whatever these call."""
    ours = [name for name, macro in manifest.macros.items() if macro.package_name == manifest.metadata.project_name]
    waiting = [*ours, *(name for node in manifest.nodes.values() for name in node.depends_on.macros)]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in manifest.macros and name not in found:
            found.add(name)
            waiting += manifest.macros[name].depends_on.macros
    return found
