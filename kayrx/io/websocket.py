"""`websocket_client`: the events of a kayrx server over a WebSocket, with demand.  Needs websockets."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Literal, Never

from kayrx.errors import GraphError, RunError
from kayrx.graph.graph import Graph
from kayrx.io.lasting import Again, Broken, Gap, Gaps, Place, RemoteError, ended, failed, lasting
from kayrx.io.wire import InvalidURI, Refusal, Wire, parse_uri
from kayrx.nodes.backoffs import Backoff, exponential
from kayrx.nodes.ends import source
from kayrx.nodes.values import EMPTY, span, whole
from kayrx.runtime.world import THE_WORLD, World
from kayrx.serve.encoding import as_json
from kayrx.serve.events import Event

LATER = (408, 425, 429, 500, 502, 503, 504)
LATER_REASONS = ("full", "too many", "closing", "too slow")
LONGEST = 1 << 20


@dataclass(frozen=True)
class Connected:
    """A socket to a kayrx server; calling it opens it."""

    url: str
    input: Any = field(default=EMPTY, hash=False, repr=False)
    session: str | None = field(default=None, repr=False)    # who knows it may read it
    after: int | str | None = 0
    credit: int = 64
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    idle: float | None = 45.0
    gaps: Gaps = "event"
    limit: int = LONGEST
    again: Again = field(default_factory=Again)
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        try:
            parse_uri(self.url)
        except InvalidURI:
            raise GraphError(f"websocket_client(url={self.url!r}): a URL begins with ws:// or wss://") from None
        whole("websocket_client", "credit", self.credit, 1)
        whole("websocket_client", "limit", self.limit, 1)
        if self.idle is not None:
            span("websocket_client", "idle", self.idle, zero=False)
        if self.gaps not in ("event", "error"):
            raise GraphError(f"websocket_client(gaps={self.gaps!r}): event or error")
        if self.session is not None and self.input is not EMPTY:
            raise GraphError("websocket_client(session=, input=): a session has had its input; give one of them")

    async def __call__(self) -> AsyncIterator[Event]:
        opened = OverSockets(self).opened
        async with aclosing(lasting(opened, self.again, f"websocket_client({self.url!r})")) as items:
            async for event in items:
                yield event


class OverSockets:
    """One run of a client: its session and its place in it, from one socket to the next."""

    def __init__(self, node: Connected) -> None:
        self.node = node
        self.session, self.after = node.session, node.after
        self.mine = node.session is None and node.input is not EMPTY    # a run that nobody else reads
        self.place = Place()

    def fault(self, text: str) -> str:
        return f"websocket_client({self.node.url!r}): {text}"

    async def opened(self) -> AsyncGenerator[Event, None]:
        node, last = self.node, None
        wire = Wire(node.url, dict(node.headers), node.idle, node.limit, 2 * node.credit + 64, node.tls, pong)
        try:
            await wire.open()
        except Refusal as error:
            if error.status in LATER:
                raise Broken(str(error), float(error.after) if error.after.isdigit() else 0.0) from error
            raise RunError(self.fault(str(error))) from error
        try:
            await wire.send(self.asking())
            last = as_json({"type": "cancel", "id": "k"}) if self.mine else None
            left = node.credit
            while True:
                said = json.loads(await wire.receive())
                for message in said if isinstance(said, list) else [said]:
                    event = self.heard(message)
                    if event is None:
                        continue
                    if event.type == "end":
                        last = None
                        if ended(event.data):
                            return
                    for each in self.told(event):
                        yield each
                    if event.type == "data":
                        left -= 1
                        if left <= node.credit // 2:    # asked for once they have been taken, not when they came
                            await wire.send(as_json({"type": "request", "id": "k", "n": node.credit - left}))
                            left = node.credit
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise RunError(self.fault("the server does not speak kayrx's protocol")) from error
        except (Broken, RemoteError):
            last = None
            raise
        finally:
            await wire.close(last)

    def asking(self) -> str:
        node = self.node
        # Several in one message may be larger than the largest one that is wanted.
        common = {"id": "k", "credit": node.credit, "after": self.after, "many": node.limit >= LONGEST}
        if self.session is None:
            return as_json({"type": "start", "data": None if node.input is EMPTY else node.input, **common})
        return as_json({"type": "resume", "session": self.session, **common})

    def heard(self, said: Any) -> Event | None:
        """A message as an event.  Raises: RemoteError, RunError, Broken for what ends the stream or the connection."""
        kind, data = said.get("type"), said.get("data")
        if kind == "started":
            self.session, run = data["session"], data["run"]
            if self.place.run != run:
                self.place.run, self.place.seq = run, 0
            return None
        if kind == "refused":
            if data["error"] in LATER_REASONS:
                raise Broken(data["message"])
            raise RunError(self.fault(f"{data['error']}: {data['message']}"))
        if kind == "error":
            raise failed(data) or RemoteError("error", str(data), data)
        if kind not in ("data", "retract", "resync", "end"):
            return None
        return Event(said["seq"], kind, data, said.get("count", 1))

    def told(self, event: Event) -> list[Event]:
        """The event, unless it has come before; with a resync before it if others are missing."""
        place = self.place
        if event.type == "resync":
            place.seq = 0
            if self.node.gaps == "error":
                raise Gap(self.fault(f"the server cannot go on after {self.after!r}: {event.data}"))
            return [event]
        if not event.seq or not place.new(place.run, event.seq):
            return []
        missing = place.missing(place.run, event.seq, event.count)
        gap = Event(0, "resync", {"after": place.seq, "next": event.seq - event.count + 1})
        place.at(place.run, event.seq)
        self.after = f"{place.run}-{event.seq}"
        if missing and self.node.gaps == "error":
            raise Gap(self.fault(f"events are missing: {gap.data}"))
        return [gap, event] if missing else [event]


def pong(text: str) -> str | None:
    """The answer to a ping, which is not kept for who reads.

    >>> pong('{"type":"ping"}'), pong('{"id":"k","type":"data"}')
    ('{"type":"pong"}', None)
    """
    return '{"type":"pong"}' if text.startswith('{"type":"ping"') else None


def websocket_client(url: str, *, input: Any = EMPTY, session: str | None = None, after: int | str | None = 0,
                     credit: int = 64, headers: Mapping[str, str] | None = None, attempts: int = 8,
                     backoff: Backoff = exponential(0.5, cap=30), jitter: Literal["none", "full", "equal"] = "equal",
                     idle: float | None = 45.0, gaps: Gaps = "event", limit: int = LONGEST,
                     tls: ssl.SSLContext | None = None, world: World = THE_WORLD) -> Graph[Never, Event]:
    """The events of a run on a kayrx server (``ws://host/path/ws``), over as many sockets as it takes.

    In:      ``input=`` starts a session of its own, ``session=`` reads one, neither: the common run.  ``after``: what
             has been seen of it.
    Emits:   `kayrx.serve.Event` of the types data, retract and resync, each once and in order.  ``end`` completes the
             stream, ``error`` is a RemoteError; an end because the server stops, the login has expired or the client
             was slow is a break.
    Demand:  ``credit`` items at most are under way; more are asked for once half of them have been taken, so that the
             run at the server waits for a slow reader, across the network.
    Again:   after a break, ``attempts`` in a row, by ``backoff`` and ``jitter``, behind the last event.
    Gap:     what comes twice is left out; what is missing is an event ``resync``, as the server's own; with
             ``gaps="error"`` a Gap.
    Time:    ``idle`` seconds without a byte, pings included, are a break: twice the server's heartbeat or more.
    Leaving: a session that it has started is cancelled with it; the socket is closed before the run is over.
    Memory:  ``2 * credit + 64`` messages of ``limit`` bytes.
    Raises:  GraphError for wrong options, MissingDependency without the extra ``clients``; when run ConnectionLost,
             RemoteError, Gap, and RunError for a refusal.
    Source:  Reactive Streams 1.0.4 (request n) over a network, as in RSocket.

    >>> import kayrx as kx
    >>> graph = websocket_client("ws://127.0.0.1:8000/ask/ws", input="why?") >> kx.map(lambda event: event.data)
    """
    return source(Connected(url, input, session, after, credit, tuple((headers or {}).items()), idle, gaps, limit,
                            Again(attempts, backoff, jitter, world), tls)).named("websocket_client")


__all__ = ["websocket_client"]
