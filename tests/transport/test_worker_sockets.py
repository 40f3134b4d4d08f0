"""The listening sockets of an endpoint that several workers serve."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.live import WAIT
from transport import ListenError, TcpPort, UnixSocket
from transport.http.addresses import checked_listen
from transport.http.listening_socket import ListeningSocket, bind
from transport.http.worker_sockets import WorkerSockets

CLIENTS = 200


_open: list[ListeningSocket] = []


def opened(sockets: WorkerSockets, number: int) -> list[ListeningSocket]:
    """Return what a worker opens; the others' are left, for all are in this process."""
    found = [socket for place in sockets.places(number) for socket in place.open(reuse_port=False)]
    _open.extend(found)
    return found


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    while _open:
        _open.pop().close()


@pytest.fixture
def port() -> Iterator[WorkerSockets]:
    sockets = WorkerSockets([TcpPort("127.0.0.1", 0)], 2, reuse_port=False)
    yield sockets
    sockets.close()


def accepted(listening: socket.socket) -> int:
    """Return how many clients wait, and close them."""
    number = 0
    listening.settimeout(0)
    while True:
        try:
            listening.accept()[0].close()
        except BlockingIOError:
            return number
        number += 1


def test_each_worker_has_a_queue_of_its_own_of_one_port(port: WorkerSockets) -> None:
    (one,), (two,) = opened(port, 0), opened(port, 1)
    assert one.address == two.address
    with ExitStack() as stack:
        for _ in range(CLIENTS):
            stack.enter_context(socket.create_connection(one.address, timeout=WAIT))
        waiting = [accepted(stack.enter_context(each.duplicate())) for each in (one, two)]
    assert sum(waiting) == CLIENTS
    # That fewer come to one is less likely than 1 in 10 to the 15.
    assert min(waiting) > CLIENTS / 5


def test_what_waits_for_a_worker_that_ends_is_the_next_ones(port: WorkerSockets) -> None:
    (one,), (two,) = opened(port, 0), opened(port, 1)
    with ExitStack() as stack:
        for _ in range(CLIENTS):
            stack.enter_context(socket.create_connection(one.address, timeout=WAIT))
        one.close()
        (next_one,) = opened(port, 0)
        waiting = [accepted(stack.enter_context(each.duplicate())) for each in (next_one, two)]
    assert sum(waiting) == CLIENTS
    assert min(waiting) > 0


def test_the_port_is_taken_for_all_who_do_not_share_it(port: WorkerSockets) -> None:
    (one,) = opened(port, 0)
    taken = one.address[1]
    with pytest.raises(ListenError, match="Address already in use"):
        bind("127.0.0.1", taken)
    with pytest.raises(ListenError, match="Address already in use"):
        WorkerSockets([TcpPort("127.0.0.1", taken)], 2, reuse_port=False)


def test_a_port_that_is_taken_is_not_shared() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        for reuse_port in (False, True):
            with pytest.raises(ListenError, match="Address already in use"):
                WorkerSockets([TcpPort("127.0.0.1", other.getsockname()[1])], 2, reuse_port=reuse_port)


def test_if_one_address_is_taken_none_is_left_open(tmp_path: Path) -> None:
    path = tmp_path / "server.sock"
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(ListenError):
        WorkerSockets([UnixSocket(path), TcpPort("127.0.0.1", other.getsockname()[1])], 2, reuse_port=False)
    assert not path.exists()


def test_programs_that_share_a_port_have_workers_side_by_side() -> None:
    old = WorkerSockets([TcpPort("127.0.0.1", 0)], 2, reuse_port=True)
    taken = opened(old, 0)[0].address[1]
    new = WorkerSockets([TcpPort("127.0.0.1", taken)], 2, reuse_port=True)
    assert opened(new, 1)[0].address[1] == taken
    old.close()
    socket.create_connection(("127.0.0.1", taken), timeout=WAIT).close()
    new.close()


def test_a_unix_socket_has_one_queue_for_all_and_its_file_goes_with_the_parent(tmp_path: Path) -> None:
    path = tmp_path / "server.sock"
    sockets = WorkerSockets([UnixSocket(path)], 2, reuse_port=False)
    (one,), (two,) = opened(sockets, 0), opened(sockets, 1)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        one.close()
        with two.duplicate() as listening:
            assert accepted(listening) == 1
        # Each takes one at a time, so that the other gets some too.
        assert two.at_once == 1
    assert path.exists()
    sockets.close()
    assert not path.exists()


def test_a_socket_that_was_handed_in_stays_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as handed_in:
        sockets = WorkerSockets(checked_listen(handed_in), 2, reuse_port=False)
        assert opened(sockets, 1)[0].address == handed_in.getsockname()
        sockets.close()
        socket.create_connection(handed_in.getsockname(), timeout=WAIT).close()


def test_the_queue_of_a_worker_that_is_not_there_is_closed_and_the_others_go_on(port: WorkerSockets) -> None:
    (two,) = opened(port, 1)
    with ExitStack() as stack:
        port.abandon(0)
        for _ in range(CLIENTS):
            stack.enter_context(socket.create_connection(two.address, timeout=WAIT))
        assert accepted(stack.enter_context(two.duplicate())) == CLIENTS


def test_a_queue_that_all_have_stays_when_one_worker_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "server.sock"
    sockets = WorkerSockets([UnixSocket(path)], 2, reuse_port=False)
    sockets.abandon(0)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    sockets.close()
