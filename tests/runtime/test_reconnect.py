"""Reconnection over a real socket: ``source(connect, cursor=) >> retry(...)`` opens again behind the last item.

The server says ``n`` a line from the one it is asked for, then ``end``; each connection is dropped in its own way.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import anyio
import pytest

import kayrx as kx

ITEMS = 60
RESET = struct.pack("ii", 1, 0)  # linger for no time: the peer gets a reset


class Server:
    """Does ``drops`` to its connections in turn; what comes after them is served whole."""

    def __init__(self, drops: list[str]) -> None:
        self.drops, self.asked, self.refused = [*drops], [], 0  # type: ignore[var-annotated]
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.held: list[socket.socket] = []
        self.listening = False

    def dialled(self) -> None:
        """A client is about to connect: it is refused, for nobody listens, or from now on served."""
        if self.drops[:1] == ["refused"] and not self.listening:
            self.drops.pop(0)
            self.refused += 1
        elif not self.listening:
            self.listening = True
            self.listener.listen()
            threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                peer, _ = self.listener.accept()
                drop = self.drops.pop(0) if self.drops else "none"
                self.held.append(peer)
                self.answer(peer, drop)

    def answer(self, peer: socket.socket, drop: str) -> None:
        after = int(peer.makefile("r").readline())
        self.asked.append(after)
        last = ITEMS if drop == "none" else min(ITEMS, after + 8)
        peer.sendall("".join(f"{n}\n" for n in range(after + 1, last)).encode())
        match drop:
            case "none":
                peer.sendall(b"end\n")
                peer.close()
            case "reset":
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                peer.close()
            case "cut":
                peer.sendall(f"{last}"[:1].encode())  # half an item, and the end of the connection
                peer.close()
            case "closed":
                peer.close()
            # "silent": the socket stays open, and nothing comes any more

    def close(self) -> None:
        for one in (self.listener, *self.held):
            one.close()


@pytest.fixture
def serving() -> Iterator[Callable[[list[str]], Server]]:
    servers: list[Server] = []

    def made(drops: list[str]) -> Server:
        servers.append(Server(drops))
        return servers[-1]
    yield made
    for server in servers:
        server.close()


class Client:
    """What a user writes: connect, ask for what is behind the cursor, and fail where there was no ``end``."""

    def __init__(self, server: Server) -> None:
        self.server, self.open = server, 0

    async def connect(self, cursor: int | None) -> AsyncIterator[int]:
        self.server.dialled()
        async with await anyio.connect_tcp("127.0.0.1", self.server.port) as stream:
            self.open += 1
            try:
                await stream.send(f"{-1 if cursor is None else cursor}\n".encode())
                text = b""
                while True:
                    *lines, text = (text + await stream.receive()).split(b"\n")
                    for line in lines:
                        if line == b"end":
                            return
                        yield int(line)
            finally:
                self.open -= 1


WENT_DOWN = (OSError, anyio.EndOfStream, anyio.BrokenResourceError, kx.CallTimeout)


def reconnecting(client: Client, attempts: int) -> Any:
    return kx.source(client.connect, cursor=kx.it) >> kx.timeout(idle=0.25) >> kx.retry(
        attempts, backoff=kx.constant(0.001), on=WENT_DOWN)


DROPS: dict[str, list[str]] = {
    "refused": ["refused", "refused"], "reset": ["reset", "reset"], "half-open": ["silent"],
    "idle": ["closed", "closed"], "cut in mid item": ["cut", "cut", "cut"],
    "one after another": ["refused", "cut", "silent", "reset", "closed", "cut"],
}


@pytest.mark.parametrize("drops", DROPS)
def test_nothing_is_lost_or_doubled_over_a_dropped_connection(
        drops: str, loop: str, serving: Callable[[list[str]], Server]) -> None:
    """Each connection is asked for what is behind the last item that came; and none is left open."""
    server = serving(DROPS[drops])
    client = Client(server)

    out = reconnecting(client, len(DROPS[drops]) + 1).collect(backend=loop)

    assert out == [*range(ITEMS)] and client.open == 0
    served = len([drop for drop in DROPS[drops] if drop != "refused"]) + 1
    assert len(server.asked) == served and server.asked == sorted(server.asked)
    # a reset may eat what was sent before it
    assert "reset" in DROPS[drops] or server.asked == [7 * n - 1 for n in range(served)]
    assert server.refused == DROPS[drops].count("refused")


def test_the_last_attempt_tells_what_went_wrong(loop: str, serving: Callable[[list[str]], Server]) -> None:
    """The system's own error, after as many attempts as were allowed."""
    server = serving(["refused"] * 9)
    with pytest.raises(OSError, match=r"(?i)refused|attempts|connection"):
        reconnecting(Client(server), 3).collect(backend=loop)
    assert server.refused == 3


def test_a_resumed_run_reconnects_behind_its_checkpoint(loop: str, serving: Callable[[list[str]], Server]) -> None:
    """The cursor that was saved is the one that is asked for, and state counts each item once."""
    server = serving(["cut", "reset", "cut", "closed", "reset", "cut"])
    graph = (kx.source(Client(server).connect, cursor=kx.it) >> kx.checkpoint(kx.memory_checkpoints(), every=5)
             >> kx.scan(lambda s, x: s + x, 0) >> kx.last())

    results = []
    while not results and len(server.asked) < 9:
        with suppress(*WENT_DOWN):
            results = graph.collect(backend=loop, resume=True)

    assert results == [sum(range(ITEMS))] and len(server.asked) == 7
    assert server.asked == sorted(server.asked) and {after % 5 for after in server.asked} == {4}
