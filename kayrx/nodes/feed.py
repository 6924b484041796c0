"""Sources fed by hand, and the protocols of Reactive Streams.

`QueueSource` is the one source with an inside: a bounded queue that any thread may fill.  It holds a
live object, so its graph stays in this process, and serves one run at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Never, Protocol, TypeVar

from kayrx.door import floor
from kayrx.graph.graph import Graph
from kayrx.graph.node import Node
from kayrx.nodes.flow import Overflow, policy
from kayrx.nodes.values import whole

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)


class Subscription(Protocol):
    """Reactive Streams 1.0.4 §3: demand and cancellation, both idempotent and thread-safe."""

    def request(self, n: int) -> None: ...
    def cancel(self) -> None: ...


class Subscriber(Protocol[T_contra]):
    """Reactive Streams 1.0.4 §2."""

    def on_subscribe(self, subscription: Subscription) -> None: ...
    def on_next(self, item: T_contra) -> None: ...
    def on_error(self, error: BaseException) -> None: ...
    def on_complete(self) -> None: ...


class Publisher(Protocol[T_co]):
    """Reactive Streams 1.0.4 §1."""

    def subscribe(self, subscriber: Subscriber[Any]) -> None: ...


class Pushing(Protocol[T_co]):
    """What calls back without being asked, as `kayrx.Subject` does: to types, an Observable of no library."""

    def subscribe(self, on_next: Callable[[T_co], object] = ..., on_error: Callable[..., object] = ...,
                  on_completed: Callable[[], object] = ...) -> Any: ...


@dataclass(frozen=True, slots=True)
class Fed(Node):
    """A source whose items are put in by hand; ``queue`` is the live end."""

    role = "source"
    word: ClassVar[str] = "queue_source"
    queue: Any

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        return ()

    @property
    def local(self) -> bool:
        return True


class QueueSource(Graph[Never, T]):
    """A source with a handle: ``put``, ``close`` and ``fail`` from any thread.  Made by `queue_source`."""

    __slots__ = ()

    @property
    def _queue(self) -> Any:
        return self.nodes[0].queue  # type: ignore[attr-defined]

    def put(self, item: T) -> None:
        """Give one item; with ``overflow="block"`` waits in this thread while the queue is full.

        Raises GateOverflow if full with ``overflow="error"``, RunError after the end, and RunError
        instead of blocking the thread of the very loop that runs the graph (use `send` there).
        """
        self._queue.put(item)

    async def send(self, item: T) -> None:
        """`put` for async code: waits without blocking the loop while the queue is full."""
        await self._queue.send(item)

    def close(self) -> None:
        """End the stream; what is in the queue still comes out.  Idempotent."""
        self._queue.close()

    def fail(self, error: BaseException) -> None:
        """End the stream with ``error``, after what is in the queue."""
        self._queue.fail(error)

    @property
    def dropped(self) -> int:
        """How many items the overflow policy has dropped so far."""
        return int(self._queue.dropped)


def queue_source(size: int = 16, overflow: Overflow = "block") -> QueueSource[Any]:
    """A source fed by hand from any thread or task, holding ``size`` items at most.

    In:      what `QueueSource.put` and ``send`` are given.  Out: the same, less what ``overflow`` drops or joins.
    Order:   as put; puts of several threads are serialised.
    Memory:  ``size`` items, also while no run reads them.
    Raises:  GraphError for a bad size or policy.  A second run while one reads is a RunError.
    Source:  Pekko Source.queue.

    >>> import kayrx as kx
    >>> numbers = kx.queue_source(4)
    >>> numbers.put(1); numbers.put(2); numbers.close()
    >>> numbers.collect()
    [1, 2]
    """
    whole("queue_source", "size", size, 1)
    queue = floor("feed").Queue(size, policy("queue_source", overflow))
    return QueueSource((Fed(queue),))


__all__ = ["Publisher", "QueueSource", "Subscriber", "Subscription", "queue_source"]
