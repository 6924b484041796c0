"""Windows: buffer and sliding give lists of neighbouring items."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from hypothesis import given, strategies as st

import kayrx as kx
from kayrx.graph.graph import Graph
from kayrx.testing import run_virtual


@pytest.mark.parametrize(("graph", "items", "out"), [
    (kx.buffer(count=2), "abc", [["a", "b"], ["c"]]), (kx.buffer(count=3), "abc", [["a", "b", "c"]]),
    (kx.buffer(count=9), "abc", [["a", "b", "c"]]), (kx.buffer(count=1), [None], [[None]]),
    (kx.buffer(count=2), [], []),
    (kx.sliding(2), "abc", [["a", "b"], ["b", "c"]]), (kx.sliding(3, step=2), range(5), [[0, 1, 2], [2, 3, 4]]),
    (kx.sliding(2, step=3), range(7), [[0, 1], [3, 4], [6]]), (kx.sliding(5), [1, 2], [[1, 2]]),
    (kx.sliding(2), [], []),
    (kx.sliding(2), [1], [[1]]), (kx.sliding(3, 2), range(4), [[0, 1, 2], [2, 3]]),
    (kx.sliding(2, 1), [None, None], [[None, None]]),
])
def test_what_comes_out(graph: Graph[Any, Any], items: Any, out: Any, backend: str) -> None:
    """Lists in order, the last one perhaps shorter, and none that is empty."""
    assert (kx.source(items) >> graph).collect(backend=backend) == out


@given(st.lists(st.integers()), st.integers(1, 5), st.integers(1, 5))
def test_every_item_that_a_step_reaches_is_in_a_list(items: list[int], n: int, step: int) -> None:
    """Sliding loses only what a step larger than the list jumps over, and repeats only n - step items."""
    lists = kx.sliding(n, step).nodes and (kx.source(items) >> kx.sliding(n, step)).collect()

    assert all(window == items[i * step:i * step + n] for i, window in enumerate(lists))
    reached = {i * step + j for i in range(len(lists)) for j in range(n)}
    assert all(i in reached or i % step >= n for i in range(len(items)))
    assert all(window for window in lists)


def test_lists_belong_to_whoever_got_them() -> None:
    """A list that has been given is never changed afterwards, nor shared with the next."""
    one, two = (kx.source([1, 2, 3]) >> kx.sliding(2)).collect()
    one.append(9)

    assert two == [2, 3]
    assert (kx.source([1, 2]) >> kx.buffer(count=1)).collect() == [[1], [2]]


SCRIPT = ((0.0, "a"), (0.4, "b"), (1.1, "c"), (5.0, "d"), (5.1, "e"), (5.2, "f"))


def timed(graph: Graph[Any, Any], loop: str) -> list[tuple[float, Any]]:
    """What comes out of ``graph`` over the script, and when; the source ends at 6.0."""
    async def main() -> list[tuple[float, Any]]:
        start = anyio.current_time()

        async def script() -> Any:
            for at, item in SCRIPT:
                await anyio.sleep(start + at - anyio.current_time())
                yield item
            await anyio.sleep(start + 6.0 - anyio.current_time())

        out: list[tuple[float, Any]] = []
        await (kx.source(script) >> graph
               >> kx.each(lambda x: out.append((round(anyio.current_time() - start, 6), x))))
        return out

    return run_virtual(main, loop)


def test_seconds_run_from_the_first_item_of_a_list(loop: str) -> None:
    """A list is given ``seconds`` after its first item; silence gives no empty list."""
    assert timed(kx.buffer(seconds=1.0), loop) == [
        (1.0, ["a", "b"]), (2.1, ["c"]), (6.0, ["d", "e", "f"])]


def test_count_and_seconds_whichever_is_first(loop: str) -> None:
    """A full list goes at once, a list that fills slowly at its time, the rest at completion."""
    assert timed(kx.buffer(count=2, seconds=0.8), loop) == [
        (0.4, ["a", "b"]), (1.9, ["c"]), (5.1, ["d", "e"]), (6.0, ["f"])]


@pytest.mark.parametrize("write", [
    lambda: kx.buffer(), lambda: kx.buffer(0), lambda: kx.buffer(count=1.5), lambda: kx.buffer(seconds=0),
    lambda: kx.buffer(seconds=-1), lambda: kx.buffer(seconds=float("nan")), lambda: kx.buffer(seconds="1"),
    lambda: kx.sliding(0), lambda: kx.sliding(2, 0), lambda: kx.sliding(2, step=1.0),
], ids=range(10))
def test_wrong_arguments_fail_where_they_are_written(write: Any) -> None:
    """A wrong argument is a GraphError of the line that writes it."""
    with pytest.raises(kx.GraphError, match=r"^(buffer|sliding)\("):
        write()


def test_buffer_without_count_is_said_to_be_unbounded() -> None:
    """`check` warns of seconds alone, naming the remedy."""
    (warning,) = (kx.source([1]) >> kx.buffer(seconds=1)).check()

    assert "(unbounded); add count=" in warning and "test_windows.py" in warning
