"""What a node is to the compiler: does it wait, does it need a task of its own, may it be guarded?

One row a node that differs from a plain synchronous step.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

from kayrx.graph.node import Node
from kayrx.nodes import (
    about,
    ends,
    feed,
    files,
    flow,
    growth,
    interval,
    select,
    stateful,
    switch,
    time,
    transform,
    units,
    until,
    windows,
)
from kayrx.nodes.guards import DeadLetter
from kayrx.nodes.limits import Deadline
from kayrx.nodes.values import is_async, is_async_generator
from kayrx.plan.labels import nested
from kayrx.plan.plan import Fed, Step

STATEFUL = (transform.Scan, stateful.StatefulMap)
ITEMWISE = (transform.Map, transform.FlatMap, transform.Tap, select.Filter, *STATEFUL,
            ends.Each, ends.SinkTo, units.Unit)
IN_PLACE = (transform.Map, transform.Tap, *STATEFUL, select.Filter, select.Take, select.TakeWhile, select.Skip,
            select.SkipWhile, select.Distinct, select.DistinctUntilChanged, about.WithIndex, about.Stamp,
            flow.Backpressure)
HOLDS_ALL = (ends.ToList,)


@singledispatch
def waits(node: Node) -> bool:
    """True if the node awaits something, so the plan needs an event loop."""
    return any(is_async(fn) for fn in node.functions)


@waits.register
def _(node: transform.Map) -> bool:
    return node.waits


@waits.register
def _(node: ends.SinkTo) -> bool:
    return is_async(node.take)


@waits.register(transform.FlatMap)
@waits.register(growth.Expand)
def _(node: transform.FlatMap | growth.Expand) -> bool:
    return is_async(node.fn) or is_async_generator(node.fn)


@waits.register(flow.RateLimit)
@waits.register(switch.Inner)
@waits.register(time.Timed)
@waits.register(ends.Interval)
@waits.register(ends.Timer)
def _(node: Node) -> bool:
    return True


@waits.register(files.Tail)
def _(node: files.Tail) -> bool:
    return True


@waits.register
def _(node: until.PauseWhen) -> bool:
    return True  # without time nothing could end a pause


@waits.register
def _(node: windows.Buffer) -> bool:
    return node.timed


@waits.register
def _(node: until.BufferUntil) -> bool:
    return node.seconds is not None


@waits.register
def _(node: interval.Join) -> bool:
    return node.event_time is None or any(is_async(fn) for fn in node.functions)


@waits.register
def _(node: ends.Source) -> bool:
    return node.kind in ("async", "publisher") or node.on is not None or (
        node.kind == "callable" and (is_async(node.what) or is_async_generator(node.what)))


def step_waits(step: Step) -> bool:
    """True if the step, one inside it, or a guard around it needs an event loop."""
    return waits(step.node) or any(g.times for g in step.guards) \
        or any(is_async(fn) for g in step.guards for fn in g.functions) \
        or any(step_waits(s) for s in (*step.inner, *step.beside))


def parks(step: Step) -> bool:
    """True if on a loop the step may suspend its segment: it waits, or a guard of it may."""
    return step_waits(step) or any(g.pauses for g in step.guards) \
        or any(parks(s) for s in (*step.inner, *step.beside))


def rests(step: Step) -> bool:
    """True if the step parks, or may after an error: one that says when to try again, or that becomes a letter."""
    return parks(step) or any(g.obeys for g in step.guards) or any(rests(s) for s in (*step.inner, *step.beside))


def blocks(step: Step) -> bool:
    """True if the step can do without a loop only by blocking its thread."""
    feeds = step.node.role == "source" and (fed_by(step.node, False) == "push"
                                            or fed_by(step.node, True) != fed_by(step.node, False))
    for_long = isinstance(step.node, units.Unit) and any(inner.node.expands for inner in step.inner)  # gives no turns
    return feeds or is_stage(step) or parks(step) or for_long


def is_pool(step: Step) -> bool:
    """True if the step runs several calls at once, so it needs worker tasks."""
    node = step.node
    if isinstance(node, transform.Map):
        return node.waits and (node.concurrency > 1 or node.on is not None)
    return isinstance(node, transform.FlatMap) and node.concurrency > 1 and waits(node)


def is_stage(step: Step) -> bool:
    """True if on a loop the node keeps time itself and so heads a segment."""
    node = step.node
    return isinstance(node, (time.Timed, flow.RateLimit, switch.Inner, transform.Rx)) \
        or (isinstance(node, windows.Buffer) and node.timed)


def is_told(step: Step) -> bool:
    """True if the node makes items of failures: it always heads a segment, for it must outlive what fails."""
    return isinstance(step.node, about.Materialize)


def fed_by(node: Node, loop: bool) -> Fed:
    """How a source gives its items: an iterator, an async iterator, or pushes."""
    match node:
        case ends.Source(kind="observable") if node.on is None:
            return "push"
        case ends.Lines() | feed.Fed():
            return "aiter" if loop else "iter"
        case _:
            return "aiter" if waits(node) else "iter"


def asks_ids(steps: Sequence[Step], linear: bool) -> bool:
    """True if letters need the ids of items to be carried with them.

    In a linear plan whose steps before the guard pass on what has just been read, the place of the source
    is the id, and is looked up when somebody asks (ruling 15).
    """
    keyed = [i for i, s in enumerate(steps) if has_letters(s)]
    if budgets(steps) or any(has_letters(inner) for s in steps for inner in nested(s)):
        return True  # a unit may have made several items of one
    return bool(keyed) and not (linear and all(isinstance(s.node, IN_PLACE) for s in steps[1:keyed[-1]]))


def has_letters(step: Step) -> bool:
    return any(isinstance(g, DeadLetter) and g.keyed for g in step.guards)


def budgets(steps: Sequence[Step]) -> bool:
    """True if items have a deadline from when they are read, which their ids carry."""
    return any(s.node.role == "source" and any(isinstance(g, Deadline) for g in s.guards) for s in steps)


def queued(node: Node) -> bool:
    """True for a gate that may drop, measures, or reads ahead, so that it is always a real one."""
    return isinstance(node, flow.Backpressure) and (node.overflow != "block" or isinstance(node, flow.Prefetch))


def of_a_queue(node: flow.Backpressure) -> flow.Overflow | None:
    """The policy that the queue of a hot source can keep by itself, so that it needs no gate besides."""
    kept = type(node) is flow.Backpressure and isinstance(node.overflow, str | flow.Conflate)
    return node.overflow if kept else None  # type: ignore[return-value]
