"""The option that enables the live page: its path, the check of who may see it, and its socket."""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Mapping
from contextlib import suppress
from hmac import compare_digest
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

from actors.channels.message import Reply, error, ok
from transport.exceptions import SocketError
from transport.extension import ObserverExtension
from transport.http.exchange import respond
from transport.http.pages import pages
from transport.http.request_target import RequestTarget
from transport.observer.node_channel import SERVICE, NodeChannel, SceneService
from transport.observer.observer_channel import ObserverChannel
from transport.observer.observer_mount import ObserverMount
from transport.socket import ConnectInfo, Socket

if TYPE_CHECKING:
    from websockets.http11 import Request, Response

    from actors.channel import Channel
    from actors.pubsub.pubsub import PubSub
    from actors.ref import ActorRef
    from transport.endpoint_api import EndpointAPI
    from transport.http.pages import Page
    from transport.mount import Mount, MountedOn
    from transport.socket import Route

__all__ = ["PATH", "TOKEN_VARIABLE", "Observer", "ObserverSocket"]

PATH = "/observer"
_ASSETS = f"{PATH}/"

# The pages of an endpoint that the live page has links to, if they are there.
_LINKS = {"Home": "/", "Metrics": "/metrics"}

TOKEN_VARIABLE = "ASHTREE_OBSERVER_TOKEN"  # noqa: S105  # a variable's name
"""The environment variable with the token, where the application gives none."""

# A browser sends its base64 as part of a subprotocol's name, which is limited; `secrets.token_urlsafe()` returns such tokens.
_TOKEN = re.compile(r"[A-Za-z0-9_.~-]{16,}")


class Observer(ObserverExtension):
    """The live page of the supervision tree, for `Endpoint(…, observer=Observer())`. Who has its token can kill every actor.

    Everyone may open the page, which asks for the token. Without `token` it is that of the environment variable
    `ASHTREE_OBSERVER_TOKEN`, or else a new one: then the address with the token, which is `endpoint.observer_url`, is printed
    to stderr when the endpoint starts; not with `announce=False`, for applications that print it themselves.

    Raises:
        SocketError: if the token is invalid.
    """

    def __init__(self, token: str | None = None, *, announce: bool = True) -> None:
        given = _checked(os.environ.get(TOKEN_VARIABLE), TOKEN_VARIABLE) if token is None else _checked(token)
        self.token = secrets.token_urlsafe(24) if given is None else given
        self._announces = announce and given is None

    @property
    def location(self) -> str:
        """The path of the page, with the token in the fragment, which browsers do not send."""
        return f"{PATH}#token={self.token}"

    def announce(self, url: str) -> None:
        """Print the address with the token, if the token is a new one."""
        if self._announces and sys.stderr is not None:
            # A service may have been started without one, or have lost it.
            with suppress(OSError, ValueError):
                sys.stderr.write(f"The observer is at {url}{self.location}\n")
                sys.stderr.flush()

    def routes(self) -> Mapping[str, Page]:
        """Return the files of the page; everyone may see them, as they contain no data."""
        shared = pages("transport", "static/shared", assets=_ASSETS)
        own = pages("transport.observer", "page", index=PATH, assets=_ASSETS)
        return shared | own | {PATH: _without_slash(own[PATH])}

    def sockets(self) -> Mapping[str, type[Socket]]:
        """Return the socket of the page."""
        return {f"{PATH}/socket": ObserverSocket}

    def mount(self, endpoint: MountedOn, socket: type[Socket]) -> Mount:
        """Mount it with the observer's own check of origins."""
        return ObserverMount(endpoint, socket)

    def bind(self, endpoint: EndpointAPI) -> Observer:
        """Remember whose parameters are secret."""
        self._filtered = endpoint.filter_parameters
        return self

    def attach(self, supervisor: ActorRef, pubsub: PubSub) -> None:
        """Show this node on the pages of others that have the same token."""
        service = SceneService(self.token, pubsub.peers, supervisor.process, self._filtered)
        pubsub.peers.serve(SERVICE, service.answer)
        supervisor.process.own(service.end)

    def admits(self, info: ConnectInfo) -> bool:
        """Return whether a client may connect: it has the token, wherever it is."""
        return compare_digest((info.auth_token or "").encode(), self.token.encode())


def _checked(token: object, variable: str | None = None) -> str | None:
    """Return a token, which may be that of an environment variable; None if that is not set, or empty."""
    if variable is not None and not token:
        return None
    if isinstance(token, str) and _TOKEN.fullmatch(token):
        return token
    where = "" if variable is None else f", which {variable} sets,"
    raise SocketError(
        f"the observer's token{where} must be 16 or more characters of A-Z a-z 0-9 _ . ~ - "
        "such as secrets.token_urlsafe() returns; got another one"
    )


def _without_slash(page: Page) -> Page:
    """Return a page whose links are relative to its path: a request for the path with a slash behind it is redirected."""

    def answer(request: Request) -> Response:
        path = RequestTarget.read(request.path).path
        slashes = len(path) - len(path.rstrip("/"))
        if not slashes:
            return page(request)
        response = respond(HTTPStatus.FOUND)
        # Relative too, as the application may be mounted at a path that is not known here.
        response.headers["Location"] = "../" * slashes + PATH.removeprefix("/")
        return response

    return answer


class ObserverSocket(Socket):
    """The socket of the live page."""

    channels: ClassVar[Mapping[str, type[Channel] | Route]] = {"observer": ObserverChannel, "observer:*": NodeChannel}
    auth_token: ClassVar[bool] = True
    log: ClassVar[str | None] = "info"

    def connect(self, params: Mapping[str, Any], connect_info: ConnectInfo) -> Reply:
        """Accept the clients that the observer admits."""
        observer = self.endpoint.extension(Observer)
        self.assigns["links"] = [[title, path] for title, path in _LINKS.items() if self.endpoint.has_page(path)]
        if observer is None or not observer.admits(connect_info):
            return error()
        self.assigns["observer_token"] = observer.token
        return ok()
