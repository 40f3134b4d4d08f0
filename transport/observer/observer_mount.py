"""The mount of the live page's socket, with an origin check of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from websockets.datastructures import MultipleValuesError

from transport.access.origin import Asking, origin_rule
from transport.mount import Mount

if TYPE_CHECKING:
    from transport.http.exchange import Incoming

__all__ = ["ObserverMount"]

_of_own_host = origin_rule(True)  # noqa: FBT003  # as an application writes it


class ObserverMount(Mount):
    """Allows pages of the requested host, as the observer's own page is one, and those that the endpoint allows.

    An endpoint's `check_origin` is about the application's pages. What protects the observer is its token, which a page of a
    name that has been led here (DNS rebinding) does not know.
    """

    def origin_allowed(self, incoming: Incoming) -> bool:
        """Return whether a page of the request's origin may connect, if the observer admits it."""
        headers = incoming.request.headers
        try:
            is_own = _of_own_host(Asking(headers.get("Origin"), headers.get("Host"), incoming.scheme))
        except MultipleValuesError:
            return False
        return is_own or super().origin_allowed(incoming)
