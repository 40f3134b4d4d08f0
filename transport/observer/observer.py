"""The option that enables the live page: its path, the check of who may see it, and its socket."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hmac import compare_digest
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

from actors.channels.message import Reply, error, ok
from transport.access.loopback import is_from_this_machine, is_loopback
from transport.access.origin import origin_rule
from transport.exceptions import SocketError
from transport.extension import ObserverExtension
from transport.http.exchange import respond
from transport.http.pages import pages
from transport.http.request_target import RequestTarget
from transport.observer.observer_channel import ObserverChannel
from transport.observer.observer_mount import ObserverMount
from transport.socket import ConnectInfo, Socket

if TYPE_CHECKING:
    from websockets.http11 import Request, Response

    from actors.channel import Channel
    from transport.endpoint_api import EndpointAPI
    from transport.http.pages import Page
    from transport.mount import Mount, MountedOn
    from transport.socket import Route

__all__ = ["PATH", "Observer", "ObserverSocket"]

PATH = "/observer"
_ASSETS = f"{PATH}/"

# The pages of an endpoint that the live page has links to, if they are there.
_LINKS = {"Home": "/", "Metrics": "/metrics"}

# A browser sends its base64 as part of a subprotocol's name, which is limited; `secrets.token_urlsafe()` returns such tokens.
_TOKEN = re.compile(r"[A-Za-z0-9_.~-]{16,}")
_same_origin = origin_rule("conn")


@dataclass(frozen=True, slots=True, repr=False)
class Observer(ObserverExtension):
    """The live page of the supervision tree, for `Endpoint(…, observer=Observer())`. Anyone who sees it can kill every actor.

    Without a `token` it is for this machine only: for endpoints on a loopback address, and for browsers that connect
    from one with a page of that address. With a token it is for everyone who has it: the page asks for the token.

    Raises:
        SocketError: if the token is invalid.
    """

    token: str | None = None

    def __post_init__(self) -> None:
        if self.token is not None and not _TOKEN.fullmatch(str(self.token)):
            raise SocketError(
                "the observer's token must be 16 or more characters of A-Z a-z 0-9 _ . ~ - "
                "such as secrets.token_urlsafe() returns; got another one"
            )

    @property
    def location(self) -> str:
        """The path of the page, with the token in the fragment, which browsers do not send."""
        return PATH + (f"#token={self.token}" if self.token else "")

    def bind(self, endpoint: EndpointAPI) -> Observer:
        """Return this observer, which may serve several endpoints.

        Raises:
            SocketError: if there is no token, and the endpoint does not listen on a loopback address.
        """
        host = None if endpoint.port is None else endpoint.host
        if self.token is None and not (host is not None and is_loopback(host)):
            listens = "an endpoint without a port of its own" if host is None else f"an endpoint on {host!r}"
            raise SocketError(
                f"anyone who sees the observer can kill every actor, so {listens} needs a token for it: "
                "Endpoint(…, observer=Observer(token=…)), made by secrets.token_urlsafe() and kept secret"
            )
        return self

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

    def admits(self, info: ConnectInfo) -> bool:
        """Return whether a client may connect: it has the token, or, if there is none, is a page of this machine."""
        if self.token is not None:
            return compare_digest((info.auth_token or "").encode(), self.token.encode())
        return _is_of_this_machine(info)


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


def _is_of_this_machine(info: ConnectInfo) -> bool:
    """Return whether a client is on this machine, and, if it is a page, has the origin that it connects to."""
    uri = info.uri
    if uri is None or not is_from_this_machine(info.peer, uri.host, info.headers):
        return False
    return _same_origin(info.headers.get("origin"), info.headers.get("host"), uri.scheme)


class ObserverSocket(Socket):
    """The socket of the live page."""

    channels: ClassVar[Mapping[str, type[Channel] | Route]] = {"observer": ObserverChannel}
    auth_token: ClassVar[bool] = True
    log: ClassVar[str | None] = "info"

    def connect(self, params: Mapping[str, Any], connect_info: ConnectInfo) -> Reply:
        """Accept the clients that the observer admits."""
        observer = self.endpoint.extension(Observer)
        self.assigns["links"] = [[title, path] for title, path in _LINKS.items() if self.endpoint.has_page(path)]
        return ok() if observer is not None and observer.admits(connect_info) else error()
