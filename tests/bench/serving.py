"""D2 and D4: delivery over SSE, beside FastAPI with sse-starlette as one writes it by hand.

The clients are in a process of their own, so that the CPU time is the server's alone.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import json
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import anyio
import uvicorn
from fastapi import FastAPI
from sse_starlette import EventSourceResponse

import kayrx as kx
from kayrx.serve import Limits, Outbox, mount
from kayrx.serve.server import Server, serve
from tests.bench.goals import Goal, Row, faster, rows_of
from tests.bench.measure import Settings, WrongAnswer

TEXT = "a token "
latest: dict[str, float] = {}    # what was seen in the last piece of work


@cache
def clients() -> subprocess.Popen[str]:
    """The process with the clients."""
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.readers"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    atexit.register(process.kill)
    return process


async def read(servers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What so many clients of each of these servers have seen: how many events, and how old each was."""
    process = clients()
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(servers) + "\n")
    process.stdin.flush()
    seen: list[dict[str, Any]] = json.loads(await asyncio.to_thread(process.stdout.readline))
    return seen


async def counted(port: int, readers: int) -> int:
    """How many events so many clients got; what one took of the processor is in ``latest``."""
    [seen] = await read([{"port": port, "path": "/stream", "clients": readers, "stamped": False}])
    latest["cpu"] = (time.process_time_ns() - latest["began"]) / max(1, seen["events"])
    return int(seen["events"])


async def tokens(count: int, joined: asyncio.Event) -> AsyncIterator[Any]:
    await joined.wait()
    for _ in range(count):
        await asyncio.sleep(0)
        yield [time.monotonic(), TEXT]


# -- kayrx ---------------------------------------------------------------------------------------


async def by_kayrx(count: int, readers: int) -> int:
    app, joined = FastAPI(), asyncio.Event()
    hub = mount(app, "/stream", kx.source(partial(tokens, count, joined)), limits=Limits(streams=10**6, requests=10**6),
                outbox=Outbox("block", 4096, 1 << 24))
    async with anyio.create_task_group() as group:
        port = await group.start(lambda **status: serve(app, hub, signals=False, **status))
        group.start_soon(when, lambda: hub.clients >= readers, joined)
        got = await counted(port, readers)
        group.cancel_scope.cancel()
    return got


async def when(true: Callable[[], bool], event: asyncio.Event) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.01)
    latest["began"] = time.process_time_ns()    # what it takes to connect is no part of an event's cost
    event.set()


# -- by hand ---------------------------------------------------------------------------------------


@asynccontextmanager
async def uvicorn_with(app: FastAPI) -> AsyncIterator[int]:
    server = Server(uvicorn.Config(app, port=0, log_level="critical", access_log=False, http="h11", lifespan="off",
                                   timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await task


async def by_hand(count: int, readers: int) -> int:
    """A queue for each client, a task that fills them all, and a generator that empties one."""
    app, queues, joined = FastAPI(), list[asyncio.Queue[Any]](), asyncio.Event()

    @app.get("/stream")
    async def stream() -> EventSourceResponse:
        async def events() -> AsyncIterator[dict[str, str]]:
            queue: asyncio.Queue[Any] = asyncio.Queue()
            queues.append(queue)
            number = 0
            while (token := await queue.get()) is not None:
                number += 1
                yield {"id": str(number), "data": json.dumps(token)}
            yield {"event": "end", "data": "{}"}
        return EventSourceResponse(events(), send_timeout=10)

    async def publish() -> None:
        async for token in tokens(count, joined):
            for queue in queues:
                queue.put_nowait(token)
        for queue in queues:
            queue.put_nowait(None)

    async with uvicorn_with(app) as port, asyncio.TaskGroup() as group:
        group.create_task(publish())
        group.create_task(when(lambda: len(queues) >= readers, joined))
        reading = group.create_task(counted(port, readers))
    return reading.result()


# -- the races -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Delivery:
    """Contenders who send the same events; each figure of one piece of work is a row.

    ``figures`` gives for each row its name, what of `latest` it is, its unit and factor, and its goals.
    """

    name: str
    contenders: dict[str, Callable[[int], Any]]
    figures: list[tuple[str, str, str, float, list[Goal]]]
    size: int
    quick: int
    right: Callable[[int], int]

    def rows(self, settings: Settings) -> list[Row]:
        """Measure; a goal that is missed is measured for as many rounds again, and all rounds count."""
        costs: dict[str, dict[str, list[float]]] = {figure[0]: {} for figure in self.figures}
        rows: list[Row] = []
        with asyncio.Runner() as runner:
            for _ in range(2):
                for _ in range(settings.rounds):
                    self.measure(self.quick if settings.quick else self.size, runner, costs)
                rows = [row for name, _, unit, _, goals in self.figures
                        for row in rows_of(name, unit, costs[name], goals, next(iter(self.contenders)))]
                if not any(row.verdict == "missed" for row in rows):
                    break
        return rows

    def measure(self, size: int, runner: asyncio.Runner, costs: dict[str, dict[str, list[float]]]) -> None:
        for name, run in self.contenders.items():
            gc.collect()
            given = runner.run(run(size))
            if given != self.right(size):
                raise WrongAnswer(f"{self.name}: {name} gave {given!r}, and {self.right(size)!r} is right")
            for figure, key, _, factor, _ in self.figures:
                costs[figure].setdefault(name, []).append(latest[key] * factor)


def many_clients(readers: int, size: int, quick: int) -> Delivery:
    """As fast as it goes: what comes while a round is sent goes out in one piece to each client, where by hand each
    event is written by itself.  At a pace both write each event, and the socket's own cost is most of it.
    """
    return Delivery("D2", {
        "by hand": partial(by_hand, readers=readers), "kayrx": partial(by_kayrx, readers=readers),
    }, [(f"D2 {readers} clients", "cpu", "ns/event", 1, [faster("kayrx", "by hand", 2)])],
        size=size, quick=quick, right=lambda events: readers * events)


async def idle(count: int) -> int:
    """So many clients to whom nothing is sent: what each of them holds, of Python and of the server."""
    app = FastAPI()
    hub = mount(app, "/stream", kx.source(partial(tokens, 1, asyncio.Event())),
                limits=Limits(streams=10**6, requests=10**6))
    async with anyio.create_task_group() as group:
        port = await group.start(lambda **status: serve(app, hub, signals=False, **status))
        streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
        gc.collect()
        tracemalloc.start()
        for _, writer in streams:
            writer.write(b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        while hub.clients < count:
            await asyncio.sleep(0.01)
        gc.collect()
        latest["memory"] = tracemalloc.get_traced_memory()[0] / count
        tracemalloc.stop()
        for _, writer in streams:
            writer.close()
        group.cancel_scope.cancel()
    return count


async def released(count: int) -> int:
    """A client leaves; how long until the source of its run is closed."""
    left, gone = asyncio.Event(), 0.0

    async def model() -> AsyncIterator[str]:
        try:
            while True:
                yield TEXT
                await asyncio.sleep(0.001)
        finally:
            latest["released"] = time.perf_counter() - gone
            left.set()

    app = FastAPI()
    hub = mount(app, "/stream", kx.source(model), on_disconnect="cancel")
    async with anyio.create_task_group() as group:
        port = await group.start(lambda **status: serve(app, hub, signals=False, **status))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await reader.readuntil(b"data:")
        gone = time.perf_counter()
        writer.transport.abort()
        await left.wait()
        group.cancel_scope.cancel()
    return count


def races() -> list[Delivery]:
    return [
        many_clients(100, 200, 60), many_clients(1000, 50, 0),
        Delivery("D2", {"kayrx": idle}, [
            ("D2 memory", "memory", "bytes/client", 1, [Goal("kayrx", "", 32_768, "amount")])], 500, 200, lambda n: n),
        Delivery("D4", {"kayrx": released}, [
            ("D4 release", "released", "ms", 1000, [Goal("kayrx", "", 300, "amount")])], 1, 1, lambda n: n),
    ]
