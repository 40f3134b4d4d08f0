"""Signed tokens, by which a client proves later what the server told it earlier (Phoenix.Token).

A secret may be a list of secrets, newest first: the first signs, any of them verifies. To rotate a secret, put the new one
before it, and remove the old one when all tokens that it has signed have expired.
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
"""The default age, in seconds, after which a token is rejected (Phoenix's)."""

Secrets = str | Sequence[str]
"""One secret, or several, newest first."""


class _Signing(NamedTuple):
    """The signers for one purpose; they are made once, as making them costs more than signing."""

    payloads: itsdangerous.URLSafeSerializer
    signer: itsdangerous.Signer


def sign(secret: Secrets, salt: str, data: Any, *, signed_at: float | None = None) -> str:
    """Return a token with `data` (any JSON value), signed for the purpose `salt`; anyone can read it, but not change it.

    `signed_at` is the Unix time in seconds, now by default.
    """
    signing = _signing(_keys(secret), salt)
    time = int(wall_time() if signed_at is None else signed_at)
    stamped = signing.payloads.dump_payload(data) + b"." + base64_encode(int_to_bytes(time))
    return signing.signer.sign(stamped).decode()


def verify(secret: Secrets, salt: str, token: str, *, max_age: float = DAY, now: float | None = None) -> Any:
    """Return the data of a token that was signed with the same secret and salt at most `max_age` seconds ago.

    Raises:
        TokenExpiredError: if it is older, or its time of signing is in the future.
        TokenInvalidError: if it was not signed with them.
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
    """Raise unless `secret` is a non-empty string or a list of them.

    Raises:
        SocketError: with the type but without the value, which is a secret.
    """
    several = (secret,) if isinstance(secret, str) else secret
    if not (isinstance(several, list | tuple) and several and all(isinstance(one, str) and one for one in several)):
        kind = type(secret).__name__
        raise SocketError(
            f"secret_key must be a non-empty string or a list of them, newest first, got an invalid {kind}"
        )


def _keys(secret: Secrets) -> tuple[str, ...]:
    # itsdangerous expects the newest last.
    return (secret,) if isinstance(secret, str) else tuple(reversed(secret))


@lru_cache(maxsize=64)
def _signing(keys: tuple[str, ...], salt: str) -> _Signing:
    return _Signing(
        itsdangerous.URLSafeSerializer(keys[-1], salt=salt),
        itsdangerous.Signer(list(keys), salt=salt),
    )
