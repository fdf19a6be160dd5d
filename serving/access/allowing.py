"""Who asks, and whether they may: from a request's headers to an `Access`, or to a `Problem` that says what is right.

A key is presented as `Authorization: Bearer KEY` or `X-API-Key: KEY`; browsers, which ask people for a name and a
password, send it as that password (`Authorization: Basic`). Never in an address: those end up in logs and histories.
"""

from __future__ import annotations

import binascii
import ipaddress
from base64 import b64decode
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from starlette.datastructures import Headers

from serving.access.keys import SCOPES, FoundKey, Scope
from serving.api.problems import Problem

_REALM: Final = 'realm="Footfall"'
_HOW: Final = "Send it as `Authorization: Bearer ff_…` or `X-API-Key: ff_…`."
_WHO_MAKES_ONE: Final = "Whoever runs Footfall makes one with `footfall keys create`."
_bearer = HTTPBearer(auto_error=False, scheme_name="bearer", description="A key that `footfall keys create` printed.")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="header", description="The same, in a header.")


@dataclass(frozen=True)
class Access:
    """What whoever asks may do; `sites` None means all of them, `key_id` None that no key was needed."""

    scope: Scope
    sites: tuple[str, ...] | None
    key_id: int | None
    name: str

    def allows(self, scope: Scope) -> bool:
        """Whether this is enough for what needs `scope`."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)

    def allows_site(self, site: str | None) -> bool:
        """Whether a site's data may be seen and brought; None stands for what belongs to no site."""
        return self.sites is None or site in self.sites

    def require(self, scope: Scope) -> None:
        """Raise a `Problem` where this is not enough for what needs `scope`."""
        if not self.allows(scope):
            raise Problem(
                403,
                "This key allows too little",
                f"The key “{self.name}” allows {self.scope}, and this needs {scope}. {_WHO_MAKES_ONE}",
                headers={"WWW-Authenticate": f'Bearer {_REALM}, error="insufficient_scope", scope="{scope}"'},
            )

    def require_all_sites(self) -> None:
        """Raise a `Problem` where this is limited to some sites: for what tells of all of them at once."""
        if self.sites is not None:
            raise Problem(
                403,
                "This key is for some sites only",
                f"The key “{self.name}” is for {_listed(self.sites)}, and this tells of all sites. {_WHO_MAKES_ONE}",
            )

    def require_site(self, site: str | None) -> None:
        """Raise a `Problem` where a site's data may not be seen or brought; whether it exists is not told."""
        if not self.allows_site(site):
            raise Problem(
                403,
                "This key is for other sites",
                f"The key “{self.name}” is for {_listed(self.sites or ())}. {_WHO_MAKES_ONE}",
            )


# Whoever reaches a server that listens on this machine alone can run commands here as well.
EVERYBODY: Final = Access("admin", None, None, "")


def needing(scope: Scope) -> Callable[..., Coroutine[Any, Any, Access]]:
    """Return a dependency that gives the `Access` of whoever asks, if it is enough for what needs `scope`."""

    async def access(
        request: Request,
        _bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None,
        _header: Annotated[str | None, Security(_header)] = None,
    ) -> Access:
        # The gate has looked already; the headers are named here for the description of the API.
        found: Access = request.state.access
        found.require(scope)
        return found

    return access


def is_this_machine(host: str) -> bool:
    """Whether an address to listen at can be reached from this machine alone."""
    host = host.strip().strip("[]").lower()
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def presented_key(headers: Headers, *, is_open: bool) -> str | None:
    """Return the key that a request presents, None where it presents none.

    Where no key is needed (`is_open`), another password than a key is not for us: a proxy asked for it. Raises
    `Problem` where it presents two keys, or one in a way that is not known.
    """
    keys = set(headers.getlist("x-api-key"))
    for value in headers.getlist("authorization"):
        scheme, _, rest = value.strip().partition(" ")
        match scheme.lower():
            case "bearer":
                keys.add(rest.strip())
            case "basic":
                password = _password(rest)
                if password.startswith("ff_") or not is_open:
                    keys.add(password)
            case _ if not is_open:
                raise unauthorised("That is not a way to present a key", _HOW)
    if len(keys) > 1:
        raise unauthorised("There are two keys", f"The request presents different keys. Send one. {_HOW}")
    return next(iter(keys), None)


def access_by(key: FoundKey | None) -> Access:
    """Return what a presented key allows. Raises `Problem` where it is not known, or does not hold any more."""
    if key is None:
        raise unauthorised("This key is not known", f"It may have been cut when it was copied. {_WHO_MAKES_ONE}")
    if key.state != "valid":
        raise unauthorised(
            f"This key {'was revoked' if key.state == 'revoked' else 'has expired'}",
            f"The key “{key.name}” ({key.key_id}) is refused. {_WHO_MAKES_ONE}",
        )
    return Access(key.scope, key.sites, key.key_id, key.name)


def unauthorised(title: str, detail: str, *, is_missing: bool = False) -> Problem:
    """Return the problem of a request without a key that holds."""
    bearer = f"Bearer {_REALM}" if is_missing else f'Bearer {_REALM}, error="invalid_token"'
    return Problem(401, title, detail, headers={"WWW-Authenticate": f'{bearer}, Basic {_REALM}, charset="UTF-8"'})


def missing_key() -> Problem:
    """Return the problem of a request that presents no key where one is needed."""
    return unauthorised("A key is needed", f"{_HOW} {_WHO_MAKES_ONE}", is_missing=True)


def _password(encoded: str) -> str:
    try:
        _, _, password = b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return password


def _listed(sites: tuple[str, ...]) -> str:
    return f"the site{'' if len(sites) == 1 else 's'} {', '.join(sites)}" if sites else "no site"
