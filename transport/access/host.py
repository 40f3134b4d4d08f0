"""Host names as browsers write them in the headers Origin and Host, as pure functions."""

from __future__ import annotations

import re
import unicodedata
from ipaddress import IPv4Address, IPv6Address

__all__ = ["ascii_host", "canonical_host"]

# What no host contains (https://url.spec.whatwg.org/#forbidden-host-code-point); "*" is of our own patterns.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f#%*/:<>?@\[\\\]^`{|},;\"]")
# What separates the labels of a name, in its own script (RFC 3490, section 3.1).
_DOTS = re.compile("[.\u3002\uff0e\uff61]")
_LONGEST_LABEL = 63


def canonical_host(host: str) -> str | None:
    """Return a host in the form in which two of them are compared; None if it is not a valid host.

    It is in lower case, without the dot at the end of a complete name; an IPv6 address is in its shortest form, without the
    brackets that it may be given with.
    """
    try:
        if host.startswith("[") and host.endswith("]"):
            return str(IPv6Address(host[1:-1]))
        name = host.lower().removesuffix(".")
        if _FORBIDDEN.search(name) or not all(labels := name.split(".")):
            return None
        # Where the last label is a number, browsers take the whole for an IPv4 address.
        return str(IPv4Address(name)) if labels[-1].isdecimal() else name
    except ValueError:
        return None


def ascii_host(host: str) -> str | None:
    """Return a host that an author wrote in the form in which browsers send it: "münchen.de" is "xn--mnchen-3ya.de" there.

    An IPv6 address may be without brackets.
    """
    if host.isascii():
        return canonical_host(f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host)
    labels = [_ascii_label(label) for label in _DOTS.split(host)]
    return None if None in labels else canonical_host(".".join(map(str, labels)))


def _ascii_label(label: str) -> str | None:
    """Return a label in ASCII, as browsers do since 2023 (UTS 46, non-transitional); None if it cannot be in a name.

    Python's codec "idna" implements the rules of 2003, by which "straße.de" is the domain "strasse.de": another owner's.
    """
    # Letter by letter, as the lower case of Σ depends on its neighbours.
    mapped = unicodedata.normalize("NFKC", "".join(map(str.lower, unicodedata.normalize("NFKC", label))))
    if "." in mapped or not mapped.isprintable():
        return None
    encoded = mapped if mapped.isascii() else f"xn--{mapped.encode('punycode').decode()}"
    return encoded if len(encoded) <= _LONGEST_LABEL else None
