"""The long-polling lines of a transcript, and a player that knows them too (format: golden/README.md)."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.transcript import KINDS, Http, Message, Player, Step, compact, event_of, fetch

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

NDJSON = "application/x-ndjson"


class Poll(Step):
    poll: str
    path: str | None = None
    status: int = 200
    messages: tuple[Message, ...] = ()


class Waiting(Step):
    waiting: str


class Post(Step):
    post: str
    lines: tuple[Message, ...]
    content_type: str = NDJSON
    token: str | None = None
    status: int = 200


KINDS |= {"poll": Poll, "waiting": Waiting, "post": Post}


class Session:
    """What one client knows: where it polls, with which token, and the poll that waits."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.token: str | None = None
        self.waiting: asyncio.Task[dict[str, Any]] | None = None


class PollingPlayer(Player):
    """Plays the steps of long polling as well."""

    def __init__(self, address: str, stack: AsyncExitStack) -> None:
        super().__init__(address, stack)
        self.sessions: dict[str, Session] = {}

    async def converse(self, step: Step) -> None:
        match step:
            case Poll():
                await self.poll(step)
            case Waiting():
                session = self.sessions[step.waiting]
                session.waiting = asyncio.create_task(self.get(session))
            case Post():
                await self.post(step)
            case _:
                await super().converse(step)

    async def poll(self, step: Poll) -> None:
        if step.path is not None:
            self.sessions[step.poll] = Session(step.path)
        session = self.sessions[step.poll]
        if step.status == 200:
            await self.receive_all(session, list(step.messages))
            return
        answer = await self.next_answer(session)
        expected: dict[str, Any] = {"status": step.status}
        if step.status != 403:
            expected |= {"token": answer.get("token"), "messages": []}
        assert answer == expected, f"expected {expected}, got {answer}"
        if step.status == 410:
            assert isinstance(answer["token"], str), answer
            assert answer["token"] != session.token, "the session that is gone keeps its token"
            session.token = answer["token"]

    async def receive_all(self, session: Session, expected: list[Message]) -> None:
        """Poll until these messages have come; a server may give them in several answers."""
        while expected:
            answer = await self.next_answer(session)
            assert (answer["status"], answer["token"]) == (200, session.token), f"expected {expected}, got {answer}"
            for got in answer["messages"]:
                if event_in(got) not in self.without:
                    assert expected, f"expected nothing more, got {got}"
                    self.match_message(expected.pop(0), got)

    def match_message(self, expected: Message, got: str) -> None:
        if expected.is_frame:
            matches = self.bindings.match(expected.frame, json.loads(got))
            assert matches, f"expected {compact(expected.frame)}, got {got}"
        else:
            assert got == expected.data, f"expected {expected.data!r}, got {got!r}"

    async def next_answer(self, session: Session) -> dict[str, Any]:
        waiting, session.waiting = session.waiting, None
        return await (waiting or self.get(session))

    async def get(self, session: Session) -> dict[str, Any]:
        return await self.exchange(Http("GET", with_token(session.path, session.token)))

    async def post(self, step: Post) -> None:
        session = self.sessions[step.post]
        content = "\n".join(line_of(message.data) for message in step.lines)
        path = with_token(session.path, step.token or session.token)
        answer = await self.exchange(Http("POST", path, {"Content-Type": step.content_type}, content))
        assert answer == {"status": step.status}, f"expected {step.status}, got {answer}"

    async def exchange(self, request: Http) -> dict[str, Any]:
        status, body = await asyncio.to_thread(fetch, self.address, request)
        assert status == 200, f"expected status 200, got {status}: {body}"
        answer: dict[str, Any] = json.loads(body)
        return answer

    async def see_silence(self) -> None:
        """See that nothing waits for a client of version 2: what is asked for now is what comes next."""
        ask: list[Any] = [None, "barrier", "phoenix", "heartbeat", {}]
        reply = [None, "barrier", "phoenix", "phx_reply", {"status": "ok", "response": {}}]
        for name, session in self.sessions.items():
            if session.token is not None and "2.0.0" in parse_qs(urlsplit(session.path).query)["vsn"]:
                await self.post(Post(name, (Message(frame=ask),)))
                await self.receive_all(session, [Message(frame=reply)])


def with_token(path: str, token: str | None) -> str:
    return path if token is None else f"{path}&{urlencode({'token': token})}"


def line_of(data: str | bytes) -> str:
    return data if isinstance(data, str) else base64.b64encode(data).decode()


def event_in(text: str) -> object:
    """Return the event of a message, if it is no binary one."""
    return event_of(text) if text.startswith(("[", "{")) else None
