"""``python -m tests.bench.readers``: the clients of the delivery workloads, in a process of their own.

Each line of its input is a task in JSON, a list of servers (port, path, clients); each line of its output a list of
what came of them.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any


class Reader(asyncio.Protocol):
    """Reads one stream to its end and notes how old each event is that begins with the time of its making."""

    def __init__(self, request: bytes, stamped: bool) -> None:
        self.request, self.stamped = request, stamped
        self.over = asyncio.get_running_loop().create_future()
        self.rest, self.events = b"", 0
        self.ages: list[float] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        now, data = time.monotonic(), self.rest + data
        cut = data.rfind(b"\n") + 1
        data, self.rest = data[:cut], data[cut:]
        self.events += data.count(b"data: [")
        if self.stamped:
            for part in data.split(b"data: [")[1:]:
                self.ages.append(now - float(part[:part.index(b",")]))
        if b"event: end" in data:
            self.transport.abort()
            self.finish()

    def connection_lost(self, error: Exception | None) -> None:
        self.finish()

    def finish(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


async def connected(port: int, path: str, clients: int, stamped: bool = True) -> list[Reader]:
    loop, request = asyncio.get_running_loop(), f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    return [(await loop.create_connection(lambda: Reader(request, stamped), "127.0.0.1", port))[1]
            for _ in range(clients)]


async def read(servers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    groups = [await connected(**server) for server in servers]
    await asyncio.gather(*(reader.over for readers in groups for reader in readers))
    return [{"events": sum(reader.events for reader in readers), "ages": [reader.ages for reader in readers]}
            for readers in groups]


def main() -> None:
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            print(json.dumps(runner.run(read(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
