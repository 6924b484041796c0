"""Places: functions and sources on worker threads."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.testing import left_behind

Virtual = Callable[[Any], Any]


class Meeting:
    """A blocking function whose calls wait for each other: ``n`` at once, no more."""

    def __init__(self, n: int) -> None:
        self.barrier = threading.Barrier(n, timeout=10)
        self.lock = threading.Lock()
        self.now = self.most = 0
        self.threads: set[str] = set()

    def __call__(self, x: Any) -> Any:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.threads.add(threading.current_thread().name)
        self.barrier.wait()
        with self.lock:
            self.now -= 1
        return x


@pytest.mark.parametrize("workers", [1, 4])
def test_threads_bounds_the_calls_at_once(workers: int, virtual: Virtual) -> None:
    """``threads(n)`` runs n calls beside each other, in n threads of its own, and keeps the order."""
    meeting = Meeting(workers)

    with left_behind() as left:
        out = virtual(kx.source(range(20)) >> kx.map(meeting, on=kx.threads(workers)) >> kx.to_list())

    assert out == list(range(20)) and meeting.most == workers
    assert meeting.threads == {f"kayrx worker {n}" for n in range(1, workers + 1)} and not left


def test_in_flight_bounds_what_is_read_ahead(virtual: Virtual, watched: Any) -> None:
    """No more than ``in_flight`` items are out with the workers (default: as many as there are)."""
    source, go = watched(range(20)), threading.Event()

    def block(x: int) -> int:
        go.wait(10)
        return x

    async def main() -> None:
        graph = kx.source(source.source) >> kx.map(block, on=kx.threads(2, in_flight=5)) >> kx.to_list()
        async with graph.start() as run:
            await anyio.wait_all_tasks_blocked()
            assert source.read == 5
            go.set()
        assert run.result == list(range(20))

    virtual(main)


def test_contextvars_travel_to_the_workers(virtual: Virtual) -> None:
    """A function on a thread sees the caller's context variables."""
    name = contextvars.ContextVar("name", default="nobody")

    async def main() -> Any:
        name.set("caller")
        return await (kx.source([1]) >> kx.map(lambda _: name.get(), on=kx.threads(1)) >> kx.to_list())

    assert virtual(main) == ["caller"]


def test_an_error_on_a_thread_is_the_very_object_with_its_item(virtual: Virtual, noted: Any) -> None:
    """What is raised in a worker comes out of the run, noted; StopIteration too, as Python's RuntimeError."""
    bad = ValueError("bad")

    def fail(x: int) -> int:
        if x == 3:
            raise bad
        return x

    with pytest.raises(ValueError) as caught:
        virtual(kx.source(range(9)) >> kx.map(fail, on=kx.threads(2)).named("work"))
    assert caught.value is bad
    (note,) = noted(bad)
    assert "'work' (map)" in note and note.endswith("item 3")

    with pytest.raises(RuntimeError, match="StopIteration"):
        virtual(kx.source(range(9)) >> kx.map(lambda x: next(iter(())), on=kx.threads(2)))


def test_guards_stand_around_a_call_on_a_thread(virtual: Virtual) -> None:
    """retry calls it again in a thread; a timeout gives it up and discards its result (ruling 11)."""
    go, calls = threading.Event(), []

    def stuck(x: int) -> int:
        calls.append(x)
        if x == 0:
            go.wait(10)
        if calls.count(x) == 1 and x == 1:
            raise KeyError
        return x

    def late(x: int) -> str:
        go.set()
        return f"late {x}"

    graph = kx.source(range(3)) >> kx.map(stuck, on=kx.threads(1)) >> kx.timeout(0.05) >> kx.retry(2, on=KeyError)
    graph = graph >> kx.fallback(late)

    assert (graph >> kx.to_list()).run() == ["late 0", 1, 2] and calls == [0, 1, 1, 2]


def test_a_cancel_waits_for_the_call_without_blocking_the_loop(loop: str) -> None:
    """The run ends when the call under way returns; meanwhile other tasks go on."""
    began, go, ticks = threading.Event(), threading.Event(), []

    def block(x: int) -> int:
        began.set()
        go.wait(10)
        return x

    async def main() -> None:
        async with (kx.source([1]) >> kx.map(block, on=kx.threads(1))).start() as run:
            while not began.is_set():
                await anyio.sleep(0.001)
            async with anyio.create_task_group() as group:
                group.start_soon(run.cancel)
                for _ in range(5):
                    await anyio.sleep(0.001)
                    ticks.append(run.done)
                go.set()
        assert run.state == "cancelled"

    with left_behind() as left:
        anyio.run(main, backend=loop)
    assert ticks == [False] * 5 and not left


# -- sources -------------------------------------------------------------------------------------


def test_a_blocking_source_is_read_and_closed_in_its_thread(virtual: Virtual) -> None:
    """``source(it, on=threads(1))`` opens, reads and closes the iterable in one worker thread."""
    seen: set[int] = set()

    def blocking() -> Iterator[int]:
        seen.add(threading.get_ident())
        try:
            yield from range(50)
        finally:
            seen.add(threading.get_ident())

    assert virtual(kx.source(blocking, on=kx.threads(1)) >> kx.to_list()) == list(range(50))
    assert virtual(kx.source(blocking, on=kx.threads(1)) >> kx.take(3) >> kx.to_list()) == [0, 1, 2]
    assert threading.get_ident() not in seen


def test_a_blocking_source_is_closed_once_its_read_has_returned() -> None:
    """A cancel in the middle of a read waits for it, then the generator's ``finally`` runs."""
    reading, go, closed = threading.Event(), threading.Event(), []

    def blocking() -> Iterator[int]:
        try:
            reading.set()
            go.wait(10)
            yield 1
        finally:
            closed.append(1)

    async def main() -> None:
        async with (kx.source(blocking, on=kx.threads(1)) >> kx.to_list()).start() as run:
            while not reading.is_set():
                await anyio.sleep(0.001)
            async with anyio.create_task_group() as group:
                group.start_soon(run.cancel)
                await anyio.sleep(0.001)
                go.set()
        assert run.state == "cancelled" and closed == [1]

    with left_behind() as left:
        anyio.run(main)
    assert not left


def test_an_iterator_in_a_thread_is_read_once(virtual: Virtual) -> None:
    """A second run of a one-shot iterator is a RunError there too (ruling 21)."""
    graph = kx.source(iter([1, 2]), on=kx.threads(1)) >> kx.to_list()

    assert virtual(graph) == [1, 2]
    with pytest.raises(kx.RunError, match="read once"):
        virtual(graph)


def test_lines_gives_the_lines_of_a_file(backend: str, tmp_path: Path) -> None:
    """In file order and without line ends; in place without a loop, in a thread on one."""
    path = tmp_path / "some.txt"
    path.write_bytes("eins\r\nzwei\n\nvier ü".encode())

    with left_behind() as left:
        assert kx.lines(path, chunk=2).collect(backend=backend) == ["eins", "zwei", "", "vier ü"]
        assert (kx.lines(path) >> kx.take(1)).collect(backend=backend) == ["eins"]
    assert not left


def test_lines_of_no_file_or_no_text_fails_when_run(backend: str, tmp_path: Path) -> None:
    """Writing the graph opens nothing; running it raises what opening or decoding raises."""
    graph = kx.lines(tmp_path / "none.txt")
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"fine\n\xff\xff\n")

    with pytest.raises(FileNotFoundError):
        graph.run(backend=backend)
    with left_behind() as left, pytest.raises(UnicodeDecodeError):
        kx.lines(bad).run(backend=backend)
    assert not left
