"""Turns: the sources that `concat` opens only when it has come to them, and the subscribers that come late."""

from __future__ import annotations

from kayrx.nodes.combine import Concat
from kayrx.nodes.units import Share
from kayrx.plan.plan import Plan, Segment

Turns = dict[int, tuple[int, ...]]


def turns(plan: Plan) -> Turns:
    """For each segment that has to wait, the lanes of the nearest concats, of which one has to come to it.

    Those are sources and, of a share that replays, subscribers.  What an earlier lane of the same concat reads
    as well waits for nothing; nor does what such a share reads, if one of its subscribers waits for nothing.
    """
    wanted: set[int] = set()
    while True:
        found = waiting(plan, wanted)
        early = [s for s in plan.segments if replays(s) and not all(reader in found for reader in readers(plan, s))]
        now = {s.index for s in early}.union(*(above(plan, s) for s in early))
        if now <= wanted:
            return found
        wanted |= now


def waiting(plan: Plan, wanted: set[int]) -> Turns:
    """`turns`, where what is ``wanted`` at once waits for no share."""
    found: Turns = {}
    earlier: dict[int, set[int]] = {}  # for each lane of a concat, what the lanes before it read

    def wait(indices: set[int], lanes: tuple[int, ...]) -> None:
        for index in indices.difference(*(earlier[lane] for lane in lanes)):
            segment = plan.segments[index]
            if segment.fed not in ("gate", "stage") or listens(plan, segment):
                found[index] = lanes

    for segment in reversed(plan.segments):  # an inner concat stands before the one that joins it
        if segment.head is not None and isinstance(segment.head.node, Concat):
            before: set[int] = set()
            for lane in segment.lanes:
                earlier[lane] = set(before)
                if before:
                    wait(upstream(plan, lane), (lane,))
                before |= upstream(plan, lane)
        elif replays(segment) and all(reader in found for reader in readers(plan, segment)):
            lanes = dict.fromkeys(lane for reader in readers(plan, segment) for lane in found[reader])
            wait(({segment.index} | above(plan, segment)) - wanted, tuple(lanes))
    return found


def replays(segment: Segment) -> bool:
    """True if the segment ends in a share that replays."""
    return segment.fan is not None and isinstance(segment.fan.node, Share) and segment.fan.node.replay is not None


def readers(plan: Plan, segment: Segment) -> list[int]:
    return [target for i in segment.outs if (target := plan.gates[i].target) is not None]


def listens(plan: Plan, segment: Segment) -> bool:
    """True if the segment is a subscriber of a share that replays."""
    origin = plan.gates[segment.lanes[0]].origin if segment.lanes else None
    return origin is not None and replays(plan.segments[origin])


def above(plan: Plan, segment: Segment) -> set[int]:
    return set().union(*(upstream(plan, lane) for lane in segment.lanes))


def upstream(plan: Plan, lane: int) -> set[int]:
    """The segments from which items can reach a gate, up to shares that replay."""
    origin = plan.gates[lane].origin
    if origin is None or plan.gates[lane].back or replays(plan.segments[origin]):
        return set()
    return {origin} | above(plan, plan.segments[origin])
