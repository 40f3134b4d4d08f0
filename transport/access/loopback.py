"""What comes from this machine and from no other."""

from __future__ import annotations

from collections.abc import Container
from ipaddress import ip_address

__all__ = ["is_from_this_machine", "is_loopback"]

# What proxies add. One on this machine may have clients anywhere.
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


def is_loopback(host: str) -> bool:
    """Tell whether a host or an address can be reached from this machine alone."""
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_from_this_machine(peer: tuple[str, int] | None, host: str | None, headers: Container[str]) -> bool:
    """Tell whether a client is here, came without a proxy that says so, and asks for a loopback `host`.

    A page from elsewhere whose name leads to this machine (DNS rebinding) asks for its own name, and is none of ours. The
    names in `headers` are looked up in lower case.
    """
    if peer is None or not is_loopback(peer[0]) or any(name in headers for name in _FORWARDED):
        return False
    return host is not None and is_loopback(host)
