"""D1 and D3: tokens at the pace of a fast model, on servers that stand side by side and take turns.

Both contenders have their clients, in a process of their own, from the beginning to the end; what is measured is
slices of some tokens, one's and the other's by turns.  So nothing of a start is measured, and what disturbs the
machine for longer than a slice disturbs both.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import anyio
from fastapi import FastAPI
from sse_starlette import EventSourceResponse

import kayrx as kx
from kayrx.serve import Hub, Limits, Outbox, mount
from kayrx.serve.server import serve
from tests.bench.goals import Goal, Row, rows_of, times
from tests.bench.measure import Settings, WrongAnswer
from tests.bench.serving import TEXT, read, uvicorn_with

REST = 0.004     # seconds after a slice, in which its last token goes out
LARGE, MANY = "x" * 100_000, 80    # what fills the buffers of a client that reads nothing


class Tokens:
    """A source that gives a slice of stamped tokens whenever it is asked for one."""

    def __init__(self, pace: float) -> None:
        self.pace, self.asked, self.given = pace, asyncio.Queue[int](), asyncio.Event()

    async def __call__(self) -> AsyncIterator[Any]:
        while size := await self.asked.get():
            for _ in range(size):
                await asyncio.sleep(self.pace)
                yield [time.monotonic(), TEXT]
            self.given.set()

    async def slice(self, size: int) -> float:
        """Have so many given; the CPU time of one, in nanoseconds."""
        self.given.clear()
        began = time.process_time_ns()
        self.asked.put_nowait(size)
        await self.given.wait()
        await asyncio.sleep(REST)
        return (time.process_time_ns() - began) / size


Stand = Callable[[Tokens], AbstractAsyncContextManager["Standing"]]


@dataclass
class Standing:
    """A server that runs: where its clients connect, how many have, and how many of them read nothing."""

    port: int
    clients: Callable[[], int]
    path: str = "/stream"
    stalled: int = 0


@asynccontextmanager
async def by_kayrx(tokens: Tokens) -> AsyncIterator[Standing]:
    """A graph of the source alone, mounted with the defaults."""
    app = FastAPI()
    hub = mount(app, "/stream", kx.source(tokens), outbox=Outbox("disconnect", 4096, 1 << 24), timeout=60.0,
                limits=Limits(streams=10**6, requests=10**6))
    async with standing(app, hub) as port:
        yield Standing(port, lambda: hub.clients)


@asynccontextmanager
async def standing(app: FastAPI, hub: Hub) -> AsyncIterator[int]:
    async with anyio.create_task_group() as group:
        yield await group.start(lambda **status: serve(app, hub, signals=False, **status))
        group.cancel_scope.cancel()


@asynccontextmanager
async def by_hand(tokens: Tokens) -> AsyncIterator[Standing]:
    """A generator of FastAPI and sse-starlette, straight over the source; the same send timeout, and ids."""
    app, clients = FastAPI(), 0

    @app.get("/stream")
    async def stream() -> EventSourceResponse:
        async def events() -> AsyncIterator[dict[str, str]]:
            nonlocal clients
            clients += 1
            numbers = count(1)
            async for token in tokens():
                yield {"id": str(next(numbers)), "data": json.dumps(token)}
            yield {"event": "end", "data": "{}"}
        return EventSourceResponse(events(), send_timeout=60)

    async with uvicorn_with(app) as port:
        yield Standing(port, lambda: clients)


@dataclass(frozen=True)
class Pacing:
    """Servers by turns: ``slices`` of ``size`` tokens each, read by ``clients``.  A row for CPU time, one for p99."""

    name: str
    stands: dict[str, Stand]
    goals: dict[str, list[Goal]]
    clients: int
    pace: float
    size: int
    slices: int
    quick: int
    unit: str = "ns/token"

    def rows(self, settings: Settings) -> list[Row]:
        """Measure; a goal that is missed is measured for as many slices again, and all of them count."""
        figures: dict[str, dict[str, list[float]]] = {key: {name: [] for name in self.stands} for key in self.goals}
        rows: list[Row] = []
        with asyncio.Runner() as runner:
            for _ in range(2):
                runner.run(self.measure(self.quick if settings.quick else self.slices, figures))
                rows = [row for key, goals in self.goals.items() for row in rows_of(
                    f"{self.name} {key}", self.unit if key == "CPU" else "ms", figures[key], goals,
                    next(iter(self.stands)))]
                if not any(row.verdict == "missed" for row in rows):
                    break
        return rows

    async def measure(self, slices: int, figures: dict[str, dict[str, list[float]]]) -> None:
        costs: dict[str, list[float]] = {name: [] for name in self.stands}
        async with AsyncExitStack() as stack:
            sources = {name: Tokens(self.pace) for name in self.stands}
            stood = [await stack.enter_async_context(stand(sources[name])) for name, stand in self.stands.items()]
            reading = asyncio.ensure_future(read([
                {"port": it.port, "path": it.path, "clients": self.clients} for it in stood]))
            while any(it.clients() < self.clients + it.stalled for it in stood):
                await asyncio.sleep(0.01)
            gc.collect()
            for number in range(slices + 1):
                for name, source in sources.items():
                    cost = await source.slice(self.size)
                    if number:    # the first one warms up
                        costs[name].append(cost)
            for source in sources.values():
                source.asked.put_nowait(0)
            seen = await reading
        for name, result in zip(self.stands, seen, strict=True):
            if result["events"] != (slices + 1) * self.size * self.clients:
                raise WrongAnswer(f"{self.name}: {name} gave {result['events']} events")
            for key, values in (("CPU", costs[name]), ("p99", self.late(result["ages"]))):
                if key in figures:
                    figures[key][name] += values

    def late(self, ages: list[list[float]]) -> list[float]:
        """The 99th percentile of each slice, over all clients, in milliseconds."""
        found = []
        for begin in range(self.size, len(ages[0]), self.size):
            mine = sorted(age for client in ages for age in client[begin:begin + self.size])
            found.append(mine[len(mine) * 99 // 100] * 1000)
        return found


@asynccontextmanager
async def one_stalls(tokens: Tokens) -> AsyncIterator[Standing]:
    """One client more, who reads nothing, and for whom the server waits already."""
    async def first() -> AsyncIterator[Any]:
        for _ in range(MANY):
            yield LARGE
            await asyncio.sleep(0)
        async for token in tokens():
            yield token

    app = FastAPI()
    hub = mount(app, "/stream", kx.source(first), outbox=Outbox("disconnect", 4096, 1 << 24), timeout=60.0,
                limits=Limits(streams=10**6, requests=10**6))
    async with standing(app, hub) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        while hub.common is None or hub.common.log.last < MANY:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        if not hub.common.clients[0].reader.waiting:
            raise WrongAnswer("D3: the client that reads nothing has been sent all")
        yield Standing(port, lambda: hub.clients, f"/stream?after={MANY}", 1)
        writer.transport.abort()


def races() -> list[Pacing]:
    return [
        Pacing("D1", {"by hand": by_hand, "kayrx": by_kayrx}, {
            "CPU": [times("kayrx", "by hand", 1.2)], "p99": [Goal("kayrx", "by hand", 1.0, "above")],
        }, clients=1, pace=0.001, size=50, slices=60, quick=20),
        Pacing("D3", {"all read": by_kayrx, "one stalls": one_stalls}, {
            "p99": [times("one stalls", "all read", 1.1)]}, clients=99, pace=0.01, size=5, slices=60, quick=20),
    ]
