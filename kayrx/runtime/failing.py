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
    """True if the segment belongs to a branch of ``broadcast(on_error="detach")``."""
    index = segment.index
    seen: set[int] = set()
    while index not in seen:
        seen.add(index)
        lanes = plan.segments[index].lanes
        origin = plan.gates[lanes[0]].origin if len(lanes) == 1 else None
        if origin is None:
            return False
        fan = plan.segments[origin].fan
        if fan is not None:
            return getattr(fan.node, "on_error", "fail") == "detach"
        index = origin
    return False


def told_below(plan: Plan, segment: Segment) -> bool:
    """True if a `materialize` stands below the segment."""
    below = [plan.segments[target] for i in segment.outs if (target := plan.gates[i].target) is not None]
    return any((s.head is not None and isinstance(s.head.node, Materialize)) or told_below(plan, s) for s in below)


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
