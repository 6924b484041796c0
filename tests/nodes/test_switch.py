"""Switch: switch_map gives up the result before, exhaust_map the items meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import anyio
import pytest
import reactivex

import kayrx as kx
from kayrx.testing import run_virtual

BOTH = [kx.switch_map, kx.exhaust_map]


async def three(x: str) -> AsyncIterator[str]:
    """``x1`` at once, ``x2`` and ``x3`` two seconds apart."""
    for n in (1, 2, 3):
        yield f"{x}{n}"
        if n < 3:
            await anyio.sleep(2)


def using(node: Any) -> Callable[[Any], Any]:
    return lambda source: source >> node


# -- what comes out, and when --------------------------------------------------------------------


def test_switch_map_gives_up_the_result_before(timeline: Any) -> None:
    """The newest item has the word; the last result runs to its end, after that of the source."""
    assert timeline(using(kx.switch_map(three)), "-a--b-------c|") == [
        (1, "a1"), (3, "a2"), (4, "b1"), (6, "b2"), (8, "b3"), (12, "c1"), (14, "c2"), (16, "c3"), (16, "|")]


def test_exhaust_map_drops_what_comes_meanwhile(timeline: Any) -> None:
    """The first result has the word until it has ended."""
    assert timeline(using(kx.exhaust_map(three)), "-a--b-c|") == [
        (1, "a1"), (3, "a2"), (5, "a3"), (6, "c1"), (8, "c2"), (10, "c3"), (10, "|")]


def test_what_was_given_by_then_goes_on(timeline: Any) -> None:
    """An item given at the very instant of the next is not lost."""
    assert timeline(using(kx.switch_map(three)), "-a-b|") == [
        (1, "a1"), (3, "a2"), (3, "b1"), (5, "b2"), (7, "b3"), (7, "|")]


@pytest.mark.parametrize("fn", [
    lambda x: [x, -x], lambda x: (y for y in (x, -x)), "function", "generator", "iterable"], ids=range(5))
@pytest.mark.parametrize("node", BOTH)
def test_a_result_that_never_waits_is_given_whole(node: Any, fn: Any, loop: str) -> None:
    """Lists, generators, async functions and async generators alike; so sync and async say the same."""
    async def function(x: int) -> list[int]:
        return [x, -x]

    async def generator(x: int) -> AsyncIterator[int]:
        yield x
        yield -x

    forms = {"function": function, "generator": generator, "iterable": lambda x: generator(x)}
    chosen = forms[fn] if isinstance(fn, str) else fn

    assert (kx.source([1, 2, 3]) >> node(chosen)).collect(backend=loop) == [1, -1, 2, -2, 3, -3]
    assert (kx.source([1, 2]) >> node(chosen) >> kx.take(3)).collect(backend=loop) == [1, -1, 2]


@pytest.mark.parametrize("node", BOTH)
@pytest.mark.parametrize(("items", "out"), [([], []), ([None], [None])])
def test_none_and_nothing(node: Any, items: Any, out: Any, loop: str) -> None:
    """None is an ordinary item; an empty source and empty results just end."""
    assert (kx.source(items) >> node(lambda x: [x])).collect(backend=loop) == out
    assert (kx.source(items) >> node(lambda x: [])).collect(backend=loop) == []


# -- opening and closing -------------------------------------------------------------------------


def logged(log: list[str], closing: float = 0) -> Callable[[str], AsyncIterator[str]]:
    async def inner(x: str) -> AsyncIterator[str]:
        log.append(f"open {x}")
        try:
            yield x
            await anyio.sleep(10)
            yield f"{x} late"
        finally:
            if closing:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(closing)
            log.append(f"close {x}")
    return inner


def test_the_superseded_is_closed_before_the_next_is_opened(timeline: Any) -> None:
    """Also where closing takes its time: two results are never open at once."""
    log: list[str] = []

    out = timeline(using(kx.switch_map(logged(log, closing=3))), "-a-b-------|")

    assert log == ["open a", "close a", "open b", "close b"]
    assert out == [(1, "a"), (6, "b"), (16, "b late"), (19, "|")]


@pytest.mark.parametrize("node", BOTH)
def test_a_result_is_closed_when_nothing_more_is_wanted(node: Any, timeline: Any) -> None:
    """``take`` below closes the open result and the source, at once."""
    log: list[str] = []

    assert timeline(lambda s: s >> node(logged(log)) >> kx.take(1), "-a-b-c") == [(1, "a"), (1, "|")]
    assert log == ["open a", "close a"] and timeline.closed == [1]


@pytest.mark.parametrize("node", BOTH)
def test_a_synchronous_result_is_closed_too(node: Any, loop: str, tracked: Any) -> None:
    """A generator that is left early is closed."""
    endless = tracked(count())
    held = endless()  # so that no garbage collection closes it

    assert (kx.source([1]) >> node(lambda _: held) >> kx.take(2)).collect(backend=loop) == [0, 1]
    assert endless.closed


@pytest.mark.parametrize("node", BOTH)
def test_scopes_held_open_between_items_stay_in_order(node: Any, loop: str) -> None:
    """A result runs from its first step to its last in one task (ruling 3)."""
    @asynccontextmanager
    async def held() -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            with anyio.fail_after(50):
                yield
            group.cancel_scope.cancel()

    async def scoped(x: int) -> AsyncIterator[int]:
        async with held():
            yield x
            await anyio.sleep(5)
            yield -x

    async def main() -> list[int]:
        return await (kx.interval(2) >> kx.take(4) >> node(scoped) >> kx.to_list())  # type: ignore[no-any-return]

    assert run_virtual(main, loop) == ([0, 1, 2, 3, -3] if node is kx.switch_map else [0, 0, 3, -3])


def test_it_reads_no_further_than_what_has_been_sent_on(loop: str) -> None:
    """A slow reader holds the result: at most the gate below and one item are ahead."""
    made: list[int] = []

    async def slow(x: int) -> None:
        await anyio.sleep(60)

    async def many(x: int) -> AsyncIterator[int]:
        for n in range(100):
            made.append(n)
            yield n

    async def main() -> None:
        async with (kx.source([0]) >> kx.switch_map(many) >> kx.each(slow)).start() as run:
            await anyio.sleep(30)
            assert len(made) <= 16 + 2
            await run.cancel()

    run_virtual(main, loop)


# -- failing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("node", BOTH)
@pytest.mark.parametrize("how", ["call", "first", "later", "sync"])
def test_an_error_of_a_result_fails_the_run(node: Any, how: str, loop: str) -> None:
    """The very object comes out, with a note that names the node, its line and the item."""
    bad = ValueError(how)

    async def failing(x: int) -> AsyncIterator[int]:
        if how == "later":
            yield x
            await anyio.sleep(1)
        raise bad
        yield

    def broken(x: int) -> Any:
        if how == "call":
            raise bad
        return (1 // 0 for _ in [x]) if how == "sync" else failing(x)

    async def main() -> Any:
        await (kx.interval(3) >> node(lambda x: broken(x) if x == 2 else [x]).named("inner") >> kx.each(str))

    with pytest.raises((ValueError, ZeroDivisionError)) as caught:
        run_virtual(main, loop)
    assert how == "sync" or caught.value is bad
    (note,) = caught.value.__notes__
    assert "'inner' (" in note and "test_switch.py" in note and "item 2" in note


def test_an_error_while_closing_fails_the_run(loop: str) -> None:
    """A superseded result that raises as it is closed is not swallowed."""
    async def grudging(x: int) -> AsyncIterator[int]:
        try:
            yield x
            await anyio.sleep(10)
        finally:
            raise LookupError("grudge")

    with pytest.raises(LookupError, match="grudge"):
        run_virtual(lambda: _await(kx.interval(1) >> kx.switch_map(grudging) >> kx.to_list()), loop)


async def _await(graph: Any) -> Any:
    return await graph


@pytest.mark.parametrize("node", BOTH)
def test_an_error_below_closes_the_result(node: Any, loop: str) -> None:
    """A step after it that raises fails the run with its own error, and the result is closed."""
    log: list[str] = []

    with pytest.raises(ValueError):
        run_virtual(lambda: _await(kx.source("a") >> node(logged(log)) >> kx.map(int)), loop)

    assert log == ["open a", "close a"]


@pytest.mark.parametrize("node", BOTH)
def test_wrong_results_and_arguments(node: Any, loop: str) -> None:
    """An Observable cannot be read in turn; what is no function is a GraphError."""
    with pytest.raises(TypeError, match=r"cannot be read in turn; write kx\.rx"):
        (kx.source([1]) >> node(lambda x: reactivex.of(x))).run(backend=loop)
    with pytest.raises(TypeError, match=r"returned a Graph, which .*; return graph\.collect\(\), or .*stream"):
        (kx.source([1]) >> node(lambda x: kx.source([x]))).run(backend=loop)
    with pytest.raises(kx.GraphError, match="must be a function"):
        node(3)
    with pytest.raises(kx.CompileError, match="cannot guard"):
        (kx.source([1]) >> node(list) >> kx.retry(2)).compile()


def test_explain_says_what_is_open() -> None:
    """One lane and one open result."""
    text = (kx.source([1]) >> kx.switch_map(three)).explain()

    assert "gate 1 (16 items, block) into three" in text and "three: 1 open iterator" in text
