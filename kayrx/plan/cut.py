"""cut: a series of steps becomes segments, with a gate wherever one side may have to wait.

The cuts, and no others:
    an async step after something that already waits   so that both work at once
    a fan-out and a fan-in                             one lane a branch
    a node that keeps time, or an Rx node on a loop    it needs an inbox for items and timers
    a loop                                             one lane for what is new, one for what comes back
    ``materialize``                                    it must outlive the failure that it tells of
    ``backpressure``                                   asked for; pulled, without a queue, if it can be
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from kayrx.errors import CompileError
from kayrx.graph.graph import one
from kayrx.graph.join import end_of
from kayrx.graph.node import Node
from kayrx.nodes import flow, loops, select, units
from kayrx.nodes.checkpoint import Checkpoint
from kayrx.plan.draw import draw
from kayrx.plan.expand import budgeted, expand
from kayrx.plan.fuse import NESTING, fuse
from kayrx.plan.keeping import check
from kayrx.plan.labels import relabelled
from kayrx.plan.plan import Fed, Gate, Options, Plan, Saving, Segment, Step, every
from kayrx.plan.retracts import passing
from kayrx.plan.traits import (
    asks_ids,
    blocks,
    budgets,
    fed_by,
    is_pool,
    is_stage,
    is_told,
    of_a_queue,
    parks,
    queued,
    rests,
    step_waits,
)

DEFAULT = 16
HOT = 1024
LANE = "share: a lane for each subscriber"


@dataclass(slots=True)
class Draft:
    """A segment while it grows."""

    index: int
    fed: Fed
    head: Step | None = None
    lanes: list[int] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    fan: Step | None = None
    outs: list[int] = field(default_factory=list)
    waits: bool = False
    asked: bool = False  # its queue has the bound that was asked for
    marks: bool = False  # a Retract may come out of it


class Cutter:
    """Walks the steps once and draws segments and gates."""

    def __init__(self, loop: bool, linear: bool, options: Options, budget: bool) -> None:
        self.loop, self.linear, self.options, self.budget = loop, linear, options, budget
        self.sinks: list[int] = []
        self.drafts: list[Draft] = []
        self.gates: list[Gate] = []
        self.shared: dict[str, tuple[Draft, Sequence[Node]]] = {}
        self.laid: list[Step] = []  # in written order, wherever the cuts are

    def draft(self, fed: Fed, head: Step | None = None, *, waits: bool = False) -> Draft:
        self.drafts.append(Draft(len(self.drafts), fed, head, waits=waits))
        return self.drafts[-1]

    def gate(self, origin: Draft, target: Draft, size: int, reason: str,
             overflow: flow.Policy = "block", port: str = "", back: bool = False) -> None:
        gate = Gate(len(self.gates), origin.index, target.index, size, overflow, reason, port=port, back=back)
        self.gates.append(gate)
        origin.outs.append(gate.index)
        target.lanes.append(gate.index)
        target.marks |= origin.marks

    def after(self, origin: Draft, size: int, reason: str, overflow: flow.Policy = "block") -> Draft:
        target = self.draft("gate")
        self.gate(origin, target, size, reason, overflow)
        return target

    def series(self, nodes: Sequence[Node], at: Draft | None = None) -> list[Draft]:
        """Lay ``nodes`` behind ``at`` (None: they bring their own items); gives the open ends."""
        known = next((i for i in reversed(range(len(nodes))) if isinstance(nodes[i], units.Share)
                      and nodes[i].identity in self.shared), None)  # type: ignore[attr-defined]
        ports: list[Draft] = [] if at is None else [at]
        written = nodes
        if known is not None:
            upstream, before = self.shared[nodes[known].identity]  # type: ignore[attr-defined]
            if at is not None or not units.alike(before, nodes[:known]):
                raise CompileError(f"{nodes[known].where} stands behind different graphs, and one share() is one "
                                   "upstream; write kx.share() for each of them")
            ports, nodes = [self.listen(upstream)], nodes[known + 1:]
        for step in expand(nodes):
            step, marks = passing(budgeted(step) if self.budget else step, any(port.marks for port in ports))
            ports = self.lay(step, ports)
            for port in ports:
                port.marks = marks
            if isinstance(step.node, units.Share):
                self.share(step.node, ports[0], written)
        return ports

    def share(self, node: units.Share, first: Draft, nodes: Sequence[Node]) -> None:
        if node.identity in self.shared:
            raise CompileError(f"{node.where} stands twice in a series, or in a unit() that is used twice, and one "
                               "share() is one upstream; write kx.share() for each place")
        upstream = self.drafts[self.gates[first.lanes[0]].origin or 0]
        at = next((i for i, n in enumerate(nodes) if n is node), len(nodes))
        self.shared[node.identity] = upstream, nodes[:at]

    def listen(self, upstream: Draft) -> Draft:
        target = self.draft("gate")
        assert upstream.fan is not None and isinstance(upstream.fan.node, units.Share)
        self.gate(upstream, target, upstream.fan.node.size, LANE, port=str(len(upstream.outs) + 1))
        return target

    def lay(self, step: Step, ports: list[Draft]) -> list[Draft]:
        node = step.node
        self.laid.append(step)
        match node.role:
            case "source":
                fed = fed_by(node, self.loop)
                if fed == "iter" and self.loop and rests(step):
                    fed = "aiter"  # its guards may wait
                at = self.draft(fed, step, waits=self.loop and fed != "iter")
                if fed == "push" and self.loop:
                    self.hot(at, HOT, "error", "a hot source cannot wait")
                return [at]
            case "fan_in":
                return [self.join(step, ports or ([self.draft("open")] if node.beside else []))]
        (at,) = ports or [self.draft("open")]
        if node.role == "fan_out":
            return self.split(step, at)
        if isinstance(node, units.Share):
            at.fan = step
            return [self.listen(at)]
        if isinstance(node, flow.Backpressure):
            return [self.asked(step, node, at)]
        if isinstance(node, loops.Loop):
            return [self.circle(step, node, at)]
        if is_told(step):
            return [self.stage(step, at, "must outlive what fails before it")]
        if self.loop and is_stage(step):
            return [self.stage(step, at, "needs an inbox for items and timers")]
        if self.loop and parks(step):
            straight = at.fed == "push" and not at.steps  # it reads a queue: nothing to do beside the call
            apart = at.fed != "iter" or self.options.events or any(map(rests, at.steps))
            if (at.waits and not (straight and not is_pool(step))) or (is_pool(step) and at.steps and apart):
                at = self.after(at, 1 if straight and at.asked else DEFAULT, f"{step.label} waits")
            at.waits = True
        elif not self.linear and at.steps and (not self.options.fuse or nested(at) >= NESTING):
            at = self.after(at, DEFAULT, "a function holds eight nested expansions" if self.options.fuse
                            else "fuse=False")
            at.waits = self.loop and parks(step)
        at.steps.append(step)
        if node.role == "sink":
            self.sinks.append(at.index)
        return [at]

    def hot(self, at: Draft, size: int, overflow: flow.Overflow, reason: str) -> None:
        """The queue that a hot source pushes into; asking for ``backpressure`` sets its bound and policy."""
        if overflow == "block":
            raise CompileError(f"{at.head.where if at.head else ''}: an Observable cannot be made to wait; choose "
                               "a policy that drops or fails, or read it in a thread: "
                               "kx.source(observable, on=kx.threads(1))")
        if at.lanes:
            self.gates[at.lanes[0]] = replace(self.gates[at.lanes[0]], size=size, overflow=overflow, reason=reason)
            return
        self.gates.append(Gate(len(self.gates), None, at.index, size, overflow, reason))
        at.lanes.append(self.gates[-1].index)

    def asked(self, step: Step, node: flow.Backpressure, at: Draft) -> Draft:
        if at.fed == "push" and not at.steps and self.loop and (overflow := of_a_queue(node)):
            self.hot(at, node.size, overflow, f"{step.label} asked for")
            at.asked = True
            return at
        if at.lanes and not at.steps and self.gates[at.lanes[0]].reason == LANE and not isinstance(node, flow.Prefetch):
            self.gates[at.lanes[0]] = replace(self.gates[at.lanes[0]], size=node.size, overflow=node.overflow,
                                              reason=f"{step.label} asked for, behind share")
            return at
        if queued(node) or at.waits:
            return self.after(at, node.size, f"{step.label} asked for", node.overflow)
        self.gates.append(Gate(len(self.gates), at.index, at.index, node.size, node.overflow,
                               f"{step.label} asked for", pulled=True))
        return at

    def stage(self, step: Step, at: Draft, reason: str) -> Draft:
        target = self.draft("stage", step, waits=True)
        self.gate(at, target, DEFAULT, f"{step.label} {reason}")
        return target

    def circle(self, step: Step, node: loops.Loop, at: Draft) -> Draft:
        """A loop: its body behind a gate for what is new and one for what comes back, and a gate out of it."""
        if not node.size:
            raise CompileError(f"{node.where} is a cycle without a gate (size=0): what comes back has nowhere to wait:"
                               f"\n\n{draw(one(node))}\n\ngive the feedback a size of 1 or more")
        entry = self.draft("stage", step, waits=True)
        self.gate(at, entry, DEFAULT, f"{step.label} begins", port="new")
        (end,) = self.series(node.body.nodes, entry)
        end.fan = step
        out = self.draft("gate")
        self.gate(end, out, DEFAULT, f"{step.label} is done with it", port="done")
        self.gate(end, entry, node.size, f"{step.label} goes on with it", "error", port="back", back=True)
        return out

    def join(self, step: Step, ports: list[Draft]) -> Draft:
        for graph in step.node.branches:
            ports = [*ports, *self.series(graph.nodes)]
        passing(step, any(port.marks for port in ports))
        target = self.draft("stage", step, waits=True)
        for number, port in enumerate(ports, 1):
            self.gate(port, target, step.node.size, f"{step.label} joins", port=str(number))  # type: ignore[attr-defined]
        return target

    def split(self, step: Step, at: Draft) -> list[Draft]:
        at.fan = step
        keys = getattr(step.node, "keys", None) or range(1, len(step.node.branches) + 1)
        ports: list[Draft] = []
        starts = []
        known = len(self.sinks)
        for key in [*keys, "main"] if step.node.aside else keys:
            starts.append(self.draft("gate"))
            self.gate(at, starts[-1], step.node.size, f"{step.label} splits", port=str(key))  # type: ignore[attr-defined]
        for graph, start in zip(step.node.branches, starts, strict=not step.node.aside):
            ends_ = self.series(graph.nodes, start)
            ports += ends_ if end_of(graph.nodes) != "closed" else []
        if step.node.aside:
            del self.sinks[known:]  # a side's result is none of the run's
            return starts[-1:]
        return ports


def nested(draft: Draft) -> int:
    """How many nested blocks the segment's function has so far."""
    return sum(s.node.expands for s in draft.steps)


def all_steps(nodes: Sequence[Node]) -> list[Step]:
    """Every step of a graph, those of branches included."""
    steps = expand(nodes)
    return steps + [s for step in steps for g in step.node.branches for s in all_steps(g.nodes)]


def compile(nodes: Sequence[Node], options: Options, *, streamed: bool = False, on_loop: bool = False,
            saves: bool = True) -> Plan:
    """The plan of a series of nodes; with ``streamed`` its open output ends in a gate for a reader.

    A loop is needed if some node waits, or if an Observable has to feed more than one segment; and
    ``on_loop``, where there is one anyway, if some step would block it.  Without ``saves`` a checkpoint saves nothing.
    Raises: CompileError, naming the node and the remedy.
    """
    steps = all_steps(nodes)
    shaped = any(s.node.role in ("fan_in", "fan_out") or isinstance(s.node, units.Share | loops.Loop)
                 or queued(s.node) or is_told(s) for s in steps)
    hot = any(s.node.role == "source" and fed_by(s.node, False) == "push" for s in steps)
    loop = any(step_waits(s) for s in steps) or (hot and (shaped or streamed)) \
        or ((on_loop or streamed) and any(blocks(s) for s in steps))
    if asks_ids(steps, linear := not loop and not shaped):
        options = replace(options, events=True)
    if saves and any(isinstance(s.node, Checkpoint) for s in every(tuple(steps))):
        options = Saving(options.chunk, options.fuse, options.inline, options.events)
    cutter = Cutter(loop, linear, options, budgets(steps))
    ports = cutter.series(nodes)
    if streamed:
        (at,) = ports
        cutter.gates.append(Gate(len(cutter.gates), at.index, None, DEFAULT, "block", "stream() reads it"))
        at.outs.append(cutter.gates[-1].index)
    segments = [finished(draft, cutter.linear, options) for draft in cutter.drafts]
    plan = Plan(relabelled(segments, cutter.laid), tuple(cutter.gates), loop, options, tuple(cutter.sinks))
    if isinstance(options, Saving):
        check(plan)
    return plan


def finished(draft: Draft, linear: bool, options: Options) -> Segment:
    runs = fuse(draft.steps, options) if linear else (tuple(draft.steps),)
    return Segment(draft.index, draft.fed, draft.head, tuple(draft.lanes), runs,
                   draft.fan, tuple(draft.outs), draft.waits)


def takes_nothing(segment: Segment) -> bool:
    """True if a ``take(0)`` stands in the segment: it completes at once and its source stays shut."""
    return any(isinstance(s.node, select.Take) and s.node.count == 0 for s in segment.steps)


