"""The first result of a user's function is looked at: a mistake there is told before it does harm.

A probe stands in for the function until then, so later calls cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from kayrx.graph.graph import Graph
from kayrx.plan.plan import Step


def readable(value: Any, where: str, remedy: str) -> None:
    """Raise TypeError for what no loop can read: an Observable, or a graph, which nobody would run."""
    if hasattr(value, "subscribe"):
        if isinstance(value, Graph):
            remedy = "return graph.collect(), or make the function an async generator over graph.stream()"
        raise TypeError(f"{where} returned a {type(value).__name__}, which cannot be read in turn; {remedy}")


def countable(value: Any, where: str, word: str = "flat_map") -> None:
    """Raise TypeError for a result of ``flat_map`` that no loop can read; an Observable's would not end."""
    readable(value, where, f"write kx.rx(reactivex.operators.{word}(f))")
    if hasattr(value, "__aiter__") or hasattr(value, "__await__"):
        if hasattr(value, "close"):
            value.close()
        raise TypeError(f"{where} returned a {type(value).__name__}: the function looks synchronous; "
                        "write it as an async function or an async generator")


def paired(value: Any, where: str) -> None:
    """Raise TypeError for a result of ``stateful_map`` that is no pair."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        if hasattr(value, "close"):
            value.close()
        raise TypeError(f"{where} returned a {type(value).__name__}; it must give (state, output)"
                        + (", and an async function must be written as one" if hasattr(value, "__await__") else ""))


def plain(value: Any, where: str) -> None:
    """Raise TypeError for an awaitable."""
    if hasattr(value, "__await__"):
        if hasattr(value, "close"):
            value.close()
        raise TypeError(f"{where} returned an awaitable: the function looks synchronous; "
                        "say kx.map(f, is_async=True)")


LOOKS: dict[str, Callable[[Any, str], None]] = {
    "flat_map": countable, "expand": partial(countable, word="expand"), "stateful_map": paired,
}


class Probe:
    """Stands in for a function until its first result has been seen, then takes itself away."""

    __slots__ = ("fn", "know", "step")

    def __init__(self, fn: Callable[..., Any], step: Step, know: Callable[..., None] = lambda f: None) -> None:
        self.fn, self.step, self.know = fn, step, know

    def __call__(self, *args: Any) -> Any:
        value = self.fn(*args)
        LOOKS.get(self.step.node.word, plain)(value, self.step.where)
        self.know(self.fn)
        return value
