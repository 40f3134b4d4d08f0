"""Signed tokens, to let a client prove later what you told it earlier (Phoenix.Token)."""

from __future__ import annotations

from typing import Any

import itsdangerous

from actors.clock import wall_time
from transport.exceptions import TokenExpiredError, TokenInvalidError

__all__ = ["DAY", "sign", "verify"]

DAY = 86_400.0
"""The default age, in seconds, after which a token is refused (Phoenix's)."""


def sign(secret: str, salt: str, data: Any, *, signed_at: float | None = None) -> str:
    """Sign `data` (any JSON value) for the purpose `salt`; the data can be read by everybody, but not changed.

    `signed_at` is the Unix time in seconds, now by default.
    """
    return str(_serializer(secret, salt, wall_time() if signed_at is None else signed_at).dumps(data))


def verify(secret: str, salt: str, token: str, *, max_age: float = DAY, now: float | None = None) -> Any:
    """Return the data of a token that was signed with the same secret and salt within `max_age` seconds.

    Raises:
        TokenExpiredError: if it is older.
        TokenInvalidError: if it is anything else.
    """
    serializer = _serializer(secret, salt, wall_time() if now is None else now)
    try:
        return serializer.loads(token, max_age=int(max_age))
    except itsdangerous.SignatureExpired as error:
        raise TokenExpiredError(str(error)) from error
    except itsdangerous.BadData as error:
        raise TokenInvalidError(str(error)) from error


def _serializer(secret: str, salt: str, now: float) -> itsdangerous.URLSafeTimedSerializer:
    class At(itsdangerous.TimestampSigner):
        """The signer, at a time that is given instead of read."""

        def get_timestamp(self) -> int:
            return int(now)

    return itsdangerous.URLSafeTimedSerializer(secret, salt=salt, signer=At)
