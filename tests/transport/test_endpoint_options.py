"""The options of an endpoint: a wrong one is an error that says what to write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from transport.carriers.longpoll import LongPoll
from transport.endpoint import Endpoint
from transport.exceptions import SocketError
from transport.observer.observer import Observer
from transport.socket import Socket


class UserSocket(Socket):
    pass


def page(_request: object) -> Any:
    raise NotImplementedError


@pytest.mark.parametrize("sockets", [[UserSocket], UserSocket, None, "/socket", [("/socket", UserSocket)]], ids=repr)
def test_sockets_are_given_by_their_paths(sockets: Any) -> None:
    with pytest.raises(SocketError, match=r'by their paths: Endpoint\(\{"/socket": UserSocket\}\), got '):
        Endpoint(sockets)


@pytest.mark.parametrize(
    "path", ["socket", "", "ws://localhost/socket", 5, UserSocket, "/socket?vsn=2", "/room:*"], ids=repr
)
def test_a_path_begins_with_a_slash(path: Any) -> None:
    with pytest.raises(SocketError, match=r'a path begins with "/".*Endpoint\(\{"/socket": UserSocket\}\), got '):
        Endpoint({path: UserSocket})
    with pytest.raises(SocketError, match=r'a path begins with "/".*routes=\{"/": index\}\), got '):
        Endpoint({}, routes={path: page})


@pytest.mark.parametrize(
    "options", [{"sockets": {"/a": UserSocket, "/a/": UserSocket}}, {"routes": {"/a/": page, "/a": page}}]
)
def test_two_paths_may_not_be_the_same(options: Mapping[str, Any]) -> None:
    with pytest.raises(SocketError, match=r"'/a/?' and '/a/?' are the same path"):
        Endpoint(**{"sockets": {}, **options})


@pytest.mark.parametrize("routes", [[page], page, "/"], ids=["list", "function", "text"])
def test_routes_are_given_by_their_paths(routes: Any) -> None:
    with pytest.raises(
        SocketError, match=r'routes are given by their paths: Endpoint\(…, routes=\{"/": index\}\), got '
    ):
        Endpoint({}, routes=routes)


def test_a_page_is_a_function() -> None:
    with pytest.raises(SocketError, match="the page at '/' must be a function, as it is called, got 'hello'"):
        Endpoint({}, routes={"/": "hello"})  # type: ignore[dict-item]


@pytest.mark.parametrize("port", ["4000", 4000.0, True, -1, 65536, b"4000"], ids=repr)
def test_a_port_is_a_number(port: Any) -> None:
    with pytest.raises(ValueError, match=r"port must be a whole number from 0 to 65535 or None, got "):
        Endpoint({}, port=port)


def test_a_port_of_the_environment_is_text() -> None:
    with pytest.raises(
        ValueError, match=r"""got '4000'; what os.environ has is text: write port=int\(os.environ\["PORT"\]\)"""
    ):
        Endpoint({}, port="4000")  # type: ignore[arg-type]


@pytest.mark.parametrize("port", [0, 1, 65535, None], ids=repr)
def test_a_port_may_be_any(port: int | None) -> None:
    assert Endpoint({}, port=port).port == port


@pytest.mark.parametrize("host", [None, 5, "localhost:4000", "http://localhost", "[::1]", "a/b"], ids=repr)
def test_a_host_is_nothing_more(host: Any) -> None:
    with pytest.raises(
        SocketError, match=r"host must be a name or an address without scheme, port and brackets.*, got "
    ):
        Endpoint({}, host=host)


@pytest.mark.parametrize("host", ["localhost", "10.0.0.1", "::", "::1", "chat.example.com"])
def test_a_host_may_be_any(host: str) -> None:
    assert Endpoint({}, host=host).host == host


@pytest.mark.parametrize("longpoll", [True, False, 10.0, LongPoll], ids=repr)
def test_long_polling_is_configured_or_none(longpoll: Any) -> None:
    with pytest.raises(
        SocketError, match=r"longpoll must be LongPoll\(…\), or None to disable it; it is on by default, got "
    ):
        Endpoint({}, longpoll=longpoll)


def test_serializers_are_given_by_their_versions() -> None:
    with pytest.raises(
        SocketError, match=r'serializers are given by the versions.*\{"2.0.0": MySerializer\(\)\}\), got \[1\]'
    ):
        Endpoint({}, serializers=[1])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["url", "observer_url"])
def test_without_a_port_the_address_is_that_of_another_server(name: str) -> None:
    endpoint = Endpoint({}, port=None, observer=Observer("0123456789abcdef"))
    with pytest.raises(
        RuntimeError, match=r"port=None.*that of the server which runs endpoint\.asgi\(\).*endpoint\.observer\.location"
    ):
        getattr(endpoint, name)
    assert endpoint.observer is not None
    assert endpoint.observer.location == "/observer#token=0123456789abcdef"
