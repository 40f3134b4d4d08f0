"""Presence: the users on each topic, the diffs that are broadcast, and the actor that watches the tracked actors."""

from actors.presence.presence import Presence

__all__ = ["Presence"]
