"""`Run`: the handle of a started graph - stop, cancel, pause, detach, state, result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

import kayrx as kx

Virtual = Callable[[Any], Any]


async def second(x: Any) -> Any:
    await anyio.sleep(1)
    return x


def ticks() -> Any:
    return kx.interval(1) >> kx.map(second) >> kx.to_list()


# -- beginning and ending ------------------------------------------------------------------------


def test_start_does_nothing_before_async_with(virtual: Virtual, watched: Any) -> None:
    """A handle that is never entered has opened nothing (ruling 14)."""
    source = watched()

    async def main() -> None:
        run = (kx.source(source.source) >> kx.map(second)).start()
        await anyio.sleep(5)
        assert run.state == "created" and not run.done
        with pytest.raises(kx.RunError, match="async with"):
            run.pause()

    virtual(main)

    assert source.opened == 0


def test_leaving_normally_waits_for_the_end(virtual: Virtual) -> None:
    """After ``async with`` the run is done and its result is there."""
    async def main() -> None:
        async with (kx.source(range(3)) >> kx.map(second) >> kx.to_list()).start() as run:
            assert run.state == "running"
            with pytest.raises(kx.RunError, match="has not ended"):
                run.result  # noqa: B018
        assert run.done and run.state == "done" and run.result == await run.wait() == [0, 1, 2]

    virtual(main)


def test_leaving_raises_the_error_of_the_run(virtual: Virtual) -> None:
    """The run's own failure, the very object, comes out of ``async with``, of ``wait`` and of ``result``."""
    bad = ValueError("bad")

    async def fail(x: int) -> int:
        await anyio.sleep(1)
        raise bad

    async def main() -> None:
        with pytest.raises(ValueError) as caught:
            async with (kx.source(range(3)) >> kx.map(fail)).start() as run:
                with pytest.raises(ValueError) as waited:
                    await run.wait()
        assert caught.value is bad and waited.value is bad
        assert run.state == "failed"
        with pytest.raises(ValueError):
            run.result  # noqa: B018

    virtual(main)


@pytest.mark.parametrize("pause", [0, 2.5])
def test_an_exception_in_the_body_cancels_waits_and_wins(pause: float, virtual: Virtual, watched: Any) -> None:
    """The body's exception comes out, also at once after the start, and nothing of the run is left."""
    source = watched()

    async def main() -> None:
        with pytest.raises(KeyError):
            async with (kx.source(source.slowly(1)) >> kx.map(second)).start() as run:
                if pause:
                    await anyio.sleep(pause)
                raise KeyError("body")
        assert run.state == "cancelled"

    virtual(main)

    assert source.open == 0


def test_a_run_is_started_once(virtual: Virtual) -> None:
    """A second ``async with`` on the same handle is a RunError."""
    async def main() -> None:
        async with (kx.source([1])).start() as run:
            pass
        with pytest.raises(kx.RunError, match="fresh one"):
            async with run:
                pass

    virtual(main)


# -- stop ----------------------------------------------------------------------------------------


def test_stop_finishes_what_is_under_way_and_flushes_buffers(virtual: Virtual) -> None:
    """The sources complete; items in gates, calls under way and lists half full come out."""
    async def main() -> Any:
        graph = kx.interval(1) >> kx.map(second) >> kx.buffer(count=100) >> kx.map(second) >> kx.to_list()
        async with graph.start() as run:
            await anyio.sleep(5.5)
            await run.stop()
            await run.stop()  # idempotent
        assert run.state == "done"
        return run.result

    assert virtual(main) == [[0, 1, 2, 3, 4]]


def test_stop_lets_a_backoff_finish(virtual: Virtual) -> None:
    """An item that waits for its next attempt is under way, and gets it."""
    tries: list[int] = []

    async def flaky(x: int) -> int:
        tries.append(x)
        if len(tries) == 1:
            raise OSError("first")
        return x

    async def main() -> Any:
        graph = kx.interval(1) >> kx.map(flaky) >> kx.retry(2, backoff=kx.constant(100)) >> kx.to_list()
        async with graph.start() as run:
            await anyio.sleep(1.5)
            await run.stop()
        return run.result

    assert virtual(main) == [0] and tries == [0, 0]


def test_stop_loses_nothing_that_a_crew_has_in_its_gate(virtual: Virtual) -> None:
    """What waits in front of several calls at once has been read, so it is finished."""
    async def main() -> Any:
        graph = kx.source(range(100)) >> kx.map(second) >> kx.map(slow, concurrency=2) >> kx.to_list()
        async with graph.start() as run:
            await anyio.sleep(5.5)
            await run.stop()
        return run.result

    async def slow(x: int) -> int:
        await anyio.sleep(5)
        return x

    assert virtual(main) == [0, 1, 2, 3, 4, 5]


def test_stop_at_once_opens_no_source(virtual: Virtual, watched: Any) -> None:
    """A run that is stopped before it began completes empty, and at once."""
    source = watched()

    async def main() -> Any:
        start = anyio.current_time()
        for graph in (kx.interval(9), kx.source(source.source) >> kx.map(second, concurrency=4)):
            async with (graph >> kx.to_list()).start() as run:
                await run.stop()
            assert run.result == [] and run.state == "done"
        assert anyio.current_time() == start

    virtual(main)

    assert source.opened == 0


def test_stop_cancels_at_the_deadline(virtual: Virtual) -> None:
    """What is still under way after ``deadline`` seconds is cancelled."""
    async def forever(x: int) -> None:
        await anyio.sleep(float("inf"))

    async def main() -> None:
        async with (kx.source(range(3)) >> kx.each(forever)).start() as run:
            await anyio.sleep(1)
            start = anyio.current_time()
            await run.stop(deadline=5)
            assert anyio.current_time() - start == 5
        assert run.state == "cancelled"

    virtual(main)


def test_stop_goes_on_from_a_pause(virtual: Virtual) -> None:
    """A paused run that is stopped ends."""
    async def main() -> None:
        async with ticks().start() as run:
            await anyio.sleep(3.5)
            run.pause()
            await anyio.sleep(100)
            await run.stop()
        assert run.result[:3] == [0, 1, 2]

    virtual(main)


# -- cancel, pause, detach -----------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 0.5, 1, 3.5])
def test_cancel_waits_until_nothing_is_left_and_raises_nothing(after: float, virtual: Virtual,
                                                              watched: Any) -> None:
    """After ``cancel`` the source is closed, whenever it came; a second one changes nothing."""
    source = watched()

    async def main() -> None:
        async with (kx.source(source.slowly(1)) >> kx.map(second) >> kx.to_list()).start() as run:
            if after:
                await anyio.sleep(after)
            await run.cancel()
            assert run.done and source.open == 0
            await run.cancel()
        assert run.state == "cancelled" and run.result is None

    virtual(main)


def test_cancel_after_the_end_changes_nothing(virtual: Virtual) -> None:
    """A run that is done stays done, with its result."""
    async def main() -> None:
        async with (kx.source([1]) >> kx.to_list()).start() as run:
            await run.wait()
            await run.cancel()
        assert run.state == "done" and run.result == [1]

    virtual(main)


def test_pause_reads_no_further_item_until_resume(virtual: Virtual, watched: Any) -> None:
    """Items under way go on in a pause; of the source one more at most is read."""
    source = watched()

    async def main() -> Any:
        graph = kx.source(source.slowly(1)) >> kx.take(10) >> kx.map(second) >> kx.to_list()
        async with graph.start() as run:
            await anyio.sleep(3.5)
            run.pause()
            assert run.state == "paused"
            await anyio.sleep(50)
            read = source.read
            assert read <= 4
            await anyio.sleep(50)
            assert source.read == read
            run.resume()
            assert run.state == "running"
        return run.result

    assert virtual(main) == list(range(10))


def test_a_run_paused_before_it_began_opens_no_source(virtual: Virtual, watched: Any) -> None:
    """``pause`` right after the start holds the source shut until ``resume``."""
    source = watched(range(3))

    async def main() -> Any:
        async with (kx.source(source.source) >> kx.map(second, concurrency=2) >> kx.to_list()).start() as run:
            run.pause()
            await anyio.sleep(10)
            assert source.opened == 0
            run.resume()
        return run.result

    assert virtual(main) == [0, 1, 2]


def test_detach_needs_a_host(virtual: Virtual) -> None:
    """Without a task group that outlives the block, ``detach`` is a RunError that asks for one."""
    async def main() -> None:
        with pytest.raises(kx.RunError, match="host=task_group"):
            async with ticks().start() as run:
                run.detach()

    virtual(main)


def test_a_detached_run_goes_on_in_its_host(virtual: Virtual) -> None:
    """It ends after the block it was started in, and with its host at the latest."""
    async def main() -> None:
        async with anyio.create_task_group() as host:
            async with (kx.source(range(5)) >> kx.map(second) >> kx.to_list()).start(host=host) as short:
                short.detach()
            async with ticks().start(host=host) as endless:
                endless.detach()
            assert not short.done and not endless.done
            await anyio.sleep(10)
            assert short.result == [0, 1, 2, 3, 4]
            host.cancel_scope.cancel()
        assert endless.done and endless.state == "cancelled"

    virtual(main)
