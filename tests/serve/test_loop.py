"""How long the loop is held: the processor time of each of its callbacks while streams are as hot as can be."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import time
from asyncio.events import Handle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette

import kayrx as kx
from kayrx.serve import Keep, Limits, Outbox, mount
from kayrx.serve.grpc import server
from kayrx.serve.server import serve

pytestmark = pytest.mark.anyio
MOST = 0.010    # seconds


@pytest.fixture
def anyio_backend() -> str:
    """uvicorn and grpc.aio run on asyncio only."""
    return "asyncio"


READERS = r"""
import asyncio, grpc, socket, sys, threading, time
from kayrx.serve.grpc_wire import OPEN, Ask, Events, UNLIMITED
port, rpc, many, until = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), time.time() + float(sys.argv[4])
taken = dict.fromkeys(("text/event-stream", "application/x-ndjson", "websocket", "grpc"), 0)

def read(kind):
    with socket.create_connection(("127.0.0.1", port)) as wire:
        if kind == "websocket":
            wire.sendall(b"GET /w/ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n" % port)
            wire.recv(4096)
            said = b'{"type":"start","id":"a"}'
            wire.sendall(bytes([0x81, 0x80 | len(said), 0, 0, 0, 0]) + said)
        else:
            wire.sendall(b"GET /w HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: %s\r\n\r\n" % (port, kind.encode()))
        try:
            while (left := until - time.time()) > 0:
                wire.settimeout(left)
                got = len(wire.recv(1 << 20))
                if not got:
                    return
                taken[kind] += got
        except TimeoutError:
            pass

async def call(channel):
    it = channel.stream_stream(OPEN, Ask.SerializeToString, Events.FromString)()
    await it.write(Ask(request=UNLIMITED))
    while time.time() < until and (message := await it.read()) is not grpc.aio.EOF:
        taken["grpc"] += len(message.events)
    it.cancel()

async def main():
    async with grpc.aio.insecure_channel(rpc) as channel:
        await asyncio.gather(*[call(channel) for _ in range(many)])

threads = [threading.Thread(target=read, args=(kind,)) for kind in taken if kind != "grpc" for _ in range(many)]
for thread in threads:
    thread.start()
asyncio.run(main())
for thread in threads:
    thread.join()
assert all(taken.values()), taken
"""


class Watch:
    """The processor time of each callback, and how much of it was the collector's, who comes when it likes."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.held: list[tuple[float, str]] = []
        self.collecting = self.began = 0.0
        real = Handle._run

        def run(handle: Any) -> None:
            before, began = self.collecting, time.thread_time()
            real(handle)
            self.held.append((time.thread_time() - began - (self.collecting - before), repr(handle)[:200]))
        patch.setattr(Handle, "_run", run)

    def __call__(self, phase: str, _: Any) -> None:
        if phase == "start":
            self.began = time.thread_time()
        else:
            self.collecting += time.thread_time() - self.began


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    watch = Watch(monkeypatch)
    gc.callbacks.append(watch)
    yield watch
    gc.callbacks.remove(watch)


def hot(size: int) -> Any:
    def items() -> Iterator[str]:
        while True:
            yield "x" * size
    return items


def burst() -> Iterator[Any]:
    for number in range(10_000):
        yield {"number": number, "text": "x" * 100}


WIDE = Outbox("disconnect", 20_000, 1 << 26)
LOADS: dict[str, tuple[Any, int, float, dict[str, Any]]] = {
    "hot and small": (hot(50), 3, 1.0, {"outbox": "conflate"}),
    "hot and large": (hot(20_000), 3, 1.0, {"outbox": "latest"}),
    "replayed": (burst, 40, 3.0, {"outbox": WIDE, "keep": Keep(20_000, 1 << 26), "on_disconnect": "continue"})}


@pytest.mark.parametrize("load", LOADS)
async def test_no_callback_holds_the_loop(load: str, watch: Watch) -> None:
    """Ten milliseconds of processor time are more than any takes: items without end, large ones joined to larger
    ones, and a log of 10,000 events that many ask for at once, over SSE, NDJSON, WebSocket and gRPC together."""
    source, many, seconds, options = LOADS[load]
    app = Starlette()
    hub = mount(app, "/w", kx.source(source), limits=Limits(streams=1000), **options)
    async with anyio.create_task_group() as group:
        port = await group.start(lambda **status: serve(app, hub, signals=False, **status))
        async with server(hub, limits=Limits(streams=1000)) as bound:
            watch.held.clear()    # the servers have begun
            readers = await asyncio.create_subprocess_exec(
                sys.executable, "-c", READERS, str(port), bound.address, str(many), str(seconds),
                env={**os.environ, "PYTHONPATH": str(Path(kx.__file__).parent.parent)}, stderr=subprocess.PIPE)
            _, told = await readers.communicate()
        group.cancel_scope.cancel()
    assert readers.returncode == 0, told
    assert len(watch.held) > 500 and max(watch.held)[0] < MOST, sorted(watch.held)[-3:]
