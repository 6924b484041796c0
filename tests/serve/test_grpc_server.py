"""gRPC over real sockets: the server, the client, what a network does to them, and who is held, let go or refused."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import resource
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import grpc
import pytest
from anyio.abc import SocketAttribute
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

import kayrx as kx
import kayrx.serve
from kayrx.io import ConnectionLost, Gap, RemoteError, grpc_client
from kayrx.serve import Event, Hub, Limits, told
from kayrx.serve.grpc import Bound, server
from kayrx.serve.grpc_wire import AFTER, OPEN, REASON, SERVICE, SESSION, UNLIMITED, VERBS, Ask, Events, described
from kayrx.testing import left_behind

pytestmark = pytest.mark.anyio
LINGER = struct.pack("ii", 1, 0)    # closing sends a reset
FAST = {"backoff": kx.constant(0.02), "jitter": "none"}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """grpc.aio runs on asyncio only."""
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
async def one_loop(anyio_backend: str) -> AsyncIterator[None]:
    """One loop for all tests here: grpc.aio hands what comes late for a closed loop to the next, as an error."""
    yield
    await anyio.sleep(0.1)


@asynccontextmanager
async def called(bound: Bound, *, metadata: dict[str, str] | None = None, timeout: float | None = None,
                 **ask: Any) -> AsyncIterator[Any]:
    """A call as any client of gRPC makes it."""
    async with grpc.aio.insecure_channel(bound.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = channel.stream_stream(OPEN, Ask.SerializeToString, Events.FromString)(
            metadata=tuple((metadata or {}).items()), timeout=timeout)
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):    # refused already: reading says so
            if ask:
                await call.write(Ask(**ask))
        yield call
        call.cancel()


async def heard(call: Any, count: int = 1) -> list[Any]:
    """The data of the next ``count`` events or more."""
    return [json.loads(event.data) for event in await events(call, count)]


async def events(call: Any, count: int) -> list[Any]:
    out: list[Any] = []
    while len(out) < count:
        out += (await call.read()).events
    return out


async def ticking(seconds: float = 0.001, many: int = 10**9) -> AsyncIterator[int]:
    for number in range(many):
        await anyio.sleep(seconds)
        yield number


def data(graph: Any) -> Any:
    return graph >> kx.map(lambda event: event.data if event.type == "data" else event.type) >> kx.to_list()


class Proxy:
    """A network that fails: each connection is cut after some bytes, delayed, or goes silent; reproducible by seed."""

    def __init__(self, port: int, seed: int, calm_after: int = 6) -> None:
        self.port, self.dice, self.left = port, random.Random(seed), calm_after

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, self.carry)
            yield f"127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
            group.cancel_scope.cancel()

    async def carry(self, near: Any) -> None:
        self.left -= 1
        fault = self.dice.choice(["cut", "cut", "reset", "delay", "silent"]) if self.left > 0 else "none"
        budget = self.dice.randrange(200, 3000) if fault != "none" else 10**9
        async with near, await anyio.connect_tcp("127.0.0.1", self.port) as far, anyio.create_task_group() as group:

            async def pump(source: Any, sink: Any, counted: bool) -> None:
                nonlocal budget
                try:
                    async for chunk in source:
                        if fault == "delay":
                            await anyio.sleep(self.dice.random() * 0.01)
                        if counted:
                            chunk, budget = chunk[:max(0, budget)], budget - len(chunk)
                        await sink.send(chunk)
                        if budget <= 0 and fault == "silent":
                            await anyio.sleep(0.5)    # half open: nothing comes, nobody says so
                        if budget <= 0:
                            break
                except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                    pass
                if fault == "reset" and budget <= 0:
                    near.extra(SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
                group.cancel_scope.cancel()
            group.start_soon(pump, far, near, True)
            group.start_soon(pump, near, far, False)


@pytest.mark.parametrize("seed", range(12))
async def test_over_a_network_that_fails_the_client_has_seen_exactly_the_stream(seed: int) -> None:
    """Cut after a random byte, reset, delayed, half open: resumed without gap or duplicate, the retraction included."""
    async def text() -> AsyncIterator[Any]:
        for number in range(300):
            if not number % 3:
                await anyio.sleep(0.0005)
            yield kx.Retract(1) if number == 150 else number

    credit = random.Random(seed).choice([1, 7, 64])
    async with server(lambda q: kx.source(text), limits=Limits(requests=10_000), heartbeat=0.1) as bound, Proxy(
            bound.port, seed).running() as target:
        with anyio.fail_after(30):
            seen = await data(grpc_client(target, input=1, credit=credit, idle=0.3, attempts=9, **FAST))
    assert seen == [*range(150), "retract", *range(151, 300)]


async def test_the_demand_of_the_graph_crosses_the_network() -> None:
    """A slow reader is waited for by the run of its own: what the source has given is its bound and no more (1.1)."""
    given = 0

    async def counted() -> AsyncIterator[int]:
        nonlocal given
        async for number in ticking(0):
            given = number
            yield number

    async with server(lambda q: kx.source(counted), outbox=kx.serve.Outbox("block", items=16)) as bound:
        graph = grpc_client(bound.address, input=1, credit=8) >> kx.map(lambda event: event.data)
        async with graph.stream() as items:
            async for number in items:
                if number == 20:
                    await anyio.sleep(0.3)
                    at = given
                    break
        assert 20 <= at <= 20 + 16 + 8 + 16 + 3 * 16
        with anyio.fail_after(2):    # leaving cancels the run that it has started
            while bound.hub.clients or next(iter(bound.hub.sessions.values())).state != "cancelled":
                await anyio.sleep(0.001)


@pytest.mark.parametrize("how", ["cancel", "close", "deadline", "leave"])
async def test_a_client_that_goes_frees_the_run_at_once(how: str) -> None:
    """Its call cancelled, its connection closed, its deadline past: the source is closed in less than 300 ms."""
    closed = anyio.Event()

    async def watched() -> AsyncIterator[int]:
        try:
            async for number in ticking():
                yield number
        finally:
            closed.set()

    async with server(lambda q: kx.source(watched), on_disconnect="cancel") as bound:
        if how == "leave":
            async with grpc_client(bound.address, input=1).stream() as items:
                await anext(aiter(items))
                began = time.monotonic()
        else:
            async with called(bound, input="1", request=UNLIMITED, timeout=0.2 if how == "deadline" else None) as call:
                await heard(call, 3)
                if how == "cancel":
                    call.cancel()
                elif how == "deadline":
                    with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
                        while True:
                            await call.read()
                began = time.monotonic()
        with anyio.fail_after(5):
            await closed.wait()
        assert time.monotonic() - began < 0.3


async def test_a_client_that_never_reads_is_bounded_and_let_go() -> None:
    """It asked for everything: the send timeout ends its call, and the others never notice (2.13)."""
    async def hot() -> AsyncIterator[str]:
        while True:
            await anyio.sleep(0)
            yield "x" * 20_000

    async with server(kx.source(hot), outbox="latest", timeout=0.5, limits=Limits(streams=2), heartbeat=None) as bound:
        stalling, going = called(bound, request=UNLIMITED), called(bound, request=UNLIMITED)
        async with stalling as stalled, going as reading:
            await heard(reading)
            gc.collect()
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            began = time.monotonic()
            with anyio.fail_after(10):
                while not bound.hub.reports:
                    await reading.read()
            assert 0.2 < time.monotonic() - began < 5
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 48 * 1024    # both ends are here
            assert [report.error.reason for report in bound.hub.reports] == ["too slow"]    # type: ignore[attr-defined]
            with pytest.raises(grpc.aio.AioRpcError, match="more than 2 streams"):    # its place is still taken
                async with called(bound, request=1) as third:
                    await third.read()
            with pytest.raises(grpc.aio.AioRpcError) as error:
                while True:
                    await stalled.read()
            assert (error.value.code().name, dict(error.value.trailing_metadata())[REASON]) == (
                "RESOURCE_EXHAUSTED", "too slow")
            await heard(reading)


@pytest.mark.parametrize(("body", "status"), [
    (b"\xff\xfe\xfd", "INVALID_ARGUMENT"), (b"\x0a\xff\xff\xff\xff\x7f", "INVALID_ARGUMENT"),
    (b"\x0a\x02\xff\xff", "INVALID_ARGUMENT"), (b"x" * 70_000, "RESOURCE_EXHAUSTED"), (b"\x10\x00", "INVALID_ARGUMENT"),
    ("bomb", "INVALID_ARGUMENT")])
async def test_malformed_messages_and_bombs_are_refused(body: Any, status: str) -> None:
    """No protobuf, torn, invalid UTF-8, too large, no demand; what is compressed is not opened."""
    async with server(lambda q: kx.source(ticking)) as bound:
        bomb = body == "bomb"
        channel = grpc.aio.insecure_channel(bound.address)
        call = channel.stream_stream(OPEN)(compression=grpc.Compression.Gzip if bomb else None)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call.write(Ask(input='"' + "x" * (50 << 20) + '"').SerializeToString() if bomb else body)
            await call.read()
        await channel.close()
        assert error.value.code().name == status and bound.hub.sessions == {}


async def test_metadata_names_the_session_and_the_place() -> None:
    """Any client of gRPC can come back: session from the initial metadata, id from the event; another's is none."""
    def who(request: Any) -> Any:
        return request.headers.get("who")

    async with server(lambda q: kx.source(range(9)) >> kx.map(str), authorize=who) as bound:
        async with called(bound, input="1", request=4, metadata={"who": "her"}) as call:
            begun = dict(await call.initial_metadata())
            first = await events(call, 4)
        back = {SESSION: begun[SESSION], AFTER: first[-1].id}
        async with called(bound, request=UNLIMITED, metadata={"who": "her", **back}) as call:
            assert await heard(call, 6) == [*map(str, range(4, 9)), {"reason": "complete"}]
            assert (await call.read(), (await call.code()).name, dict(await call.trailing_metadata())[REASON]) == (
                grpc.aio.EOF, "OK", "complete")
        for metadata, status in (({"who": "him", **back}, "NOT_FOUND"), (back, "UNAUTHENTICATED")):
            async with called(bound, request=1, metadata=metadata) as call:
                assert (await call.code()).name == status
    assert len(first) == 4


async def test_health_reflection_and_compression() -> None:
    """As every tool of gRPC expects them; `grpcurl` needs no file, and `stream.proto` says what reflection says."""
    async with server(kx.source(["x" * 10_000]), compress=True) as bound:
        async with grpc.aio.insecure_channel(bound.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            for name in ("", SERVICE):
                answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
        def reflected() -> Any:
            with grpc.insecure_channel(bound.address) as channel:
                database = ProtoReflectionDescriptorDatabase(channel)
                assert SERVICE in database.get_services()
                pool = descriptor_pool.DescriptorPool(database)
                kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("kayrx.v1.Ask"))
                return kind(request=3).SerializeToString()
        assert await anyio.to_thread.run_sync(reflected) == Ask(request=3).SerializeToString()
        assert await data(grpc_client(bound.address)) == ["x" * 10_000]


def test_the_file_and_the_messages_are_one(tmp_path: Path) -> None:
    """`stream.proto`, for clients in other languages, compiles to the descriptor that is built here."""
    from grpc_tools import protoc

    home = Path(kx.__file__).parent.parent
    out = tmp_path / "set"
    assert protoc.main(["", f"-I{home}", f"--descriptor_set_out={out}", "kayrx/serve/stream.proto"]) == 0
    assert descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file[0] == described()


@pytest.mark.parametrize("mine", [True, False])
async def test_closing_says_farewell_and_keeps_nobody_waiting(mine: bool) -> None:
    """``end`` with reason shutdown, UNAVAILABLE, within the deadline; a hub of somebody else's is left running."""
    async with Hub(kx.source(ticking)) as hub, anyio.create_task_group() as group:
        leave, started = anyio.Event(), anyio.Event()
        bounds: list[Bound] = []

        async def serve() -> None:
            async with server(kx.source(ticking) if mine else hub, drain=1.0, heartbeat=None) as bound:
                bounds.append(bound)
                started.set()
                await leave.wait()
        group.start_soon(serve)
        await started.wait()
        async with called(bounds[0], request=UNLIMITED) as call, called(bounds[0]) as silent:
            await heard(call)
            leave.set()
            with pytest.raises(grpc.aio.AioRpcError) as error:
                while True:
                    last = await heard(call)
            assert last[-1] == {"reason": "shutdown"} and error.value.code().name == "UNAVAILABLE"
            assert (await silent.code()).name in ("UNAVAILABLE", "CANCELLED")
        assert mine or (hub.shared().state == "running" and hub.clients == 0)


async def test_nothing_is_left_behind() -> None:
    """No task, thread or socket of a server or a client, however their calls have ended."""
    async def once() -> None:
        async with server(lambda q: kx.source(ticking)) as bound, called(bound, input="1", request=3) as call:
            await heard(call, 3)
            async with grpc_client(bound.address, input=1).stream() as items:
                await anext(aiter(items))
            call.cancel()
        with pytest.raises(ConnectionLost):
            await data(grpc_client(bound.address, attempts=2, **FAST))
    await once()    # gRPC's own thread comes with the first
    with left_behind() as left:
        await once()
        await anyio.sleep(0.1)
    assert not left


async def test_a_silent_connection_is_closed() -> None:
    """Who connects and says nothing is shown out, one connection too many at once; so is who asks for nothing."""
    async with server(lambda q: kx.source(ticking), limits=Limits(slow=1.0), max_clients=1) as bound:
        async with await anyio.connect_tcp("127.0.0.1", bound.port) as first:
            await first.receive()    # the server's settings: it is in
            for least, stream in ((0.0, await anyio.connect_tcp("127.0.0.1", bound.port)), (0.2, first)):
                began = time.monotonic()
                async with stream:
                    with anyio.fail_after(5), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                        while True:
                            await stream.receive()
                assert least <= time.monotonic() - began
        async with called(bound) as call:
            with anyio.fail_after(5):
                assert (await call.code()).name == "INVALID_ARGUMENT"


async def test_the_client_tells_failure_refusal_loss_and_gap_apart() -> None:
    """Each its own error; a lost server is tried again so often, and then that is said."""
    async with server(lambda q: kx.source(q) >> kx.map(lambda x: 1 / x), describe=told) as bound:
        with pytest.raises(RemoteError, match="ZeroDivisionError: division by zero") as failed:
            await data(grpc_client(bound.address, input=[1, 0]))
        assert failed.value.type == "ZeroDivisionError"
        with pytest.raises(kx.RunError, match="NOT_FOUND: there is no such session"):
            await data(grpc_client(bound.address, session="x" * 43))
        with pytest.raises(kx.RunError, match="INVALID_ARGUMENT: the first message has no input"):
            await data(grpc_client(bound.address))
    with pytest.raises(ConnectionLost, match="3 times in a row"):
        await data(grpc_client(bound.address, attempts=3, **FAST))
    async with server(kx.source(range(50)), keep=kx.serve.Keep(count=10), outbox=kx.serve.Outbox(items=10)) as bound:
        await data(grpc_client(bound.address, credit=50))
        seen = await (grpc_client(bound.address, after="AbcdEfgh-3") >> kx.to_list())
        assert seen[0].type == "resync" and [e.data for e in seen[1:]] == list(range(seen[0].data["next"] - 1, 50))
        with pytest.raises(Gap, match="events are missing"):
            await data(grpc_client(bound.address, after="AbcdEfgh-3", gaps="error"))


async def test_one_run_for_many_and_each_its_own_place() -> None:
    """Clients of the common run see one run, each at its demand."""
    opened = 0

    async def once() -> AsyncIterator[int]:
        nonlocal opened
        opened += 1
        async for number in ticking(0.001, 200):
            yield number

    seen: list[list[int]] = []
    async with server(kx.source(once)) as bound, anyio.create_task_group() as group:
        for credit in (1, 3, 64):
            async def read(credit: int = credit) -> None:
                seen.append(await data(grpc_client(bound.address, credit=credit)))
            group.start_soon(read)
    assert seen == [list(range(200))] * 3 and opened == 1


@pytest.mark.parametrize("make", [
    lambda: grpc_client("x", credit=0), lambda: grpc_client("x", session="a", input=1), lambda: grpc_client(
        "x", gaps="never"), lambda: grpc_client("x", idle=-1), lambda: grpc_client("x", attempts=0),
    lambda: grpc_client("http://x:1"),
    lambda: server(kx.map(str)), lambda: server(kx.source([1]), timeout=0), lambda: server(  # type: ignore[arg-type]
        Hub(kx.source([1])), linger=3), lambda: server(kx.source([1]), authorize=3)])  # type: ignore[arg-type]
def test_what_makes_no_sense_is_told_when_written(make: Any) -> None:
    """GraphError, before anything is opened; a client is a value like any node."""
    with pytest.raises(kx.GraphError):
        make()
    assert grpc_client("x", credit=3) == grpc_client("x", credit=3) != grpc_client("x", credit=4)


async def test_a_port_that_is_taken_is_told() -> None:
    """And the server that has it goes on."""
    async with server(kx.source([1])) as bound:
        second = server(kx.source([2]), port=bound.port)
        with pytest.raises(kx.RunError, match="cannot listen on 127"):
            await second.__aenter__()
        assert await (grpc_client(bound.address) >> kx.to_list()) == [Event(1, "data", 1)]


def test_the_verbs_of_the_file_are_those_that_are_heeded() -> None:
    """A number of the file and its word, as a session knows it."""
    verbs = {value.name.lower(): value.number for value in described().message_type[0].enum_type[0].value}
    assert {name: number for number, name in enumerate(VERBS) if name} == {n: v for n, v in verbs.items() if v}
    assert all(hasattr(kayrx.serve.Session, name) for name in VERBS if name)
