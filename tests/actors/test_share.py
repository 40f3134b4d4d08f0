"""The encoded forms of a broadcast: a long payload that was recorded is encoded once, for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actors.channels.encoding import encode
from actors.channels.message import Broadcast, Serializer
from actors.exceptions import UnencodableError
from actors.history.history import History
from actors.history.history_store import Recording
from actors.history.topic_log import KeptBroadcast, TopicLog
from actors.pubsub.share import encode_shares
from transport.protocol.serializer import V1JSONSerializer, V2JSONSerializer

if TYPE_CHECKING:
    from actors.channels.fastlane import Fastlane, Outlet


class Report:
    """A value that counts how often it is encoded."""

    def __init__(self, text: str) -> None:
        self.text, self.encoded = text, 0

    def model_dump(self, *, mode: str) -> dict[str, str]:
        self.encoded += 1
        return {"text": self.text}


class OwnSerializer(V2JSONSerializer):
    """One of an author, which may read the payload."""


def recorded(payload: Any) -> tuple[Broadcast, Recording]:
    log = TopicLog("e", 0.0, History())
    return Broadcast("room:1", "said", payload), Recording(log, KeptBroadcast(7, 0.0, "said", encode(payload)))


def frames(broadcast: Broadcast, recording: Recording, *serializers: Serializer) -> list[str]:
    groups: dict[tuple[Serializer, Outlet | None, bool], tuple[Fastlane, ...]] = {
        (serializer, None, offsets): () for serializer in serializers for offsets in (False, True)
    }
    shares = encode_shares(broadcast, groups, recording)
    assert all(share.frame.broadcast is broadcast for share in shares)
    return [share.frame.data.decode() for share in shares]


@pytest.mark.parametrize(("size", "times"), [(600, 1), (10, 5)], ids=["long", "short"])
def test_a_long_payload_that_is_recorded_is_encoded_once(size: int, times: int) -> None:
    report = Report("x" * size)
    broadcast, recording = recorded({"report": report})
    first, second, third, fourth = frames(broadcast, recording, V2JSONSerializer(), V1JSONSerializer())
    assert report.encoded == times
    payload = encode({"report": {"text": "x" * size}}).decode()
    assert first == f'[null,null,"room:1","said",{payload}]'
    assert second == f'[null,"@7","room:1","said",{payload}]'
    assert third == f'{{"topic":"room:1","event":"said","payload":{payload},"ref":null}}'
    assert fourth == f'{{"topic":"room:1","event":"said","payload":{payload},"ref":"@7"}}'


def test_a_serializer_of_an_author_gets_the_payload_itself() -> None:
    report = Report("x" * 600)
    broadcast, recording = recorded({"report": report})
    frames(broadcast, recording, OwnSerializer())
    assert report.encoded == 3


def test_what_is_json_of_some_serializers_only_is_refused_by_the_others() -> None:
    broadcast, recording = recorded({"text": "x" * 600, "n": float("nan")})
    assert "null" in frames(broadcast, recording, V2JSONSerializer())[0]
    with pytest.raises(UnencodableError):
        frames(broadcast, recording, V2JSONSerializer(), V2JSONSerializer(allow_nan=False))
