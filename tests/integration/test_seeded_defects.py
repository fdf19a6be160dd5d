"""Wrong variants of the models are found out: each patch in `defects/`, put on a copy of the project, is seen at once.

A patch says in its first line what goes wrong. One that no longer applies to the shipped files fails its test, which
is then to be made anew. Judged by `test_random_deliveries`, on the same examples every time.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.integration import modelling
from tests.integration.modelling import Models
from tests.integration.recording import record_variant
from tests.integration.test_increments_against_reference import Case, Judge, cases
from tests.integration.transcripts import Replay
from warehouse.connections import Warehouse

DEFECTS = sorted((Path(__file__).parent / "defects").glob("*.patch"))


@contextmanager
def project_with(defect: Path, folder: Path) -> Iterator[None]:
    """Let dbt work on a copy of the project that has the defect. What is parsed already is not parsed again."""
    sound, target = modelling.PROJECT, modelling.target_folder()
    shutil.copytree(sound, folder / sound.name, ignore=shutil.ignore_patterns("target", "logs"))
    shutil.copytree(target, folder / "target")
    subprocess.run(["git", "apply", defect], cwd=folder, check=True)
    with modelling.other_project(folder / sound.name, folder / "target"):
        yield


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.parametrize("defect", DEFECTS, ids=[defect.stem for defect in DEFECTS])
def test_a_wrong_variant_is_seen(defect: Path, warehouse: Warehouse, replay: Replay, tmp_path: Path) -> None:
    with (
        closing(Models(warehouse)) as models,
        project_with(defect, tmp_path),
        warehouse.connect("owner", autocommit=True) as owner,
        warehouse.connect("bi_reader", autocommit=True) as reader,
        closing(Replay(warehouse, record_variant(models, replay))) as variant,
    ):
        judge = Judge(warehouse, owner, reader, variant.refresh, variant.increment)

        @settings(
            max_examples=100,
            derandomize=True,
            database=None,
            report_multiple_bugs=False,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(cases())
        def judged(case: Case) -> None:
            judge(case)

        # Tables that differ, or keys that a table has already.
        with pytest.raises((AssertionError, psycopg.IntegrityError)):
            judged()
