"""Placement: where a function runs.  Data only; `kayrx.runtime.place` starts the workers.

A placement is one small protocol, so that an engine outside this process can be one too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from kayrx.door import floor
from kayrx.nodes.values import span, whole

Call = Callable[[Sequence[Any]], Awaitable[Sequence[Any]]]


@runtime_checkable
class Placement(Protocol):
    """``start(fn)`` opens workers and gives ``async call(batch) -> results``, closed on leaving.

    ``workers`` run at once; ``in_flight`` items at most are out, ``batch`` to a call, and a batch
    that is not full waits ``linger`` seconds for more.
    """

    @property
    def workers(self) -> int: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def linger(self) -> float: ...
    def start(self, fn: Callable[[Any], Any]) -> AbstractAsyncContextManager[Call]: ...


@dataclass(frozen=True, slots=True)
class Threads:
    """Worker threads of this process; what `threads` makes."""

    workers: int
    in_flight: int
    batch: int = 1
    linger: float = 0.0

    def __post_init__(self) -> None:
        whole("threads", "workers", self.workers, 1)
        whole("threads", "in_flight", self.in_flight, 1)
        whole("threads", "batch", self.batch, 1)
        span("threads", "linger", self.linger)

    def start(self, fn: Callable[[Any], Any]) -> AbstractAsyncContextManager[Call]:
        return floor("place").threads(self, fn)  # type: ignore[no-any-return]


def threads(workers: int, *, in_flight: int | None = None) -> Threads:
    """Run a blocking function on ``workers`` threads: ``map(f, on=kx.threads(4))``.

    contextvars travel along.  ``in_flight`` (default: ``workers``) bounds the items under way.

    >>> threads(4)
    Threads(workers=4, in_flight=4, batch=1, linger=0.0)
    """
    return Threads(workers, workers if in_flight is None else in_flight)


__all__ = ["Placement", "Threads", "threads"]
