"""An answer as it is kept and sent: its bytes, what they are, and the tag by which a client asks for it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response

# A client keeps what it got, but asks each time whether that is still right, which costs a 304 without a body. An hour
# of its own would hide refreshed marts. No proxy keeps anything: what one sees depends on one's key.
CACHE_CONTROL: Final = "private, no-cache"
VARY: Final = "Accept, Authorization, X-API-Key"
_FORM: Final = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a request. Make one with `Answer.of`, which computes its tag.

    `data_version` is the version whose data it tells of, `headers` are those beside the usual, such as the file name of
    a CSV.
    """

    body: bytes
    media_type: str
    etag: str
    data_version: int | None
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(
        cls, body: bytes, media_type: str, data_version: int | None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Return an answer with its strong tag: equal for equal bytes of equal type and headers, and else another."""
        extra = tuple(sorted((headers or {}).items()))
        return cls(body, media_type, _tag(body, media_type, extra), data_version, extra)

    def response(self, asked: Headers) -> Response:
        """Return what is sent: 200 with the body, or 304 without where the client has just these bytes.

        `asked` are the request's headers. What compresses the body afterwards must make the tag another.
        """
        headers = {"ETag": self.etag, "Cache-Control": CACHE_CONTROL, "Vary": VARY}
        if matches(self.etag, asked.getlist("If-None-Match")):
            return Response(status_code=304, headers=headers)
        return Response(self.body, media_type=self.media_type, headers={**dict(self.headers), **headers})

    def packed(self) -> bytes:
        """Return the answer as one text of bytes, from which `unpacked` makes it again."""
        head = [_FORM, self.media_type, self.etag, self.data_version, self.headers]
        return json.dumps(head, separators=(",", ":")).encode() + b"\n" + self.body


def unpacked(packed: bytes) -> Answer | None:
    """Return the answer that was packed; None where it is damaged or of another Footfall: it is as good as lost."""
    head, newline, body = packed.partition(b"\n")
    try:
        form, media_type, etag, data_version, headers = json.loads(head)
        answer = Answer(body, media_type, etag, data_version, tuple((name, value) for name, value in headers))
        is_whole = bool(newline) and form == _FORM and etag == _tag(body, media_type, answer.headers)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    return answer if is_whole else None


def matches(etag: str, if_none_match: Iterable[str]) -> bool:
    """Whether If-None-Match names the tag: weakly compared, as RFC 9110 (13.1.2) has it; `*` is any."""
    for value in if_none_match:
        for tag in value.split(","):
            if tag.strip() == "*" or tag.strip().removeprefix("W/") == etag:
                return True
    return False


def _tag(body: bytes, media_type: str, headers: tuple[tuple[str, str], ...]) -> str:
    """Our tags have no comma within, so that a list of tags may be split at its commas."""
    digest = hashlib.sha256(json.dumps([media_type, headers]).encode())
    digest.update(body)
    return f'"{digest.hexdigest()[:32]}"'
