"""What load balancers and Kubernetes ask an endpoint: whether it lives, and whether it takes clients."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from actors.callbacks import check_function
from actors.log import Log
from actors.lowlevel import Scheduler
from actors.redaction import safe_repr
from actors.time_bound import TimeBound
from actors.validation import check_seconds
from transport.exceptions import SocketError
from transport.extension import Extension
from transport.http.exchange import answer_page, respond
from transport.http.request_target import route_of

if TYPE_CHECKING:
    from websockets.http11 import Response

    from transport.endpoint_api import EndpointAPI
    from transport.http.exchange import Answer, Application, Incoming

__all__ = ["Health"]

_log = Log("ashtree.transport")

Check = Callable[[], object]
"""Returns False, or raises, if what it looks at does not work; it may be `async`."""


class Health(Extension):
    """Answers the probes of load balancers and Kubernetes: `Endpoint(…, health=Health())`; see docs/deployment.md.

    - GET /health/live is 200 as long as the supervision tree runs: `{"status": "ok"}`.
    - GET /health/ready is 200, `{"status": "ready"}`, when the endpoint accepts clients, and otherwise 503: "draining" from the
      moment it is told to stop, before its port closes; "starting"; or "degraded", with the names of the `checks` that failed,
      and "pubsub" while the adapter of its PubSub cannot reach other processes.

    HEAD and OPTIONS have the same status. The options:

    - `path`: where the two are, instead of "/health".
    - `checks`: functions by name, for what your application needs: `{"database": database_answers}`. One fails if it returns
      False, raises, or all have not returned after `timeout` seconds; it may be `async`, and then others go on meanwhile. They
      run at each request for `ready`, one after the other, so they should be cheap. Why one failed is in the log.

    Raises:
        SocketError: if `path` or `checks` is invalid.
        ValueError: if `timeout` is not above zero.
    """

    def __init__(
        self, path: str = "/health", *, checks: Mapping[str, Check] | None = None, timeout: float = 1.0
    ) -> None:
        check_seconds("timeout", timeout, "> 0")
        self.path, self._checks, self._timeout = _checked_path(path), _checked(checks or {}), timeout
        self._endpoint: EndpointAPI | None = None

    def bind(self, endpoint: EndpointAPI) -> Health:
        """Return the health of one endpoint."""
        bound = Health(self.path, checks=self._checks, timeout=self._timeout)
        bound._endpoint = endpoint
        return bound

    def handlers(self) -> Mapping[str, Application]:
        """Return the two pages."""
        return {f"{self.path}/live": self._live, f"{self.path}/ready": self._ready}

    def _live(self, incoming: Incoming) -> Answer:
        assert self._endpoint is not None
        is_down = self._endpoint.status == "down"
        response = _response(503, status="down") if is_down else _response(200, status="ok")
        return answer_page(incoming.request, lambda _: response)

    def _ready(self, incoming: Incoming) -> Answer | Awaitable[Answer]:
        assert self._endpoint is not None
        status = self._endpoint.status
        if status == "ready" and (self._checks or self._trouble()):
            return self._checked_later(incoming)
        response = _response(200 if status == "ready" else 503, status=status)
        return answer_page(incoming.request, lambda _: response)

    async def _checked_later(self, incoming: Incoming) -> Answer:
        failed = [*self._trouble(), *await self._failed()]
        response = _response(503, status="degraded", failed=failed) if failed else _response(200, status="ready")
        return answer_page(incoming.request, lambda _: response)

    def _trouble(self) -> list[str]:
        """Return what clients would miss: broadcasts of other processes. Why is in the log, and not for everyone to read."""
        assert self._endpoint is not None
        return [] if self._endpoint.pubsub.adapter.trouble() is None else ["pubsub"]

    async def _failed(self) -> list[str]:
        """Return the names of the checks that fail."""
        failed, bound = [], TimeBound(Scheduler.here().clock, self._timeout)
        left = dict(self._checks)
        try:
            with bound:
                for name, check in self._checks.items():
                    if not await _passes(name, check):
                        failed.append(name)
                    del left[name]
        except TimeoutError:
            _report(f"the checks {', '.join(left)} have not returned within {self._timeout:g} s", None)
            failed += left
        return failed


async def _passes(name: str, check: Check) -> bool:
    try:
        result = check()
        if inspect.isawaitable(result):
            result = await result
    except Exception as error:  # noqa: BLE001  # the author's: the check has failed
        _report(f"the check {name} failed", error)
        return False
    if result is False:
        _report(f"the check {name} returned False", None)
    return result is not False


def _report(what: str, error: BaseException | None) -> None:
    if Scheduler.here().crash_log.admits(_log, "checks that fail", Health):
        _log.error("not ready: %s", what, exc_info=error)


def _response(code: int, **members: object) -> Response:
    response = respond(code, msgspec.json.encode(members), "application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def _checked_path(path: object) -> str:
    if isinstance(path, str) and path.startswith("/"):
        return route_of(path)
    raise SocketError(f'the path of Health must begin with "/", such as "/health", got {safe_repr(path)}')


def _checked(checks: object) -> dict[str, Check]:
    if not isinstance(checks, Mapping) or not all(isinstance(name, str) and name for name in checks):
        raise SocketError(
            f'checks are given by their names: Health(checks={{"database": database_answers}}), got {safe_repr(checks)}'
        )
    for name, check in checks.items():
        try:
            check_function(f"the check {name!r}", check, plain=False)
        except TypeError as wrong:
            raise SocketError(str(wrong)) from None
    return dict(checks)
