"""check: what a user should know before running a graph, one line a node, with its line and the remedy.

This module is what ``graph.check`` opens.  A kind of node that deserves a word has a row in `notes`; what it
holds without bound it says itself (`Node.unbounded`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import singledispatch
from typing import Any

from kayrx.door import floor
from kayrx.errors import GraphError
from kayrx.graph.graph import Graph
from kayrx.graph.node import Node
from kayrx.nodes import ends, feed, flow, groups, guards, limits, transform, until, windows
from kayrx.nodes.values import is_async, is_async_generator, is_generator
from kayrx.plan import cut
from kayrx.plan.blocking import blocking, reading
from kayrx.plan.explain import resumes
from kayrx.plan.plan import Plan, Step, every, taken_apart
from kayrx.plan.reentry import Reentries, name_given
from kayrx.plan.traits import ITEMWISE, STATEFUL, fed_by
from kayrx.plan.turns import turns

LOSING = ("drop_oldest", "drop_newest", "latest")
WAITS = "say overflow='block' to wait, or kx.conflate(f) to join them"


def warnings(graph: Graph[Any, Any], *, trial: Iterable[Any] | None = None, world: Any = None,
             **options: Any) -> list[str]:
    """Warnings, one a line, each with the node and its line; of a ``trial`` also those of what was measured."""
    plan = cut.compile(graph.nodes, taken_apart(options)[0])
    measured = {} if trial is None or not plan.loop else floor("trial").measured(graph, list(trial), world, **options)
    steps = list(known(graph, plan))
    inside = {id(inner.node): step.node.word for step in steps if isinstance(step.node, groups.Grouping)
              for at, body in enumerate(step.inner) for inner in every((body,)) if remembers(step.inner[at:])}
    out = []
    for step in steps:
        out += [f"{step.where} {note}" for note in notes(step.node)]
        if step.node.unbounded is not None:
            out.append(f"{step.where} {step.node.unbounded}")
        out += [*retries(step), *letters(step, inside, graph.nodes)]
        if plan.loop:
            out += loop_notes(step, measured)
    return [*out, *refused(graph.nodes), *late(plan), *repeated(plan), *unheeded(steps)]


def unheeded(steps: Sequence[Step]) -> Iterator[str]:
    """Deadlines of sources at which nobody looks, and timeouts of those that are read without a wait."""
    for step in steps:
        node, timed = step.node, next((g for g in step.guards if isinstance(g, guards.Timeout)), None)
        if timed is not None and node.role == "source" and fed_by(node, loop=True) == "iter" and all(
                is_generator(fn) for fn in node.functions):
            yield (f"{timed.where} cannot interrupt {step.where}, which is synchronous, so it never runs out; say "
                   "source(x, on=kx.threads(1)), or guard the node that may be slow")
    if not any(step.guards for step in steps if step.node.role != "source"):
        yield from (f"{guard.where} is looked at by no unit, for none below has a guard; add one, as retry(1), or "
                    "write the deadline behind a unit" for step in steps for guard in step.guards
                    if isinstance(guard, limits.Deadline) and step.node.role == "source")


def known(graph: Graph[Any, Any], plan: Plan) -> Iterable[Step]:
    """Every step once, gates asked for and fan-outs included, under its label in the plan."""
    fans = tuple(s.fan for s in plan.segments if s.fan is not None)
    planned = {id(step.node): step for step in reversed(every(plan.steps() + fans))}
    written = {id(step.node): step for step in reversed(every(tuple(cut.all_steps(graph.nodes))))}
    return [planned.get(node, step) for node, step in reversed(written.items())]


# -- what a node says of itself ------------------------------------------------------------------


@singledispatch
def notes(node: Node) -> Iterator[str]:
    """What there is to say of a node wherever it stands."""
    yield from ()


@notes.register
def _(node: transform.Rx) -> Iterator[str]:
    if node.max_burst is None:
        yield "may release any number of items at once (unbounded); say max_burst=n"


@notes.register
def _(node: windows.Buffer) -> Iterator[str]:
    if node.count is None:
        yield f"holds as many items as come in {node.seconds:g} s (unbounded); add count="


@notes.register
def _(node: until.BufferUntil) -> Iterator[str]:
    if node.count is None:
        yield "holds as many items as come before one of until= (unbounded); add count="


@notes.register
def _(node: flow.Backpressure) -> Iterator[str]:
    if flow.plain(node.overflow) in LOSING:
        yield f"loses items when it is full ({flow.plain(node.overflow)}), and nothing below is told; {WAITS}"


@notes.register
def _(node: feed.Fed) -> Iterator[str]:
    if node.queue.overflow in LOSING:
        yield f"loses items when it is full ({node.queue.overflow}), and who puts them is not told; {WAITS}"


# -- guards --------------------------------------------------------------------------------------


def retries(step: Step) -> Iterator[str]:
    """A retry over what may have given something by then."""
    if not any(isinstance(guard, guards.Retry) and guard.resume == "before_first" for guard in step.guards):
        return
    if step.node.role != "source":
        if sends(step):
            yield (f"{step.where} gives its output as it comes, so it is not tried again once it has given some "
                   "(retry, resume='before_first'); let it give a whole list, say another resume=, or add "
                   "dead_letter()")
    elif getattr(step.node, "kind", "") == "observable":
        yield (f"{step.where} is subscribed to anew by each retry: a cold Observable repeats its items, of a hot one "
               "those in between are lost; write it as source(connect, cursor=)")
    elif not resumes(step.node):
        yield f"{step.where} is opened from its beginning by each retry, so items repeat; give cursor=, or resume="


def letters(step: Step, inside: dict[int, str], nodes: Sequence[Node]) -> Iterator[str]:
    """Dead letters that a replay may not find, or sends in without what the group knew that they come from."""
    for guard in step.guards:
        if isinstance(guard, guards.DeadLetter) and guard.keyed and (word := inside.get(id(step.node))):
            yield (f"{step.where} stands inside {word}(), whose groups are over when a letter is sent in again: each "
                   f"goes through the rest of the body as a group of its own; do what may fail before {word}()")
        elif isinstance(guard, guards.DeadLetter) and guard.keyed and not name_given(guard, nodes):
            yield (f"{step.where} writes letters of a graph without a name, which a replay finds only while its file "
                   "and nodes are called the same; add .named('...') to the graph")


def remembers(steps: Sequence[Step]) -> bool:
    """True if a step holds something from item to item, so that a fresh group is not as good as the old one."""
    return not all(isinstance(s.node, (*ITEMWISE, groups.Grouping)) and not isinstance(s.node, STATEFUL)
                   for s in every(tuple(steps)))


def refused(nodes: Sequence[Node]) -> Iterator[str]:
    """Nodes with dead letters into which none can be sent again."""
    reentries = Reentries(nodes)
    for entry in reentries.entries.values():
        if entry.step.node.role != "source" and any(isinstance(g, guards.DeadLetter) and g.keyed
                                                    for g in entry.step.guards):
            try:
                reentries.below(entry, ends.Source(()))
            except GraphError as error:
                yield str(error)


def sends(step: Step) -> bool:
    """True if the step may have sent part of its output when it fails: a generator has, and what stands behind an
    expansion inside a unit."""
    if not step.inner:
        return isinstance(step.node, transform.FlatMap) and lazy(step.node)
    return any(sends(inner) or (inner.node.expands and inner is not step.inner[-1]) for inner in step.inner)


def lazy(node: transform.FlatMap) -> bool:
    return is_generator(node.fn) or is_async_generator(node.fn)


# -- on a loop -----------------------------------------------------------------------------------


def loop_notes(step: Step, measured: dict[int, str]) -> Iterator[str]:
    """What blocks the loop that the plan runs on: as a trial has measured it, else as it is known by name."""
    node = step.node
    if isinstance(node, ends.Source) and node.kind == "observable":
        yield f"{step.where} is hot and cannot wait: more than its gate holds fails the run"
    guarding = [(guard.where, guard) for guard in step.guards]
    for where, called in [(step.where, node), *guarding]:
        found = measured.get(id(called)) or next((f"calls {name}, which blocks the event loop"
                                                  for name in blocks(called)), None)
        if found is not None:
            yield f"{where} {found}; {remedy(called)}"


def blocks(node: Node) -> Iterator[str]:
    """The blocking functions that a node is known to call in the loop's own thread."""
    if isinstance(node, transform.Map | ends.Source) and node.on is not None:
        return
    fns: Iterable[Any] = node.functions
    if isinstance(node, ends.SinkTo) and node.method is not None:
        fns = (getattr(node.target, node.method),)
    yield from (name for fn in fns if (name := blocking(fn)))
    if isinstance(node, ends.Source) and node.kind == "iterable" and (name := reading(node.what)):
        yield name


def remedy(node: Node) -> str:
    """How to keep the loop free of what a node does."""
    if any(is_async(fn) or is_async_generator(fn) for fn in node.functions):
        return "in an async function write: await anyio.to_thread.run_sync(f, x)"
    if isinstance(node, transform.Map):
        return "say map(f, on=kx.threads(1))"
    if isinstance(node, ends.Source):
        return "say source(x, on=kx.threads(1))"
    return "make it an async function, or do it before in a map(f, on=kx.threads(1))"


# -- of the plan ---------------------------------------------------------------------------------


def late(plan: Plan) -> Iterator[str]:
    """Hot sources that nobody hears from the beginning on."""
    for index in turns(plan):
        head = plan.segments[index].head
        what = getattr(head.node, "what", None) if head is not None else None
        kinds = [kind.__name__ for kind in type(what).__mro__]
        if head is None or getattr(head.node, "kind", "") != "observable" or "ReplaySubject" in kinds:
            continue
        hot = "is hot" if hasattr(what, "on_next") else "may be hot (an Observable does not say)"
        yield (f"{head.where} {hot} and is not subscribed to before its turn in a concat comes; what it gives by then "
               "is lost: merge() hears it from the start, a queue_source() or ReplaySubject keeps it")


def repeated(plan: Plan) -> Iterator[str]:
    """Sources that are opened more than once without being asked to."""
    sources = [s.node for s in plan.steps() if s.node.role == "source"]
    for i, node in enumerate(sources):
        if any(node is other for other in sources[:i]):
            yield (f"{node.where} is used more than once and is opened for each use; "
                   "add >> kx.share() to open it once")


__all__ = ["warnings"]
