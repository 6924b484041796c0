"""``queue_source``: a source fed by hand, from threads and from tasks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest

import kayrx as kx

Virtual = Callable[[Any], Any]


async def second(x: Any) -> Any:
    await anyio.sleep(1)
    return x


def in_thread(fn: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=fn)
    thread.start()
    return thread


@pytest.mark.parametrize("node", [kx.map(kx.it), kx.map(second)])
def test_threads_may_put_and_close(node: Any) -> None:
    """Puts of a thread arrive in order while the run reads, however small the queue."""
    queue = kx.queue_source(2)

    def fill() -> None:
        for x in range(5 if node.nodes[0].waits else 500):
            queue.put(x)
        queue.close()

    thread = in_thread(fill)
    out = (queue >> node).collect() if not node.nodes[0].waits else (queue >> kx.map(passed)).collect()
    thread.join()

    assert out == list(range(len(out))) and len(out) in (5, 500)


async def passed(x: Any) -> Any:
    return x


def test_puts_of_several_threads_are_serialised() -> None:
    """Nothing is lost or doubled, and each thread's own order is kept."""
    queue = kx.queue_source(4)
    threads = [in_thread(lambda n=n: [queue.put((n, k)) for k in range(200)]) for n in range(4)]  # type: ignore[misc]
    closer = in_thread(lambda: [*(t.join() for t in threads), queue.close()])

    out = (queue >> kx.map(passed)).collect()
    closer.join()

    assert sorted(out) == [(n, k) for n in range(4) for k in range(200)]
    assert all([k for m, k in out if m == n] == list(range(200)) for n in range(4))


def test_send_waits_for_room_without_blocking_the_loop(virtual: Virtual) -> None:
    """A task that sends more than the queue and the gate hold goes on as the run empties them."""
    queue = kx.queue_source(2)
    sent: list[float] = []

    async def main() -> Any:
        start = anyio.current_time()
        async with (queue >> kx.map(second) >> kx.to_list()).start() as run:
            for x in range(22):
                await queue.send(x)
                sent.append(anyio.current_time() - start)
            queue.close()
        return run.result

    assert virtual(main) == list(range(22))
    assert sent == [0] * 17 + [1, 2, 3, 4, 5]  # a queue keeps the slot of an item until the next one is read


def test_put_on_the_thread_of_the_loop_says_to_use_send(virtual: Virtual) -> None:
    """A put that would block the very loop that empties the queue is a RunError with the remedy."""
    queue = kx.queue_source(1)

    async def main() -> None:
        async with (queue >> kx.map(second) >> kx.to_list()).start() as run:
            await anyio.sleep(0.1)
            queue.put(1)
            with pytest.raises(kx.RunError, match=r"await source\.send\(item\)"):
                queue.put(2)
            queue.close()
        assert run.result == [1]

    virtual(main)


def test_close_lets_out_what_is_in_the_queue_and_refuses_more(virtual: Virtual) -> None:
    """The end comes after the items before it; a put or send after it is a RunError."""
    queue = kx.queue_source(4)
    queue.put(1)
    queue.put(2)
    queue.close()
    queue.close()  # idempotent

    async def main() -> Any:
        with pytest.raises(kx.RunError, match="closed"):
            await queue.send(3)
        return await (queue >> kx.map(second) >> kx.to_list())

    with pytest.raises(kx.RunError, match="closed"):
        queue.put(3)
    assert virtual(main) == [1, 2]


def test_close_wakes_a_sender_that_waits(virtual: Virtual) -> None:
    """A task that waits for room when the queue is closed gets the RunError, and does not hang."""
    queue = kx.queue_source(1)

    async def main() -> None:
        queue.put(1)

        async def wait() -> None:
            with pytest.raises(kx.RunError, match="closed"):
                await queue.send(2)

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            queue.close()

    virtual(main)


def test_fail_ends_the_stream_with_the_error_after_its_items(virtual: Virtual) -> None:
    """What was put before is delivered; then the very object is raised."""
    queue, bad, seen = kx.queue_source(4), ValueError("bad"), []
    queue.put(1)
    queue.fail(bad)

    with pytest.raises(ValueError) as caught:
        virtual(queue >> kx.sink(seen))
    assert caught.value is bad and seen == [1]


def test_it_serves_one_run_at_a_time(virtual: Virtual) -> None:
    """A second run beside the first is a RunError; one after it goes on with what is left (ruling 21)."""
    queue = kx.queue_source(4)

    async def main() -> list[Any]:
        out = []
        for x in range(3):
            queue.put(x)
        async with (queue >> kx.take(2) >> kx.to_list()).start() as first:
            pass
        out.append(first.result)
        async with (queue >> kx.map(second) >> kx.to_list()).start() as run:
            await anyio.sleep(0.1)
            with pytest.raises(kx.RunError, match="one run at a time"):
                await (queue >> kx.to_list())
            queue.close()
        return [*out, run.result]

    assert virtual(main) == [[0, 1], [2]]


def test_awaited_it_never_blocks_the_loop(virtual: Virtual) -> None:
    """Also where no node of the graph waits, the run waits for items on the loop."""
    queue = kx.queue_source(1)

    async def main() -> Any:
        async with (queue >> kx.to_list()).start() as run:
            for x in range(3):
                await anyio.sleep(1)
                await queue.send(x)
            queue.close()
        return run.result

    assert virtual(main) == [0, 1, 2]


@pytest.mark.parametrize(("overflow", "out", "dropped"), [
    ("drop_oldest", [3, 4], 3), ("drop_newest", [0, 1], 3), ("latest", [4], 4), (kx.conflate(max), [0, 4], 0)])
def test_a_full_queue_does_what_its_policy_says(overflow: Any, out: list[int], dropped: int) -> None:
    """Drops are counted exactly."""
    queue = kx.queue_source(2, overflow)
    for x in range(5):
        queue.put(x)
    queue.close()

    assert queue.collect() == out and queue.dropped == dropped


def test_a_full_queue_with_error_raises_at_the_put() -> None:
    """``overflow="error"`` tells whoever puts, and the run goes on with what is there."""
    queue = kx.queue_source(1, "error")
    queue.put(1)
    with pytest.raises(kx.GateOverflow, match=r"full \(1 items\)"):
        queue.put(2)
    queue.close()

    assert queue.collect() == [1]


def test_stop_and_cancel_end_a_run_that_waits_for_items(virtual: Virtual) -> None:
    """A queue that nobody fills holds up neither; another run may read it afterwards."""
    queue = kx.queue_source(2)

    async def main() -> Any:
        for end in ("stop", "cancel"):
            async with (queue >> kx.map(second) >> kx.to_list()).start() as run:
                await anyio.sleep(5)
                await getattr(run, end)()
            assert run.state == ("done" if end == "stop" else "cancelled")
        queue.put(1)
        queue.close()
        return await (queue >> kx.to_list())

    assert virtual(main) == [1]


def test_a_queue_serves_the_next_run_once_a_run_without_a_loop_has_left_it() -> None:
    """One run at a time (ruling 21): leaving frees the queue, which keeps what has not been read."""
    queue = kx.queue_source(4)
    for item in (1, 2, 3):
        queue.put(item)
    queue.close()
    assert (queue >> kx.take(1)).collect() == [1]
    assert queue.collect() == [2, 3]
