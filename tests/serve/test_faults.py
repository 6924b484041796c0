"""What a client that comes back has seen is exactly the stream, whatever the network did: 200 random schedules."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette

import kayrx as kx
from kayrx.io import sse_client, websocket_client
from kayrx.serve import Keep, Limits, Outbox, mount
from tests.serve.live import live
from tests.serve.proxy import Fault, proxied

pytestmark = pytest.mark.anyio
KINDS = ["cut", "cut", "cut", "reset", "reset", "silent", "refused", "none"]
WAYS = [(0, 61), (0, 1400), (0, 65_536), (0.002, 65_536)]    # how slowly, and in what pieces
IDLE = 0.4


async def stream(seed: int) -> Any:
    """The stream that belongs to a seed: text of any size, in bursts."""
    draw = random.Random(seed)
    for number in range(draw.randrange(20, 120)):
        yield [number, "é\n" * draw.randrange(draw.choice([3, 99]))]
        if draw.random() < 0.2:
            await anyio.sleep(draw.choice([0, 0.001, 0.01]))


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    app = Starlette()
    hub = mount(app, "/w", lambda seed: kx.source(partial(stream, seed)), heartbeat=IDLE / 4,
                limits=Limits(streams=10_000, requests=100_000), on_disconnect="continue", timeout=5,
                keep=Keep(200, 1 << 20), outbox=Outbox("disconnect", 128, 1 << 20))
    with live(app, hub) as found:
        yield found


def schedule(draw: random.Random) -> list[Fault]:
    """Some faults, one for each connection in turn."""
    return [Fault(draw.choice(KINDS), int(10 ** draw.uniform(0, 4.3)), *draw.choice(WAYS))
            for _ in range(draw.randrange(1, 6))]


async def quickly(seconds: float) -> None:
    """The wait before a client comes back, in brief: the server asks for a second."""
    await anyio.sleep(min(seconds, 0.001))


@pytest.mark.parametrize("protocol", ["sse", "websocket"])
@pytest.mark.parametrize("batch", range(2))
async def test_what_a_resumed_client_has_seen_is_the_stream(port: int, protocol: str, batch: int,
                                                            anyio_backend: str) -> None:
    """25 schedules at once, each with its own run, client and proxy: every item once, in order, and the end."""
    met = 0

    async def one(seed: int) -> None:
        nonlocal met
        draw = random.Random(seed)
        again: Any = {"attempts": 8, "backoff": kx.constant(0), "idle": IDLE, "gaps": "error",
                      "world": kx.World(random=draw, sleep=quickly)}
        async with proxied(port, schedule(draw)) as proxy:
            if protocol == "sse":
                graph = sse_client(f"http://127.0.0.1:{proxy.port}/w", json=seed, **again) >> kx.map(lambda e: e.json())
            else:
                graph = websocket_client(f"ws://127.0.0.1:{proxy.port}/w/ws", input=seed, **again,
                                         credit=draw.choice([1, 8, 64])) >> kx.map(lambda e: e.data)
            seen = await (graph >> kx.to_list())
            assert seen == [item async for item in stream(seed)], f"seed {seed}"
            met += proxy.seen - 1
        assert proxy.open == 0

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            for number in range(25):
                group.start_soon(one, 1000 * batch + number + 100 * len(anyio_backend))
    assert met > 25    # connections that broke
