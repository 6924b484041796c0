"""The Rx faces: a graph as an Observable, an open graph as an Rx operator.

Runs of nodes with a generated form are hosted in one operator; other nodes are the reactivex
operator itself, with the scheduler given to ``subscribe``.  A graph with async nodes runs on the
running loop, and its items are handed to the observer there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any

from reactivex import Observable, abc
from reactivex.disposable import Disposable, SingleAssignmentDisposable

from kayrx.graph.graph import Graph, graph_of
from kayrx.graph.node import Node
from kayrx.nodes.ends import source
from kayrx.nodes.flow import Backpressure
from kayrx.nodes.loops import Loop
from kayrx.nodes.time import Timed
from kayrx.nodes.transform import Rx
from kayrx.nodes.units import Share, Unit
from kayrx.plan.cut import all_steps
from kayrx.plan.forms import has_form
from kayrx.plan.lower import Operator, has_operator, joined, lower, split
from kayrx.plan.shapes import gone
from kayrx.plan.traits import is_stage, parks, step_waits
from kayrx.runtime.backend import SyncBackend
from kayrx.runtime.context import Context
from kayrx.runtime.faces import must_have_output, taken_apart
from kayrx.runtime.gates.circling import circled
from kayrx.runtime.program import Program, must_be_fed, must_be_open, program
from kayrx.runtime.rx.observed import bridged, here_or_there, networked, pulled
from kayrx.runtime.rx.timers import timed
from kayrx.runtime.world import THE_WORLD, World


def suspends(nodes: Sequence[Node]) -> bool:
    """True if some node awaits user code or must hold its source, which an Rx operator cannot.

    Keeping time alone is no such thing; being one upstream of several uses is.
    """
    shared = [s.node.identity for s in all_steps(nodes) if isinstance(s.node, Share)]
    return len(set(shared)) < len(shared) or any(
        step_waits(s) and not (is_stage(s) and not s.guards and has_operator(s.node))
        or s.node.aside or (s.node.role == "fan_in" and not has_operator(s.node))
        or (isinstance(s.node, Loop) and any(map(is_stage, all_steps(s.node.body.nodes))))  # when does it rest?
        for s in all_steps(nodes))


# -- operator ------------------------------------------------------------------------------------


def operator(graph: Graph[Any, Any], **options: Any) -> Operator:
    """An open graph as ``Observable -> Observable``."""
    chosen, rest = taken_apart(options)
    must_be_open(program(graph, chosen).plan, graph, "operator()")
    world = rest.get("world") or THE_WORLD
    if suspends(graph.nodes):
        return lambda upstream: bridged(source(upstream) >> graph, world)
    parts = lowered(graph.nodes, chosen, world)

    def operate(upstream: Observable[Any]) -> Observable[Any]:
        return timed(through(upstream, parts), world) if any(map(keeps_time, graph.nodes)) else through(upstream, parts)

    return operate


def keeps_time(node: Node) -> bool:
    return isinstance(node, Timed | Rx) or any(keeps_time(inner) for g in node.branches for inner in g.nodes)


def lowered(nodes: Sequence[Node], options: Any, world: World) -> list[Operator]:
    """The Rx operators of a series: hosted runs, single operators, and fan-outs with their fan-in."""
    out: list[Operator] = []
    at = 0
    while at < len(nodes):
        node = nodes[at]
        if node.role == "fan_out":
            inner = [operator(g, **options_of(options)) for g in node.branches]
            out.append(split(node, inner, nodes[at + 1]))
            at += 2
        elif isinstance(node, Loop):
            out.append(circled(node, operator(node.body, **options_of(options))))
            at += 1
        elif node.role == "fan_in":
            others = [to_observable(g, **options_of(options), world=world) for g in node.branches]
            out.append(partial(with_others, node, others))
            at += 1
        elif hosted_here(node):
            end = next((i for i in range(at, len(nodes)) if not hosted_here(nodes[i])), len(nodes))
            pieces = [nodes[at:end]] if options.fuse else units_of(nodes[at:end])
            out += [hosted(program(graph_of(tuple(piece)), options), world) for piece in pieces]
            at = end
        else:
            out.append(lower(node).operator)
            at += 1
    return out


def with_others(node: Node, others: list[Observable[Any]], upstream: Observable[Any]) -> Observable[Any]:
    return joined(node, [upstream, *others])


def options_of(options: Any) -> dict[str, Any]:
    return {name: getattr(options, name) for name in options.__slots__}


def hosted_here(node: Node) -> bool:
    timed = getattr(node, "timed", False)
    return node.role == "guard" or isinstance(node, Unit) or (
        has_form(node) and not isinstance(node, Rx | Backpressure) and not timed)


def units_of(nodes: Sequence[Node]) -> list[list[Node]]:
    """Each node with the guards written after it."""
    count = 0

    def number(node: Node) -> int:
        nonlocal count
        count += node.role != "guard"
        return count

    return [list(group) for _, group in groupby(nodes, key=number)]


def hosted(made: Program, world: World) -> Operator:
    """A fused run of nodes as one Rx operator."""
    segment, code = made.plan.segments[0], made.push

    def operate(upstream: Observable[Any]) -> Observable[Any]:
        def subscribe(observer: abc.ObserverBase[Any],
                      scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
            seen = world if scheduler is None else replace(
                world, now=lambda: scheduler.to_seconds(scheduler.now))  # the subscriber's clock wins (ruling 19)
            run = Context(made, seen, SyncBackend(seen))
            subscription = SingleAssignmentDisposable()

            def complete(_: object) -> None:
                observer.on_completed()
                subscription.dispose()

            def failing(step: Callable[..., Any]) -> Callable[..., Any]:
                def guarded(*item: Any) -> None:
                    try:
                        step(*item)
                    except Exception as error:
                        if code.raised_below(error):
                            raise  # the observer's own failure goes up, as in Rx
                        run.fail(error, segment)
                        subscription.dispose()
                        observer.on_error(error)
                return guarded

            def leave() -> None:
                subscription.dispose()
                finish(gone)

            push, finish, _ = code.function(run, observer.on_next, complete)
            if made.closed_from_start:
                finish()
                return Disposable()
            subscription.disposable = upstream.subscribe(
                failing(push), observer.on_error, failing(finish), scheduler=scheduler)
            return Disposable(leave)

        return Observable(subscribe)

    return operate


# -- to_observable -------------------------------------------------------------------------------


def to_observable(graph: Graph[Any, Any], **options: Any) -> Observable[Any]:
    """A cold Observable of what comes out; each subscription is a run."""
    chosen, rest = taken_apart(options)
    world = rest.get("world") or THE_WORLD
    must_have_output(graph, "observe")
    made = program(graph, chosen)
    must_be_fed(made.plan, graph, "observe")
    if made.plan.linear:
        if made.plan.segments[0].fed == "push":
            return operated(graph, chosen)
        if any(parks(s) for s in made.plan.steps()):  # a backoff must not hold a loop that is running
            return here_or_there(pulled(made, world), bridged(graph, world))
        return pulled(made, world)
    if not made.plan.loop:
        return networked(graph, world)
    first = graph.nodes[0]
    if not suspends(graph.nodes):
        if first.role == "fan_in":
            parts = [to_observable(g, **options) for g in first.branches]
            return through(joined(first, parts), lowered(graph.nodes[1:], chosen, world))
        if getattr(first, "kind", "") == "observable":
            return operated(graph, chosen)
    return bridged(graph, world)


def operated(graph: Graph[Any, Any], chosen: Any) -> Observable[Any]:
    upstream: Observable[Any] = graph.nodes[0].what  # type: ignore[attr-defined]
    return through(upstream, lowered(graph.nodes[1:], chosen, THE_WORLD))


def through(upstream: Observable[Any], parts: list[Operator]) -> Observable[Any]:
    for part in parts:
        upstream = part(upstream)
    return upstream
