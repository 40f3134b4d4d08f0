"""Defaults that contain each other: the limit of a part is within the limit of the whole."""

from __future__ import annotations

import inspect

from actors.channel import Channel
from actors.ref import ASK_TIMEOUT
from supervisors.child_spec import ChildSpec
from supervisors.system import System
from tests.supervisors.workers import Worker
from transport.carriers.idle_connections import IDLE_TIMEOUT
from transport.client.client_socket import Socket
from transport.http.listener import Listener
from transport.transport import Transport


def test_the_shutdown_times_of_the_parts_are_within_that_of_the_whole() -> None:
    assert Channel.shutdown <= Transport.shutdown
    spec = ChildSpec(Worker)
    assert isinstance(spec.shutdown, float)
    assert Listener.shutdown + Transport.shutdown + spec.shutdown < System().shutdown_timeout


def test_a_call_that_waits_for_the_end_of_a_child_is_not_given_up_before() -> None:
    spec = ChildSpec(Worker)
    assert isinstance(spec.shutdown, float)
    assert spec.shutdown <= ASK_TIMEOUT


def test_a_client_sends_a_heartbeat_before_its_connection_counts_as_idle() -> None:
    assert 2 * inspect.signature(Socket).parameters["heartbeat_interval"].default <= IDLE_TIMEOUT
