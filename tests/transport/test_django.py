"""Django's database and sessions, without a server: the examples run with one (tests/test_examples.py)."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from actors import Channel, Reply, ok
from tests.transport.wire import on_loop
from transport import ConnectInfo, Socket
from transport.django import database_sync_to_async, user_of
from transport.testing import ChannelTest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("django")


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Configure Django, which can be done once in a process, with the tables of its users and sessions."""
    import django  # noqa: PLC0415  # there or not
    from django.conf import settings  # noqa: PLC0415  # as above
    from django.core.management import call_command  # noqa: PLC0415  # as above

    file: Path = tmp_path_factory.mktemp("django") / "test.sqlite3"
    settings.configure(
        SECRET_KEY="a secret of this test",  # noqa: S106  # it is none
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": file}},
    )
    django.setup()
    call_command("migrate", verbosity=0)


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The threads in which stale connections were looked for."""
    threads = list[str]()
    monkeypatch.setattr("django.db.close_old_connections", lambda: threads.append(threading.current_thread().name))
    return threads


@pytest.fixture
def cookie() -> Iterator[str]:
    """Log a user in, and return the cookie of the session."""
    from django.contrib.auth import get_user_model, login  # noqa: PLC0415  # as above
    from django.contrib.sessions.backends.db import SessionStore  # noqa: PLC0415  # as above
    from django.http import HttpRequest  # noqa: PLC0415  # as above

    user = get_user_model().objects.create_user("ann", password="secret")  # noqa: S106  # it is none
    request = HttpRequest()
    request.session = SessionStore()
    login(request, user)
    request.session.save()
    yield f"theme=dark; sessionid={request.session.session_key}"
    user.delete()


def info(cookie: str | None = None) -> ConnectInfo:
    return ConnectInfo(None, "/socket", {} if cookie is None else {"cookie": cookie})


# Threads


@on_loop
async def test_a_function_runs_in_a_thread_and_looks_for_stale_connections_before_and_after(closed: list[str]) -> None:
    threads = list[str]()

    @database_sync_to_async
    def work(number: int, *, more: int) -> int:
        threads.append(threading.current_thread().name)
        assert len(closed) == 1
        return number + more

    assert work.__name__ == "work"
    assert await work(1, more=2) == 3
    assert closed == threads * 2
    assert threads[0] != threading.current_thread().name


@on_loop
async def test_an_error_is_raised_and_connections_are_looked_at_all_the_same(closed: list[str]) -> None:
    @database_sync_to_async
    def fail() -> None:
        raise LookupError("on purpose")

    with pytest.raises(LookupError):
        await fail()
    assert len(closed) == 2


@on_loop
async def test_functions_run_one_at_a_time_in_one_thread_unless_they_say_that_they_need_not() -> None:
    meeting = threading.Barrier(2)

    @database_sync_to_async
    def alone() -> int:
        return threading.get_ident()

    @database_sync_to_async(thread_sensitive=False)
    def together() -> int:
        meeting.wait(10)
        return threading.get_ident()

    assert len(set(await asyncio.gather(alone(), alone(), alone()))) == 1
    assert len(set(await asyncio.gather(together(), together()))) == 2


class RoomChannel(Channel):
    @database_sync_to_async
    def join(self, topic: str, payload: Any) -> Reply:
        return ok({"users": users()})

    @database_sync_to_async
    def handle_in(self, event: str, payload: Any) -> Reply | None:
        match event:
            case "later":
                self.reply(self.socket_ref(), ok({"users": users()}))
                return None
            case "push":
                self.push("one", {})
                self.broadcast("two", {})
                self.send(self, "three")
                return ok({"users": users()})
        return super().handle_in(event, payload)

    @database_sync_to_async
    def handle_info(self, message: str) -> None:
        self.push(message, {"users": users()})


class UserSocket(Socket):
    channels = {"room:*": RoomChannel}  # noqa: RUF012  # as an author writes it

    @database_sync_to_async
    def connect(self, params: Any, connect_info: ConnectInfo) -> Reply:
        self.assigns["users"] = users()
        return ok()


def users() -> int:
    from django.contrib.auth import get_user_model  # noqa: PLC0415  # as above

    count: int = get_user_model().objects.count()
    return count


def test_callbacks_use_the_database_and_all_that_a_channel_calls(cookie: str) -> None:
    with ChannelTest(UserSocket) as test:
        room = test.join("room:1")
        assert room.reply == ok({"users": 1})
        room.push("later", {}).assert_reply("ok", {"users": 1})
        pushed = room.push("push", {})
        room.assert_push("one", {})
        room.assert_push("two", {})
        pushed.assert_reply("ok", {"users": 1})
        room.assert_push("three", {"users": 1})


# Users


@on_loop
async def test_the_user_is_that_of_the_sessions_cookie(cookie: str) -> None:
    assert (await database_sync_to_async(user_of)(info(cookie))).get_username() == "ann"


@pytest.mark.parametrize("stolen", [None, "", "sessionid=", "sessionid=stolen", "other=1", "\xff;;="])
@on_loop
async def test_without_a_session_the_user_is_anonymous(stolen: str | None) -> None:
    assert (await database_sync_to_async(user_of)(info(stolen))).is_anonymous


@on_loop
async def test_a_session_from_before_a_change_of_the_password_is_none_and_stays_as_it_is(cookie: str) -> None:
    from django.contrib.auth import get_user_model  # noqa: PLC0415  # as above
    from django.contrib.sessions.models import Session  # noqa: PLC0415  # as above

    def change() -> None:
        user = get_user_model().objects.get(username="ann")
        user.set_password("another")
        user.save()

    await database_sync_to_async(change)()
    assert (await database_sync_to_async(user_of)(info(cookie))).is_anonymous
    key = cookie.rpartition("=")[2]
    assert await database_sync_to_async(Session.objects.filter(session_key=key).exists)()
