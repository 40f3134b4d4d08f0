"""Signed tokens, by which a client proves later what the server told it earlier (Phoenix.Token).

A secret may be a list of secrets, newest first: the first signs, any of them verifies. To rotate a secret, put the new one
before it, and remove the old one when all tokens that it has signed have expired.

The format is that of itsdangerous with HMAC-SHA256. A token that an earlier version has signed, with HMAC-SHA1, is still read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import lru_cache
from math import isnan
from typing import Any, NamedTuple

import itsdangerous
from itsdangerous.encoding import base64_decode, base64_encode, bytes_to_int, int_to_bytes

from actors.clock import wall_time
from actors.redaction import safe_repr
from actors.validation import check_seconds, is_number
from transport.exceptions import SocketError, TokenExpiredError, TokenInvalidError, TokenMissingError

__all__ = [
    "DAY",
    "LEEWAY",
    "SECRET_VARIABLE",
    "Secrets",
    "Signed",
    "check_secrets",
    "read",
    "secrets_of",
    "sign",
    "verify",
]

DAY = 86_400.0
"""The default age, in seconds, after which a token is rejected (Phoenix's)."""

LEEWAY = 10.0
"""The default number of seconds by which the clock of the machine that signed a token may be ahead of this one's."""

Secrets = str | Sequence[str]
"""One secret, or several, newest first."""

SECRET_VARIABLE = "ASHTREE_SECRET_KEY"  # noqa: S105  # a variable's name
"""The environment variable with the secret of endpoints that are given none."""

_SHORTEST = 32
"""Bytes of a secret: with fewer it is the secret, not the signature, that would be guessed."""


class Signed(NamedTuple):
    """A token that was verified: its data, and the Unix times in seconds at which it was signed and expires."""

    data: Any
    signed_at: float
    expires_at: float


class _Signing(NamedTuple):
    """The signers for one purpose; they are made once, as making them costs more than signing."""

    payloads: itsdangerous.URLSafeSerializer
    signer: itsdangerous.Signer
    # To be removed in 0.2.0: what it has signed has expired then.
    of_earlier_versions: itsdangerous.Signer

    def unsign(self, token: str) -> bytes:
        """Return what was signed; itsdangerous.BadSignature if it was not signed with one of the secrets."""
        try:
            return self.signer.unsign(token)
        except itsdangerous.BadSignature:
            return self.of_earlier_versions.unsign(token)


def sign(secret: Secrets, salt: str, data: Any, *, signed_at: float | None = None) -> str:
    """Return a token with `data` (any JSON value), signed for the purpose `salt`; anyone can read it, but not change it.

    `signed_at` is the Unix time in seconds, now by default.

    Raises:
        SocketError: if a secret has fewer than 32 bytes.
        TypeError: if `salt` is not a str.
    """
    signing = _signing(_keys(secret), _checked_salt(salt))
    time = int(wall_time() if signed_at is None else signed_at)
    stamped = signing.payloads.dump_payload(data) + b"." + base64_encode(int_to_bytes(time))
    return signing.signer.sign(stamped).decode()


def verify(
    secret: Secrets, salt: str, token: object, *, max_age: float = DAY, leeway: float = LEEWAY, now: float | None = None
) -> Any:
    """Return the data of a token that was signed with the same secret and salt at most `max_age` seconds ago.

    `token` may be whatever a client has sent. With a `max_age` of `float("inf")` tokens do not expire, and with 0 or less all
    have. `leeway` is the number of seconds by which the clock of the machine that signed it may be ahead of this one's.

    Raises:
        TokenExpiredError: if it is older.
        TokenMissingError: if it is None; a TokenInvalidError too.
        TokenInvalidError: if it was not signed with them, or with a time that is in the future, or is no str.
        SocketError: if a secret has fewer than 32 bytes.
        TypeError, ValueError: if `salt` is not a str, or `max_age` or `leeway` no number of seconds.
    """
    return read(secret, salt, token, max_age=max_age, leeway=leeway, now=now).data


def read(
    secret: Secrets, salt: str, token: object, *, max_age: float = DAY, leeway: float = LEEWAY, now: float | None = None
) -> Signed:
    """Verify a token as `verify` does, and return its times beside its data.

    A connection may end when its token does: `self.assigns["user"], _, self.expires_at = self.endpoint.read_token(…)`.
    """
    _check_ages(max_age, leeway)
    signing = _signing(_keys(secret), _checked_salt(salt))
    data, signed_at = _unsigned(signing, _checked_token(token))
    age = int(wall_time() if now is None else now) - signed_at
    if age < -leeway:
        raise TokenInvalidError(
            f"the token was signed {-age} s in the future, more than the leeway of {leeway:g} s: do the clocks differ?"
        )
    if max_age <= 0 or age > max_age:
        raise TokenExpiredError(f"the token has expired: its age is {max(age, 0)} s, its max_age {max_age:g} s")
    return Signed(data, signed_at, signed_at + max_age)


def _unsigned(signing: _Signing, token: str) -> tuple[Any, int]:
    """Return the data of an authentic token, and the time at which it was signed."""
    try:
        payload, _, stamp = signing.unsign(token).rpartition(b".")
        return signing.payloads.load_payload(payload), bytes_to_int(base64_decode(stamp))
    except (itsdangerous.BadData, UnicodeError):
        # Without the value, and without the cause, which shows it: it is a client's, and may be logged.
        raise TokenInvalidError("the token was not signed with this secret and salt, or was changed") from None


def _checked_token(token: object) -> str:
    if token is None:
        raise TokenMissingError("there is no token")
    if not isinstance(token, str):
        raise TokenInvalidError(f"a token is a str, got a value of type {type(token).__name__}")
    return token


def _checked_salt(salt: object) -> str:
    if not isinstance(salt, str):
        raise TypeError(f'salt must be a str that names the purpose, such as "user socket", got {safe_repr(salt)}')
    return salt


def _check_ages(max_age: object, leeway: object) -> None:
    if not is_number(max_age) or isnan(max_age):
        raise ValueError(
            f'max_age must be a number of seconds, or float("inf") for tokens that do not expire, got {safe_repr(max_age)}'
        )
    check_seconds("leeway", leeway)


def secrets_of(given: Secrets | None) -> Secrets | None:
    """Return the secrets that were given, else that of the environment, which is None too if it is not set, or empty.

    Raises:
        SocketError: if they are none: see `check_secrets`.
    """
    if given is not None:
        check_secrets(given)
        return given
    found = os.environ.get(SECRET_VARIABLE) or None
    if found is not None:
        try:
            check_secrets(found)
        except SocketError as error:
            raise SocketError(f"the environment variable {SECRET_VARIABLE}: {error}") from None
    return found


def check_secrets(secret: Secrets) -> None:
    """Raise unless `secret` is a string of at least 32 bytes, or a list of them.

    Raises:
        SocketError: with the type or the length but without the value, which is a secret.
    """
    several = (secret,) if isinstance(secret, str) else secret
    if not (isinstance(several, list | tuple) and several and all(isinstance(one, str) for one in several)):
        kind = type(secret).__name__
        raise SocketError(
            f"secret_key must be a str such as secrets.token_urlsafe(48) returns, or a list of them, newest first, got an "
            f"invalid {kind}"
        )
    for one in several:
        _check_length(one)


def _check_length(secret: str) -> None:
    try:
        size = len(secret.encode())
    except UnicodeEncodeError:
        raise SocketError("secret_key has a lone surrogate, which UTF-8 does not have") from None
    if size < _SHORTEST:
        raise SocketError(
            f"secret_key must have at least {_SHORTEST} bytes, such as secrets.token_urlsafe(48) returns; make it once and "
            f"keep it in the configuration; got one of {size}"
        )


def _keys(secret: Secrets) -> tuple[str, ...]:
    if isinstance(secret, str):
        return (secret,)
    if not isinstance(secret, list | tuple):
        check_secrets(secret)
    # itsdangerous expects the newest last.
    return tuple(reversed(secret))


@lru_cache(maxsize=64)
def _signing(keys: tuple[str, ...], salt: str) -> _Signing:
    check_secrets(keys)
    return _Signing(
        itsdangerous.URLSafeSerializer(keys[-1], salt=salt),
        itsdangerous.Signer(list(keys), salt=salt, key_derivation="hmac", digest_method=hashlib.sha256),
        itsdangerous.Signer(list(keys), salt=salt),
    )
