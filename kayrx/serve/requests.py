"""The requests of one socket: sessions started or resumed under an id, their demand, and their ends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from kayrx.graph.graph import Graph
from kayrx.serve.client import Subscription
from kayrx.serve.encoding import as_json
from kayrx.serve.events import Event, Refused, traced
from kayrx.serve.inputs import fitting
from kayrx.serve.response import FAREWELL
from kayrx.serve.session import Session

if TYPE_CHECKING:
    from kayrx.serve.websocket import Socket

SHARED = "shared"
DRAIN = 6.0     # seconds that runs have to end once the server stops, if nobody ends them
CURSOR = 128    # characters of a cursor that are read at all
log = logging.getLogger(__name__)


class Request:
    """A session that is read under an id; ``scope`` ends the reading alone, and ``reason`` is what the client hears."""

    __slots__ = ("client", "id", "leave", "many", "reason", "scope", "session", "why")

    def __init__(self, id: str, session: Session, client: Subscription, leave: Callable[[], object],
                 many: bool) -> None:
        self.id, self.session, self.client, self.leave, self.many = id, session, client, leave, many
        self.scope = anyio.CancelScope()
        self.reason = "cancelled"
        self.why: Exception | None = None


class Requests:
    """Those of one socket, by id.  Memory: ``Limits.streams`` of them, each with its outbox."""

    def __init__(self, socket: Socket) -> None:
        self.socket, self.hub = socket, socket.served.hub
        self.open: dict[str, Request] = {}
        self.empty = anyio.Event()    # set once it is, while somebody waits

    # -- what a client says ----------------------------------------------------------------------

    async def hear(self, id: str, said: dict[str, Any]) -> None:
        """Do what a message says.  Raises: Refused."""
        kind = said.get("type")
        if kind == "request":
            self.named(id).client.request(whole(said.get("n"), 1, "request(n): n is a whole number >= 1 (rule 3.9)"))
            return
        self.socket.served.counted().ask(self.socket.address)
        if kind in ("start", "resume"):
            await self.begin(id, said)
        elif kind in ("cancel", "stop", "detach"):
            await self.steer(self.named(id), kind)
        else:
            raise Refused("invalid", "type is start, resume, request, cancel, stop, detach, ping or pong")

    def named(self, id: str) -> Request:
        request = self.open.get(id)
        if request is None:
            raise Refused("no session", "nothing runs under this id")
        return request

    async def begin(self, id: str, said: dict[str, Any]) -> None:
        """Start or resume a session under an id."""
        socket, credit, after = self.socket, said.get("credit"), said.get("after", 0)
        if id in self.open:
            raise Refused("invalid", "something runs under this id already")
        if credit is not None:
            whole(credit, 0, "credit is a whole number >= 0")
        if not isinstance(after, (int, str, type(None))) or isinstance(after, bool):
            raise Refused("invalid", "after is what was seen last: a seq, or run-seq")
        leave = socket.served.counted().enter(socket.name)
        session: Session | None = None
        try:
            session = self.started(said) if said["type"] == "start" else self.found(said)
            common = session is self.hub.common
            # Whose run it is, and who says how much they take, is waited for.
            outbox = session.bounds(None)
            if credit is not None and not common:
                outbox = replace(outbox, policy="block")
            client = Subscription(session, after[:CURSOR] if isinstance(after, str) else after, outbox, None, None,
                                  socket.name)
            client.demand = client.demand if credit is None else credit
            client.enter()
        except Exception as error:
            leave()
            if session is not None and session.state == "waiting" and not session.clients:
                session._cancel()
            if isinstance(error, Refused):
                raise
            log.error("a session cannot be started: %s", error, exc_info=traced(error))
            await socket.answer(id=id, seq=0, type="error", data=self.hub.options.describe(error))
            return
        if said["type"] == "resume" and not common:
            session.resume()
        request = self.open[id] = Request(id, session, client, leave, said.get("many") is True)
        socket.group.start_soon(self.serve, request)

    def started(self, said: dict[str, Any]) -> Session:
        """A session of its own, if graphs are made of inputs; else the common one."""
        if isinstance(self.hub.graph, Graph):
            return self.hub.shared()
        socket = self.socket
        given = fitting(said.get("data"), socket.served.inputs)
        return socket.served.counted().begin(socket.name, partial(self.hub.open, given, owner=socket.allowed.owner))

    def found(self, said: dict[str, Any]) -> Session:
        id = said.get("session", SHARED)
        if id == SHARED and isinstance(self.hub.graph, Graph):
            return self.hub.shared()
        return self.hub.session(id if isinstance(id, str) else "", owner=self.socket.allowed.owner)

    async def steer(self, request: Request, verb: str) -> None:
        session, common = request.session, request.session is self.hub.common
        if verb == "cancel":
            request.scope.cancel()    # what has not been sent, and may want a demand, is not waited for
            if not common:
                session._cancel()
        elif common and not self.socket.served.control:
            raise Refused("forbidden", "the common run is not steered from here")
        elif verb == "stop":
            self.hub.host.start_soon(session.stop)    # it waits for the run, and the reader does not
        else:
            session.detach()
            await self.socket.answer(id=request.id, type="detached")

    # -- their ends ------------------------------------------------------------------------------

    def slow(self) -> None:
        """The socket takes nothing: so much is reported of each."""
        for request in self.open.values():
            request.why = Refused("too slow", f"the client took nothing for {self.socket.served.timeout:g} seconds")

    async def leave(self, reason: str) -> None:
        """End all with this reason; their runs go on as after any client."""
        for request in self.open.values():
            request.reason = reason
            request.scope.cancel()
        await self.over()

    async def drain(self) -> None:
        """Wait for the ends of the runs, and a moment for clients to take them; then it is said in any case."""
        with anyio.move_on_after(DRAIN):
            for request in [*self.open.values()]:
                await request.session.ended.wait()
            with anyio.move_on_after(FAREWELL):
                await self.over()
        await self.leave("shutdown")

    async def over(self) -> None:
        """Wait until none is open."""
        if self.open:
            self.empty = anyio.Event()
            await self.empty.wait()

    # -- what is sent ----------------------------------------------------------------------------

    async def serve(self, request: Request) -> None:
        """Send the events of a request until its end, its cancellation, or that of the socket."""
        try:
            await self.socket.guarded(partial(self.events, request))
        finally:
            del self.open[request.id]
            request.client.leave(request.why)
            request.leave()
            if not self.open:
                self.empty.set()

    async def events(self, request: Request) -> None:
        socket, client, session = self.socket, request.client, request.session
        opening, ended = f'{{"id":{as_json(request.id)},'.encode("ascii"), False
        await socket.say(id=request.id, type="started", data={"session": session.id or SHARED, "run": session.tag})
        with request.scope:
            while events := await client.batch():
                try:
                    texts = socket.frames.each(client, events)
                except Exception as error:
                    log.error("an item of %s cannot be sent", session.name, exc_info=error)
                    request.why = error
                    await socket.say(id=request.id, seq=0, type="error", data=session.options.describe(error))
                    return
                ended = events[-1].terminal
                if request.many and len(texts) > 1:
                    await socket.write([b"[" + opening + (b"," + opening).join(texts) + b"]"])
                else:
                    await socket.write(texts, opening)
                await socket.backend.checkpoint()    # a hot run has events at once, and others want their turn
        if not ended:
            reason = request.reason if request.scope.cancel_called else session.state
            await socket.say(id=request.id, seq=0, type="end", data={"reason": reason})


def envelope(event: Event, id: str | None) -> bytes:
    """An event without its opening, which names the request, so that all clients can share it.

    >>> envelope(Event(7, "data", "a\\nb"), "k3Jx-7")
    b'"seq":7,"type":"data","data":"a\\\\nb"}'
    """
    count = f',"count":{event.count}' if event.count > 1 else ""
    return f'"seq":{event.seq},"type":"{event.type}","data":{as_json(event.data)}{count}}}'.encode("ascii")


def whole(value: object, least: int, message: str) -> int:
    """``value`` if it is a whole number, and not too large to count.  Raises: Refused, "invalid"."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 1 << 53:
        raise Refused("invalid", message)
    return value


__all__ = ["Request", "Requests", "envelope"]
