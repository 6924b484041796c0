"""What the tests of delivery share: a hub on virtual time, token sources that are watched, and plain ASGI calls."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import anyio
import pytest

from kayrx.testing import run_virtual


@pytest.fixture
def virtual(loop: str) -> Callable[[Any], Any]:
    """``virtual(async_function)``: its result, on virtual time on this loop."""
    return lambda main: run_virtual(main, loop)


class Tokens:
    """An async source, one item every ``seconds``, that knows how much was read of it and whether it is open."""

    def __init__(self, items: Iterable[Any] = range(10**9), seconds: float = 1.0) -> None:
        self.items, self.seconds = items, seconds
        self.given = self.opened = self.closed = 0
        self.left = anyio.Event()

    async def __call__(self) -> AsyncIterator[Any]:
        self.opened += 1
        try:
            for item in self.items:
                await anyio.sleep(self.seconds)
                self.given += 1
                yield item
        finally:
            self.closed += 1
            self.left.set()


@pytest.fixture
def tokens() -> type[Tokens]:
    return Tokens


class Answer:
    """What an app answers to one request, while it comes: the in-memory twin of a client."""

    def __init__(self) -> None:
        self.status, self.headers, self.body, self.over = 0, dict[str, str](), b"", False
        self.writes: list[bytes] = []
        self.more, self.gone, self.stalled = anyio.Event(), anyio.Event(), anyio.Event()
        self.stalled.set()

    async def until(self, count: int, mark: bytes = b"\n\n") -> None:
        """Wait until ``mark`` has come so often, or the answer is over."""
        while self.body.count(mark) < count and not self.over:
            await self.more.wait()

    async def send(self, message: Any) -> None:
        await self.stalled.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {k.decode().lower(): v.decode() for k, v in message["headers"]}
        else:
            self.body += message.get("body", b"")
            self.writes.append(message.get("body", b""))
            self.over = not message.get("more_body", False)
        self.more.set()
        self.more = anyio.Event()


class Talk:
    """A WebSocket to an app in this process: what it says, and how it ends."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.code = self.status = 0
        self.more, self.ready, self.over = anyio.Event(), anyio.Event(), anyio.Event()
        self.ready.set()
        self.says: deque[Any] = deque([{"type": "websocket.connect"}])
        self.saying = anyio.Event()

    def say(self, message: Any) -> None:
        """Send a message: text and bytes as they are, anything else as JSON."""
        kind = "bytes" if isinstance(message, bytes) else "text"
        message = message if isinstance(message, (str, bytes)) else json.dumps(message)
        self.put({"type": "websocket.receive", kind: message})

    def leave(self) -> None:
        self.put({"type": "websocket.disconnect", "code": 1006})

    def put(self, event: Any) -> None:
        self.says.append(event)
        self.saying.set()
        self.saying = anyio.Event()

    async def receive(self) -> Any:
        while not self.says:
            await self.saying.wait()
        return self.says.popleft()

    async def send(self, message: Any) -> None:
        await self.ready.wait()
        kind = message["type"]
        if kind == "websocket.send":
            self.heard.append(json.loads(message["text"]))
        elif kind == "websocket.close":
            self.code = message["code"]
        elif kind == "websocket.http.response.start":
            self.status = message["status"]
        self.more.set()
        self.more = anyio.Event()

    async def until(self, true: Callable[[list[dict[str, Any]]], object]) -> list[dict[str, Any]]:
        """What was heard, once ``true`` of it or the socket is over."""
        while not true(self.heard) and not self.over.is_set():
            await self.more.wait()
        return self.heard

    async def ask(self, **message: Any) -> dict[str, Any]:
        """The next thing heard after saying so."""
        count = len(self.heard)
        self.say(message)
        return (await self.until(lambda heard: len(heard) > count))[count]

    def data(self, id: str = "a") -> list[Any]:
        """The items and the terminal of a request."""
        return [m["data"] for m in self.heard if m.get("id") == id and m["type"] in ("data", "end", "error")]


class Twin:
    """Calls an app in this process; ``async with Twin(app) as twin`` runs its lifespan."""

    def __init__(self, app: Any) -> None:
        self.app, self.address = app, "10.0.0.1"

    async def __aenter__(self) -> Twin:
        self.group = anyio.create_task_group()
        await self.group.__aenter__()
        self.lifespan = self.app.router.lifespan_context(self.app)
        await self.lifespan.__aenter__()
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.lifespan.__aexit__(None, None, None)
        await self.group.__aexit__(None, None, None)

    def open(self, path: str, method: str = "GET", body: bytes | list[bytes] = b"", **headers: str) -> Answer:
        """Begin a request; the answer fills while other tasks run."""
        answer = Answer()
        chunks = [body] if isinstance(body, bytes) else list(body)
        path, _, query = path.partition("?")
        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
                 "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
                 "client": (self.address, 5), "server": ("here", 80), "app": self.app, "state": {},
                 "headers": [(k.replace("_", "-").encode(), v.encode("latin-1"))
                             for k, v in {"host": "here", **headers}.items()]}

        async def receive() -> Any:
            if chunks:
                return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}
            await answer.gone.wait()
            return {"type": "http.disconnect"}

        async def call() -> None:
            await self.app(scope, receive, answer.send)
            answer.over = True
            answer.more.set()
        self.group.start_soon(call)
        return answer

    def talk(self, path: str, **headers: str) -> Talk:
        """Open a WebSocket; its messages come while other tasks run."""
        talk = Talk()
        scope = {"type": "websocket", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "ws", "path": path,
                 "raw_path": path.encode(), "query_string": b"", "root_path": "", "client": (self.address, 5),
                 "server": ("here", 80), "app": self.app, "state": {}, "subprotocols": [],
                 "extensions": {"websocket.http.response": {}},
                 "headers": [(k.replace("_", "-").encode(), v.encode("latin-1"))
                             for k, v in {"host": "here", **headers}.items()]}

        async def call() -> None:
            await self.app(scope, talk.receive, talk.send)
            talk.over.set()
            talk.more.set()
        self.group.start_soon(call)
        return talk

    async def ask(self, path: str, method: str = "GET", body: bytes | list[bytes] = b"", **headers: str) -> Answer:
        """A whole answer."""
        answer = self.open(path, method, body, **headers)
        await answer.until(10**9)
        return answer


@pytest.fixture
def twin() -> type[Twin]:
    return Twin
