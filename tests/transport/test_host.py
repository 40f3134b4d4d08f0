"""Hosts as browsers write them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transport.access.host import ascii_host, canonical_host


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("example.com", "example.com"),
        ("Example.COM.", "example.com"),
        ("a_b.example", "a_b.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[2001:DB8:0:0::1]", "2001:db8::1"),
        ("", None),
        (".", None),
        ("a..b", None),
        (".a", None),
        ("127.1", None),
        ("256.0.0.1", None),
        ("1.2.3.4.5", None),
        ("::1", None),
        ("[::1", None),
        ("[]", None),
        ("[127.0.0.1]", None),
        *((f"a{sign}b", None) for sign in '\x00\t\n \x7f#%*/:<>?@[\\]^`{|},;"'),
    ],
)
def test_a_host_has_one_form(host: str, expected: str | None) -> None:
    assert canonical_host(host) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("example.com", "example.com"),
        ("2001:DB8::1", "2001:db8::1"),
        ("münchen.de", "xn--mnchen-3ya.de"),
        ("MU\u0308NCHEN.de.", "xn--mnchen-3ya.de"),
        ("bücher.例え.jp", "xn--bcher-kva.xn--r8jz45g.jp"),
        ("例え。jp", "xn--r8jz45g.jp"),
        ("\uff45xample\uff0ecom", "example.com"),
        # The rules of 2003 made another domain of these.
        ("straße.de", "xn--strae-oqa.de"),
        ("ΣΊΣΥΦΟΣ.gr", "xn--kxa6akbbkh.gr"),
        ("i❤.ws", "xn--i-7iq.ws"),
        ("ä..de", None),
        ("ä b.de", None),
        ("ä/b.de", None),
        ("ä\u00adb.de", None),
        ("a℀ä.de", None),
        ("⒈ä.de", None),
        ("ä" * 60, None),
    ],
)
def test_a_name_in_another_script_is_written_in_ascii(host: str, expected: str | None) -> None:
    assert ascii_host(host) == expected


@settings(deadline=None)
@given(st.text() | st.text("aÄß.。-[:1]"))
def test_the_form_of_a_host_is_ascii_and_final(host: str) -> None:
    written = ascii_host(host)
    assert written is None or (written.isascii() and ascii_host(written) == written)
