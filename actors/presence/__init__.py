"""Who is here: presences by topic and key, their diffs, and the actor that watches whom they stand for."""

from actors.presence.presence import Presence

__all__ = ["Presence"]
