"""Where a `Retract` may come by, and what may stand there: only what keeps the count of what is taken back.

Steps below a ``resume="restart"`` are marked up to the next `settled`; no other step is written with marks in mind.
"""

from __future__ import annotations

from dataclasses import replace

from kayrx.errors import CompileError
from kayrx.graph.node import Node
from kayrx.nodes import about, combine, ends, flow, groups, retract, select, sides, time, transform, units
from kayrx.nodes.checkpoint import Checkpoint
from kayrx.plan.plan import Step, every
from kayrx.plan.written import unable


def passing(step: Step, marks: bool) -> tuple[Step, bool]:
    """The step, marked if a Retract may reach it, and whether one may leave it.

    Raises CompileError for a step that would lose count.
    """
    step, restarts = looked_into(step)
    if not marks or isinstance(step.node, retract.Settled):
        return step, restarts
    guard = next((g for g in step.guards if g.drops), None)
    if guard is not None:
        refuse(step, f"{guard.where} may drop an item behind it")
    if (why := written_past(step.node)) is not None:
        refuse(step, f"{step.where} cannot take back: {why}")
    if not keeps_count(step):
        refuse(step, f"{step.where} may have joined, left out, moved or remembered them")
    return replace(step, marked=True), True


def looked_into(step: Step) -> tuple[Step, bool]:
    """The step with what is inside it marked, and whether marks come out of it."""
    restarts = any(getattr(g, "resume", "") == "restart" for g in step.guards)
    if not any(getattr(g, "resume", "") == "restart" for s in every((*step.inner, *step.beside)) for g in s.guards):
        return step, restarts
    inner, out = series(step.inner)
    if out and isinstance(step.node, groups.Grouping):
        raise CompileError(f'{step.where}: a unit with resume="restart" in its body would take back items of other '
                           "groups; write kx.settled() behind it, in the body")
    beside = [(other, *series(other.inner)) for other in step.beside]
    return replace(step, inner=inner, beside=tuple(replace(other, inner=found) for other, found, _ in beside)), \
        restarts or out or any(marks for *_, marks in beside)


def series(steps: tuple[Step, ...]) -> tuple[tuple[Step, ...], bool]:
    """Steps in a row, marked, and whether marks come out of the last."""
    found, marks = [], False
    for step in steps:
        step, marks = passing(step, marks)
        found.append(step)
    return tuple(found), marks


def written_past(node: Node) -> str | None:
    """Why a sink that writes cannot take back; of what a run opens that is known only then."""
    if not isinstance(node, (ends.SinkTo, ends.Each)):
        return None
    if isinstance(node, ends.SinkTo) and node.method == "write":
        return unable(node.target)
    fn = next(iter(node.functions), None)
    owner = getattr(fn, "__self__", None)
    if getattr(fn, "__name__", "") == "write" and hasattr(owner, "tell"):
        return "its function would be given the marker; give sink() the file itself"
    return None


def refuse(step: Step, why: str) -> None:
    raise CompileError(f'a unit with resume="restart" stands before {step.where}, and may take back its last items, '
                       f"but {why}; write kx.settled() before it, or put it inside the unit")


def keeps_count(step: Step) -> bool:
    """True if the step gives one item for each, in order, ends the stream, or knows what it gave."""
    match step.node:
        case transform.Map() as node:
            return node.ordered or (node.concurrency == 1 and node.on is None)
        case flow.Backpressure() as node:
            return flow.holds(node.overflow)
        case flow.RateLimit() as node:
            return node.key is None and node.cost is None
        case sides.WireTap():
            return False
        case transform.Tap() | about.Stamp() | Checkpoint() | time.Delay() | units.Share() | combine.Broadcast():
            return True
        case select.Filter():
            return True  # it counts them anew
    return step.node.role == "sink"
