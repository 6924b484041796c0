"""A TCP proxy that does what networks do: delays, throttles, swallows, resets, and cuts after a given byte."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import anyio


@dataclass(frozen=True)
class Fault:
    """What becomes of one connection: ``kind`` happens once ``after`` bytes of the server have passed.

    cut      both sides are closed            reset  both sides are reset
    silent   nothing passes any more, and nobody is told (half open, or a lost packet that never comes again)
    refused  closed before anything passes    none   nothing
    ``delay``: seconds that each chunk waits; ``size``: bytes that pass at once
    """

    kind: str = "none"
    after: int = 0
    delay: float = 0.0
    size: int = 65_536


class Proxy:
    """One fault for each connection in turn, then none; ``seen`` counts them, ``open`` are those now."""

    def __init__(self, port: int, faults: list[Fault]) -> None:
        self.target, self.faults, self.seen, self.open = port, list(faults), 0, 0
        self.port = 0

    async def relay(self, near: Any) -> None:
        fault = self.faults.pop(0) if self.faults else Fault()
        self.seen += 1
        self.open += 1
        try:
            async with near:
                if fault.kind == "refused":
                    return
                async with await anyio.connect_tcp("127.0.0.1", self.target) as far, anyio.create_task_group() as group:
                    group.start_soon(self.pour, near, far, Fault(), group.cancel_scope)
                    await self.pour(far, near, fault, group.cancel_scope)
                    if fault.kind == "reset":
                        for side in (near, far):
                            raw = side.extra(anyio.abc.SocketAttribute.raw_socket)
                            with contextlib.suppress(OSError):    # closed meanwhile
                                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    group.cancel_scope.cancel()
        except OSError:
            pass
        finally:
            self.open -= 1

    async def pour(self, source: Any, sink: Any, fault: Fault, both: anyio.CancelScope) -> None:
        left = fault.after if fault.kind != "none" else 1 << 60
        with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while left > 0:
                chunk = (await source.receive(fault.size))[:left]
                left -= len(chunk)
                if fault.delay:
                    await anyio.sleep(fault.delay)
                await sink.send(chunk)
            if fault.kind == "silent":
                await anyio.sleep_forever()
            return
        both.cancel()


@contextlib.asynccontextmanager
async def proxied(port: int, faults: list[Fault]) -> AsyncIterator[Proxy]:
    """A proxy before ``port``; its own port is ``proxy.port``."""
    proxy = Proxy(port, faults)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    proxy.port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, proxy.relay)
        yield proxy
        group.cancel_scope.cancel()
