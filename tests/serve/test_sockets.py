"""WebSockets over real connections: clients that stall, leave, fall silent or lie, and a server that stops."""

from __future__ import annotations

import json
import struct
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

import kayrx as kx
from kayrx.serve import Hub, Limits, Outbox, mount
from kayrx.serve.server import door, serve
from tests.serve.proxy import Fault, proxied

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """uvicorn runs on asyncio only."""
    return "asyncio"


@asynccontextmanager
async def served(what: Any, **options: Any) -> AsyncIterator[tuple[str, Hub]]:
    """The address of a real server's sockets, and its hub; leaving stops it."""
    app = Starlette()
    hub = mount(app, "/w", what, **options)
    async with anyio.create_task_group() as group:
        port = await group.start(lambda **status: serve(app, hub, signals=False, **status))
        yield f"ws://127.0.0.1:{port}/w/ws", hub
        group.cancel_scope.cancel()


async def gone(hub: Hub, seconds: float) -> None:
    with anyio.fail_after(seconds):
        while hub.clients or any(session.state == "running" for session in hub.all()):
            await anyio.sleep(0.005)


START = json.dumps({"type": "start", "id": "a"})
HOT = 20_000


def hot() -> Any:
    """A source that never waits."""
    while True:
        yield "x" * HOT


async def test_a_socket_stays_for_as_long_as_it_is_wanted_and_leaves_its_place() -> None:
    """The door awaits no request on it, and counts it until it is gone: three come and go where two may be."""
    async def slow() -> AsyncIterator[int]:
        for number in range(5):
            yield number
            await anyio.sleep(0.1)

    app = Starlette()
    hub = mount(app, "/w", lambda _: kx.source(slow))
    async with anyio.create_task_group() as group:
        port = await group.start(
            lambda **status: serve(app, hub, signals=False, protocol=door(opening=0.2, of_one=2), **status))
        url = f"ws://127.0.0.1:{port}/w/ws"
        for _ in range(3):
            async with connect(url) as socket, connect(url):
                await socket.send(START)
                told = [json.loads(await socket.recv())["type"] for _ in range(7)]
                with pytest.raises(InvalidStatus, match="429"):
                    await connect(url)
            assert told == ["started", *["data"] * 5, "end"]
            await anyio.sleep(0.05)
        group.cancel_scope.cancel()


async def test_cancel_is_read_while_nothing_is_taken() -> None:
    """The client takes nothing, the sender is stuck, and its cancel ends the run all the same, in 300 ms."""
    async with served(lambda _: kx.source(hot), on_disconnect="continue") as (url, hub), connect(
            url, max_queue=1, compression=None) as socket:
        await socket.send(START)
        while not hub.sessions or next(iter(hub.sessions.values())).log.last < 100:
            await anyio.sleep(0.01)
        await anyio.sleep(0.3)
        await socket.send('{"type": "cancel", "id": "a"}')
        with anyio.fail_after(0.3):
            while next(iter(hub.sessions.values())).state == "running":
                await anyio.sleep(0.005)
        socket.transport.abort()


@pytest.mark.parametrize("policy", ["disconnect", "conflate", "drop_oldest", "latest", "block"])
async def test_a_client_that_never_reads_is_bounded_and_cut(policy: Any) -> None:
    """TCP takes some megabytes, the log stands still, and after the send timeout the connection is reset."""
    async with served(kx.source(hot), timeout=0.4, on_disconnect="cancel", heartbeat=None,
                      outbox=Outbox(policy, 64, 1 << 20)) as (url, hub), connect(
            url, max_queue=1, compression=None, ping_interval=None) as socket:
        await socket.send(START)
        while hub.common is None or hub.common.log.last < 10:
            await anyio.sleep(0.01)
        await gone(hub, 5)
        assert {report.error.reason for report in hub.reports} == {"too slow"}  # type: ignore[attr-defined]
        assert hub.common.log.held < 2.2 * (1 << 20)
        with pytest.raises(ConnectionClosed), anyio.fail_after(5):
            while True:
                await socket.recv()
        assert socket.close_code == 1006


@pytest.mark.parametrize("way", ["reset", "close", "silent"])
async def test_a_client_that_is_gone_releases_its_run(way: str) -> None:
    """A reset or a close at once (300 ms), a peer that falls silent in two heartbeats."""
    left = anyio.Event()

    async def waiting() -> AsyncIterator[int]:
        try:
            yield 1
            await anyio.sleep_forever()
        finally:
            left.set()

    async with served(kx.source(waiting), heartbeat=0.3, on_disconnect="cancel") as (url, hub):
        port = int(url.split(":")[2].split("/")[0])
        async with proxied(port, [Fault("silent", 330)] if way == "silent" else []) as proxy:
            socket = await connect(url.replace(str(port), str(proxy.port)), ping_interval=None)
            await socket.send(START)
            while not hub.clients:
                await anyio.sleep(0.005)
            if way == "reset":
                socket.transport.abort()
            elif way == "close":
                await socket.close()
            with anyio.fail_after(0.3 if way != "silent" else 0.3 * 2 + 0.2):
                await left.wait()
            await gone(hub, 0.3)
            socket.transport.abort()


def frame(payload: bytes, first: int = 0x81, mask: bool = True) -> bytes:
    """A frame as it goes over the wire, right or wrong."""
    size, flag = len(payload), 0x80 if mask else 0
    head = bytes([flag | size]) if size < 126 else bytes([flag | 126]) + struct.pack("!H", size) if size < 65_536 else \
        bytes([flag | 127]) + struct.pack("!Q", size)
    return bytes([first]) + head + (bytes(4) if mask else b"") + payload


def packed(payload: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -12)
    return (deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]


PONG = b'{"type":"pong","x":"%s"}'
FRAMES = {
    "not JSON": (frame(b"{"), 1007), "no UTF-8": (frame(b'"\xff"'), 1007), "binary": (frame(b"{}", 0x82), 1003),
    "too large": (frame(PONG % (b"x" * 70_000)), 1009), "said to be large": (b"\x81\xff" + b"\x7f" * 12, 1009),
    "too large in fragments": (frame(b"x" * 40_000, 0x01) + frame(b"x" * 40_000, 0x80), 1009),
    "endless empty fragments": (frame(b"{", 0x01) + frame(b"", 0x00) * 30_000, 1009),
    "continuation of nothing": (frame(b"{}", 0x80), 1002), "not masked": (frame(b"{}", mask=False), 1002),
    "reserved bits": (frame(b"{}", 0xB1), 1002), "unknown opcode": (frame(b"", 0x83), 1002),
    "long ping": (frame(b"x" * 126, 0x89), 1002), "fragmented ping": (frame(b"x", 0x09), 1002),
    "bad close": (frame(b"\x00", 0x88), 1002), "bomb": (frame(packed(b"x" * 10_000_000), 0xC1), 1009),
    "bombs": (frame(packed(PONG % (b"x" * 60_000)), 0xC1) * 3000, 1009),
    "torn deflate": (frame(b"\xff" * 9, 0xC1), 1002)}


@pytest.mark.parametrize("name", FRAMES)
async def test_a_frame_that_is_wrong_closes_with_its_code(name: str) -> None:
    """Fragments, bombs and broken frames: the right code, nothing held, and the others are served."""
    wrong, code = FRAMES[name]
    async with served(lambda _: kx.source([1]), heartbeat=None) as (url, hub), connect(url) as socket:
        tracemalloc.start()
        try:
            for start in range(0, len(wrong), 60_000):
                socket.transport.write(wrong[start:start + 60_000])
            with pytest.raises(ConnectionClosed), anyio.fail_after(5):
                await socket.recv()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert socket.close_code == code and peak < 6 << 20 and hub.clients == 0
        async with connect(url) as other:
            await other.send(START)
            assert [json.loads(await other.recv())["type"] for _ in range(3)] == ["started", "data", "end"]


async def test_fragments_and_packed_messages_are_read() -> None:
    """Honest ones, with control frames between the fragments."""
    async with served(kx.source([1]), limits=Limits(body=1000)) as (url, _), connect(url) as socket:
        start = START.encode()
        socket.transport.write(frame(start[:9], 0x01) + frame(b"hi", 0x89) + frame(start[9:], 0x80))
        socket.transport.write(frame(packed(b'{"type":"ping","data":7}'), 0xC1))
        told = [json.loads(await socket.recv()) for _ in range(4)]
        assert {"type": "pong", "data": 7} in told and {message["type"] for message in told} >= {"data", "end"}


async def test_a_foreign_origin_is_refused_with_a_status() -> None:
    """403 before the socket is accepted, on the wire."""
    async with served(kx.source([1])) as (url, hub):
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, origin="https://evil.example")  # type: ignore[arg-type]
        assert refused.value.response.status_code == 403 and json.loads(refused.value.response.body or b"")["error"]
        async with connect(url, origin=url.replace("ws:", "http:").removesuffix("/w/ws")):  # type: ignore[arg-type]
            assert not hub.clients


async def test_a_server_that_stops_says_goodbye() -> None:
    """`end` with its reason and 1001, on busy and idle sockets, and the server is down at once."""
    async def waiting() -> AsyncIterator[int]:
        yield 1
        await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        app, stop = Starlette(), anyio.CancelScope()
        hub = mount(app, "/w", kx.source(waiting))

        async def host(task_status: Any) -> None:
            with stop:
                await serve(app, hub, signals=False, task_status=task_status)
        port = await group.start(host)
        busy, idle = [await connect(f"ws://127.0.0.1:{port}/w/ws") for _ in range(2)]
        await busy.send(START)
        await busy.recv()
        await busy.recv()
        stop.cancel()
        with anyio.fail_after(3):
            assert json.loads(await busy.recv())["data"] == {"reason": "shutdown"}
            for socket in (busy, idle):
                await socket.wait_closed()
                assert socket.close_code == 1001
