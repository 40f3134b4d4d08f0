"""The socket of the live page on its endpoint, with a rule of its own for the pages that may connect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from websockets.datastructures import MultipleValuesError

from transport.access.origin import origin_rule
from transport.mount import Mount

if TYPE_CHECKING:
    from transport.http.exchange import Incoming

__all__ = ["ObserverMount"]

_of_own_host = origin_rule(True)  # noqa: FBT003  # as an author writes it


class ObserverMount(Mount):
    """Lets pages of the host that is asked try, as its own page is one; of all others those that the endpoint allows.

    An endpoint's `check_origin` is about the application's pages. The observer has a token, or looks closer still.
    """

    def origin_allowed(self, incoming: Incoming) -> bool:
        """Tell whether a page of the request's origin may try."""
        headers = incoming.request.headers
        try:
            is_own = _of_own_host(headers.get("Origin"), headers.get("Host"), incoming.scheme)
        except MultipleValuesError:
            return False
        return is_own or super().origin_allowed(incoming)
