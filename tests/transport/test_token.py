"""Signed tokens; the time is passed in."""

from __future__ import annotations

from typing import Any

import itsdangerous
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transport import Endpoint, SocketError, TokenError, TokenExpiredError, TokenInvalidError
from transport.access.token import DAY, sign, verify

SECRET = "a secret"  # noqa: S105  # of a test


@pytest.mark.parametrize("data", [5, "alice", None, {"user": "ü", "roles": [1, 2.5, True, None]}, [], ""], ids=repr)
def test_the_data_comes_back(data: Any) -> None:
    assert verify(SECRET, "salt", sign(SECRET, "salt", data)) == data


def test_a_token_can_be_put_in_a_url() -> None:
    token = sign(SECRET, "salt", {"user": "ü?&=/+ " * 20})
    assert token.isascii()
    assert set("?&=/+ %#").isdisjoint(token)


@pytest.mark.parametrize("age", [0.0, 1.0, 59.0, 60.0])
def test_a_token_is_good_up_to_its_age(age: float) -> None:
    assert verify(SECRET, "salt", sign(SECRET, "salt", 1, signed_at=1000.0), max_age=60.0, now=1000.0 + age) == 1


@pytest.mark.parametrize("age", [61.0, 3600.0, 1e9])
def test_an_older_token_has_expired(age: float) -> None:
    token = sign(SECRET, "salt", 1, signed_at=1000.0)
    with pytest.raises(TokenExpiredError):
        verify(SECRET, "salt", token, max_age=60.0, now=1000.0 + age)


def test_a_token_is_good_for_a_day_unless_said_otherwise() -> None:
    token = sign(SECRET, "salt", 1, signed_at=0.0)
    assert verify(SECRET, "salt", token, now=DAY) == 1
    with pytest.raises(TokenExpiredError):
        verify(SECRET, "salt", token, now=DAY + 1)


def test_a_token_of_the_future_is_refused() -> None:
    with pytest.raises(TokenError):
        verify(SECRET, "salt", sign(SECRET, "salt", 1, signed_at=2000.0), now=1000.0)


TOKEN = sign(SECRET, "salt", {"user": "alice"}, signed_at=1000.0)
OTHER = sign(SECRET, "salt", {"user": "admin"}, signed_at=1000.0)


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "nonsense",
        TOKEN[:-1],
        TOKEN + "x",
        TOKEN.upper(),
        TOKEN.replace(".", "", 1),
        OTHER.split(".")[0] + TOKEN[TOKEN.index(".") :],
        "é" + TOKEN,
    ],
    ids=range(10),
)
def test_a_token_that_was_changed_is_invalid(token: str) -> None:
    with pytest.raises(TokenInvalidError):
        verify(SECRET, "salt", token, now=1000.0)


@pytest.mark.parametrize(("secret", "salt"), [("another secret", "salt"), (SECRET, "another salt"), ("", "salt")])
def test_a_token_for_something_else_is_invalid(secret: str, salt: str) -> None:
    with pytest.raises(TokenInvalidError):
        verify(secret, salt, TOKEN, now=1000.0)


def test_a_forged_token_is_invalid_however_old() -> None:
    with pytest.raises(TokenInvalidError):
        verify("another secret", "salt", TOKEN, now=1e9)


@settings(deadline=None)
@given(st.text())
def test_nothing_but_a_token_error_comes_of_anything_else(token: str) -> None:
    with pytest.raises(TokenError):
        verify(SECRET, "salt", token)


def test_an_endpoint_signs_with_its_secret() -> None:
    endpoint = Endpoint({}, secret_key=SECRET)
    token = endpoint.sign("salt", 1)
    assert endpoint.verify("salt", token) == verify(SECRET, "salt", token) == 1
    with pytest.raises(TokenInvalidError):
        Endpoint({}, secret_key="another").verify("salt", token)  # noqa: S106  # as above


def test_an_endpoint_without_a_secret_says_what_it_needs() -> None:
    with pytest.raises(RuntimeError, match=r"tokens need a secret: Endpoint\(…, secret_key=…\)"):
        Endpoint({}).sign("salt", 1)


OLD, NEW, OTHER_SECRET = "the old secret", "the new secret", "another secret"


@pytest.mark.parametrize(
    ("signs", "verifies", "good"),
    [
        (OLD, [NEW, OLD], True),
        ([NEW, OLD], NEW, True),
        ([NEW, OLD], OLD, False),
        ([NEW, OLD], [OLD, NEW], True),
        ([NEW], NEW, True),
        (OLD, [NEW], False),
        (OTHER_SECRET, [NEW, OLD], False),
    ],
)
def test_the_first_of_several_secrets_signs_and_any_verifies(signs: Any, verifies: Any, *, good: bool) -> None:
    token = sign(signs, "salt", {"user": "alice"})
    if good:
        assert verify(verifies, "salt", token) == {"user": "alice"}
        assert Endpoint({}, secret_key=verifies).verify("salt", token) == {"user": "alice"}
    else:
        with pytest.raises(TokenInvalidError):
            verify(verifies, "salt", token)


def test_the_format_is_that_of_itsdangerous() -> None:
    theirs = itsdangerous.URLSafeTimedSerializer(SECRET, salt="salt")
    assert theirs.loads(sign(SECRET, "salt", {"a": 1}), max_age=60) == {"a": 1}
    assert verify(SECRET, "salt", theirs.dumps({"a": 1})) == {"a": 1}


def test_an_age_without_end_is_one() -> None:
    assert verify(SECRET, "salt", TOKEN, now=1e9, max_age=float("inf")) == {"user": "alice"}


@pytest.mark.parametrize("wrong", [[], [""], "", ["good", None], 5, b"bytes", [5]], ids=repr)
def test_a_secret_that_is_none_is_an_error_at_the_start(wrong: Any) -> None:
    with pytest.raises(
        SocketError, match="secret_key must be a non-empty string or a list of them, newest first, got an invalid"
    ):
        Endpoint({}, secret_key=wrong)
