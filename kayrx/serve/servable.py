"""What a hub can serve: a graph with a source and one output, or a plain function that makes one."""

from __future__ import annotations

from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction

from kayrx.errors import GraphError
from kayrx.graph.graph import Graph
from kayrx.runtime.faces import must_have_output
from kayrx.runtime.program import must_be_fed, program


def servable(graph: object) -> None:
    """Raise GraphError unless ``graph`` has a source and one output."""
    if not isinstance(graph, Graph):
        raise GraphError(f"Hub(graph): the function of a session's input gave {type(graph).__name__}, no graph; return "
                         "kx.source(...) with what comes")
    must_have_output(graph, "serve")
    must_be_fed(program(graph).plan, graph, "serve")


def makes(fn: object) -> None:
    """Raise GraphError for what cannot be a function that makes a graph."""
    if not callable(fn):
        raise GraphError(f"Hub(graph): give a graph, or a function that makes one of an input; got {type(fn).__name__}")
    for each in (fn, getattr(fn, "__call__", fn)):    # noqa: B004 - an object with a method of that name
        if iscoroutinefunction(each) or isgeneratorfunction(each) or isasyncgenfunction(each):
            raise GraphError(f"Hub({getattr(fn, '__name__', fn)}): a plain function makes the graph, and what waits or "
                             "gives items is in it; write lambda input: kx.source(partial(items, input))")


__all__ = ["makes", "servable"]
