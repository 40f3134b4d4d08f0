"""What connections report to telemetry and the log: Phoenix's events and lines, and some that Phoenix lacks.

Each function is called where the event happens. It costs a look-up or two if no handler is attached and the level is off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from actors import telemetry
from actors.channels.channel_events import level, took
from actors.log import Log
from actors.redaction import Shown, shown
from supervisors.default_log import LIFE

if TYPE_CHECKING:
    from actors.channels.message import Frame, Serializer
    from transport.endpoint_api import EndpointAPI
    from transport.socket import ConnectInfo, Socket

__all__ = [
    "BROADCAST_DROPPED",
    "CONNECTED",
    "DISCONNECTED",
    "DRAIN",
    "FRAME_IN",
    "FRAME_OUT",
    "LIMIT_REACHED",
    "REFUSED",
    "TOKEN_HANDLED",
    "Attempt",
    "broadcast_dropped",
    "frame_in",
    "frame_out",
    "limit_reached",
    "socket_connected",
    "socket_disconnected",
    "socket_drain",
    "socket_refused",
    "token_handled",
]

CONNECTED = ("phoenix", "socket_connected")
REFUSED = ("ashtree", "socket_refused")
DISCONNECTED = ("ashtree", "socket_disconnected")
DRAIN = ("phoenix", "socket_drain")
LIMIT_REACHED = ("ashtree", "limit_reached")
BROADCAST_DROPPED = ("ashtree", "broadcast_dropped")
TOKEN_HANDLED = ("ashtree", "token_handled")
FRAME_IN = ("ashtree", "frame_in")
FRAME_OUT = ("ashtree", "frame_out")

_log = Log("ashtree.transport")


class Attempt(msgspec.Struct, frozen=True, eq=False):
    """An attempt to connect; its fields are the event's metadata, besides `result` and `log`."""

    endpoint: EndpointAPI
    transport: str
    params: Mapping[str, Any]
    connect_info: ConnectInfo
    vsn: str
    user_socket: type[Socket]
    serializer: Serializer


def socket_connected(attempt: Attempt, *, accepted: bool, duration: float) -> None:
    """Report that `connect` accepted or refused a client after `duration` seconds."""
    socket_class = attempt.user_socket
    if CONNECTED in telemetry.attached:
        about = {name: getattr(attempt, name) for name in attempt.__struct_fields__}
        about |= {"result": "ok" if accepted else "error", "log": socket_class.log}
        telemetry.execute(CONNECTED, {"duration": duration}, about)
    number = level(socket_class.log, _log)
    if number is not None:
        verb = "CONNECTED TO" if accepted else "REFUSED CONNECTION TO"
        text = "%s %s in %s\n  Transport: %s\n  Serializer: %s\n  Parameters: %s"
        serializer, endpoint = type(attempt.serializer).__name__, attempt.endpoint
        params = Shown(shown(attempt.params, endpoint.filter_parameters, endpoint.log_line))
        _log.log(number, text, verb, socket_class.__name__, took(duration), attempt.transport, serializer, params)


def socket_refused(endpoint: EndpointAPI, transport: str, code: int) -> None:
    """Report that a client by "websocket" or "longpoll" was refused with an HTTP status; 500 if the author's code raised."""
    if REFUSED in telemetry.attached:
        telemetry.execute(REFUSED, {"count": 1}, {"endpoint": endpoint, "transport": transport, "code": int(code)})


def socket_disconnected(socket: Socket, code: int, duration: float) -> None:
    """Report that a connection has ended after `duration` seconds with a close code, 1006 if it was cut."""
    if DISCONNECTED in telemetry.attached:
        about = {"endpoint": socket.endpoint, "socket": socket, "code": code}
        telemetry.execute(DISCONNECTED, {"duration": duration}, about)


def token_handled(socket: Socket, *, accepted: bool) -> None:
    """Report that another token of a connected client was accepted or refused; the log has those that were refused."""
    if TOKEN_HANDLED in telemetry.attached:
        about = {"endpoint": socket.endpoint, "socket": socket, "result": "ok" if accepted else "error"}
        telemetry.execute(TOKEN_HANDLED, {"count": 1}, about)
    number = None if accepted else level(socket.log, _log)
    if number is not None:
        _log.log(number, "REFUSED TOKEN IN %s", type(socket).__name__)


def limit_reached(endpoint: EndpointAPI, limit: str) -> None:
    """Report that a limit of an endpoint was reached, by the name of its option."""
    if LIMIT_REACHED in telemetry.attached:
        telemetry.execute(LIMIT_REACHED, {"count": 1}, {"endpoint": endpoint, "limit": limit})


def broadcast_dropped(endpoint: EndpointAPI, size: int) -> None:
    """Report that a client that does not keep up misses a broadcast of `size` bytes, or gets a newer one in its place."""
    if BROADCAST_DROPPED in telemetry.attached:
        telemetry.execute(BROADCAST_DROPPED, {"count": 1, "bytes": size}, {"endpoint": endpoint})


def frame_in(socket: Socket, data: str | bytes) -> None:
    """Report a received frame; to be called if FRAME_IN is attached."""
    size = len(data.encode(errors="surrogatepass")) if isinstance(data, str) else len(data)
    telemetry.execute(FRAME_IN, {"bytes": size}, {"socket": socket})


def frame_out(socket: Socket, frame: Frame) -> None:
    """Report a frame that is about to be sent; to be called if FRAME_OUT is attached."""
    # Frames of the test kits are not encoded, and have no size.
    size = len(frame.data) if isinstance(frame.data, str | bytes) else 0
    telemetry.execute(FRAME_OUT, {"bytes": size}, {"socket": socket})


def socket_drain(  # noqa: PLR0917  # Phoenix's measurements, in its order
    endpoint: EndpointAPI, count: int, total: int, index: int, rounds: int, interval: float
) -> None:
    """Report that an endpoint that stops tells `count` of its `total` connections to end, in one of several rounds."""
    if DRAIN in telemetry.attached:
        numbers = {"count": count, "total": total, "index": index, "rounds": rounds}
        telemetry.execute(DRAIN, numbers, {"endpoint": endpoint, "interval": interval})
    if rounds == 1:
        LIFE.info("DRAINING %d connection(s)", count)
    else:
        text = "DRAINING %d of %d connection(s), one batch every %g s - round %d of %d"
        LIFE.info(text, count, total, interval, index, rounds)
