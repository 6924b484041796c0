"""What ``>>`` makes of plain values: a callable becomes a map, a list a fan-out, an iterable a source."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import Any

from kayrx.errors import GraphError
from kayrx.graph.graph import Graph
from kayrx.nodes.combine import broadcast
from kayrx.nodes.ends import is_observable, is_publisher, source
from kayrx.nodes.transform import map


def right(value: Any) -> Graph[Any, Any]:
    """What may stand to the right of ``>>``."""
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(g, Graph) for g in value):
            return broadcast(*value)
        raise GraphError("a list to the right of >> is a fan-out and holds only graphs; "
                         f"got {[type(g).__name__ for g in value]}; wrap functions: [kx.map(f), kx.map(g)]")
    if callable(value):
        home, name = getattr(value, "__module__", None) or "", getattr(value, "__name__", "")
        if home.startswith("kayrx.nodes.") and not isinstance(value, type):
            raise GraphError(f"cannot join >> kx.{name}: it makes a graph when it is called; write >> kx.{name}(...)")
        if home.startswith("reactivex."):
            raise GraphError("cannot join >> an operator of reactivex: write >> kx.rx(operator)")
        return map(value)
    raise GraphError(f"cannot join >> {type(value).__name__}: to the right of >> stand a graph, "
                     "a function, or a list of graphs")


def left(value: Any) -> Graph[Any, Any]:
    """What may stand to the left of ``>>``."""
    if isinstance(value, list) and any(isinstance(g, Graph) for g in value):
        raise GraphError("a list of graphs and other values is neither branches nor a source; "
                         "write source([...]) for items, or only graphs for branches")
    plain = isinstance(value, (Iterable, AsyncIterable)) or is_observable(value) or is_publisher(value)
    if not plain or isinstance(value, (str, bytes, dict)) or callable(value) \
            or (isinstance(value, list) and not value):
        raise GraphError(f"{type(value).__name__} to the left of >> could mean several things; "
                         "write kx.source(x) to say that it gives the items")
    return source(value)
