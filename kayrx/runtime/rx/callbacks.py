"""Running by callbacks: ``graph.subscribe(on_next, on_error, on_completed)``, as in Rx."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kayrx.door import floor
from kayrx.graph.graph import Graph
from kayrx.nodes.values import needs_function
from kayrx.runtime.backend import SyncBackend
from kayrx.runtime.context import Context
from kayrx.runtime.program import must_be_fed, program
from kayrx.runtime.rx.subject import Subject, Subscription
from kayrx.runtime.world import THE_WORLD


def raising(error: Exception) -> None:
    """The ``on_error`` of a subscriber that gave none: whoever pushed hears of it."""
    raise error


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
    def told(error: BaseException) -> None:
        if not isinstance(error, Exception):
            raise error
        Context(made, THE_WORLD, SyncBackend(THE_WORLD)).fail(error, made.plan.segments[0])
        failed(error)

    upstream: Any = segment.head.node.what  # type: ignore[attr-defined]
    signals = (nothing if on_completed is None else lambda _: on_completed()), None if on_error is None else told
    if isinstance(upstream, Subject):
        push, finish, beside = made.push.function(run, given, *signals, upstream.to_all)
        return upstream.heard(push, failed, finish, beside)
    push, finish, _ = made.push.function(run, given, *signals)
    held = upstream.subscribe(push, failed, finish)
    return held if isinstance(held, Subscription) else Subscription(held.dispose)


def nothing(*_: object) -> None:
    """The callback of a subscriber that gave none."""
