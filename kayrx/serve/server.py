"""The server of ``kayrx serve``: uvicorn, with a door for the slow and a farewell at the end.

uvicorn waits for ever for a connection that says nothing, or says it slowly; and at SIGTERM it waits for its
streams, as they do for their runs.  Here a request has `OPENING` seconds to come, and a signal drains the hub first.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import anyio
from anyio.abc import TaskStatus

from kayrx.errors import MissingDependency
from kayrx.serve.hub import Hub

try:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError as missing:
    raise MissingDependency(f"kayrx serve needs {missing.name}: pip install \"kayrx[serve]\"") from missing

OPENING = 8.0          # seconds until a connection has sent the headers of its next request
CONNECTIONS = 10_000   # at once, in all
OF_ONE = 1_000         # and from one address
HALF_OPEN = 30.0       # seconds without an acknowledgement of what was sent: two heartbeats
UNHEARD = getattr(socket, "TCP_USER_TIMEOUT", 0)    # where the system has it
GRACE = 1              # seconds for answers that are under way once the streams have ended
HEADERS = 16 * 1024
AT_ONCE = 64           # connections that are taken in one pass of the loop
WAITING = 2048         # and those that the system holds for us meanwhile
LINGERING = 256        # who are one too many, and are still being told so
LAST_WORD = 1.0        # seconds for that
CLOSE = b"\r\nConnection: close\r\nContent-Length: 0\r\n"
LATE = b"HTTP/1.1 408 Request Timeout" + CLOSE + b"\r\n"
LARGE = b"HTTP/1.1 431 Request Header Fields Too Large" + CLOSE + b"\r\n"
MANY = b"HTTP/1.1 429 Too Many Requests" + CLOSE + b"Retry-After: 5\r\n\r\n"
FULL = b"HTTP/1.1 503 Service Unavailable" + CLOSE + b"Retry-After: 5\r\n\r\n"


def door(opening: float = OPENING, connections: int = CONNECTIONS, of_one: int = OF_ONE) -> type[H11Protocol]:
    """uvicorn's protocol for one server, where who is silent, slow or one too many is shown out.

    opening      seconds until a connection has sent the headers of its next request; then 408
    connections  at once, in all: one more is 503.  ``of_one``: from one address; one more is 429

    >>> import uvicorn
    >>> config = uvicorn.Config("app:app", http=door(connections=500))    # or uvicorn.run("app:app", http=door())
    """
    inside: Counter[str] = Counter()
    total = lingering = 0

    class Door(H11Protocol):
        _late: asyncio.TimerHandle | None = None
        _from: str | None = None
        _refused = False

        def connection_made(self, transport: Any) -> None:
            nonlocal total
            super().connection_made(transport)
            who = self.client[0] if self.client else "?"
            if total >= connections or inside[who] >= of_one:
                self._refuse(FULL if total >= connections else MANY)
                return
            self._from = who
            inside[who] += 1
            total += 1
            self._watch()
            wire = transport.get_extra_info("socket")
            if wire is not None and wire.family in (socket.AF_INET, socket.AF_INET6) and UNHEARD:
                # A peer that is gone without a word acknowledges nothing, and heartbeats fill no buffer.
                wire.setsockopt(socket.IPPROTO_TCP, UNHEARD, int(HALF_OPEN * 1000))

        def connection_lost(self, exc: Exception | None) -> None:
            nonlocal total, lingering
            super().connection_lost(exc)
            if self._from is not None:
                total -= 1
                inside[self._from] -= 1
                if not inside[self._from]:
                    del inside[self._from]
                self._from = None
            if self._refused:
                self._refused, lingering = False, lingering - 1
            self._watch()

        def data_received(self, data: bytes) -> None:
            if self._refused or self.transport.is_closing():
                return
            if self._idle() and len(data) > HEADERS and data.find(b"\r\n\r\n", 0, HEADERS) < 0:
                self._show_out(LARGE)    # h11 only counts heads that come in pieces
                return
            super().data_received(data)
            self._watch()

        def _idle(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _watch(self) -> None:
            """A request is on its way, and has so long to be there; while one is answered there is no hurry."""
            awaited = self._from is not None and self._idle()
            if awaited and self._late is None:
                self._late = self.loop.call_later(opening, self._show_out, LATE)
            elif not awaited and self._late is not None:
                self._late.cancel()
                self._late = None

        def _show_out(self, answer: bytes) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None
            if self._idle() and not self.transport.is_closing():
                self.transport.write(answer)
                self.transport.close()

        def _refuse(self, answer: bytes) -> None:
            """Tell one that is too many.  What it has sent is read first: a close would reset what it is told."""
            nonlocal lingering
            self.transport.write(answer)
            if lingering >= LINGERING or not self.transport.can_write_eof():
                self.transport.close()
                return
            self._refused, lingering = True, lingering + 1
            self.transport.write_eof()
            self.loop.call_later(LAST_WORD, self.transport.abort)

    return Door


class Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: who runs it says when it ends."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def serve(app: Any, hub: Hub, host: str = "127.0.0.1", port: int = 0, *, drain: float = 5.0,
                signals: bool = True, protocol: type[H11Protocol] | None = None,
                task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED) -> None:
    """Serve ``app`` until cancelled or, with ``signals``, SIGINT or SIGTERM; then no socket or task of it is left.

    Starts:  reports the port once connections are accepted.
    Stops:   runs have ``drain`` seconds to end; every client gets its farewell; a second signal waits for nothing.
    Raises:  OSError if the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=WAITING)
    server = Server(uvicorn.Config(
        app, lifespan="on", ws="auto", http=protocol or door(), log_config=None, log_level="critical", backlog=AT_ONCE,
        access_log=False, timeout_graceful_shutdown=GRACE, timeout_keep_alive=5, h11_max_incomplete_event_size=HEADERS))

    async def host_it() -> None:
        # Cancelling it would skip its own shutdown and leave sockets open; it is told to end instead.
        with anyio.CancelScope(shield=True):
            await server.serve(sockets=[listener])

    with listener:
        async with anyio.create_task_group() as group:
            group.start_soon(host_it)
            try:
                while not server.started and not server.should_exit:
                    await anyio.sleep(0.005)
                listener.listen(WAITING)    # asyncio accepts as many in one pass as it was told that may wait
                task_status.started(listener.getsockname()[1])
                if signals:
                    await _signalled(hub, drain, server)
                else:
                    await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await hub.drain(drain if signals else 0.0)
                server.should_exit = True


async def _signalled(hub: Hub, drain: float, server: Server) -> None:
    """Wait for a signal, then drain; a second one ends that too."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        async for _ in received:
            break
        async with anyio.create_task_group() as group:
            async def leave() -> None:
                async for _ in received:
                    server.force_exit = True
                    group.cancel_scope.cancel()
                    break
            group.start_soon(leave)
            await hub.drain(drain)
            group.cancel_scope.cancel()


__all__ = ["Server", "door", "serve"]
