"""The first result of a user's function is looked at: a mistake there is told before it does harm.

A probe stands in for the function until then, so later calls cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from kayrx.errors import Misused, RunError
from kayrx.graph.graph import Graph
from kayrx.nodes.ends import Source
from kayrx.nodes.values import must_be_given
from kayrx.plan.plan import Step


def readable(value: Any, where: str, remedy: str) -> None:
    """Raise Misused for what no loop can read: an Observable, or a graph, which nobody would run."""
    if hasattr(value, "subscribe"):
        if isinstance(value, Graph):
            remedy = "return graph.collect(), or make the function an async generator over graph.stream()"
        raise Misused(f"{where} returned a {type(value).__name__}, which cannot be read in turn; {remedy}")


def countable(value: Any, where: str, word: str = "flat_map") -> None:
    """Raise Misused for a result of ``flat_map`` that no loop can read; an Observable's would not end."""
    readable(value, where, f"write kx.rx(reactivex.operators.{word}(f))")
    if hasattr(value, "__aiter__") or hasattr(value, "__await__"):
        if hasattr(value, "close"):
            value.close()
        raise Misused(f"{where} returned a {type(value).__name__}: the function looks synchronous; "
                      "write it as an async function or an async generator")


def paired(value: Any, where: str) -> None:
    """Raise Misused for a result of ``stateful_map`` that is no pair."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        if hasattr(value, "close"):
            value.close()
        raise Misused(f"{where} returned a {type(value).__name__}; it must give (state, output)"
                      + (", and an async function must be written as one" if hasattr(value, "__await__") else ""))


def plain(value: Any, where: str) -> None:
    """Raise Misused for an awaitable."""
    if hasattr(value, "__await__") and (hasattr(value, "nodes") or hasattr(value, "subscribe")):  # of a run, not a call
        raise Misused(f"{where} returned a {type(value).__name__}, which stands for many items; "
                      + ("use kx.flat_map with graph.collect()" if hasattr(value, "nodes") else
                         "write kx.rx(reactivex.operators.flat_map(f))"))
    must_be_given(where, value, "write it as `async def`" + (
        ", or say kx.map(f, is_async=True)" if "(map)" in where else ""))


def cursor_of(node: Source, item: Any) -> Any:
    """Where to open the source again behind ``item``."""
    assert node.cursor is not None
    cursor = node.cursor(item)
    must_be_given(f"{node.where}: cursor=", cursor, "write it as a synchronous function")
    return cursor


def not_iterable(where: str, what: Any) -> RunError:
    """What to raise for a source that was opened and cannot be read."""
    remedy = ""
    if hasattr(what, "__aiter__") or hasattr(what, "__await__"):
        remedy = ("; whether a source waits is read off its function: open it in an `async def`, which may return an "
                  "async iterable, or give the async generator function itself")
        if hasattr(what, "__await__") and hasattr(what, "close"):
            what.close()
    return RunError(f"{where}: the callable gave a {type(what).__name__}, which is not iterable{remedy}")


LOOKS: dict[str, Callable[[Any, str], None]] = {
    "flat_map": countable, "expand": partial(countable, word="expand"), "stateful_map": paired,
}


class Probe:
    """Stands in for a function until its first result has been seen, then takes itself away."""

    __slots__ = ("fn", "know", "look", "step")

    def __init__(self, fn: Callable[..., Any], step: Step, know: Callable[..., None] = lambda f: None) -> None:
        self.fn, self.step, self.know = fn, step, know
        self.look = LOOKS.get(step.node.word, plain) if fn is getattr(step.node, "fn", None) else plain

    def __call__(self, *args: Any) -> Any:
        value = self.fn(*args)
        self.look(value, self.step.where)
        self.know(self.fn)
        return value
