"""All ways to run a graph over a list, and what each of them answers: what `kayrx.testing.laws` compares."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any

import anyio
import reactivex
from reactivex import operators as ops

from kayrx.errors import CompileError, RunError
from kayrx.graph.graph import Graph
from kayrx.nodes.ends import each, source, to_list
from kayrx.testing.clock import virtual_world
from kayrx.testing.rx import rx_scheduler

Options = dict[str, Any]
PRODUCT: list[Options] = [{"chunk": chunk, "fuse": fuse, "events": events}
                          for chunk, fuse, events in product((256, 1, 7), (True, False), (False, True))]
ALL = [*PRODUCT, {"inline": True}, {"inline": True, "chunk": 1, "fuse": False}]
FEW: list[Options] = [{}, {"chunk": 1}, {"chunk": 7, "events": True}, {"fuse": False}, {"inline": True},
                      {"chunk": 1, "fuse": False, "events": True}]
MOST_PUSHED = 1000  # what is pushed without asking stands in a gate of 1024


@dataclass(slots=True)
class Answer:
    """What one way of running a graph gave: items, an error, and signals that break the grammar of Rx."""

    items: list[Any] = field(default_factory=list)
    error: Exception | None = None
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.error!r}" if self.error is not None else f"{self.items!r}"


class Observed:
    """An Rx observer that checks the grammar: items, then at most one end."""

    def __init__(self) -> None:
        self.answer, self.ended = Answer(), ""
        self.over: Callable[[], object] = lambda: None

    def _signal(self, what: str) -> None:
        if self.ended:
            self.answer.wrong.append(f"{what} after {self.ended}")

    def on_next(self, item: Any) -> None:
        self._signal(f"on_next({item!r})")
        self.answer.items.append(item)

    def on_error(self, error: Exception) -> None:
        self._signal("on_error")
        self.answer.error, self.ended = error, "on_error"
        self.over()

    def on_completed(self) -> None:
        self._signal("on_completed")
        self.ended = "on_completed"
        self.over()

    def of(self, observable: Any) -> Answer:
        """The answer of an observable that sends all within ``subscribe``."""
        observable.subscribe(self.on_next, self.on_error, self.on_completed)
        if not self.ended:
            self.answer.wrong.append("no end")
        return self.answer

    async def later_of(self, observable: Any) -> Answer:
        """The answer of an observable that sends on the running loop."""
        ended = anyio.Event()
        self.over = ended.set
        async with rx_scheduler() as timers:
            observable.subscribe(self.on_next, self.on_error, self.on_completed, scheduler=timers)
            await ended.wait()
        return self.answer


class Feed:
    """Items as a source that knows whether it is open; raises ``error`` in place of item ``at``."""

    def __init__(self, items: Sequence[Any], error: Exception | None = None, at: int = 0) -> None:
        self.items = [*items] if error is None else [*items][:at]
        self.error, self.raised = error, False
        self.opened = self.closed = 0

    @property
    def open(self) -> int:
        return self.opened - self.closed

    def now(self) -> Iterator[Any]:
        self.opened += 1
        try:
            yield from self.items
            self._fail()
        finally:
            self.closed += 1

    async def later(self, seconds: float = 0.0) -> AsyncIterator[Any]:
        self.opened += 1
        try:
            for item in self.items:
                await anyio.sleep(seconds)
                yield item
            await anyio.sleep(seconds)
            self._fail()
        finally:
            self.closed += 1

    def _fail(self) -> None:
        if self.error is not None:
            self.raised = True
            raise self.error

    def observable(self) -> reactivex.Observable[Any]:
        """As a cold Observable that counts its subscribers."""
        def begun(_: object) -> reactivex.Observable[Any]:
            self.opened += 1
            return reactivex.concat(reactivex.from_iterable(self.items), reactivex.defer(end))

        def end(_: object) -> reactivex.Observable[Any]:
            self.raised = self.error is not None
            return reactivex.empty() if self.error is None else reactivex.throw(self.error)

        def closed() -> None:
            self.closed += 1

        return reactivex.defer(begun).pipe(ops.finally_action(closed))


def caught(give: Callable[[], list[Any]]) -> Answer:
    """The items that a call gives, or its error."""
    try:
        return Answer(give())
    except Exception as error:
        return Answer(error=error)


async def caught_later(give: Callable[[], Awaitable[list[Any]]]) -> Answer:
    try:
        return Answer(await give())
    except Exception as error:
        return Answer(error=error)


def unless_refused(answer: Answer) -> Answer | None:
    """None for what ruling 19 refuses: a gate that blocks in front of who pushes, an operator that needs a loop."""
    said = str(answer.error)
    blocked = isinstance(answer.error, CompileError) and "cannot be made to wait" in said
    loopless = isinstance(answer.error, RunError) and "needs a running event loop" in said
    return None if blocked or loopless else answer


def without_a_loop(graph: Graph[Any, Any],
                   items: Sequence[Any]) -> Iterator[tuple[str, Callable[[], Answer | None]]]:
    """Each way to run a graph that never waits; None where a graph cannot go that way, and says so."""
    full: Graph[Any, Any] = source(items) >> graph
    for options in ALL:
        yield f"collect({told(options)})", partial(caught, partial(full.collect, world=virtual_world(), **options))

    def to_sink() -> list[Any]:
        given: list[Any] = []
        (full >> each(given.append)).run(world=virtual_world())
        return given

    yield "run() of a generator", lambda: caught(
        lambda: (source(Feed(items).now) >> graph).collect(world=virtual_world()))
    yield "run() into a function", lambda: caught(to_sink)
    yield "observable >> graph", lambda: unless_refused(caught(
        lambda: (source(reactivex.from_iterable(items)) >> graph).collect(world=virtual_world())))
    for options in FEW:
        def observed(options: Options = options) -> Answer:
            return Observed().of(full.to_observable(world=virtual_world(), **options))

        def operated(options: Options = options) -> Answer | None:
            operator = graph.operator(world=virtual_world(), **options)
            return unless_refused(Observed().of(reactivex.from_iterable(items).pipe(operator)))

        yield f"to_observable({told(options)})", observed
        yield f"operator({told(options)})", operated


def on_a_private_loop(graph: Graph[Any, Any], items: Sequence[Any],
                      backend: str) -> Iterator[tuple[str, Callable[[], Answer]]]:
    """``run`` on a loop that it makes for itself, whose time is real."""
    full: Graph[Any, Any] = source(items) >> graph
    for options in FEW:
        yield f"collect({told(options | {'backend': backend})})", partial(
            caught, partial(full.collect, backend=backend, **options))


def on_a_loop(graph: Graph[Any, Any],
              items: Sequence[Any]) -> Iterator[tuple[str, Callable[[], Awaitable[Answer | None]]]]:
    """Each way to run a graph on the running loop; None where a graph cannot go that way, and says so."""
    full: Graph[Any, Any] = source(items) >> graph
    listed: Any = full >> to_list()

    async def awaited(graph: Any) -> list[Any]:
        return await graph  # type: ignore[no-any-return]

    async def started(options: Options) -> list[Any]:
        async with listed.start(world=virtual_world(), **options) as run:
            pass
        return run.result  # type: ignore[no-any-return]

    async def streamed(options: Options) -> list[Any]:
        async with full.stream(world=virtual_world(), **options) as given:
            return [item async for item in given]

    async def iterated() -> Answer | None:
        answer = await caught_later(lambda: gathered(full))
        return None if isinstance(answer.error, RunError) and "graph.stream()" in str(answer.error) else answer

    async def observed(make: Callable[[], Any]) -> Answer | None:
        if len(items) > MOST_PUSHED:
            return None
        try:
            return unless_refused(await Observed().later_of(make()))
        except CompileError as error:
            return unless_refused(Answer(error=error))

    yield "await", lambda: caught_later(lambda: awaited(listed))
    yield "await of an async source", lambda: caught_later(
        lambda: awaited(source(Feed(items).later) >> graph >> to_list()))
    yield "async for", iterated
    for options in ALL:
        yield f"start({told(options)})", lambda options=options: caught_later(  # type: ignore[misc]
            lambda: started(options))
    for options in FEW:
        yield f"stream({told(options)})", lambda options=options: caught_later(  # type: ignore[misc]
            lambda: streamed(options))
    yield "to_observable()", lambda: observed(lambda: full.to_observable(world=virtual_world()))
    yield "operator()", lambda: observed(
        lambda: reactivex.from_iterable(items).pipe(graph.operator(world=virtual_world())))


async def gathered(graph: Graph[Any, Any]) -> list[Any]:
    return [item async for item in graph]


def told(options: Options) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())


__all__ = ["ALL", "FEW", "Answer", "Feed", "Observed", "on_a_loop", "on_a_private_loop", "without_a_loop"]
