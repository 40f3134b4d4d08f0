"""Counts of the messages and bytes that were received from clients and sent to them."""

from __future__ import annotations

__all__ = ["Traffic"]


class Traffic:
    """The messages and bytes that all connections of one kind have received and sent since the endpoint was made.

    The carriers count here themselves, once for each read and write. So reading the counts costs the same however many
    connections there are, and the counts of closed connections are kept.
    """

    __slots__ = ("bytes_in", "bytes_out", "messages_in", "messages_out")

    def __init__(self) -> None:
        self.messages_in = self.bytes_in = 0
        self.messages_out = self.bytes_out = 0

    def wrote(self, data: bytes, times: int, messages: int = 1) -> None:
        """Count `data` as written `times` times, `messages` messages each."""
        self.messages_out += times * messages
        self.bytes_out += times * len(data)
