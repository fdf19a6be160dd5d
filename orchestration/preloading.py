"""What the run template loads before it forks a run: the one module that a run launcher preloads.

Everything named here is in memory of every run from its first moment; what is not named, a run imports itself. Heavy
modules that few runs need (Great Expectations, say) stay out: a test lists those that must not come in. Nothing here
may open a connection, start a thread or depend on a setting that changes while Footfall runs: forks would share it.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestration.settings import PROJECT, set_environment

if TYPE_CHECKING:
    import dagster as dg

_MODULES: Final = (
    "orchestration.run_worker",
    # Dagster: its storage, and what it imports when a run begins.
    "dagster_postgres",
    "dagster._core.executor.in_process",
    "dagster._core.secrets.env_file",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.root",
    "upath.implementations.local",
    # The load: readers and checks.
    "pandas",
    "validation.loading",
    # The build.
    "psycopg",
    "dbt.cli.main",
    "dbt.adapters.postgres",
    "dbt.task.build",
    "dbt_common.clients.agate_helper",
    "babel.dates",
)
# numpy's and pyarrow's libraries start threads at import, which do not survive a fork. No load needs them.
_ONE_THREAD: Final = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
_CODE: Final = ("orchestration", "validation", "warehouse")
_DBT: Final = "dbt_project"
_NOT_SOURCE: Final = {"target", "logs", "dbt_packages", "__pycache__"}


def preload() -> None:
    """Load what runs need; raises whatever is wrong with the code."""
    set_environment(_ONE_THREAD)
    for module in _MODULES:
        importlib.import_module(module)
    repository().get_repository_def().load_all_definitions()
    _rehearse()


def _rehearse() -> None:
    """Do what libraries leave to their first use: looking for what they work with, making and compiling code."""
    import pandas as pd
    import pandera.pandas as pandera

    from orchestration.dbt_rehearsal import rehearse
    from orchestration.dbt_running import DbtProject
    from orchestration.settings import load_settings

    pandera.DataFrameSchema({}).validate(pd.DataFrame())
    rehearse(DbtProject(load_settings()))


@cache
def repository() -> dg.Definitions:
    """Return the code location's definitions, made once per process.

    This is what a run's code pointer names (`run_worker`). Pointed at `orchestration.definitions.definitions`, Dagster
    would make them anew in each run, and again for each selection of assets.
    """
    from orchestration.definitions import definitions

    return definitions()


def stamp() -> str:
    """Tell one state of the code on disk from another, by the files' sizes and times: it is asked before each run."""
    seen = sorted((str(path), found.st_mtime_ns, found.st_size) for path, found in _files())
    return hashlib.sha256(repr(seen).encode()).hexdigest()


def _files() -> Iterator[tuple[Path, os.stat_result]]:
    for top in (*_CODE, _DBT):
        for folder, folders, names in os.walk(PROJECT / top):
            folders[:] = [name for name in folders if name not in _NOT_SOURCE]
            for name in names:
                if top == _DBT or name.endswith(".py"):
                    path = Path(folder, name)
                    yield path, path.stat()
