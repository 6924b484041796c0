"""Keeping: what the nodes of a plan hold that a checkpoint saves, and the lines that save it and put it back.

A barrier is no item: it stands between two of them, and what a segment holds when it comes is its state
there.  The generated code meets it at the head of its loop, and only in a plan with a checkpoint.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any

from kayrx.errors import CompileError
from kayrx.graph.node import Node
from kayrx.nodes import (
    about,
    chunks,
    combine,
    ends,
    eventtime,
    flow,
    groups,
    growth,
    latest,
    position,
    retract,
    select,
    sides,
    stateful,
    transform,
    units,
    windows,
)
from kayrx.nodes.checkpoint import Checkpoint
from kayrx.nodes.values import EMPTY
from kayrx.plan.emit import Emitter
from kayrx.plan.labels import uniquely
from kayrx.plan.plan import Plan, Step, every
from kayrx.plan.traits import is_pool, parks, waits


class Barrier:
    """Flows between items, from the sources to the sinks; checkpoint ``number`` is the state that it has seen."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


class Errand:
    """Goes through the body of a group, which rests between two items: fetches what it holds, or brings it back."""

    __slots__ = ("brought", "fetched")

    def __init__(self, brought: list[Any] | None = None) -> None:
        self.brought, self.fetched = brought, []  # type: ignore[var-annotated]

    def meet(self, held: Any, put_back: Any) -> None:
        if self.brought is None:
            self.fetched.append(held())
        else:
            put_back(self.brought.pop(0))


KEPT: dict[type[Node], str] = {
    transform.Scan: "state", transform.Reduce: "state", transform.Pairwise: "before",
    stateful.StatefulMap: "state states", select.Distinct: "seen order", select.DistinctUntilChanged: "before",
    select.Take: "taken", select.Skip: "left", select.TakeWhile: "over", select.SkipWhile: "passing",
    position.TakeLast: "held", position.First: "found", position.Last: "newest", position.ElementAt: "left",
    position.DefaultIfEmpty: "empty", windows.Buffer: "held", windows.Sliding: "held fresh away",
    eventtime.WindowBy: "panes", groups.GroupBy: "groups", groups.InWindows: "groups count",
    groups.Ticks: "count", retract.Settled: "held",
    combine.Zip: "held", combine.CombineLatest: "newest", latest.WithLatestFrom: "newest", latest.ZipLatest: "held",
    about.WithIndex: "index", about.Dematerialize: "over", chunks.Chunk: "cutter", ends.ToList: "out",
}
"""The variables of each node that hold state; beside them the ids of what it has absorbed."""

CUT_BY: dict[type[Node], str] = {
    windows.Sliding: "count step", groups.InWindows: "count", eventtime.WindowBy: "tumbling sliding session",
}
"""The numbers by which a node has cut what it holds; with others it would never end what was begun."""

STATELESS = (transform.Map, transform.FlatMap, transform.Tap, select.Filter, select.IgnoreElements, about.Stamp,
             growth.Expand, flow.Backpressure, flow.RateLimit, ends.Each, ends.SinkTo, units.Unit, units.Share,
             Checkpoint, combine.Merge, combine.Broadcast, combine.Partition, combine.Branch, sides.Balance)


# -- what can be saved ---------------------------------------------------------------------------


def checkpoint_of(plan: Plan) -> Step | None:
    """The checkpoint of a plan."""
    return next((step for step in every(plan.steps()) if isinstance(step.node, Checkpoint)), None)


def kept_as(node: Node) -> str:
    """What a state is told apart by: ``scan``, ``sliding(count=5, step=1)``."""
    numbers = [f"{name}={value}" for name in CUT_BY.get(type(node), "").split()
               if (value := getattr(node, name)) is not None]
    return f"{node.word}({', '.join(numbers)})" if numbers else node.word


def stateful_steps(plan: Plan) -> dict[str, Step]:
    """The steps that hold state, by the name under which it is saved."""
    found: dict[str, Step] = {}

    def look(steps: Sequence[Step], inside: str) -> None:
        for step in steps:
            if isinstance(step.node, tuple(KEPT)):
                found[inside + step.label] = step
            if isinstance(step.node, groups.Grouping):
                look(step.inner, f"{inside}{step.label} > ")

    look(plan.steps(), "")
    return found


def check(plan: Plan) -> None:
    """Raise CompileError, naming the node and the remedy, for what a checkpoint cannot save."""
    steps = every(plan.steps())
    found = [step for step in steps if isinstance(step.node, Checkpoint)]
    if not found:
        return
    mark = found[0].node.where
    if len(found) > 1:
        raise CompileError(f"{found[1].node.where}: {mark} saves the whole graph already; leave one of them out")
    if not any(step is found[0] for step in plan.steps()):
        raise CompileError(f"{mark} stands inside a group or a guarded unit; write it before or after that")
    for step in steps:
        check_step(step, mark, plan)
    for fan in (s.fan for s in plan.segments if s.fan is not None):
        if isinstance(fan.node, units.Share) and fan.node.replay is not None:
            raise CompileError(f"{mark}: {fan.where} replays what it holds; leave replay= out")
    for gate in plan.gates:
        if flow.plain(gate.overflow) != "block" or isinstance(gate.overflow, flow.Coalesced):
            raise CompileError(f"{mark}: a gate ({gate.reason}) may drop or join items ({gate.overflow}), and what it "
                               "loses differs from run to run; use overflow='block', or also_to for wire_tap")
    sources = [s.head for s in plan.segments if s.head is not None and s.head.node.role == "source"]
    waiting = [step for step in sources if waits(step.node)]
    if len(sources) > 1 and waiting:
        raise CompileError(f"{mark}: all sources of a graph are saved at one moment, and {waiting[0].where} may keep "
                           "the others waiting for it; give that source a graph and a checkpoint of its own")
    if len({id(step.node) for step in sources}) < len(sources):
        raise CompileError(f"{mark}: {sources[0].where} stands in the graph twice and would have two places; join its "
                           "uses by kx.share()")


def check_step(step: Step, mark: str, plan: Plan) -> None:
    node = step.node
    if node.role == "source":
        if getattr(node, "replayable", None) is None and getattr(node, "cursor", None) is None:
            raise CompileError(f"{mark}: {step.where} cannot go back to where it was; give a list, kx.lines(path), an "
                               "object with read(cursor, n), or kx.source(connect, cursor=)")
    elif isinstance(node, combine.Concat):
        raise CompileError(f"{mark}: {step.where} reads one lane after the other, and those that wait for their turn "
                           "see no checkpoint; give one source that reads them in turn, an object with read(cursor, n)")
    elif not isinstance(node, (*KEPT, *STATELESS)):
        raise CompileError(f"{mark}: what {step.where} holds cannot be saved (it keeps time, chooses between lanes or "
                           "hosts an Rx operator); do its work in a graph of its own, after the one that is saved")
    elif isinstance(node, groups.Grouping) and any(map(parks, step.inner)) and plan.loop:
        raise CompileError(f"{mark}: the body of {step.where} waits, and cannot be saved in the middle of an item; "
                           f"write the node that waits before or after {node.word}()")
    elif is_pool(step) and getattr(getattr(node, "on", None), "batch", 1) > 1:
        raise CompileError(f"{mark}: {step.where} gathers its items into batches, which a checkpoint cannot wait for; "
                           "say batch=1")


# -- the lines of generated code -----------------------------------------------------------------


def keeper(e: Emitter, steps: Sequence[Step]) -> list[str]:
    """``held()`` and ``put_back(kept)`` over the state variables of a function, put after them."""
    if not e.saves:
        return []
    labels = uniquely([step.label for step in steps]) if e.saves == "body" else [step.label for step in steps]
    fetch, put = [], []
    for number, step in enumerate(steps):
        hints = f"{KEPT.get(type(step.node), '')} ids".split()
        names = [(hint, f"{hint}_{number}") for hint in hints if f"{hint}_{number}" in e.states]
        if names:
            fetch.append(f"{labels[number]!r}: {{" + ", ".join(f"{h!r}: packed({n})" for h, n in names) + "}")
            put += ["    nonlocal " + ", ".join(n for _, n in names),
                    f"    if (k := kept.get({labels[number]!r})) is not None:",
                    *(f"        {n} = unpacked({n}, k[{h!r}])" for h, n in names)]
    back = [] if e.saves == "body" else ["put_back(run.saver.kept)"]
    return ["def held():", f"    return {{{', '.join(fetch)}}}", "def put_back(kept):", *(put or ["    pass"]), *back]


def meets(e: Emitter, index: int = 0) -> None:
    """The head of a loop over items: a barrier is met there, and no further node sees it."""
    match e.saves:
        case "body":
            e.line("if type(x) is Errand: x.meet(held, put_back); yield x; continue")
        case "part":
            e.line("if type(x) is Barrier: run.saver.part(x, held); yield x; continue")
        case "whole":
            call = f"await run.saver.at({index}, x, held, outs)" if e.awaits else f"run.saver.at_now({index}, x, held)"
            e.line(f"if type(x) is Barrier: {call}; {e.loops[-1].go_on}")


# -- values as plain data --------------------------------------------------------------------------


def packed(value: Any) -> tuple[str, Any]:
    """A state as data that a codec can write."""
    if value is EMPTY:
        return "empty", None
    if isinstance(value, deque):
        return "deque", list(value)
    if isinstance(value, OrderedDict):
        return "ordered", list(value.items())
    saved = getattr(type(value), "saved", None)
    return ("own", saved(value)) if saved is not None else ("plain", value)


def unpacked(now: Any, kept: tuple[str, Any]) -> Any:
    """The state that was packed; ``now`` is what the node begins with."""
    kind, value = kept
    match kind:
        case "empty":
            return EMPTY
        case "deque":
            return deque(value, now.maxlen)
        case "ordered":
            return OrderedDict(value)
        case "own":
            now.restore(value)
            return now
    return value


GLOBALS: dict[str, Any] = {"Barrier": Barrier, "Errand": Errand, "packed": packed, "unpacked": unpacked}
