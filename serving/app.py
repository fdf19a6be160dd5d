"""The web application: which address shows what. What stands on the pages is made elsewhere."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles


def build_app(reports: Path) -> FastAPI:
    """Return the application; `reports` is the folder whose pages are served under /reports."""
    app = FastAPI(title="Footfall", docs_url=None, redoc_url=None)
    app.mount("/reports", StaticFiles(directory=reports, html=True), name="reports")
    return app
