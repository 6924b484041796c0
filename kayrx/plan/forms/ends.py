"""Forms of sinks, and of a gate that needs no queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kayrx.graph.node import Resource
from kayrx.nodes import ends, flow
from kayrx.plan.emit import Emitter
from kayrx.plan.forms.base import item, result


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
    if isinstance(node, ends.SinkTo) and isinstance(node.target, Resource):
        take = e.state("take", f"run.opened.taker({e.param('resource', node.target)})")
        e.line(f"{take}({x})")
        e.fate("delivered")
        return
    fn = into(node)
    text = e.call(fn, x)
    if e.step is None or not e.step.guards:
        e.line(text)
    else:
        e.attempt("_", text, fn, x)
    e.fate("delivered")


@result.register
def _(node: ends.SinkTo, e: Emitter) -> str:
    return e.param("target", node.target) if node.method else "None"
