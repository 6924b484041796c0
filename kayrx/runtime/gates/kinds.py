"""Gates that do more than count: one that measures its items, one that joins those that wait.

Readers work on ``items`` themselves, as on any gate, so what has been taken is worked out by the writer:
items leave in order, and there are as many weights too many as items have gone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kayrx.errors import RunError
from kayrx.nodes.flow import Coalesced, Conflate, Measured
from kayrx.plan import plan
from kayrx.plan.keeping import Barrier
from kayrx.runtime.gates.circles import Feedback
from kayrx.runtime.gates.gate import Gate, overflowed

if TYPE_CHECKING:
    from kayrx.runtime.context import Context


def gate_of(run: Context, data: plan.Gate, name: str) -> Gate:
    """The gate that the plan asks for."""
    outside, overflow = data.target is None, data.overflow
    if isinstance(overflow, Measured):
        return MeasuredGate(run, data.size, overflow, name, outside=outside)
    if isinstance(overflow, Coalesced):
        return CoalescingGate(run, overflow, name, outside=outside)
    if data.back:
        head = run.program.plan.segments[data.target or 0].head
        return Feedback(run, head.where if head else "", data.size, overflow, name, outside=outside)
    return Gate(run, data.size, overflow, name, outside=outside)


class WaitingGate(Gate):
    """A gate whose writer asks before it gives each item."""

    __slots__ = ()

    async def held(self) -> None:
        """Wait until the reader has made room, or has left."""
        if self.owner is not None:  # a writer that wakes its readers late has to do it now
            self.owner.wake()
        self.writer = park = self.run.backend.park()
        try:
            await self.run.parked(park, outside=self.outside)
        except BaseException:
            self.writer = None
            raise

    def added(self) -> None:
        if self.reader is not None:
            self.wake()


class MeasuredGate(WaitingGate):
    """Bounded by ``size`` items and by the sum of their weights, with a low watermark."""

    __slots__ = ("low", "measures", "most", "weight", "weights")

    def __init__(self, run: Context, size: int, policy: Measured, name: str, *, outside: bool) -> None:
        super().__init__(run, size, policy.overflow, name, outside=outside)
        self.most = float("inf") if policy.bytes is None else policy.bytes
        self.measures = policy.size_of if policy.bytes is not None else None
        self.low = policy.low
        self.weights: deque[float] = deque()
        self.weight = 0.0

    def weigh(self, item: Any) -> float:
        if self.measures is None or type(item) is Barrier:
            return 0
        value = self.run.ledger.value(item)
        try:
            weight = self.measures(value)
        except TypeError:
            if self.measures is not len:
                raise
            raise RunError(f"gate {self.name}: a {type(value).__name__} has no len(); say how to measure it: "
                           "kx.backpressure(bytes=, size_of=)") from None
        if not weight >= 0:
            raise RunError(f"gate {self.name}: size_of gave {weight!r}; a size is a number >= 0")
        return weight

    def settle(self) -> None:
        """Forget the weights of items that have gone."""
        while len(self.weights) > len(self.items):
            self.weight -= self.weights.popleft()

    def fits(self, weight: float) -> bool:
        self.settle()
        return not self.items or (len(self.items) < self.size and self.weight + weight <= self.most)

    def load(self, item: Any) -> None:
        super().load(item)
        self.weights.append(weight := self.weigh(item))
        self.weight += weight

    async def room(self) -> bool:
        """Wait while not even the smallest item would fit."""
        while not self.cancelled and self.items and (len(self.items) >= self.size or self.weight >= self.most):
            await self.held()
            self.settle()
        return not self.cancelled

    def release(self) -> None:
        self.settle()
        low = self.low
        if self.cancelled or low is None or (len(self.items) <= low * self.size and (
                self.measures is None or self.weight <= low * self.most)):
            super().release()

    def add(self, item: Any, weight: float) -> None:
        self.items.append(item)
        self.weights.append(weight)
        self.weight += weight
        self.added()

    async def put(self, item: Any) -> bool:
        weight = self.weigh(item)
        while not self.cancelled and not self.fits(weight):
            await self.held()
        if self.cancelled:
            return False
        self.add(item, weight)
        return True

    def offer(self, item: Any) -> None:
        if self.cancelled:
            return
        weight = self.weigh(item)
        if self.fits(weight):
            self.add(item, weight)
            return
        match self.overflow:
            case "drop_oldest" | "latest":
                while self.items and (self.overflow == "latest" or not self.fits(weight)):
                    self.run.ledger.lost(self.items.popleft(), "dropped", self.name)
                    self.dropped += 1
                self.settle()
                self.add(item, weight)
            case "drop_newest":
                self.run.ledger.lost(item, "dropped", self.name)
                self.dropped += 1
            case Conflate() as joins:
                self.items[-1] = joins.joined(self.items[-1], item)
                self.weight -= self.weights.pop()
                self.weights.append(self.weigh(self.items[-1]))
                self.weight += self.weights[-1]
                self.added()
            case _:
                overflowed(self.items, item, self.overflow, self.name, self.size)


class CoalescingGate(WaitingGate):
    """One waiting item, made of ``most`` items at most."""

    __slots__ = ("joined", "most")

    def __init__(self, run: Context, policy: Coalesced, name: str, *, outside: bool) -> None:
        super().__init__(run, 1, Conflate(policy.fn), name, outside=outside)
        self.most, self.joined = policy.most, 0

    async def put(self, item: Any) -> bool:
        while not self.cancelled and self.items and self.joined >= self.most:
            await self.held()
        if self.cancelled:
            return False
        if self.items:
            assert isinstance(self.overflow, Conflate)
            self.items[-1] = self.overflow.joined(self.items[-1], item)
            self.joined += 1
        else:
            self.items.append(item)
            self.joined = 1
        self.added()
        return True

    def _pop_then_finish(self, most: int) -> Iterator[Any]:
        items, done = self.items, 0
        while items and done < most:
            item = items.popleft()
            if self.writer is not None:
                self.release()
            yield item
            done += 1
        self.taken += done
