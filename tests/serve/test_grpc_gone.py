"""gRPC clients that take nothing: stopped as a process, deaf on all their calls, or on one of several."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import grpc
import pytest

import kayrx as kx
from kayrx.serve import Limits
from kayrx.serve.grpc import Bound, server
from kayrx.serve.grpc_wire import OPEN, UNLIMITED, Ask, Events

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """grpc.aio runs on asyncio only."""
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
async def one_loop(anyio_backend: str) -> AsyncIterator[None]:
    """One loop for all tests here: grpc.aio hands what comes late for a closed loop to the next, as an error."""
    yield
    await anyio.sleep(0.1)


DEAF = """
import asyncio, grpc, sys
from kayrx.serve.grpc_wire import OPEN, Ask, Events, UNLIMITED
async def main():
    held = []
    for _ in range(int(sys.argv[2])):
        channel = grpc.aio.insecure_channel(sys.argv[1], [("grpc.use_local_subchannel_pool", 1)])
        call = channel.stream_stream(OPEN, Ask.SerializeToString, Events.FromString)()
        await call.write(Ask(request=UNLIMITED))
        await call.read()
        held.append((channel, call))
    print("up", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@asynccontextmanager
async def deaf(bound: Bound, calls: int) -> AsyncIterator[subprocess.Popen[str]]:
    """A process with so many connections, each with a call that has asked for everything and is read once."""
    with subprocess.Popen([sys.executable, "-c", DEAF, bound.address, str(calls)], stdout=subprocess.PIPE, text=True,
                          env={**os.environ, "PYTHONPATH": str(Path(kx.__file__).parent.parent)}) as process:
        try:
            assert process.stdout is not None
            assert await anyio.to_thread.run_sync(process.stdout.readline) == "up\n"
            yield process
        finally:
            process.kill()


def connections(bound: Bound) -> int:
    """Those that this process has accepted, as the system knows them."""
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/self/net", name).read_text().splitlines()]
    return sum(row[1].endswith(f":{bound.port:04X}") and row[3] == "01" for row in rows)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


async def hot() -> AsyncIterator[str]:
    while True:
        await anyio.sleep(0)
        yield "x" * 20_000


async def test_who_reads_a_socket_but_no_call_loses_its_connection_and_costs_nothing() -> None:
    """Twenty at a time are let go by their send timeout, closed by a second one, and leave no task and no memory."""
    held: list[int] = []
    async with server(kx.source(hot), outbox="latest", timeout=0.5, limits=Limits(requests=10_000)) as bound:
        tasks = len(asyncio.all_tasks())
        for _ in range(3):
            async with deaf(bound, 20):
                assert bound.hub.clients + len(bound.hub.reports) >= 20
                with anyio.fail_after(8):
                    while bound.hub.clients or connections(bound) or len(asyncio.all_tasks()) > tasks + 4:
                        await anyio.sleep(0.02)
            held.append(resident())
        assert {report.error.reason for report in bound.hub.reports} == {"too slow"}    # type: ignore[attr-defined]
    assert len(bound.hub.reports) == 60 and held[2] - held[1] < 1 << 20


async def test_a_connection_that_others_use_stays_until_they_have_gone() -> None:
    """One call of two on a channel is not read: it alone is let go, and the other goes on to the end it wants."""
    async with (server(kx.source(hot), outbox="latest", timeout=0.3) as bound,
                grpc.aio.insecure_channel(bound.address) as channel):
        stalled, going = [channel.stream_stream(OPEN, Ask.SerializeToString, Events.FromString)() for _ in "ab"]
        for call in (stalled, going):
            await call.write(Ask(request=UNLIMITED))
            await call.read()
        while not bound.hub.reports:
            await going.read()
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            assert await going.read() is not grpc.aio.EOF
        assert connections(bound) == 1 and bound.hub.clients == 1
        going.cancel()
        with anyio.fail_after(2):
            while connections(bound):
                await anyio.sleep(0.01)
        with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
            while True:
                await stalled.read()


@pytest.mark.parametrize("source", ["silent", "hot"])
async def test_a_process_that_is_stopped_is_found_in_two_heartbeats(source: str) -> None:
    """SIGSTOP: its socket stays open and takes what comes; nothing answers a ping, and that is all it needs."""
    left = anyio.Event()

    async def waiting() -> AsyncIterator[Any]:
        try:
            async for item in hot():
                yield item
                if source == "silent":
                    await anyio.sleep_forever()
        finally:
            left.set()

    async with server(kx.source(waiting), heartbeat=0.6, on_disconnect="cancel", outbox="latest") as bound, deaf(
            bound, 1) as process:
        process.send_signal(signal.SIGSTOP)
        began: Any = time.monotonic()
        with anyio.fail_after(5):
            await left.wait()
            while connections(bound):
                await anyio.sleep(0.01)
        assert time.monotonic() - began < 2 * 0.6 + 0.5
        process.send_signal(signal.SIGCONT)


def test_pings_are_answered_within_a_heartbeat() -> None:
    """Where calls have none too; what ends a connection is said by two arguments of gRPC, and a minute without."""
    from kayrx.serve import Hub
    from kayrx.serve.grpc import arguments

    for heartbeat, most in ((15.0, 30_000), (3.0, 6_000), (None, 30_000)):
        told = arguments(Limits(), heartbeat, Hub(kx.source([1])))
        assert told["grpc.keepalive_time_ms"] + told["grpc.http2.ping_timeout_ms"] <= most
        assert told["grpc.keepalive_timeout_ms"] == told["grpc.http2.ping_timeout_ms"]
