"""One call of the gRPC service: a session's events to one client, as many as it has asked for.

It knows no gRPC, only a `Wire`, so that a test can be the other end on virtual time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio

from kayrx.errors import KayrxError
from kayrx.graph.graph import Graph
from kayrx.runtime.backend import current
from kayrx.serve.client import Frames, Subscription
from kayrx.serve.events import Event, Refused, traced
from kayrx.serve.grpc_terms import ENDS, Address, Caller, Ending, Gone, Wire, failed, refused, understood
from kayrx.serve.grpc_wire import AFTER, SESSION, VERBS, frames
from kayrx.serve.hub import Hub
from kayrx.serve.inputs import checked
from kayrx.serve.limits import Allowed, Authorize, Counters, Limits, authorized
from kayrx.serve.outbox import Outbox, Policy
from kayrx.serve.sending import Sending, TooSlow
from kayrx.serve.session import Session

SHARED = "shared"
CURSOR = 128      # characters of a cursor that are read at all
FAREWELL = 1.0    # seconds for the last message
log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Service:
    """What all calls of a server share."""

    hub: Hub
    inputs: Any = None
    authorize: Authorize | None = None
    limits: Limits = field(default_factory=Limits)
    control: bool = False
    outbox: Outbox | Policy | None = None
    heartbeat: float | None = 15.0
    timeout: float = 10.0
    frames: Frames = field(default_factory=frames)
    closing: anyio.Event = field(default_factory=anyio.Event)
    counters: Counters = field(init=False)

    def __post_init__(self) -> None:
        self.counters = Counters(self.limits, current(self.hub.options.world).now)


class Call:
    """One call; ``await run()`` gives its end, and `close` must follow once it is really over."""

    def __init__(self, service: Service, wire: Wire) -> None:
        self.service, self.wire = service, wire
        self.leave: Callable[[], object] | None = None
        self.ending: Ending | None = None
        self._scope = anyio.CancelScope()
        self._sending = Sending(current(service.hub.options.world), service.timeout)
        self._writing = self._told = self._deaf = False

    def close(self) -> None:
        """The call's place among its client's streams is free again."""
        if self.leave is not None:
            self.leave()
            self.leave = None

    async def run(self) -> Ending:
        service, wire = self.service, self.wire
        try:
            service.counters.ask(wire.host)
            allowed = await self._authorized()
            name = wire.host if allowed.owner is None else f"{wire.host} {allowed.owner}"
            self.leave = service.counters.enter(name)
            if service.closing.is_set():
                raise Refused("closing", "the server is closing")
            session, first = await self._chosen(allowed, name)
            return await self._stream(session, first, allowed, name)
        except Refused as error:
            if error.reason == "forbidden" and "authorization" not in wire.metadata and service.authorize is not None:
                return Ending("UNAUTHENTICATED", str(error), error.reason)
            return refused(error)
        except Gone:
            return Ending("CANCELLED", "the client has gone")
        except Exception as error:
            log.error("a call has failed: %s", error, exc_info=traced(error))
            return failed(service.hub.options.describe(error))

    # -- whose events ----------------------------------------------------------------------------

    async def _authorized(self) -> Allowed:
        return await authorized(self.service.authorize, Caller(self.wire.metadata, Address(self.wire.host)))

    async def _chosen(self, allowed: Allowed, name: str) -> tuple[Session, Any]:
        """The session, and the first message if that was needed to know it."""
        hub, wanted = self.service.hub, self.wire.metadata.get(SESSION)
        if wanted == SHARED and isinstance(hub.graph, Graph):
            return hub.shared(), None
        if wanted:
            return hub.session(wanted, owner=allowed.owner), None
        slow, data = self.service.limits.slow, b""
        with anyio.move_on_after(slow) as scope:
            data = await self.wire.read() or b""
        if scope.cancelled_caught:
            raise Refused("invalid", f"the first message did not come within {slow:g} seconds")
        ask = understood(data)
        if not ask.HasField("input"):
            if isinstance(hub.graph, Graph):
                return hub.shared(), ask
            raise Refused("invalid", "the first message has no input to start a session with")
        text = ask.input.encode("utf-8")
        ask.ClearField("input")
        if len(text) > self.service.limits.body:
            raise Refused("too large", f"the input is larger than {self.service.limits.body} bytes")
        given = () if isinstance(hub.graph, Graph) else (checked(text, self.service.inputs),)
        return self.service.counters.begin(name, partial(hub.open, *given, owner=allowed.owner)), ask

    # -- the stream ------------------------------------------------------------------------------

    async def _stream(self, session: Session, first: Any, allowed: Allowed, name: str) -> Ending:
        seen = self.wire.metadata.get(AFTER)
        # Whose run it is, and who says how much they take, is waited for.
        outbox = self.service.outbox or (None if session is self.service.hub.common else "block")
        client = Subscription(session, seen[:CURSOR] if seen else 0, session.bounds(outbox), self.service.heartbeat,
                              self._cut, name)
        client.demand = 0
        client.enter()
        why: BaseException | None = None
        try:
            # Before there is anything that could cancel it: gRPC cannot send a status beside half-sent metadata.
            begun = await self._sent(self.wire.begin, {SESSION: session.id or SHARED})
            with anyio.move_on_after(allowed.seconds) as expiry, self._scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._listen, client, first)
                    group.start_soon(self._close_with_server)
                    if begun:
                        await self._write(client)
                    group.cancel_scope.cancel()
            if expiry.cancelled_caught:
                self.ending = Ending(ENDS["expired"], "come back and be authorised again", "expired")
            ending = self.ending or Ending("CANCELLED", "the client has gone")
            if ending.reason in ("shutdown", "expired", "too slow") and not (self._writing or self._told):
                with anyio.move_on_after(FAREWELL):
                    await self._put(client, [Event(0, "end", {"reason": ending.reason})])
            if ending.reason == "too slow":
                why = Refused("too slow", ending.text)
            return ending
        except Exception as error:
            why = error
            raise
        finally:
            client.leave(why)

    def _finish(self, ending: Ending) -> None:
        """End the call now, unless it is ending already; a farewell waits for the message that is being sent."""
        if self.ending is None:
            self.ending = ending
            if not (self._writing and ending.reason == "shutdown"):
                self._scope.cancel()

    def _cut(self) -> None:
        self._finish(refused(Refused("too slow", "the client was let go: its outbox was full")))

    async def _close_with_server(self) -> None:
        await self.service.closing.wait()
        self._finish(Ending(ENDS["shutdown"], "the server is closing", "shutdown"))

    # -- writing ---------------------------------------------------------------------------------

    async def _write(self, client: Subscription) -> None:
        while events := await client.batch():
            try:
                sent = await self._sent(self._put, client, events)
            except (TypeError, ValueError, RecursionError) as error:
                log.error("an item of %s cannot be sent", client.session.name, exc_info=error)
                client.session.hub.report(client, error)
                events = [Event(0, "error", client.session.options.describe(error))]
                sent = await self._sent(self._put, client, events)
            if not sent or (self.ending is not None and not events[-1].terminal):
                return
            if events[-1].terminal:
                self._told, last = True, events[-1]
                reason = "" if last.type == "error" else last.data["reason"]
                self.ending = self.ending or (failed(last.data) if last.type == "error" else Ending(
                    ENDS[reason], "" if ENDS[reason] == "OK" else f"the run has ended: {reason}", reason))
                return
            self._enough(client)

    async def _put(self, client: Subscription, events: list[Event]) -> None:
        await self.wire.write(self.service.frames.of(client, events))

    async def _sent(self, send: Callable[..., Any], *arguments: Any) -> bool:
        """Send under our own timeout: gRPC takes megabytes for a client that never reads, and then waits for good."""
        self._writing = True
        try:
            await self._sending.sent(send(*arguments))
            self._writing = False
            return True
        except Gone:
            self._finish(Ending("CANCELLED", "the client has gone"))
        except TooSlow as error:
            self._finish(refused(Refused("too slow", str(error))))
        except (TypeError, ValueError, RecursionError):
            self._writing = False    # it was not encoded
            raise
        return False

    # -- listening -------------------------------------------------------------------------------

    async def _listen(self, client: Subscription, first: Any) -> None:
        try:
            if first is not None:
                self._heed(first, client)
            while (data := await self.wire.read()) is not None:
                self._heed(understood(data), client)
            self._deaf = True
            self._enough(client)
        except Refused as error:
            self._finish(refused(error))
        except (Gone, KayrxError) as error:
            self._finish(Ending("CANCELLED", str(error)))

    def _enough(self, client: Subscription) -> None:
        """End the call once the client has what it has asked for, and has said that it will ask no more."""
        if self._deaf and not client.demand:
            self._finish(Ending("OK", "", "no more was asked for"))

    def _heed(self, ask: Any, client: Subscription) -> None:
        if ask.HasField("input"):
            raise Refused("invalid", "an input starts a session: it comes first, once, and without kayrx-session")
        if ask.HasField("request"):
            try:
                client.request(ask.request)
            except ValueError as error:
                raise Refused("invalid", str(error)) from error
        if ask.verb:
            self._steer(ask.verb, client.session)

    def _steer(self, number: int, session: Session) -> None:
        if not 0 < number < len(VERBS):
            raise Refused("invalid", f"there is no verb {number}")
        if session is self.service.hub.common and not self.service.control:
            raise Refused("forbidden", "the common run is not steered from here")
        verb = getattr(session, VERBS[number])
        if VERBS[number] in ("detach", "resume"):
            verb()
            return
        if session.state in ("waiting", "running"):
            self.service.hub.host.start_soon(verb)    # it takes its time, and this call may end before
        if VERBS[number] == "cancel":
            self._finish(Ending(ENDS["cancelled"], "at the client's wish", "cancelled"))


__all__ = ["Call", "Service"]
