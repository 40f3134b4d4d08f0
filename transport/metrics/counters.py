"""Metrics that are counted as telemetry reports events: plain numbers, independent of Prometheus' library."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from actors import telemetry
from actors.channels.channel_events import JOINED
from actors.fork import free_after_fork
from actors.lowlevel import DEAD_LETTER, MAILBOX_LIMIT_REACHED
from actors.pubsub.pubsub import BROADCAST
from actors.ref import ActorRef
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.restart_events import RESTARTED
from transport.limits import Limits
from transport.socket_events import BROADCAST_DROPPED, CONNECTED, DISCONNECTED, LIMIT_REACHED, REFUSED

if TYPE_CHECKING:
    from actors.lowlevel import Process, Scheduler
    from actors.pubsub.pubsub import PubSub
    from transport.endpoint_api import EndpointAPI

__all__ = ["BUCKETS", "LIMITS", "Counters", "Histogram", "supervisor_name"]

BUCKETS = (
    0.00001,
    0.000025,
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
)
"""The upper bounds of the buckets of a fan-out, in seconds: from a handful of subscribers to a million."""

LIMITS = (
    *(field.name for field in fields(Limits) if field.name != "log_line"),
    "max_frame_size",
    "max_channels",
    "max_body",
    "outbox",
    "files",
)
"""The limits that are counted, by the names of their options; "files" is the process's limit of open files."""

# The registered close codes, and the thousands of those for libraries and for applications (RFC 6455, section 7.4.2).
_KNOWN_CODES = range(1000, 1016)
_OWN_CODES = (3, 4)

_Handler = Callable[[Mapping[str, float], Mapping[str, Any]], None]


class Histogram:
    """The number of durations in each bucket, the last of which has no upper bound, and their sum in seconds."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds


class Counters:
    """Counts of the events of one endpoint, and of the supervisors of its event loop; restarts of the endpoint keep them.

    The labels of the counts come from the program and not from its clients: classes, codes, names of supervisors. So there are
    few of them, however many topics and users there are.
    """

    def __init__(self, endpoint: EndpointAPI) -> None:
        self._endpoint = endpoint
        self._name = f"metrics of the endpoint {id(endpoint):#x}"
        self._pubsub: PubSub | None = None
        self._scheduler: Scheduler | None = None
        self.accepted = Counter(dict.fromkeys(endpoint.traffic, 0))
        self.refused: Counter[tuple[str, str]] = Counter()
        self.closed: Counter[str] = Counter()
        self.joins: Counter[tuple[str, str]] = Counter()
        self.restarts: Counter[str] = Counter()
        self.fan_out = Histogram()
        self.deliveries = 0
        # Those that there are on every endpoint are exported with 0, so that the first time is seen as a change.
        self.limits = Counter(dict.fromkeys(LIMITS, 0))
        self.dropped = self.dropped_bytes = 0
        # By the class of the actor, and the reason or what becomes of more; these events come from any thread.
        self.dead_letters: Counter[tuple[str, str]] = Counter()
        self.mailbox_limits: Counter[tuple[str, str]] = Counter()
        self._of_threads = free_after_fork(threading.Lock())
        self._handlers: dict[telemetry.Event, _Handler] = {
            CONNECTED: self._on_connected,
            REFUSED: self._on_refused,
            DISCONNECTED: self._on_disconnected,
            JOINED: self._on_joined,
            BROADCAST: self._on_broadcast,
            RESTARTED: self._on_restarted,
            LIMIT_REACHED: self._on_limit_reached,
            BROADCAST_DROPPED: self._on_broadcast_dropped,
            DEAD_LETTER: self._on_dead_letter,
            MAILBOX_LIMIT_REACHED: self._on_mailbox_limit_reached,
        }

    def attach(self, pubsub: PubSub, scheduler: Scheduler) -> None:
        """Count the events of this PubSub and this event loop from now on, and not those of others."""
        self.detach()
        self._pubsub, self._scheduler = pubsub, scheduler
        telemetry.attach(self._name, self._handlers, self._on_event)

    @property
    def pubsub(self) -> PubSub | None:
        """The PubSub whose broadcasts are counted."""
        return self._pubsub

    def detach(self) -> None:
        """Stop counting."""
        telemetry.detach(self._name)

    def _on_event(self, event: telemetry.Event, numbers: Mapping[str, float], about: Mapping[str, Any]) -> None:
        self._handlers[event](numbers, about)

    # Telemetry reports the events of all endpoints of the process, in any thread: only those of our endpoint are counted, in
    # its thread.

    def _on_connected(self, _numbers: Mapping[str, float], about: Mapping[str, Any]) -> None:
        if about["endpoint"] is self._endpoint and about["result"] == "ok":
            self.accepted[about["transport"]] += 1

    def _on_refused(self, _numbers: Mapping[str, float], about: Mapping[str, Any]) -> None:
        if about["endpoint"] is self._endpoint:
            self.refused[about["transport"], str(about["code"])] += 1

    def _on_disconnected(self, _numbers: Mapping[str, float], about: Mapping[str, Any]) -> None:
        if about["endpoint"] is self._endpoint:
            self.closed[_close_code(about["code"])] += 1

    def _on_joined(self, _numbers: Mapping[str, float], about: Mapping[str, Any]) -> None:
        if about["socket"].endpoint is self._endpoint:
            self.joins[about["channel"].actor_class.__name__, about["result"]] += 1

    def _on_broadcast(self, numbers: Mapping[str, float], about: Mapping[str, Any]) -> None:
        if about["pubsub"] is self._pubsub:
            self.deliveries += int(numbers["deliveries"])
            self.fan_out.observe(numbers["duration"])

    def _on_limit_reached(self, _numbers: Mapping[str, float], about: Mapping[str, Any]) -> None:
        if about["endpoint"] is self._endpoint:
            self.limits[about["limit"]] += 1

    def _on_broadcast_dropped(self, numbers: Mapping[str, float], about: Mapping[str, Any]) -> None:
        if about["endpoint"] is self._endpoint:
            self.dropped += 1
            self.dropped_bytes += int(numbers["bytes"])

    def _on_dead_letter(self, _numbers: Mapping[str, float], about: Mapping[str, Any]) -> None:
        to = about["to"]
        if not isinstance(to, ActorRef):
            self._count(self.dead_letters, "", about["reason"])
        elif to.process.scheduler is self._scheduler:
            self._count(self.dead_letters, to.actor_class.__name__, about["reason"])

    def _on_mailbox_limit_reached(self, _numbers: Mapping[str, float], about: Mapping[str, Any]) -> None:
        if about["actor"].process.scheduler is self._scheduler:
            self._count(self.mailbox_limits, about["actor"].actor_class.__name__, about["on_full"])

    def _count(self, counter: Counter[tuple[str, str]], of: str, label: str) -> None:
        with self._of_threads:
            counter[of, label] += 1

    def _on_restarted(self, _numbers: Mapping[str, float], about: Mapping[str, Any]) -> None:
        process = about["supervisor"].process
        if process.scheduler is self._scheduler:
            self.restarts[supervisor_name(process)] += 1


def _close_code(code: int) -> str:
    """Return the label of a close code: clients choose among thousands, and each would be another series."""
    if code in _KNOWN_CODES:
        return str(code)
    return f"{code // 1000}xxx" if code // 1000 in _OWN_CODES else "other"


def supervisor_name(process: Process) -> str:
    """Return the label of a supervisor: its name or id, or its class if it is under a DynamicSupervisor."""
    parent = process.parent
    if process.label is None or (parent is not None and issubclass(parent.actor_class, DynamicSupervisor)):
        return process.actor_class.__name__
    return process.label
