"""Forms of sinks, and of a gate that needs no queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kayrx.graph.node import Resource
from kayrx.nodes import ends, flow
from kayrx.nodes.retract import Retract
from kayrx.nodes.values import taking
from kayrx.plan.emit import Emitter
from kayrx.plan.forms.base import item, result
from kayrx.plan.written import Written


@item.register
def _(node: flow.Backpressure, e: Emitter, x: str) -> str:
    return x


@item.register
def _(node: ends.ToList, e: Emitter, x: str) -> None:
    e.line(f"{e.state('out', '[]')}.append({x})")
    e.fate("delivered")


@result.register
def _(node: ends.ToList, e: Emitter) -> str:
    return e.state("out", "[]")


def into(node: ends.Each | ends.SinkTo) -> Callable[[Any], Any]:
    """The function a sink calls with each item."""
    return node.fn if isinstance(node, ends.Each) else node.take


@item.register(ends.Each)
@item.register(ends.SinkTo)
def _(node: ends.Each | ends.SinkTo, e: Emitter, x: str) -> None:
    assert e.step is not None
    unit: Callable[[Any], Any] | str
    if isinstance(node, ends.SinkTo) and isinstance(node.target, Resource):
        resource = e.param("resource", node.target)
        target = e.state("made", f"run.opened[{resource}]")
        unit = e.state("take", f"run.opened.taker({resource}, {e.param('where', e.step.where)})")
        text = f"{unit}({x})"
    else:
        target = ""
        unit = into(node)
        text = e.call(unit, x)
    marked = e.step.marked and isinstance(node, ends.SinkTo) and (bool(target) or node.method == "write")
    if marked:
        target = target or e.param("target", node.target)  # type: ignore[union-attr]
        written = e.state("written", f"{e.param('Written', written_to)}({target}, {e.param('where', e.step.where)})")
        e.indent(f"if {written} is not None and type({x}) is {e.param('Retract', Retract)}:")
        e.line(f"{written}.take_back({x})")
        e.dedent()
        e.indent("else:")
        e.line(f"if {written} is not None: {written}.begin()")
    if e.step.guards:
        e.attempt("_", text, unit, x)
    else:
        e.line(text)
    if marked:
        e.dedent()
    e.fate("delivered")


def written_to(target: Any, where: str) -> Written | None:
    """How a sink takes back what it was given; None for one that gets the marker itself, as a list and a queue do."""
    return Written(target, where) if taking(target) == "write" else None


@result.register
def _(node: ends.SinkTo, e: Emitter) -> str:
    return e.param("target", node.target) if node.method else "None"
