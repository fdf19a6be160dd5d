"""Addresses of our web pages, as this machine's user types them: what is printed, and where links lead."""

from __future__ import annotations

from orchestration.settings import Settings


def dagster_address(settings: Settings) -> str:
    """Return the address of Dagster's page."""
    return f"http://{_host(settings)}:{settings.dagster_port}"


def api_address(settings: Settings) -> str:
    """Return the address of the API, which serves the reports too."""
    return f"http://{_host(settings)}:{settings.api_port}"


def _host(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.bind, settings.bind)  # noqa: S104
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
