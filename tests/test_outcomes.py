"""Outcomes of a test that are raised in an actor are those of the test, whatever runs its event loop."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

HEAD = """
import asyncio, os, signal, sys, time
import pytest
from ashtree import Actor, ChildSpec, System, ThreadedActor
from actors.testing import ManualRuntime
from ashtree.testing import ChannelTest
from ashtree import Channel, Socket, ok


def fail(signum, frame):
    pytest.fail("took too long")


class Bad(Actor):
    def on_receive(self, message):
        match message:
            case "fail":
                pytest.fail("in an actor")
            case "skip":
                pytest.skip("in an actor")
            case "hang":
                signal.signal(signal.SIGALRM, fail)
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                while True:
                    pass
            case "interrupt":
                os.kill(os.getpid(), signal.SIGINT)
                while True:
                    pass
            case "later":
                return self.later()
            case "group":
                return self.in_group()

    async def later(self):
        await asyncio.sleep(0)
        pytest.fail("in an actor")

    async def in_group(self):
        async with asyncio.TaskGroup() as group:
            group.create_task(self.later())


class Threaded(ThreadedActor):
    def on_receive(self, message):
        pytest.fail("in an actor")


class Room(Channel):
    def join(self, topic, payload):
        return ok()

    def handle_in(self, event, payload):
        pytest.fail("in a channel")


class UserSocket(Socket):
    channels = {"room:*": Room}

    def connect(self, params, info):
        return ok()
"""

TESTS = """
async def use(message, actor=Bad):
    ref = actor.start()
    ref.tell(message)
    await asyncio.sleep(5)


@pytest.mark.parametrize("message", ["fail", "hang", "later", "group"])
def test_asyncio_run(message):
    asyncio.run(use(message))


@pytest.mark.parametrize("message", ["fail", "hang", "later", "group"])
def test_uvloop(message):
    uvloop = pytest.importorskip("uvloop")
    uvloop.run(use(message))


def test_skipped():
    asyncio.run(use("skip"))


def test_a_caller():
    async def main():
        with pytest.raises(Exception):
            await Bad.start().call("fail")

    asyncio.run(main())


@pytest.mark.asyncio
async def test_pytest_asyncio():
    await use("fail")


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.anyio
async def test_anyio(anyio_backend):
    await use("fail")


@pytest.mark.asyncio
async def test_async_with_system():
    async with System([]):
        await use("fail")


def test_thread_of_an_actor():
    asyncio.run(use("fail", Threaded))


@pytest.mark.parametrize("message", ["fail", "hang", "later", "group"])
def test_manual_runtime(message):
    with ManualRuntime() as runtime:
        Bad.start().tell(message)
        runtime.settle()


def test_manual_runtime_asked():
    with ManualRuntime():
        Bad.start().ask("fail")


@pytest.mark.parametrize("actor", [Bad, Threaded])
def test_with_system(actor):
    with System([ChildSpec(actor, name="it")]) as system:
        system.whereis("it").tell("fail")


def test_background():
    try:
        Bad.start().ask("fail")
    except Exception:
        pass


def test_channel_test():
    with ChannelTest(UserSocket) as client:
        client.subscribe_and_join("room:1").push("any", {}).assert_reply("ok")


@pytest.mark.asyncio
async def test_async_channel_test():
    async with ChannelTest(UserSocket) as client:
        room = await client.subscribe_and_join("room:1")
        await room.push("any", {}).assert_reply("ok")


def test_fixture_of_the_channel_test(channel_test):
    channel_test.connect(UserSocket).subscribe_and_join("room:1").push("any", {}).assert_reply("ok")
"""


INTERRUPTED = """
def test_manual():
    with ManualRuntime() as runtime:
        Bad.start().tell("interrupt")
        runtime.settle()


def test_loop():
    async def main():
        Bad.start().tell("interrupt")
        await asyncio.sleep(60)

    asyncio.new_event_loop().run_until_complete(main())


def test_never_run():
    pass
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    # Otherwise the lines of the summary are cut.
    monkeypatch.setenv("COLUMNS", "200")
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makeconftest(
        "import pytest_ashtree\n"
        "def pytest_configure(config):\n"
        "    if not config.pluginmanager.hasplugin('ashtree'):\n"
        "        config.pluginmanager.register(pytest_ashtree, 'ashtree')\n"
    )
    return pytester


def test_the_outcome_of_an_actor_is_that_of_the_test(project: pytest.Pytester) -> None:
    project.makepyfile(HEAD + TESTS)
    result = project.runpytest_subprocess("-q", "-p", "no:cacheprovider", "--tb=line", timeout=100)
    outcomes = result.parseoutcomes()
    assert (outcomes.keys() - {"skipped"}, outcomes["failed"] >= 20) == ({"failed"}, True), result.stdout.str()
    assert outcomes["skipped"] == 1, result.stdout.str()
    failures = [line for line in result.outlines if line.startswith("FAILED")]
    assert [line for line in failures if " - Failed: " not in line] == []


@pytest.mark.parametrize("way", ["manual", "loop"])
def test_ctrl_c_in_a_busy_handler_ends_the_run(project: pytest.Pytester, way: str) -> None:
    project.makepyfile(HEAD + INTERRUPTED)
    result = project.runpytest_subprocess("-q", "-p", "no:cacheprovider", "-k", f"{way} or never", timeout=100)
    assert result.ret == pytest.ExitCode.INTERRUPTED, result.stdout.str()
    result.stdout.fnmatch_lines(["*KeyboardInterrupt*"])
    assert "passed" not in result.parseoutcomes()
