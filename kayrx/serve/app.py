"""`mount`: a graph behind HTTP, in an app of Starlette or FastAPI.

    GET    path            the events of the common run; the page, for a browser, if there is one
    POST   path            start a session, its input as JSON: 201 and its id, or at once its events
    GET    path/{id}       the events of a session, after ``Last-Event-ID`` or ``?after=``
    GET    path/{id}/state what it is doing, in figures; ``graph``: its picture
    WS     path/ws         all of it on one socket, with demand: `kayrx.serve.websocket`
    POST   path/{id}/stop  end the run and keep what came; ``detach``: it goes on without clients; ``resume``: no more

``Accept`` chooses SSE (the default) or NDJSON; ``?protocol=ai-sdk`` and ``?protocol=ag-ui`` speak to their clients.
The common run is the session ``shared``.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from kayrx.errors import GraphError, MissingDependency
from kayrx.graph.graph import Graph
from kayrx.nodes.values import needs_function, span
from kayrx.runtime.backend import current
from kayrx.serve.ag_ui import ag_ui
from kayrx.serve.ai_sdk import ai_sdk
from kayrx.serve.beneath import farewell, show_out
from kayrx.serve.events import Refused, traced
from kayrx.serve.hub import Hub
from kayrx.serve.inputs import checked, read
from kayrx.serve.limits import Allowed, Authorize, Counters, Limits, authorized, origin_allowed
from kayrx.serve.ndjson import ndjson
from kayrx.serve.response import Protocol, Streamed, refusal
from kayrx.serve.session import Session
from kayrx.serve.sse import sse
from kayrx.serve.websocket import Sockets

try:
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, JSONResponse, Response
    from starlette.routing import BaseRoute, Route, WebSocketRoute
except ImportError as missing:
    raise MissingDependency(f"serving needs {missing.name}: pip install \"kayrx[serve]\"") from missing

SHARED = "shared"
CURSOR = 128    # characters of a Last-Event-ID that are read at all
log = logging.getLogger(__name__)


def mount(app: Any, path: str, graph: Hub | Graph[Any, Any] | Callable[[Any], Graph[Any, Any]], *,
          inputs: Any = None, authorize: Authorize | None = None, origins: Sequence[str] = (),
          hosts: Sequence[str] = (), limits: Limits | None = None, control: bool = False, page: bool = False,
          heartbeat: float | None = 15.0, timeout: float = 10.0, compress: bool = False, **options: Any) -> Hub:
    """Serve ``graph`` under ``path`` of an app, and give its hub.

    graph      a graph: its common run for all, or a session of its own for each POST; a function that makes one of a
               session's input; or a `Hub`
    inputs     checks a session's input: a pydantic model, or a function that gives the input or raises ValueError
    authorize  ``authorize(request)``, sync or async, gives the owner, True, or `Allowed` with an expiry; closed if it
               gives None or False, raises, or takes 5 s.  An owner's sessions are theirs alone
    origins    foreign origins whose pages may come in, exactly as ``https://host:port`` ("*": all); default none
    hosts      the names that this server answers to, if not all
    limits     of one client: streams, requests, size and slowness of what it says
    control    also the common run may be stopped, detached and resumed by its clients
    page       a browser that asks for ``path`` gets a page with the stream, the graph and its figures
    heartbeat  seconds of silence after which a byte is sent; ``timeout``: seconds that one write may take
    compress   zstd, brotli or gzip, flushed at each event: a third of the bytes, and some memory for each client
    options    of the `Hub`

    Stops:   with the app's lifespan; at SIGTERM under uvicorn each stream ends with "shutdown" first.
    Server:  under ``uvicorn.run`` connections that send no headers for 8 to 10 s are closed (408), which uvicorn itself
             never does; where its signals are not its own (gunicorn, a thread) and to bound connections as `kayrx
             serve` does, run it with ``http=kayrx.serve.server.door()``.
    Raises:  GraphError for a bad option; MissingDependency without the extra ``serve``.
    Source:  the streaming endpoints of FastAPI, sse-starlette and the AI SDKs.

    >>> import kayrx as kx
    >>> from starlette.applications import Starlette
    >>> app = Starlette()
    >>> hub = mount(app, "/words", kx.source(["hello", "world"]))
    >>> [route.path for route in app.routes][:4]
    ['/words/ws', '/words', '/words', '/words/{id}']
    """
    hub = graph if isinstance(graph, Hub) else Hub(graph, **options)
    if isinstance(graph, Hub) and options:
        raise GraphError(f"mount({min(options)}=): a hub has its options already; give them to Hub(...)")
    if authorize is not None:
        needs_function("mount", "authorize", authorize)
    span("mount", "timeout", timeout, zero=False)
    if not path.startswith("/"):
        raise GraphError(f"mount(path={path!r}): a path begins with /")
    served = Served(hub, inputs, authorize, tuple(origins), tuple(hosts), limits or Limits(), control, page, heartbeat,
                    timeout)
    app.router.routes.extend(served.routes(path.rstrip("/"), [compression()] if compress else []))
    within = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(whole: Any) -> AsyncIterator[Any]:
        async with hub:
            hub.host.start_soon(farewell, hub)
            hub.host.start_soon(show_out)
            async with within(whole) as state:
                yield state

    app.router.lifespan_context = lifespan
    return hub


def compression() -> Middleware:
    """Answers compressed as the client likes, events one by one."""
    try:
        from starlette_compress import CompressMiddleware, add_compress_type
    except ImportError as missing:
        raise MissingDependency(f"compress=True needs {missing.name}: pip install \"kayrx[serve]\"") from missing
    add_compress_type("application/x-ndjson", streaming=True)
    return Middleware(CompressMiddleware)


class Served:
    """The routes of one mounted hub."""

    def __init__(self, hub: Hub, inputs: Any, authorize: Authorize | None, origins: tuple[str, ...],
                 hosts: tuple[str, ...], limits: Limits, control: bool, page: bool, heartbeat: float | None,
                 timeout: float) -> None:
        self.hub, self.inputs, self.authorize, self.origins, self.hosts = hub, inputs, authorize, origins, hosts
        self.limits, self.control, self.page, self.heartbeat, self.timeout = limits, control, page, heartbeat, timeout
        self.protocols: dict[str, Protocol] = {p.media_type: p for p in (sse(), ndjson())}
        self.named: dict[str, Protocol] = {"ai-sdk": ai_sdk(), "ag-ui": ag_ui()}
        self.counters: Counters | None = None

    def routes(self, path: str, middleware: list[Middleware]) -> list[BaseRoute]:
        ways = [("", self.root, "GET"), ("", self.start, "POST"), ("/{id}", self.stream, "GET"),
                ("/{id}/state", self.state, "GET"), ("/{id}/graph", self.drawn, "GET"),
                ("/{id}/{verb}", self.steer, "POST")]
        paths = dict.fromkeys(f"{path}{rest}" or "/" for rest, _, _ in ways)
        return [WebSocketRoute(f"{path}/ws", Sockets(self)),
                *(Route(f"{path}{rest}" or "/", self.guarded(endpoint), methods=[method], middleware=middleware)
                  for rest, endpoint, method in ways),
                *(Route(each, self.preflight, methods=["OPTIONS"]) for each in paths)]

    # -- the door --------------------------------------------------------------------------------

    def guarded(self, endpoint: Callable[[Request, Allowed, str], Any]) -> Callable[[Request], Any]:
        """The endpoint behind its checks: origin, rate, authorisation; refusals become answers."""
        async def behind(request: Request) -> Response:
            headers: dict[str, str] = {}
            try:
                headers = self.cross_origin(request)
                address = request.client.host if request.client else "?"
                self.counted().ask(address)
                allowed = await authorized(self.authorize, request)
                client = f"{address} {allowed.owner}" if allowed.owner is not None else address
                answer: Response = await endpoint(request, allowed, client)
            except Refused as error:
                retry = {"Retry-After": "5"} if error.reason in ("too many", "full", "closing") else {}
                answer = refusal(error, retry)
            answer.headers.update(headers)
            return answer
        return behind

    def counted(self) -> Counters:
        if self.counters is None:
            self.counters = Counters(self.limits, current(self.hub.options.world).now)
        return self.counters

    def cross_origin(self, request: Request) -> dict[str, str]:
        """What the answer says to a page of another origin.  Raises: Refused, for one that is not listed."""
        if not origin_allowed(request.headers, request.url.scheme, self.origins, self.hosts):
            raise Refused("forbidden", "not allowed from there")
        origin = request.headers.get("origin")
        if origin is None or not self.origins:
            return {}
        return {"Access-Control-Allow-Origin": origin, "Vary": "Origin", "Access-Control-Expose-Headers": "X-Session"}

    async def preflight(self, request: Request) -> Response:
        try:
            headers = self.cross_origin(request)
        except Refused as error:
            return refusal(error)
        return Response(status_code=204, headers=headers | {
            "Access-Control-Allow-Methods": "GET, POST", "Access-Control-Max-Age": "600",
            "Access-Control-Allow-Headers": "Authorization, Content-Type, Last-Event-ID"})

    def session(self, request: Request, allowed: Allowed) -> Session:
        id = request.path_params["id"]
        if id == SHARED and isinstance(self.hub.graph, Graph):
            return self.hub.shared()
        return self.hub.session(id, owner=allowed.owner)

    # -- endpoints -------------------------------------------------------------------------------

    async def root(self, request: Request, allowed: Allowed, client: str) -> Response:
        accepted = request.headers.get("accept", "*/*")
        if self.page and "text/html" in accepted:
            from kayrx.serve.page import html

            return HTMLResponse(html(self.hub.graph, request.url.path.rstrip("/"), self.control), headers={
                "Cache-Control": "no-store", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
                "Content-Security-Policy": "default-src 'self'; script-src 'unsafe-inline'; "
                                           "style-src 'unsafe-inline'; img-src 'self' data:"})
        if not isinstance(self.hub.graph, Graph):
            raise Refused("no session", "POST an input here to start a session")
        return self.answer(request, self.hub.shared(), allowed, client)

    async def start(self, request: Request, allowed: Allowed, client: str) -> Response:
        body = await read(request, self.limits)
        given = () if isinstance(self.hub.graph, Graph) else (checked(body, self.inputs),)
        try:
            session = self.counted().begin(client, partial(self.hub.open, *given, owner=allowed.owner))
        except (Refused, HTTPException):
            raise
        except Exception as error:
            log.error("a session cannot be started: %s", error, exc_info=traced(error))
            return JSONResponse({"error": "failed", **self.hub.options.describe(error)}, 500)
        url = f"{request.url.path.rstrip('/')}/{session.id}"
        if "protocol" in request.query_params or any(
                kind in request.headers.get("accept", "") for kind in self.protocols):
            return self.answer(request, session, allowed, client, {"X-Session": session.id})
        return JSONResponse({"session": session.id, "events": url}, 201, {"Location": url})

    async def stream(self, request: Request, allowed: Allowed, client: str) -> Response:
        return self.answer(request, self.session(request, allowed), allowed, client)

    async def state(self, request: Request, allowed: Allowed, client: str) -> Response:
        session = self.session(request, allowed)
        metrics = session.metrics()
        return JSONResponse({
            "state": session.state, "last": session.log.last, "cursor": f"{session.tag}-{session.log.last}",
            "clients": len(session.clients), "seconds": metrics.seconds if metrics else 0.0,
            "segments": [segment._asdict() for segment in metrics.segments] if metrics else [],
            "gates": [gate._asdict() for gate in metrics.gates] if metrics else []})

    async def drawn(self, request: Request, allowed: Allowed, client: str) -> Response:
        return Response(self.session(request, allowed).graph.draw("svg"), media_type="image/svg+xml")

    async def steer(self, request: Request, allowed: Allowed, client: str) -> Response:
        session, verb = self.session(request, allowed), request.path_params["verb"]
        if session is self.hub.common and not self.control:
            raise Refused("forbidden", "the common run is not steered from here")
        if verb == "stop":
            await session.stop()
        elif verb in ("detach", "resume"):
            getattr(session, verb)()
        else:
            raise Refused("no session", "there is no such session")
        return JSONResponse({"state": session.state, "last": session.log.last})

    # -- streams ---------------------------------------------------------------------------------

    def answer(self, request: Request, session: Session, allowed: Allowed, client: str,
               headers: dict[str, str] | None = None) -> Response:
        name = request.query_params.get("protocol")
        protocol = self.named.get(name) if name else self.protocol(request.headers.get("accept", "*/*"))
        if protocol is None:
            known = [*self.protocols, *(f"?protocol={name}" for name in self.named)]
            return JSONResponse({"error": "not acceptable", "message": f"there are {', '.join(known)}"}, 406)
        seen = request.headers.get("last-event-id") or request.query_params.get("after")
        after = seen[:CURSOR] if seen is not None else 0
        if session.finished(after):
            return Response(status_code=204, headers=headers)    # an EventSource that is told so stays away
        return Streamed(session, protocol, after, heartbeat=self.heartbeat, timeout=self.timeout,
                        expires=allowed.seconds, headers=headers, name=client,
                        door=partial(self.counted().enter, client))

    def protocol(self, accept: str) -> Protocol | None:
        """The protocol that the client likes best; the first of ours among equals."""
        likes: dict[str, float] = {}
        for part in accept.split(","):
            kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
            quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
            try:
                likes[kind] = float(quality)
            except ValueError:
                likes[kind] = 0.0
        def like(kind: str) -> float:
            return likes.get(kind, likes.get(f"{kind.split('/')[0]}/*", likes.get("*/*", 0.0)))
        best = max(self.protocols, key=like)
        return self.protocols[best] if like(best) > 0 else None


__all__ = ["mount"]
