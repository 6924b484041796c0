"""Diagrams as sources: cold ones that begin for each subscriber, hot ones that go on by themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio

from kayrx.graph.graph import Graph
from kayrx.nodes.ends import source
from kayrx.runtime.rx.subject import Subject, Subscription
from kayrx.testing.diagram import Diagram
from kayrx.testing.trace import Held

STEP = 1e-6   # frames by which an item comes before the timers of its moment
NEXT = 0.01   # of it lies between a source and the next


class Moments:
    """The run's clock.  Items come a little early, so that they go before the timers of their moment,
    as in Rx; who asks for the time then is told the moment itself."""

    def __init__(self, frame: float, step: float) -> None:
        self.frame, self.step = frame, step
        self.moments: dict[float, float] = {}

    def now(self) -> float:
        real = anyio.current_time()
        return self.moments.get(real, real)

    def frames(self) -> float:
        return round(anyio.current_time() / self.frame, 3)

    async def until(self, at: float, rank: int, port: int) -> None:
        """Wait for a moment, in frames; what is late goes on at once."""
        early = at - rank * self.step + port * self.step * NEXT
        wait = early * self.frame - anyio.current_time()
        if wait > 0 or rank == 0:
            await anyio.sleep(max(0.0, wait))
        if self.frames() == round(at, 3):
            self.moments[anyio.current_time()] = at * self.frame


class Played:
    """A diagram as a source that notes when it is subscribed to and let go."""

    def __init__(self, diagram: Diagram, port: int, ranks: Mapping[float, int], clock: Moments) -> None:
        self.diagram, self.port, self.ranks, self.clock = diagram, port, ranks, clock
        self.held: list[list[float]] = []

    def opened(self) -> list[float]:
        self.held.append([self.clock.frames()])
        return self.held[-1]

    def let_go(self, held: list[float]) -> None:
        if len(held) == 1:
            held.append(self.clock.frames())

    def spans(self, cut: float) -> Held:
        """When it was held; being let go by the ``cut`` does not count."""
        return [(begun, end[0] if end and end[0] < cut else None) for begun, *end in self.held]


class Cold(Played):
    """Begins anew for each subscriber; an item waits until it is asked for."""

    async def items(self) -> AsyncIterator[Any]:
        held = self.opened()
        begun = self.clock.now() / self.clock.frame
        try:
            for signal in self.diagram.signals:
                await self.clock.until(begun + signal.at, self.ranks[signal.at], self.port)
                if signal.kind == "next":
                    yield signal.value
                elif signal.kind == "error":
                    raise signal.value
                else:
                    return
            await anyio.sleep_forever()
        finally:
            self.let_go(held)

    def graph(self) -> Graph[Any, Any]:
        return source(self.items)


class Hot(Played):
    """Goes on by itself, whoever listens; its frame 0 is where ``^`` stands."""

    def graph(self) -> Graph[Any, Any]:
        self.subject: Subject[Any] = Heard(self)
        return source(self.subject)

    async def play(self) -> None:
        zero = self.diagram.subscribed or 0.0
        for signal in self.diagram.signals:
            at = round(signal.at - zero, 3)
            if at < 0:
                continue
            await self.clock.until(at, self.ranks[at], self.port + 1)
            if signal.kind == "next":
                self.subject.on_next(signal.value)
                continue
            for held in self.held:
                self.let_go(held)
            self.subject.on_completed() if signal.kind == "end" else self.subject.on_error(signal.value)


class Heard(Subject[Any]):
    """A subject that tells its source who listens."""

    __slots__ = ("played",)

    def __init__(self, played: Hot) -> None:
        super().__init__()
        self.played = played

    def subscribe(self, *observer: Any, scheduler: object = None) -> Any:
        subscription, held = super().subscribe(*observer), self.played.opened()

        def leave() -> None:
            self.played.let_go(held)
            subscription.dispose()

        return Subscription(leave)


__all__ = ["STEP", "Cold", "Hot", "Moments"]
