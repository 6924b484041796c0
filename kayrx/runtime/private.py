"""A private event loop for `run`: in this thread, or in one of its own beside a running loop (ruling 12)."""

from __future__ import annotations

import contextvars
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import anyio

from kayrx.errors import RunError
from kayrx.runtime.backend import current, loop_running
from kayrx.runtime.world import THE_WORLD


def on_private_loop(main: Callable[[], Coroutine[Any, Any, Any]], backend: str) -> Any:
    """Run ``main`` on a loop of its own: in this thread, or in one that is joined if a loop runs here."""
    if loop_running() is None:
        return anyio.run(main, backend=backend)
    outcome: list[Any] = []
    context = contextvars.copy_context()
    stop: list[Callable[[], None]] = []
    interrupted, over = False, threading.Event()

    async def cancellable() -> Any:
        inner = current(THE_WORLD)
        with anyio.CancelScope() as scope:
            stop.append(lambda: inner.from_thread(scope.cancel))
            if interrupted:
                scope.cancel()
            return await main()

    def begin() -> Any:
        sniffio = sys.modules.get("sniffio")
        if sniffio is not None:  # the copied context says that the caller's loop runs here
            sniffio.current_async_library_cvar.set(None)
        return anyio.run(cancellable, backend=backend)

    def work() -> None:
        try:
            outcome.append((True, context.run(begin)))
        except BaseException as error:
            outcome.append((False, error))
        finally:
            over.set()

    thread = threading.Thread(target=work, name="kayrx run")
    thread.start()
    try:
        with raising_ctrl_c():
            over.wait()  # not join(): interrupted, that would take the thread for dead
    except BaseException:  # Ctrl-C while we wait: cancel the run, and leave nothing behind
        interrupted = True
        for cancel in stop:
            cancel()
        over.wait()
        raise
    finally:
        thread.join()
    fine, value = outcome[0]
    if fine:
        return value
    if isinstance(value, RuntimeError) and "different" in str(value) and "loop" in str(value):
        raise RunError("an object of this graph belongs to the loop that is running here; "
                       "write `await graph` instead of graph.run()") from value
    raise value


@contextmanager
def raising_ctrl_c() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt here, though asyncio has told it to cancel a task that is blocked."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)
