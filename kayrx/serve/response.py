"""The streamed answer of every HTTP protocol here: a subscription, written frame by frame on sse-starlette.

Of sse-starlette it takes the headers, the watch for clients that leave and HEAD; heartbeats, the end and the farewell
are events of the subscription.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio

from kayrx.errors import MissingDependency
from kayrx.serve.client import Frames, Subscription
from kayrx.serve.events import Event, Refused
from kayrx.serve.sending import Sending, TooSlow
from kayrx.serve.session import Session

try:
    from sse_starlette.sse import EventSourceResponse
    from starlette.responses import JSONResponse
except ImportError as missing:
    raise MissingDependency(f"serving needs {missing.name}: pip install \"kayrx[serve]\"") from missing

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

STATUS = {"no session": 404, "forbidden": 403, "full": 503, "too many": 429, "too large": 413, "invalid": 422,
          "closing": 503, "too slow": 503}
FAREWELL = 1.0    # seconds for the last frame
log = logging.getLogger(__name__)


class Protocol(NamedTuple):
    """How events become bytes over HTTP: the media type, the encoder, what is sent before all events, and headers."""

    media_type: str
    frames: Frames
    prelude: bytes = b""
    headers: Mapping[str, str] = MappingProxyType({})


def refusal(error: Refused, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer to somebody who is refused."""
    return JSONResponse({"error": error.reason, "message": str(error)}, STATUS[error.reason], dict(headers or {}))


class Streamed(EventSourceResponse):
    """The events of a session to one client, until the end, the client's leaving or its being too slow.

    session    whose events; ``after`` and ``outbox`` as in `Hub.subscribe`
    heartbeat  seconds without an event, also before the first one, after which one byte more is sent
    timeout    seconds that one write may take; then the client is let go and its connection cut
    expires    seconds after which the client has to come back and be authorised again
    door       called as it begins; raises Refused, or gives what is called when it is over, however that comes

    HEAD has the headers and enters nothing.
    """

    def __init__(self, session: Session, protocol: Protocol, after: int | str | None = 0, *, outbox: Any = None,
                 heartbeat: float | None = 15.0, timeout: float = 10.0, expires: float | None = None,
                 headers: Mapping[str, str] | None = None, name: str = "",
                 door: Callable[[], Callable[[], object]] | None = None) -> None:
        super().__init__(iter(()), headers=headers, media_type=protocol.media_type, ping=0)
        self.headers["Cache-Control"] = "no-cache, no-store, no-transform"
        self.headers["X-Content-Type-Options"] = "nosniff"
        self.headers.update(protocol.headers)
        self.protocol, self.expires, self._door = protocol, expires, door
        self._scope = anyio.CancelScope()
        self._started = self._done = False
        self._sending = Sending(session.backend, timeout)
        self.client = Subscription(session, after, session.bounds(outbox), heartbeat, self._let_go, name)

    def _let_go(self) -> None:
        self._scope.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            await super().__call__(scope, receive, send)
            return
        leave: Callable[[], object] = nothing
        try:
            leave = leave if self._door is None else self._door()
            self.client.enter()
        except Refused as error:
            leave()
            await refusal(error, {"Retry-After": "5"})(scope, receive, send)
            return
        why: Exception | None = None
        try:
            why = await self._sent(receive, send)
            if isinstance(why, Expired):
                why = None
                if self._started and not self._done:
                    await self._last(Event(0, "end", {"reason": "expired"}), send)
            if why is not None and not isinstance(why, Refused):
                raise why
        finally:
            self.client.leave(why)
            leave()
            if not self._done:
                await cut(receive)

    async def _sent(self, receive: Receive, send: Send) -> Exception | None:
        """Send until the end, the client's leaving, its being too slow or its expiry; gives what went wrong.

        In place of the original's four tasks there are two: this one, and one that hears the client leave.
        """
        why: Exception | None = None
        left = False
        async with anyio.create_task_group() as group:
            self._scope = group.cancel_scope
            if self.expires is not None:
                self._scope.deadline = anyio.current_time() + self.expires

            async def watch() -> None:
                nonlocal left
                await self._listen_for_disconnect(receive)
                left = True
                group.cancel_scope.cancel()

            group.start_soon(watch)
            try:
                await self._stream_response(send)
            except TooSlow as error:
                why = Refused("too slow", str(error))
            except Exception as error:    # raised by whoever asked, not by the group
                why = error
            group.cancel_scope.cancel()
        if why is None and not left and self._scope.deadline <= anyio.current_time():
            return Expired()
        return why

    async def _stream_response(self, send: Send) -> None:
        """The headers, then each batch of events as one piece."""
        client, of, sent, session = self.client, self.protocol.frames.of, self._sending.sent, self.client.session
        await sent(send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}))
        self._started = True
        if self.protocol.prelude:
            await sent(send({"type": "http.response.body", "body": self.protocol.prelude, "more_body": True}))
        while events := await client.batch():
            try:
                body = of(client, events)
            except Exception as error:
                log.error("an item of %s cannot be sent", session.name, exc_info=error)
                session.hub.report(client, error)
                events = [Event(0, "error", session.options.describe(error))]
                body = of(client, events)
            await sent(send({"type": "http.response.body", "body": body, "more_body": True}))
            if events[-1].terminal:
                break
        await sent(send({"type": "http.response.body", "body": b"", "more_body": False}))
        self._done = True

    async def _last(self, event: Event, send: Send) -> None:
        with anyio.move_on_after(FAREWELL):
            body = self.protocol.frames.of(self.client, [event])
            await send({"type": "http.response.body", "body": body, "more_body": False})
            self._done = True


class Expired(Exception):
    """The client was let in for so long, and has to come again."""


def nothing() -> None:
    """Nobody counts."""


async def cut(receive: Receive) -> None:
    """Close the connection without waiting for what is still to be sent: the client may never take it.

    ASGI has no word for it.  uvicorn's ``receive`` knows its transport; another server closes in its own time.
    """
    transport: Any = getattr(getattr(receive, "__self__", None), "transport", None)
    if hasattr(transport, "abort"):
        transport.abort()
        with anyio.CancelScope(shield=True):
            await anyio.lowlevel.checkpoint()    # the server hears of it, and says nothing of an answer cut short
            await anyio.lowlevel.checkpoint()


__all__ = ["Protocol", "Streamed", "cut", "refusal"]
