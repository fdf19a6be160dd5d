"""What dbt does once in the life of a process, done before the process forks itself into runs.

In its first build a process makes schemas of dbt's own classes, compiles the templates of macros and the readers of
the parsed project: a good part of what dbt's Python takes in a run. How a build is run is `dbt_running.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from orchestration.dbt_running import DbtProblem, DbtProject
from orchestration.settings import set_environment

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

# Those of dbt's own that a build of ours has; the others are overridden in the project.
_MATERIALIZATIONS: Final = ("materialization_test", "materialization_function")
# A selection of nothing: dbt reads its settings for it and asks no database.
_NOTHING: Final = ("--select", "config.alias:none")


def rehearse(project: DbtProject) -> None:
    """Have this process know what a build of the project needs. Raises `DbtProblem`.

    The manifest is not kept, nor are dbt's adapters: they hold locks, which forks must not share.
    """
    from dbt.adapters.factory import reset_adapters
    from dbt.cli.main import dbtRunner
    from dbt_common.clients.jinja import template_cache

    manifest = project.manifest()
    set_environment(project.nowhere())
    done = dbtRunner(manifest=manifest).invoke(["--log-level", "none", *project.arguments("list"), *_NOTHING])
    reset_adapters()  # type: ignore[no-untyped-call]
    if not done.success:
        raise DbtProblem(f"dbt cannot read its project: {done.exception}")
    for name in macros_of_builds(manifest):
        template_cache.get_node_template(manifest.macros[name])


def macros_of_builds(manifest: Manifest) -> Iterable[str]:
    """Return the macros that a build may call: the project's own, those that nodes name, and whatever these call.

    dbt does not say in advance which materializations it will call, nor which version of a macro it dispatches to.
    """
    ours = manifest.metadata.project_name
    by_name: dict[str, list[str]] = {}
    for unique_id, macro in manifest.macros.items():
        by_name.setdefault(macro.name.partition("__")[2] or macro.name, []).append(unique_id)
    waiting = [
        unique_id
        for unique_id, macro in manifest.macros.items()
        if macro.package_name == ours or macro.name.startswith(_MATERIALIZATIONS)
    ]
    waiting += [unique_id for node in manifest.nodes.values() for unique_id in node.depends_on.macros]
    found: set[str] = set()
    while waiting:
        unique_id = waiting.pop()
        if unique_id in manifest.macros and unique_id not in found:
            found.add(unique_id)
            macro = manifest.macros[unique_id]
            waiting += [*macro.depends_on.macros, *by_name.get(macro.name, ())]
    return found
