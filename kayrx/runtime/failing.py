"""What becomes of a failed segment: the run fails, or a branch was written to bear it, or to tell of it.

Before a `materialize` a failure goes down the gates as Rx's on_error does, after the items that are in
them: each segment on the way raises it in its turn, and the stage of the node makes it an item.
"""

from __future__ import annotations

from kayrx.nodes.about import Materialize
from kayrx.plan.plan import Plan, Segment, Step
from kayrx.runtime.blame import annotate
from kayrx.runtime.context import Context


def detaches(plan: Plan, segment: Segment) -> bool:
    """True if the segment is inside a branch that was written to be cut off: all that it reads came through there."""
    return detached_at(plan, segment.index, frozenset()) is not None


def detached_at(plan: Plan, index: int, seen: frozenset[int]) -> int | None:
    """The gate at which such a branch begins."""
    def begins(lane: int) -> int | None:
        origin = plan.gates[lane].origin
        if origin is None or origin in seen:
            return None
        fan = plan.segments[origin].fan
        cut = fan is not None and getattr(fan.node, "on_error", "fail") == "detach" and plan.gates[lane].port != "main"
        return lane if cut else detached_at(plan, origin, seen | {origin})

    found = {begins(lane) for lane in plan.segments[index].lanes if not plan.gates[lane].back}
    return found.pop() if len(found) == 1 else None


def told_below(plan: Plan, segment: Segment) -> bool:
    """True if a `materialize` stands below the segment."""
    todo, seen = [segment], set()
    while todo:
        for i in todo.pop().outs:
            target = plan.gates[i].target
            if target is None or target in seen:
                continue
            seen.add(target)
            below = plan.segments[target]
            if below.head is not None and isinstance(below.head.node, Materialize):
                return True
            todo.append(below)
    return False


def failed(run: Context, error: BaseException, segment: Segment, step: Step | None = None,
           item: int | None = None) -> None:
    """A segment has failed: report it, send it down, or fail the run."""
    plan = run.program.plan
    if isinstance(error, Exception) and detaches(plan, segment):
        run.tell("detached", error=error, segment=segment.index)
    elif isinstance(error, Exception) and told_below(plan, segment):
        annotate(error, run, segment, step, item)
        run.ledger.failed(error)
        for i in segment.outs:
            run.gates[i].fail(error)
    else:
        run.fail(error, segment, step, item)
