"""check and expand: the flat nodes of a graph become steps, each with the guards written after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kayrx.errors import CompileError
from kayrx.graph.node import Node
from kayrx.nodes import flow, groups, transform, units
from kayrx.nodes.guards import Guard, Retry
from kayrx.nodes.instead import Fallback
from kayrx.nodes.limits import Budget, Deadline, Hedge
from kayrx.plan.forms import has_form
from kayrx.plan.fuse import NESTING
from kayrx.plan.plan import Step
from kayrx.plan.traits import ITEMWISE, STATEFUL, is_pool, is_stage, rests, waits


def expand(nodes: Sequence[Node], prefix: str = "") -> list[Step]:
    """Steps in written order: units without guards dissolve, guards attach to the unit before them.

    Raises: CompileError, naming the node and the remedy, for a guard with nothing to guard, or
            over a node that is not item-wise.
    """
    steps: list[Step] = []
    start = 0  # first step of the latest unit, so that guards can gather it up again
    for node in nodes:
        if isinstance(node, Guard):
            if not steps:
                raise CompileError(f"{node.where} guards nothing: write it after a node or a unit(); "
                                   "an open graph that begins with guards needs something before it")
            guarded = _gather(steps[start:], unit) if (unit := _unit(nodes, node)) else steps[-1]
            steps[start:] = [replace(guarded, guards=(*guarded.guards, node),
                                     beside=(*guarded.beside, *graphs_of(node, guarded)))]
            continue
        start = len(steps)
        if isinstance(node, units.Unit):
            steps += expand(node.graph.nodes, f"{prefix}{node.name}." if node.name else prefix)
        else:
            steps.append(Step(node, prefix + node.label, inner=body_of(node)))
    for step in steps:
        if step.guards:
            check_guards(step)
    return steps


def body_of(node: Node) -> tuple[Step, ...]:
    """The steps inside a node that copies a graph for each group; CompileError for what cannot run in place."""
    if not isinstance(node, groups.Grouping):
        return ()
    steps = tuple(expand(node.body.nodes))
    for step in steps:
        if is_stage(step) or is_pool(step):
            raise CompileError(f"{node.where}: {step.where} in its body needs a task of its own, and a body runs in "
                               f"place, one task for all groups; write that node after {node.word}()")
        if step.node.role != "step" or not has_form(step.node) or isinstance(step.node, flow.Backpressure):
            raise CompileError(f"{node.where}: {step.where} in its body needs a lane, and a body is one function; "
                               f"write that node after {node.word}()")
    if sum(s.node.expands for s in steps) > NESTING and any(map(rests, steps)):
        raise CompileError(f"{node.where}: its body holds more than {NESTING} nested expansions (flat_map)")
    return steps


def _unit(nodes: Sequence[Node], guard: Node) -> units.Unit | None:
    """The unit that ``guard`` is written after, if it is one."""
    at = next(i for i, n in enumerate(nodes) if n is guard)
    before = next((n for n in reversed(nodes[:at]) if not isinstance(n, Guard)), None)
    return before if isinstance(before, units.Unit) else None


def _gather(steps: list[Step], unit: units.Unit) -> Step:
    if len(steps) == 1 and (steps[0].inner or not steps[0].guards) and isinstance(
            steps[0].node, (units.Unit, *ITEMWISE)):
        return steps[0]
    return Step(unit, unit.label, inner=tuple(steps))


def graphs_of(guard: Guard, step: Step) -> list[Step]:
    """The graphs that a guard falls back to, each as a step."""
    found = []
    for unit in guard.alternatives if isinstance(guard, Fallback) else ():
        if isinstance(unit, units.Unit):
            if step.node.role == "source":
                raise CompileError(f"{guard.where} cannot run a graph in place of {step.where}, which takes no item; "
                                   "give a function: fallback(lambda _: items)")
            inner = tuple(expand(unit.graph.nodes, f"{step.label}."))
            found.append(Step(unit, f"{step.label}.fallback", inner=inner))
            check_inside(guard, found[-1], "fall back to")
    return found


def check_inside(guard: Guard, step: Step, verb: str = "guard") -> None:
    """Raise CompileError for what cannot be called anew for each item and attempt."""
    for inner in step.inner:
        if not isinstance(inner.node, ITEMWISE):
            raise CompileError(f"{guard.where} cannot {verb} {inner.where}, which is not item by item; "
                               "guard the source, the node before, or a unit() of item-wise nodes")
    for inner in step.inner:
        if isinstance(inner.node, STATEFUL):  # a unit is called anew for each item and attempt
            raise CompileError(f"{guard.where} cannot {verb} {inner.where} inside a unit of several nodes, where its "
                               f"state would not outlive an item; write the guard directly after the {inner.node.word}")
        if getattr(inner.node, "on", None) is not None:
            raise CompileError(f"{guard.where} cannot {verb} {inner.where} inside a unit of several nodes, whose calls "
                               "run in place; write the guard directly after that node")
    if sum(s.node.expands for s in step.inner) > NESTING:
        raise CompileError(f"{guard.where} cannot {verb} {step.where}: a unit holds at most {NESTING} nested "
                           "expansions (flat_map); make it several units")


def check_hedge(guard: Guard, step: Step) -> None:
    if step.node.role == "source":
        raise CompileError(f"{guard.where} cannot make a second call of {step.where}, a source; write timeout(first=) "
                           "and retry() after it")
    if (step.node.expands and not step.inner) or any(s.node.expands for s in step.inner):
        raise CompileError(f"{guard.where} cannot hedge {step.where}, which gives many outputs: two streams cannot be "
                           "one; write timeout(first=) and retry() after it, or hedge a map")


def check_resumes(step: Step) -> None:
    """Raise CompileError for a ``resume`` that the unit cannot keep."""
    node = step.node
    for guard in step.guards:
        resume = getattr(guard, "resume", "before_first")
        if resume == "before_first":
            continue
        says = f'{guard.where} cannot resume="{resume}" after {step.where}'
        if node.role == "source" and getattr(node, "cursor", None) is not None:
            raise CompileError(f"{says}: with a cursor it goes on where it was; leave out resume=")
        if node.role == "source" and isinstance(guard, Retry) and resume == "continue" \
                and getattr(node, "kind", "") != "callable":
            raise CompileError(f"{says}: what was sent is handed to a function; give one, source(connect)")
        if node.role != "source" and not node.expands:
            raise CompileError(f"{says}, which gives one output: nothing is sent before it fails; leave out resume=")
        if resume == "continue" and isinstance(guard, Retry) and isinstance(node, units.Unit):
            raise CompileError(f"{says}: what was sent is handed to a function of the item; guard the flat_map itself")
        if resume == "restart" and is_pool(step):
            raise CompileError(f"{says}: outputs of {node.concurrency} items are sent in between each other, "  # type: ignore[attr-defined]
                               "and only the last ones can be taken back; write concat_map")


def check_guards(step: Step) -> None:
    """Raise CompileError for a guard over something that cannot be tried item by item."""
    node, first = step.node, step.guards[0]
    for guard in step.guards:
        if isinstance(guard, Hedge):
            check_hedge(guard, step)
    check_resumes(step)
    if node.role == "source":
        return
    if not isinstance(node, ITEMWISE):
        raise CompileError(f"{first.where} cannot guard {node.where}, which is not item by item; "
                           "guard the source, the node before, or a unit() of item-wise nodes")
    check_inside(first, step)
    place = getattr(node, "on", None)
    cuts = next((g for g in step.guards if g.times or isinstance(g, (Deadline, Budget))), None)
    if cuts is not None and place is not None and place.batch > 1:
        raise CompileError(f"{cuts.where} cannot time {step.where}, whose items go {place.batch} to a call; "
                           "say batch=1")
    timed = next((g for g in step.guards if g.times), None)
    blocking = [s for s in (step.inner or (step,)) if not waits(s.node)]
    if timed is not None and blocking and not any(waits(s.node) for s in step.inner):
        fn = blocking[0]
        remedy = "write it as map(f, on=kx.threads(1))" if isinstance(fn.node, transform.Map) else \
            "make the function async"
        raise CompileError(f"{timed.where} cannot interrupt {fn.where}, which is synchronous; {remedy}")


def budgeted(step: Step) -> Step:
    """A guarded step below a source with a deadline: each attempt has what is left of the item's time."""
    if not step.guards or step.node.role == "source":
        return step
    made = replace(step, guards=(Budget(written=step.guards[0].written), *step.guards))
    check_guards(made)
    return made
