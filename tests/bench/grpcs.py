"""D5, its gRPC half: items of 1 KB on one connection, with demand, beside grpc.aio as one writes it by hand.

By hand each item is a message; kayrx packs the events that are there into one, and that is all its advantage.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc

import kayrx as kx
from kayrx.io import grpc_client
from kayrx.serve import Outbox
from kayrx.serve.grpc import server
from tests.bench.goals import faster
from tests.bench.measure import Contender, Race

MESSAGE = "x" * 1024


async def by_hand(count: int) -> int:
    """A handler that yields bytes, and a loop that takes them."""
    async def handler(asked: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
        async for _ in asked:
            for _ in range(count):
                yield MESSAGE.encode()
            return

    it = grpc.aio.server()
    it.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(
        "Bare", {"Open": grpc.stream_stream_rpc_method_handler(handler)})])
    port = it.add_insecure_port("127.0.0.1:0")
    await it.start()
    got = 0
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.stream_stream("/Bare/Open")()
        await call.write(b"go")
        async for message in call:
            got += len(message) == len(MESSAGE)
    await it.stop(1)
    return got


async def by_kayrx(count: int) -> int:
    """The same behind a hub, read as a source with its credit."""
    got = 0

    def take(event: object) -> None:
        nonlocal got
        got += len(event.data) == len(MESSAGE)    # type: ignore[attr-defined]

    outbox = Outbox("block", 512, 1 << 20)
    async with server(kx.source(lambda: (MESSAGE for _ in range(count))), outbox=outbox) as bound:
        await (grpc_client(bound.address, credit=256) >> kx.each(take))
    return got


def races() -> list[Race]:
    return [Race("D5b 1 KB messages over gRPC, one connection, with demand", lambda n: n,
                 [Contender("grpc.aio", by_hand), Contender("kayrx", by_kayrx)],
                 [faster("kayrx", "grpc.aio", 0.8)], size=10_000, quick=3_000, base="grpc.aio", unit="ns/message")]
