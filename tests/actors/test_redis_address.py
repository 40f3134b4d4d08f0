"""The URLs of Redis."""

from __future__ import annotations

import re
from typing import Any

import pytest

from actors.pubsub.redis.publish_message import publish
from actors.pubsub.redis.redis_address import RedisAddress, Span, read_slots
from actors.pubsub.redis.redis_pubsub import REDIS_URL, RedisPubSub


@pytest.mark.parametrize(
    ("url", "hosts", "options"),
    [
        ("redis://localhost", [("localhost", 6379)], {"host": "localhost"}),
        ("redis://:p%40ss@db:7000/3", [("db", 7000)], {"host": "db", "port": 7000, "db": 3, "password": "p@ss"}),
        ("redis://ann:secret@[::1]:7000", [("::1", 7000)], {"host": "::1", "username": "ann", "password": "secret"}),
        ("unix:///run/redis.sock", [], {"path": "/run/redis.sock"}),
        ("unix://:secret@/run/redis.sock?db=2", [], {"path": "/run/redis.sock", "password": "secret", "db": 2}),
        ("redis://db?protocol=3", [("db", 6379)], {"host": "db"}),
        ("redis+sentinel://:secret@a,b:7/main/2", [("a", 26379), ("b", 7)], {"password": "secret", "db": 2}),
        ("redis+cluster://a,b:7", [("a", 6379), ("b", 7)], {"host": "a"}),
    ],
)
def test_a_url_is_read(url: str, hosts: list[tuple[str, int]], options: dict[str, Any]) -> None:
    address = RedisAddress(url)
    found = address.options()
    assert address.hosts == hosts
    assert {name: found.get(name) for name in options} == options
    assert "secret" not in str(address) + repr(address)


def test_tls_is_used_when_the_url_says_so() -> None:
    plain, secured = RedisAddress("redis://db"), RedisAddress("rediss://db?ssl_ca_certs=/etc/ca.pem")
    assert "connection_class" not in plain.options()
    assert secured.options()["connection_class"].__name__ == "SSLConnection"
    assert secured.options()["ssl_ca_certs"] == "/etc/ca.pem"
    for kind, rest in (("sentinel", "/main"), ("cluster", "")):
        connection = RedisAddress(f"rediss+{kind}://db{rest}").connection({}, Span("db", 1))
        assert "SSL" in type(connection).__name__


@pytest.mark.parametrize(
    "url", ["", "localhost", "http://localhost", "redis+sentinel://host", "redis+sentinel:///main", "redis+cluster://"]
)
def test_what_is_no_url_of_redis_is_an_error(url: str) -> None:
    with pytest.raises(ValueError, match=r"the URL of Redis must be"):
        RedisPubSub(url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://host:99999", "Port out of range 0-65535"),
        ("redis://host:x", "'x'"),
        ("redis+cluster://host,other:x", "'x'"),
        ("redis://[::1", "Invalid IPv6 URL"),
        ("unix://", "it has no path of a socket"),
        ("redis+cluster://host/3", "a cluster has no other database than 0"),
    ],
)
def test_the_error_says_what_is_wrong_with_the_url(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=rf"must be like redis://.*, got '{re.escape(url)}' \(.*{why}") as raised:
        RedisPubSub(url)
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://host?colour=red&password=secret", r"colour, password \(.*'colour'\)"),
        ("redis://host?protocol=9", r"protocol \(protocol must be either 2 or 3\)"),
        ("redis://host?socket_timeout=soon", r"socket_timeout \("),
        ("rediss://host?ssl_cert_reqs=perhaps", r"ssl_cert_reqs \(Invalid SSL"),
        ("redis+sentinel://host/main?colour=red", r"colour \("),
        ("redis+sentinel://host/main?sentinel_colour=red", r"sentinel_colour \("),
        ("redis+cluster://host?colour=red", r"colour \("),
    ],
)
def test_options_that_the_library_does_not_take_are_an_error_of_the_author(url: str, why: str) -> None:
    for refuse in (lambda: RedisPubSub(url), lambda: publish("room:1", "news", url=url)):
        with pytest.raises(ValueError, match=rf"must have options that redis-py takes, got {why}") as raised:
            refuse()
        assert "secret" not in str(raised.value)


def test_the_error_does_not_have_the_password() -> None:
    with pytest.raises(ValueError, match=r"got 'http://db/0'$"):
        RedisPubSub("http://ann:secret@db/0?password=secret")


def test_the_url_may_be_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REDIS_URL, "redis://db:7/1")
    assert str(RedisPubSub().address) == "redis://db:7/1"
    assert str(RedisPubSub("redis://other").address) == "redis://other"
    monkeypatch.delenv(REDIS_URL)
    with pytest.raises(ValueError, match=rf"be in the environment as {REDIS_URL}, got None$"):
        RedisPubSub()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prefix": ""}, None),
        ({"prefix": "a\nb"}, r"^prefix must be a str such as \"ashtree\", got 'a\\nb'$"),
        ({"heartbeat": 0}, r"^heartbeat must be seconds > 0, got 0$"),
        ({"heartbeat_timeout": -1}, r"^heartbeat_timeout must be seconds > 0, got -1$"),
        ({"connect_timeout": "1"}, r"^connect_timeout must be seconds > 0, got '1'$"),
        ({"max_queue": 0}, r"^max_queue must be .*, got 0$"),
        ({"max_queue_bytes": 1.5}, r"^max_queue_bytes must be .*, got 1.5$"),
    ],
    ids=str,
)
def test_options_are_checked(options: dict[str, Any], message: str | None) -> None:
    if message is None:
        RedisPubSub("redis://db", **options)
        return
    with pytest.raises(ValueError, match=message):
        RedisPubSub("redis://db", **options)


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RedisPubSub, "installed", False)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'ashtree\[redis\]'$"):
        RedisPubSub("redis://db")


def test_the_servers_of_a_cluster_are_read() -> None:
    reply = [
        [0, 100, [b"10.0.0.1", 7000, b"id1", []], [b"10.0.0.9", 7009, b"id9", []]],
        [101, 16000, [b"", 7001, b"id2", []]],
        [16001, 16383, [b"10.0.0.1", 7000, b"id1", []]],
    ]
    assert read_slots(reply, "asked") == [
        Span("10.0.0.1", 7000, (range(101), range(16001, 16384))),
        Span("asked", 7001, (range(101, 16001),)),
    ]
    assert read_slots(reply, "asked")[0].has(16383)
    assert not read_slots(reply, "asked")[1].has(16383)
