"""Checkpoints: what a graph holds and where its source is, saved together, so that a killed run goes on.

Data only.  How a state is caught while items are under way is said in `kayrx.runtime.saving`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

from kayrx.errors import GraphError
from kayrx.graph.graph import Graph, one
from kayrx.graph.node import Node, Opens
from kayrx.nodes.values import span, whole

T = TypeVar("T")


@runtime_checkable
class CheckpointStore(Protocol):
    """Where checkpoints are kept: four methods, each of which may be async.

    ``save``   the text replaces the one of that name, whole or not at all; durable when it returns
    ``load``   the text of a name, None if there is none
    ``clear``  forgets a name; durable when it returns
    ``close``  lets go of what was opened

    A store may say by ``codec`` how states are written; without it that is JSON.
    """

    def save(self, name: str, state: str, /) -> Any: ...
    def load(self, name: str, /) -> Any: ...
    def clear(self, name: str, /) -> Any: ...
    def close(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Checkpoint(Node):
    word: ClassVar[str] = "checkpoint"
    asks: ClassVar[bool] = True
    store: Any
    every: int = 1000
    seconds: float | None = None

    def __post_init__(self) -> None:
        whole("checkpoint", "every", self.every, 1)
        if self.seconds is not None:
            span("checkpoint", "seconds", self.seconds, zero=False)
        if not isinstance(self.store, (Opens, CheckpointStore)):
            raise GraphError(f"checkpoint(store): a {type(self.store).__name__} keeps no checkpoints; use "
                             "kx.sqlite_checkpoints(path), kx.memory_checkpoints() or an object with save(name, "
                             "text), load(name), clear(name) and close()")

    @property
    def local(self) -> bool:
        return not isinstance(self.store, Opens)

    @property
    def when(self) -> str:
        """``every 1000 items, or 5 s``."""
        return f"every {self.every} items" + (f", or {self.seconds:g} s" if self.seconds is not None else "")


def checkpoint(store: CheckpointStore | Opens, *, every: int = 1000, seconds: float | None = None) -> Graph[T, T]:
    """Save the state of the whole graph and the place of its sources; ``run(resume=True)`` goes on from there.

    In/Out:  one in, the same one out.
    When:    after ``every`` items have come here, and once ``seconds`` have passed (seen when an item comes);
             always when a source has ended or the run is stopped.  Without ``resume=True`` a run begins anew and
             forgets what was saved.
    Kept:    scan, reduce, stateful_map, distinct, take, skip, buffer, sliding, window_by, group_by, zip,
             combine_latest, to_list ... by the names of their nodes, and the cursor of each source, in one
             transaction.
    Again:   state counts each item once; what was sent after the last checkpoint is sent again (at least once).  A
             file that is written to by ``sink`` is flushed first.
             `Run.stop` saves, then flushes what buffers hold: the run that resumes gives that again, filled.
    Price:   all that is held is written each time; calls under way are waited for first.  `explain` has both.
    Raises:  CompileError for a source that cannot go back, and for a node that cannot be saved (a debounce, a concat,
             a gate that drops); RunError when resumed, naming the node, if graph and checkpoint do not fit; RunError
             for a state that the store's codec cannot write; what the store raises.  CompileError for any
             other use than by run, collect, await, start and stream.
    Source:  Chandy and Lamport, "Distributed Snapshots"; Apache Flink's aligned barriers.

    >>> from contextlib import suppress
    >>> import kayrx as kx
    >>> store, seen = kx.memory_checkpoints(), []
    >>> def fails(x):
    ...     seen.append(x)
    ...     if seen == [1, 2, 3]:
    ...         raise OSError
    ...     return x
    >>> total = kx.source([1, 2, 3, 4]) >> checkpoint(store, every=2) >> kx.map(fails) >> kx.sum() >> kx.to_list()
    >>> with suppress(OSError):
    ...     total.run()
    >>> total.run(resume=True), seen
    ([10], [1, 2, 3, 3, 4])
    """
    return one(Checkpoint(store, every, seconds))  # type: ignore[no-any-return]


__all__ = ["CheckpointStore", "checkpoint"]
