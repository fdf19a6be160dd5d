"""The reports' folder over HTTP: its files and nothing else, each with what a browser may do with it.

Who writes them is told in `orchestration`. Data Docs of Great Expectations are foreign pages with scripts, which show
what files held: they get an origin of their own, from which nothing else here can be read.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

# Where Data Docs fetch their looks from. Without them, or without a network, they are plain but complete.
_LIBRARIES: Final = (
    "https://cdn.jsdelivr.net https://cdnjs.cloudflare.com https://code.jquery.com https://maxcdn.bootstrapcdn.com "
    "https://stackpath.bootstrapcdn.com https://unpkg.com"
)
# No address to send anything to is among them: a script can show, and tell nobody.
EXPECTATIONS_POLICY: Final = (
    "sandbox allow-scripts; default-src 'none'; "
    f"script-src 'self' 'unsafe-inline' {_LIBRARIES}; style-src 'self' 'unsafe-inline' {_LIBRARIES}; "
    f"font-src 'self' data: {_LIBRARIES}; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Whatever else lies there is handed out to be saved, never to be shown.
_SHOWN: Final = {
    ".html": "text/html; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ico": "image/x-icon",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}
_SAVED: Final = {".csv": "text/csv; charset=utf-8"}


class ReportFiles(StaticFiles):
    """Files below a folder; of a folder its index.html, never a list. A link that leads elsewhere is not followed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        super().__init__(directory=folder, html=True, check_dir=False)

    async def check_config(self) -> None:
        """Take a missing folder for an empty one: it is made with the first report."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer for a path; what may not be read is not there."""
        try:
            return await super().get_response(path, scope)
        except HTTPException as error:
            raise HTTPException(404 if error.status_code == 401 else error.status_code) from None
        except OSError:
            raise HTTPException(404) from None

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Return a file; what it is taken for is decided here, not by the browser."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        file = Path(full_path)
        suffix = file.suffix.lower()
        if suffix in _SHOWN:
            response.headers["Content-Type"] = _SHOWN[suffix]
        else:
            response.headers["Content-Type"] = _SAVED.get(suffix, "application/octet-stream")
            # Its own name may be anything; where it lies says which file it belongs to.
            response.headers["Content-Disposition"] = f'attachment; filename="{_plain(file)}"'
        if file.relative_to(os.path.realpath(self._folder)).parts[0] == "expectations":
            response.headers["Content-Security-Policy"] = EXPECTATIONS_POLICY
        return response


def _plain(file: Path) -> str:
    """Name a download after the file and its folder: `17-rejects.csv`."""
    name = f"{file.parent.name}-{file.name}"
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)
