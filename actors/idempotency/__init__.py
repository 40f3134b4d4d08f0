"""Pushes with a key: handled at most once, although a client sends them again, and answered as the first time."""

from actors.idempotency.idempotency import Idempotency

__all__ = ["Idempotency"]
