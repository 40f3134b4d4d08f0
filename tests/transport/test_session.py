"""Sessions in signed cookies, and the CSRF token that a page needs to use one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import itsdangerous
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import Reply, ok
from actors.clock import wall_time
from tests.transport.wire import HANDSHAKE, on_loop, serving
from transport import ConnectInfo, Endpoint, Socket, SocketError
from transport.access import token as tokens
from transport.access.session import SessionOptions, make_session, read_session

SECRET = "a secret of at least 32 bytes for tests"  # noqa: S105  # of a test
OPTIONS = SessionOptions("_app")
UNCHECKED = SessionOptions("_app", check_csrf=False)
MADE = make_session(OPTIONS, SECRET, {"user": 5})
SESSION = {"_csrf_token": MADE.csrf_token, "user": 5}


def signed(data: Any, *, salt: str = "ashtree session", signed_at: float | None = None) -> str:
    return "_app=" + tokens.sign(SECRET, salt, data, signed_at=signed_at)


@pytest.mark.parametrize(
    ("cookies", "csrf_token", "session"),
    [
        ([MADE.cookie], MADE.csrf_token, SESSION),
        ([f"a=1; {MADE.cookie}; b=2"], MADE.csrf_token, SESSION),
        (["a=1", MADE.cookie], MADE.csrf_token, SESSION),
        ([f"{MADE.cookie}; _app=other"], MADE.csrf_token, SESSION),
        ([f"_app=other; {MADE.cookie}"], MADE.csrf_token, None),
        ([MADE.cookie], None, None),
        ([MADE.cookie], "", None),
        ([MADE.cookie], "other", None),
        ([MADE.cookie], MADE.csrf_token + "ü", None),
        ([MADE.cookie + "x"], MADE.csrf_token, None),
        ([MADE.cookie.replace("_app", "_other")], MADE.csrf_token, None),
        ([signed({"_csrf_token": "t"}, salt="other")], "t", None),
        ([signed({"_csrf_token": "t"}, signed_at=0.0)], "t", None),
        ([signed({"_csrf_token": ""})], "", None),
        ([signed({"_csrf_token": None})], None, None),
        ([signed({})], "t", None),
        ([signed(["_csrf_token"])], "_csrf_token", None),
        ([signed("t")], "t", None),
        ([], MADE.csrf_token, None),
        (["", ";;=;", "_app"], MADE.csrf_token, None),
    ],
    ids=[
        "its cookie",
        "among others",
        "in a second header",
        "before one of its name",
        "behind one of its name",
        "no token",
        "an empty token",
        "another token",
        "a token that is not ASCII",
        "a damaged cookie",
        "another cookie",
        "signed for something else",
        "too old",
        "an empty token on both sides",
        "null on both sides",
        "a session without a token",
        "a list",
        "a text",
        "no cookie",
        "no cookies at all",
    ],
)
def test_a_session_is_for_the_page_that_knows_its_token(
    cookies: list[str], csrf_token: str | None, session: Any
) -> None:
    assert read_session(OPTIONS, SECRET, cookies, csrf_token) == session


@pytest.mark.parametrize(("cookie", "session"), [(MADE.cookie, SESSION), (MADE.cookie + "x", None)])
def test_without_the_check_the_cookie_is_enough(cookie: str, session: Any) -> None:
    assert read_session(UNCHECKED, SECRET, [cookie], None) == session


def test_a_session_outlives_its_secret_as_long_as_that_verifies() -> None:
    new = "the new secret of at least 32 bytes"
    assert read_session(OPTIONS, [new, SECRET], [MADE.cookie], MADE.csrf_token) == SESSION
    assert read_session(OPTIONS, [new], [MADE.cookie], MADE.csrf_token) is None


def test_a_session_that_an_earlier_version_has_made_is_still_read() -> None:
    old = "_app=" + itsdangerous.URLSafeTimedSerializer(SECRET, salt="ashtree session").dumps(SESSION)
    assert read_session(OPTIONS, SECRET, [old], MADE.csrf_token) == SESSION


@pytest.mark.parametrize(("leeway", "is_read"), [(10.0, False), (60.0, True)])
def test_a_session_of_a_machine_whose_clock_is_ahead_is_read_within_the_leeway(leeway: float, *, is_read: bool) -> None:
    options = SessionOptions("_app", leeway=leeway)
    ahead = signed(SESSION, signed_at=wall_time() + 30)
    assert (read_session(options, SECRET, [ahead], MADE.csrf_token) is not None) is is_read


def test_a_session_without_an_end_is_kept_as_long_as_browsers_keep_one() -> None:
    made = make_session(SessionOptions("_app", max_age=float("inf")), SECRET, {})
    assert "; Max-Age=34560000; " in made.set_cookie


@pytest.mark.parametrize("wrong", [5, None, "", ["t"]], ids=repr)
def test_a_csrf_token_that_could_never_match_is_an_error_of_the_author(wrong: object) -> None:
    with pytest.raises(TypeError, match="_csrf_token of a session must be a non-empty str"):
        make_session(OPTIONS, SECRET, {"_csrf_token": wrong})


@pytest.mark.parametrize(
    ("options", "attributes"),
    [
        (OPTIONS, "; Path=/; Max-Age=1209600; HttpOnly; SameSite=Lax"),
        (SessionOptions("_app", max_age=60.0, secure=True), "; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure"),
    ],
)
def test_a_cookie_is_kept_from_scripts_and_other_sites(options: SessionOptions, attributes: str) -> None:
    made = make_session(options, SECRET, {})
    assert made.set_cookie == made.cookie + attributes


def test_each_session_has_a_token_of_its_own_and_keeps_it() -> None:
    one, two = make_session(OPTIONS, SECRET, {}), make_session(OPTIONS, SECRET, {})
    assert one.csrf_token != two.csrf_token
    again = make_session(OPTIONS, SECRET, {"user": 6, "_csrf_token": one.csrf_token})
    assert again.csrf_token == one.csrf_token


@settings(deadline=None)
@given(st.text(), st.text())
def test_no_header_of_a_client_is_an_error(cookie: str, csrf_token: str) -> None:
    assert read_session(OPTIONS, SECRET, [cookie, f"_app={cookie}"], csrf_token) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cookie": ""}, "a session's cookie needs a name such as \"_my_app\", got ''"),
        ({"cookie": "a b"}, "a session's cookie needs a name such as \"_my_app\", got 'a b'"),
        ({"cookie": None}, 'a session\'s cookie needs a name such as "_my_app", got None'),
        ({"cookie": "a", "salt": None}, "a session's salt must be a str, got None"),
        ({"cookie": "a", "leeway": -1}, "a session's leeway must be >= 0 seconds, got -1"),
        ({"cookie": "a", "max_age": 0}, "a session's max_age must be > 0 seconds, got 0"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SocketError) as raised:
        SessionOptions(**options)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"session": OPTIONS}, "a session's cookie is signed: Endpoint(…, session=…) needs a secret_key"),
        (
            {"session": UNCHECKED, "secret_key": SECRET, "check_origin": False},
            "with check_origin=False and check_csrf=False every page could use a visitor's session; check one of them",
        ),
        ({"session": OPTIONS, "secret_key": SECRET, "check_origin": False}, None),
        ({"session": UNCHECKED, "secret_key": SECRET}, None),
        ({"check_origin": False}, None),
    ],
)
def test_an_endpoint_checks_the_page_or_its_token(options: dict[str, Any], wrong: str | None) -> None:
    if wrong is None:
        Endpoint({}, **options)
        return
    with pytest.raises(SocketError) as raised:
        Endpoint({}, **options)
    assert str(raised.value) == wrong


def test_an_endpoint_without_sessions_says_what_it_needs() -> None:
    with pytest.raises(RuntimeError, match=r"sessions need options: Endpoint\(…, session=SessionOptions\(…\)\)"):
        Endpoint({}, secret_key=SECRET).make_session({})


class UserSocket(Socket):
    """Writes down the sessions of its clients."""

    sessions: list[Any] = []  # noqa: RUF012  # cleared for each test

    def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Reply:
        self.sessions.append(connect_info.session)
        return ok()


@pytest.mark.parametrize("right", [True, False])
@on_loop
async def test_a_client_without_the_token_connects_without_the_session(*, right: bool) -> None:
    UserSocket.sessions.clear()
    async with serving(UserSocket, session=OPTIONS, secret_key=SECRET) as server:
        made = server.endpoint.make_session({"user": 5})
        query = f"vsn=2.0.0&_csrf_token={made.csrf_token if right else 'wrong'}"
        cookie = f"Cookie: {made.cookie}"
        tcp = await server.tcp()
        await tcp.send(HANDSHAKE.replace("vsn=2.0.0", query, 1).replace("Host:", f"{cookie}\r\nHost:", 1))
        assert (await tcp.answer()).status == 101
        await (await server.tcp()).get(f"/socket/longpoll?{query}", cookie)
    expected = {"user": 5, "_csrf_token": made.csrf_token} if right else None
    assert UserSocket.sessions == [expected, expected]
