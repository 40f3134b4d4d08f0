"""Targets of requests, and the parameters in them."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.http.request_target import RequestTarget, escaped, query_of, route_of


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/socket/websocket?vsn=2.0.0", "/socket/websocket", "vsn=2.0.0"),
        ("//x/observer", "//x/observer", ""),
        ("/a?b?c=/d", "/a", "b?c=/d"),
        ("/a#b?c", "/a", ""),
        ("http://host:1/a/b?c", "/a/b", "c"),
        ("HTTPS://host?c", "/", "c"),
        ("/a://b", "/a://b", ""),
        ("//[", "//[", ""),
        ("*", "*", ""),
        ("host:1", "host:1", ""),
        ("", "", ""),
    ],
)
def test_a_target_is_a_path_and_a_query(target: str, path: str, query: str) -> None:
    assert RequestTarget.read(target) == (path, query)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "/"),
        ("", "/"),
        ("///", "/"),
        ("/a", "/a"),
        ("/a/", "/a"),
        ("//a//b//", "/a/b"),
        ("a", "/a"),
        ("/a/./b/..", "/a/./b/.."),
        ("/%2Fa", "/%2Fa"),
    ],
)
def test_empty_segments_do_not_count(path: str, route: str) -> None:
    assert route_of(path) == RequestTarget(path, "").route == route


@given(st.text())
def test_any_text_has_a_route_which_is_its_own(path: str) -> None:
    route = route_of(path)
    assert route_of(route) == route
    assert route.startswith("/")
    assert "//" not in route


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("", {}),
        ("a=1&b=2&a=3", {"a": "3", "b": "2"}),
        ("a&b=", {"a": "", "b": ""}),
        ("a=%C3%A9+x", {"a": "é x"}),
        ("tags[]=a&tags[]=b", {"tags": ["a", "b"]}),
        ("tags%5b%5D=a", {"tags": ["a"]}),
        ("tags[]=a&x=1&tags[]=", {"tags": ["a", ""], "x": "1"}),
        # As in Plug the last one counts if a name is both a text and a list.
        ("a=1&a[]=2&a[]=3", {"a": ["2", "3"]}),
        ("a[]=2&a=1", {"a": "1"}),
        ("user[name]=x", {"user[name]": "x"}),
        ("a=%ff", None),
        ("a[]=%ff", None),
    ],
)
def test_the_parameters_of_a_query(query: str, params: dict[str, Any] | None) -> None:
    assert RequestTarget("/", query).params() == params


@given(st.dictionaries(st.text("ab&=[ é"), st.text() | st.lists(st.text(), min_size=1)))
def test_parameters_are_written_as_they_are_read(params: dict[str, Any]) -> None:
    assert RequestTarget("/", query_of(params)).params() == params


@given(st.binary())
def test_what_is_not_ascii_is_escaped(data: bytes) -> None:
    text = escaped(data)
    assert text.isascii()
    assert text == data.decode("ascii") if data.isascii() else "%" in text


def test_utf_8_can_be_read_from_its_escapes() -> None:
    assert unquote(escaped("/é?ü=日".encode())) == "/é?ü=日"
    assert parse_qsl(escaped("ü=日".encode())) == [("ü", "日")]
