"""The supervisor of the channels of one connection, and how they end with it.

Theory of operation.

What a client has sent and we have received is handled, whatever ends its connection. So a channel learns of the end of its
transport by a message, `TransportEnded`, behind what is in its mailbox: it finishes its handler, handles the messages before
that one, and ends. In Phoenix that message is the `DOWN` of a monitor.

The transport actor sends `EndConnection` here and ends after this supervisor, which ends with its last channel. If the
transport actor ends at once, as when it is killed, its supervisor adopts this one. In both cases the tree shows the channels
until they have ended. If no channel has anything left to do, all end at once, as children end with their parent: that costs
less.

A channel that has not finished a message for `shutdown` seconds is stopped as a supervisor stops a child: an exit signal
cancels its handler, `terminate` runs, and after as many seconds again it is killed. When the server stops, it has that time for
all of its messages together.
"""

from __future__ import annotations

from functools import lru_cache
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, cast

import msgspec

from actors.channels.message import TransportEnded
from actors.exits import NORMAL, SHUTDOWN, ExitReason, Stop
from supervisors.child_spec import BRUTAL_KILL, INFINITY, BrutalKill
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.supervision import supervised_by
from transport.carriers.carrier import EndConnection

if TYPE_CHECKING:
    from actors.channel import Channel
    from actors.lowlevel import Behaviour, Process
    from actors.ref import ActorRef
    from supervisors.child import Child

__all__ = ["ChannelSupervisor", "can_end_at_once"]


class _TimeIsUp(msgspec.Struct, frozen=True, eq=False):
    """Some channels have had `seconds`; they had handled so many messages before."""

    seconds: float
    handled: dict[ActorRef[Any], int]


class ChannelSupervisor(DynamicSupervisor):
    """Supervises the channels of one connection; after an `EndConnection` it ends with the last of them."""

    _no_dead_letters = (object,)

    def __init__(self) -> None:
        super().__init__()
        # Why the connection has ended.
        self._ended: ExitReason | None = None

    def on_receive(self, message: Any) -> Any:
        """Handle the end of the connection, besides what every supervisor handles."""
        if type(message) is EndConnection:
            return self._on_end_of_connection(message.reason)
        if type(message) is _TimeIsUp:
            return self._on_time_is_up(message)
        return super().on_receive(message)

    def _on_end_of_connection(self, reason: ExitReason) -> Stop | None:
        before, self._ended = self._ended, reason
        if before is None:
            self._end_channels(reason)
        return self._end_with_the_last()

    def _end_channels(self, reason: ExitReason) -> None:
        """Let each channel end behind what is in its mailbox, and give it time for that."""
        times: set[float | BrutalKill] = set()
        for child in self._children:
            assert child.ref is not None
            if child.spec.shutdown is BRUTAL_KILL:
                child.ref.kill()
                continue
            child.ref.process.put(TransportEnded(reason))
            times.add(child.spec.shutdown)
        for seconds in times:
            if not isinstance(seconds, BrutalKill) and seconds != INFINITY:
                self._give_time(seconds)

    def _give_time(self, seconds: float) -> None:
        given = [child.ref for child in self._children if child.spec.shutdown == seconds]
        self.send_after(seconds, _TimeIsUp(seconds, {ref: ref.process.handled for ref in given if ref is not None}))

    def _on_time_is_up(self, up: _TimeIsUp) -> object:
        """Stop the channels that have not finished a message meanwhile; the others go on, unless the server stops."""
        going_on: list[Child] = []
        stuck: list[Child] = []
        for ref, handled in up.handled.items():
            child = self._by_ref.get(ref)
            if child is not None:
                is_stuck = self._ended == SHUTDOWN or ref.process.handled == handled
                (stuck if is_stuck else going_on).append(child)
        if going_on:
            self._give_time(up.seconds)
        return self._stop_stuck(stuck) if stuck else None

    async def _stop_stuck(self, stuck: list[Child]) -> Stop | None:
        assert self._ended is not None
        await self._stop_children(stuck, TransportEnded(self._ended).exit_reason)
        return self._end_with_the_last()

    async def _terminate_child(self, child: Child, reason: ExitReason) -> Stop | None:
        await super()._terminate_child(child, reason)
        return self._end_with_the_last()

    def _on_end(self, child: Child) -> Stop | None:
        super()._on_end(child)
        return self._end_with_the_last()

    def _end_with_the_last(self) -> Stop | None:
        return Stop(NORMAL) if self._ended is not None and not self._by_ref else None


def can_end_at_once(supervisor: Process) -> bool:
    """Return whether the channels of a connection have nothing left to do, as nearly always: an exit signal loses nothing."""
    actor = supervisor.actor
    if not isinstance(actor, ChannelSupervisor) or supervisor.ending is not None:
        return True  # it is dead, or ends by itself
    children = supervised_by(actor)
    return not supervisor.scheduled and not any(child.ref and _takes_time(child.ref.process) for child in children)


def _takes_time(channel: Process) -> bool:
    """Return whether a channel may not have ended in its next turn."""
    return channel.scheduled or channel.debug is not None or _ends_later(channel.actor_class)


@lru_cache(maxsize=1024)
def _ends_later(kind: type[Behaviour]) -> bool:
    return iscoroutinefunction(cast("type[Channel]", kind).terminate)
