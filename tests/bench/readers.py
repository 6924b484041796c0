"""``python -m tests.bench.readers``: the clients of the delivery workloads, in a process of their own.

Each line of its input is a task in JSON (port, path, clients, stalled); each line of its output what came of it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any


class Reader(asyncio.Protocol):
    """Reads one stream to its end and notes how old each stamped event is."""

    def __init__(self, request: bytes, stalls: bool, stamped: bool) -> None:
        self.request, self.stalls, self.stamped = request, stalls, stamped
        self.over = asyncio.get_running_loop().create_future()
        self.rest, self.events = b"", 0
        self.ages: list[float] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        if self.stalls:
            self.transport.pause_reading()
            return
        now, data = time.monotonic(), self.rest + data
        if self.stamped:
            *lines, self.rest = data.split(b"\n")
            for line in lines:
                if line.startswith(b"data: ["):
                    self.events += 1
                    self.ages.append(now - json.loads(line[6:])[0])
        else:
            cut = data.rfind(b"\n") + 1
            self.events += data.count(b"data: [", 0, cut)
            self.rest = data[cut:]
            lines = [data[:cut]]
        if any(b"event: end" in line for line in lines):
            self.transport.abort()
            self.finish()

    def connection_lost(self, error: Exception | None) -> None:
        self.finish()

    def finish(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


async def read(port: int, path: str, clients: int, stalled: int, stamped: bool) -> dict[str, Any]:
    loop, request = asyncio.get_running_loop(), f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    readers = []
    for number in range(clients + stalled):
        _, reader = await loop.create_connection(
            lambda number=number: Reader(request, number >= clients, stamped), "127.0.0.1", port)  # type: ignore[misc]
        readers.append(reader)
    await asyncio.gather(*(reader.over for reader in readers[:clients]))
    for reader in readers[clients:]:
        reader.transport.abort()
    ages = sorted(age for reader in readers for age in reader.ages)
    return {"events": sum(reader.events for reader in readers[:clients]),
            "p99": ages[len(ages) * 99 // 100] if ages else 0.0, "median": ages[len(ages) // 2] if ages else 0.0}


def main() -> None:
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            print(json.dumps(runner.run(read(**json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
