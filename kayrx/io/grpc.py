"""`grpc_client`: the events of a kayrx server over gRPC, with demand.  Needs grpcio."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, Never

import anyio

from kayrx.errors import GraphError, MissingDependency, RunError
from kayrx.graph.graph import Graph
from kayrx.io.lasting import Again, Broken, Gap, Gaps, Place, RemoteError, ended, failed, lasting, numbered
from kayrx.nodes.backoffs import Backoff, exponential
from kayrx.nodes.ends import source
from kayrx.nodes.values import EMPTY, span, whole
from kayrx.runtime.backend import loop_running
from kayrx.runtime.world import THE_WORLD, World
from kayrx.serve.encoding import as_json
from kayrx.serve.events import Event
from kayrx.serve.grpc_wire import AFTER, OPEN, REASON, SESSION, TYPES, VERBS, Ask, Events

try:
    import grpc
except ImportError as missing:
    raise MissingDependency(f"grpc_client needs {missing.name}: pip install \"kayrx[grpc]\"") from missing

LATER = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL", "UNKNOWN", "CANCELLED")
FINAL = ("too large", "error", "cancelled")    # reasons, with one of these, that time does not change
LONGEST = 4 << 20
CLOSING = 1.0


@dataclass(frozen=True)
class Connected:
    """A call to a kayrx server; calling it opens it."""

    target: str
    input: Any = field(default=EMPTY, hash=False, repr=False)
    session: str | None = field(default=None, repr=False)    # who knows it may read it
    after: str | None = None
    credit: int = 64
    metadata: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    credentials: Any = field(default=None, repr=False)
    idle: float | None = 45.0
    deadline: float | None = None
    gaps: Gaps = "event"
    limit: int = LONGEST
    again: Again = field(default_factory=Again)

    def __post_init__(self) -> None:
        if self.target.startswith(("http://", "https://")):
            raise GraphError(f"grpc_client({self.target!r}): write host:port, without http://")
        whole("grpc_client", "credit", self.credit, 1)
        whole("grpc_client", "limit", self.limit, 1)
        for name in ("idle", "deadline"):
            if getattr(self, name) is not None:
                span("grpc_client", name, getattr(self, name), zero=False)
        if self.gaps not in ("event", "error"):
            raise GraphError(f"grpc_client(gaps={self.gaps!r}): event or error")
        if self.session is not None and self.input is not EMPTY:
            raise GraphError("grpc_client(session=, input=): a session has had its input; give one of them")

    async def __call__(self) -> AsyncIterator[Event]:
        if loop_running() == "trio":
            raise RunError("grpc.aio runs on asyncio alone: run this graph on asyncio, or read the run over HTTP")
        opened = OverCalls(self).opened
        async with aclosing(lasting(opened, self.again, f"grpc_client({self.target!r})")) as items:
            async for event in items:
                yield event


class OverCalls:
    """One run of a client: its session and its place in it, from one call to the next."""

    def __init__(self, node: Connected) -> None:
        self.node, self.session, self.after = node, node.session, node.after
        self.place = Place()
        self.place.run, self.place.seq = numbered(node.after or "") or ("", 0)
        self.until: float | None = None
        self.mine = node.session is None and node.input is not EMPTY    # a run that nobody else reads

    def fault(self, text: str) -> str:
        return f"grpc_client({self.node.target!r}): {text}"

    async def opened(self) -> AsyncGenerator[Event, None]:
        """The events of one call.  Raises: Broken."""
        node, left, leaving = self.node, self.node.credit, self.mine
        async with channel(node) as held:
            call = self.called(held)
            try:
                ask = Ask(request=left)
                if self.session is None and node.input is not EMPTY:
                    ask.input = as_json(node.input)
                await self.say(call, ask)
                begun = await self.heard(call.initial_metadata())
                self.session = dict(begun or ()).get(SESSION, self.session)
                while (message := await self.heard(call.read())) is not grpc.aio.EOF:
                    for said in message.events:
                        event = understood(said)
                        if event.type == "end" and ended(event.data):
                            leaving = False
                            return
                        for each in self.told(event, said.id):
                            yield each
                        left -= event.type == "data"
                        if left <= node.credit // 2:    # asked for once they have been taken, not when they came
                            await self.say(call, Ask(request=node.credit - left))
                            left = node.credit
                raise Broken("the call has ended before the run")
            except (Broken, RunError):
                leaving = False
                raise
            except (ValueError, LookupError, RecursionError) as error:
                raise RunError(self.fault("the server does not speak kayrx's protocol")) from error
            finally:
                call.cancel()
                if leaving and self.session is not None:
                    await self.dismiss(held)

    async def dismiss(self, held: Any) -> None:
        """Cancel the run: nobody else wants it.  By a call of its own, as gRPC may have ended the other."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSING), suppress(Broken, RunError):
            call = self.called(held)
            await self.say(call, Ask(verb=VERBS.index("cancel")))
            await self.heard(call.read())

    def called(self, held: Any) -> Any:
        node, now = self.node, anyio.current_time()
        metadata = [*node.metadata, *([(SESSION, self.session)] if self.session else []),
                    *([(AFTER, self.after)] if self.after else [])]
        if node.deadline is not None and self.until is None:
            self.until = now + node.deadline
        return held.stream_stream(OPEN, Ask.SerializeToString, Events.FromString)(
            metadata=metadata, timeout=None if self.until is None else max(0.001, self.until - now))

    def told(self, event: Event, id: str) -> list[Event]:
        """The event, unless it has come before; with a resync before it if others are missing."""
        place = self.place
        if event.type == "error":
            raise failed(event.data) or RemoteError("error", str(event.data), event.data)
        if event.type == "resync":
            place.seq = 0
            return [self.gap(event)]
        run, seq = numbered(id) or ("", 0)
        if not seq or not place.new(run, seq):
            return []
        missing = place.missing(run, seq, event.count)
        gap = Event(0, "resync", {"after": self.after, "next": seq - event.count + 1})
        events = [self.gap(gap), event] if missing else [event]
        place.at(run, seq)
        self.after = id
        return events

    def gap(self, event: Event) -> Event:
        if self.node.gaps == "error":
            raise Gap(self.fault(f"events are missing: {event.data}"))
        return event

    async def say(self, call: Any, ask: Any) -> None:
        """Send; if that fails, reading says why."""
        with suppress(grpc.aio.AioRpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
            await self.heard(call.write(ask))

    async def heard(self, waiting: Awaitable[Any]) -> Any:
        """What the call gives.  Raises: Broken, RunError for its status."""
        try:
            with anyio.move_on_after(self.node.idle):
                return await waiting
        except grpc.aio.AioRpcError as error:
            status, text = error.code().name, error.details() or ""
            reason = dict(error.trailing_metadata() or ()).get(REASON, "")
            if status in LATER and reason not in FINAL:
                raise Broken(f"{status} {text}".strip()) from error
            raise RunError(self.fault(f"{status}: {text}")) from error
        raise Broken(f"nothing came for {self.node.idle:g} seconds")


def understood(said: Any) -> Event:
    return Event(said.seq, TYPES[said.type], json.loads(said.data or "null"), said.count or 1)  # type: ignore[arg-type]


def channel(node: Connected) -> Any:
    # Of its own, as a shared one would make a new attempt wait for the backoff of gRPC itself.
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0),
               ("grpc.max_receive_message_length", node.limit), ("grpc.keepalive_time_ms", 20_000),
               ("grpc.keepalive_timeout_ms", 10_000), ("grpc.http2.ping_timeout_ms", 10_000)]
    if node.credentials is None:
        return grpc.aio.insecure_channel(node.target, options)
    return grpc.aio.secure_channel(node.target, node.credentials, options)


def grpc_client(target: str, *, input: Any = EMPTY, session: str | None = None, after: str | None = None,
                credit: int = 64, metadata: Mapping[str, str] | None = None, credentials: Any = None,
                attempts: int = 8, backoff: Backoff = exponential(0.5, cap=30),
                jitter: Literal["none", "full", "equal"] = "equal", idle: float | None = 45.0,
                deadline: float | None = None, gaps: Gaps = "event", limit: int = LONGEST,
                world: World = THE_WORLD) -> Graph[Never, Event]:
    """The events of a run on a kayrx server (``host:port`` of `kayrx.serve.grpc`), over as many calls as it takes.

    In:      ``input=`` starts a session of its own, ``session=`` reads one, neither: the common run.  ``after``: the
             id of the last event that has been seen of it.  ``metadata`` goes with every call; ``credentials`` are
             those of grpc.ssl_channel_credentials, None: in the clear.
    Emits:   `kayrx.serve.Event` of the types data, retract and resync, each once and in order.  ``end`` completes the
             stream, ``error`` is a RemoteError; an end because the server stops, the login has expired or the client
             was slow is a break.
    Demand:  ``credit`` items at most are under way; more are asked for once half of them have been taken, so that the
             run at the server waits for a slow reader, across the network.
    Again:   after a break, ``attempts`` in a row, by ``backoff`` and ``jitter``, behind the last event.
    Gap:     what comes twice is left out; what is missing is an event ``resync``, as the server's own; with
             ``gaps="error"`` a Gap.
    Time:    ``idle`` seconds without a message are a break: twice the server's heartbeat or more.  ``deadline`` is
             gRPC's own, for all calls together; then a RunError.
    Leaving: the call is cancelled, and a session that it has started with it; the server hears of it at once.
    Memory:  ``credit`` items, each of a message of ``limit`` bytes at most.
    Raises:  GraphError for wrong options, MissingDependency without the extra ``grpc``; when run ConnectionLost,
             RemoteError, Gap, and RunError for a refusal and on trio, where grpc.aio does not run.
    Source:  Reactive Streams 1.0.4 (request n) over gRPC's bidirectional streams.

    >>> import kayrx as kx
    >>> graph = grpc_client("127.0.0.1:50051", input="why?") >> kx.map(lambda event: event.data)
    """
    return source(Connected(target, input, session, after, credit, tuple((metadata or {}).items()), credentials, idle,
                            deadline, gaps, limit, Again(attempts, backoff, jitter, world))).named("grpc_client")


__all__ = ["grpc_client"]
