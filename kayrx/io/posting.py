"""`post_each`: items as HTTP requests, a bounded number at once.  Needs httpx2."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from kayrx.errors import GraphError, MissingDependency, RunError
from kayrx.graph.graph import Graph
from kayrx.nodes.place import Call, bounds
from kayrx.nodes.transform import map
from kayrx.nodes.values import needs_function, span, whole

try:
    import httpx2

    from kayrx.io.bodies import body_of
    from kayrx.io.http import http_client
    from kayrx.io.refusals import elsewhere
except ImportError as missing:
    raise MissingDependency(f"clients need {missing.name}: pip install \"kayrx[clients]\"") from missing

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answered:
    """What a server has answered to an item: the status, and the body as bytes."""

    status: int
    body: bytes


class Refusal(RunError):
    """A server has answered 300 or more, so it has not taken the item; ``status`` and its ``body`` (in part) say why.

    ``retry_after`` is its header of that name, which `retry` honours.
    """

    def __init__(self, message: str, status: int, body: bytes, retry_after: str | None = None) -> None:
        super().__init__(message)
        self.status, self.body, self.retry_after = status, body, retry_after


@dataclass(frozen=True)
class Posting:
    """A placement (`kayrx.Placement`): the function gives the body, and the call posts it; a client for each run."""

    url: str
    workers: int
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)    # passwords are among them
    seconds: float = 30.0
    limit: int = 1 << 20
    client: Callable[[], Any] = http_client

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise GraphError(f"post_each(url={self.url!r}): a URL begins with http:// or https://")
        bounds("post_each", self)
        span("post_each", "seconds", self.seconds, zero=False)
        whole("post_each", "limit", self.limit, 1)
        needs_function("post_each", "client", self.client, many=True)

    batch, linger = 1, 0.0

    @property
    def in_flight(self) -> int:
        return self.workers

    @asynccontextmanager
    async def start(self, fn: Callable[[Any], Any]) -> AsyncIterator[Call]:
        async with self.client() as client:
            async def call(batch: Sequence[Any]) -> Sequence[Any]:
                return [await self.post(client, fn(item)) for item in batch]
            yield call

    async def post(self, client: httpx2.AsyncClient, body: Any) -> Answered:
        content: dict[str, Any] = {"content": body} if isinstance(body, (bytes, str)) else {"json": body}
        async with client.stream("POST", self.url, headers=dict(self.headers), timeout=self.seconds,
                                 **content) as response, body_of(response) as chunks:
            found = bytearray()
            async for chunk in chunks:
                found += chunk
                if len(found) > self.limit:
                    raise RunError(f"post_each({self.url!r}): an answer of more than {self.limit} bytes; raise limit=")
        if response.status_code >= 300:    # a redirect has not taken it either
            raise Refusal(f"post_each({self.url!r}): the server has answered {response.status_code}"
                          f"{elsewhere(response.headers)}",
                          response.status_code, bytes(found[:1000]), response.headers.get("retry-after"))
        return Answered(response.status_code, bytes(found))


def same(item: Any) -> Any:
    """The item itself."""
    return item


def post_each(url: str, *, body: Callable[[T], Any] = same, concurrency: int = 8, ordered: bool = True,
              headers: Mapping[str, str] | None = None, seconds: float = 30.0, limit: int = 1 << 20,
              client: Callable[[], Any] = http_client) -> Graph[T, Answered]:
    """Post each item to a URL, ``concurrency`` at once, and give what the server answers.

    In:      ``body(item)`` as JSON, or as it is if it is bytes or text; default: the item.
    Out:     `Answered`, in the order of the items, or with ``ordered=False`` as they come.
    Memory:  ``concurrency`` items and answers of at most ``limit`` bytes each.
    Guards:  it is an ordinary unit: ``post_each(url) >> retry(3, backoff=...) >> dead_letter(store)``.
    Time:    ``seconds`` for each step of one request; ``timeout`` bounds the whole.
    Raises:  GraphError for wrong options, MissingDependency without the extra ``clients``; for an item, when run:
             Refusal (a RunError with ``status`` and ``body``) from 300 on, what httpx2 raises, RunError for an answer
             that is too long.
    Source:  Pekko HTTP's cachedHostConnectionPool flow.

    >>> import kayrx as kx
    >>> graph = kx.source([{"n": 1}]) >> post_each("http://127.0.0.1:8000/take") >> kx.retry(3)
    """
    place = Posting(url, concurrency, tuple((headers or {}).items()), seconds, limit, client)
    return map(body, concurrency=concurrency, ordered=ordered, on=place).named("post_each")


__all__ = ["Answered", "Posting", "Refusal", "post_each"]
