"""What is answered where something is wrong: RFC 9457, and which field of the request it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FieldError:
    """A field of the request, what is wrong with it and what would be right."""

    field: str
    problem: str
    expected: str


class Problem(Exception):
    """A request that cannot be met; `status` is the answer's number, `detail` a sentence for whoever asked."""

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
        self.type = type_
