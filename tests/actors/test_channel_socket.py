"""The socket as a channel sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.channels.channel_socket import ChannelSocket
from actors.pubsub import PubSub
from actors.redaction import SECRETS
from actors.testing import ManualRuntime, Probe
from transport import Endpoint
from transport.testing import NoopSerializer

if TYPE_CHECKING:
    from actors.channels.channel_socket import ChannelEndpoint


def test_what_is_kept_out_of_the_log_is_said_by_the_endpoint(runtime: ManualRuntime) -> None:
    endpoint: ChannelEndpoint = Endpoint({}, port=None, filter_parameters=["card"])
    socket = ChannelSocket(Probe().ref, NoopSerializer(), PubSub(), "room:1", "1", {}, endpoint=endpoint)
    assert tuple(socket.filter_parameters) == ("card",)


def test_without_an_endpoint_it_is_what_is_usual(runtime: ManualRuntime) -> None:
    socket = ChannelSocket(Probe().ref, NoopSerializer(), PubSub(), "room:1", "1", {})
    assert tuple(socket.filter_parameters) == SECRETS
