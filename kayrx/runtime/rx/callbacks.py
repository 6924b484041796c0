"""Running by callbacks: ``graph.subscribe(on_next, on_error, on_completed)``, as in Rx."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kayrx.door import floor
from kayrx.graph.graph import Graph
from kayrx.nodes.values import needs_function
from kayrx.plan.shapes import gone
from kayrx.runtime.backend import SyncBackend
from kayrx.runtime.context import Context
from kayrx.runtime.program import Program, must_be_fed, program
from kayrx.runtime.rx.subject import Heard, Subject, Subscription, raising
from kayrx.runtime.world import THE_WORLD


def subscribe(graph: Graph[Any, Any], on_next: Callable[[Any], Any] | None,
              on_error: Callable[[Exception], Any] | None, on_completed: Callable[[], Any] | None) -> Subscription:
    """A linear plan over a push source is that source's subscriber itself; others go by Rx."""
    for name, heard in (("on_next", on_next), ("on_error", on_error), ("on_completed", on_completed)):
        if heard is not None:
            needs_function("subscribe", name, heard)
    made = program(graph)
    must_be_fed(made.plan, graph, "subscribe to")
    segment = made.plan.segments[0]
    given, failed = on_next or nothing, on_error or raising
    if not (made.plan.linear and segment.fed == "push" and segment.head is not None):
        return floor("rx").to_observable(graph).subscribe(given, failed, on_completed or nothing)  # type: ignore[no-any-return]
    run = None if made.bare else Context(made, THE_WORLD, SyncBackend(THE_WORLD))
    upstream: Any = segment.head.node.what  # type: ignore[attr-defined]
    ours = isinstance(upstream, Subject)
    reader = Reader(made, failed, on_completed)
    push, reader.finish, beside = made.push.function(
        run, given, reader.completed, None if on_error is None else reader.told, upstream.to_all if ours else gone)
    reader.push, reader.beside = push, beside
    if ours:
        upstream.join(reader)
    else:
        reader.keep(upstream.subscribe(push, reader.failed, reader.finish).dispose)
    return reader


class Reader(Heard):
    """A subscriber that is the steps of a graph, which end by themselves or are left."""

    __slots__ = ("made", "on_completed", "over")

    def __init__(self, made: Program, failed: Callable[..., Any], on_completed: Callable[[], Any] | None) -> None:
        super().__init__(nothing, failed, nothing, nothing)
        self.made, self.on_completed, self.over = made, on_completed, False

    def keep(self, leave: Callable[[], None]) -> None:
        """How a source that is no `Subject` is left: at once, if that is over."""
        self._end = leave
        if self.over:
            self.dispose()

    def completed(self, _: object) -> None:
        self.end()
        if self.on_completed is not None:
            self.on_completed()

    def told(self, error: BaseException) -> bool:
        if self.over:
            return True  # its end has been told already, so whoever pushed hears of it
        failed = self.on_error
        self.end()
        if not isinstance(error, Exception):
            raise error
        Context(self.made, THE_WORLD, SyncBackend(THE_WORLD)).fail(error, self.made.plan.segments[0])
        failed(error)
        return False

    def failed(self, error: Exception) -> None:
        """Of the source."""
        failed = self.on_error
        self.end()
        failed(error)

    def end(self) -> None:
        self.over = True
        self.dispose()


def nothing(*_: object) -> None:
    """The callback of a subscriber that gave none."""
