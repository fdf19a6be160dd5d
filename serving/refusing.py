"""What is said instead of an answer: in the API problem details (RFC 9457), elsewhere a page for people."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from starlette.responses import JSONResponse, Response

from serving.api.problems import Problem
from serving.rendering import error_page

API: Final = "/v1"
MEDIA_TYPE: Final = "application/problem+json"


def is_api(path: str) -> bool:
    """Whether a path is the API's."""
    return path == API or path.startswith(f"{API}/")


def refusal(path: str, problem: Problem) -> Response:
    """Return the answer to a request for a path."""
    if not is_api(path):
        in_browser = " In a browser, the key is the password; any name will do." if problem.status == 401 else ""
        return error_page(problem.status, problem.title, problem.detail + in_browser, problem.headers)
    content = {
        "type": problem.type_,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "errors": [asdict(error) for error in problem.errors],
    }
    return JSONResponse(content, problem.status, problem.headers, media_type=MEDIA_TYPE)
