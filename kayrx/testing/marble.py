"""Marble tests: a graph between an input and an output drawn as strings, on virtual time.

    source = "--a--b--c--d--|"
    output = "--a--(b|)"
    held__ = "^----!"

    trace = marbles(kx.take(2), source)

    assert trace == output
    assert trace.subscribed == held__
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import anyio

from kayrx.errors import GraphError
from kayrx.graph.graph import Graph, Sink
from kayrx.graph.join import is_fed
from kayrx.nodes.ends import each
from kayrx.testing.clock import run_virtual, virtual_world
from kayrx.testing.diagram import Legend, Signal, parse
from kayrx.testing.played import STEP, Cold, Hot, Moments
from kayrx.testing.trace import Trace

AFTER = 10_000


def marbles(graph: Graph[Any, Any] | Callable[..., Graph[Any, Any]], *sources: str,
            values: Mapping[str, Any] | None = None, errors: Mapping[str, Exception] | Exception | None = None,
            frame: float = 1.0, hot: bool = False, until: str | None = None, backend: str = "asyncio",
            seed: int | None = None, **options: Any) -> Trace:
    """Play ``sources`` through ``graph`` on virtual time, and give what came out: compare it with a string.

    ``graph``    an open graph for one source; for several one that begins with an open fan-in (``kx.merge()``)
                 or a function of the sources (``kx.merge``, ``lambda a, b: ...``); a fed graph for none
    ``sources``  diagrams, see `kayrx.testing.diagram`.  Cold: a source begins when it is subscribed to, and an
                 item whose frame has come waits until the graph asks for it.  Hot (``hot=True``, or a ``^`` in
                 the string, which is then frame 0): items are pushed at their frame, heard or not
    ``values``   what letters stand for, on both sides; ``errors`` the same for ``#`` (or for other letters)
    ``frame``    seconds that a character takes
    ``until``    ``"-----!"``: let go at that frame, before anything else of it happens
    ``options``  those of ``graph.start``: chunk, fuse, events ...; ``seed`` draws the order of the tasks

    Time:    an item comes a millionth of a frame early, so before the timers of its moment; of sources with
             items in one frame the first goes first.  Moments are told to a thousandth of a frame.
    End:     when the graph ends.  A source without ``|`` or ``#`` is silent for ever; then the test ends
             where the longest diagram ends: what shall be seen needs dashes to be seen in.
    Raises:  GraphError for a diagram that cannot be read, sources that do not fit the graph, and a sink;
             AssertionError for a graph that goes on 10,000 frames after its sources.
    Source:  RxJS TestScheduler.

    >>> import kayrx as kx
    >>> trace = marbles(kx.take(2), "--a--b--c--d--|")
    >>> trace == "--a--(b|)", trace.subscribed == "^----!"
    (True, True)
    >>> marbles(kx.merge, "a--b|", "-c-----(d|)")
    ac-b---(d|)
    >>> marbles(kx.buffer(count=2), "a--b--c|")
    ---A---(B|)   where A = ['a', 'b'], B = ['c']
    """
    legend = Legend(frame, values, errors)
    diagrams = [parse(text, legend) for text in sources]
    for diagram in diagrams:
        if diagram.released is not None:
            raise GraphError(f"'!' has no meaning in a source, {diagram.text!r}; say until={'----!'!r}")
    zeros = [diagram.subscribed or 0.0 for diagram in diagrams]
    moments = sorted({round(s.at - zero, 3) for d, zero in zip(diagrams, zeros, strict=True) for s in d.signals})
    ranks = {at: 0 if at <= 0 else rank for rank, at in enumerate(moments, 1)}
    clock = Moments(frame, min(STEP, 4e-4 / (len(moments) + 2)))
    played = [(Hot if hot or d.subscribed is not None else Cold)(d, port, ranks, clock)
              for port, d in enumerate(diagrams)]
    full = fed(graph, [p.graph() for p in played])

    longest = max((d.length - zero for d, zero in zip(diagrams, zeros, strict=True)), default=0.0)
    silent = any(not d.ended for d in diagrams)
    leave = released(until, legend)
    cut = leave if leave is not None else longest if silent else longest + AFTER
    trace = Trace(label(graph), diagrams, legend)
    world = replace(options.pop("world", None) or virtual_world(), now=clock.now)

    def note(kind: Any, value: Any = None) -> None:
        trace.signals.append(Signal(clock.frames(), kind, value))

    def nexted(item: Any) -> None:
        note("next", item)

    run = (full >> each(nexted)).start(world=world, **options)

    async def observed() -> None:
        try:
            async with run:
                pass
        except Exception as error:
            note("error", error)
        else:
            note("end")

    async def main() -> bool:
        async with anyio.create_task_group() as others:
            with anyio.move_on_after(max(0.0, cut * frame - frame * clock.step * (len(moments) + 1))) as scope:
                for one in played:
                    if isinstance(one, Hot):
                        others.start_soon(one.play)
                await observed()
            others.cancel_scope.cancel()
        return scope.cancelled_caught

    late = run_virtual(main, backend, seed=seed)
    if late and leave is None and not silent:
        raise AssertionError(f"marbles: the graph goes on {AFTER} frames after its sources have ended; "
                             "say until='---!'")
    trace.held = [one.spans(cut if leave is None else float("inf")) for one in played]
    return trace


def fed(graph: Any, sources: Sequence[Graph[Any, Any]]) -> Graph[Any, Any]:
    """The graph with its sources; GraphError if they do not fit."""
    count = f"{len(sources)} diagram{'s' * (len(sources) != 1)}"
    if not isinstance(graph, Graph):
        if not callable(graph):
            raise GraphError(f"marbles(graph, *sources): a graph or a function of the sources, got {graph!r}")
        graph = graph(*sources)
        if not isinstance(graph, Graph) or not is_fed(graph.nodes):
            raise GraphError(f"marbles: the function gave {graph!r}, not a graph over its {count}")
        full: Graph[Any, Any] = graph
    elif is_fed(graph.nodes):
        if sources:
            raise GraphError(f"marbles: {graph.nodes[0].where} brings its own items, so there is no place for {count}")
        full = graph
    elif graph.nodes[0].role == "fan_in":
        if not sources:
            raise GraphError(f"marbles: {graph.nodes[0].where} joins sources; give a diagram for each")
        full = list(sources) >> graph
    elif len(sources) != 1:
        raise GraphError(f"marbles: {graph.nodes[0].where} takes one source, got {count}; "
                         "several need a fan-in first, or a function of the sources")
    else:
        full = sources[0] >> graph
    if isinstance(full, Sink):
        raise GraphError(f"marbles looks at what comes out, and nothing comes out of {full.nodes[-1].where}: "
                         "leave the sink off")
    return full


def released(until: str | None, legend: Legend) -> float | None:
    """The frame at which ``until`` says to let go."""
    if until is None:
        return None
    diagram = parse(until, legend)
    if diagram.released is None or diagram.signals:
        raise GraphError(f"marbles(until={until!r}): dashes and one '!'")
    return diagram.released - (diagram.subscribed or 0.0)


def label(graph: Any) -> str:
    if isinstance(graph, Graph):
        return " >> ".join(node.label for node in graph.nodes)
    return str(getattr(graph, "__name__", repr(graph)))


__all__ = ["marbles"]
