"""inline: a lambda's source stands in for its call, only where it provably means the same."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st

import kayrx as kx
from kayrx.plan.inline import source_of, watched

LIMIT = 10
FREE: list[Callable[[Any], Any]] = [
    lambda x: x + 1, lambda x: x * 2 + 1, lambda x: (x, -x), lambda x: [x, x], lambda x: {"a": x}["a"],
    lambda x: x if x > 2 else -x, lambda x: 1 < x < 5, lambda x: not x, lambda x: x and 3, lambda x: f"{x}!",
    lambda x: x ** 2 - x // 3, lambda x: None, lambda x: "text" * x, lambda x: -x, lambda x: x.real,
    lambda x: (x + 1) * (x - 1), lambda x: x == 3 or x == 5, lambda x: [x, [x, x]][1][0], lambda x: x % 7 & 3,
]


@given(st.integers(-20, 20))
def test_inlined_lambdas_equal_their_calls(item: int) -> None:
    """For each kind of expression the answer is that of the call, inlined or not."""
    for fn in FREE:
        graph = kx.source([item]) >> kx.map(fn)
        assert graph.collect(inline=True) == graph.collect(inline=False) == [fn(item)]


def test_free_lambdas_are_inlined() -> None:
    """The source is found and written over the item's variable."""
    assert source_of(lambda x: x * 2 + 1, ["item"]) == "(item * 2 + 1)"
    assert source_of(lambda total, x: total + x, ["s", "y"]) == "(s + y)"
    assert sum(source_of(fn, ["x"]) is not None for fn in FREE) >= 15


def test_two_lambdas_on_one_line_are_told_apart() -> None:
    """Only the lambda with the very bytecode is taken."""
    first, second = (lambda x: x + 1), (lambda x: x + 2)

    assert source_of(first, ["x"]) == "(x + 1)" and source_of(second, ["x"]) == "(x + 2)"


def refused() -> dict[str, Callable[..., Any]]:
    outer = 3

    def named(x: int) -> int:
        return x + 1

    return {
        "closure": lambda x: x + outer, "default": lambda x, y=1: x + y, "global": lambda x: x + LIMIT,
        "builtin name": lambda x: len(x), "nested lambda": lambda x: (lambda y: y)(x),
        "comprehension": lambda x: [y for y in x], "walrus": lambda x: (y := x) + y, "star": lambda *x: x,
        "keyword only": lambda *, x: x, "def": named, "builtin": len, "partial": functools.partial(named),
        "method": "abc".find, "generator": lambda x: (yield x), "compiled": eval("lambda x: x + 1"),
    }


@pytest.mark.parametrize("kind", list(refused()))
def test_what_could_mean_something_else_is_called(kind: str) -> None:
    """Closures, defaults, globals, free names, nested scopes and unknown sources are refused."""
    assert source_of(refused()[kind], ["x"]) is None


def test_a_global_that_changes_is_seen() -> None:
    """A refused lambda is called, so it sees the present value of what it refers to."""
    held = [1]
    graph = kx.source([1]) >> kx.map(lambda x: x + held[0])
    assert graph.collect(inline=True) == [2]

    held[0] = 5
    assert graph.collect(inline=True) == [6]


def test_nothing_is_inlined_under_a_tracer() -> None:
    """A debugger, profiler or coverage tool must see every call."""
    before = sys.gettrace()
    sys.settrace(lambda *_: None)
    try:
        assert watched() and source_of(lambda x: x + 1, ["x"]) is None
    finally:
        sys.settrace(before)


def test_an_inlined_failure_names_its_node() -> None:
    """The line of the generated function still says whose it is."""
    with pytest.raises(ZeroDivisionError) as caught:
        (kx.source([1, 0]) >> kx.map(lambda x: 1 / x).named("inverse")).run(inline=True)

    assert "in node 'inverse' (map) at test_inline.py" in caught.value.__notes__[0]


def test_an_inlined_state_keeps_its_precedence() -> None:
    """The body is bracketed, so that it stands wherever a call could."""
    graph = kx.source([1, 2, 3]) >> kx.scan(lambda s, x: s or x, 0) >> kx.filter(lambda x: x or None)

    assert graph.collect(inline=True) == graph.collect() == [1, 1, 1]
