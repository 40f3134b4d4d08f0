"""The demo of Ashtree: two channels, one socket, one endpoint, one page.

    python demo.py --port 4000     # from a checkout; once installed: ashtree demo --port 4000

Open the address that it prints in two tabs. This file is also the tutorial; read it from top to bottom.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import secrets
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from actors.clock import wall_time
from ashtree import (
    Channel,
    ConnectInfo,
    Drainer,
    Endpoint,
    Health,
    History,
    Idempotency,
    Metrics,
    Observer,
    Payload,
    Presence,
    PubSub,
    RedisPubSub,
    Reply,
    Socket,
    SocketError,
    StartError,
    Stop,
    System,
    TokenError,
    error,
    ok,
    pages,
)
from ashtree.demo.guides import guides
from ashtree.observer import repl

# What a client sends is checked where it is used; what is wrong raises, which ends the channel and nothing else.


def whole_number(text: str) -> int:
    """Read digits, perhaps with a sign; `int` alone would also read spaces, underscores and the digits of other scripts."""
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError(f"expected a whole number, got {text!r}")
    return int(text)


# A channel is an actor: it has its own state and handles one message at a time. This one counts, replies and debounces.


class DemoChannel(Channel):
    """Ticks every five seconds, replies to pings at once or later, and debounces a broadcast."""

    # These broadcasts are passed to handle_out() instead of being pushed to the client.
    intercept = ("debounce_ping",)

    def join(self, topic: str, payload: Payload) -> Reply:
        """Accept every join; the first tick is pushed right after the reply."""
        self.assigns["current_tick"] = 0
        self.assigns["debounce_ping_debounce_state"] = "idle"
        self.send(self, "tick")
        return ok()

    def handle_in(self, event: str, payload: Payload) -> Any:
        """Handle an event that the client has pushed."""
        match event.split(":"):
            case ["ping"]:
                return ok({"response": "pong"})
            case ["ping", digits]:
                # The reply is sent later, from handle_info(): the socket_ref says which push it answers.
                ms = whole_number(digits)
                self.send_after(ms / 1000, ("ping", ms, self.socket_ref()))
            case ["debounce_ping"]:
                self.broadcast("debounce_ping")
            case _:
                # An unknown event crashes this channel and nothing else: the client receives phx_error and joins again.
                return super().handle_in(event, payload)
        return None

    def handle_info(self, message: Any) -> None:
        """Handle a message from an actor or a timer."""
        match message:
            case "tick":
                self.push("tick", {"value": self.assigns["current_tick"]})
                self.assigns["current_tick"] += 1
                self.assigns["tick_timer"] = self.send_after(5.0, "tick")
            case ("ping", ms, ref):
                self.reply(ref, ok({"delay": ms, "response": "pong"}))
            case "debounce_ping_over":
                self.debounce_over()

    # Debouncing: the first broadcast is pushed at once, then at most one every three seconds; the last is never lost.

    def handle_out(self, event: str, payload: Payload) -> None:
        """Push an intercepted broadcast, unless one was pushed in the last three seconds."""
        if self.assigns["debounce_ping_debounce_state"] == "idle":
            self.push_and_debounce()
        else:
            self.assigns["debounce_ping_debounce_state"] = "called"

    def push_and_debounce(self) -> None:
        """Push, and debounce what follows for three seconds."""
        self.push("debounce_ping")
        self.assigns["debounce_ping_debounce_state"] = "debouncing"
        self.assigns["debounce_ping_debounce_timer"] = self.send_after(3.0, "debounce_ping_over")

    def debounce_over(self) -> None:
        """Push again if there was a broadcast in the meantime."""
        if self.assigns["debounce_ping_debounce_state"] == "called":
            self.push_and_debounce()
        else:
            self.assigns["debounce_ping_debounce_state"] = "idle"


# A presence tracks who is on a topic and broadcasts each change. When a channel exits, it is untracked automatically.

presence = Presence()


class RoomChannel(Channel):
    """A chat room, with events that crash it."""

    # The last 20 messages are part of a crash report: see last_crash() at the prompt, the log, and the page at /observer.
    record = 20
    # A client that was away gets the messages that it has missed: see docs/recovery.md.
    history = History(size=100, ttl=300.0, events=("new_msg",))
    # A message that a client sends again, as it has lost the answer with its connection, is said once.
    idempotency = Idempotency(ttl=300.0, events=("new_msg",))

    def join(self, topic: str, payload: Payload) -> Reply:
        """Accept joins of every room but the VIPs'."""
        if topic == "room:vip":
            return error({"reason": "unauthorized"})
        self.send(self, "after_join")
        return ok()

    def handle_info(self, message: Any) -> None:
        """Track the user, which notifies the room, and push the list of users to this client."""
        match message:
            case "after_join":
                presence.track(self, self.assigns["user"], {"online_at": int(wall_time())})
                self.push("presence_state", presence.list(self.topic))

    def handle_in(self, event: str, payload: Payload) -> Any:
        """Handle an event that the client has pushed."""
        user = self.assigns["user"]
        match event, payload:
            case "new_msg", _:
                self.broadcast("new_msg", {"user": user, "body": payload["body"]})
                return ok()
            case "typing", _:
                self.broadcast_from("typing", {"user": user})
            case ("echo", _) | ("blob", bytes()):
                return ok(payload)
            case "fail", _:
                return error({"reason": "failed on purpose"})
            case (("whoami" | "node"), _):
                return ok(self.whoami() if event == "whoami" else self.node())
            case "crash", _:
                raise RuntimeError("crashed on purpose")
            case "stop", _:
                return Stop(reply=ok())
            case "crash_transport", _:
                self.socket.transport.kill()
            case "kick", {"user": kicked} if not isinstance(kicked, dict):
                self.socket.endpoint.broadcast(f"users_socket:{kicked}", "disconnect", {})
                return ok()
            case _:
                return super().handle_in(event, payload)
        return None

    def node(self) -> Payload:
        """Return which process answers: another one after a deploy, or beside this one."""
        return {"node": self.pubsub.node, "pid": os.getpid()}

    def whoami(self) -> Payload:
        """Return the user, and the actors of this client."""
        return {"user": self.assigns["user"], "channel": self.pid, "transport": self.socket.transport.pid}


class BenchChannel(Channel):
    """A minimal channel, for load generators."""

    def join(self, topic: str, payload: Payload) -> Reply:
        """Accept every join."""
        return ok()

    def handle_in(self, event: str, payload: Payload) -> Any:
        """Echo to this client, or broadcast to all."""
        match event:
            case "echo":
                return ok(payload)
            case "shout":
                self.broadcast("shout", payload)
            case _:
                return super().handle_in(event, payload)
        return None


# A socket decides who may connect, and maps topics to channels.


class UserSocket(Socket):
    """Identifies the user by the param "user"; a param "user_token" must have a valid signature."""

    channels = {"demo:*": DemoChannel, "room:*": RoomChannel, "bench:*": BenchChannel}

    def connect(self, params: Mapping[str, Any], connect_info: ConnectInfo) -> Reply:
        """Accept the connection unless its token is invalid."""
        if "user_token" in params:
            try:
                self.endpoint.verify("user socket", params["user_token"])
            except TokenError:
                return error()
        self.assigns["user"] = str(params.get("user", "anonymous"))
        return ok()

    def id(self) -> str | None:
        """Return a topic for the user's connections: a broadcast of "disconnect" to it closes all of them."""
        user = self.assigns["user"]
        return None if user == "anonymous" else f"users_socket:{user}"


# An endpoint is what clients connect to. A system is the root of the supervision tree, which restarts what crashes.


def demo_endpoint(host: str = "127.0.0.1", port: int | None = 4000, **options: Any) -> Endpoint:
    """Return the endpoint of the demo; further options are those of `Endpoint`."""
    return Endpoint(
        {"/socket": UserSocket},
        # The demo's page, the JavaScript client that it shares with the page at /observer, and the documentation.
        routes=pages("ashtree.demo", "page") | pages("transport", "static/shared") | guides(),
        host=host,
        port=port,
        check_origin=["//localhost", "//127.0.0.1", "//[::1]"],
        # Tokens are signed with it; a new one for each start is enough for a demo.
        secret_key=os.environ.get("ASHTREE_SECRET_KEY") or secrets.token_urlsafe(32),
        # For load balancers: whether it takes clients.
        health=Health(),
        **options,
        # For Prometheus, if the extra `metrics` is installed; for clients on this machine only.
        metrics=Metrics() if Metrics.installed() else None,
        # A page that shows all actors and can kill them, for those who have its token; `main` prints the address.
        observer=Observer(announce=False),
    )


def add_deploy_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for deploys that lose no client."""
    parser.add_argument(
        "--reuse-port", action="store_true", help="let other processes listen on the port, such as a newer version"
    )
    parser.add_argument(
        "--drain-batch-size", type=int, default=10_000, metavar="N", help="connections that are closed at once"
    )
    parser.add_argument(
        "--drain-batch-interval", type=float, default=2.0, metavar="SECONDS", help="time from one batch to the next"
    )
    parser.add_argument(
        "--shutdown-timeout", type=float, default=30.0, metavar="SECONDS", help="time after which what is left is cut"
    )


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run until Ctrl-C."""
    parser = argparse.ArgumentParser(prog, description="Serve a page that uses channels and crashes their actors.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=4000, help="port to listen on; 0 takes a free one")
    parser.add_argument("--repl", action="store_true", help="open a prompt inside the running server")
    parser.add_argument("--console", metavar="PATH", help="allow `ashtree console PATH` to open such a prompt")
    parser.add_argument(
        "--redis",
        metavar="URL",
        default=os.environ.get("ASHTREE_REDIS_URL"),
        help="connect all processes with this Redis",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes that serve clients, watched by this one")
    parser.add_argument(
        "--history-ttl", type=float, default=300.0, metavar="SECONDS", help="time for which a room keeps its messages"
    )
    add_deploy_options(parser)
    options = parser.parse_args(arguments)
    if options.workers is not None and (options.workers < 1 or options.repl):
        parser.error(
            "--workers takes a number of processes, and --repl is a prompt inside the only one: choose one of them"
        )
    # A line for each connect and join; at a prompt they would be in the way.
    process = "" if options.workers is None else "%(process)d "
    logging.basicConfig(
        level="WARNING" if options.repl else "INFO", format=f"%(asctime)s {process}%(levelname)s %(message)s"
    )
    try:
        RoomChannel.history = replace(RoomChannel.history, ttl=options.history_ttl)
        drainer = Drainer(options.drain_batch_size, options.drain_batch_interval, options.shutdown_timeout)
        endpoint = demo_endpoint(options.host, options.port, reuse_port=options.reuse_port, drainer=drainer)
        # What is broadcast in one process reaches the clients of all that use the same Redis.
        pubsub = PubSub(adapter=RedisPubSub(options.redis)) if options.redis else None
    except (ValueError, SocketError, ModuleNotFoundError) as wrong:
        parser.error(str(wrong))

    def welcome(system: System) -> None:
        # Clients are served all the same if this cannot be printed: the terminal has gone, or the disk is full.
        with suppress(OSError):
            print(f"Ashtree's demo is at {endpoint.url} (Ctrl-{'D' if options.repl else 'C'} stops it)")
            print(f"All of its actors, live: {endpoint.observer_url}\n")
            print(system.tree(), flush=True)

    system = System(
        [presence, endpoint], pubsub=pubsub, console=options.console, shutdown_timeout=options.shutdown_timeout
    )
    try:
        repl(system, welcome) if options.repl else system.run(welcome, workers=options.workers)
    except StartError as failed:
        sys.exit(f"demo: {failed.root}")


if __name__ == "__main__":
    main()
