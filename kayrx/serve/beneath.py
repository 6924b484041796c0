"""The server beneath an app that a graph is mounted on: it is told to exit, and waits for ever for who is silent.

It is somebody else's, so nothing of it is replaced; uvicorn lets itself be looked at.
"""

from __future__ import annotations

import signal
from typing import Any

import anyio

from kayrx.serve.hub import Hub

OPENING = 8.0    # seconds until a connection has sent the headers of its next request
LOOK = 1.0       # seconds between two looks
LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def beneath() -> Any:
    """The uvicorn server that runs the app, if it is this process's own; else None."""
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)    # its handler is a method of it
    return server if hasattr(server, "should_exit") else None


async def farewell(hub: Hub) -> None:
    """Drain when the server is told to exit: it waits for streams, and they for it."""
    server = beneath()
    while server is not None:
        if server.should_exit:
            await hub.drain()
            return
        await anyio.sleep(0.1)


async def show_out() -> None:
    """Close the connections of the server that say nothing, or say it slowly."""
    server = beneath()
    waiting: dict[Any, tuple[Any, float]] = {}    # after which request, and since when
    while hasattr(server, "server_state"):
        await anyio.sleep(LOOK)
        now, found = anyio.current_time(), dict[Any, tuple[Any, float]]()
        for protocol in list(server.server_state.connections):
            if not silent(protocol):
                continue
            last, since = waiting.get(protocol, (protocol, now))
            found[protocol] = protocol.cycle, since if last is protocol.cycle else now
            if now - found[protocol][1] >= OPENING and not protocol.transport.is_closing():
                protocol.transport.write(LATE)
                protocol.transport.close()
        waiting = found


def silent(protocol: Any) -> bool:
    """True for a connection of HTTP without a request that is answered: it waits for the next one's headers."""
    if not hasattr(protocol, "cycle") or not hasattr(protocol, "timeout_keep_alive"):
        return False
    return protocol.cycle is None or bool(protocol.cycle.response_complete)


__all__ = ["farewell", "show_out"]
