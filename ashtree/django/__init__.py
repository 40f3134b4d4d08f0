"""Django's database and users in channels and sockets; see docs/django.md."""

from transport.django import database_sync_to_async, user_of

__all__ = ["database_sync_to_async", "user_of"]
