"""The reports' folder over HTTP: its files and nothing else, each with what a browser may take it for.

Who writes them is told in `orchestration`. What a browser may do with any answer, `guard` says.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

# Whatever else lies there is handed out to be saved, never to be shown.
_SHOWN: Final = {
    ".html": "text/html; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
}
_SAVED: Final = {".csv": "text/csv; charset=utf-8"}


class ReportFiles(StaticFiles):
    """Files below a folder; of a folder its index.html, never a list. A link that leads elsewhere is not followed."""

    def __init__(self, folder: Path) -> None:
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
        return response


def _plain(file: Path) -> str:
    """Name a download after the file and its folder: `17-rejects.csv`."""
    name = f"{file.parent.name}-{file.name}"
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)
