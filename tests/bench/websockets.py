"""D5: messages of 1 KB over one WebSocket, with credit, beside the bare library: server and client in one process.

The bare side sends the text as it is.  Ours sends one envelope in JSON for each, with an id to resume by, a log behind
it, and a demand that the client renews after each 256.  To connect is no part of either.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import anyio
from starlette.applications import Starlette
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve as bare_server

import kayrx as kx
from kayrx.serve import mount
from kayrx.serve.server import serve
from tests.bench.goals import times
from tests.bench.measure import Contender, Race, WrongAnswer

TEXT = "x" * 1024
CREDIT = 512


clock = {"began": 0, "ended": 0}    # of one piece of work, from the client's first message to its last


def connected(work: Callable[[], object]) -> float:
    work()
    return clock["ended"] - clock["began"]


async def bare(count: int) -> int:
    """A loop that sends, and one that reads."""
    async def send(socket: Any) -> None:
        await socket.recv()
        for _ in range(count):
            await socket.send(TEXT)

    async with bare_server(send, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}", compression=None) as socket:
            seen, clock["began"] = 0, time.process_time_ns()
            await socket.send("start")
            async for message in socket:
                if len(message) < len(TEXT):
                    raise WrongAnswer(message)
                seen += 1
            clock["ended"] = time.process_time_ns()
            return seen


def texts(count: int) -> Iterator[str]:
    for _ in range(count):
        yield TEXT


async def with_credit(count: int) -> int:
    """A run of its own for the client, which asks for items by and by and reads as the bare one does."""
    app, seen, asked = Starlette(), 0, CREDIT
    hub = mount(app, "/n", lambda n: kx.source(partial(texts, n)))
    async with anyio.create_task_group() as group:
        port = await group.start(lambda **status: serve(app, hub, signals=False, **status))
        async with connect(f"ws://127.0.0.1:{port}/n/ws", compression=None) as socket:
            clock["began"] = time.process_time_ns()
            await socket.send(f'{{"type":"start","id":"a","data":{count},"credit":{CREDIT}}}')
            await socket.recv()
            async for message in socket:
                if len(message) < len(TEXT):    # the end
                    break
                seen += 1
                if asked - seen <= CREDIT // 2:
                    await socket.send(f'{{"type":"request","id":"a","n":{CREDIT - (asked - seen)}}}')
                    asked = seen + CREDIT
            clock["ended"] = time.process_time_ns()
        group.cancel_scope.cancel()
    return seen


def races() -> Sequence[Race]:
    return [Race("D5", lambda count: count, [Contender("bare websockets", bare), Contender("kayrx", with_credit)],
                 [times("kayrx", "bare websockets", 1 / 0.8)], size=30_000, quick=8_000, base="bare websockets",
                 meter=connected, often=2)]
