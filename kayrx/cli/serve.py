"""``kayrx serve app:graph``: a page, SSE, WebSocket, NDJSON and gRPC, health and metrics, until a signal."""

from __future__ import annotations

import errno
import gc
import inspect
from collections.abc import Sequence
from typing import Annotated, Any

import anyio
import typer

from kayrx.cli.letters import told
from kayrx.cli.targets import named
from kayrx.graph.graph import Graph

LOOPBACK = ("127.0.0.1", "localhost", "::1")

Target = Annotated[str, typer.Argument(
    metavar="APP:GRAPH", help="What to serve: a graph, a Hub, or a function that makes a graph of an input.")]


def serve(
    target: Target,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    grpc: Annotated[int | None, typer.Option(min=0, max=65535, metavar="PORT", help="Serve gRPC too, there.")] = None,
    policy: Annotated[str, typer.Option(help="What becomes of a slow client: disconnect, conflate, drop_oldest, latest "
                                             "or block.")] = "disconnect",
    after: Annotated[float, typer.Option(min=0, help="Cancel a run so many seconds after its last client.")] = 30.0,
    drain: Annotated[float, typer.Option(min=0, help="Seconds for runs to end at SIGTERM.")] = 5.0,
    origin: Annotated[list[str] | None, typer.Option(help="A foreign origin whose pages may come in.")] = None,
    compress: Annotated[bool, typer.Option("--compress", help="Compress what is sent.")] = False,
) -> None:
    """Serve a graph: a page for browsers, its events over SSE, WebSocket, NDJSON and gRPC, /health and /metrics."""
    with told():
        from kayrx.serve.server import serve as served
        if grpc is not None:
            from kayrx.serve.grpc import beside
        app, hub = application(found(target), host, origin or (), policy=policy, after=after, compress=compress)
        address = f"[{host}]" if ":" in host else host

        async def main() -> None:
            async with anyio.create_task_group() as group:
                number = await group.start(lambda **status: served(app, hub, host, port, drain=drain, **status))
                lines = [f"serving {target} on http://{address}:{number}"]
                if grpc is not None:
                    number = await group.start(lambda **status: beside(hub, address, grpc, **status))
                    lines.append(f"and over gRPC on {address}:{number}")
                typer.echo("\n".join(lines))
                gc.collect()
                gc.freeze()    # what is loaded by now stays, and to look through it again holds the loop for 20 ms
                if host not in LOOPBACK:
                    typer.echo("anybody who reaches this address may read and stop it: mount it on an app with "
                               "authorize= to say who may", err=True)

        try:
            anyio.run(main)
        except BaseExceptionGroup as group:
            cause: BaseException = group
            while isinstance(cause, BaseExceptionGroup):
                cause = cause.exceptions[0]
            if isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE:
                raise OSError(f"port {port} of {host} is taken: choose another with --port, or any with --port 0"
                              ) from None
            raise cause from None


def application(what: Any, host: str, origins: Sequence[str] = (), *, policy: str = "disconnect", after: float = 30.0,
                compress: bool = False) -> tuple[Any, Any]:
    """The app of the command, and its hub."""
    from kayrx.serve import Hub, cancel_after, mount

    hub = what if isinstance(what, Hub) else Hub(what, outbox=policy, on_disconnect=cancel_after(after))
    app = watched(hub)
    mount(app, "/", hub, page=True, control=True, origins=origins, compress=compress,
          hosts=LOOPBACK if host in LOOPBACK else ())
    return app, hub


def watched(hub: Any) -> Any:
    """An app that tells how a hub is, and nothing else."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, PlainTextResponse
    from starlette.routing import Route

    from kayrx.serve.metrics import prometheus

    async def health(request: Any) -> Any:
        return JSONResponse({"status": "draining"}, 503) if hub.closing else JSONResponse({"status": "ok"})

    async def metrics(request: Any) -> Any:
        return PlainTextResponse(prometheus(hub), media_type="text/plain; version=0.0.4")

    return Starlette(routes=[Route("/health", health), Route("/metrics", metrics)])


def found(target: str) -> Any:
    """What ``module:name`` names, if it can be served."""
    value = named(target)
    from kayrx.serve import Hub

    if isinstance(value, (Graph, Hub)):
        return value
    if not callable(value):
        raise typer.BadParameter(f"{target} is a {type(value).__name__}, no graph, Hub or function that makes one")
    try:
        inspect.signature(value).bind("an input")
    except TypeError:
        raise typer.BadParameter(f"{target} cannot be called with one input; what makes graphs takes what a client "
                                 "posts, as in def answers(prompt): ...") from None
    except ValueError:    # written in C: it says nothing of its arguments
        pass
    return value


__all__ = ["application", "serve"]
