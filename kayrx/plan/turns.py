"""Turns: the sources that `concat` opens only when it has come to them."""

from __future__ import annotations

from kayrx.nodes.combine import Concat
from kayrx.plan.plan import Plan


def turns(plan: Plan) -> dict[int, int]:
    """For each source segment that has to wait, the lane of the nearest concat it waits for.

    A source that an earlier lane of the same concat reads as well waits for nothing.
    """
    found: dict[int, int] = {}
    for segment in reversed(plan.segments):  # an inner concat stands before the one that joins it
        if segment.head is None or not isinstance(segment.head.node, Concat):
            continue
        before: set[int] = set()
        for lane in segment.lanes:
            above = upstream(plan, lane)
            if before:
                found |= {index: lane for index in above - before if plan.segments[index].fed not in ("gate", "stage")}
            before |= above
    return found


def upstream(plan: Plan, lane: int) -> set[int]:
    """The segments from which items can reach a gate."""
    origin = plan.gates[lane].origin
    if origin is None:
        return set()
    return {origin}.union(*(upstream(plan, above) for above in plan.segments[origin].lanes))
