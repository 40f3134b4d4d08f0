"""The channels of one connection: what is asked for, and when a subscription is in effect."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from actors.pubsub.redis.interests import Interests


def test_changes_are_collected_until_they_are_taken() -> None:
    interests = Interests()
    for channel in (b"a", b"b", b"c"):
        interests.want(channel, channel.decode())
    interests.give_up(b"b")
    interests.give_up(b"never wanted")
    assert interests.wake.is_set()
    assert interests.take(10) == ([b"a", b"c"], [])
    assert not interests.wake.is_set()
    interests.give_up(b"a")
    interests.want(b"d", "d")
    assert interests.take(1) == ([], [b"a"])
    assert interests.wake.is_set()
    assert interests.take(1) == ([b"d"], [])
    assert (interests.topic(b"d"), interests.topic(b"a")) == ("d", None)


def test_a_new_connection_is_asked_for_all_again() -> None:
    interests = Interests()
    interests.want(b"a", "a")
    interests.want(b"b", "b")
    interests.take(10)
    interests.answered(b"a")
    interests.start_again()
    assert interests.take(10) == ([b"a", b"b"], [])


def test_an_answer_that_was_not_asked_for_is_told() -> None:
    interests = Interests()
    interests.want(b"a", "a")
    interests.take(10)
    assert interests.answered(b"a")
    assert not interests.answered(b"a")


def test_what_waits_goes_on_when_the_last_command_is_answered_or_the_connection_lost() -> None:
    async def main() -> None:
        interests = Interests()
        interests.want(b"a", "a")
        effect = interests.effect(b"a")
        assert effect is not None
        interests.take(10)
        interests.give_up(b"a")
        interests.take(10)
        interests.want(b"a", "a")
        interests.take(10)
        for done in (False, False, True):
            interests.answered(b"a")
            assert effect.done() is done
        assert interests.effect(b"a") is None
        interests.want(b"b", "b")
        other = interests.effect(b"b")
        assert other is not None
        interests.start_again()
        assert other.done()

    asyncio.run(main())


@given(
    st.lists(st.tuples(st.sampled_from("wgta"), st.sampled_from([b"a", b"b", b"c"])), max_size=60), st.integers(1, 3)
)
def test_the_server_knows_what_is_wanted_whatever_happens_in_between(
    events: list[tuple[str, bytes]], most: int
) -> None:
    interests, server = Interests(), set[bytes]()
    wanted: set[bytes] = set()
    pipe: list[tuple[bool, bytes]] = []

    def answer() -> None:
        subscribes, channel = pipe.pop(0)
        (server.add if subscribes else server.discard)(channel)
        assert interests.answered(channel)

    for kind, channel in events:
        match kind:
            case "w":
                wanted.add(channel)
                interests.want(channel, "topic")
            case "g":
                wanted.discard(channel)
                interests.give_up(channel)
            case "t":
                more, fewer = interests.take(most)
                pipe += [(True, each) for each in more] + [(False, each) for each in fewer]
            case "a" if pipe:
                answer()
    while interests.wake.is_set():
        more, fewer = interests.take(most)
        pipe += [(True, each) for each in more] + [(False, each) for each in fewer]
    while pipe:
        answer()
    assert server == wanted
    assert len(interests) == len(wanted)
    assert interests.settled.is_set()
