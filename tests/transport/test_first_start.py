"""A system that the first request starts, on servers that run no lifespan."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors import Actor
from supervisors import ChildSpec, System
from tests.transport.test_asgi import CLOSE, Peer, an_endpoint, asked, beats, opened, scope
from tests.transport.wire import on_loop


class Counted(Actor):
    """Counts its starts and its ends; starts as slowly as the test wants, and fails as often."""

    def __init__(self, log: list[str], gate: asyncio.Event | None = None) -> None:
        self.log, self.gate = log, gate

    async def on_start(self) -> None:
        self.log.append("start")
        if self.gate is not None:
            await self.gate.wait()
        if "fail" in self.log:
            self.log.remove("fail")
            raise RuntimeError("failed on purpose")

    def terminate(self, reason: Any) -> None:
        self.log.append("end")


def counted(log: list[str], gate: asyncio.Event | None = None) -> tuple[Any, System]:
    endpoint = an_endpoint()
    system = System([endpoint, ChildSpec(Counted, (log, gate))])
    return endpoint.asgi(system), system


@on_loop
async def test_the_first_request_starts_the_system_and_the_others_wait_for_that() -> None:
    log, gate = list[str](), asyncio.Event()
    app, system = counted(log, gate)
    page = await asked(app, "/page")
    peers = [Peer(app, scope("websocket", "/socket/websocket", "vsn=2.0.0")) for _ in range(2)]
    for peer in peers:
        peer.put("websocket.connect")
    await asyncio.sleep(0)
    page.task.cancel()
    gate.set()
    for peer in peers:
        assert (await peer.get())["type"] == "websocket.accept"
        await beats(peer)
        peer.put("websocket.disconnect", code=1000)
        await peer.ended()
    assert log == ["start"]
    await system.stop()


@on_loop
async def test_a_start_can_be_awaited_before_the_first_request() -> None:
    log = list[str]()
    app, system = counted(log)
    await app.start()
    await app.start()
    assert log == ["start"]
    assert (await (await asked(app, "/page")).answer())[0] == 200
    await system.stop()


@on_loop
async def test_a_start_that_fails_is_answered_with_500_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    log = ["fail"]
    app, system = counted(log)
    assert (await (await asked(app, "/page")).answer())[0] == 500
    assert "failed on purpose" in caplog.text
    assert (await (await asked(app, "/page")).answer())[0] == 200
    assert log.count("start") == 2
    await system.stop()


@on_loop
async def test_a_system_that_has_ended_is_not_started_by_a_request(caplog: pytest.LogCaptureFixture) -> None:
    log = list[str]()
    app, system = counted(log)
    await app.start()
    await system.stop()
    peer = Peer(app, scope("websocket", "/socket/websocket", "vsn=2.0.0"))
    peer.put("websocket.connect")
    assert await peer.get() == CLOSE
    assert log == ["start", "end"]
    [line] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert line.startswith("refused a client of EchoSocket: its System has ended")


@on_loop
async def test_after_a_lifespan_no_request_starts_the_system() -> None:
    log = list[str]()
    app, _ = counted(log)
    life = Peer(app, {"type": "lifespan"})
    life.put("lifespan.startup")
    await life.get()
    life.put("lifespan.shutdown")
    await life.get()
    peer = Peer(app, scope("websocket", "/socket/websocket", "vsn=2.0.0"))
    peer.put("websocket.connect")
    assert await peer.get() == CLOSE
    assert log == ["start", "end"]


@pytest.mark.parametrize("path", ["/socket/websocket", "/socket/longpoll"])
@on_loop
async def test_without_a_system_one_line_names_the_cause_and_the_remedy(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ashtree")
    app = an_endpoint().asgi()
    if path.endswith("longpoll"):
        assert (await (await asked(app, path, "vsn=2.0.0")).answer())[0] == 503
    else:
        peer = Peer(app, scope("websocket", path, "vsn=2.0.0"))
        peer.put("websocket.connect")
        assert await peer.get() == CLOSE
    [line] = [record.getMessage() for record in caplog.records]
    assert "endpoint.asgi(System([endpoint]))" in line
    assert "lifespan" in line


def test_on_each_event_loop_the_system_is_started_again_and_stopped_at_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = list[str]()
    app, _ = counted(log)

    async def visit() -> None:
        peer = await opened(app)
        await beats(peer)
        peer.put("websocket.disconnect", code=1000)
        await peer.ended()

    for _ in range(2):
        asyncio.run(visit())
    assert log == ["start", "end"] * 2
    assert caplog.records == []


def test_what_is_left_is_stopped_in_order_when_the_program_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    at_exit = list[Any]()
    monkeypatch.setattr("atexit.register", at_exit.append)
    log = list[str]()
    app, system = counted(log)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(app.start())
    assert system.is_running
    [stop] = at_exit
    stop()
    assert log == ["start", "end"]
    stop()
    loop.close()
