"""Which hosts, and which clients, are this machine's own."""

from __future__ import annotations

import pytest

from transport.access.loopback import is_from_this_machine, is_loopback, is_of_this_machine


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:192.0.2.1", False),
        ("0.0.0.0", False),  # noqa: S104  # it is to be refused
        ("::", False),
        ("192.0.2.1", False),
        ("LocalHost", True),
        ("localhost.", True),
        ("shop.localhost", True),
        ("localhost.example", False),
        ("notlocalhost", False),
        (".localhost.example", False),
        ("", False),
    ],
)
def test_a_host_is_of_this_machine_alone_or_not(host: str, expected: bool) -> None:  # noqa: FBT001  # of the table
    assert is_loopback(host) is expected


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "0.0.0.0", "::", "[::]"])  # noqa: S104  # a host
def test_what_leads_here_over_the_loopback_interface_is_this_machine(host: str) -> None:
    assert is_of_this_machine(host)


@pytest.mark.parametrize("host", ["192.0.2.1", "evil.example", "", "0.0.0.0.example"])
def test_what_may_lead_elsewhere_is_not_this_machine(host: str) -> None:
    assert not is_of_this_machine(host)


@pytest.mark.parametrize(
    ("peer", "host", "headers", "expected"),
    [
        (("127.0.0.1", 5), "localhost", (), True),
        (("::1", 5), "::1", ("host", "user-agent"), True),
        (None, "localhost", (), False),
        (("192.0.2.1", 5), "localhost", (), False),
        (("127.0.0.1", 5), "rebound.example", (), False),
        (("127.0.0.1", 5), None, (), False),
        *(
            (("127.0.0.1", 5), "localhost", (name,), False)
            for name in ("forwarded", "x-forwarded-for", "x-forwarded-proto", "via", "x-real-ip", "cf-ray")
        ),
    ],
)
def test_a_client_is_here_asks_here_and_has_not_come_by_a_proxy(
    peer: tuple[str, int] | None,
    host: str | None,
    headers: tuple[str, ...],
    expected: bool,  # noqa: FBT001  # of the table
) -> None:
    assert is_from_this_machine(peer, host, headers) is expected
