"""A socket for the tests of the test kit: a room with everything that a test may want to observe."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from actors.actor import Actor
from actors.channel import Channel
from actors.channels.message import Reply, error, ok
from actors.exits import ExitReason, Stop
from transport.socket import ConnectInfo, Socket

ENDED: list[ExitReason] = []
TASKS: list[asyncio.Task[None]] = []


class Worker(Actor):
    """Outlives the actor that starts it."""


class RoomChannel(Channel):
    """Does what its events say."""

    intercept = ("whisper",)

    def join(self, topic: str, payload: Any) -> Reply:
        if topic == "room:broken":
            raise RuntimeError("on purpose")
        return ok({"you": payload}) if topic != "room:vip" else error({"reason": "unauthorized"})

    def handle_in(self, event: str, payload: Any) -> Any:
        match event:
            case "echo":
                return ok(payload)
            case "later":
                self.send_after(2.0, self.socket_ref())
            case "push":
                self.push("pushed", payload)
            case "say":
                self.broadcast("said", payload)
                return ok()
            case "fail":
                raise ValueError(f"cannot take {payload!r}")
            case "stop":
                return Stop(ValueError("enough"))
            case "everywhere":
                self.socket.endpoint.broadcast("room:2", "said", payload)
            case _:
                return self.leave_behind(event)
        return None

    def leave_behind(self, what: str) -> Any:
        match what:
            case "actor":
                worker = Worker.start()
                self.pubsub.subscribe("room:1", worker)
                worker.process.link(Worker.start().process)
                self.clock.send_after(3.0, worker.process, "wake up")
            case "timer":
                self.clock.call_after(30.0, forgotten)
            case "task":
                TASKS.append(asyncio.create_task(self.endless(), name="poll"))
            case _:
                return super().handle_in(what, None)
        return None

    async def endless(self) -> None:
        await self.actor_ref.process.scheduler.loop.create_future()

    def handle_out(self, event: str, payload: Any) -> None:
        self.push(event, payload | {"for": self.topic})

    def handle_info(self, message: Any) -> None:
        self.reply(message, ok({"late": True}))

    def terminate(self, reason: ExitReason) -> None:
        ENDED.append(reason)
        if self.topic == "room:fragile":
            raise RuntimeError("cannot even end")


def forgotten() -> None:
    """A task that is never awaited."""


class SlowChannel(Channel):
    """Refuses every client."""

    async def join(self, topic: str, payload: Any) -> Reply:
        await self.actor_ref.down()
        return ok()


class UserSocket(Socket):
    """Accepts everyone but Mallory."""

    channels = {"room:*": RoomChannel, "slow": SlowChannel}  # noqa: RUF012  # as an author writes it

    def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Any:
        self.assigns["user"], self.assigns["path"] = params.get("user"), connect_info.path
        return error() if params.get("user") == "mallory" else ok()


class AsyncSocket(UserSocket):
    """Takes time to decide."""

    async def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Any:
        await asyncio.Event().wait() if params.get("user") == "nobody" else None
        return super().connect(params, connect_info)
