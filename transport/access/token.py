"""Signed tokens, to let a client prove later what you told it earlier (Phoenix.Token).

A secret may be a list of secrets, newest first: the first signs, any of them verifies. So a secret is replaced by putting
the new one before it, and is taken away when what it has signed is too old anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import itsdangerous
from itsdangerous.encoding import base64_decode, base64_encode, bytes_to_int, int_to_bytes

from actors.clock import wall_time
from transport.exceptions import SocketError, TokenExpiredError, TokenInvalidError

__all__ = ["DAY", "Secrets", "check_secrets", "sign", "verify"]

DAY = 86_400.0
"""The default age, in seconds, after which a token is refused (Phoenix's)."""

Secrets = str | Sequence[str]
"""One secret, or several, newest first."""


class _Signing(NamedTuple):
    """What signs for one purpose; both are made once, as they cost more than their work."""

    payloads: itsdangerous.URLSafeSerializer
    signer: itsdangerous.Signer


def sign(secret: Secrets, salt: str, data: Any, *, signed_at: float | None = None) -> str:
    """Sign `data` (any JSON value) for the purpose `salt`; the data can be read by everybody, but not changed.

    `signed_at` is the Unix time in seconds, now by default.
    """
    signing = _signing(_keys(secret), salt)
    time = int(wall_time() if signed_at is None else signed_at)
    stamped = signing.payloads.dump_payload(data) + b"." + base64_encode(int_to_bytes(time))
    return signing.signer.sign(stamped).decode()


def verify(secret: Secrets, salt: str, token: str, *, max_age: float = DAY, now: float | None = None) -> Any:
    """Return the data of a token that was signed with the same secret and salt within `max_age` seconds.

    Raises:
        TokenExpiredError: if it is older.
        TokenInvalidError: if it is anything else.
    """
    signing = _signing(_keys(secret), salt)
    try:
        payload, _, stamp = signing.signer.unsign(token).rpartition(b".")
        signed_at = bytes_to_int(base64_decode(stamp))
        data = signing.payloads.load_payload(payload)
    except (itsdangerous.BadData, UnicodeError) as error:
        raise TokenInvalidError(str(error)) from error
    age = int(wall_time() if now is None else now) - signed_at
    if not 0 <= age <= max_age:
        raise TokenExpiredError(f"the token's age is {age} s, and must be from 0 to {max_age:g} s")
    return data


def check_secrets(secret: Secrets) -> None:
    """See that an endpoint has secrets that are some.

    Raises:
        SocketError: if not; without the value, which is a secret.
    """
    several = (secret,) if isinstance(secret, str) else secret
    if not (isinstance(several, list | tuple) and several and all(isinstance(one, str) and one for one in several)):
        kind = type(secret).__name__
        raise SocketError(
            f"secret_key must be a string that is not empty, or a list of such, newest first, got a wrong {kind}"
        )


def _keys(secret: Secrets) -> tuple[str, ...]:
    # itsdangerous wants the newest last.
    return (secret,) if isinstance(secret, str) else tuple(reversed(secret))


@lru_cache(maxsize=64)
def _signing(keys: tuple[str, ...], salt: str) -> _Signing:
    return _Signing(
        itsdangerous.URLSafeSerializer(keys[-1], salt=salt),
        itsdangerous.Signer(list(keys), salt=salt),
    )
