"""The channels of one connection: what is asked for, and when a subscription is in effect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from actors.pubsub.redis.interests import Interests, Subscribing


def on(channel: bytes) -> Subscribing:
    return Subscribing(subscribes=True, channel=channel)


def off(channel: bytes) -> Subscribing:
    return Subscribing(subscribes=False, channel=channel)


def commands(asked: list[Subscribing]) -> list[str]:
    return [f"{'+' if each.subscribes else '-'}{each.channel.decode()}" for each in asked]


def asked_for(interests: Interests, *channels: bytes) -> None:
    """Want channels, and let the server confirm them."""
    for channel in channels:
        interests.want(channel, channel.decode())
    for command in interests.take(100):
        assert interests.answered(command)


def test_changes_are_collected_until_they_are_taken() -> None:
    interests = Interests()
    for channel in (b"a", b"b", b"c"):
        interests.want(channel, channel.decode())
    interests.give_up(b"b")
    interests.give_up(b"never wanted")
    assert interests.wake.is_set()
    assert commands(interests.take(10)) == ["+a", "+c"]
    assert not interests.wake.is_set()
    interests.give_up(b"a")
    interests.want(b"d", "d")
    assert commands(interests.take(1)) == ["-a"]
    assert interests.wake.is_set()
    assert commands(interests.take(1)) == ["+d"]
    assert (interests.topic(b"d"), interests.topic(b"a")) == ("d", None)


def test_a_new_connection_is_asked_for_all_again_and_for_the_given_channel_last() -> None:
    interests = Interests()
    asked_for(interests, b"a", b"beat", b"b")
    interests.start_again(b"beat")
    assert commands(interests.take(10)) == ["+a", "+b", "+beat"]


def test_answers_come_in_the_order_of_the_commands() -> None:
    interests = Interests()
    interests.want(b"a", "a")
    interests.want(b"b", "b")
    interests.take(10)
    assert not interests.answered(on(b"b"))
    assert not interests.answered(off(b"a"))
    assert interests.answered(on(b"a"))
    assert not interests.answered(on(b"a"))
    assert interests.answered(on(b"b"))
    assert interests.refused() is None


def test_a_channel_that_is_refused_is_asked_for_when_it_is_wanted_again() -> None:
    interests = Interests()
    interests.want(b"a", "a")
    interests.want(b"b", "b")
    interests.take(10)
    assert interests.refused() == on(b"a")
    interests.ask_again()
    interests.give_up(b"a")
    assert not interests.wake.is_set()
    interests.want(b"a", "a")
    assert commands(interests.take(10)) == ["+a"]


def test_channels_that_have_ended_are_asked_for_again_if_they_are_still_wanted() -> None:
    interests = Interests()
    asked_for(interests, b"a", b"b", b"c")
    for channel in (b"a", b"b", b"unknown"):
        interests.end(channel)
    interests.give_up(b"b")
    assert not interests.wake.is_set()
    interests.ask_again()
    assert commands(interests.take(10)) == ["+a"]
    interests.end(b"a")
    interests.give_up(b"a")
    interests.want(b"a", "a")
    assert commands(interests.take(10)) == ["+a"]
    interests.ask_again()
    assert not interests.wake.is_set()


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
        for subscribes, done in ((True, False), (False, False), (True, True)):
            assert interests.answered(Subscribing(subscribes, b"a"))
            assert effect.done() is done
        assert interests.effect(b"a") is None
        interests.want(b"b", "b")
        other = interests.effect(b"b")
        assert other is not None
        interests.start_again(b"beat")
        assert other.done()
        refused = interests.effect(b"a")
        assert refused is not None
        interests.take(10)
        interests.refused()
        assert refused.done()

    asyncio.run(main())


class Server:
    """It answers commands in order, refuses some, and ends subscriptions."""

    def __init__(self, interests: Interests) -> None:
        self.interests = interests
        self.channels: set[bytes] = set()
        self._pipe: list[Subscribing] = []

    def get(self, most: int) -> None:
        self._pipe += self.interests.take(most)

    def answer(self) -> None:
        if self._pipe:
            command = self._pipe.pop(0)
            (self.channels.add if command.subscribes else self.channels.discard)(command.channel)
            assert self.interests.answered(command)

    def refuse(self) -> None:
        if self._pipe and self._pipe[0].subscribes:
            command = self._pipe.pop(0)
            assert self.interests.refused() == command
            self.interests.end(command.channel)

    def end(self, channel: bytes) -> None:
        if channel in self.channels and all(command.channel != channel for command in self._pipe):
            self.channels.discard(channel)
            self.interests.end(channel)

    def catch_up(self) -> None:
        self.interests.ask_again()
        while self.interests.wake.is_set() or self._pipe:
            self.get(1)
            self.answer()


@given(
    st.lists(st.tuples(st.sampled_from("wgtarem"), st.sampled_from([b"a", b"b", b"c"])), max_size=60), st.integers(1, 3)
)
def test_the_server_knows_what_is_wanted_whatever_happens_in_between(
    events: list[tuple[str, bytes]], most: int
) -> None:
    interests, wanted = Interests(), set[bytes]()
    server = Server(interests)

    def want(channel: bytes) -> None:
        wanted.add(channel)
        interests.want(channel, "topic")

    def give_up(channel: bytes) -> None:
        wanted.discard(channel)
        interests.give_up(channel)

    may_happen: dict[str, Callable[[bytes], object]] = {
        "w": want,
        "g": give_up,
        "t": lambda _: server.get(most),
        "a": lambda _: server.answer(),
        "r": lambda _: server.refuse(),
        "e": server.end,
        "m": lambda _: interests.ask_again(),
    }
    for kind, channel in events:
        may_happen[kind](channel)
    server.catch_up()
    assert server.channels == wanted
    assert len(interests) == len(wanted)
