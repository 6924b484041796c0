"""explain: the plan in words.  What a user should know before running it is in `kayrx.plan.warn`.

This module is what ``graph.compile`` and ``graph.explain`` open.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

from kayrx.graph.graph import Graph
from kayrx.graph.node import Node, Resource
from kayrx.nodes import ends, flow, groups, guards, instead, limits, select, switch, time, transform, until, windows
from kayrx.nodes.checkpoint import Checkpoint
from kayrx.nodes.place import Processes, Threads
from kayrx.nodes.retract import REACH
from kayrx.nodes.units import Unit
from kayrx.plan import cut
from kayrx.plan.keeping import checkpoint_of, stateful_steps
from kayrx.plan.plan import Gate, Plan, Segment, Step, every, taken_apart
from kayrx.plan.traits import is_pool, step_waits


def compile(graph: Graph[Any, Any], **options: Any) -> Plan:
    """The plan of a graph; ``options`` are the fields of `kayrx.Options`."""
    return cut.compile(graph.nodes, taken_apart(options)[0])


# -- in words ------------------------------------------------------------------------------------


def explain(graph: Graph[Any, Any], **options: Any) -> str:
    """The plan as text: fused runs, cuts and why, bounds, loss, repetition, threads."""
    plan = compile(graph, **options)
    where = "on an event loop" if plan.loop else "no event loop"
    how = "one function" if plan.linear else f"{counted(len(plan.segments), 'segment')}, a task each"
    lines = [f"plan: {how}, {where}"]
    for segment in plan.segments:
        lines += ["", *segment_lines(plan, segment)]
    for title, facts in (("bounds", bounds(plan)), ("loss", loss(plan)), ("repeats", repeats(plan)),
                         ("threads", places(plan)), ("costs", costs(plan))):
        lines += ["", f"{title}:"] + [f"  {fact}" for fact in facts] if facts else []
    return "\n".join(lines)


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "es" if noun.endswith("s") else "s")


def segment_lines(plan: Plan, segment: Segment) -> Iterator[str]:
    yield f"segment {segment.index + 1}" + (f" reads {reads(plan, segment)}" if segment.lanes or segment.head else "")
    for run in segment.runs:
        plain = [step.label for step in run if not step.guards]
        if len(run) > 1:
            yield f"  fused: {' > '.join(step.label for step in run)}"
        elif plain:
            yield f"  step: {plain[0]}"
        for step in run:
            if step.guards:
                yield f"  {step.label}: {chain(step)}"
            yield from inside(step)
    if segment.head is not None and segment.head.guards:
        yield f"  {segment.head.label}: {chain(segment.head)}"
    for gate in plan.gates:
        if gate.pulled and gate.target == segment.index:
            yield f"  pulled: {gate.reason}, but the source can wait, so no queue is needed"
    if segment.fan is not None and segment.outs:
        yield f"  splits: {segment.fan.label} into {counted(len(segment.outs), 'lane')}"


def inside(step: Step) -> Iterator[str]:
    """What stands in a unit, or in the body of a group, and the guards there."""
    if step.inner:
        word = "in each group" if isinstance(step.node, groups.Grouping) else "inside"
        yield f"  {step.label}, {word}: {' > '.join(inner.label for inner in step.inner)}"
    for inner in step.inner:
        if inner.guards:
            yield f"  {inner.label}: {chain(inner)}"
        yield from inside(inner)


def reads(plan: Plan, segment: Segment) -> str:
    head = segment.head
    if segment.fed == "stage" and head is not None:
        return f"{', '.join(gate_name(plan.gates[i]) for i in segment.lanes)} into {head.label}"
    if segment.lanes:
        gate = plan.gates[segment.lanes[0]]
        cut_here = f"{gate_name(gate)}: {gate.reason}"
        return f"{head.label} through {cut_here}" if head is not None else cut_here
    kinds = {"iter": "pulled", "aiter": "awaited", "push": "pushing"}
    return f"{head.label if head else 'its input'} ({kinds.get(segment.fed, 'open')})"


def gate_name(gate: Gate) -> str:
    return f"gate {gate.index + 1} ({counted(gate.size, 'item')}, {gate.overflow})"


def chain(step: Step) -> str:
    """The guards around a step, inside out, in words."""
    return ", then ".join([f"{step.label} ({step.node.word})", *(guard_words(g) for g in step.guards)])


def guard_words(guard: guards.Guard) -> str:
    match guard:
        case guards.Timeout():
            given = [f"{n} {v:g} s" for n in ("seconds", "first", "idle", "total")
                     if (v := getattr(guard, n)) is not None]
            return f"timeout {', '.join(given).replace('seconds ', '')}"
        case guards.Retry():
            pause = f", waits from {guard.backoff.first:g} s" if guard.backoff.first else ""
            end = f", none begins after {guard.deadline:g} s" if guard.deadline else ""
            return f"retry {guard.attempts} attempts{pause}{end}{sent_words(guard)}"
        case instead.Fallback():
            names = " | ".join(a.label if isinstance(a, (instead.Value, Unit)) else getattr(a, "__name__", "?")
                               for a in guard.alternatives)
            return f"{guard.word} {names}{sent_words(guard)}"
        case limits.Deadline():
            return f"deadline {guard.seconds:g} s"
        case limits.Budget():
            return "what is left of the deadline"
        case limits.Hedge():
            return f"hedge after {guard.after:g} s"
        case limits.Bulkhead():
            return f"bulkhead {guard.running} running, {guard.queued} queued{shared_words(guard.shared)}"
        case limits.CircuitBreaker():
            opens = f"{guard.failures} failures" if guard.failures else f"{guard.rate:.0%} of {guard.calls} calls up"
            span = f" in {guard.window:g} s" if guard.window else " in a row" if guard.failures else ""
            return f"circuit_breaker opens at {opens}{span}, for {guard.reset:g} s{shared_words(guard.shared)}"
    return guard.word


def sent_words(guard: guards.Retry | instead.Fallback) -> str:
    return "" if guard.resume == "before_first" else f", sent output: {guard.resume}"


def shared_words(name: str | None) -> str:
    return f", shared as {name!r}" if name else ""


def bounds(plan: Plan) -> list[str]:
    """How much each part of the plan can hold."""
    out = [f"{gate_name(g)} into {target_name(plan, g)}" for g in plan.gates if not g.pulled]
    steps = every((*plan.steps(), *(s.fan for s in plan.segments if s.fan)))
    grouped = {id(i): s.label for s in steps if isinstance(s.node, groups.Grouping) for i in every(s.inner)}
    for step in steps:
        before = len(out)
        match step.node:
            case transform.Map() as node if node.on is not None:
                out.append(f"{step.label}: {counted(node.on.in_flight, 'call')} under way")
            case transform.Map() as node if node.concurrency > 1:
                out.append(f"{step.label}: {counted(node.concurrency, 'call')} under way, results that wait included")
            case transform.FlatMap() as node if step_waits(step) and node.concurrency > 1:
                out.append(f"{step.label}: {node.concurrency} open iterators")
            case flow.RateLimit() as node:
                out.append(f"{step.label}: {counted(node.size, 'item')}" + (
                    f", {counted(node.keys, 'key')}" if node.key else ""))
            case switch.Inner():
                out.append(f"{step.label}: 1 open iterator")
            case windows.Buffer() | until.BufferUntil() as node:
                out.append(f"{step.label}: " + (counted(node.count, "item") if node.count else "unbounded"))
            case windows.Sliding() as node:
                out.append(f"{step.label}: {counted(node.count, 'item')}")
            case time.Delay() as node:
                out.append(f"{step.label}: {counted(node.size, 'item')}")
            case transform.Rx() as node:
                out.append(f"{step.label}: " + (f"bursts of {node.max_burst}" if node.max_burst else "unbounded"))
            case ends.Lines() as node if plan.loop:
                out.append(f"{step.label}: {counted(node.chunk, 'line')} read ahead")
            case ends.Source(kind="replayable"):
                out.append(f"{step.label}: 16 items read ahead")
            case ends.ToList():
                out.append(f"{step.label}: unbounded (all items)")
            case ends.SinkTo() as node if step.marked and (node.method == "write" or isinstance(node.target, Resource)):
                out.append(f"{step.label}: {REACH} places in the file, for what a Retract takes back")
            case select.Filter() if step.marked:
                out.append(f"{step.label}: what passed of the last {REACH} items, for what a Retract takes back")
            case node if node.holds is not None:
                out.append(f"{step.label}: {node.holds}")
        if id(step) in grouped and len(out) > before:
            out[-1] += f", in each group of {grouped[id(step)]}"
    return out


def target_name(plan: Plan, gate: Gate) -> str:
    if gate.target is None:
        return "the reader"
    segment = plan.segments[gate.target]
    first = segment.head or next(iter(segment.steps), None)
    return (first.label if first else f"segment {gate.target + 1}") + (f", port {gate.port}" if gate.port else "")


def loss(plan: Plan) -> list[str]:
    """What may be lost on overflow."""
    means = {"drop_oldest": "drops the oldest waiting item, counted", "drop_newest": "drops the new item, counted",
             "latest": "drops all waiting items, counted", "error": "fails the run with GateOverflow"}
    joins = "joins the item into the newest waiting one"
    return [f"gate {g.index + 1}, when full, {means.get(str(flow.plain(g.overflow)), joins)}"
            for g in plan.gates if not flow.holds(g.overflow)]


def repeats(plan: Plan) -> list[str]:
    """What may be done more than once."""
    out = []

    def look(steps: Sequence[Step], outer: int) -> None:
        for step in steps:
            own = prod(g.attempts if isinstance(g, guards.Retry) else 1 + isinstance(g, limits.Hedge)
                       for g in step.guards)
            if own > 1 and step.node.role != "source":
                out.append(f"{step.label} is called up to {outer * own} times an item")
            elif own > 1:
                again = " without a new item" if getattr(step.node, "cursor", None) is not None else ""
                out.append(f"{step.label} is opened up to {own} times{again}"
                           f"{'' if resumes(step.node) else ', from its beginning'}")
            look((*step.inner, *step.beside), outer * own)

    look(plan.steps(), 1)
    return out


def resumes(node: Node) -> bool:
    """True if a retry opens the source where it was."""
    return getattr(node, "cursor", None) is not None or getattr(node, "kind", "") == "replayable"


def places(plan: Plan) -> list[str]:
    """Where a thread or process runs."""
    out = []
    for step in every(plan.steps()):
        place = getattr(step.node, "on", None)
        if place is not None:
            kind = {Threads: "worker thread", Processes: "worker process"}.get(type(place))
            many = f"by {type(place).__name__}, {place.workers} at once"
            where = many if kind is None else f"on {counted(place.workers, kind)}"
            calls = f", {place.batch} items to a call" if place.batch > 1 else ""
            out.append(f"{step.label} {where}{calls}")
        elif isinstance(step.node, ends.Lines) and plan.loop:
            out.append(f"{step.label} reads in a worker thread")
    return out


def costs(plan: Plan) -> list[str]:
    """What has been switched on and is not free."""
    out = ["ids: an id is carried with every item, for events or letters"] if plan.options.events else []
    step = checkpoint_of(plan)
    if step is not None and isinstance(step.node, Checkpoint):
        held = ", ".join(stateful_steps(plan)) or "no node"
        out.append(f"{step.label}: {step.node.when}, and at the end of a source, the state of {held} is written whole "
                   "with the place of the sources, and synced")
        out += [f"{step.label}: {s.label} finishes the calls under way first" for s in plan.steps() if is_pool(s)]
        out += [f"{step.label}: a barrier takes a place in each gate, and a join waits for it on all lanes"] \
            if len(plan.segments) > 1 else []
    return out
