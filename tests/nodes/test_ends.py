"""Ends: source, lines, to_list, each, sink, queue_source (interval and timer are in test_time)."""

from __future__ import annotations

import io
import queue
from pathlib import Path
from typing import Any

import pytest
import reactivex

import kayrx as kx


async def numbers() -> Any:
    yield 1
    yield 2


async def listed() -> list[int]:
    return [1, 2]


async def streamed() -> Any:
    return numbers()


@pytest.mark.parametrize("what", [
    [1, 2], (1, 2), range(1, 3), {1: "a", 2: "b"}, lambda: [1, 2], lambda: iter((1, 2)), iter([1, 2]),
    (x for x in (1, 2)),
    reactivex.of(1, 2),
], ids=["list", "tuple", "range", "dict", "callable", "callable iterator", "iterator", "generator", "observable"])
def test_what_can_be_a_source(what: Any) -> None:
    """Any iterable, a callable that gives one, and an Observable give their items in order."""
    assert kx.source(what).collect() == [1, 2]


@pytest.mark.parametrize("what", [numbers, numbers(), listed, streamed, lambda: numbers()],
                         ids=["async function", "async iterator", "coroutine of list", "coroutine of stream", "lambda"])
def test_what_can_be_an_async_source(what: Any) -> None:
    """An async iterable, or a function that gives or awaits one, gives its items in order."""
    if getattr(what, "__name__", "") == "<lambda>":
        with pytest.raises(kx.RunError, match="gave a async_generator"):
            kx.source(what).collect()
        return
    assert kx.source(what).collect() == [1, 2]


def test_strings_are_sources_of_characters() -> None:
    """Said with ``source(...)``, a str gives its characters and a dict its keys."""
    assert kx.source("ab").collect() == ["a", "b"] and kx.source({"k": 1}).collect() == ["k"]


@pytest.mark.parametrize("what", [5, None, object()], ids=["int", "None", "object"])
def test_what_gives_no_items_is_refused_when_written(what: Any) -> None:
    """A GraphError lists what a source can be."""
    with pytest.raises(kx.GraphError, match="gives no items; x is an iterable"):
        kx.source(what)


def test_a_list_serves_any_number_of_runs_and_a_callable_is_called_for_each() -> None:
    """What can be read again is read again."""
    calls: list[int] = []

    def opened() -> list[int]:
        calls.append(1)
        return [1]

    lists, callables = kx.source([1]), kx.source(opened)
    assert lists.collect() == lists.collect() == callables.collect() == callables.collect() == [1]
    assert len(calls) == 2


@pytest.mark.parametrize("make", [lambda: iter([1]), lambda: (x for x in [1]), numbers],
                         ids=["iterator", "generator", "async"])
def test_a_second_run_of_a_one_shot_source_is_an_error(make: Any) -> None:
    """Never an empty stream: a RunError names the node and the remedy (ruling 21)."""
    graph = kx.source(make()).named("once")
    graph.run()

    with pytest.raises(kx.RunError, match=r"'once' \(source\).*read once.*give a list, or a callable"):
        graph.run()


def test_a_source_is_read_as_it_is_wanted(tracked: Any) -> None:
    """Nothing is read before the run, nor ahead of demand."""
    source = tracked(range(10))
    graph = kx.source(source) >> kx.tap(lambda x: seen.append((x, source.pulled)))
    seen: list[tuple[int, int]] = []
    assert source.pulled == 0

    graph.run()

    assert seen == [(x, x + 1) for x in range(10)]


def test_a_failing_source_fails_the_run_and_is_closed(backend: str, tracked: Any) -> None:
    """What the iterable raises is raised, after its ``finally``, with a note that names the source."""
    def items() -> Any:
        yield 1
        raise LookupError

    source = tracked(items())
    with pytest.raises(LookupError) as caught:
        (kx.source(source).named("feed") >> kx.map(str)).run(backend=backend)

    assert source.closed and "'feed' (source) at test_ends.py" in caught.value.__notes__[0]


def test_a_callable_that_gives_no_items_fails_by_name() -> None:
    """The RunError names the node and what the callable gave."""
    with pytest.raises(kx.RunError, match=r"'<lambda>' \(source\)|'source' \(source\).*gave a int"):
        kx.source(lambda: 5).run()


def test_a_cursor_needs_a_callable() -> None:
    """Only what can be opened again can be opened at a cursor."""
    with pytest.raises(kx.GraphError, match="only a callable"):
        kx.source([1], cursor=lambda x: x)  # type: ignore[call-overload]


def test_a_cursor_is_what_the_source_is_opened_with_again() -> None:
    """``connect(cursor)`` gets None first, then the key of the last item accepted (ruling 28)."""
    opened: list[Any] = []

    def connect(cursor: int | None) -> Any:
        opened.append(cursor)
        yield from range(0 if cursor is None else cursor + 1, 3 if len(opened) == 1 else 5)
        if len(opened) == 1:
            raise ConnectionError

    assert (kx.source(connect, cursor=kx.it) >> kx.retry(2)).collect() == [0, 1, 2, 3, 4]
    assert opened == [None, 2]


@pytest.mark.parametrize("text", ["", "a\n", "a\nb", "a\r\nb\r\n", "\n\nä\n"], ids=repr)
def test_lines_come_without_their_ends(text: str, tmp_path: Path, backend: str) -> None:
    """The lines of a UTF-8 file, in order; an empty file completes at once."""
    path = tmp_path / "file"
    path.write_bytes(text.encode())

    assert kx.lines(path, chunk=1).collect(backend=backend) == text.splitlines()


def test_lines_of_no_file_fail_when_run(tmp_path: Path, backend: str) -> None:
    """FileNotFoundError is raised by the run, not by writing the graph."""
    graph = kx.lines(tmp_path / "none")

    with pytest.raises(FileNotFoundError):
        graph.run(backend=backend)


def test_each_calls_and_gives_none(backend: str) -> None:
    """``each(fn)`` calls once an item, in order; its result is None."""
    seen: list[Any] = []

    assert (kx.source([1, None]) >> kx.each(seen.append)).run(backend=backend) is None
    assert seen == [1, None]


def test_sinks_may_be_async(loop: str) -> None:
    """``each`` and ``sink`` await an async function, one item after another."""
    seen: list[int] = []

    async def put(x: int) -> None:
        seen.append(x)

    (kx.source([1, 2]) >> kx.each(put)).run(backend=loop)
    (kx.source([3]) >> kx.sink(put)).run(backend=loop)
    assert seen == [1, 2, 3]


def test_a_sink_gives_its_target_back(backend: str) -> None:
    """A list, a queue or an open file is filled and is the result; a function's result is None."""
    held: list[int] = []
    line, file = queue.Queue[int](), io.StringIO()

    assert (kx.source([1, 2]) >> kx.sink(held)).run(backend=backend) is held and held == [1, 2]
    assert (kx.source([1, 2]) >> kx.sink(line)).run(backend=backend) is line and line.qsize() == 2
    assert (kx.source(["a", "b"]) >> kx.sink(file)).run(backend=backend) is file and file.getvalue() == "ab"
    assert (kx.source([1]) >> kx.sink(held.append)).run(backend=backend) is None and held == [1, 2, 1]


def test_several_sinks_give_a_tuple_in_written_order(backend: str) -> None:
    """No sink: None; one: its result; several: a tuple (ruling 30)."""
    two = kx.source([1, 2]) >> kx.broadcast(kx.to_list(), kx.map(str) >> kx.to_list())

    assert two.run(backend=backend) == ([1, 2], ["1", "2"])
    assert kx.source([1]).run(backend=backend) is None


@pytest.mark.parametrize("write", [
    lambda: kx.sink(5), lambda: kx.each(5), lambda: kx.lines("x", chunk=0), lambda: kx.queue_source(0),
    lambda: kx.queue_source(2, overflow="lose"),
], ids=range(5))
def test_wrong_arguments_fail_where_they_are_written(write: Any) -> None:
    """A wrong argument is a GraphError of the line that writes it."""
    with pytest.raises(kx.GraphError):
        write()


def test_a_queue_source_gives_what_was_put_until_it_was_closed() -> None:
    """Items come in the order they were put; `close` lets what is there come out, `fail` too, then fails."""
    fed = kx.queue_source(4)
    fed.put(1)
    fed.put(None)
    fed.close()
    assert (fed >> kx.to_list()).run() == [1, None]

    failing, seen = kx.queue_source(4), list[int]()
    failing.put(1)
    failing.fail(LookupError())
    with pytest.raises(LookupError):
        (failing >> kx.each(seen.append)).run()
    assert seen == [1]


def test_a_full_queue_source_drops_and_counts() -> None:
    """With a policy that drops, ``put`` never waits and ``dropped`` tells how many went."""
    fed = kx.queue_source(2, overflow="drop_oldest")
    for n in range(5):
        fed.put(n)
    fed.close()

    assert fed.collect() == [3, 4] and fed.dropped == 3
    with pytest.raises(kx.RunError):
        fed.put(9)


def test_a_graph_is_not_what_a_source_reads() -> None:
    """A graph can be called, so it was taken for a function that gives items; the line that writes it is told."""
    with pytest.raises(kx.GraphError, match="a graph is no items"):
        kx.source(kx.source([1]))  # type: ignore[call-overload]
