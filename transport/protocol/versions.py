"""The negotiation of the protocol's version: which serializer a client gets for its `vsn`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, NamedTuple

from actors.redaction import safe_repr
from transport.exceptions import SocketError

if TYPE_CHECKING:
    from actors.channels.message import Serializer

__all__ = ["DEFAULT_VERSION", "Versions"]

DEFAULT_VERSION = "1.0.0"
"""The version of a client that sends none: the parameter `vsn` came with version 2."""

_NUMBER = re.compile("0|[1-9][0-9]*")
_IDENTIFIER = re.compile("[0-9A-Za-z-]+")


class _Version(NamedTuple):
    """A version, such as 2.0.9; a pre-release comes before its release (semver.org, section 11)."""

    minor: str
    # Its length and text: they compare as the numbers do, whose digits a client may choose to be very many.
    patch: tuple[int, str]
    released: bool

    def fits(self, first: _Version) -> bool:
        """Return whether this is `~> first` in the syntax of Elixir's Version: not older, and newer in the patch only."""
        return self.minor == first.minor and self[1:] >= first[1:]


def _parse(text: str) -> _Version | None:
    """Parse a version, such as "2.0.0-rc.1+build.5"; None if it is not one (semver.org)."""
    version, plus, build = text.partition("+")
    release, minus, pre = version.partition("-")
    numbers = release.split(".")
    if len(numbers) != 3 or not all(map(_NUMBER.fullmatch, numbers)):  # noqa: PLR2004  # major, minor, patch
        return None
    if minus and not all(map(_is_pre_release, pre.split("."))):
        return None
    if plus and not all(map(_IDENTIFIER.fullmatch, build.split("."))):
        return None
    major, minor, patch = numbers
    return _Version(f"{major}.{minor}", (len(patch), patch), released=not minus)


def _is_pre_release(identifier: str) -> bool:
    pattern = _NUMBER if identifier.isdecimal() else _IDENTIFIER
    return pattern.fullmatch(identifier) is not None


class Versions:
    """The serializers of an endpoint, each by the first version that it speaks.

    Raises:
        SocketError: naming the invalid version, or the invalid serializer.
    """

    def __init__(self, serializers: Mapping[str, Serializer]) -> None:
        if not isinstance(serializers, Mapping):
            raise SocketError(
                "serializers are given by the versions that they speak: Endpoint(…, serializers=SERIALIZERS | "
                f'{{"2.0.0": MySerializer()}}), got {safe_repr(serializers)}'
            )
        self._serializers = [(_checked_version(vsn), _checked(vsn, each)) for vsn, each in serializers.items()]
        # Nearly every client sends one of these texts.
        self._common = {vsn: self._first_match(vsn) for vsn in serializers}

    @property
    def serializers(self) -> Collection[Serializer]:
        """The serializers, each once."""
        return dict.fromkeys(serializer for _, serializer in self._serializers)

    def negotiate(self, vsn: str) -> Serializer | None:
        """Return the first serializer that matches a client's `vsn`, or None."""
        return self._common[vsn] if vsn in self._common else self._first_match(vsn)

    def _first_match(self, vsn: str) -> Serializer | None:
        requested = _parse(vsn)
        if requested is not None:
            for first, serializer in self._serializers:
                if requested.fits(first):
                    return serializer
        return None


def _checked_version(vsn: object) -> _Version:
    version = _parse(vsn) if isinstance(vsn, str) else None
    if version is None:
        raise SocketError(f'serializers must be named by full versions, such as "3.0.0", got {safe_repr(vsn)}')
    return version


def _checked(vsn: str, serializer: Serializer) -> Serializer:
    methods = ("decode", "encode_reply", "encode_push", "encode_broadcast")
    missing = [f"{name}()" for name in methods if not callable(getattr(serializer, name, None))]
    if missing or isinstance(serializer, type):
        what = f"one with {' and '.join(missing)}" if missing else "an object, not its class"
        raise SocketError(f"serializers[{vsn!r}] must be a serializer, {what}; got {safe_repr(serializer)}")
    return serializer
