"""Messages between Presences: their form, and what is none."""

from __future__ import annotations

import msgspec
import pytest

from actors.presence.replica_messages import (
    PresenceBeat,
    PresenceDiff,
    PresenceEnd,
    PresenceRequest,
    PresenceState,
    ReplicaMessage,
    ReplicaMessageError,
    pack_message,
    unpack_message,
)

META = msgspec.Raw(b'{"phx_ref":"1"}')
MESSAGES: list[tuple[ReplicaMessage, bytes]] = [
    (PresenceBeat(node="a", run="b", clock=3), b'{"type":"beat","node":"a","run":"b","clock":3}'),
    (PresenceEnd(node="a", run="b", clock=3), b'{"type":"end","node":"a","run":"b","clock":3}'),
    (
        PresenceRequest(node="a", run="b", clock=3, number=4),
        b'{"type":"request","node":"a","run":"b","clock":3,"number":4}',
    ),
    (
        PresenceDiff(node="a", run="b", clock=3, joins={"t": {"k": [META]}}, leaves={"t": {"k": ["2"]}}),
        b'{"type":"diff","node":"a","run":"b","clock":3,"joins":{"t":{"k":[{"phx_ref":"1"}]}},"leaves":{"t":{"k":["2"]}}}',
    ),
    (
        PresenceState(node="a", run="b", clock=3, number=4, part=0, is_last=True, joins={"t": {"k": [META]}}),
        b"""{"type":"state","node":"a","run":"b","clock":3,"number":4,"part":0,"is_last":true,
        "joins":{"t":{"k":[{"phx_ref":"1"}]}}}""",
    ),
]


@pytest.mark.parametrize(("message", "data"), MESSAGES)
def test_a_message_is_json(message: ReplicaMessage, data: bytes) -> None:
    assert msgspec.json.decode(pack_message(message)) == msgspec.json.decode(data)
    assert pack_message(unpack_message(data)) == pack_message(message)
    assert type(unpack_message(data)) is type(message)


def test_members_of_later_versions_are_ignored() -> None:
    assert isinstance(unpack_message(b'{"type":"beat","node":"a","run":"b","clock":3,"more":[1]}'), PresenceBeat)


@pytest.mark.parametrize("data", [b"[]", b"{", b'{"type":"beat"}', b'{"type":"beat","node":"a","run":"b","clock":"3"}'])
def test_what_is_no_message_is_an_error_that_shows_it(data: bytes) -> None:
    with pytest.raises(ReplicaMessageError, match="got b'"):
        unpack_message(data)
