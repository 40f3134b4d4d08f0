"""Sessions in signed cookies: they tell a socket which user is logged in on the page (Phoenix's `connect_info: [:session]`).

A browser sends cookies with every WebSocket, whichever page opened it. So a session counts only if the page also knows the
CSRF token in it.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from actors.redaction import safe_repr
from actors.validation import is_within
from transport.access import token
from transport.exceptions import SocketError, TokenError

__all__ = ["CSRF", "SessionCookie", "SessionOptions", "make_session", "read_session"]

CSRF = "_csrf_token"
"""The name of the CSRF token, in the session and among the parameters."""

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How an endpoint reads sessions.

    - `cookie`: the cookie's name.
    - `salt`: the purpose of the signature; other signatures with the same secret use another.
    - `max_age`: seconds for which a session is valid.
    - `check_csrf`: whether the parameter `_csrf_token` must match the session's.
    - `secure`: whether the cookie is for https only.

    Raises:
        SocketError: if one of them is invalid.
    """

    cookie: str
    salt: str = "ashtree session"
    max_age: float = 14 * token.DAY
    check_csrf: bool = True
    secure: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.cookie):
            raise SocketError(f'a session\'s cookie needs a name such as "_my_app", got {safe_repr(self.cookie)}')
        if not is_within(self.max_age, "> 0"):
            raise SocketError(f"a session's max_age must be > 0 seconds, got {safe_repr(self.max_age)}")


class SessionCookie(NamedTuple):
    """A session for a browser."""

    cookie: str
    """The cookie as a client sends it back: `name=value`."""
    set_cookie: str
    """The value of the header Set-Cookie."""
    csrf_token: str
    """The parameter `_csrf_token` with which the page must connect."""


def make_session(options: SessionOptions, secret: token.Secrets, data: Mapping[str, Any]) -> SessionCookie:
    """Return a session of `data` (JSON values), with a new CSRF token unless it contains one."""
    session = {CSRF: secrets.token_urlsafe(18), **data}
    cookie = f"{options.cookie}={token.sign(secret, options.salt, session)}"
    secure = "; Secure" if options.secure else ""
    set_cookie = f"{cookie}; Path=/; Max-Age={int(options.max_age)}; HttpOnly; SameSite=Lax{secure}"
    return SessionCookie(cookie, set_cookie, session[CSRF])


def read_session(
    options: SessionOptions, secret: token.Secrets, cookies: Iterable[str], csrf_token: str | None
) -> dict[str, Any] | None:
    """Return the session of the Cookie headers; None if there is none, it is forged or too old, or the CSRF token is wrong."""
    signed = _cookie(options.cookie, cookies)
    if signed is None:
        return None
    try:
        session = token.verify(secret, options.salt, signed, max_age=options.max_age)
    except TokenError:
        return None
    if not isinstance(session, dict):
        return None
    return session if not options.check_csrf or _same(session.get(CSRF), csrf_token) else None


def _cookie(name: str, cookies: Iterable[str]) -> str | None:
    """Return the value of a cookie; of several the first, which has the longest path (RFC 6265, section 5.4)."""
    for line in cookies:
        for pair in line.split(";"):
            found, _, value = pair.strip().partition("=")
            if found == name:
                return value
    return None


def _same(left: object, right: object) -> bool:
    """Compare in constant time."""
    if not (isinstance(left, str) and isinstance(right, str) and left):
        return False
    return hmac.compare_digest(left.encode(), right.encode())
