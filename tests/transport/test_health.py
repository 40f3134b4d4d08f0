"""What load balancers are told: whether the tree runs, and whether clients are accepted."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from actors import Actor
from actors.exceptions import Timeout
from actors.future import Future
from actors.lowlevel import Scheduler
from actors.testing import WAIT
from supervisors import System
from tests.transport.wire import Server, on_both_loops, on_loop, serving, until
from transport import Drainer, Endpoint, Health, Socket, SocketError


class UserSocket(Socket):
    channels = {}  # noqa: RUF012  # as an author writes it


async def status(server: Server, path: str, method: str = "GET") -> tuple[int, Any]:
    answer = await (await server.tcp()).get(path, method=method)
    return answer.status, json.loads(answer.body) if answer.body else None


@on_both_loops
async def test_an_endpoint_that_runs_lives_and_is_ready() -> None:
    async with serving(UserSocket, health=Health()) as server:
        tcp = await server.tcp()
        for path, body in [("/health/live", {"status": "ok"}), ("/health/ready", {"status": "ready"})]:
            answer = await tcp.get(path)
            assert (answer.status, json.loads(answer.body)) == (200, body)
            assert answer.header("Content-Type") == ["application/json"]
            assert answer.header("Cache-Control") == ["no-store"]
            assert (await tcp.get(path, method="HEAD")).status == 200
            options = await tcp.get(path, method="OPTIONS")
            assert (options.status, options.body, options.header("Allow")) == (200, "", ["GET, HEAD, OPTIONS"])
            assert (await tcp.get(path, method="DELETE")).status == 405


@on_loop
async def test_it_is_off_unless_it_is_asked_for_and_has_the_path_that_it_is_given() -> None:
    async with serving(UserSocket) as server:
        assert (await (await server.tcp()).get("/health/live")).status == 404
    async with serving(UserSocket, health=Health("/up/")) as server:
        assert await status(server, "/up/ready") == (200, {"status": "ready"})


class Slow(Actor):
    """Stops when the test lets it."""

    gate: asyncio.Event

    async def terminate(self, reason: object) -> None:
        await self.gate.wait()


@on_loop
async def test_it_is_draining_as_soon_as_the_system_is_told_to_stop() -> None:
    Slow.gate = asyncio.Event()
    endpoint = Endpoint({"/socket": UserSocket}, port=0, health=Health())
    statuses = [endpoint.status]
    async with System([endpoint, Slow]) as system:
        statuses.append(endpoint.status)
        stopping = asyncio.create_task(system.stop())
        await until(lambda: endpoint.status == "draining")
        assert not endpoint.refuses
        reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
        for path, expected in [("ready", b"HTTP/1.1 503"), ("live", b"HTTP/1.1 200")]:
            writer.write(f"GET /health/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            async with asyncio.timeout(WAIT):
                assert (await reader.readuntil(b"}")).startswith(expected)
        Slow.gate.set()
        await stopping
        writer.close()
    statuses.append(endpoint.status)
    assert statuses == ["starting", "ready", "down"]


# Checks of the application


@on_loop
async def test_ready_is_what_the_checks_say(caplog: pytest.LogCaptureFixture) -> None:
    results: dict[str, Any] = {"database": None, "queue": True}

    def database() -> object:
        if isinstance(results["database"], Exception):
            raise results["database"]
        return results["database"]

    async def queue() -> object:
        return results["queue"]

    async with serving(UserSocket, health=Health(checks={"database": database, "queue": queue})) as server:
        assert await status(server, "/health/ready") == (200, {"status": "ready"})
        results["queue"] = False
        degraded = {"status": "degraded", "failed": ["queue"]}
        for method, body in [("GET", degraded), ("HEAD", None), ("OPTIONS", None)]:
            assert await status(server, "/health/ready", method) == (503, body)
        results["database"] = ConnectionError("the password is hunter2")
        assert await status(server, "/health/ready") == (503, {"status": "degraded", "failed": ["database", "queue"]})
        assert await status(server, "/health/live") == (200, {"status": "ok"})
        results.update(database=None, queue=True)
        assert await status(server, "/health/ready") == (200, {"status": "ready"})
    assert "not ready: the check queue returned False" in caplog.text
    assert "not ready: the check database failed" in caplog.text


@on_loop
async def test_a_check_that_does_not_return_fails_with_those_after_it() -> None:
    async def hangs() -> None:
        await Future[None](Scheduler.here())

    async def its_own_timeout() -> None:
        raise Timeout

    checks = {"first": its_own_timeout, "second": hangs, "third": lambda: True}
    async with serving(UserSocket, health=Health(checks=checks, timeout=0.05)) as server:
        assert await status(server, "/health/ready") == (
            503,
            {"status": "degraded", "failed": ["first", "second", "third"]},
        )


@on_loop
async def test_an_endpoint_that_drains_asks_no_checks() -> None:
    asked: list[str] = []
    health = Health(checks={"database": lambda: asked.append("database")})
    async with serving(UserSocket, drainer=Drainer(1, 3600.0), health=health) as server:
        first, last = [await server.connect() for _ in range(2)]
        stopping = asyncio.create_task(server.system.stop())
        assert await first.closed() == 1012
        assert await status(server, "/health/ready") == (503, {"status": "draining"})
        await last.close()
        await stopping
    assert asked == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"path": "health"}, 'the path of Health must begin with "/", such as "/health", got \'health\''),
        ({"path": None}, 'the path of Health must begin with "/", such as "/health", got None'),
        ({"checks": ["database"]}, "checks are given by their names"),
        ({"checks": {"database": True}}, "the check 'database'"),
    ],
    ids=repr,
)
def test_options_that_make_no_sense(options: dict[str, Any], error: str) -> None:
    with pytest.raises(SocketError, match=error):
        Health(**options)


def test_a_time_that_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="timeout must be seconds > 0, got 0"):
        Health(timeout=0)
