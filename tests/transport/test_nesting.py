"""The nesting of JSON is counted before it is decoded: in linear time, and whatever the stack of the thread is."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transport.protocol import nesting
from transport.protocol.nesting import MAX_NESTING, is_nested_deeper

PIECES = st.lists(
    st.sampled_from(["[", "{", "[[[", "]", "}", "]]", ",", '"', '"["', '"\\"["', '"\\\\"', '"a\\n]é"', "1", " ", "\\"])
)


def levels(text: str) -> tuple[int, int]:
    """The deepest level of a text, by looking at each of its characters, and where it stops to be JSON: \\ outside strings."""
    level = deepest = 0
    within = escaped = False
    for at, character in enumerate(text):
        if character == "\\" and not within:
            return deepest, at
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == '"':
            within = not within
        elif not within:
            level += (character in "[{") - (character in "]}")
            deepest = max(deepest, level)
    return deepest, len(text)


@settings(deadline=None, max_examples=300)
@given(PIECES.map("".join), st.integers(1, 6))
def test_it_is_what_a_look_at_each_character_finds(text: str, limit: int) -> None:
    deepest, end = levels(text)
    assert is_nested_deeper(text[:end], limit) is is_nested_deeper(text[:end].encode(), limit) is (deepest > limit)
    assert is_nested_deeper(text, limit) or deepest <= limit


JSON = st.recursive(
    st.none() | st.integers() | st.text('[]{}\\"é, \n'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('[{"\\'), inner, max_size=4),
    max_leaves=40,
)


def depth(value: Any) -> int:
    match value:
        case list():
            return 1 + max(map(depth, value), default=0)
        case dict():
            return 1 + max(map(depth, value.values()), default=0)
    return 0


@settings(deadline=None, max_examples=200)
@given(JSON, st.booleans())
def test_it_is_the_depth_of_what_is_decoded(value: Any, ascii_only: bool) -> None:  # noqa: FBT001  # drawn
    text = json.dumps(value, ensure_ascii=ascii_only)
    limit = depth(value)
    assert not is_nested_deeper(text, limit)
    assert limit == 0 or is_nested_deeper(text, limit - 1)


@pytest.mark.parametrize("level", [1, 7, 8, 9, 255, 256])
def test_the_limit_is_exact(level: int) -> None:
    text = "[1," * level + "{}" + "]" * level
    assert not is_nested_deeper(text, level + 1)
    assert is_nested_deeper(text, level)


def test_brackets_within_strings_and_lone_surrogates_are_no_levels() -> None:
    assert not is_nested_deeper(json.dumps(["[" * 1000, '"' + "{" * 1000, "\\" + "[" * 1000]), 1)
    assert not is_nested_deeper('["\ud800' + "[" * 1000 + '"]', 1)


def test_a_short_message_or_one_with_few_brackets_is_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(nesting, "_outside_strings")
    assert not is_nested_deeper("[" * MAX_NESTING, MAX_NESTING)
    assert not is_nested_deeper("[" * MAX_NESTING + "x" * 1000, MAX_NESTING)


# What follows ran into the end of the stack before: a segmentation fault on CPython 3.12 and 3.13. In a process of its own,
# such a fault is a failed test.

DEEP_ON_A_SMALL_STACK = """
import threading
from actors import ok
from transport.client.client_serializer import CLIENT_SERIALIZERS
from transport.exceptions import MalformedMessageError
from transport.observer.pretty import pretty
from transport.protocol.serializer import V1JSONSerializer, V2JSONSerializer

v1, v2 = V1JSONSerializer(), V2JSONSerializer()

def refused(decode, data):
    try:
        decode(data)
    except MalformedMessageError:
        return
    raise AssertionError(f"{decode} took {data[:40]!r}…")

def run():
    for levels in (300, 4_900, 20_000, 1_000_000):
        for opening, closing in (("[", "]"), ('{"a":', "}")):
            deep = opening * levels + "1" + closing * levels
            for value in (deep, opening * levels):
                message = f'[null,null,"x","y",{value}]'
                old = f'{{"topic":"x","event":"y","ref":null,"payload":{value}}}'
                refused(v2.decode, message)
                refused(v2.decode, f'[{value},null,"x","y",1]')
                refused(v1.decode, old)
                refused(v1.decode, old.encode())
                if levels > 511:
                    refused(CLIENT_SERIALIZERS["2.0.0"].decode, message)
                    refused(CLIENT_SERIALIZERS["1.0.0"].decode, old)
                assert pretty(value).endswith('characters of JSON>')
    at_limit = v2.decode('[null,"1","x","y",' + "[" * 255 + "]" * 255 + "]")
    answer = v2.encode_reply(None, "1", "x", ok(at_limit.payload)).data.decode()
    assert CLIENT_SERIALIZERS["2.0.0"].decode(answer).payload["response"] == at_limit.payload
    print("done")

threading.stack_size(512 * 1024)
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""


def test_no_depth_ends_the_process_on_a_small_stack() -> None:
    done = subprocess.run(  # noqa: S603  # the program is above
        [sys.executable, "-c", DEEP_ON_A_SMALL_STACK], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
