"""The first result of a user's function is looked at: a mistake there is told before it does harm.

A probe stands in for the function until then, so later calls cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kayrx.plan.plan import Step


def countable(value: Any, where: str) -> None:
    """Raise TypeError for a result of ``flat_map`` that no plain loop can read; an Observable's would not end."""
    if hasattr(value, "subscribe"):
        raise TypeError(f"{where} returned a {type(value).__name__}, which cannot be read in turn; "
                        "write kx.rx(reactivex.operators.flat_map(f))")
    if hasattr(value, "__aiter__") or hasattr(value, "__await__"):
        if hasattr(value, "close"):
            value.close()
        raise TypeError(f"{where} returned a {type(value).__name__}: the function looks synchronous; "
                        "write it as an async function or an async generator")


class Probe:
    """Stands in for a function until its first result has been seen, then takes itself away."""

    __slots__ = ("fn", "know", "step")

    def __init__(self, fn: Callable[..., Any], step: Step, know: Callable[..., None] = lambda f: None) -> None:
        self.fn, self.step, self.know = fn, step, know

    def __call__(self, *args: Any) -> Any:
        value = self.fn(*args)
        if self.step.node.word == "flat_map":
            countable(value, self.step.where)
        elif hasattr(value, "__await__"):
            if hasattr(value, "close"):
                value.close()
            raise TypeError(f"{self.step.where} returned an awaitable: the function looks synchronous; "
                            "say kx.map(f, is_async=True)")
        self.know(self.fn)
        return value
