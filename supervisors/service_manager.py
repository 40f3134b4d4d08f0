"""What a program tells the service manager that has started it: systemd, by the protocol of `Type=notify` (man 3 sd_notify)."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

__all__ = ["READY", "STOPPING", "notify"]

READY, STOPPING = "READY=1", "STOPPING=1"


def notify(state: str) -> None:
    """Send a state to the service manager, if there is one; it does not wait, and an error is ignored."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    # Other kinds of addresses are for virtual machines. An abstract one of Linux begins with @.
    if path[:1] not in ("/", "@") or not hasattr(socket, "AF_UNIX"):
        return
    with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
        sending.settimeout(0)
        sending.sendto(state.encode(), path.replace("@", "\0", 1) if path[0] == "@" else path)
