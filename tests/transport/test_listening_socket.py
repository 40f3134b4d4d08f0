"""Listening sockets: opened on all addresses of a host, an error in one line when they are taken, and closed without a loss."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from actors.testing import WAIT
from transport.http.listening_socket import ListeningSocket, bind


@pytest.fixture
def taken() -> Iterator[int]:
    """Return a port that another program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def close(opened: Sequence[ListeningSocket]) -> None:
    for each in opened:
        each.close()


def test_a_free_port_is_the_same_for_all_addresses_of_a_host() -> None:
    opened = bind("localhost", 0)
    ports = {each.address[1] for each in opened}
    assert len(ports) == 1
    assert 0 not in ports
    close(opened)


def addresses(*of: tuple[socket.AddressFamily, str]) -> Any:
    """Return a `getaddrinfo` for a name with these addresses."""
    return lambda _host, port, **_: [(family, socket.SOCK_STREAM, 6, "", (host, port)) for family, host in of]


@pytest.mark.parametrize("missing", [(socket.AF_INET, "192.0.2.1"), (socket.AF_APPLETALK, "127.0.0.1")], ids=repr)
def test_of_a_name_the_addresses_are_taken_that_this_machine_has(
    missing: tuple[socket.AddressFamily, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", addresses(missing, (socket.AF_INET, "127.0.0.1"), missing))
    [opened] = bind("localhost", 0)
    assert opened.address[0] == "127.0.0.1"
    close([opened])
    monkeypatch.setattr(socket, "getaddrinfo", addresses(missing, missing))
    with pytest.raises(OSError, match="cannot listen on localhost:0: "):
        bind("localhost", 0)


def test_a_name_with_an_address_that_is_taken_is_an_error(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    both = addresses((socket.AF_INET, "127.0.0.2"), (socket.AF_INET, "127.0.0.1"))
    monkeypatch.setattr(socket, "getaddrinfo", both)
    with pytest.raises(OSError, match="Address already in use"):
        bind("localhost", taken)


def test_an_ipv6_address_has_brackets_in_an_error() -> None:
    with pytest.raises(OSError, match=r"cannot listen on \[2001:db8::1\]:0: "):
        bind("2001:db8::1", 0)


def test_an_opened_port_takes_connections() -> None:
    [opened] = bind("127.0.0.1", 0)
    with socket.create_connection(opened.address, timeout=WAIT):
        close([opened])


def test_a_port_that_is_taken_is_an_error_with_the_address(taken: int) -> None:
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{taken}: Address already in use") as failed:
        bind("127.0.0.1", taken)
    assert failed.value.errno == errno.EADDRINUSE


def test_an_address_that_is_not_ours_is_an_error_with_the_address() -> None:
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:0: "):
        bind("192.0.2.1", 0)


def test_a_port_can_be_opened_again_at_once_though_somebody_has_a_copy_of_its_socket() -> None:
    [opened] = bind("127.0.0.1", 0)
    port = opened.address[1]
    with opened.duplicate():
        opened.close()
        [again] = bind("127.0.0.1", port)
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT):
            again.close()


def test_what_was_closed_can_be_closed_again() -> None:
    [opened] = bind("127.0.0.1", 0)
    opened.close()
    opened.close()


# The end


def test_clients_that_connect_while_a_socket_is_about_to_close_reach_another_one_of_the_port() -> None:
    [old] = bind("127.0.0.1", 0, reuse_port=True)
    [new] = bind("127.0.0.1", old.address[1], reuse_port=True)
    assert old.divert()
    clients = [socket.socket() for _ in range(40)]
    for client in clients:
        client.settimeout(0)
        client.connect_ex(old.address)
    # The kernel chooses the old one for about half of them; all of them have connected before this ends.
    old.close()
    with new.duplicate() as accepting:
        accepting.settimeout(WAIT)
        served = [accepting.accept()[0] for _ in clients]
    assert {each.getpeername() for each in served} == {client.getsockname() for client in clients}
    for each in (*clients, *served):
        each.close()
    new.close()


def test_a_socket_that_cannot_filter_is_closed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transport.http.listening_socket._ATTACH_FILTER", -1)
    [opened] = bind("127.0.0.1", 0)
    assert opened.divert()
    opened.close()


def test_a_url_shows_brackets_and_abstract_names() -> None:
    with socket.socket(socket.AF_INET6) as six, socket.socket(socket.AF_UNIX) as abstract:
        six.bind(("::1", 0))
        abstract.bind("\0shop")
        assert ListeningSocket(six).url == f"http://[::1]:{six.getsockname()[1]}"
        assert ListeningSocket(abstract).url == "unix:@shop"
