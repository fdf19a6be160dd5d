"""The process of the web pages: what `serving` needs to know is read from the settings here, and handed to it.

Started by the stack as `python -m orchestration.pages`. It imports neither Dagster nor pandas: it is to be small.
"""

from __future__ import annotations

from orchestration.observing import observed
from orchestration.settings import load_settings
from serving.app import build_app
from serving.database import Database
from serving.server import serve
from warehouse.opening import open_warehouse


def main() -> None:
    """Serve the pages until told to stop."""
    settings = load_settings()
    database = Database(lambda: open_warehouse(settings.home, settings.external_url))
    allowed_hosts = (settings.bind, *settings.allowed_hosts)
    app = build_app(settings.reports, database, observed=observed(settings), allowed_hosts=allowed_hosts)
    serve(app, settings.bind, settings.api_port)


if __name__ == "__main__":
    main()
