"""One encoded form of a broadcast, and the clients that get it in this form: written at once, or slice by slice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Raw

from actors.channels.encoding import ENCODING_ERRORS, decoded, payload_of, unencodable_by
from actors.channels.fastlane import OWED
from actors.history.backlog import broadcast_of, frame_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from actors.channels.fastlane import Fastlane, Outlet
    from actors.channels.message import Broadcast, Frame, Serializer
    from actors.history.history_store import Recording

__all__ = ["Share", "encode_shares"]

_LONG = 512
"""Bytes of a payload from which on it is faster to copy its JSON text than to encode it again."""


class Share:
    """A frame, and the fastlanes of the clients that get it.

    With an `outlet`, what it makes of the frame is written past the carriers. `size` is in bytes.
    """

    __slots__ = ("_data", "_outlet", "frame", "lanes", "size")

    def __init__(self, frame: Frame, lanes: Sequence[Fastlane], outlet: Outlet | None = None) -> None:
        self.frame, self.lanes, self._outlet = frame, lanes, outlet
        if outlet is None:
            self._data, data = b"", frame.data
            # Frames of the test kits are not encoded, and have no size.
            self.size = len(data) if isinstance(data, bytes | str) else 0
        else:
            self._data = outlet.wire(frame)
            self.size = len(self._data)

    # At once

    def write(self, without: Fastlane | None) -> None:
        """Write to all clients but one; past the carrier where that is possible, which the outlet counts."""
        frame, data, outlet, others = self.frame, self._data, self._outlet, 0
        if outlet is None:
            self._push(without)
            return
        for lane in self.lanes:
            if not lane.held and lane is not without:
                try:
                    lane.write(data)  # type: ignore[misc]  # a lane with an outlet has it
                except BaseException as error:  # noqa: BLE001  # it ends the actor that owns the connection
                    lane.process.fail(frame, error)
                else:
                    continue
            elif lane is not without:
                lane.push(frame)
            others += 1
        outlet.wrote(data, len(self.lanes) - others)

    def _push(self, without: Fastlane | None) -> None:
        for lane in self.lanes:
            if lane is not without:
                lane.push(self.frame)

    # Slice by slice

    def owe(self, without: Fastlane | None) -> None:
        """Give the frame to all lanes but one, to be written by `write_owed`, or before anything that is sent later."""
        frame, past_carrier = self.frame, self._outlet is not None
        for lane in self.lanes:
            if lane is without:
                continue
            if past_carrier and not lane.held:
                lane.held, lane.owed = OWED, frame
            else:
                lane.owe(frame)

    def write_owed(self, start: int, end: int) -> None:
        """Write to those lanes of a slice that still owe it."""
        lanes = self.lanes[start:end]
        if self._outlet is not None:
            self._outlet.wrote(self._data, self._write_owed(lanes))
            return
        for lane in lanes:
            lane.catch_up_to(self.frame)

    def _write_owed(self, lanes: Iterable[Fastlane]) -> int:
        frame, data, written = self.frame, self._data, 0
        for lane in lanes:
            if lane.owed is not frame or lane.held != OWED:
                lane.catch_up_to(frame)
                continue
            lane.held, lane.owed = 0, None
            try:
                lane.write(data)  # type: ignore[misc]  # a lane with an outlet has it
            except BaseException as error:  # noqa: BLE001  # it ends the actor that owns the connection
                lane.process.fail(frame, error)
            else:
                written += 1
        return written


def encode_shares(
    broadcast: Broadcast,
    groups: Mapping[tuple[Serializer, Outlet | None, bool], Sequence[Fastlane]],
    recording: Recording | None = None,
) -> list[Share]:
    """Encode a broadcast, once for each group of clients that gets the same; none for a serializer that has no form for it.

    A group that wants offsets gets that of the recording. The frames are marked as a broadcast: unlike a reply, it may be
    dropped for a client that does not keep up.

    Raises:
        UnencodableError: naming the part of the payload that cannot be encoded.
    """
    shares = []
    # From another process, or recorded: most serializers write the text as it is.
    text = _as_text(broadcast, recording)
    for (serializer, outlet, offsets), lanes in groups.items():
        form = broadcast
        if text is not None and getattr(serializer, "takes_json", False):
            form = text
        elif text is broadcast:
            broadcast = form = decoded(broadcast)
        try:
            if offsets and recording is not None:
                frame: Frame | None = _numbered(serializer, form, recording)
            else:
                frame = serializer.encode_broadcast(form)
        except ENCODING_ERRORS as error:
            what = payload_of(broadcast.event, broadcast.topic)
            raise unencodable_by(serializer, error, what, broadcast.payload) from None
        if frame is not None:
            frame.broadcast = broadcast
            shares.append(Share(frame, lanes, outlet))
    return shares


def _as_text(broadcast: Broadcast, recording: Recording | None) -> Broadcast | None:
    """Return a broadcast with its payload as JSON text, if that exists and is worth copying.

    A payload that is not a dict is left to the serializers, which may refuse it.
    """
    if type(broadcast.payload) is Raw:
        return broadcast
    if recording is None or len(recording.kept.payload) < _LONG or type(broadcast.payload) is not dict:
        return None
    return broadcast_of(recording.kept, broadcast.topic)


def _numbered(serializer: Serializer, broadcast: Broadcast, recording: Recording) -> Frame:
    frame = frame_at(serializer, broadcast, recording.kept.offset)
    frame.log, frame.offset = recording.log, recording.kept.offset
    return frame
