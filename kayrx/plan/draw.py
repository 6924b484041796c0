"""The graph as a picture: nodes as boxes, branches as ways, guards as a line under their node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kayrx import render
from kayrx.errors import GraphError
from kayrx.graph.graph import Graph
from kayrx.graph.join import end_of
from kayrx.graph.node import Node
from kayrx.nodes.flow import Backpressure
from kayrx.nodes.groups import Grouping, Ticks
from kayrx.nodes.loops import Loop
from kayrx.nodes.units import Unit

KINDS = {"source": "source", "sink": "sink", "fan_in": "fan", "fan_out": "fan"}
FORMS = {"text": render.text, "mermaid": render.mermaid, "svg": render.svg}


class Sketch:
    """Collects boxes and arrows while it walks a graph."""

    def __init__(self) -> None:
        self.boxes: list[render.Box] = []
        self.arrows: list[render.Arrow] = []

    def box(self, node: Node, guards: Sequence[Node], group: str) -> str:
        key = f"b{len(self.boxes)}"
        detail = [node.word] if node.label != node.word else []
        detail += [f"> {guard.word}" for guard in guards]
        kind: Any = "gate" if isinstance(node, Backpressure) else "fan" if isinstance(node, Loop) else KINDS.get(
            node.role, "node")
        self.boxes.append(render.Box(key, node.label, " ".join(detail), kind, group))
        return key

    def series(self, nodes: Sequence[Node], ports: list[tuple[str, str]], group: str = "") -> list[tuple[str, str]]:
        """Draw ``nodes`` after ``ports`` (box and arrow label); gives the open ends."""
        for at, node in enumerate(nodes):
            if node.role == "guard":
                continue
            following = nodes[at + 1:]
            stop = next((i for i, n in enumerate(following) if n.role != "guard"), len(following))
            if isinstance(node, Unit):
                ports = self.series(node.graph.nodes, ports, node.label)
                continue
            for graph in node.branches if node.role == "fan_in" else ():
                ports = [*ports, *self.series(graph.nodes, [], group)]
            if isinstance(node, Ticks):
                continue  # the clock of the window that follows
            key = self.box(node, following[:stop], group)
            self.arrows += [render.Arrow(start, key, label) for start, label in ports]
            ports = [(key, "")]
            if isinstance(node, Loop):
                ends = self.series(node.body.nodes, ports, node.label)
                self.arrows += [render.Arrow(start, key, label or "again") for start, label in ends]
                ports = [(start, "done") for start, _ in ends]
            elif isinstance(node, Grouping):
                ports = self.series(node.body.nodes, ports, node.label)
            elif node.role == "fan_out":
                names = getattr(node, "keys", None) or [""] * len(node.branches)
                ports = [end for name, graph in zip(names, node.branches, strict=True)
                         for end in self.series(graph.nodes, [(key, str(name))], group)
                         if end_of(graph.nodes) != "closed"] + ([(key, "")] if node.aside else [])
        return ports


def picture(graph: Graph[Any, Any]) -> render.Picture:
    """The graph as boxes and arrows."""
    sketch = Sketch()
    sketch.series(graph.nodes, [])
    return render.Picture(tuple(sketch.boxes), tuple(sketch.arrows))


def draw(graph: Graph[Any, Any], form: str = "text") -> str:
    """The picture as text, mermaid or svg; GraphError for any other form."""
    if form not in FORMS:
        raise GraphError(f"draw({form!r}): the forms are {', '.join(FORMS)}")
    return FORMS[form](picture(graph))
