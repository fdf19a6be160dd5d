"""What dbt would do once in each run is done before the first: hardly anything of it is left."""

from __future__ import annotations

import pytest
from dbt_common.clients.jinja import template_cache

from orchestration.dbt_rehearsal import macros_of_builds
from tests.integration.modelling import Models, parsed_project, stay
from warehouse.connections import Warehouse


@pytest.mark.soak
def test_hardly_a_macro_is_compiled_in_a_build_that_was_not_before(warehouse: Warehouse) -> None:
    manifest = parsed_project(warehouse)
    known = {manifest.macros[name].macro_sql for name in macros_of_builds(manifest)}
    models = Models(warehouse)
    models.build("--exclude-resource-type", "unit_test")
    models.load(stay("p", "CAM", "2024-05-01 10:00:00", 600))
    template_cache.clear()
    models.build("--exclude-resource-type", "unit_test")
    models.close()
    compiled = set(template_cache.file_cache)
    late = {name for name, macro in manifest.macros.items() if macro.macro_sql in compiled - known}
    assert len(compiled) > 60
    assert len(late) < len(compiled) / 5, late
