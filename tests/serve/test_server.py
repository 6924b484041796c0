"""Real sockets: a thousand clients, stalled ones, ones that leave or come back, silent and slow ones, and the end."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette

import kayrx as kx
from kayrx.cli.serve import application
from kayrx.serve import Hub, Limits, Outbox, mount
from kayrx.serve.metrics import prometheus
from kayrx.serve.server import door, serve
from kayrx.testing import left_behind

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """uvicorn runs on asyncio only."""
    return "asyncio"


@asynccontextmanager
async def served(what: Any, *, limits: Limits | None = None, opening: float = 8.0, **options: Any
                 ) -> AsyncIterator[tuple[int, Hub]]:
    """The port of a real server, and its hub; leaving stops it."""
    app = Starlette()
    hub = mount(app, "/w", what, limits=limits or Limits(streams=2000, requests=10_000), **options)
    async with anyio.create_task_group() as group:
        port = await group.start(lambda **status: serve(
            app, hub, signals=False, protocol=door(opening), **status))
        yield port, hub
        group.cancel_scope.cancel()


class Raw:
    """A client that reads what the server writes, chunk by chunk."""

    def __init__(self, stream: Any, body: bytes) -> None:
        self.stream, self.body = stream, body

    async def until(self, mark: bytes, count: int = 1) -> bytes:
        while self.body.count(mark) < count:
            self.body += await self.stream.receive(262_144)
        return self.body

    def events(self) -> list[Any]:
        """What came whole: (id, data), the chunk sizes of HTTP taken away."""
        text, out = b"", self.body.partition(b"\r\n\r\n")[2]
        while out:
            size, _, rest = out.partition(b"\r\n")
            text, out = text + rest[:int(size or b"0", 16)], rest[int(size or b"0", 16) + 2:]
        found = []
        for frame in text.split(b"\n\n")[:-1]:
            fields = dict(line.split(b": ", 1) for line in frame.split(b"\n"))
            if b"data" in fields:
                found.append((fields[b"id"].decode(), json.loads(fields[b"data"])))
        return found


@asynccontextmanager
async def client(port: int, path: str = "/w", **headers: str) -> AsyncIterator[Raw]:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        told = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        await stream.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{told}\r\n".encode())
        yield Raw(stream, b"")


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def ticking(count: int, seconds: float, size: int = 0) -> AsyncIterator[Any]:
    for number in range(count):
        await anyio.sleep(seconds)
        yield [number, "x" * size] if size else number


async def test_a_thousand_clients_on_one_stream_are_complete_and_in_order() -> None:
    """One process, one run, 1,000 real connections: every one gets every event once, in order, and the end."""
    complete = 0

    async def one(port: int) -> None:
        nonlocal complete
        async with client(port) as raw:
            await raw.until(b"event: end")
            complete += [data for _, data in raw.events()] == [*range(50), {"reason": "complete"}]

    async with served(kx.source(partial(ticking, 50, 0.01))) as (port, hub):
        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                for _ in range(1000):
                    group.start_soon(one, port)
        assert (complete, hub.shared().log.last, list(hub.reports)) == (1000, 51, [])


@pytest.mark.parametrize("policy", ["disconnect", "conflate", "drop_oldest", "latest"])
async def test_a_client_that_never_reads_is_bounded_and_cut(policy: Any) -> None:
    """Its outbox and the socket are full, memory stands still, and after the send timeout its connection is gone."""
    async with served(kx.source(partial(ticking, 10**6, 0.001, 20_000)), timeout=0.5, on_disconnect="cancel",
                      outbox=Outbox(policy, 64, 1 << 20)) as (port, hub), client(port) as raw:
        await raw.until(b"data:")
        held = open_files()
        with anyio.fail_after(15):
            while hub.clients or open_files() >= held:    # cut, not closed once the client has taken what is left
                await anyio.sleep(0.02)
        assert hub.reports[0].error.reason == "too slow"  # type: ignore[attr-defined]
        assert hub.common is not None and hub.common.log.held < 2.1 * (1 << 20)
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)), anyio.fail_after(5):
            while True:
                await raw.stream.receive(1 << 20)


async def test_a_client_that_leaves_releases_the_source_at_once() -> None:
    """Disconnect to the source's `finally`: under 300 ms, also for a source that never waits (D4)."""
    left = anyio.Event()

    async def waiting() -> AsyncIterator[int]:
        try:
            yield 1
            await anyio.sleep_forever()
        finally:
            left.set()

    def hot() -> Any:
        try:
            while True:
                yield "x" * 100
        finally:
            left.set()

    for graph in (kx.source(waiting), kx.source(hot), kx.source(hot) >> kx.backpressure(64)):
        async with served(graph, on_disconnect="cancel", outbox="drop_oldest") as (port, _):
            left = anyio.Event()
            async with client(port) as raw:
                await raw.until(b"data:")
            began = time.perf_counter()
            with anyio.fail_after(5):
                await left.wait()
            assert time.perf_counter() - began < 0.3


async def test_resume_over_real_connections_has_no_gap_and_no_duplicate() -> None:
    """Cut at 25 places, by closing the socket in the middle of whatever is on the wire, and resumed by id each time."""
    async with served(kx.source(partial(ticking, 150, 0.002, 500)), on_disconnect="continue") as (port, _):
        seen: list[Any] = []
        for cut in range(26):
            headers = {"last_event_id": seen[-1][0]} if seen else {}
            async with client(port, **headers) as raw:
                await raw.until(b"event: end" if cut == 25 else b"data:", 1 if cut == 25 else 1 + cut % 5)
            seen += raw.events()
        assert [data[0] for _, data in seen[:-1]] == list(range(150)) and seen[-1][1] == {"reason": "complete"}


@pytest.mark.parametrize("sent", [b"", b"GET /w HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"POST /w HTTP/1.1\r\n"])
async def test_who_is_silent_or_slow_is_shown_out(sent: bytes) -> None:
    """A connection that does not get its headers across in time is closed, the first request or a later one."""
    async with served(kx.source([1]), opening=0.3) as (port, _):
        for before in (b"",) if not sent else (b"", f"GET /w/none HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()):
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                if before:
                    await stream.send(before)
                    assert b" 404 " in await stream.receive()
                with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)), anyio.fail_after(7):
                    for byte in sent or b"\0" * 0:
                        await stream.send(bytes([byte]))
                    for _ in range(20 if sent else 0):
                        await anyio.sleep(0.05)
                        await stream.send(b"a")
                    while True:
                        await stream.receive()


async def test_one_address_cannot_take_all_connections() -> None:
    """One more than allowed is closed at once, and takes nothing from those that are there."""
    app = Starlette()
    hub = mount(app, "/w", kx.source(partial(ticking, 3, 0.05)))
    async with anyio.create_task_group() as group:
        port = await group.start(lambda **status: serve(app, hub, signals=False, protocol=door(of_one=2), **status))
        async with client(port) as first, client(port):
            await first.until(b"data:")
            async with client(port) as third:
                with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)), anyio.fail_after(5):
                    await third.until(b"data:")
            await first.until(b"event: end")
        group.cancel_scope.cancel()


def decoder(encoding: str) -> Any:
    import zlib

    import brotli
    import zstandard

    return {"zstd": lambda: zstandard.ZstdDecompressor().decompressobj().decompress,
            "br": lambda: brotli.Decompressor().process, "gzip": lambda: zlib.decompressobj(31).decompress}[encoding]()


@pytest.mark.parametrize("encoding", ["zstd", "br", "gzip"])
async def test_compressed_events_are_flushed_one_by_one(encoding: str) -> None:
    """Each event can be read when it comes, in every encoding, and the whole is smaller."""
    import httpx2

    text, decode, sizes = b"", decoder(encoding), list[int]()
    async with (served(kx.source(partial(ticking, 5, 0.05, 300)), compress=True) as (port, _),
                httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
                http.stream("GET", "/w", headers={"Accept-Encoding": encoding}) as answer):
        assert answer.headers["content-encoding"] == encoding
        async for chunk in answer.aiter_raw():
            text += decode(chunk)
            sizes.append(text.count(b"data: ["))
    assert {1, 2, 3, 4, 5} <= {*sizes} and answer.num_bytes_downloaded < len(text) / 2


async def test_a_server_that_ends_leaves_nothing() -> None:
    """Streams open or not: no task, thread or socket of it is alive, and each stream had its farewell."""
    with left_behind() as left:
        async with served(kx.source(partial(ticking, 10**6, 0.01))) as (port, hub), client(port) as raw:
            await raw.until(b"data:")
            await hub.drain(0.2)
            await raw.until(b"event: end")
            assert raw.events()[-1][1] == {"reason": "shutdown"}
    assert not left


async def test_a_head_that_is_too_large_is_refused_and_a_dead_peer_is_noticed_by_the_system() -> None:
    """431 for more than 16 KiB of headers at once; what is not acknowledged for two heartbeats is given up."""
    async with served(kx.source(partial(ticking, 10, 0.05))) as (port, _):
        async with client(port, x="y" * 20_000) as raw:
            assert b" 431 " in await raw.until(b"\r\n\r\n")
        async with client(port) as raw:
            await raw.until(b"data:")
            (protocol,) = [p for p in gc.get_objects() if type(p).__name__ == "Door" and p.cycle is not None
                           and not p.cycle.response_complete]
            wire = protocol.transport.get_extra_info("socket")
            assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000


async def test_metrics_are_in_the_text_format_of_prometheus() -> None:
    """Each family has help and type, names and labels are legal, and the figures are those of the runs."""
    _, hub = application(kx.source(partial(ticking, 3, 0.01)).named('a "b"\n') >> kx.backpressure(4), "127.0.0.1")
    async with hub, hub.subscribe() as events:
        async for _ in events:
            pass
        text = prometheus(hub)
    sample = re.compile(r'[a-z_]+(\{[a-z]+="(\\.|[^"\\\n])*"\})? [0-9.e+]+')
    lines = text.splitlines()
    assert all(sample.fullmatch(line) for line in lines if not line.startswith("#")), text
    assert {"kayrx_clients 1", "kayrx_events_total 4", 'kayrx_sessions{state="complete"} 1'} <= {*lines}
    assert sum(line.startswith("# TYPE") for line in lines) == sum(line.startswith("# HELP") for line in lines) > 6


def test_without_the_extra_the_hub_works_and_mounting_says_what_to_install() -> None:
    """`kayrx.serve` loads nothing optional; what needs it raises MissingDependency when it is first used."""
    code = """
        import sys
        for name in ("starlette", "sse_starlette", "uvicorn", "fastapi"):
            sys.modules[name] = None
        import anyio, kayrx as kx
        from kayrx.serve import Hub
        async def main():
            async with Hub(kx.source([1])) as hub, hub.subscribe() as events:
                return [event.type async for event in events]
        print(anyio.run(main))
        try:
            from kayrx.serve import mount
        except kx.MissingDependency as error:
            print(error)
    """
    told = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[0] == "['data', 'end']" and told.stdout.endswith('pip install "kayrx[serve]"\n')


APP = """
    import kayrx as kx
    import anyio
    async def ticking():
        try:
            for number in range(10**6):
                yield number
                await anyio.sleep(0.02)
        finally:
            print("released", flush=True)
    numbers = kx.source(ticking) >> kx.map(kx.it * 2)
"""
MOUNTED = """
    import uvicorn
    from fastapi import FastAPI
    from kayrx.serve import beneath, mount
    from app import numbers
    beneath.OPENING, beneath.LOOK = 0.5, 0.1
    app = FastAPI()
    mount(app, "/", numbers)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    async def main():
        import asyncio
        task = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        print("on port :%d" % server.servers[0].sockets[0].getsockname()[1], flush=True)
        await task
    import asyncio
    asyncio.run(main())
"""


@asynccontextmanager
async def process(home: Path, *command: str) -> AsyncIterator[tuple[subprocess.Popen[str], int]]:
    """A server in a process of its own, and the port that its first line ends with."""
    (home / "app.py").write_text(textwrap.dedent(APP))
    (home / "mounted.py").write_text(textwrap.dedent(MOUNTED))
    running = subprocess.Popen([sys.executable, *command], cwd=home, stdout=subprocess.PIPE, text=True, env={
        **os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": f"{Path(kx.__file__).parent.parent}:{home}"})
    assert running.stdout is not None
    try:
        told = await anyio.to_thread.run_sync(running.stdout.readline)
        yield running, int(told.rsplit(":", 1)[1])
    finally:
        running.kill()
        running.wait()
        running.stdout.close()


async def ended(running: subprocess.Popen[str], raw: Raw) -> str:
    """SIGTERM: the farewell comes to the stream, the process ends with 0, in time; gives what it printed."""
    began = time.perf_counter()
    running.send_signal(signal.SIGTERM)
    with anyio.fail_after(10):
        await raw.until(b"event: end")
        assert raw.events()[-1][1] == {"reason": "shutdown"}
        code = await anyio.to_thread.run_sync(running.wait)
    assert code in (0, -signal.SIGTERM) and time.perf_counter() - began < 4    # uvicorn raises its signal again
    assert running.stdout is not None
    return running.stdout.read()


async def test_the_command_serves_and_sigterm_drains(tmp_path: Path) -> None:
    """`kayrx serve app:graph`: page, events, health, metrics; SIGTERM says farewell, releases the source, exits 0."""
    async with process(tmp_path, "-c", "from kayrx.cli import main; main()", "serve", "app:numbers", "--port", "0"
                       ) as (running, port), client(port, "/", accept="text/event-stream") as raw:
        await raw.until(b"data:", 3)
        async with (client(port, "/health") as health, client(port, "/metrics") as metrics,
                    client(port, "/", accept="text/html") as page):
            assert b'{"status":"ok"}' in await health.until(b"}")
            assert b"kayrx_clients 1\n" in await metrics.until(b"kayrx_items_total{")
            assert b"<svg" in await page.until(b"</html>")
        assert await ended(running, raw) == "released\n" and running.returncode == 0


async def test_a_mounted_graph_says_farewell_under_plain_uvicorn(tmp_path: Path) -> None:
    """uvicorn would wait for the stream, and the stream for its run: at SIGTERM the hub drains, and both end."""
    async with process(tmp_path, "mounted.py") as (running, port), client(port, "/") as raw:
        await raw.until(b"data:", 3)
        assert await ended(running, raw) == "released\n"


async def test_a_mounted_graph_shows_out_the_silent_and_the_slow_under_plain_uvicorn(tmp_path: Path) -> None:
    """uvicorn would wait for them for ever: 408 for who sends no whole headers, the first time or after an answer,
    and nothing for who reads a stream or says nothing on a socket."""
    async with process(tmp_path, "mounted.py") as (_, port), client(port, "/") as stream:
        await stream.until(b"data:")
        upgrade = {"upgrade": "websocket", "connection": "upgrade", "sec_websocket_version": "13",
                   "sec_websocket_key": "AAAAAAAAAAAAAAAAAAAAAA=="}
        first = b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n"
        async with client(port, "/ws", **upgrade) as silent:
            assert b" 101 " in await silent.until(b"\r\n\r\n")
            for before, says in ((b"", b""), (b"", b"GET / HTTP/1.1\r\nX: "), (first, b"G")):
                async with await anyio.connect_tcp("127.0.0.1", port) as raw:
                    if before:
                        await raw.send(before)
                        assert b" 404 " in await raw.receive()
                    if says:
                        await raw.send(says)
                    with anyio.fail_after(3):
                        told = b"".join([chunk async for chunk in raw])
                    assert b"HTTP/1.1 408 " in told  # behind what is left of the answer before
            stream.body = b""
            await stream.until(b"data:", 9)
            await silent.stream.send(b"\x89\x80\0\0\0\0")    # a ping, answered
            assert b"\x8a\x00" in await silent.until(b"\x8a\x00")
