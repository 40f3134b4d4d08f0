"""A chat room that disconnects members who say nothing for a minute.

    python silence.py

Its tests, `test_silence.py`, show the test kit: they need `pip install ashtree pytest pytest-asyncio`, and nothing else.
"""

from __future__ import annotations

from typing import Any

from ashtree import Channel, Endpoint, Payload, Reply, Shutdown, Socket, Stop, System, error, ok

PATIENCE = 60.0
"""Seconds of silence after which a member is removed."""
WARNING = 10.0
"""Seconds before that at which the member is warned."""


class RoomChannel(Channel):
    """One member of a room."""

    def join(self, topic: str, payload: Payload) -> Reply:
        """Accept members with a name."""
        if not payload.get("name"):
            return error({"reason": "what is your name?"})
        self.assigns["name"] = payload["name"]
        self.restart_timers()
        return ok()

    def restart_timers(self) -> None:
        """Allow another minute of silence."""
        if "warning" in self.assigns:
            self.cancel(self.assigns["warning"])
            self.cancel(self.assigns["end"])
        self.assigns["warning"] = self.send_after(PATIENCE - WARNING, "warning")
        self.assigns["end"] = self.send_after(PATIENCE, "end")

    def handle_in(self, event: str, payload: Payload) -> Any:
        """Broadcast what the member says."""
        match event:
            case "say":
                self.restart_timers()
                self.broadcast("said", {"name": self.assigns["name"], "text": payload["text"]})
                return ok()
            case _:
                return super().handle_in(event, payload)

    def handle_info(self, message: Any) -> Stop | None:
        """Warn the member, or end the channel."""
        match message:
            case "warning":
                self.push("are_you_there", {"seconds_left": WARNING})
            case "end":
                return Stop(Shutdown("silent"))
        return None


class UserSocket(Socket):
    """Accepts every connection."""

    channels = {"room:*": RoomChannel}


if __name__ == "__main__":
    System([Endpoint({"/socket": UserSocket})]).run()
