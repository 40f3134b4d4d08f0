"""Django's database in handlers and in `connect`, by Django's own rules for threads. Django is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

if TYPE_CHECKING:
    from transport.socket import ConnectInfo

__all__ = ["database_sync_to_async", "user_of"]

P = ParamSpec("P")
T = TypeVar("T")

Threaded = Callable[P, Coroutine[Any, Any, T]]


@overload
def database_sync_to_async(function: Callable[P, T]) -> Threaded[P, T]: ...


@overload
def database_sync_to_async(*, thread_sensitive: bool = True) -> Callable[[Callable[P, T]], Threaded[P, T]]: ...


def database_sync_to_async(
    function: Callable[P, T] | None = None, *, thread_sensitive: bool = True
) -> Threaded[P, T] | Callable[[Callable[P, T]], Threaded[P, T]]:
    """Make an `async` function of one that uses Django's database: it runs in a thread, and the event loop goes on.

        class RoomChannel(Channel):
            @database_sync_to_async
            def handle_in(self, event, payload): ...

    It decorates callbacks of actors, channels and sockets, and functions that these await. asgiref's `sync_to_async` calls it,
    by Django's rules: all such functions run one at a time in one thread, or with `thread_sensitive=False` several at once in
    the threads of the event loop. Connections to the database that are stale or broken are closed before and after, as around
    a request. `push`, `broadcast`, `reply`, `send` and timers may be used in it.
    """
    if function is None:
        return lambda decorated: _in_thread(decorated, thread_sensitive=thread_sensitive)
    return _in_thread(function, thread_sensitive=thread_sensitive)


def _in_thread(function: Callable[P, T], *, thread_sensitive: bool) -> Threaded[P, T]:
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        from django.db import close_old_connections  # noqa: PLC0415  # an option: there or not

        close_old_connections()
        try:
            return function(*args, **kwargs)
        finally:
            close_old_connections()

    @wraps(function)
    async def threaded(*args: P.args, **kwargs: P.kwargs) -> T:
        from asgiref.sync import sync_to_async  # noqa: PLC0415  # Django's

        return await sync_to_async(call, thread_sensitive=thread_sensitive)(*args, **kwargs)

    return threaded


class _DjangoSession(dict[str, Any]):
    """The data of a session, which only a response of Django could change."""

    def flush(self) -> None:
        """Forget a session that is not valid."""
        self.clear()

    def cycle_key(self) -> None:
        """Leave a session whose hash was made with an older SECRET_KEY to the next request, which can set its cookie."""


def user_of(connect_info: ConnectInfo) -> Any:
    """Return the user who is logged in by Django's session, an AnonymousUser without one. It reads the database.

    Call it in a `connect` that runs in a thread:

        @database_sync_to_async
        def connect(self, params, connect_info):
            user = user_of(connect_info)

    The session is that of the cookie. So keep `check_origin`, without which any page could use a visitor's session.
    """
    from django.conf import settings  # noqa: PLC0415  # an option: there or not
    from django.contrib.auth import get_user  # noqa: PLC0415  # as above
    from django.http import HttpRequest, parse_cookie  # noqa: PLC0415  # as above

    cookies = parse_cookie(connect_info.headers.get("cookie", ""))
    store = import_module(settings.SESSION_ENGINE).SessionStore(cookies.get(settings.SESSION_COOKIE_NAME))
    request = HttpRequest()
    request.session = _DjangoSession(store.items())
    return get_user(request)
