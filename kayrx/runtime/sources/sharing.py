"""A shared upstream that replays: subscribers whose turn comes later get the last items, then those that come.

The last items are kept once, beside the lanes; a lane gets them when its subscriber comes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kayrx.nodes.flow import Coalesced, Policy, holds
from kayrx.nodes.units import Share
from kayrx.plan.plan import Step
from kayrx.runtime.gates.gate import Fan, Gate

if TYPE_CHECKING:
    from kayrx.runtime.context import Context


class Sharing(Fan):
    """The lanes of a shared upstream, and their policies; ``late`` are those whose subscribers have not come yet."""

    __slots__ = ("kept", "late", "park", "policies", "run", "step")

    def __init__(self, gates: list[Gate], run: Context, step: Step, policies: Sequence[Policy], late: set[int]) -> None:
        super().__init__(gates)
        assert isinstance(step.node, Share)
        self.run, self.step, self.policies, self.late = run, step, policies, late
        self.kept: deque[Any] = deque(maxlen=step.node.replay)
        self.park: Any = None  # the upstream waits: nobody is attached

    def attach(self, gate: Gate) -> None:
        """A late subscriber comes."""
        lane = self.gates.index(gate)
        self.late.discard(lane)
        for item in self.kept:
            if holds(self.policies[lane]):
                gate.load(self.copy(item, lane))
            else:
                gate.offer(self.copy(item, lane))
        self.let_go()

    def leave(self) -> None:
        super().leave()
        self.let_go()

    def let_go(self) -> None:
        park, self.park = self.park, None
        if park is not None:
            self.run.wake(park)

    def copy(self, item: Any, lane: int) -> Any:
        """An item as the one of a lane, under an id of its own where ids are kept."""
        return (self.run.child(item[0], lane), item[1]) if self.run.ledger.exact else item

    async def give(self, item: Any, reads: bool) -> None:
        """Give an item to all that are attached; where there are none, wait.  ``reads``: then wait for room."""
        while not (attached := self.attached()):
            if self.over:
                return
            self.park = self.run.backend.park()
            await self.run.parked(self.park)
        self.run.ledger.lost(item, "split", self.step.label)
        self.kept.append(item)
        for lane in attached:
            if holds(self.policies[lane]):
                await self.gates[lane].put(self.copy(item, lane))
            else:
                self.gates[lane].offer(self.copy(item, lane))
        for lane in attached if reads else ():
            if holds(self.policies[lane]) and not isinstance(self.policies[lane], Coalesced):
                await self.gates[lane].room()

    def attached(self) -> list[int]:
        return [lane for lane, gate in enumerate(self.gates) if lane not in self.late and not gate.cancelled]


async def asked(run: Context, lanes: Sequence[Gate]) -> bool:
    """Wait until the reader of one of the lanes has come to it; False if all have left."""
    while not any(gate.turn is None and not gate.cancelled for gate in lanes):
        waiting = [gate.turn for gate in lanes if gate.turn is not None]
        if not waiting:
            return False
        park = run.backend.park()
        for turn in waiting:
            turn.append(park)
        await run.parked(park)
    return True
