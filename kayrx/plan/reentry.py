"""Reentry: the part of a graph below a guarded node, as a graph of its own that letters can be sent into.

Nodes above are cut off.  Where branches meet below, only the one that the letter came from is kept, which
needs a join that takes its items one by one; a `share` above the meeting point keeps all that listen to it.
What fails in a loop goes through the rest of its body, and then round in the whole one.  What fails inside a
group goes through the rest of the body as a group of its own, for the group that it was in is over; what fails inside
a guarded unit or a graph of a fallback goes through the rest of that, without the guards around, which know items of
another kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from kayrx.errors import GraphError
from kayrx.graph.graph import Graph, graph_of, one
from kayrx.graph.join import end_of
from kayrx.graph.node import Node
from kayrx.nodes import combine, latest, units
from kayrx.nodes.ends import ToList
from kayrx.nodes.flow import Backpressure
from kayrx.nodes.groups import Grouping, InWindows
from kayrx.nodes.guards import DeadLetter
from kayrx.nodes.loops import Loop
from kayrx.plan.expand import expand
from kayrx.plan.labels import names_of
from kayrx.plan.plan import Step

RUNTIME = __file__.rpartition("plan")[0] + "runtime"
ONE_BY_ONE = (combine.Merge, combine.Concat, latest.MergePrioritized, latest.Race)


def filed_under(guard: DeadLetter, nodes: Sequence[Node]) -> str:
    """The name of the graph in a letter: the one given with ``.named()``, else the file and what its nodes are called.

    A `to_list` at the end does not count, for ``collect()`` adds one, nor does a sink that another face has added.
    """
    if given := name_given(guard, nodes):
        return given
    file = guard.written.file.rpartition("/")[2] if guard.written is not None else ""
    lasting = file and not file.startswith("<") and "ipykernel" not in guard.written.file  # type: ignore[union-attr]
    labels = " > ".join(s.label for s in expand(nodes) if not passing(s.node))
    return f"{file}: {labels}" if lasting else labels


def name_given(guard: DeadLetter, nodes: Sequence[Node]) -> str:
    """What ``.named()`` has called the graph of a guard; in a branch or a loop, which it leaves alone, the whole."""
    own = (guard.name or "").rpartition(".")[0]
    names = [(node.name or "").rpartition(".")[0] for node in nodes if not passing(node)]
    whole = min(names, key=len, default="")
    return own or (whole if all(f"{name}.".startswith(f"{whole}.") for name in names) else "")


def passing(node: Node) -> bool:
    """True for a sink that says nothing about which graph this is."""
    ours = node.role == "sink" and node.written is not None and node.written.file.startswith(RUNTIME)
    return ours or isinstance(node, ToList)


@dataclass(slots=True)
class Series:
    """A series of steps, each with the series inside it."""

    steps: list[tuple[Step, list[Series]]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Entry:
    """A guarded node, the names under which its letters are filed, and where it stands: inside ``outer``, a step of the
    graph, if it is none itself.  ``rest`` are the nodes of ``outer`` that are left from there on."""

    label: str
    graphs: frozenset[str]
    step: Step
    outer: Step
    rest: tuple[Node, ...] = ()
    degraded: bool = False


class Refused(Exception):
    """Letters cannot be sent in here; the message says why."""


class Reentries:
    """All nodes of a graph whose failed items become letters, by their label in its plan."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.laid: list[Step] = []
        self.shared: dict[str, Series] = {}
        self.whole = self.series(nodes)
        self.names = names_of(self.laid)
        self.entries: dict[str, Entry] = {}
        for step in self.laid:
            self.enter(step, self.names, nodes)

    def enter(self, step: Step, names: dict[int, str], nodes: Sequence[Node]) -> None:
        """The entries of a step of the graph, and of all inside it."""
        for at in places(step, names):
            filed = frozenset(filed_under(g, nodes) for g in at.step.guards if isinstance(g, DeadLetter))
            if filed:
                self.entries[at.label] = replace(at, graphs=filed)

    def series(self, nodes: Sequence[Node]) -> Series:
        """The steps of a series in the order in which `cut` lays them, so that they get the same names."""
        known = next((i for i in reversed(range(len(nodes))) if isinstance(nodes[i], units.Share)
                      and nodes[i].identity in self.shared), None)  # type: ignore[attr-defined]
        found = Series()
        if known is not None:
            found.steps += self.shared[nodes[known].identity].steps  # type: ignore[attr-defined]
            nodes = nodes[known + 1:]
        for step in expand(nodes):
            self.laid.append(step)
            inside: list[Series] = []
            found.steps.append((step, inside))
            if isinstance(step.node, units.Share):
                self.shared[step.node.identity] = Series(list(found.steps))
            if step.node.role in ("fan_in", "fan_out") or isinstance(step.node, Loop):
                inside += [self.series(g.nodes) for g in step.node.branches]
        return found

    # -- below an entry --------------------------------------------------------------------------

    def below(self, entry: Entry, source: Node) -> Graph[Any, Any]:
        """The graph from ``source`` into the entry and on; its nodes keep the labels they had.

        Raises GraphError, naming the node that is in the way.
        """
        if entry.step.node.role == "source":
            raise GraphError(f"cannot replay into {entry.step.where}: a source takes no items; run the graph again, "
                             "and mark the letter done: store.mark_done(letter.id)")
        try:
            nodes = self.cut_to(self.whole, entry, source)
        except Refused as refused:
            raise GraphError(f"cannot replay into {entry.step.where}: {refused}") from None
        assert nodes is not None
        return graph_of(tuple(nodes))

    def cut_to(self, series: Series, target: Entry, source: Node) -> list[Node] | None:
        """The nodes of a series from ``target`` on, behind ``source``; None if it does not stand in there."""
        for at, (step, inside) in enumerate(series.steps):
            after = series.steps[at + 1:]
            if step is target.outer:
                return [source, *(target.rest or self.kept([series.steps[at]])), *self.kept(after)]
            ways = [way for one in inside if (way := self.cut_to(one, target, source)) is not None]
            if not ways:
                continue
            node = step.node
            if isinstance(node, Loop):
                return self.round(ways[0], step, inside, after)
            if node.role == "fan_out":
                (way,) = ways
                if node.aside or end_of(way) == "closed" or not after:
                    return way  # it ends here, or where the series ends
                return self.joined(way, after[0][0], after[1:])
            if node.beside:
                raise Refused(f"what it gives only steers {step.where}; run the graph again")
            if len(ways) == len(inside):  # behind one share
                return [replaced(node, [graph_of(tuple(way)) for way in ways], self.names[id(step)]),
                        *step.guards, *self.kept(after)]
            if len(ways) > 1:
                raise Refused(f"{step.where} joins it with itself and with others")
            return self.joined(ways[0], step, after)
        return None

    def round(self, way: list[Node], step: Step, inside: list[Series],
              after: list[tuple[Step, list[Series]]]) -> list[Node]:
        """``way``, the rest of a loop's body; then the loop itself for what is not done yet, and what follows it."""
        if end_of(way) == "closed":
            return way
        (again,) = self.kept([(step, inside)])
        done: Any = step.node.until  # type: ignore[attr-defined]
        return [*way, combine.Partition(done, (one(Backpressure(1)), one(again))), combine.Merge(), *self.kept(after)]

    def joined(self, way: list[Node], join: Step, after: list[tuple[Step, list[Series]]]) -> list[Node]:
        """``way``, the one branch that is left of a join, and what follows it."""
        if not isinstance(join.node, ONE_BY_ONE):
            raise Refused(f"{join.where} joins it with items of other branches, which a replay has not; guard the node "
                          "after the join")
        again = [combine.Merge(name=self.names[id(join)])] if end_of(way) == "ports" else []
        return [*way, *again, *self.kept(after)]

    def kept(self, steps: list[tuple[Step, list[Series]]]) -> list[Node]:
        """Steps as nodes that are named as in the plan of the whole graph."""
        out: list[Node] = []
        for step, inside in steps:
            inner = [graph_of(tuple(self.kept(one.steps))) for one in inside]
            out += [replaced(step.node, inner, self.names[id(step)]), *step.guards]
        return out


def places(step: Step, names: dict[int, str]) -> Iterator[Entry]:
    """A step as a place to enter, and every one inside it with what is left of the step from there on."""
    yield Entry(names[id(step)], frozenset(), step, step)
    if isinstance(step.node, Grouping):
        inside = names_of(step.inner)
        for at in left(step.inner, inside):
            alone = InWindows(graph_of(at.rest), 1, name=names[id(step)], written=step.node.written)
            yield replace(at, label=f"{names[id(step)]}.{at.label}", outer=step, rest=(alone,))
        return
    for at in left(step.inner, names):
        yield replace(at, outer=step)
    for beside in step.beside:
        for at in left(beside.inner, names):
            yield replace(at, outer=step, degraded=True)


def left(steps: Sequence[Step], names: dict[int, str]) -> Iterator[Entry]:
    """The places in a row of steps, each with the nodes from there on."""
    def kept(step: Step) -> tuple[Node, ...]:
        return replaced(step.node, [], names[id(step)]), *step.guards

    for number, step in enumerate(steps):
        below = tuple(node for other in steps[number + 1:] for node in kept(other))
        for at in places(step, names):
            yield replace(at, rest=(*(at.rest or kept(step)), *below))


def replaced(node: Node, graphs: list[Graph[Any, Any]], label: str) -> Node:
    """A node with other graphs inside, under its label."""
    place = next((f.name for f in fields(node) if f.name in ("graphs", "inputs")), None)
    inside: dict[str, Any] = {place: tuple(graphs)} if place and node.role in ("fan_in", "fan_out") else \
        {"body": graphs[0]} if isinstance(node, Loop) else {}
    return node.labelled(label) if not inside and node.label == label else replace(node, name=label, **inside)
