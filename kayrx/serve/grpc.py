"""A hub behind gRPC: the service of `stream.proto`, with health and reflection, on grpc.aio.

    async with kayrx.serve.grpc.server(hub, port=50051) as bound:
        print(bound.address)
        await anyio.sleep_forever()

A client says how many data events it can take (``request``), and gets no more; everything else comes unasked.
What ended the call is in its status, and in one word in the trailing metadata ``kayrx-reason``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import unquote

import anyio
import sniffio
from anyio.abc import TaskStatus

from kayrx.errors import GraphError, MissingDependency, RunError
from kayrx.graph.graph import Graph
from kayrx.nodes.values import needs_function, span
from kayrx.serve.grpc_call import Call, Service
from kayrx.serve.grpc_peers import Peers
from kayrx.serve.grpc_terms import Gone
from kayrx.serve.grpc_wire import REASON, SERVICE
from kayrx.serve.hub import Hub
from kayrx.serve.limits import Authorize, Limits
from kayrx.serve.outbox import Outbox, Policy

try:
    import grpc
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha import reflection
except ImportError as missing:
    raise MissingDependency(f"gRPC needs {missing.name}: pip install \"kayrx[grpc]\"") from missing

GRACE = 6.0     # seconds for a hub that closes to let its clients go
MARGIN = 256    # bytes of a message beside the input
BEAT = 15.0     # seconds between pings where calls have no heartbeat
ANSWERED = 10_000    # milliseconds that a ping's answer may take, if a heartbeat is not shorter


class Bound(NamedTuple):
    """A server that is up: its hub, its address, and the grpc.aio server for what is not here."""

    hub: Hub
    address: str
    port: int
    server: Any


def server(graph: Hub | Graph[Any, Any] | Callable[[Any], Graph[Any, Any]], *, port: int = 0, host: str = "127.0.0.1",
           inputs: Any = None, authorize: Authorize | None = None, limits: Limits | None = None, control: bool = False,
           outbox: Outbox | Policy | None = None, heartbeat: float | None = 15.0, timeout: float = 10.0,
           compress: bool = False, credentials: Any = None, drain: float = 5.0,
           options: Mapping[str, Any] | None = None, **of_hub: Any) -> Any:
    """Serve ``graph`` over gRPC while ``async with server(...) as bound`` lasts.

    graph, inputs, authorize, limits, control: as in `mount`; `authorize` gets the metadata as ``request.headers``
    outbox       of every client.  If None a run waits for the demand of the client whose own it is ("block"), and
                 the common run treats its clients as the hub says
    heartbeat    seconds of silence after which an event says that the call is alive, and a ping is sent: a process
                 that is stopped, or gone without a word, loses its connection within two of them
    timeout      seconds that one message may take: gRPC takes some megabytes for a client that never reads; then the
                 client is let go.  gRPC can tell it only when it reads, and cannot reset the call: for so many seconds
                 more its status waits, then its connection is closed, unless other calls are alive on it, which are
                 perhaps those of others behind one proxy; until then its place in ``limits`` is taken
    compress     gzip, for clients that take it
    credentials  of grpc.ssl_server_credentials; None: in the clear
    drain        seconds for a farewell when it closes: ``end`` with reason shutdown, and status UNAVAILABLE
    options      channel arguments of gRPC, in place of ours
    of_hub       options of the `Hub`; one that is not open yet is opened, and drained at the end

    Status:  OK at the end or after a stop; INTERNAL with the error's type after a failure; CANCELLED, UNAVAILABLE;
             NOT_FOUND, also for another's session; UNAUTHENTICATED or PERMISSION_DENIED; INVALID_ARGUMENT;
             RESOURCE_EXHAUSTED for too many, too large and too slow.
    Memory:  for each client its outbox, a batch of 64 KB, and what gRPC has not sent of it.
    Raises:  GraphError for a bad option; MissingDependency without the extra ``grpc``; RunError on trio, and for a
             port that is taken.
    Source:  gRPC's bidirectional streaming; Reactive Streams' ``request(n)``; RSocket's requestStream.

    >>> import asyncio, kayrx as kx
    >>> from kayrx.io import grpc_client
    >>> async def main():
    ...     async with server(kx.source("ab")) as bound:
    ...         return await (grpc_client(bound.address) >> kx.map(lambda event: event.data) >> kx.to_list())
    >>> asyncio.run(main())
    ['a', 'b']
    """
    if isinstance(graph, Hub) and of_hub:
        raise GraphError(f"server({min(of_hub)}=): a hub has its options already; give them to Hub(...)")
    if authorize is not None:
        needs_function("server", "authorize", authorize)
    for name, value in (("timeout", timeout), ("drain", drain), *([("heartbeat", heartbeat)] if heartbeat else [])):
        span("server", name, value, zero=False)
    hub = graph if isinstance(graph, Hub) else Hub(graph, **of_hub)
    bounds = limits or Limits()
    given = dict(hub=hub, inputs=inputs, authorize=authorize, limits=bounds, control=control, outbox=outbox,
                 heartbeat=heartbeat, timeout=timeout)
    return running(given, f"{host}:{port}", credentials, compress, drain, {**arguments(bounds, heartbeat, hub), **(
        options or {})})


async def beside(hub: Hub, host: str, port: int, *,
                 task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED) -> None:
    """Serve a hub that is open until it closes: gRPC beside a server of HTTP.

    Starts:  reports the port.
    """
    closing = anyio.Event()
    hub.on_closing.add(closing.set)
    try:
        async with server(hub, host=host, port=port, control=True) as bound:
            task_status.started(bound.port)
            await closing.wait()
            with anyio.move_on_after(GRACE):    # the hub stops its runs, and each says farewell itself
                while hub.clients:
                    await anyio.sleep(0.01)
    finally:
        hub.on_closing.discard(closing.set)


def arguments(limits: Limits, heartbeat: float | None, hub: Hub) -> dict[str, Any]:
    """Channel arguments: small messages, no decompression of what comes, and pings that find who has gone."""
    beat = int((heartbeat or BEAT) * 1000)
    answered = min(beat, ANSWERED)
    return {
        "grpc.max_receive_message_length": limits.body + MARGIN, "grpc.max_send_message_length": -1,
        "grpc.per_message_decompression": 0, "grpc.max_metadata_size": 8192,
        "grpc.max_concurrent_streams": limits.streams,
        "grpc.max_allowed_incoming_connections": hub.options.max_clients,
        "grpc.server_handshake_timeout_ms": int(limits.slow * 1000),
        # The second of these two is what ends a connection, and a minute if it is not said.
        "grpc.keepalive_time_ms": beat, "grpc.keepalive_timeout_ms": answered, "grpc.http2.ping_timeout_ms": answered,
        "grpc.http2.max_pings_without_data": 0,
        "grpc.keepalive_permit_without_calls": 1, "grpc.http2.min_ping_interval_without_data_ms": 5_000,
        "grpc.max_connection_idle_ms": 300_000, "grpc.so_reuseport": 0}


@asynccontextmanager
async def running(given: dict[str, Any], address: str, credentials: Any, compress: bool, drain: float,
                  options: Mapping[str, Any]) -> AsyncIterator[Bound]:
    if sniffio.current_async_library() != "asyncio":
        raise RunError("grpc.aio runs on asyncio alone: run the server under asyncio, or serve over HTTP")
    hub: Hub = given["hub"]
    async with AsyncExitStack() as stack:
        mine = hub._group is None
        if mine:
            await stack.enter_async_context(hub)
        service, peers = Service(**given), Peers()
        it = grpc.aio.server(options=list(options.items()),
                             compression=grpc.Compression.Gzip if compress else grpc.Compression.NoCompression)
        alive = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(alive, it)
        it.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {
            "Open": grpc.stream_stream_rpc_method_handler(answering(service, peers))})])
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), it)
        try:
            port = (it.add_insecure_port(address) if credentials is None
                    else it.add_secure_port(address, credentials))
        except RuntimeError as error:
            raise RunError(f"gRPC cannot listen on {address}: {error}") from error
        peers.port = port
        await it.start()
        try:
            for name in ("", SERVICE):
                await alive.set(name, health_pb2.HealthCheckResponse.SERVING)
            yield Bound(hub, f"{address.rpartition(':')[0]}:{port}", port, it)
        finally:
            with anyio.CancelScope(shield=True):
                await alive.enter_graceful_shutdown()
                if mine:
                    await hub.drain(drain)
                service.closing.set()
                await it.stop(min(drain, 1.0))


def answering(service: Service, peers: Peers) -> Callable[[Any, Any], Any]:
    """The handler of ``Open``."""
    async def opened(_: Any, context: Any) -> None:
        call, peer, waiting = Call(service, Context(context)), context.peer(), None
        peers.came(peer)
        try:
            try:
                ending = await call.run()
            finally:
                peers.left(peer)
            if ending.reason:
                context.set_trailing_metadata(((REASON, ending.reason),))
            if ending.status != "OK":
                # It waits for a client that does not read: that is what its place is taken for.
                waiting = asyncio.create_task(peers.untaken(peer, service.timeout))
                try:
                    await context.abort(getattr(grpc.StatusCode, ending.status), ending.text)
                except grpc.aio.InternalError:    # its connection has gone, and its status with it
                    pass
        finally:
            if waiting is not None:
                waiting.cancel()
            call.close()
    return opened


class Context:
    """grpc.aio's context as the `Wire` of a call."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.metadata: Mapping[str, str] = {
            key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        self.host = unquote(context.peer()).partition(":")[2].rpartition(":")[0] or context.peer()

    async def begin(self, metadata: Mapping[str, str]) -> None:
        await self.context.send_initial_metadata(tuple(metadata.items()))

    async def read(self) -> bytes | None:
        data = await self.context.read()
        return None if data is grpc.aio.EOF else data

    async def write(self, data: bytes) -> None:
        try:
            await self.context.write(data)
        except (grpc.aio.BaseError, grpc.aio.UsageError, RuntimeError) as error:
            raise Gone(str(error)) from error


__all__ = ["Bound", "beside", "server"]
