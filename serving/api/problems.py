"""What is said where a question cannot be answered: problem details after RFC 9457, naming the field and what would do.

Who raises a `Problem` says what is wrong in words; here it becomes an answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field

MEDIA_TYPE: Final = "application/problem+json"


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one parameter, and what would be right."""

    field: str
    problem: str
    expected: str


class Problem(Exception):
    """A question that is not answered; the texts are for whoever asked."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        type_: str = "about:blank",
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.type_ = type_


class FieldErrorDetails(BaseModel):
    """What is wrong with one parameter."""

    field: str = Field(description="The parameter's name.", examples=["camera_id"])
    problem: str = Field(description="What is wrong with it.", examples=["There is no camera “cam-nroth”."])
    expected: str = Field(description="What would be right.", examples=["Perhaps “cam-north”? /v1/cameras lists all."])


class ProblemDetails(BaseModel):
    """Why a question was not answered (RFC 9457)."""

    type: str = Field(description="What kind of problem it is.", examples=["about:blank"])
    title: str = Field(description="The kind in words.", examples=["The question cannot be understood"])
    status: int = Field(description="The answer's status.", examples=[422])
    detail: str = Field(description="What went wrong this time.", examples=["There is no camera “cam-nroth”."])
    errors: list[FieldErrorDetails] = Field(default=[], description="What is wrong with which parameter.")


def wrong(field: str, problem: str, expected: str) -> Problem:
    """Return the problem of one parameter that is wrong."""
    return Problem(422, "The question cannot be understood", problem, errors=[FieldError(field, problem, expected)])


def problem_response(problem: Problem) -> Response:
    """Return the answer that tells of a problem."""
    told: dict[str, Any] = {
        "type": problem.type_,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "errors": [
            {"field": error.field, "problem": error.problem, "expected": error.expected} for error in problem.errors
        ],
    }
    headers = {"Cache-Control": "no-store", **problem.headers}
    return Response(orjson.dumps(told), problem.status, headers, MEDIA_TYPE)


async def answer_validation_error(_request: Request, error: Exception) -> Response:
    """Answer where parameters are not of their types."""
    assert isinstance(error, RequestValidationError)  # noqa: S101
    errors = [_field_error(one) for one in error.errors()]
    detail = " ".join(f"{one.field}: {one.problem}" for one in errors)
    return problem_response(Problem(422, "The question cannot be understood", detail, errors=errors))


def _field_error(error: Mapping[str, Any]) -> FieldError:
    """Translate what Pydantic says."""
    _, *path = error["loc"]
    field = ".".join(str(part) for part in path) or "body"
    given = shown(error.get("input"))
    context = error.get("ctx") or {}
    match error["type"]:
        case "extra_forbidden":
            return FieldError(
                field, "There is no such parameter.", "One of those that /v1/openapi.json lists for this address."
            )
        case "missing":
            return FieldError(field, "It is missing.", "A value.")
        case "literal_error":
            return FieldError(field, f"{given} is not one of its values.", f"One of {context.get('expected')}.")
        case "value_error":
            said = context.get("error")
            problem, _, expected = str(said).partition(" | ")
            return FieldError(field, problem, expected)
        case _:
            return FieldError(field, f"{given} will not do.", f"{error['msg']}.")


def shown(value: object) -> str:
    """Write a value that somebody gave within a sentence, cut short and with nothing in it that is not seen."""
    text = str(value)
    cut = text if len(text) <= 100 else f"{text[:99]}…"
    return "“" + "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut) + "”"
