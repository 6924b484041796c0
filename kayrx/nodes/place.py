"""Placement: where a function runs.  Data only; `kayrx.runtime.places.threads` and `processes` start the workers.

A placement is one small protocol, so that an engine outside this process can be one too.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

from kayrx.door import floor
from kayrx.errors import GraphError
from kayrx.graph.node import Resource
from kayrx.nodes.values import is_async, span, whole

Call = Callable[[Sequence[Any]], Awaitable[Sequence[Any]]]


@dataclass(frozen=True, slots=True)
class Failed:
    """In the results of a batch: the item at this place failed, and it alone.

    >>> Failed(ValueError("bad"))
    Failed(error=ValueError('bad'))
    """

    error: BaseException


@runtime_checkable
class Placement(Protocol):
    """``start(fn)`` opens workers and gives ``async call(batch) -> results``, closed on leaving.

    ``workers`` batches are out at once; ``in_flight`` items at most are under way, ``batch`` to a call,
    and a batch that is not full waits ``linger`` seconds for more.  A result may be a `Failed`; what
    the call itself raises is the failure of every item in the batch.
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


def bounds(word: str, place: Placement) -> None:
    """Raise GraphError unless the numbers of a placement make sense."""
    whole(word, "workers", place.workers, 1)
    whole(word, "batch", place.batch, 1)
    whole(word, "in_flight", place.in_flight, place.batch)
    span(word, "linger", place.linger)


@dataclass(frozen=True, slots=True)
class Threads:
    """Worker threads of this process; what `threads` makes."""

    workers: int
    in_flight: int
    batch: int = 1
    linger: float = 0.0

    def __post_init__(self) -> None:
        bounds("threads", self)

    def start(self, fn: Callable[[Any], Any]) -> AbstractAsyncContextManager[Call]:
        return floor("place").threads(self, fn)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Processes:
    """Worker processes; what `processes` makes."""

    workers: int
    in_flight: int
    batch: int = 1
    linger: float = 0.0

    def __post_init__(self) -> None:
        bounds("processes", self)
        if os.name != "posix":
            raise GraphError("processes(): worker processes need a POSIX system; use kx.threads(n)")

    def start(self, fn: Callable[[Any], Any]) -> AbstractAsyncContextManager[Call]:
        return floor("processes").Pool(self, fn)  # type: ignore[no-any-return]


def threads(workers: int, *, in_flight: int | None = None) -> Threads:
    """Run a blocking function on ``workers`` threads: ``map(f, on=kx.threads(4))``.

    In:      contextvars travel along.  A `resource` among the arguments of a `functools.partial` is opened
             once per thread.
    Out:     a value for ``on=``.  Order: kept, if the node does not say ``ordered=False``.
    Memory:  ``in_flight`` items under way (default: ``workers``), results that wait for order included.
    Raises:  GraphError, here, unless both are whole numbers >= 1, and by the node for an async function.
             What the function raises is the failure of its item.
    Source:  concurrent.futures, anyio.to_thread.

    >>> threads(4)
    Threads(workers=4, in_flight=4, batch=1, linger=0.0)
    """
    return Threads(workers, workers if in_flight is None else in_flight)


def processes(workers: int, *, batch: int = 1, linger: float = 0.0, in_flight: int | None = None) -> Processes:
    """Run a function in ``workers`` processes: ``map(f, on=kx.processes(4, batch=64))``.

    In:      items go ``batch`` to a call; one that is not full waits ``linger`` seconds for more.  A
             call costs some 20 us where a core is free and 0.5 ms where none is, so for a short function
             the batch decides everything (two workers on two cores, an empty function: 39 us an item
             at ``batch=1``, 8 at 8, 6 at 64).
    Out:     a value for ``on=``.  Order: kept, if the node does not say ``ordered=False``.
    Memory:  ``in_flight`` items (default: two batches a worker), results that wait for order included.
    Start:   a worker starts when first needed (some 40 ms and its imports) as a new interpreter: a fork
             would copy locks that threads hold.  So function, items and results must pickle, and a script
             whose own functions are used needs ``if __name__ == "__main__"``.
    Context: a context variable travels if it is a module's variable, its value pickles, and the worker
             has imported that module; any other is at its default there.  A `resource` among the
             arguments of a `functools.partial` is opened once per worker and closed with it.
    End:     no worker outlives the run.  A call that is cancelled or timed out is killed with its
             process, and with the processes that it started; so is `timeout` possible (``batch=1``).
    Raises:  GraphError, when written, for a function that does not pickle (a lambda) or waits.  An
             exception keeps its type and notes and gains the worker's traceback as a note.  WorkerDied
             for the item in hand when a worker dies; the rest of its batch goes to another worker.
    Source:  concurrent.futures, anyio.to_process; batches as in Ray Data map_batches.

    >>> import kayrx as kx
    >>> (kx.source([-1, 2]) >> kx.map(abs, on=kx.processes(1))).collect()
    [1, 2]
    """
    return Processes(workers, 2 * workers * batch if in_flight is None else in_flight, batch, linger)


class _Nowhere(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return len(data)


def check_placed(what: str, fn: Any, place: Placement | None, waits: bool | None) -> None:
    """Raise GraphError for a function that cannot run where it is told to."""
    if place is None:
        if resources_of(fn):
            raise GraphError(f"{what}: a resource among the arguments of a partial is opened once per worker; "
                             "say where: on=kx.threads(n) or on=kx.processes(n)")
        return
    if not hasattr(place, "start"):
        raise GraphError(f"{what}: on= says where the work is done, got {type(place).__name__}; "
                         "write on=kx.threads(n) or on=kx.processes(n)")
    if waits or is_async(fn):
        raise GraphError(f"{what}: an async function runs on the event loop; leave out on=, or make it synchronous")
    if not isinstance(place, Processes):
        return
    try:
        pickle.Pickler(_Nowhere()).dump(fn)
    except Exception as error:
        raise GraphError(f"{what}: the function cannot be sent to another process ({error}); write it with def at the "
                         "top of a module (a lambda or an inner function has no name to find it by), or as "
                         "a functools.partial of such a one, or as an expression (kx.it * 2)") from None
    inner = fn.func if isinstance(fn, partial) else fn
    main = sys.modules.get("__main__")
    if getattr(inner, "__module__", None) == "__main__" and not hasattr(main, "__file__"):
        raise GraphError(f"{what}: the function was defined in an interactive session, where another process "
                         "cannot find it; put it into a module and import it")


def resources_of(fn: Any) -> list[Resource[Any]]:
    """The resources among the arguments of a partial."""
    if not isinstance(fn, partial):
        return []
    return [a for a in (*fn.args, *fn.keywords.values()) if isinstance(a, Resource)]


__all__ = ["Failed", "Placement", "Processes", "Threads", "processes", "threads"]
