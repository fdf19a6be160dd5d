"""The process of the web pages: what `serving` needs to know is read from the settings here, and handed to it.

Started by the stack as `python -m orchestration.pages`. It imports neither Dagster nor pandas: it is to be small.
"""

from __future__ import annotations

import sys

import psycopg

from orchestration.disk_space import GIGABYTE
from orchestration.entrance import keys_are_needed, see_that_there_is_a_key
from orchestration.observing import observed
from orchestration.problems import Problem
from orchestration.settings import Settings, load_settings
from serving.access.gate import Entrance
from serving.access.limiting import Limits
from serving.api.file_routes import Reception
from serving.app import build_app
from serving.cache.opening import open_cache
from serving.database import Database
from serving.file_events import FileEvents
from serving.files import Files
from serving.server import serve
from serving.uploads import Uploads
from warehouse.connections import Warehouse
from warehouse.opening import open_warehouse
from warehouse.problems import WarehouseProblem


def main() -> None:
    """Serve the pages until told to stop; where keys are needed and there is none, say so and end."""
    try:
        settings = load_settings()
        _serve(settings)
    except (Problem, WarehouseProblem) as problem:
        sys.exit(str(problem))


def _serve(settings: Settings) -> None:
    def find() -> Warehouse:
        return open_warehouse(settings.home, settings.external_url)

    is_open = not keys_are_needed(settings)
    if not is_open:
        try:
            see_that_there_is_a_key(settings, find())
        except psycopg.OperationalError as error:
            sys.exit(f"Keys are needed, and the database does not answer: {error}")
    limits = Limits(settings.api_rate_limit, settings.api_upload_limit)
    database = Database(find)
    uploads = Uploads(
        settings.landing,
        most_bytes=round(settings.api_max_upload_gb * 2**30),
        min_free_bytes=round(settings.min_free_gb * GIGABYTE),
    )
    uploads.remove_leftovers()
    files = Files(database.snapshot, settings.landing)
    app = build_app(
        settings.reports,
        database,
        entrance=Entrance(find, is_open=is_open, limits=limits),
        cache=open_cache(database.snapshot, database.writing, settings.answers_url),
        reception=Reception(uploads, files, FileEvents(files)),
        observed=observed(settings),
        allowed_hosts=(settings.bind, *settings.allowed_hosts),
    )
    serve(app, settings.bind, settings.api_port)


if __name__ == "__main__":
    main()
