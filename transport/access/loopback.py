"""Is this client local? It is if it is on this machine, and not behind a proxy."""

from __future__ import annotations

from collections.abc import Container
from ipaddress import IPv6Address, ip_address

__all__ = ["is_from_this_machine", "is_loopback"]

# Headers that proxies add. A proxy on this machine may have clients anywhere.
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


def is_loopback(host: str) -> bool:
    """Return whether a host name or an address is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return False
    # A server that listens on both versions of IP sees ::ffff:127.0.0.1 for 127.0.0.1.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def is_from_this_machine(peer: tuple[str, int] | None, host: str | None, headers: Container[str]) -> bool:
    """Return whether a client is on this machine, is not behind a proxy, and requests a loopback `host`.

    A foreign page whose name resolves to this machine (DNS rebinding) requests that name, and is not local. The names in
    `headers` are looked up in lower case.
    """
    if peer is None or not is_loopback(peer[0]) or any(name in headers for name in _FORWARDED):
        return False
    return host is not None and is_loopback(host)
