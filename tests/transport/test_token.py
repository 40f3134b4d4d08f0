"""Signed tokens; the time is passed in."""

from __future__ import annotations

import hashlib
from traceback import format_exception
from typing import Any

import itsdangerous
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transport import Endpoint, SocketError, TokenError, TokenExpiredError, TokenInvalidError, TokenMissingError
from transport.access.token import DAY, SECRET_VARIABLE, read, sign, verify

SECRET = "a secret of at least 32 bytes for tests"  # noqa: S105  # of a test


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
    with pytest.raises(TokenInvalidError):
        verify(SECRET, "salt", sign(SECRET, "salt", 1, signed_at=2000.0), now=1000.0)


ANOTHER = "another secret of at least 32 bytes"
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


@pytest.mark.parametrize(("secret", "salt"), [(ANOTHER, "salt"), (SECRET, "another salt"), (SECRET, "")])
def test_a_token_for_something_else_is_invalid(secret: str, salt: str) -> None:
    with pytest.raises(TokenInvalidError):
        verify(secret, salt, TOKEN, now=1000.0)


def test_a_forged_token_is_invalid_however_old() -> None:
    with pytest.raises(TokenInvalidError):
        verify(ANOTHER, "salt", TOKEN, now=1e9)


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
        Endpoint({}, secret_key=ANOTHER).verify("salt", token)


def test_an_endpoint_without_a_secret_says_what_it_needs() -> None:
    with pytest.raises(RuntimeError, match=r"tokens need a secret: Endpoint\(…, secret_key=…\)"):
        Endpoint({}).sign("salt", 1)


def test_an_endpoint_without_a_secret_has_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    token = Endpoint({}).sign("salt", 1)
    assert verify(SECRET, "salt", token) == 1
    assert verify(ANOTHER, "salt", Endpoint({}, secret_key=ANOTHER).sign("salt", 2)) == 2
    monkeypatch.setenv(SECRET_VARIABLE, "short")
    with pytest.raises(SocketError, match=r"environment variable ASHTREE_SECRET_KEY: .* at least 32 bytes") as caught:
        Endpoint({})
    assert "short" not in str(caught.value).replace("shorter", "")
    monkeypatch.setenv(SECRET_VARIABLE, "")
    with pytest.raises(RuntimeError, match="tokens need a secret"):
        Endpoint({}).sign("salt", 1)


OLD, NEW = "the old secret of at least 32 bytes", "the new secret of at least 32 bytes"


@pytest.mark.parametrize(
    ("signs", "verifies", "good"),
    [
        (OLD, [NEW, OLD], True),
        ([NEW, OLD], NEW, True),
        ([NEW, OLD], OLD, False),
        ([NEW, OLD], [OLD, NEW], True),
        ([NEW], NEW, True),
        (OLD, [NEW], False),
        (ANOTHER, [NEW, OLD], False),
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


SHA256 = {"key_derivation": "hmac", "digest_method": hashlib.sha256}


def test_the_format_is_that_of_itsdangerous_with_sha256() -> None:
    theirs = itsdangerous.URLSafeTimedSerializer(SECRET, salt="salt", signer_kwargs=SHA256)
    assert theirs.loads(sign(SECRET, "salt", {"a": 1}), max_age=60) == {"a": 1}
    assert verify(SECRET, "salt", theirs.dumps({"a": 1})) == {"a": 1}


@pytest.mark.parametrize("secrets", [[OLD], [NEW, OLD]])
def test_a_token_that_an_earlier_version_has_signed_is_still_read(secrets: list[str]) -> None:
    old = itsdangerous.URLSafeTimedSerializer(OLD, salt="salt").dumps({"a": 1})
    assert verify(secrets, "salt", old) == {"a": 1}
    with pytest.raises(TokenInvalidError):
        verify(secrets, "another salt", old)


def test_an_age_without_end_is_one() -> None:
    assert verify(SECRET, "salt", TOKEN, now=1e9, max_age=float("inf")) == {"user": "alice"}


@pytest.mark.parametrize("wrong", [[], ["s" * 32, None], 5, b"s" * 32, [5], {"s" * 32}], ids=repr)
def test_a_secret_that_is_none_is_an_error_at_the_start(wrong: Any) -> None:
    with pytest.raises(SocketError, match=r"secrets\.token_urlsafe\(48\) .* newest first, got an invalid"):
        Endpoint({}, secret_key=wrong)
    for use in (lambda: sign(wrong, "salt", 1), lambda: verify(wrong, "salt", TOKEN)):
        with pytest.raises(SocketError):
            use()


@pytest.mark.parametrize(
    ("wrong", "size"), [("", 0), ("x", 1), ("s" * 31, 31), ("ü" * 15, 30), (["s" * 32, "short"], 5)]
)
def test_a_secret_that_is_short_is_an_error_that_says_how_to_make_one(wrong: Any, size: int) -> None:
    says = rf"at least 32 bytes, such as secrets\.token_urlsafe\(48\) returns; .*; got one of {size}"
    with pytest.raises(SocketError, match=says):
        Endpoint({}, secret_key=wrong)
    with pytest.raises(SocketError, match=says):
        sign(wrong, "salt", 1)
    with pytest.raises(SocketError, match=says):
        verify(wrong, "salt", TOKEN)


def test_a_secret_of_32_bytes_is_long_enough() -> None:
    assert verify("ü" * 16, "salt", sign("ü" * 16, "salt", 1)) == 1


def test_a_secret_that_utf8_does_not_have_is_an_error_at_the_start() -> None:
    with pytest.raises(SocketError, match="lone surrogate"):
        Endpoint({}, secret_key="\ud800" * 32)


@pytest.mark.parametrize("age", [-1.0, -9.0, -10.0])
def test_a_clock_that_is_a_little_ahead_does_no_harm(age: float) -> None:
    assert verify(SECRET, "salt", TOKEN, now=1000.0 + age) == {"user": "alice"}


@pytest.mark.parametrize(("age", "leeway"), [(-11.0, 10.0), (-3600.0, 10.0), (-1.0, 0.0), (-61.0, 60.0)])
def test_a_token_of_the_future_is_invalid_and_not_expired(age: float, leeway: float) -> None:
    says = rf"signed {-age:g} s in the future, more than the leeway of {leeway:g} s"
    with pytest.raises(TokenInvalidError, match=says):
        verify(SECRET, "salt", TOKEN, now=1000.0 + age, leeway=leeway, max_age=float("inf"))


def test_the_leeway_can_be_another() -> None:
    assert verify(SECRET, "salt", TOKEN, now=940.0, leeway=60) == {"user": "alice"}


def test_a_leeway_does_not_prolong_a_token() -> None:
    with pytest.raises(TokenExpiredError, match="its age is 61 s, its max_age 60 s"):
        verify(SECRET, "salt", TOKEN, now=1061.0, max_age=60, leeway=3600)


@pytest.mark.parametrize("max_age", [0, -1, -60.0, float("-inf")])
@pytest.mark.parametrize("age", [-5.0, 0.0, 5.0])
def test_without_an_age_every_token_has_expired(max_age: float, age: float) -> None:
    with pytest.raises(TokenExpiredError):
        verify(SECRET, "salt", TOKEN, now=1000.0 + age, max_age=max_age)


@pytest.mark.parametrize("wrong", [float("nan"), None, "60", True, [60]], ids=repr)
def test_a_max_age_that_is_no_number_is_an_error_of_the_author(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r'max_age must be a number of seconds, or float\("inf"\)'):
        verify(SECRET, "salt", TOKEN, max_age=wrong)


@pytest.mark.parametrize("wrong", [float("nan"), None, "60", True, -1], ids=repr)
def test_a_leeway_that_is_no_number_is_an_error_of_the_author(wrong: Any) -> None:
    with pytest.raises(ValueError, match="leeway must be seconds >= 0"):
        verify(SECRET, "salt", TOKEN, leeway=wrong)


@pytest.mark.parametrize("salt", [None, 5, b"salt"], ids=repr)
def test_a_salt_that_is_none_is_an_error_of_the_author(salt: Any) -> None:
    for use in (lambda: sign(SECRET, salt, 1), lambda: verify(SECRET, salt, TOKEN)):
        with pytest.raises(TypeError, match='salt must be a str that names the purpose, such as "user socket"'):
            use()


@pytest.mark.parametrize("wrong", [5, 1.5, True, b"bytes", TOKEN.encode(), [], [TOKEN], {}, {"a": TOKEN}, object()])
def test_what_is_no_text_is_an_invalid_token(wrong: object) -> None:
    with pytest.raises(TokenInvalidError, match="a token is a str, got a value of type"):
        verify(SECRET, "salt", wrong)


def test_a_missing_token_has_an_error_of_its_own_which_is_one_of_invalid_tokens() -> None:
    with pytest.raises(TokenMissingError):
        verify(SECRET, "salt", None)
    with pytest.raises(TokenInvalidError):
        Endpoint({}, secret_key=SECRET).verify("salt", None)


@pytest.mark.parametrize("token", ["forged" * 1000, TOKEN[:-1] + "~", "\ud800", [TOKEN]])
def test_an_error_does_not_show_what_a_client_has_sent(token: Any) -> None:
    with pytest.raises(TokenInvalidError) as raised:
        verify(SECRET, "salt", token)
    assert len("".join(format_exception(raised.value))) < 4000
    assert "forged" not in "".join(format_exception(raised.value)).replace(__name__, "").partition("During")[2]
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_the_times_of_a_token_can_be_read() -> None:
    assert read(SECRET, "salt", TOKEN, max_age=60, now=1030.0) == ({"user": "alice"}, 1000.0, 1060.0)
    assert read(SECRET, "salt", TOKEN, max_age=float("inf"), now=1e9).expires_at == float("inf")


def test_an_endpoint_reads_the_times_of_its_tokens() -> None:
    endpoint = Endpoint({}, secret_key=SECRET)
    signed = endpoint.read_token("salt", endpoint.sign("salt", 1), max_age=60)
    assert (signed.data, signed.expires_at - signed.signed_at) == (1, 60.0)
