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

_MOST_DAYS = 400
"""For which a browser keeps a cookie (RFC 6265bis, section 5.5)."""

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How an endpoint reads sessions.

    - `cookie`: the cookie's name.
    - `salt`: the purpose of the signature; other signatures with the same secret use another.
    - `max_age`: seconds for which a session is valid; browsers forget it after 400 days at the latest.
    - `leeway`: seconds by which the clock of the machine that made the session may be ahead of this one's.
    - `check_csrf`: whether the parameter `_csrf_token` must match the session's.
    - `secure`: whether the cookie is for https only.

    Raises:
        SocketError: if one of them is invalid.
    """

    cookie: str
    salt: str = "ashtree session"
    max_age: float = 14 * token.DAY
    leeway: float = token.LEEWAY
    check_csrf: bool = True
    secure: bool = False

    def __post_init__(self) -> None:
        cookie: object = self.cookie
        if not (isinstance(cookie, str) and _NAME.fullmatch(cookie)):
            raise SocketError(f'a session\'s cookie needs a name such as "_my_app", got {safe_repr(self.cookie)}')
        if not is_within(self.max_age, "> 0"):
            raise SocketError(f"a session's max_age must be > 0 seconds, got {safe_repr(self.max_age)}")
        if not is_within(self.leeway, ">= 0"):
            raise SocketError(f"a session's leeway must be >= 0 seconds, got {safe_repr(self.leeway)}")
        salt: object = self.salt
        if not isinstance(salt, str):
            raise SocketError(f"a session's salt must be a str, got {safe_repr(self.salt)}")


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
    if not (isinstance(session[CSRF], str) and session[CSRF]):
        raise TypeError(f"{CSRF} of a session must be a non-empty str, got {safe_repr(session[CSRF])}")
    cookie = f"{options.cookie}={token.sign(secret, options.salt, session)}"
    secure = "; Secure" if options.secure else ""
    kept = int(min(options.max_age, _MOST_DAYS * token.DAY))
    set_cookie = f"{cookie}; Path=/; Max-Age={kept}; HttpOnly; SameSite=Lax{secure}"
    return SessionCookie(cookie, set_cookie, session[CSRF])


def read_session(
    options: SessionOptions, secret: token.Secrets, cookies: Iterable[str], csrf_token: str | None
) -> dict[str, Any] | None:
    """Return the session of the Cookie headers; None if there is none, it is forged or too old, or the CSRF token is wrong."""
    signed = _cookie(options.cookie, cookies)
    if signed is None:
        return None
    try:
        session = token.verify(secret, options.salt, signed, max_age=options.max_age, leeway=options.leeway)
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
