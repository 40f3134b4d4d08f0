"""Defaults that contain each other: the limit of a part is within the limit of the whole."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from actors.channel import Channel
from actors.ref import ASK_TIMEOUT
from supervisors.child_spec import ChildSpec
from supervisors.system import System
from supervisors.watchdog import Watchdog
from tests.supervisors.workers import Worker
from transport.carriers.idle_connections import IDLE_TIMEOUT
from transport.client.client_socket import Socket
from transport.endpoint import Endpoint
from transport.http.listener import Listener
from transport.limits import Limits
from transport.transport import Transport


def default(function: Callable[..., object], parameter: str) -> Any:
    return inspect.signature(function).parameters[parameter].default


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
    assert 2 * default(Socket, "heartbeat_interval") <= IDLE_TIMEOUT


def test_a_client_waits_as_long_as_a_server_may_take_to_answer() -> None:
    assert max(Channel.join_timeout, Limits().connect_timeout) <= default(Socket, "timeout")


def test_the_watchdog_looks_more_often_than_it_reports() -> None:
    watchdog = Watchdog()
    assert watchdog.stuck is not None
    # A report is up to two inspections late.
    assert 2 * watchdog.every < watchdog.stuck


def test_an_actor_that_ends_in_time_is_not_reported_as_stuck() -> None:
    watchdog, spec = Watchdog(), ChildSpec(Worker)
    assert watchdog.stuck is not None
    assert isinstance(spec.shutdown, float)
    assert spec.shutdown < watchdog.stuck


def test_what_one_request_may_have_is_within_what_a_connection_may() -> None:
    limits = Limits()
    assert limits.request_line < limits.head_size
    assert limits.topic_length < default(Endpoint, "max_frame_size")
    assert limits.joins is not None
    assert limits.joins.per_second <= limits.joins.burst <= limits.waiting_messages
