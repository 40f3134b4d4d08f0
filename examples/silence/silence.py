"""A chat room that sends away whoever says nothing for a minute.

    python silence.py

Its tests, `test_silence.py`, show the test kit: they need `pip install ashtree pytest pytest-asyncio`, and nothing else.
"""

from __future__ import annotations

from typing import Any

from actors import Channel, Reply, Shutdown, Stop, error, ok
from supervisors import System
from transport import Endpoint, Socket

PATIENCE = 60.0
"""Seconds that somebody may say nothing."""
WARNING = 10.0
"""Seconds before the end of patience at which it is said so."""


class RoomChannel(Channel):
    """One person in a room."""

    def join(self, topic: str, payload: Any) -> Reply:
        """Let in whoever has a name."""
        if not payload.get("name"):
            return error({"reason": "what is your name?"})
        self.assigns["name"] = payload["name"]
        self.wait()
        return ok()

    def wait(self) -> None:
        """Begin to be patient, anew if somebody was already."""
        if "warning" in self.assigns:
            self.cancel(self.assigns["warning"])
            self.cancel(self.assigns["end"])
        self.assigns["warning"] = self.send_after(PATIENCE - WARNING, "warning")
        self.assigns["end"] = self.send_after(PATIENCE, "end")

    def handle_in(self, event: str, payload: Any) -> Any:
        """Say it to all."""
        match event:
            case "say":
                self.wait()
                self.broadcast("said", {"name": self.assigns["name"], "text": payload["text"]})
                return ok()
            case _:
                return super().handle_in(event, payload)

    def handle_info(self, message: Any) -> Any:
        """Warn, and then send away."""
        match message:
            case "warning":
                self.push("are_you_there", {"seconds_left": WARNING})
            case "end":
                return Stop(Shutdown("silent"))
        return None


class UserSocket(Socket):
    """Lets everybody in."""

    channels = {"room:*": RoomChannel}  # noqa: RUF012  # as an author writes it


if __name__ == "__main__":
    System([Endpoint({"/socket": UserSocket})]).run()
