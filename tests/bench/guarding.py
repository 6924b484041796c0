"""W12: what guards cost where nothing fails."""

from __future__ import annotations

import asyncio
import operator
from contextlib import suppress
from functools import cache
from typing import Any

import kayrx as kx
from tests.bench import functions as by
from tests.bench.goals import times
from tests.bench.measure import Contender, Race
from tests.bench.waiting import at_once


def looking() -> Any:
    """Guards that only an error enters, whatever the unit."""
    return kx.retry(3, backoff=kx.exponential(0.1)) >> kx.fallback(0) >> kx.dead_letter([])


def standing() -> Any:
    """The same with guards that stand around every call."""
    return kx.timeout(20) >> kx.circuit_breaker(5) >> kx.bulkhead(16) >> kx.retry(3, backoff=kx.exponential(0.1)) \
        >> kx.deadline(60) >> kx.fallback(0) >> kx.dead_letter([])


def timing() -> Any:
    """The chain that a call over the network wants."""
    return kx.timeout(20) >> looking()


@cache
def filtered(items: int, guards: Any = None) -> Any:
    """W1 with or without guards around its first map."""
    mapped = kx.source(range(items)) >> kx.map(by.add_one)
    return (mapped if guards is None else mapped >> guards()) >> kx.filter(by.is_even) >> kx.map(by.triple) \
        >> kx.reduce(operator.add, 0) >> kx.to_list()


@cache
def summed(items: int, fn: Any, guards: Any = None) -> Any:
    mapped = kx.source(range(items)) >> kx.map(fn)
    return (mapped if guards is None else mapped >> guards()) >> kx.reduce(operator.add, 0) >> kx.to_list()


def in_place(guards: Any = None) -> Any:
    return lambda items: filtered(items, guards).run()[0]


def awaited(fn: Any, guards: Any = None) -> Any:
    async def run(items: int) -> int:
        return (await summed(items, fn, guards))[0]  # type: ignore[no-any-return]
    return run


async def message(reader: asyncio.StreamReader) -> bytes:
    """The body of an HTTP message."""
    length = 0
    while (line := await reader.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return await reader.readexactly(length)


def written(head: bytes, x: int) -> bytes:
    body = b"%d" % x
    return head + b"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


class Peer:
    """A small HTTP server on a loopback socket, asked over a connection that is kept open."""

    def __init__(self) -> None:
        self.loop: Any = None

    async def open(self) -> None:
        self.loop = asyncio.get_running_loop()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(asyncio.CancelledError):  # the loop is closed under it
                while body := await message(reader):
                    writer.write(written(b"HTTP/1.1 200 OK\r\nServer: peer\r\n", int(body) + 1))

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.reader, self.writer = await asyncio.open_connection(*server.sockets[0].getsockname())

    async def __call__(self, x: int) -> int:
        if self.loop is not asyncio.get_running_loop():
            await self.open()
        self.writer.write(written(b"POST / HTTP/1.1\r\nHost: peer\r\nAccept: */*\r\n", x))
        return int(await message(self.reader))


peer = Peer()


async def ask(x: int) -> int:
    """An async function as most are: it asks somebody else."""
    return await peer(x)


def by_hand(items: int) -> int:
    return sum(range(1, items + 1))


def races() -> list[Race]:
    return [
        Race("W12a", by.filter_loop, [
            Contender("plain", in_place()),
            Contender("guarded", in_place(looking)),
        ], [times("guarded", "plain", 1.10)], size=400_000, quick=130_000, base="plain", often=3),
        Race("W12b", by_hand, [
            Contender("plain", awaited(at_once)),
            Contender("guarded", awaited(at_once, looking)),
        ], [times("guarded", "plain", 1.10)], size=150_000, quick=50_000, base="plain", often=3),
        Race("W12c", by_hand, [
            Contender("plain", awaited(ask)),
            Contender("guarded", awaited(ask, timing)),
            Contender("all guards", awaited(ask, standing)),
        ], [times("guarded", "plain", 1.10), times("all guards", "plain", 1.10)],
            size=10_000, quick=4_000, base="plain"),
    ]
