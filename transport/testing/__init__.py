"""The test kit: channels without a network, on virtual time; and endpoints on a free port, for real clients."""

from transport.testing.adapter_contract import AdapterContract
from transport.testing.async_channel_test import (
    AsyncChannelTest,
    AsyncJoinedChannel,
    AsyncPushed,
    AsyncTestClient,
    AsyncVirtualClock,
)
from transport.testing.channel_test import (
    ChannelTest,
    JoinedChannel,
    Pushed,
    TestClient,
    VirtualClock,
    remaining,
    state,
)
from transport.testing.crashes import ExpectedCrash
from transport.testing.exceptions import ConnectRefusedError, JoinRefusedError, LeftBehindError, UnexpectedCrashError
from transport.testing.live_endpoint import LiveEndpoint
from transport.testing.patterns import ANY, Capture
from transport.testing.serializers import NoopSerializer

__all__ = [
    "ANY",
    "AdapterContract",
    "AsyncChannelTest",
    "AsyncJoinedChannel",
    "AsyncPushed",
    "AsyncTestClient",
    "AsyncVirtualClock",
    "Capture",
    "ChannelTest",
    "ConnectRefusedError",
    "ExpectedCrash",
    "JoinRefusedError",
    "JoinedChannel",
    "LeftBehindError",
    "LiveEndpoint",
    "NoopSerializer",
    "Pushed",
    "TestClient",
    "UnexpectedCrashError",
    "VirtualClock",
    "remaining",
    "state",
]
