"""A call on a thread that outlives ``stop(deadline)``: law 8's one exception, and it is told (ruling 11)."""

from __future__ import annotations

import threading

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

import kayrx as kx

pytestmark = pytest.mark.anyio


async def test_a_call_that_outlives_the_deadline_is_given_up_and_reported() -> None:
    """``stop`` returns at its deadline, the run is cancelled, and an AbandonedCall names the calls left behind."""
    started, release = threading.Event(), threading.Event()

    def blocking(x: int) -> int:
        started.set()
        release.wait(10)
        return x

    async with (kx.source([1, 2]) >> kx.map(blocking, on=kx.threads(1)) >> kx.to_list()).start() as run:
        await anyio.to_thread.run_sync(started.wait)
        await run.stop(deadline=0.01)
        assert run.state == "cancelled"
    (told,) = [event for event in run.events() if event["event"] == "abandoned"]
    assert isinstance(told["error"], kx.AbandonedCall) and "1 call" in str(told["error"])
    release.set()
    (left,) = [t for t in threading.enumerate() if t.name.startswith("kayrx worker")]
    left.join()  # it ends by itself once its call has returned


async def test_without_a_deadline_the_run_waits_for_it() -> None:
    """A call that was timed out keeps its thread; the run ends when it has returned."""
    release = threading.Event()

    def blocking(x: int) -> int:
        release.wait(10)
        return x

    graph = kx.source([1]) >> kx.map(blocking, on=kx.threads(1)) >> kx.timeout(0.01) >> kx.skip_errors()
    async with (graph >> kx.to_list()).start() as run:
        while not run.events():  # the timeout has been told of: the call is given up, and still under way
            await anyio.lowlevel.checkpoint()
        assert not run.done
        release.set()
    assert run.result == []
    assert not [t for t in threading.enumerate() if t.name.startswith("kayrx worker")]
