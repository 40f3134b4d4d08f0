"""The pytest plugin: what its fixtures do in a user's test run, and what it does not do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import WAIT

ROOT = Path(__file__).resolve().parents[2]

pytest_plugins = ["pytester"]

# The plugin as pytest would load it, whether or not the package is installed where these tests run.
CONFTEST = """
import pytest_ashtree

def pytest_configure(config):
    if not config.pluginmanager.hasplugin("ashtree"):
        config.pluginmanager.register(pytest_ashtree, "ashtree")
"""

INI = """
[pytest]
asyncio_default_fixture_loop_scope = function
addopts = --strict-markers --strict-config
filterwarnings = error
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """An empty project of a user."""
    pytester.makeconftest(CONFTEST)
    pytester.makeini(INI)
    pytester.makepyfile(rooms=(ROOT / "tests/transport/rooms.py").read_text())
    pytester.syspathinsert()
    return pytester


def test_channel_test_and_virtual_clock_are_of_one_test(project: pytest.Pytester) -> None:
    project.makepyfile("""
        from rooms import UserSocket

        def test_one(channel_test, virtual_clock):
            room = channel_test.connect(UserSocket, {"user": "alice"}).join("room:1")
            ref = room.push("later")
            virtual_clock.advance(2)
            ref.assert_reply("ok")
            assert virtual_clock.now() == 2

        def test_another_begins_anew(virtual_clock):
            assert virtual_clock.now() == 0
    """)
    project.runpytest_inprocess().assert_outcomes(passed=2)


def test_a_failing_assertion_points_at_the_test_and_shows_what_came(project: pytest.Pytester) -> None:
    project.makepyfile("""
        from rooms import UserSocket

        def test_it(channel_test):
            room = channel_test.connect(UserSocket).join("room:1")
            room.push("push", {"n": 1})
            room.assert_push("pushed", {"n": 2})
    """)
    result = project.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            '>*room.assert_push("pushed", {"n": 2})',
            "E *AssertionError: no push 'pushed' with {'n': 2} on 'room:1'; received:",
            "E *  push 'pushed' {'n': 1}",
            "E *    n: expected 2, got 1",
            "test_a_failing_assertion_points_at_the_test_and_shows_what_came.py:6: AssertionError",
        ]
    )
    result.stdout.no_fnmatch_line("*transport/testing/*")


def test_a_crash_fails_with_the_channels_own_traceback(project: pytest.Pytester) -> None:
    project.makepyfile("""
        from rooms import UserSocket

        def test_it(channel_test):
            room = channel_test.connect(UserSocket).join("room:1")
            room.push("fail", 7).assert_reply("ok")
    """)
    result = project.runpytest_inprocess("--show-capture=no")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            '>*raise ValueError(f"cannot take {payload!r}")',
            "E *ValueError: cannot take 7",
            "The above exception was the direct cause of the following exception:",
            '>*room.push("fail", 7).assert_reply("ok")',
            "E *UnexpectedCrashError: RoomChannel 'room:1' <*> crashed: ValueError: cannot take 7",
        ]
    )
    result.stdout.no_fnmatch_line("*process.py*")


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ("fail", "*UnexpectedCrashError: RoomChannel 'room:1' <*> crashed: ValueError: cannot take {}"),
        ("actor", "*the actor Worker <*>: linked to Worker <*>, with a timer in 3.000 s, subscribed to 'room:1'"),
        ("timer", "*a timer, in 30.000 s, of forgotten"),
        ("task", "*the task 'poll' of RoomChannel.endless()"),
    ],
)
def test_what_is_not_in_order_at_the_end_fails_the_test_by_name(
    project: pytest.Pytester, event: str, line: str
) -> None:
    project.makepyfile(f"""
        from rooms import UserSocket

        def test_it(channel_test):
            channel_test.connect(UserSocket).join("room:1").push("{event}")
    """)
    result = project.runpytest_inprocess()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([line])
    result.stdout.no_fnmatch_line("*pytest_ashtree.py*")


def test_a_crash_that_does_not_come_points_at_the_block_and_at_nothing_else(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import pytest
        from rooms import UserSocket
        from transport.testing import ChannelTest

        def test_it(channel_test):
            with channel_test.expect_crash(ValueError):
                channel_test.connect(UserSocket).join("room:1")

        @pytest.mark.asyncio
        async def test_async():
            async with ChannelTest(UserSocket) as client:
                async with client.expect_crash(ValueError):
                    await client.join("room:1")
    """)
    result = project.runpytest_inprocess()
    result.assert_outcomes(failed=2)
    for line in (
        ">*    with channel_test.expect_crash(ValueError):",
        ">*    async with client.expect_crash(ValueError):",
    ):
        result.stdout.fnmatch_lines([line, "E *AssertionError: no actor crashed with ValueError"])
    result.stdout.no_fnmatch_line("*contextlib*")


def test_a_loop_that_is_not_asyncios_is_refused_with_what_to_write(project: pytest.Pytester) -> None:
    project.makepyfile("""
        from rooms import UserSocket
        from transport.testing import ChannelTest

        def test_it():
            entering = ChannelTest(UserSocket).__aenter__()
            try:
                entering.send(None)
            finally:
                entering.close()
    """)
    result = project.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *RuntimeError: channels run on asyncio, *anyio_backend return 'asyncio'"])


@pytest.mark.parametrize("plugin", ["asyncio", "anyio"])
def test_async_tests_work_with_every_plugin(project: pytest.Pytester, plugin: str) -> None:
    project.makepyfile(f"""
        import pytest
        from rooms import UserSocket
        from transport.testing import ChannelTest

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.{plugin}
        async def test_it():
            async with ChannelTest(UserSocket) as client:
                room = await client.join("room:1")
                ref = room.push("later")
                await client.clock.advance(2)
                await ref.assert_reply("ok")

        @pytest.mark.{plugin}
        async def test_that_fails():
            async with ChannelTest(UserSocket) as client:
                room = await client.join("room:1")
                await room.assert_push("tick")
    """)
    result = project.runpytest_inprocess()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            '>*await room.assert_push("tick")',
            "E *AssertionError: no push 'tick' on 'room:1'; nothing was received",
        ]
    )


@pytest.mark.parametrize("plugin", ["asyncio", "anyio"])
def test_clients_of_async_tests_can_be_fixtures(project: pytest.Pytester, plugin: str) -> None:
    fixture = "pytest_asyncio.fixture" if plugin == "asyncio" else "pytest.fixture"
    project.makepyfile(f"""
        import pytest
        import pytest_asyncio
        from rooms import UserSocket
        from transport.testing import ChannelTest

        pytestmark = pytest.mark.{plugin}

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @{fixture}
        async def client():
            async with ChannelTest(UserSocket) as client:
                yield client

        async def test_it(client):
            room = await client.join("room:1")
            await room.push("echo", {{"n": 1}}).assert_reply("ok", {{"n": 1}})

        async def test_that_leaves_something(client):
            (await client.join("room:1")).push("timer")
    """)
    result = project.runpytest_inprocess()
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*a timer, in 30.000 s, of forgotten"])


def test_channel_test_in_an_async_test_says_what_to_write_instead(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import pytest
        from rooms import UserSocket

        @pytest.mark.asyncio
        async def test_it(channel_test):
            channel_test.connect(UserSocket).join("room:1")
    """)
    result = project.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *RuntimeError: *in an async test write `async with ChannelTest(*) as client:`"])


LIVE = """
    import json
    import pytest
    from rooms import UserSocket
    from websockets.asyncio.client import connect as connect_async
    from websockets.sync.client import connect

    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    JOIN = '["1", "1", "room:1", "phx_join", {}]'

    @pytest.mark.parametrize("number", range(3))
    def test_plain(live_endpoint, number):
        live, other = live_endpoint({"/socket": UserSocket}), live_endpoint({"/other": UserSocket})
        assert live.url != other.url
        with connect(live.websocket_url(), proxy=None) as client:
            client.send(JOIN)
            assert json.loads(client.recv(timeout=10))[3] == "phx_reply"

    async def use(live):
        async with connect_async(live.websocket_url(), proxy=None) as client:
            await client.send(JOIN)
            assert json.loads(await client.recv())[3] == "phx_reply"

    @pytest.mark.asyncio
    async def test_asyncio(live_endpoint):
        await use(live_endpoint({"/socket": UserSocket}))

    @pytest.mark.anyio
    async def test_anyio(live_endpoint):
        await use(live_endpoint({"/socket": UserSocket}))

    def test_that_crashes(live_endpoint):
        with connect(live_endpoint({"/socket": UserSocket}).websocket_url(), proxy=None) as client:
            client.send(JOIN)
            client.recv(timeout=10)
            client.send('["1", "2", "room:1", "fail", 7]')
            client.recv(timeout=10)
"""


def test_live_endpoints_serve_tests_of_every_kind(project: pytest.Pytester) -> None:
    project.makepyfile(LIVE)
    result = project.runpytest_inprocess()
    result.assert_outcomes(passed=6, errors=1)
    result.stdout.fnmatch_lines(["*UnexpectedCrashError: RoomChannel 'room:1' <*> crashed: ValueError: cannot take 7"])
    result.stdout.no_fnmatch_line("*pytest_ashtree.py*")


def test_live_endpoints_serve_tests_that_run_in_parallel(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{project.path}:{ROOT}")
    project.makepyfile(LIVE)
    project.runpytest_subprocess("-n", "2").assert_outcomes(passed=6, errors=1)


def test_no_actors_left_names_those_that_are(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import pytest
        from actors import Actor, ActorRegistry

        class Forgotten(Actor):
            pass

        @pytest.mark.usefixtures("no_actors_left")
        def test_that_forgets():
            Forgotten.start()

        def test_that_did_not_ask():
            Forgotten.start()

        @pytest.mark.usefixtures("no_actors_left")
        def test_that_stops():
            Forgotten.start().stop()

        def test_the_others_are_still_there():
            for ref in ActorRegistry.get_by_class(Forgotten):
                ref.stop()
    """)
    result = project.runpytest_inprocess()
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(["*LeftBehindError: left behind at the end of the test:", "*the actor Forgotten <*>"])


def test_the_fixtures_say_what_they_are_for(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess("--fixtures")
    result.stdout.re_match_lines_random(
        [
            r"(channel_test|virtual_clock|live_endpoint|no_actors_left) -- .*pytest_ashtree\.py:\d+",
            r"    A system for channels on virtual time: .*",
            r"    Start endpoints on free ports: .*",
        ]
    )


def test_loading_the_plugin_imports_nothing_but_itself() -> None:
    heavy = "{'actors', 'ashtree', 'supervisors', 'transport', 'asyncio', 'msgspec', 'pykka', 'websockets'}"
    code = f"import sys, pytest; before = set(sys.modules); import pytest_ashtree; print({heavy} & set(sys.modules) - before)"
    done = subprocess.run(  # noqa: S603  # our own line
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True, timeout=WAIT
    )
    assert done.stdout == "set()\n"


def test_the_kit_can_be_used_without_pytest() -> None:
    code = "import sys; sys.modules['pytest'] = None; import transport.testing as kit; print(kit.ChannelTest.__name__)"
    done = subprocess.run(  # noqa: S603  # our own line
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True, timeout=WAIT
    )
    assert done.stdout == "ChannelTest\n"


def modules_of_the_page() -> dict[str, str]:
    """Return the files of docs/testing.md, by name without the suffix."""
    page = (ROOT / "docs" / "testing.md").read_text()
    return dict(re.findall(r"^```python\n# (\w+)\.py\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))


def test_the_tests_of_the_docs_pass(project: pytest.Pytester) -> None:
    modules = modules_of_the_page()
    assert list(modules) == ["chat", "test_chat", "test_async_chat", "test_live_chat"]
    project.makepyfile(**modules)
    project.runpytest_inprocess().assert_outcomes(passed=7)


def test_the_actors_of_other_fixtures_are_not_left(project: pytest.Pytester) -> None:
    project.makepyfile("""
        from rooms import UserSocket

        def test_before(no_actors_left, channel_test):
            channel_test.connect(UserSocket, {"user": "alice"}).join("room:1")

        def test_after(channel_test, no_actors_left):
            channel_test.connect(UserSocket, {"user": "alice"}).join("room:1")

        def test_live(live_endpoint, no_actors_left):
            live_endpoint({"/socket": UserSocket})
    """)
    project.runpytest().assert_outcomes(passed=3)
