"""A real server in a thread of its own, so that clients on any loop can be held against it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel

from kayrx.serve import Hub
from kayrx.serve.server import serve


@contextmanager
def live(app: Any, hub: Hub) -> Iterator[int]:
    """The port of ``app``; leaving stops the server and waits for it."""
    ready, found = threading.Event(), list[Any]()

    async def main() -> None:
        async with anyio.create_task_group() as group:
            port = await group.start(lambda **status: serve(app, hub, signals=False, **status))
            found.extend([port, anyio.lowlevel.current_token(), group.cancel_scope])
            ready.set()

    thread = threading.Thread(target=anyio.run, args=(main,), daemon=True)
    thread.start()
    assert ready.wait(10)
    port, token, scope = found
    try:
        yield port
    finally:
        anyio.from_thread.run_sync(scope.cancel, token=token)
        thread.join(10)
        assert not thread.is_alive()
