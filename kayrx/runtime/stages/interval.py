"""The stage of the interval join."""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Sequence
from math import nextafter
from typing import Any

from kayrx.errors import RunError
from kayrx.nodes.interval import Join
from kayrx.plan.panes import moment
from kayrx.plan.plan import Step
from kayrx.plan.units import called
from kayrx.runtime.context import Context
from kayrx.runtime.gates.gate import Gate
from kayrx.runtime.stages.base import Emit, any_of, living, pop, stage

EVER = float("inf")
Held = tuple[float, int, Any]


def time_of(held: Held) -> float:
    return held[0]


class Side:
    """What is held of one stream: by key, each key's items in the order of their times."""

    def __init__(self, lane: Gate, behind: float, ahead: float) -> None:
        self.lane = lane
        self.behind, self.ahead = behind, ahead  # a partner is at most so much earlier and later
        self.latest = -EVER
        self.items: dict[Any, list[Held]] = {}
        self.oldest: list[tuple[float, int, Any]] = []  # a heap of (time, number, key)
        self.number = 0

    def hold(self, key: Any, time: float, item: Any) -> None:
        insort(self.items.setdefault(key, []), (time, self.number, item), key=lambda held: held[:2])
        heapq.heappush(self.oldest, (time, self.number, key))
        self.number += 1

    def around(self, key: Any, first: float, last: float) -> list[Any]:
        """The items of a key with ``first <= time <= last``."""
        own = self.items.get(key, [])
        return [item for *_, item in own[bisect_left(own, first, key=time_of):bisect_right(own, last, key=time_of)]]

    def forget(self, passed: float) -> list[Any]:
        """Let go of the items that nothing later than ``passed`` can be paired with."""
        gone = []
        while self.oldest and self.oldest[0][0] + self.ahead < passed:
            _, _, key = heapq.heappop(self.oldest)
            own = self.items[key]
            gone.append(own.pop(0)[2])
            if not own:
                del self.items[key]
        return gone


class Pairing:
    """The two sides of a join in one run."""

    def __init__(self, node: Join, run: Context, step: Step, lanes: Sequence[Gate]) -> None:
        self.node, self.run, self.step = node, run, step
        one, two = lanes
        self.sides = (Side(one, node.before, node.after), Side(two, node.after, node.before))

    def passed(self, side: Side) -> float:
        """The time before which nothing more is to come from a side."""
        if side.lane.closed and not side.lane.items:
            return EVER
        return self.run.backend.now() if self.node.event_time is None else side.latest - self.node.lateness

    def forget(self) -> None:
        for side, other in (self.sides, self.sides[::-1]):
            self.lost(side.forget(self.passed(other)))

    def lost(self, items: list[Any]) -> None:
        for item in items:
            self.run.ledger.lost(item, "filtered", self.step.label)

    @property
    def over(self) -> bool:
        """True if a stream has ended and nothing of it is held."""
        return any(self.passed(side) == EVER and not side.oldest for side in self.sides)

    def full(self, side: Side) -> bool:
        return len(side.oldest) >= self.node.max_items

    def next(self) -> Side | None:
        """The side to read from: the one that is behind, and of a full one nothing."""
        ready = [side for side in self.sides if side.lane.items and not self.full(side)]
        return min(ready, key=lambda side: side.latest, default=None)

    async def wait(self) -> None:
        waited = [side.lane for side in self.sides if not self.full(side)]
        if not waited:
            raise RunError(f"{self.step.where} holds {self.node.max_items} items of each stream "
                           f"(max_items={self.node.max_items}): allow more, or make within= or lateness= smaller")
        full = next((side for side in self.sides if self.full(side)), None)
        if full is None:
            if lanes := living(waited):
                await any_of(self.run, lanes)
            return
        due = full.oldest[0][0] + full.ahead if self.node.event_time is None else None
        await any_of(self.run, waited, due)
        if due is not None and self.run.backend.now() >= due:  # also before what comes in that very moment
            self.lost(full.forget(nextafter(due, EVER)))

    async def asked(self, fns: tuple[Callable[[Any], Any], ...] | None, number: int, value: Any) -> Any:
        return await called(self.step.where, fns[number], value) if fns else None


@stage.register
async def _(node: Join, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    pairing = Pairing(node, run, step, lanes)
    await run.rest()
    while not pairing.over:
        side = pairing.next()
        if side is None:
            await pairing.wait()
            pairing.forget()
            continue
        number = pairing.sides.index(side)
        other, item = pairing.sides[1 - number], side.lane.items[0]
        value = run.ledger.value(item)
        key = await pairing.asked(node.key, number, value)
        time = run.backend.now() if node.event_time is None else moment(
            step.where, await pairing.asked(node.event_time, number, value))
        for partner in other.around(key, time - side.behind, time + side.ahead):
            pair = (item, partner) if number == 0 else (partner, item)
            if await emit(run.ledger.joined(pair, step.label)):
                return
        side.latest = max(side.latest, time)
        side.hold(key, time, item)
        pop(side.lane)
        pairing.forget()
        if run.due():
            await run.rest()
    for side in pairing.sides:
        pairing.lost(side.forget(EVER))
