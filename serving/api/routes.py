"""The API as a whole: its addresses below /v1, and its description."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter

from serving.api import measures, people, places, received, records
from serving.api.asking import Desk, Question, build_router
from serving.api.file_routes import Reception, build_file_routes
from serving.database import Database

QUESTIONS: Final[tuple[Question[Any], ...]] = (
    measures.KPIS,
    measures.OCCUPANCY,
    places.LIVE,
    measures.DWELL,
    measures.HEATMAP,
    measures.DEMOGRAPHICS,
    people.VISITORS,
    people.REPEAT_VISITORS,
    records.EVENTS,
    records.SESSIONS,
    records.VISITS,
    places.CAMERAS,
    places.SITES,
    received.FILES,
    received.REJECTS,
    received.QUALITY,
)


def build_api(desk: Desk, database: Database, reception: Reception | None) -> APIRouter:
    """Return all routes below /v1; without `reception` no files are taken in."""
    router = APIRouter(prefix="/v1")
    router.include_router(build_router(desk, QUESTIONS))
    if reception is not None:
        router.include_router(build_file_routes(desk, database, reception))
    return router
