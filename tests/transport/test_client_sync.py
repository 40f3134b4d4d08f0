"""The client for code without an event loop."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from actors.exceptions import BlockingCallError
from tests.live import WAIT
from transport import client as asynchronous
from transport.client import (
    AlreadyJoinedError,
    ClosedError,
    ConnectError,
    JoinError,
    NotJoinedError,
    ReplyError,
    ReplyTimeoutError,
)
from transport.client.client_socket import SocketOptions
from transport.client.sync import Channel, Presence, Push, Socket, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.live import LiveDemo


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("phoenix")]
    assert left == []


def client(demo: LiveDemo, user: str = "ann", **options: Any) -> Socket:
    return connect(f"{demo.websocket_address}/socket", params={"user": user}, **options)


@pytest.mark.parametrize(
    ("kind", "without"),
    [
        (Channel, {"call", "join_ref"}),
        (Presence, {"is_pending"}),
        (Push, set()),
        (Socket, {"clock", "connect", "disconnect", "will_reconnect"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_synchronous_classes_have_the_members_of_the_asynchronous_ones(kind: type, without: set[str]) -> None:
    members = {name for name in dir(getattr(asynchronous, kind.__name__)) if not name.startswith("_")}
    assert members - set(dir(kind)) == without


def test_the_options_are_those_of_the_asynchronous_socket() -> None:
    parameters = inspect.signature(asynchronous.Socket).parameters.values()
    assert list(SocketOptions.__annotations__) == [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]


def test_what_is_awaited_elsewhere_blocks_here(demo: LiveDemo) -> None:
    with client(demo) as socket:
        assert socket.state == "open"
        room = socket.channel("room:sync")
        assert room.join() == {}
        assert room.push("echo", {"body": "hé"}).reply() == {"body": "hé"}
        assert room.push("blob", b"\x00\xff").reply() == b"\x00\xff"
        assert room.leave() == {}
        assert room.state == "closed"
    assert (socket.state, socket.is_open) == ("closed", False)


def test_messages_are_iterated_until_none_comes_in_time(demo: LiveDemo) -> None:
    with client(demo, "ann") as first, client(demo, "ben") as second:
        ann, ben = first.channel("room:sync-chat"), second.channel("room:sync-chat")
        ann.join()
        ben.join()
        ben.push("new_msg", {"body": "one"}).reply()
        ben.push("new_msg", {"body": "two"}).reply()
        said = [message.payload["body"] for message in ann.messages(timeout=0.2) if message.event == "new_msg"]
        assert said == ["one", "two"]
        with pytest.raises(TimeoutError):
            ann.recv(timeout=0)
        for message in ben:
            if message.payload == {"user": "ben", "body": "two"}:
                break


def test_errors_are_raised(demo: LiveDemo) -> None:
    with client(demo) as socket:
        with pytest.raises(JoinError, match="unauthorized"):
            socket.channel("room:vip").join()
        room = socket.channel("room:sync")
        with pytest.raises(NotJoinedError):
            room.push("echo")
        room.join()
        with pytest.raises(AlreadyJoinedError):
            room.join()
        with pytest.raises(ReplyError, match="failed on purpose"):
            room.push("fail").reply()
        with pytest.raises(ReplyTimeoutError):
            room.push("typing", timeout=0.05).reply()
        with pytest.raises(TypeError):
            room.push("echo", {"x": object()})
    with pytest.raises(ClosedError, match="the socket is closed"):
        room.push("echo")
    with pytest.raises(ConnectError):
        connect("ws://127.0.0.1:1/socket")
    with pytest.raises(ValueError, match="vsn"):
        connect("ws://127.0.0.1:1/socket", vsn="9")


def test_callbacks_are_called_in_order_in_a_thread_where_they_may_block(demo: LiveDemo) -> None:
    answers: SimpleQueue[tuple[str, Any]] = SimpleQueue()

    with client(demo) as socket:
        room = socket.channel("room:sync-callbacks")
        room.join()

        def answer(payload: Any) -> None:
            answers.put((threading.current_thread().name, room.push("echo", payload).reply()))

        room.on("new_msg", answer)
        for number in range(3):
            room.push("new_msg", {"body": number})
        got = [answers.get(timeout=WAIT) for _ in range(3)]
        ref = room.on("new_msg", lambda _: answers.put(("again", None)))
        room.off("new_msg")
        room.off("new_msg", ref)
        room.push("new_msg", {"body": 4}).reply()
        room.push("echo", {}).receive("ok", lambda response: answers.put(("receive", response)))
        assert answers.get(timeout=WAIT) == ("receive", {})
    assert got == [("phoenix callbacks", {"user": "ann", "body": number}) for number in range(3)]


def test_a_callback_that_fails_is_logged(demo: LiveDemo, caplog: pytest.LogCaptureFixture) -> None:
    def fails(payload: Any) -> None:
        raise RuntimeError("on purpose")

    with caplog.at_level(logging.ERROR, "ashtree.client"), client(demo) as socket:
        room = socket.channel("room:sync-fails")
        room.on("new_msg", fails)
        room.join()
        room.push("new_msg", {"body": ""}).reply()
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["on purpose"]


class Called:
    async def __call__(self, payload: Any) -> None:
        """Do nothing."""


async def coroutine_function(*_args: Any) -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    "callback",
    [coroutine_function, functools.partial(coroutine_function, 1), Called()],
    ids=["function", "partial", "object"],
)
def test_a_coroutine_function_is_no_callback(demo: LiveDemo, callback: Callable[..., object]) -> None:
    told = r"not awaited, got the coroutine function .*; write `def` instead of `async def`, or use transport\.client, which"
    with client(demo) as socket:
        room = socket.channel("room:sync-coroutine")
        presence = Presence(room)
        actions: list[Callable[..., Any]] = [
            room.on_error,
            room.on_close,
            socket.on_open,
            socket.on_close,
            socket.on_error,
            socket.on_message,
        ]
        actions += [functools.partial(room.on, "new_msg"), presence.on_join, presence.on_leave, presence.on_sync]
        room.join()
        actions += [functools.partial(room.push("echo").receive, "ok")]
        for action in actions:
            with pytest.raises(TypeError, match=told):
                action(callback)


def test_a_callback_that_returns_a_coroutine_is_told_that_nobody_awaits_it(
    demo: LiveDemo, caplog: pytest.LogCaptureFixture
) -> None:
    with client(demo) as socket:
        room = socket.channel("room:sync-lambda")
        room.on("new_msg", lambda payload: coroutine_function(1, payload))
        room.join()
        room.push("new_msg", {"body": ""}).reply()
    [error] = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert isinstance(error, TypeError)
    assert "this one returned <coroutine object coroutine_function" in str(error)


def test_a_callback_may_close_the_socket(demo: LiveDemo) -> None:
    closed = threading.Event()
    socket = client(demo)

    def close(payload: Any) -> None:
        socket.close()
        closed.set()

    room = socket.channel("room:sync-close")
    room.on("new_msg", close)
    room.join()
    room.push("new_msg", {"body": ""})
    assert closed.wait(WAIT)
    assert socket.state == "closed"
    socket.close()
    # Its own thread ends when the callback has returned.
    for thread in threading.enumerate():
        if thread.name.startswith("phoenix"):
            thread.join(WAIT)


def test_a_lost_connection_comes_back_with_params_that_may_block(demo: LiveDemo) -> None:
    threads: list[str] = []
    states: SimpleQueue[tuple[Any, ...]] = SimpleQueue()

    def params() -> dict[str, str]:
        threads.append(threading.current_thread().name)
        return {"user": f"sync-{len(threads)}"}

    with connect(f"{demo.websocket_address}/socket", params=params) as socket:
        socket.on_close(lambda code, reason: states.put(("close", code)))
        socket.on_open(lambda: states.put(("open",)))
        room = socket.channel("room:sync-crash", lambda: {"joined": len(threads)})
        room.join()
        assert room.push("whoami").reply()["user"] == "sync-1"
        room.push("crash_transport")
        assert [states.get(timeout=WAIT) for _ in range(2)] == [("close", 1006), ("open",)]
        assert room.push("whoami").reply()["user"] == "sync-2"
    assert not {name for name in threads if name.startswith(("phoenix", "MainThread"))}


def test_every_callback_is_called_until_it_is_taken_back(demo: LiveDemo) -> None:
    told: SimpleQueue[Any] = SimpleQueue()
    with client(demo, rejoin_after=lambda _: 0.01) as socket:
        messages = socket.on_message(lambda message: told.put(message.event))
        room = socket.channel("room:sync-told", max_queue=1)
        room.on_error(told.put)
        room.on_close(told.put)
        errors = socket.on_error(told.put)
        room.join()
        assert told.get(timeout=WAIT) == "phx_reply"
        socket.off(messages)
        socket.off(errors)
        room.push("crash")
        while (last := told.get(timeout=WAIT)) != {"reason": "channel_crash"}:
            assert last in {"phx_reply", "presence_diff", "presence_state"}
        assert room.push("echo", {"back": True}).reply() == {"back": True}
        room.leave()
        assert told.get(timeout=WAIT) == "leave"
        assert (room.topic, room.dropped > 0) == ("room:sync-told", True)
        assert (repr(socket), repr(room)) == (
            f"<Socket {demo.websocket_address}/socket/websocket open>",
            f"<Channel {room.topic} closed>",
        )
    assert told.empty()


def test_the_presence_list_can_be_asked_for_anywhere(demo: LiveDemo) -> None:
    changes: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
    with client(demo, "ann") as first:
        ann = first.channel("room:sync-presence")
        presence = Presence(ann)
        presence.on_join(lambda key, current, new: changes.put(("joins", key)))
        presence.on_leave(lambda key, current, left: changes.put(("leaves", key)))
        synced = threading.Event()
        presence.on_sync(synced.set)
        ann.join()
        assert changes.get(timeout=WAIT) == ("joins", "ann")
        with client(demo, "ben") as second:
            second.channel("room:sync-presence").join()
            while changes.get(timeout=WAIT) != ("joins", "ben"):
                pass
            assert sorted(presence.state) == ["ann", "ben"]
        while changes.get(timeout=WAIT) != ("leaves", "ben"):
            pass
        assert synced.wait(WAIT)
        assert presence.list(lambda key, entry: key) == ["ann"]


def test_any_thread_may_close_it_while_others_use_it(demo: LiveDemo) -> None:
    ends: SimpleQueue[type[BaseException] | None] = SimpleQueue()

    def until_the_end(action: Callable[[], object]) -> None:
        try:
            while True:
                action()
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is to be seen
            ends.put(type(error))

    def close(socket: Socket) -> None:
        socket.close()
        ends.put(None)

    for _ in range(20):
        socket = client(demo)
        room = socket.channel("room:sync-race")
        room.join()
        threads = [threading.Thread(target=until_the_end, args=(room.recv,))]
        threads += [threading.Thread(target=until_the_end, args=(lambda room=room: room.push("echo").reply(),))]
        threads += [threading.Thread(target=close, args=(socket,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        told = [ends.get(timeout=WAIT) for _ in threads]
        assert told.count(None) == 3
        assert told.count(ClosedError) == 2
        for thread in threads:
            thread.join(WAIT)


def test_params_that_block_for_ever_hold_up_nobody_for_longer_than_the_time_out() -> None:
    never = threading.Event()
    with pytest.raises(ConnectError, match=r"no connection within 0\.05 s"):
        connect("ws://127.0.0.1:1/socket", params=lambda: never.wait(WAIT), timeout=0.05)
    assert not never.is_set()
    blocked = [thread for thread in threading.enumerate() if thread.name == "client params"]
    assert len(blocked) == 1
    never.set()
    blocked[0].join(WAIT)


def test_params_may_be_a_coroutine_function(demo: LiveDemo) -> None:
    async def params() -> dict[str, str]:
        return {"user": "ann"}

    with connect(f"{demo.websocket_address}/socket", params=params) as socket:
        assert socket.channel("room:sync", params).join() == {}


def test_a_socket_that_is_open_is_not_opened_again_and_one_that_was_closed_is(demo: LiveDemo) -> None:
    with client(demo) as socket:
        with pytest.raises(RuntimeError, match="open already"):
            socket.open()
        assert socket.channel("room:sync").join() == {}
    socket.open()
    answers: SimpleQueue[Any] = SimpleQueue()
    with socket:
        room = socket.channel("room:sync")
        room.join()
        room.push("echo", {"n": 1}).receive("ok", answers.put)
        assert answers.get(timeout=WAIT) == {"n": 1}


def test_it_does_not_block_an_event_loop(demo: LiveDemo) -> None:
    async def main() -> None:
        with pytest.raises(
            BlockingCallError, match="the client for threads would block the event loop that it is called on"
        ):
            client(demo)
        with pytest.raises(BlockingCallError, match=r"write `await` with transport\.client\.Socket"):
            room.join()

    with client(demo) as socket:
        room = socket.channel("room:lobby")
        asyncio.run(main())
