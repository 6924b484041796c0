"""WebSocket: the same events, many requests on one socket, each with a demand of its own.

A client says, each message a JSON object:

    {"type": "start", "id": "r1", "data": input, "credit": 32}           a session of its own, or the common run
    {"type": "resume", "id": "r1", "session": s, "after": "k3Jx-7"}      the rest of one, or of the common run
    {"type": "request", "id": "r1", "n": 32}                             32 items more; "credit" left out: no limit
    {"type": "cancel" | "stop" | "detach", "id": "r1"}                   end it; end it and keep what came; let it go on
    {"type": "ping", "data": any}   {"type": "pong"}

and hears, ``id`` being its own:
    {"id": "r1", "type": "started", "data": {"session": s, "run": "k3Jx"}}     ``after`` is f"{run}-{seq}"
    {"id": "r1", "seq": 7, "type": "data", "data": item}                       data, retract, resync, end, error
    {"id": "r1", "type": "refused", "data": {"error": reason, "message": m}}   what it said has changed nothing
    {"type": "ping"}   {"type": "pong", "data": any}

With "many": true in start or resume, events that are there at once come as one message, an array (64 KB and up).
Nothing follows ``end`` or ``error`` under an id.  TCP takes megabytes that nobody has read, so a slow client asks for
items by credit: a session of its own then waits for it, and the common run treats it as its outbox says.

Close codes: 1000 at the client's wish, 1001 the server stops, 1003 not text, 1007 not a JSON object, 1009 too large,
1011 a fault here, 3000 the authorisation has expired, 3008 no answer for two heartbeats.  Before the socket is
accepted a refusal is an HTTP status.  Who takes nothing for ``timeout`` seconds is cut off without a word.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import anyio

from kayrx.errors import MissingDependency
from kayrx.runtime.backend import current
from kayrx.serve.client import Frames
from kayrx.serve.encoding import as_json, of_json
from kayrx.serve.events import Refused
from kayrx.serve.helped import Helped, helped
from kayrx.serve.limits import Allowed, authorized, origin_allowed
from kayrx.serve.requests import Requests, envelope
from kayrx.serve.response import FAREWELL, cut, refusal
from kayrx.serve.sending import Sending, TooSlow

try:
    from starlette.requests import HTTPConnection
except ImportError as missing:
    raise MissingDependency(f"serving needs {missing.name}: pip install \"kayrx[serve]\"") from missing

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from kayrx.serve.app import Served

ANSWERS = 64  # that wait for a client which talks and does not listen
PAUSE = 32    # messages of a client that are read before others have their turn
log = logging.getLogger(__name__)


class Sockets:
    """The ASGI endpoint of a mounted hub: who may come in, and how many."""

    def __init__(self, served: Served) -> None:
        self.served, self.frames, self.count = served, Frames(envelope), 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()    # websocket.connect
        connection = HTTPConnection(scope)
        address = connection.client.host if connection.client else "?"
        try:
            allowed = await self.allowed(connection, address)
            name = f"{address} {allowed.owner}" if allowed.owner is not None else address
            leave = self.served.counted().enter(f"{name} (sockets)")
        except Refused as error:
            if "websocket.http.response" in scope.get("extensions", {}):
                await refusal(error)(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008, "reason": str(error)})
            return
        self.count += 1
        try:
            await Socket(self.served, self.frames, receive, send, allowed, name, address).run()
        finally:
            self.count -= 1
            leave()

    async def allowed(self, connection: HTTPConnection, address: str) -> Allowed:
        """Who comes in.  Raises: Refused."""
        served, hub = self.served, self.served.hub
        if not origin_allowed(connection.headers, connection.scope["scheme"], served.origins, served.hosts):
            raise Refused("forbidden", "not allowed from there")
        served.counted().ask(address)
        if hub.closing:
            raise Refused("closing", "the server is closing")
        if self.count >= hub.options.max_clients:
            raise Refused("full", f"there are {self.count} sockets already")
        return await authorized(served.authorize, connection)


class Socket:
    """One accepted socket: a task that reads, one that watches the time, and one for each request."""

    def __init__(self, served: Served, frames: Frames, receive: Receive, send: Send, allowed: Allowed, name: str,
                 address: str) -> None:
        self.served, self.frames, self.allowed = served, frames, allowed
        self.name, self.address = name, address
        self.receive, self.send = receive, send
        self.backend = current(served.hub.options.world)
        self.writing, self.sending = anyio.Lock(fast_acquire=True), Sending(self.backend, served.timeout)
        self.heard = self.said = self.backend.now()
        self.answers: list[bytes] = []    # to what it said, not written yet
        self.asked = anyio.Event()
        self.requests = Requests(self)
        self.code, self.reason = 0, ""
        self.gone = self.lost = False    # nothing can be sent any more; and its connection is still there
        self.stopping = False
        self.server: Helped | None = None
        self.group: Any = None

    async def run(self) -> None:
        served = self.served
        self.server = helped(self.receive, served.limits.body, served.heartbeat, self.told)
        served.hub.on_closing.add(self.told)
        try:
            await self.send({"type": "websocket.accept"})
            async with anyio.create_task_group() as self.group:
                for work in (self.watch, self.expire, self.speak):
                    self.group.start_soon(self.guarded, work)
                await self.guarded(self.read)
                self.group.cancel_scope.cancel()
        except OSError:
            self.left()
        finally:
            served.hub.on_closing.discard(self.told)
            self.stopping = True
            with anyio.CancelScope(shield=True):
                await self.farewell()
            if self.server is not None:
                self.server.leave()

    async def guarded(self, work: Callable[[], Awaitable[object]]) -> None:
        """A fault of ours closes this socket, and says so; it is nobody else's."""
        try:
            await work()
        except OSError:
            self.left()
        except Exception as error:
            log.error("a socket has failed", exc_info=error)
            self.close(1011, "a fault of the server")

    # -- the end ---------------------------------------------------------------------------------

    def close(self, code: int, reason: str) -> None:
        """End the socket with a code; what its requests have not sent is not sent."""
        if not self.code:
            self.code, self.reason = code, reason
        self.group.cancel_scope.cancel()

    def left(self) -> None:
        """The client cannot be reached any more."""
        self.gone = self.lost = True
        if self.group is not None:
            self.group.cancel_scope.cancel()

    def told(self) -> None:
        """The server stops: close once the requests have had their ends."""
        if not self.stopping and self.group is not None:
            self.stopping = True
            self.group.start_soon(self.guarded, self.drained)

    async def drained(self) -> None:
        await self.requests.drain()
        self.close(1001, "the server stops")

    async def farewell(self) -> None:
        if self.lost:
            await cut(self.receive)
        if self.gone:
            return
        with anyio.move_on_after(FAREWELL) as scope:
            try:
                await self.send({"type": "websocket.close", "code": self.code or 1000, "reason": self.reason})
            except (OSError, RuntimeError):    # it has gone meanwhile
                pass
        if scope.cancelled_caught:
            await cut(self.receive)

    # -- saying ----------------------------------------------------------------------------------

    async def write(self, texts: list[bytes], before: bytes = b"") -> None:
        """Send messages, each after ``before``; a client that does not take them in time is cut off."""
        async with self.writing:
            try:
                await self.sending.sent(self.put(texts, before))
            except TooSlow:
                self.requests.slow()
                self.left()
            self.said = self.backend.now()

    async def put(self, texts: list[bytes], before: bytes) -> None:
        if self.server is not None:
            await self.server.send(texts, before)
        else:
            for text in texts:
                await self.send({"type": "websocket.send", "text": (before + text).decode("ascii")})

    async def say(self, **fields: Any) -> None:
        await self.write([as_json(fields).encode("ascii")])

    async def answer(self, **fields: Any) -> None:
        """Have something said without waiting for it, so that a cancel is read while the client takes nothing."""
        self.answers.append(as_json(fields).encode("ascii"))
        self.asked.set()
        if len(self.answers) > ANSWERS:    # it only talks: now it has to listen
            await self.backend.checkpoint()
            async with self.writing:
                pass

    async def speak(self) -> None:
        while True:
            await self.asked.wait()
            self.asked = anyio.Event()
            texts, self.answers = self.answers, []
            await self.write(texts)

    async def refuse(self, id: str | None, error: Refused) -> None:
        """Tell the client that what it said has changed nothing."""
        named = {} if id is None else {"id": id}
        await self.answer(**named, type="refused", data={"error": error.reason, "message": str(error)})

    # -- time ------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Ping what is silent; close what has not answered, unless the server pings by itself."""
        seconds = self.served.heartbeat
        if seconds is None:
            return
        while True:
            since = min(self.heard, self.said)
            await anyio.sleep(max(0.0, since + seconds - self.backend.now()))
            if self.backend.now() - self.heard >= 2 * seconds and self.server is None:
                self.close(3008, "no answer")
            if self.backend.now() - min(self.heard, self.said) >= seconds:
                await self.say(type="ping")
                await anyio.sleep(seconds)

    async def expire(self) -> None:
        if self.allowed.seconds is not None:
            await anyio.sleep(self.allowed.seconds)
            await self.requests.leave("expired")
            self.close(3000, "expired")

    # -- hearing ---------------------------------------------------------------------------------

    async def read(self) -> None:
        """What the client says, also while it is sent to."""
        count = 0
        while (message := await self.receive())["type"] != "websocket.disconnect":
            self.heard = self.backend.now()
            if self.server is not None:
                self.server.read()
            count += 1
            if count % PAUSE == 0:
                await self.backend.checkpoint()
            text = message.get("text")
            if text is None:
                return self.close(1003, "send text")
            if len(text) > self.served.limits.body:
                return self.close(1009, f"a message has at most {self.served.limits.body} bytes")
            try:
                said = of_json(text)
            except (ValueError, RecursionError):
                said = None
            if not isinstance(said, dict):
                return self.close(1007, "a message is a JSON object")
            await self.hear(said)
        self.gone = True

    async def hear(self, said: dict[str, Any]) -> None:
        kind, id = said.get("type"), said.get("id")
        if kind == "ping":
            return await self.answer(type="pong", data=said.get("data"))
        if kind == "pong":
            return
        id = id if isinstance(id, str) and 0 < len(id) <= 64 else None
        try:
            if id is None:
                raise Refused("invalid", "a message has an id, text of 1 to 64 characters")
            await self.requests.hear(id, said)
        except Refused as error:
            await self.refuse(id, error)


__all__ = ["Sockets"]
