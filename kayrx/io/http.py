"""Streams that come over HTTP: server-sent events, and lines.  Needs httpx2."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Never
from urllib.parse import urlsplit

from kayrx.errors import GraphError, MissingDependency, RunError
from kayrx.graph.graph import Graph
from kayrx.io.bodies import body_of
from kayrx.io.event_stream import LONGEST, Decoder, ServerSent
from kayrx.io.lasting import Again, Broken, ConnectionLost, Gap, Gaps, Place, ended, failed, lasting, numbered
from kayrx.io.refusals import LATER, LONGEST_WAIT, elsewhere, retry_after, said
from kayrx.nodes.backoffs import Backoff, exponential
from kayrx.nodes.ends import source
from kayrx.nodes.values import EMPTY, needs_function, span, whole
from kayrx.runtime.world import THE_WORLD, World

try:
    import httpx2
except ImportError as missing:
    raise MissingDependency(f"clients need {missing.name}: pip install \"kayrx[clients]\"") from missing

OPENING = 10.0


def http_client() -> httpx2.AsyncClient:
    """What opens connections by default: no proxy or password of the environment, no redirect."""
    return httpx2.AsyncClient(trust_env=False)


@dataclass(frozen=True)
class Streaming:
    """A request whose answer is a stream; calling it makes the request."""

    url: str
    json: Any = field(default=EMPTY, hash=False, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)    # passwords are among them
    idle: float | None = 45.0
    limit: int = LONGEST
    again: Again = field(default_factory=Again)
    client: Callable[[], Any] = http_client

    word = "client"

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise GraphError(f"{self.word}(url={self.url!r}): a URL begins with http:// or https://")
        if self.idle is not None:
            span(self.word, "idle", self.idle, zero=False)
        whole(self.word, "limit", self.limit, 1)
        needs_function(self.word, "client", self.client, many=True)

    async def chunks(self, client: httpx2.AsyncClient, answer: AsyncExitStack, url: str, accept: str,
                     again: bool = False, **more: bytes) -> tuple[httpx2.Response, AsyncIterator[bytes]]:
        """The answer's head and body, which ``answer`` closes.

        Raises: Broken for what may be better next time; RunError for a refusal.
        """
        headers: Any = {"Accept": accept, "Cache-Control": "no-store", **dict(self.headers), **more}
        body: dict[str, Any] = {} if self.json is EMPTY or again else {"json": self.json}
        timeout = httpx2.Timeout(OPENING, read=self.idle)
        response: httpx2.Response = await answer.enter_async_context(
            client.stream("POST" if body else "GET", url, headers=headers, timeout=timeout, **body))
        if response.status_code in LATER:
            raise Broken(f"the server has answered {response.status_code}",
                         retry_after(response.headers.get("retry-after", ""), self.again.world.wall))
        chunks = await answer.enter_async_context(body_of(response))
        if response.status_code >= 300:
            words = f"{response.status_code}{elsewhere(response.headers) or await said(chunks)}"
            raise RunError(f"{self.word}({self.url!r}): the server has answered {words}")
        return response, chunks


async def broken_off(opened: Callable[[], AsyncGenerator[Any, None]]) -> AsyncGenerator[Any, None]:
    """The items of ``opened()``, with what a network does as `Broken`."""
    try:
        async with aclosing(opened()) as items:
            async for item in items:
                yield item
    except (httpx2.TransportError, OSError) as error:
        raise Broken(f"{type(error).__name__} {error}".strip()) from error


# -- server-sent events ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class EventStream(Streaming):
    last_id: str | None = None
    gaps: Gaps = "event"

    word = "sse_client"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gaps not in ("event", "error"):
            raise GraphError(f"sse_client(gaps={self.gaps!r}): event or error")

    async def __call__(self) -> AsyncIterator[ServerSent]:
        async with self.client() as client:
            opened = EventsFrom(self, client).opened
            async with aclosing(lasting(opened, self.again, f"sse_client({self.url!r})")) as items:
                async for event in items:
                    yield event


class EventsFrom:
    """One run of a client: what has to be known from one connection to the next."""

    def __init__(self, node: EventStream, client: httpx2.AsyncClient) -> None:
        self.client = client
        self.node, self.last_id, self.url = node, node.last_id, node.url
        self.retry = 0.0
        self.place = Place()
        self.sent = self.resumable = False

    async def opened(self) -> AsyncGenerator[ServerSent, None]:
        try:
            async with aclosing(broken_off(self.events)) as items:
                async for event in items:
                    self.sent = True
                    yield event
        except Broken as error:
            if self.sent and self.node.json is not EMPTY and not self.resumable:
                raise ConnectionLost(f"sse_client({self.node.url!r}): {error}; what was posted cannot be resumed, and "
                                     "to post it again would repeat it") from error
            error.after = max(error.after, self.retry)
            raise

    async def events(self) -> AsyncGenerator[ServerSent, None]:
        node = self.node
        async with AsyncExitStack() as answer:
            more = {"Last-Event-ID": self.last_id.encode()} if self.last_id else {}
            response, chunks = await node.chunks(self.client, answer, self.url, "text/event-stream",
                                                  self.resumable, **more)
            if response.status_code == 204:
                return
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "text/event-stream":
                raise RunError(f"sse_client({node.url!r}): the server has answered {kind or 'without a type'}, not "
                               "text/event-stream")
            if "x-session" in response.headers:    # kayrx has made a session of its own, which has a place
                self.resumable, self.url = True, below(node.url, response.headers["x-session"])
            decoder = Decoder(self.last_id, node.limit)
            async for chunk in chunks:
                for event in decoder.feed(chunk):
                    if over(event):
                        return
                    for each in self.told(event):
                        yield each
                    self.last_id = decoder.last_id
                if decoder.retry is not None:
                    self.retry = min(LONGEST_WAIT, decoder.retry / 1000)
            raise Broken("the answer has ended before the stream")

    def told(self, event: ServerSent) -> list[ServerSent]:
        """The event, unless it has come before; with a resync before it if others are missing."""
        at = numbered(event.id)
        if event.type == "resync" and self.node.gaps == "error":
            raise Gap(f"sse_client({self.node.url!r}): the server cannot go on after {self.last_id!r}: {event.data}")
        if at is None or event.type == "resync":
            return [event]
        if not self.place.new(*at):
            return []
        missing = self.place.missing(*at, event.count)
        gap = ServerSent("resync", json.dumps({"after": self.place.seq, "next": at[1] - event.count + 1}))
        self.place.at(*at)
        if missing and self.node.gaps == "error":
            raise Gap(f"sse_client({self.node.url!r}): events are missing: {gap.data}")
        return [gap, event] if missing else [event]


def below(url: str, session: str) -> str:
    """Where a session is read that was made at ``url``.

    >>> below("https://host/ask/?token=t", "k3Jx")
    'https://host/ask/k3Jx?token=t'
    """
    parts = urlsplit(url)
    return parts._replace(path=f"{parts.path.rstrip('/')}/{session}").geturl()


def over(event: ServerSent) -> bool:
    """True for kayrx's own end.  Raises: RemoteError for its error, Broken for an end that is none."""
    if event.type not in ("end", "error"):
        return False
    try:
        data = event.json()
    except (ValueError, RecursionError):
        return False
    if event.type == "end":
        return ended(data) is True
    error = failed(data)
    if error is not None:
        raise error
    return False


def sse_client(url: str, *, json: Any = EMPTY, headers: Mapping[str, str] | None = None, last_id: str | None = None,
               attempts: int = 8, backoff: Backoff = exponential(0.5, cap=30),
               jitter: Literal["none", "full", "equal"] = "equal", idle: float | None = 45.0, gaps: Gaps = "event",
               limit: int = LONGEST, client: Callable[[], Any] = http_client,
               world: World = THE_WORLD) -> Graph[Never, ServerSent]:
    """The server-sent events of a URL, over as many connections as it takes.

    Emits:   `ServerSent`, each once and in order.  kayrx's ``end`` completes it, its ``error`` is a RemoteError;
             an end because the server stops, the login has expired or the client was slow is a break.  204 completes.
    Again:   after a break, ``attempts`` in a row, by ``backoff`` and ``jitter``, no sooner than ``retry:`` and
             Retry-After say, with Last-Event-ID.  Statuses 408, 425, 429 and 5xx are breaks, other refusals final.
    Gap:     ids of kayrx are numbers in a run: what comes twice is left out, and what is missing is an event
             ``resync``, as the server's own; with ``gaps="error"`` a Gap.  Ids of others are passed on unread.
    Post:    ``json=`` posts an input; from then on a kayrx server's session is resumed.  Another server's answer that
             breaks after its first event is a ConnectionLost, for a second post would repeat it.
    Time:    ``idle`` seconds without a byte, heartbeats included, are a break: twice the server's heartbeat or more.
    Memory:  one chunk and twice one event of ``limit`` bytes; a slow reader makes the server wait, and may be let go.
    Raises:  GraphError for wrong options, MissingDependency without the extra ``clients``; when run ConnectionLost,
             RemoteError, Gap, and RunError for a refusal, another type of answer, or an event that is too long.
    Source:  EventSource of the WHATWG's HTML standard.

    >>> import kayrx as kx
    >>> graph = sse_client("http://127.0.0.1:8000/words") >> kx.map(lambda event: event.json())
    """
    again = Again(attempts, backoff, jitter, world)
    node = EventStream(url, json, tuple((headers or {}).items()), idle, limit, again, client, last_id, gaps)
    return source(node).named("sse_client")


# -- lines -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LinesFrom(Streaming):
    word = "http_lines"

    async def __call__(self) -> AsyncIterator[str]:
        async with self.client() as client:
            opened = partial(broken_off, partial(self.lines, client))
            async with aclosing(lasting(opened, self.again, f"http_lines({self.url!r})")) as items:
                async for line in items:
                    yield line

    async def lines(self, client: httpx2.AsyncClient) -> AsyncGenerator[str, None]:
        async with AsyncExitStack() as answer:
            _, chunks = await self.chunks(client, answer, self.url, "application/x-ndjson, text/plain;q=0.9, */*;q=0.5")
            held = bytearray()    # no text yet: in text one rare character makes each of the others take four bytes
            async for chunk in chunks:
                first, *rest = chunk.split(b"\n")
                held += first
                for following in rest:
                    self.bounded(held)
                    with memoryview(held) as view:
                        line = str(view[:-1] if held.endswith(b"\r") else view, "utf-8")
                    held = bytearray(following)
                    yield line
                self.bounded(held)
            if held:
                yield str(held, "utf-8")

    def bounded(self, held: bytearray) -> None:
        if len(held) > self.limit:
            raise RunError(f"http_lines({self.url!r}): a line is longer than {self.limit} bytes; raise limit=")


def http_lines(url: str, *, json: Any = EMPTY, headers: Mapping[str, str] | None = None, attempts: int = 1,
               backoff: Backoff = exponential(0.5, cap=30), jitter: Literal["none", "full", "equal"] = "equal",
               idle: float | None = 45.0, limit: int = LONGEST, client: Callable[[], Any] = http_client,
               world: World = THE_WORLD) -> Graph[Never, str]:
    """The lines of an HTTP answer as they come, without their line ends: NDJSON, logs, any text in UTF-8.

    Emits:   str; empty lines too, and what is behind the last line end.  ``json=`` posts an input.
    Again:   a break is the end, unless ``attempts`` asks for more: then the request is made anew, and the lines come
             from their beginning, for lines have no place to go on from (`sse_client` has).
    Time:    ``idle`` seconds without a byte are a break.
    Memory:  one chunk and twice one line of ``limit`` bytes; a slow reader makes the server wait.
    Raises:  GraphError for wrong options, MissingDependency without the extra ``clients``; when run ConnectionLost,
             UnicodeDecodeError, RunError for a refusal or a line that is too long.
    Source:  NDJSON; Pekko HTTP's JSON streaming.

    >>> import json, kayrx as kx
    >>> graph = http_lines("http://127.0.0.1:8000/words") >> kx.map(json.loads)
    """
    again = Again(attempts, backoff, jitter, world)
    node = LinesFrom(url, json, tuple((headers or {}).items()), idle, limit, again, client)
    return source(node).named("http_lines")


__all__ = ["http_client", "http_lines", "sse_client"]
