"""The proxies that an endpoint trusts, and what they say of clients, as pure functions.

A proxy tells the address of its client in headers (`x-forwarded-for`, `-proto`, `-host`) or before the first byte of the
connection (the PROXY protocol of HAProxy, versions 1 and 2). Any client can do the same, so this is read only from peers that
the endpoint trusts. https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt describes the protocol.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple

from actors.redaction import safe_repr
from transport.exceptions import SocketError

if TYPE_CHECKING:
    from ipaddress import IPv4Network

    from websockets.datastructures import Headers

__all__ = ["Address", "Forwarded", "InvalidPrefaceError", "Preface", "Proxies", "read_preface"]

Address = tuple[str, int]
"""An IP address and a port; 0 if the port is not known."""

_FOR, _PROTO, _HOST = "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"
# All proxies that connect through Unix sockets, as in nginx.
_UNIX = "unix:"
_SCHEMES = {"http": "http", "ws": "http", "https": "https", "wss": "https"}
_MOST_PORT = 65_535

# The PROXY protocol, version 1: a line, of at most 107 bytes with its end.
_V1 = b"PROXY "
_V1_SIZE = 107
_V1_FAMILIES = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}
# Version 2: a signature, version and command, family, and the size of the rest: addresses and further fields.
_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_HEAD = 16
_V2_SIZE = 4096
_LOCAL, _PROXY = 0x20, 0x21
_V2_FAMILIES = {0x11: 4, 0x21: 16}
"""The bytes of an address of TCP over IPv4 and IPv6."""


class Forwarded(NamedTuple):
    """What trusted proxies say of a request: its client's address, scheme and Host; None for what they do not say."""

    peer: Address | None
    scheme: str | None
    host: str | None


class Proxies:
    """The trusted proxies of an endpoint, and whether their connections begin with a PROXY protocol header.

    Raises:
        SocketError: naming the value that is no address or network.
    """

    def __init__(self, trusted: Collection[str] = (), *, proxy_protocol: bool = False) -> None:
        self._networks = _networks(trusted)
        self._trusts_unix = _UNIX in trusted
        if not isinstance(proxy_protocol, bool):
            raise SocketError(f"proxy_protocol must be a bool, got {safe_repr(proxy_protocol)}")
        if proxy_protocol and not self:
            raise SocketError("proxy_protocol=True needs the addresses of the proxies: trusted_proxies=[…]")
        self._proxy_protocol = proxy_protocol

    def __bool__(self) -> bool:
        return bool(self._networks) or self._trusts_unix

    def trust(self, peer: Address | None) -> bool:
        """Return whether a peer is a trusted proxy; one without an address has come through a Unix socket."""
        if peer is None or not self._networks:
            return peer is None and self._trusts_unix
        address = _read_ip(peer[0])
        return address is not None and any(address in network for network in self._networks)

    def send_preface(self, peer: Address | None) -> bool:
        """Return whether a connection of this peer has to begin with a PROXY protocol header."""
        return self._proxy_protocol and self.trust(peer)

    def forwarded(self, peer: Address | None, headers: Headers) -> Forwarded | None:
        """Return what the headers of a request say, if its peer is a trusted proxy; None otherwise."""
        if not self.trust(peer):
            return None
        scheme = _SCHEMES.get((_last(headers.get_all(_PROTO)) or "").lower())
        return Forwarded(self._client(peer, headers.get_all(_FOR)), scheme, _last(headers.get_all(_HOST)))

    def _client(self, peer: Address | None, forwarded_for: Sequence[str]) -> Address | None:
        """Return the rightmost address that is not a trusted proxy's; what is left of it was written by the client.

        If all are trusted, or one cannot be read, it is the last one that a trusted proxy has named.
        """
        for text in reversed(",".join(forwarded_for).split(",")):
            address = _read_address(text.strip())
            if address is None:
                break
            peer = address
            if not self.trust(address):
                break
        return peer


def _networks(trusted: object) -> list[IPv4Network | IPv6Network]:
    if isinstance(trusted, str | bytes) or not isinstance(trusted, Collection):
        raise SocketError(f'trusted_proxies takes a list such as ["127.0.0.1", "10.0.0.0/8"], got {safe_repr(trusted)}')
    return [_network(each) for each in trusted if each != _UNIX]


def _network(text: object) -> IPv4Network | IPv6Network:
    try:
        if isinstance(text, str):
            return ip_network(text)
        reason = ""
    except ValueError as error:
        reason = f": {error}"
    raise SocketError(
        f'trusted_proxies takes entries such as "127.0.0.1", "10.0.0.0/8" and "unix:", got {safe_repr(text)}{reason}'
    )


@lru_cache(maxsize=1024)
def _read_ip(text: str) -> IPv4Address | IPv6Address | None:
    try:
        # Without the zone of a link-local address, such as fe80::1%eth0.
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A socket that listens on both versions sees ::ffff:10.0.0.1 for 10.0.0.1.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _read_address(text: str) -> Address | None:
    """Parse 192.0.2.1, 192.0.2.1:5000, 2001:db8::1 or [2001:db8::1]:5000; None for anything else."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    address = _read_ip(host)
    number = _read_port(port or "0")
    return None if address is None or number is None else (str(address), number)


def _read_port(text: str) -> int | None:
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(_MOST_PORT))
    return int(text) if is_number and int(text) <= _MOST_PORT else None


def _last(values: Sequence[str]) -> str | None:
    """Return the last of several values, which the nearest proxy has written; None for an empty one."""
    return values[-1].rpartition(",")[2].strip() or None if values else None


# The PROXY protocol


class InvalidPrefaceError(ValueError):
    """What was received is no PROXY protocol header."""


class Preface(NamedTuple):
    """A PROXY protocol header: the address of the client, None if the connection is the proxy's own; and its size in bytes."""

    peer: Address | None
    size: int


def read_preface(data: bytes) -> Preface | None:
    """Return the PROXY protocol header at the beginning of a connection; None if it is incomplete.

    Raises:
        InvalidPrefaceError: if there is none, or it is longer than such headers are.
    """
    if _V2.startswith(data[: len(_V2)]):
        return _read_v2(data)
    if _V1.startswith(data[: len(_V1)]):
        return _read_v1(data)
    raise InvalidPrefaceError("expected a PROXY protocol header")


def _read_v1(data: bytes) -> Preface | None:
    end = data.find(b"\r\n", 0, _V1_SIZE)
    if end >= 0:
        return Preface(_read_line(data[:end].split(b" ")), end + 2)
    if len(data) >= _V1_SIZE:
        raise InvalidPrefaceError("the line of the PROXY protocol is too long")
    return None


def _read_line(fields: list[bytes]) -> Address | None:
    """Parse PROXY TCP4 <source> <destination> <source port> <destination port>."""
    if fields[1] == b"UNKNOWN":
        return None
    family = _V1_FAMILIES.get(fields[1])
    try:
        _, _, source, destination, *ports = (field.decode("ascii") for field in fields)
        numbers = [_read_port(port) for port in ports]
        if family is None or len(numbers) != 2 or None in numbers:  # noqa: PLR2004  # source and destination
            raise InvalidPrefaceError("the line of the PROXY protocol is invalid")
        family(destination)
        return str(family(source)), numbers[0] or 0
    except ValueError as error:
        raise InvalidPrefaceError(f"the line of the PROXY protocol is invalid: {error}") from None


def _read_v2(data: bytes) -> Preface | None:
    if len(data) < _V2_HEAD:
        return None
    command, family, size = data[12], data[13], _V2_HEAD + int.from_bytes(data[14:16], "big")
    if command not in {_LOCAL, _PROXY} or size > _V2_SIZE:
        raise InvalidPrefaceError("the PROXY protocol header is invalid, or too long")
    if len(data) < size:
        return None
    width = _V2_FAMILIES.get(family)
    if command == _LOCAL or width is None:
        return Preface(None, size)
    if size < _V2_HEAD + 2 * width + 4:
        raise InvalidPrefaceError("the PROXY protocol header is too short for its addresses")
    ports = _V2_HEAD + 2 * width
    source = ip_address(bytes(data[_V2_HEAD : _V2_HEAD + width]))
    return Preface((str(source), int.from_bytes(data[ports : ports + 2], "big")), size)
