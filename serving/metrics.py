"""The page /metrics, for Prometheus: what the database and the disk say at the moment of asking.

No process counts anything, so nothing begins anew with a process, and what is shown is what a query would find. Labels
have few values, all of them our own words: no name of a file, camera or person is one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from warehouse.connections import Warehouse
from warehouse.figures import Figures, Runs, read_figures, read_runs
from warehouse.problems import WarehouseProblem

_QUANTILES: Final = (0.5, 0.95, 1.0)


@dataclass(frozen=True)
class Observed:
    """What is looked at, anew each time.

    `warehouse` may raise `WarehouseProblem`; `waiting` counts the files in the landing folder, `folders` names those
    whose disks may fill up, and may raise OSError.
    """

    warehouse: Callable[[], Warehouse]
    waiting: Callable[[], int]
    folders: Callable[[], Mapping[str, Path]]


def build_router(observed: Observed) -> APIRouter:
    """Return the route GET /metrics."""
    router = APIRouter()

    @router.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(metrics_text(observed), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return router


def metrics_text(observed: Observed) -> bytes:
    """Return all metrics in Prometheus' text format; those that cannot be known at the moment are left out."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(list(_metrics(observed))))
    return generate_latest(registry)


class _Once(Collector):
    """Metrics that are known already."""

    def __init__(self, families: list[GaugeMetricFamily]) -> None:
        self._families = families

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield from self._families


def _metrics(observed: Observed) -> Iterator[GaugeMetricFamily]:
    figures = runs = None
    with suppress(psycopg.OperationalError, WarehouseProblem):
        warehouse = observed.warehouse()
        figures, runs = read_figures(warehouse), read_runs(warehouse)
    yield _gauge("footfall_database_up", "Whether PostgreSQL answers.", float(figures is not None))
    with suppress(OSError):
        yield _gauge("footfall_waiting_files", "Files in the landing folder.", observed.waiting())
    with suppress(OSError):
        free = {name: shutil.disk_usage(folder).free for name, folder in observed.folders().items()}
        yield _by("footfall_disk_free_bytes", "Bytes free where it is kept.", "folder", free)
    if figures is not None and runs is not None:
        yield from _of_files(figures)
        yield from _of_freshness(figures)
        yield from _of_health(figures, runs)


def _of_files(figures: Figures) -> Iterator[GaugeMetricFamily]:
    yield _by("footfall_files", "Files in the ledger, by state.", "state", figures.files)
    yield _by("footfall_rows", "Rows of the files in the ledger, by fate.", "fate", figures.rows)
    yield _by("footfall_rejects", "Reasons for which rows were rejected.", "code", figures.rejects)
    yield _by(
        "footfall_stage_seconds", "Seconds that loading the files took, by stage.", "stage", figures.stage_seconds
    )


def _of_freshness(figures: Figures) -> Iterator[GaugeMetricFamily]:
    if figures.lags:
        lags = sorted(figures.lags)
        yield _gauge("footfall_last_lag_seconds", "From the last file's arrival to published marts.", figures.lags[0])
        yield _by(
            "footfall_lag_seconds",
            "From arrival to published marts, over the last 100 files.",
            "quantile",
            {f"{quantile:g}": lags[max(round(quantile * len(lags)) - 1, 0)] for quantile in _QUANTILES},
        )
    yield _gauge("footfall_unpublished_files", "Files not yet in a data version.", figures.unpublished)
    yield _gauge(
        "footfall_unpublished_seconds", "How long the oldest file waits for a version.", figures.unpublished_seconds
    )
    if figures.version is not None and figures.published_at is not None:
        published = figures.published_at
        yield _gauge("footfall_data_version", "The newest data version.", figures.version)
        yield _gauge("footfall_data_version_published_timestamp_seconds", "When it was.", published.timestamp())
        yield _gauge("footfall_data_version_age_seconds", "How old it is.", (figures.now - published).total_seconds())


def _of_health(figures: Figures, runs: Runs) -> Iterator[GaugeMetricFamily]:
    yield _by("footfall_runs", "Dagster's runs under way.", "status", {"queued": runs.queued, "started": runs.started})
    checks = GaugeMetricFamily(
        "footfall_checks_not_passed", "Checks whose last run did not pass.", labels=["layer", "severity", "status"]
    )
    for labels, count in sorted(figures.checks_not_passed.items()):
        checks.add_metric(labels, count)
    yield checks
    yield _by("footfall_open_alerts", "Alerts that are open, by kind.", "kind", figures.open_alerts)
    used = {"warehouse": figures.bytes_used} | ({} if runs.bytes_used is None else {"dagster": runs.bytes_used})
    yield _by("footfall_database_bytes", "How large the databases are.", "database", used)


def _gauge(name: str, description: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, description, value)


def _by(name: str, description: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, description, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family
