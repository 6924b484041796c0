"""``kayrx serve app:graph``: a page, SSE and NDJSON, health and metrics, until a signal."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import anyio
import typer

from kayrx.cli.letters import told
from kayrx.errors import MissingDependency

LOOPBACK = ("127.0.0.1", "localhost", "::1")

Target = Annotated[str, typer.Argument(
    metavar="APP:GRAPH", help="What to serve: a graph, a Hub, or a function that makes a graph of an input.")]


def serve(
    target: Target,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    policy: Annotated[str, typer.Option(help="What becomes of a slow client: disconnect, conflate, drop_oldest, latest "
                                             "or block.")] = "disconnect",
    after: Annotated[float, typer.Option(min=0, help="Cancel a run so many seconds after its last client.")] = 30.0,
    drain: Annotated[float, typer.Option(min=0, help="Seconds for runs to end at SIGTERM.")] = 5.0,
    origin: Annotated[list[str] | None, typer.Option(help="A foreign origin whose pages may come in.")] = None,
    compress: Annotated[bool, typer.Option("--compress", help="Compress what is sent.")] = False,
) -> None:
    """Serve a graph: a page for browsers, its events over SSE and NDJSON, /health and /metrics."""
    with told():
        try:
            from kayrx.serve.server import serve as served
        except MissingDependency as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from None
        app, hub = application(found(target), host, origin or (), policy=policy, after=after, compress=compress)

        async def main() -> None:
            async with anyio.create_task_group() as group:
                async def announced() -> None:
                    number = await group.start(lambda **status: served(app, hub, host, port, drain=drain, **status))
                    typer.echo(f"serving {target} on http://{f'[{host}]' if ':' in host else host}:{number}")
                    if host not in LOOPBACK:
                        typer.echo("anybody who reaches this address may read and stop it: mount it on an app with "
                                   "authorize= to say who may", err=True)
                await announced()

        try:
            anyio.run(main)
        except* OSError as group:
            raise group.exceptions[0] from None


def application(what: Any, host: str, origins: Sequence[str] = (), *, policy: str = "disconnect", after: float = 30.0,
                compress: bool = False) -> tuple[Any, Any]:
    """The app of the command, and its hub."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, PlainTextResponse
    from starlette.routing import Route

    from kayrx.serve import Hub, cancel_after, mount
    from kayrx.serve.metrics import prometheus

    hub = what if isinstance(what, Hub) else Hub(what, outbox=policy, on_disconnect=cancel_after(after))

    async def health(request: Any) -> Any:
        return JSONResponse({"status": "draining"}, 503) if hub.closing else JSONResponse({"status": "ok"})

    async def metrics(request: Any) -> Any:
        return PlainTextResponse(prometheus(hub), media_type="text/plain; version=0.0.4")

    app = Starlette(routes=[Route("/health", health), Route("/metrics", metrics)])
    mount(app, "/", hub, page=True, control=True, origins=origins, compress=compress,
          hosts=LOOPBACK if host in LOOPBACK else ())
    return app, hub


def found(target: str) -> Any:
    """What ``module:name`` names."""
    module, _, name = target.partition(":")
    if not module or not name:
        raise typer.BadParameter(f"{target!r}: write module:graph, as in app:answers")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        value: Any = importlib.import_module(module)
        for part in name.split("."):
            value = getattr(value, part)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise typer.BadParameter(f"there is no module {error.name!r} here") from None
    except AttributeError:
        raise typer.BadParameter(f"{module} has no {name!r}") from None
    from kayrx.serve import Hub

    if not callable(value) and not isinstance(value, Hub):
        raise typer.BadParameter(f"{target} is a {type(value).__name__}, no graph, Hub or function that makes one")
    return value


__all__ = ["application", "serve"]
