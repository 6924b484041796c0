"""Circles: what a loop knows of itself in one run, so that it can let in what fits and end when nothing moves.

Items inside are not followed one by one, for a body may drop, join and multiply them.  What has gone in
without coming out is an estimate; it is set right whenever everything inside rests: all tasks of the body
wait for an item, and none that they wait for is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kayrx.errors import GateOverflow, RunError
from kayrx.nodes.loops import Loop
from kayrx.plan.plan import Plan, Segment, Step, every
from kayrx.plan.traits import parks
from kayrx.runtime.gates.gate import Fan, Gate

if TYPE_CHECKING:
    from kayrx.runtime.context import Context


class Circle:
    """One loop of one run: its entry waits here."""

    def __init__(self, run: Context, plan: Plan, entry: Segment) -> None:
        self.run, self.plan = run, plan
        assert entry.head is not None and isinstance(entry.head.node, Loop)
        self.step: Step = entry.head
        node: Loop = entry.head.node
        back = next(i for i in entry.lanes if plan.gates[i].back)
        self.exit = plan.segments[plan.gates[back].origin or 0]
        inside = plan.segments[entry.index:plan.gates[self.exit.outs[0]].target]
        within = {entry.index}  # what stands below the entry; a source in the body keeps no loop open by itself
        for gate in sorted(plan.gates, key=lambda g: g.origin or 0):
            if gate.origin in within and gate.target is not None and gate.target <= inside[-1].index:
                within.add(gate.target)
        self.body = [s for s in inside[1:] if s.index in within]
        self.within = {g.index for g in plan.gates if g.origin in within}
        # What never waits is done before the next comes in, so that all schedules give the same.
        self.most = node.size if any(parks(s) for seg in inside for s in (
            *every(seg.steps), *([seg.head] if seg.head and seg is not entry else []))) else 1
        self.inside = 0
        self.park: Any = None
        self.new = run.gates[next(i for i in entry.lanes if not plan.gates[i].back)]

    def holds(self, gate: Gate) -> bool:
        """True if the gate is between two segments of the body."""
        return any(self.run.gates[i] is gate for i in self.within if i not in self.exit.outs)

    @property
    def full(self) -> bool:
        return self.inside >= self.most

    @property
    def last(self) -> bool:
        """True if no new item will come any more."""
        return (self.new.closed or self.new.error is not None) and not self.new.items

    def turned(self) -> None:
        """An item has come to the end of the body."""
        if self.inside:
            self.inside -= 1
            if self.park is not None:
                self.wake()

    async def wait(self, lanes: Sequence[Gate]) -> None:
        """The entry waits for an item in one of ``lanes``, for an item to come out, or for rest."""
        self.park = park = self.run.backend.park()
        for lane in lanes:
            lane.reader = park
        try:
            await self.run.parked(park)
        finally:
            self.park = None
            for lane in lanes:
                if lane.reader is park:
                    lane.reader = None

    def wake(self) -> None:
        park, self.park = self.park, None
        self.run.wake(park)

    def look(self) -> None:
        """Wake the entry if what it waits for has come to pass without an item: all inside rests."""
        if self.park is not None and (self.inside or self.last) and self.resting():
            self.inside = 0
            self.wake()

    def resting(self) -> bool:
        """True if nothing in the body moves, or ever will, unless something new comes in."""
        return all(self.rests(segment) for segment in self.body)

    def rests(self, segment: Segment) -> bool:
        """True if it has ended or waits for an item.

        A join may hold what has no partner yet: it rests too, unless the partner comes from a source in the body.
        """
        run = self.run
        lanes = [(i, lane) for i in segment.lanes if not ((lane := run.gates[i]).cancelled
                                                          or (lane.closed and not lane.items))]
        waited = [(i, lane) for i, lane in lanes if lane.reader in run.parks or lane.reader in run.idle]
        if lanes and (not waited or any(lane.items for _, lane in waited)):
            return False
        if any(lane.items for _, lane in lanes) and not all(i in self.within for i, _ in waited):
            return False
        crew = run.crews.get(segment.index)
        return crew is None or crew.rests


def circles(run: Context) -> list[Circle]:
    """The loops of a run."""
    plan = run.program.plan
    return [Circle(run, plan, s) for s in plan.segments if s.head is not None and isinstance(s.head.node, Loop)]


class Turning(Fan):
    """The two gates at the end of a loop's body: out of it, and back."""

    __slots__ = ("circle",)

    def __init__(self, gates: list[Gate], circle: Circle) -> None:
        super().__init__(gates, gates[0])
        self.circle = circle

    def turned(self) -> None:
        self.circle.turned()


class Feedback(Gate):
    """The gate back to the beginning of a loop, ``where``; nothing may come into it once the loop has ``ended``."""

    __slots__ = ("ended", "where")

    def __init__(self, run: Context, where: str, *args: Any, **more: Any) -> None:
        super().__init__(run, *args, **more)
        self.where, self.ended = where, False

    def offer(self, item: Any) -> None:
        if self.ended:
            raise after_the_end(self.where)
        if not self.cancelled and len(self.items) >= self.size:
            raise too_many(self.where, self.size)
        super().offer(item)


def too_many(where: str, size: int) -> GateOverflow:
    return GateOverflow(f"{where}: its body gives more that has to go round than the gate of the feedback holds "
                        f"({size}); give it a larger size, e.g. "
                        f"kx.loop(body, until=..., size={4 * size}), or give less")


def after_the_end(where: str) -> RunError:
    return RunError(f"{where}: its body gave something at its end that has to go round once more, and nothing goes "
                    "round any more; let `until` say yes to it, or hold nothing back in the body")
