"""What is said instead of an answer: in the API problem details (RFC 9457), elsewhere a page for people."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from serving.api.problems import Problem, problem_response
from serving.rendering import error_page

API: Final = "/v1"


def is_api(path: str) -> bool:
    """Whether a path is the API's."""
    return path == API or path.startswith(f"{API}/")


def refusal(path: str, problem: Problem) -> Response:
    """Return the answer to a request for a path."""
    if not is_api(path):
        in_browser = " In a browser, the key is the password; any name will do." if problem.status == 401 else ""
        return error_page(problem.status, problem.title, problem.detail + in_browser, problem.headers)
    return problem_response(problem)
