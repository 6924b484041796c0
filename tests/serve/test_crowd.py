"""Ten thousand connections that say nothing, against the limits of a server in a process of its own."""

from __future__ import annotations

import os
import resource
import select
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import kayrx as kx
from kayrx.serve.server import CONNECTIONS, OF_ONE, OPENING

pytestmark = pytest.mark.anyio
SPARE = 500    # descriptors for what is no connection of this test


@pytest.fixture
def anyio_backend() -> str:
    """One loop is enough: it is the server that is looked at."""
    return "asyncio"


SERVER = """
import asyncio, gc, os, resource, sys
import anyio
import kayrx as kx
from kayrx.serve import mount
from kayrx.serve.server import door, serve
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

async def ticking():
    while True:
        await anyio.sleep(0.05)
        yield 1

async def figures(request):
    gc.collect()
    return JSONResponse([len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())])

async def main():
    app = Starlette(routes=[Route("/figures", figures)])
    hub = mount(app, "/w", kx.source(ticking))
    async with anyio.create_task_group() as group:
        limited = door(connections=int(sys.argv[1]))
        port = await group.start(lambda **status: serve(app, hub, protocol=limited, **status))
        print(port, flush=True)
anyio.run(main)
"""


@asynccontextmanager
async def server(connections: int) -> AsyncIterator[int]:
    with subprocess.Popen([sys.executable, "-c", SERVER, str(connections)], stdout=subprocess.PIPE, text=True,
                          env={**os.environ, "PYTHONPATH": str(Path(kx.__file__).parent.parent)}) as process:
        try:
            assert process.stdout is not None
            yield int(await anyio.to_thread.run_sync(process.stdout.readline))
        finally:
            process.kill()


def connected(port: int, source: str, says: bytes = b"") -> socket.socket:
    wire = socket.socket()
    wire.bind((source, 0))
    wire.connect(("127.0.0.1", port))
    wire.setblocking(False)
    wire.send(says)
    return wire


def ends(wires: dict[socket.socket, float], within: float) -> list[tuple[bytes, float]]:
    """What each connection was told before it was closed, and how long after it was opened."""
    poll, found, until = select.epoll(), list[tuple[bytes, float]](), time.monotonic() + within
    by_number, told = {wire.fileno(): wire for wire in wires}, dict[int, bytes]()
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    while len(found) < len(by_number) and time.monotonic() < until:
        for number, _ in poll.poll(0.2, 1000):
            try:
                data = by_number[number].recv(4096)
            except ConnectionResetError:
                data = b""
            told[number] = told.get(number, b"") + data
            if not data:
                poll.unregister(number)
                found.append((told[number].split(b"\r\n")[0], time.monotonic() - wires[by_number[number]]))
    poll.close()
    return found


def crowd(stack: ExitStack, port: int, many: int) -> tuple[dict[socket.socket, float], Counter[bytes]]:
    """So many silent and slow connections, and what those are told who are too many of one address, and of all."""
    def refused(source: str, count: int) -> Counter[bytes]:
        more = [stack.enter_context(connected(port, source, b"GET /w HTTP/1.1\r\n")) for _ in range(count)]
        return Counter(line for line, _ in ends(dict.fromkeys(more, 0.0), 5))

    wires, told = dict[socket.socket, float](), Counter[bytes]()
    for number in range(many):
        source = f"127.0.1.{1 + number // OF_ONE}"
        wires[stack.enter_context(connected(port, source, b"GET /w HT" * (number % 2)))] = time.monotonic()
        if number == OF_ONE:
            told += refused("127.0.1.1", 20)
    told += refused("127.0.2.1", 300)
    assert max(time.monotonic() - since for since in wires.values()) < OPENING    # they were all there at once
    return wires, told


async def figures(port: int) -> tuple[int, int]:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(b"GET /figures HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        text = b"".join([chunk async for chunk in stream])
    files, tasks = text.rpartition(b"[")[2].strip(b"]").split(b",")
    return int(files), int(tasks)


async def test_ten_thousand_who_say_nothing_take_no_more_than_their_places() -> None:
    """One too many is told so: 429 of one address, 503 of all.  The silent and the slow are gone in 10 s, and who
    behaves has its events all the while; then nothing is left of the others."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    many = min(CONNECTIONS, hard - SPARE)
    assert many == 10_000 or hard < 10_000 + SPARE, f"the system allows {hard} descriptors, so {many} connections"
    gaps = list[float]()

    async def behaves(port: int, task_status: Any) -> None:
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"GET /w HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            while b"data:" not in await stream.receive():
                pass
            task_status.started()
            last = time.monotonic()
            while b"data:" in await stream.receive():
                gaps.append(time.monotonic() - last)
                last = time.monotonic()

    try:
        async with server(many) as port, anyio.create_task_group() as group:
            await group.start(behaves, port)
            before = await figures(port)
            with ExitStack() as stack:
                wires, status = await anyio.to_thread.run_sync(crowd, stack, port, many - 1)
                assert status == {b"HTTP/1.1 429 Too Many Requests": 20, b"HTTP/1.1 503 Service Unavailable": 300}
                shown = await anyio.to_thread.run_sync(ends, wires, 12)
            assert Counter(line for line, _ in shown) == {b"HTTP/1.1 408 Request Timeout": many - 1}
            assert max(after for _, after in shown) <= 10
            with anyio.fail_after(5):
                while (now := await figures(port)) != before:
                    await anyio.sleep(0.1)
            assert now == before and sum(gaps) > OPENING - 1 and max(gaps) < 2
            group.cancel_scope.cancel()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
