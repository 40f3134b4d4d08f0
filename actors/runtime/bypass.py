"""What the kernel knows of a way past a mailbox: when it must not be used.

An actor that writes for a client may let frames past its mailbox (see `actors/channels/fastlane.py`). The kernel neither
reads nor writes there; it holds the bypass while the mailbox is in use, and while the actor is traced, logged or suspended.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["BUSY", "WATCHED", "Bypass"]

# The kernel's reasons to hold a bypass; each is one bit. Those of its users begin at 4.
BUSY = 1
"""The actor has something in its mailbox, is handling a message, or has ended."""
WATCHED = 2
"""The actor has a `Debug`: it is traced, logged, recorded or suspended."""


class Bypass(Protocol):
    """A way past a mailbox, unused while it is held for at least one reason."""

    def hold(self, reason: int) -> None:
        """Use the mailbox from now on; holding twice for one reason is the same as holding once."""

    def release(self, reason: int) -> None:
        """End the hold for this reason; the others go on."""
