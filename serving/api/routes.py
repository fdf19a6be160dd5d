"""The API as a whole: its addresses below /v1, and its description."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter

from serving.api import measures, people, places, received, records
from serving.api.asking import Desk, Question, build_router

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


def build_api(desk: Desk) -> APIRouter:
    """Return all routes below /v1."""
    router = APIRouter(prefix="/v1")
    router.include_router(build_router(desk, QUESTIONS))
    return router
