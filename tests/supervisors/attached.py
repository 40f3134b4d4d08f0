"""A client of a console without a terminal, for tests: it sends frames, and waits for what comes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from actors.testing import WAIT
from supervisors.console.protocol import (
    VERSION,
    Bye,
    Complete,
    Completions,
    Evaluate,
    Frames,
    FromClient,
    FromServer,
    Hello,
    Interrupt,
    Output,
    Ready,
    encode,
)
from supervisors.console.server.console_session import Session

if TYPE_CHECKING:
    from pathlib import Path

    from actors.lowlevel import Process
    from supervisors.system import System


class Attached:
    """A session at the console of a path."""

    def __init__(self, path: Path, *, has_colours: bool = False, is_interactive: bool = False) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(4 * WAIT)
        self._frames = self._read()
        self._number = 0
        try:
            self._socket.connect(str(path))
            with suppress(BrokenPipeError):  # of one that is sent away
                self.send(Hello(VERSION, has_colours, is_interactive))
            self.banner = self.until_ready()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def send(self, *frames: FromClient) -> None:
        self.send_bytes(b"".join(map(encode, frames)))

    def send_bytes(self, data: bytes) -> None:
        self._socket.sendall(data)

    def _read(self) -> Iterator[Any]:
        frames = Frames(FromServer)
        while data := self._socket.recv(1 << 16):
            yield from frames.feed(data)

    # One statement

    def run(self, source: str) -> str:
        """Return what a statement prints."""
        self.begin(source)
        return self.until_ready()

    def begin(self, source: str) -> None:
        self._number += 1
        self.send(Evaluate(self._number, source))

    def until_ready(self) -> str:
        """Return what comes until the next statement may be sent."""
        text, self.needs_more, self.has_failed = "", False, False
        for frame in self._frames:
            match frame:
                case Output(text=more):
                    text += more
                case Ready(number=number) if number == self._number:
                    self.needs_more, self.has_failed = frame.needs_more, frame.has_failed
                    return text
                case _:
                    raise AssertionError(f"expected Output or Ready {self._number}, got {frame!r} after {text!r}")
        raise AssertionError(f"it has ended after {text!r}")

    def until(self, end: str) -> str:
        """Return what comes until that is what came last."""
        text = ""
        while not text.endswith(end):
            frame = next(self._frames)
            assert isinstance(frame, Output), f"expected {end!r}, got {frame!r} after {text!r}"
            text += frame.text
        return text

    def interrupt(self) -> None:
        self.send(Interrupt(self._number))

    def begin_to_complete(self, text: str, line: str = "") -> None:
        self._number += 1
        self.send(Complete(self._number, text, line or text))

    def complete(self, text: str, line: str = "") -> list[str]:
        self.begin_to_complete(text, line)
        answer = next(self._frames)
        assert isinstance(answer, Completions), answer
        return answer.matches

    def rest(self) -> list[FromServer]:
        """Return what comes until the server closes the connection."""
        return list(self._frames)

    def bye(self) -> str:
        """Return the reason of the end, before which only text may come."""
        *before, last = self.rest()
        assert isinstance(last, Bye), last
        assert all(isinstance(frame, Output) for frame in before), before
        return last.reason


def sessions(system: System) -> list[Process]:
    """Return the processes of the sessions that run."""
    processes = list(system.ref.process.scheduler.processes.values())
    return [process for process in processes if process.actor_class is Session]
