"""Which serializer speaks the version of the protocol that a client asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from transport.exceptions import SocketError

if TYPE_CHECKING:
    from actors.channels.message import Serializer

__all__ = ["DEFAULT_VERSION", "Versions"]

DEFAULT_VERSION = "1.0.0"
"""What a client speaks that does not say: version 2 came with the parameter `vsn`."""

_NUMBER = "0|[1-9][0-9]*"
_TAG = f"{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*"
_SEMVER = re.compile(
    rf"(?P<minor>(?:{_NUMBER})\.(?:{_NUMBER}))\.(?P<patch>{_NUMBER})"
    rf"(?P<pre>-(?:{_TAG})(?:\.(?:{_TAG}))*)?"
    r"(?P<build>\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)


class _Version(NamedTuple):
    """A version, such as 2.0.9; a pre-release comes before its release (semver.org, section 11)."""

    minor: str
    # As text after its length, which is in the order of the numbers however long they are.
    patch: tuple[int, str]
    released: bool

    def fits(self, first: _Version) -> bool:
        """Tell whether this is `~> first`, in the words of Elixir's Version: no older, and newer in the patch only."""
        return self.minor == first.minor and self[1:] >= first[1:]


def _parse(text: str) -> _Version | None:
    match = _SEMVER.fullmatch(text)
    if match is None:
        return None
    return _Version(match["minor"], (len(match["patch"]), match["patch"]), match["pre"] is None)


class Versions:
    """The serializers of an endpoint, each by the first version that it speaks.

    Raises:
        SocketError: naming what is no version, or no serializer.
    """

    def __init__(self, serializers: Mapping[str, Serializer]) -> None:
        self._serializers = [(_checked_version(vsn), _checked(vsn, each)) for vsn, each in serializers.items()]

    def negotiate(self, vsn: str) -> Serializer | None:
        """Return the serializer for a client's `vsn`, the first that fits; None if there is none for it."""
        asked = _parse(vsn)
        if asked is not None:
            for first, serializer in self._serializers:
                if asked.fits(first):
                    return serializer
        return None


def _checked_version(vsn: object) -> _Version:
    version = _parse(vsn) if isinstance(vsn, str) else None
    if version is None:
        raise SocketError(f'serializers must be named by full versions, such as "3.0.0", got {vsn!r}')
    return version


def _checked(vsn: str, serializer: Serializer) -> Serializer:
    methods = ("decode", "encode_reply", "encode_push", "encode_broadcast")
    missing = [f"{name}()" for name in methods if not callable(getattr(serializer, name, None))]
    if missing or isinstance(serializer, type):
        what = f"one with {' and '.join(missing)}" if missing else "an object, not its class"
        raise SocketError(f"serializers[{vsn!r}] must be a serializer, {what}; got {serializer!r}")
    return serializer
