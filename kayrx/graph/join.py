"""How nodes join: which ends of a series are open, and what may stand beside what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

from kayrx.errors import GraphError
from kayrx.graph.node import Node

Nodes = tuple[Node, ...]
End = Literal["one", "ports", "closed"]
FAN_IN = "merge(), concat(), zip() or combine_latest()"


def is_fed(nodes: Sequence[Node]) -> bool:
    """True if the series brings its own items (a source, or a fan-in of graphs with sources)."""
    first = nodes[0]
    return first.role == "source" or (first.role == "fan_in" and bool(first.branches) and not first.beside)


def width(nodes: Sequence[Node]) -> int:
    """How many open ends a series has."""
    end = end_of(nodes)
    last = next((node for node in reversed(nodes) if node.role != "guard"), nodes[-1])
    return sum(width(b.nodes) for b in last.branches) if end == "ports" else int(end == "one")


def end_of(nodes: Sequence[Node]) -> End:
    """What is open at the end: one output, the ports of a fan-out, or nothing.  Guards leave it as it is."""
    last = next((node for node in reversed(nodes) if node.role != "guard"), nodes[-1])
    if last.role == "sink":
        return "closed"
    if last.role == "fan_out" and not last.aside:
        return "ports" if any(end_of(b.nodes) != "closed" for b in last.branches) else "closed"
    return "one"


def join(left: Nodes, right: Nodes) -> Nodes:
    """The series ``left >> right``.

    Raises: GraphError, naming both nodes, if a sink stands before something, a source after
            something, or branches are not joined by a fan-in.
    """
    a, b = left[-1], right[0]

    def refuse(why: str) -> GraphError:
        return GraphError(f"cannot join {a.where} >> {b.where}: {why}")

    if is_fed(right):
        raise refuse(f"{b.word} brings its own items; to join two sources write [a, b] >> {FAN_IN}")
    end = end_of(left)
    if end == "closed" and not all(node.role == "guard" for node in right):
        raise refuse(f"nothing comes out of {a.word}; put it last, or use tap() to look at items on the way")
    if end == "ports" and (b.role != "fan_in" or b.beside):
        raise refuse(f"branches need a fan-in next: {FAN_IN}")
    if end == "one" and b.role == "fan_in" and not b.beside:
        raise refuse(f"{b.word}() joins branches; write a >> [b, c] >> {b.word}()")
    if end == "ports":
        b.check_ports(width(left))
    return left + right


def feed(graphs: Sequence[Any], right: Nodes) -> Nodes | None:
    """``[b, c] >> right`` for graphs with sources: the fan-in that begins ``right`` takes them in.

    None if the graphs are open, so that a broadcast has to come before them.
    """
    first = right[0]
    fed = [is_fed(g.nodes) for g in graphs]
    names = " and ".join(g.nodes[0].where for g in graphs)
    if first.role != "fan_in" or first.branches:
        raise GraphError(f"cannot join [{names}] >> {first.where}: branches need a fan-in next: {FAN_IN}")
    if any(fed) and not all(fed):
        raise GraphError(f"[{names}]: some branches have a source and some have none; "
                         "give each a source, or give them one together: a >> [b, c]")
    for graph in graphs:
        if end_of(graph.nodes) != "one":
            raise GraphError(f"{graph.nodes[-1].where} has no single output to give to {first.where}")
    return (replace(first, inputs=tuple(graphs)), *right[1:]) if all(fed) else None  # type: ignore[call-arg]


def prefixed(nodes: Iterable[Node], name: str) -> Nodes:
    """The nodes of a named series: ``parse`` over a node ``split`` gives ``parse.split``."""
    return tuple(node.labelled(f"{name}.{node.label}") for node in nodes)
