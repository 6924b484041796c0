"""The demo's web face: one page, its events over SSE, and a way to stop them.

    GET  /         the page
    GET  /events   the events, until the iterator ends or the client leaves
    POST /stop     asks whoever makes the events to stop

It knows nothing of graphs: it is given a callable for the events of each client and one to stop them.
"""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from contextlib import contextmanager
from inspect import isawaitable
from pathlib import Path

import anyio
from anyio.abc import TaskStatus

from kayrx.errors import MissingDependency

try:
    import uvicorn
    from sse_starlette import EventSourceResponse, ServerSentEvent
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, Response
    from starlette.routing import Route
except ImportError as error:
    raise MissingDependency(f"the web page needs {error.name}: pip install kayrx[demo]") from error

PAGE = Path(__file__).with_name("page.html")
PING_SECONDS = 15       # a comment this often keeps proxies from closing an idle stream
SEND_SECONDS = 10       # a client that reads nothing for so long is let go
GRACE_SECONDS = 0.2     # a stopping server lets streams that end by themselves do so for so long
FAREWELL_SECONDS = 1    # then waits so long for responses that are still open, and cuts them

log = logging.getLogger(__name__)


def app(events: Callable[[], AsyncIterator[tuple[str, object]]],
        stop: Callable[[], Awaitable[None] | None]) -> Starlette:
    """The application that shows ``events`` on a page; each client gets an iterator of its own.

    Emits:   (name, value) as one SSE event with the value in JSON, so any text arrives as it was.
    Stops:   a client that leaves, or takes nothing for 10 s, has its iterator closed.
    Raises:  an iterator that raises is logged and ends with the event ``error``, {"message": text}.
    """
    closing, html = anyio.Event(), PAGE.read_bytes()

    class Events(EventSourceResponse):
        @staticmethod
        async def _listen_for_exit_signal() -> None:
            # In place of the original's watcher: a task that polls a process-wide flag and outlives
            # the server.  Should the name ever change, the server still ends, a second later.
            await closing.wait()

    async def page(request: Request) -> Response:
        return HTMLResponse(html, headers={"Cache-Control": "no-store"})

    async def stream(request: Request) -> Response:
        return Events(_frames(events), ping=PING_SECONDS, send_timeout=SEND_SECONDS,
                      ping_message_factory=lambda: ServerSentEvent(comment="ping"),
                      shutdown_grace_period=GRACE_SECONDS, headers={"X-Accel-Buffering": "no"})

    async def end(request: Request) -> Response:
        answer = stop()
        if isawaitable(answer):
            await answer
        return Response(status_code=204)

    application = Starlette(routes=[
        Route("/", page), Route("/events", stream), Route("/stop", end, methods=["POST"]),
    ])
    application.state.closing = closing
    return application


async def _frames(events: Callable[[], AsyncIterator[tuple[str, object]]]
                  ) -> AsyncGenerator[ServerSentEvent, None]:
    """Each event as a frame; the iterator is made at the first step, so HEAD makes none."""
    iterator = events()
    try:
        async for name, value in iterator:
            # ASCII, so no character of the text can be a line end to SSE or a surrogate to UTF-8.
            yield ServerSentEvent(event=name, data=json.dumps(value, allow_nan=False))
            # A source that never waits would keep the loop, and never see its client leave.
            await anyio.lowlevel.checkpoint()
    except Exception as error:
        log.exception("the events of a client failed")
        yield ServerSentEvent(event="error", data=json.dumps({"message": f"{type(error).__name__}: {error}"}))
    finally:
        if close := getattr(iterator, "aclose", None):
            with anyio.CancelScope(shield=True):
                await close()


async def serve(app: Starlette, port: int, *,
                task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED) -> None:
    """Serve ``app`` on 127.0.0.1 until cancelled; then no socket, task or handler of it is left.

    Starts:  reports the port, which matters if ``port`` is 0, once connections are accepted.
    Stops:   in less than 2 s, also with streams open; the app cannot be served again.
    Raises:  OSError if the port is taken.
    """
    listener = socket.create_server(("127.0.0.1", port))
    server = _Server(uvicorn.Config(
        app, lifespan="off", ws="none", log_config=None, log_level="critical", access_log=False,
        timeout_graceful_shutdown=FAREWELL_SECONDS,
    ))

    async def host() -> None:
        # Cancelling it would skip its own shutdown and leave sockets open; it is told to end instead.
        with anyio.CancelScope(shield=True):
            await server.serve(sockets=[listener])

    with listener:
        async with anyio.create_task_group() as group:
            group.start_soon(host)
            task_status.started(listener.getsockname()[1])
            try:
                await anyio.sleep_forever()
            finally:
                app.state.closing.set()
                server.should_exit = True


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: Ctrl-C cancels the run, and the run cancels the server."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


__all__ = ["app", "serve"]
