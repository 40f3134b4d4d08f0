"""The demo of Ashtree: two channels, one socket, one endpoint, one page.

    python demo.py --port 4000

Open the address that it prints, in two tabs. Read this file from top to bottom: it is the tutorial.
"""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from actors.clock import wall_time
from ashtree import (
    Channel,
    ConnectInfo,
    Endpoint,
    Metrics,
    Observer,
    Presence,
    Reply,
    Socket,
    StartError,
    Stop,
    System,
    TokenError,
    error,
    is_loopback,
    ok,
    pages,
)
from ashtree.observer import repl

# A channel is an actor: state of its own, one message at a time. This one counts, answers and holds back.


class DemoChannel(Channel):
    """Ticks every five seconds, answers pings now or later, and debounces what would be too much for the client."""

    # These broadcasts come to handle_out() before they go to the client.
    intercept = ("debounce_ping",)

    def join(self, topic: str, payload: Any) -> Reply:
        """Let everybody in; the first tick comes right after the reply."""
        self.assigns["current_tick"] = 0
        self.assigns["debounce_ping_debounce_state"] = "idle"
        self.send(self, "tick")
        return ok()

    def handle_in(self, event: str, payload: Any) -> Any:
        """Handle what the client pushes."""
        match event.split(":"):
            case ["ping"]:
                return ok({"response": "pong"})
            case ["ping", ms]:
                # Not answered now: a timer brings the socket_ref back to handle_info().
                self.send_after(int(ms) / 1000, ("ping", int(ms), self.socket_ref()))
            case ["debounce_ping"]:
                self.broadcast("debounce_ping")
            case _:
                # What we do not know ends this channel, and nothing else: the client gets phx_error and joins again.
                return super().handle_in(event, payload)
        return None

    def handle_info(self, message: Any) -> None:
        """Handle what actors and timers send."""
        match message:
            case "tick":
                self.push("tick", {"value": self.assigns["current_tick"]})
                self.assigns["current_tick"] += 1
                self.assigns["tick_timer"] = self.send_after(5.0, "tick")
            case ("ping", ms, ref):
                self.reply(ref, ok({"delay": ms, "response": "pong"}))
            case "debounce_ping_over":
                self.debounce_over()

    # Debouncing: the first goes out at once, then at most one in three seconds, the last of which is never lost.

    def handle_out(self, event: str, payload: Any) -> None:
        """Hold back broadcasts that come too fast."""
        if self.assigns["debounce_ping_debounce_state"] == "idle":
            self.push_and_debounce()
        else:
            self.assigns["debounce_ping_debounce_state"] = "called"

    def push_and_debounce(self) -> None:
        """Push one, and be quiet for three seconds."""
        self.push("debounce_ping")
        self.assigns["debounce_ping_debounce_state"] = "debouncing"
        self.assigns["debounce_ping_debounce_timer"] = self.send_after(3.0, "debounce_ping_over")

    def debounce_over(self) -> None:
        """Push what came meanwhile, or be ready for the next."""
        if self.assigns["debounce_ping_debounce_state"] == "called":
            self.push_and_debounce()
        else:
            self.assigns["debounce_ping_debounce_state"] = "idle"


# A presence says who is here, and tells all others: no channel has to say goodbye, its end is enough.

presence = Presence()


class RoomChannel(Channel):
    """A chat room, with buttons to break it."""

    # What it was told last is in the report of a crash: last_crash() at the prompt, the log, and the page at /observer.
    record = 20

    def join(self, topic: str, payload: Any) -> Reply:
        """Let everybody in, but not to the VIPs."""
        if topic == "room:vip":
            return error({"reason": "unauthorized"})
        self.send(self, "after_join")
        return ok()

    def handle_info(self, message: Any) -> None:
        """Say who has come, to all, and who is here, to the one who has come."""
        match message:
            case "after_join":
                presence.track(self, self.assigns["user"], {"online_at": int(wall_time())})
                self.push("presence_state", presence.list(self.topic))

    def handle_in(self, event: str, payload: Any) -> Any:
        """Handle what the client pushes."""
        user = self.assigns["user"]
        match event:
            case "new_msg":
                self.broadcast("new_msg", {"user": user, "body": payload["body"]})
                return ok()
            case "typing":
                self.broadcast_from("typing", {"user": user})
            case "echo" | "blob":
                return ok(payload)
            case "fail":
                return error({"reason": "failed on purpose"})
            case "whoami":
                return ok({"user": user, "channel": self.pid, "transport": self.socket.transport.pid})
            case "crash":
                raise RuntimeError("crashed on purpose")
            case "stop":
                return Stop(reply=ok())
            case "crash_transport":
                self.socket.transport.kill()
            case "kick":
                self.socket.endpoint.broadcast(f"users_socket:{payload['user']}", "disconnect", {})
                return ok()
            case _:
                return super().handle_in(event, payload)
        return None


class BenchChannel(Channel):
    """As little as a channel can be, for load generators."""

    def join(self, topic: str, payload: Any) -> Reply:
        """Let everybody in."""
        return ok()

    def handle_in(self, event: str, payload: Any) -> Any:
        """Echo to one, or shout to all."""
        match event:
            case "echo":
                return ok(payload)
            case "shout":
                self.broadcast("shout", payload)
            case _:
                return super().handle_in(event, payload)
        return None


# A socket says who may connect, and which channel serves which topic.


class UserSocket(Socket):
    """Knows its user by name; believes a token, if there is one, only if we have signed it."""

    channels = {"demo:*": DemoChannel, "room:*": RoomChannel, "bench:*": BenchChannel}  # noqa: RUF012  # as an author writes it

    def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Reply:
        """Accept everybody but forgers."""
        if "user_token" in params:
            try:
                self.endpoint.verify("user socket", params["user_token"])
            except TokenError:
                return error()
        self.assigns["user"] = params.get("user", "anonymous")
        return ok()

    def id(self) -> str | None:
        """Name the user's connections, so that a "disconnect" can reach them all."""
        user = self.assigns["user"]
        return None if user == "anonymous" else f"users_socket:{user}"


# An endpoint is where clients come in; the system is the tree that keeps all of it alive.


def demo_endpoint(host: str = "127.0.0.1", port: int | None = 4000) -> Endpoint:
    """Put the demo together."""
    return Endpoint(
        {"/socket": UserSocket},
        # The page is the demo's own; its client of the channels is that of the page at /observer.
        routes=pages("ashtree.demo", "page") | pages("transport", "static/shared"),
        host=host,
        port=port,
        check_origin=["//localhost", "//127.0.0.1"],
        secret_key=secrets.token_urlsafe(32),
        # For Prometheus, if the `metrics` extra is installed; for this machine alone.
        metrics=Metrics() if Metrics.installed() else None,
        # A page that shows all actors and can kill them: for this machine alone, or for whoever has the token.
        observer=Observer(None if port is not None and is_loopback(host) else secrets.token_urlsafe(16)),
    )


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog, description="Phoenix Channels in Python: a page to play with, actors to crash."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4000, help="0 takes a free one")
    parser.add_argument("--repl", action="store_true", help="a prompt to look inside, while it runs")
    parser.add_argument("--console", metavar="PATH", help="the same from elsewhere: python -m supervisors.console PATH")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    endpoint = demo_endpoint(options.host, options.port)

    def welcome(system: System) -> None:
        print(f"Ashtree's demo is at {endpoint.url} (Ctrl-{'D' if options.repl else 'C'} stops it)")
        print(f"All of its actors, live: {endpoint.observer_url}\n")
        print(system.tree(), flush=True)

    system = System([presence, endpoint], console=options.console)
    try:
        repl(system, welcome) if options.repl else system.run(welcome)
    except StartError as failed:
        sys.exit(f"demo: {failed.root}")


if __name__ == "__main__":
    main()
