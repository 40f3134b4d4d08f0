"""The scripts that keep the keys of pushes, in a real Redis: who claims, bounds, expiry, and where keys are in a cluster."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from redis.crc import key_slot

from actors.channels.message import Reply
from actors.idempotency.idempotency import Idempotency
from actors.idempotency.push_logs import Claimant
from actors.idempotency.push_store import SharedPush
from actors.pubsub.redis import push_commands
from actors.pubsub.redis.push_commands import PushCommands, find_command, read_push
from actors.pubsub.remote_message import RemoteMessageError
from tests.servers.redis_server import RedisServer, until

OPTIONS = Idempotency(ttl=300.0, size=3, max_bytes=10_000)
DONE = Reply("ok", msgspec.Raw(b'{"done":1}'))


class Pushes:
    """Those of one topic, which has the name of the test; each claim has the next number."""

    def __init__(self, server: RedisServer, topic: str) -> None:
        self.server, self.topic, self.number = server, topic, 0

    @property
    def channel(self) -> bytes:
        return f"ashtree:{self.topic}".encode()

    def commands(
        self, key: str = "k", *, client: str | None = "ann", run: str = "a", options: Idempotency = OPTIONS
    ) -> PushCommands:
        self.number += 1
        push = SharedPush(Claimant(self.topic, client), key, b"digest", run)
        return PushCommands.of("ashtree", self.channel, push, options, self.number)

    def claim(self, commands: PushCommands) -> SharedPush | None:
        data = self.server.ask(*commands.claim)
        return None if data is None else read_push(commands.push, data)

    def claims(self, *keys: str, options: Idempotency = OPTIONS) -> list[str]:
        """Return those of the keys that could be claimed."""
        return [key for key in keys if self.claim(self.commands(key, options=options)) is None]

    def find(self, commands: PushCommands) -> SharedPush | None:
        data = self.server.ask(*find_command("ashtree", self.channel, commands.push))
        return None if data is None else read_push(commands.push, data)

    def answered(self, key: str) -> None:
        """Claim a key, and answer its push."""
        commands = self.commands(key)
        assert self.claim(commands) is None
        self.server.ask(*commands.answer(DONE))

    def running(self, commands: PushCommands) -> int:
        return int(self.server.ask("HGET", commands.keys[0], "running"))

    def bytes(self, commands: PushCommands) -> int:
        return int(self.server.ask("HGET", commands.keys[0], "bytes"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def pushes(server: RedisServer, request: pytest.FixtureRequest) -> Pushes:
    return Pushes(server, request.node.name)


def test_one_process_claims_a_key_and_the_others_find_its_answer(pushes: Pushes) -> None:
    first, second = pushes.commands(run="a"), pushes.commands(run="b")
    assert pushes.claim(first) is None
    assert pushes.claim(second) == first.push
    assert pushes.find(second) == first.push
    assert pushes.server.ask(*first.answer(DONE)) == 1
    answered = first.push._replace(answer=DONE)
    assert pushes.claim(second) == pushes.find(second) == pushes.claim(pushes.commands()) == answered


@pytest.mark.parametrize("answer", [Reply("error", msgspec.Raw(b"[1,2]")), Reply("ok", b"a\n\0b"), Reply("ok", b"")])
def test_an_answer_comes_back_as_it_was(pushes: Pushes, answer: Reply) -> None:
    first = pushes.commands()
    pushes.claim(first)
    pushes.server.ask(*first.answer(answer))
    assert pushes.find(first) == first.push._replace(answer=answer)


def test_a_claim_that_is_undone_leaves_nothing_and_may_be_made_by_another(pushes: Pushes) -> None:
    first, second = pushes.commands(run="a"), pushes.commands(run="b")
    pushes.claim(first)
    assert pushes.server.ask(*first.release) == 1
    assert pushes.find(first) is None
    assert (pushes.bytes(first), pushes.running(first)) == (0, 0)
    assert pushes.claim(second) is None
    # What comes late of the first one has no effect.
    assert [pushes.server.ask(*late) for late in (first.release, first.answer(DONE))] == [0, 0]
    assert pushes.find(first) == second.push


def test_an_answer_is_the_first_one(pushes: Pushes) -> None:
    first = pushes.commands()
    pushes.claim(first)
    for answer in (DONE, Reply("ok", msgspec.Raw(b"2"))):
        pushes.server.ask(*first.answer(answer))
    pushes.server.ask(*first.release)
    assert pushes.find(first) == first.push._replace(answer=DONE)


def test_keys_and_clients_are_told_apart(pushes: Pushes) -> None:
    clients = ("ann", "bob", "", None, "ann/", "{ann}", "\ud800", "b" * 10_000)
    for client in clients:
        for key in ("k", "K", "bytes", "@k", "\0", "ключ", "\ud800", "k" * 128):
            assert pushes.claim(pushes.commands(key, client=client, options=Idempotency())) is None
            assert pushes.claim(pushes.commands(key, client=client, options=Idempotency())) is not None


def test_the_oldest_are_forgotten_beyond_the_size(pushes: Pushes) -> None:
    for key in "abcd":
        pushes.answered(key)
    assert pushes.claims(*"bcd") == []
    assert pushes.claims("a") == ["a"]


def test_those_that_are_not_answered_are_kept_beyond_the_bounds(pushes: Pushes) -> None:
    running = [*"abcdefg"]
    assert pushes.claims(*running) == running
    for number in range(40):
        pushes.answered(f"answered {number}")
    assert pushes.claims(*running) == []
    assert pushes.server.ask("LLEN", pushes.commands().keys[1]) == len(running) + OPTIONS.size
    assert pushes.claims(*(f"answered {number}" for number in range(37, 40))) == []


def test_those_that_are_not_answered_have_a_bound_too(pushes: Pushes, monkeypatch: pytest.MonkeyPatch) -> None:
    script = push_commands._CLAIM.replace(str(push_commands.MOST_RUNNING), "50")
    assert script != push_commands._CLAIM
    monkeypatch.setattr(push_commands, "_CLAIM", script)
    for number in range(100):
        pushes.claims(f"running {number}")
    assert pushes.server.ask("LLEN", pushes.commands().keys[1]) == 50
    assert pushes.claims(*(f"running {number}" for number in range(50, 100))) == []


def test_the_oldest_are_forgotten_beyond_the_bytes(pushes: Pushes) -> None:
    for key in "abc":
        commands = pushes.commands(key)
        pushes.claim(commands)
        pushes.server.ask(*commands.answer(Reply("ok", b"x" * 4_000)))
    assert 8_000 < pushes.bytes(commands) < 10_000
    assert pushes.claims(*"bca") == ["a"]


def test_what_is_counted_is_what_is_kept(pushes: Pushes) -> None:
    first, second = pushes.commands("a"), pushes.commands("b")
    pushes.claim(first)
    pushes.claim(second)
    assert (pushes.bytes(first), pushes.running(first)) == (0, 2)
    pushes.server.ask(*first.answer(DONE))
    one = pushes.bytes(first)
    pushes.server.ask(*second.answer(DONE))
    assert (pushes.bytes(first), pushes.running(first)) == (2 * one, 0)
    assert one == len(pushes.server.ask("HGET", first.keys[0], "@a")) + 2 + 300


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_commands, "GRACE", 0.0)


@pytest.mark.usefixtures("no_grace")
def test_they_expire(pushes: Pushes) -> None:
    short = Idempotency(ttl=0.05)
    commands = pushes.commands()
    assert pushes.claims("a", "b", options=short) == ["a", "b"]
    until(lambda: not pushes.server.ask("EXISTS", *commands.keys))


@pytest.mark.usefixtures("no_grace")
def test_those_that_have_expired_go_while_others_come(pushes: Pushes) -> None:
    short = Idempotency(ttl=0.05)
    old = pushes.commands("old", options=short)
    pushes.claim(old)
    pushes.server.ask(*old.answer(DONE))
    # The log is kept by others.
    pushes.server.ask("PERSIST", old.keys[0])
    pushes.server.ask("PERSIST", old.keys[1])
    until(lambda: pushes.claims("new", options=short) and not pushes.find(old))
    assert pushes.server.ask("LLEN", old.keys[1]) == 1


def test_a_push_that_is_being_handled_is_remembered_for_longer(pushes: Pushes) -> None:
    short = Idempotency(ttl=0.001)
    running, answered = pushes.commands("a", options=short), pushes.commands("b", options=short)
    pushes.claim(answered)
    pushes.claim(running)
    pushes.server.ask(*answered.answer(DONE))
    until(lambda: pushes.claims("b", options=short))
    assert pushes.claims("a", options=short) == []
    # Behind one that is being handled, another one that has expired may be claimed too.
    pushes.server.ask(*pushes.commands("b", options=short)._replace(number=2).release)
    assert 59_000 < pushes.server.ask("PTTL", running.keys[0]) <= 60_001


def test_the_keys_may_be_evicted_each_on_its_own(pushes: Pushes) -> None:
    first = pushes.commands()
    for lost in first.keys:
        assert pushes.claims("a", "b") == ["a", "b"]
        pushes.server.ask("DEL", lost)
        assert pushes.claims("c", "d") == ["c", "d"]
        assert pushes.server.ask("HLEN", first.keys[0]) == 4
        assert pushes.server.ask("LLEN", first.keys[1]) == 2
        pushes.server.ask("DEL", *first.keys)


@pytest.mark.parametrize("topic", ["room:1", "room:{a}", "a}b", "a{}b", "{", "}{a}{b}"])
def test_the_keys_are_in_the_slot_of_the_topics_channel(server: RedisServer, topic: str) -> None:
    pushes = Pushes(server, topic)
    for client in ("ann", "{bob}", "}", None):
        for key in pushes.commands(client=client).keys:
            assert key_slot(key) == key_slot(pushes.channel)


@pytest.mark.parametrize("data", [b"", b"?", b"?17 {}", b'=17 {"run":"a","number":1,"digest":"x"}\n', b'?17 {"run":1}'])
def test_what_is_in_another_form_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteMessageError):
        read_push(SharedPush(Claimant("room:1", None), "k", b"", "a"), data)
