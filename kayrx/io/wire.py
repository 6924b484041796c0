"""A WebSocket over anyio: the protocol of `websockets`, on asyncio and on trio alike.

It is read by a task of its own, so that pings are answered while nobody wants an item.  The task is the loop's, not a
task group's, for no group may be open while a source hands an item on; `Wire.close` waits for its end.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
from anyio.abc import ByteStream

from kayrx.errors import MissingDependency
from kayrx.io.lasting import Broken
from kayrx.runtime.backend import loop_running

try:
    from websockets.client import ClientProtocol
    from websockets.exceptions import InvalidURI
    from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
    from websockets.frames import Frame, Opcode
    from websockets.http11 import Response
    from websockets.protocol import OPEN
    from websockets.uri import parse_uri
except ImportError as missing:
    raise MissingDependency(f"clients need {missing.name}: pip install \"kayrx[clients]\"") from missing

OPENING = 10.0
CLOSING = 1.0
BLOCK = 65_536


class Refusal(Exception):
    """The server has refused the handshake with a status."""

    def __init__(self, status: int, after: str) -> None:
        super().__init__(f"the server has answered {status}")
        self.status, self.after = status, after


class Wire:
    """One connection.  Memory: ``most`` messages of ``limit`` bytes that nobody has asked for; then it is not read."""

    def __init__(self, url: str, headers: Mapping[str, str], idle: float | None, limit: int, most: int,
                 tls: ssl.SSLContext | None, heard: Callable[[str], str | None]) -> None:
        self.uri, self.headers, self.idle, self.most, self.tls = parse_uri(url), headers, idle, most, tls
        self.heard = heard    # may answer a message at once, in place of who reads
        self.protocol = ClientProtocol(self.uri, max_size=limit, extensions=[ClientPerMessageDeflateFactory(
            compress_settings={"memLevel": 5})])
        self.messages: deque[str] = deque()
        self.parts: list[bytes] = []
        self.failure: Broken | None = None
        self.news, self.room, self.over = anyio.Event(), anyio.Event(), anyio.Event()
        self.scope = anyio.CancelScope()
        self.writing = anyio.Lock()
        self.stream: ByteStream

    async def open(self) -> None:
        """Connect and shake hands.  Raises: Broken, Refusal."""
        try:
            with anyio.fail_after(OPENING if self.idle is None else min(OPENING, self.idle)):
                if self.uri.secure:
                    self.stream = await anyio.connect_tcp(
                        self.uri.host, self.uri.port, tls=True, tls_standard_compatible=False,
                        ssl_context=self.tls or ssl.create_default_context(), tls_hostname=self.uri.host)
                else:
                    self.stream = await anyio.connect_tcp(self.uri.host, self.uri.port)
                try:
                    await self.shake()
                except BaseException:
                    await anyio.aclose_forcefully(self.stream)
                    raise
        except (OSError, TimeoutError, anyio.EndOfStream, anyio.BrokenResourceError) as error:
            raise Broken(f"{type(error).__name__} {error}".strip()) from error
        background(self.pump)

    async def shake(self) -> None:
        request = self.protocol.connect()
        request.headers.update(self.headers)
        self.protocol.send_request(request)
        await self.flush()
        while True:
            self.protocol.receive_data(await self.stream.receive(BLOCK))
            for event in self.protocol.events_received():
                if isinstance(event, Response) and event.status_code != 101:
                    raise Refusal(event.status_code, event.headers.get("Retry-After", ""))
                if isinstance(event, Response) and self.protocol.handshake_exc is None:
                    for frame in self.protocol.events_received():
                        self.take(frame)
                    return
            if self.protocol.handshake_exc is not None:
                raise Broken(f"no WebSocket: {self.protocol.handshake_exc}")

    async def flush(self) -> None:
        async with self.writing:
            for data in self.protocol.data_to_send():
                if data:
                    await self.stream.send(data)
                else:
                    eof = getattr(self.stream, "send_eof", None)
                    if eof is not None and not self.uri.secure:
                        await eof()

    async def send(self, text: str) -> None:
        """Raises: Broken."""
        if self.protocol.state is not OPEN:
            raise self.failure or Broken("the connection is closed")
        self.protocol.send_text(text.encode())
        try:
            with anyio.fail_after(OPENING):
                await self.flush()
        except (OSError, TimeoutError, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise Broken(f"{type(error).__name__} {error}".strip()) from error

    async def receive(self) -> str:
        """The next message.  Raises: Broken once there is none."""
        while not self.messages:
            if self.failure is not None:
                raise self.failure
            await self.news.wait()
        self.room.set()
        return self.messages.popleft()

    # -- the task that reads -----------------------------------------------------------------------

    async def pump(self) -> None:
        with self.scope:
            try:
                await self.pumped()
            except (OSError, TimeoutError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError,
                    Broken) as error:
                said = self.protocol.close_rcvd
                told = f"{said.code} {said.reason}".strip() if said is not None else f"{type(error).__name__} {error}"
                self.failure = Broken(f"the connection is closed: {told.strip()}")
            except Exception as error:
                self.failure = Broken(f"a fault in the client: {error!r}")
        self.failure = self.failure or Broken("the connection is closed")
        self.news.set()
        self.over.set()

    async def pumped(self) -> None:
        while True:
            while len(self.messages) > self.most:
                self.room = anyio.Event()
                await self.room.wait()
            with anyio.fail_after(self.idle):
                data = await self.stream.receive(BLOCK)
            self.protocol.receive_data(data)
            for event in self.protocol.events_received():
                self.take(event)
            await self.flush()
            if self.protocol.close_expected():
                raise Broken("the server has closed the connection")

    def take(self, event: Any) -> None:
        if not isinstance(event, Frame) or event.opcode not in (Opcode.TEXT, Opcode.CONT):
            return
        self.parts.append(bytes(event.data))
        if not event.fin:
            return
        text, self.parts = b"".join(self.parts).decode("utf-8", "replace"), []
        answer = self.heard(text)
        if answer is not None:
            self.protocol.send_text(answer.encode())
        else:
            self.messages.append(text)
            self.news.set()
            self.news = anyio.Event()

    # -- the end -----------------------------------------------------------------------------------

    async def close(self, last: str | None = None) -> None:
        """Say ``last`` and goodbye if there is somebody to hear it, and leave nothing behind."""
        with anyio.CancelScope(shield=True):
            if self.protocol.state is OPEN and self.failure is None:
                with anyio.move_on_after(CLOSING):
                    try:
                        if last is not None:
                            await self.send(last)
                        self.protocol.send_close(1000)
                        await self.flush()
                    except (OSError, Broken, anyio.BrokenResourceError, anyio.ClosedResourceError):
                        pass
            self.scope.cancel()
            await self.over.wait()
            await anyio.aclose_forcefully(self.stream)


def background(work: Callable[[], Awaitable[None]]) -> None:
    """Run ``work`` as a task of the loop itself."""
    if loop_running() == "trio":
        sys.modules["trio"].lowlevel.spawn_system_task(work)
    else:
        task = asyncio.ensure_future(work())
        TASKS.add(task)    # the loop holds its tasks weakly
        task.add_done_callback(TASKS.discard)


TASKS: set[Any] = set()

__all__ = ["InvalidURI", "Refusal", "Wire", "parse_uri"]
