"""Is this client local? It is if it is on this machine, and not behind a proxy."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

__all__ = ["is_from_this_machine", "is_loopback", "is_of_this_machine"]

# Headers that proxies add, by how they begin. A proxy on this machine may have clients anywhere.
_FORWARDED = ("forwarded", "x-forwarded", "x-real-ip", "x-client-ip", "true-client-ip", "cf-", "cdn-loop", "via")


def is_loopback(host: str) -> bool:
    """Return whether a host name or an address is reachable from this machine only."""
    name = host.lower().removesuffix(".")
    # All names below "localhost" are this machine's (RFC 6761, section 6.3).
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and address.is_loopback


def is_of_this_machine(host: str) -> bool:
    """Return whether a host that is requested over the loopback interface is a name of that: also 0.0.0.0 leads there."""
    if is_loopback(host):
        return True
    address = _address(host)
    return address is not None and address.is_unspecified


@lru_cache(maxsize=1024)
def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return None
    # A server that listens on both versions of IP sees ::ffff:127.0.0.1 for 127.0.0.1.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_from_this_machine(peer: tuple[str, int] | None, host: str | None, headers: Iterable[str]) -> bool:
    """Return whether a client is on this machine, is not behind a proxy, and requests a loopback `host`.

    A foreign page whose name resolves to this machine (DNS rebinding) requests that name, and is not local. The names of the
    request's `headers` are in lower case. A proxy here that adds no header and requests a loopback host itself is taken for a
    local client.
    """
    if peer is None or not is_loopback(peer[0]) or any(name.startswith(_FORWARDED) for name in headers):
        return False
    return host is not None and is_loopback(host)
