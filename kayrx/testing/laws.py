"""The laws that every node keeps, checked on any graph: ``laws.check(graph, items)``.

=========================  =====================================================================
the same answer            for chunks of 1, 7 and 256, fused and not, with events and without, in
                           place, on asyncio and on trio, on every face (law 5)
the grammar of Rx          an observer sees items, then at most one end, then nothing
errors are forwarded       what the source raises comes out as it is, wherever it is raised
the source is released     at the end, an error above or below, a cancel, a stop, a reader that leaves
nothing is left alive      no task, thread or file, in whatever way the run ends (law 8)
every item ends once       ``run.events()`` tells one fate of each, also of a run that fails (law 6)
the run ends               whatever happens
=========================  =====================================================================
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from kayrx.errors import GraphError
from kayrx.graph.graph import Graph, Sink
from kayrx.graph.join import is_fed
from kayrx.nodes.ends import source
from kayrx.nodes.transform import map
from kayrx.runtime.backend import loop_running
from kayrx.testing.answers import Answer, on_a_loop, on_a_private_loop, without_a_loop
from kayrx.testing.clock import run_virtual
from kayrx.testing.ends import ends_of, ends_without_a_loop

LONG = 1e6  # virtual seconds: nothing but a hang takes that long
BACKENDS = ("asyncio", "trio")


class LawBroken(AssertionError):
    """A graph breaks a law; the message has the law, the setting and both answers."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is checked, for the message."""

    graph: Graph[Any, Any]
    items: list[Any]
    ordered: bool

    def broken(self, setting: str, law: str, expected: object, got: object) -> LawBroken:
        picture = " >> ".join(node.label for node in self.graph.nodes)
        rows = {"law": law, "graph": picture, "items": self.items, "setting": setting, "expected": expected,
                "got": got}
        error = LawBroken("a law is broken\n" + "\n".join(f"  {name:<9} {value}" for name, value in rows.items()))
        if isinstance(got, Answer) and got.error is not None:
            error.__cause__ = got.error
        return error

    def same(self, a: Answer, b: Answer) -> bool:
        """Equal items in equal order, or equal errors."""
        if a.error is not None or b.error is not None:
            return type(a.error) is type(b.error) and str(a.error) == str(b.error)
        return a.items == b.items or (not self.ordered and len(a.items) == len(b.items)
                                      and sorted(a.items, key=repr) == sorted(b.items, key=repr))


def check(graph: Graph[Any, Any] | Callable[[Any], Any], items: Sequence[Any], *, expect: Any = None,
          ordered: bool = True, errors: bool = True) -> None:
    """Hold an open graph to the laws over ``items``; all runs are on virtual time.

    ``graph``    an open graph, or a function (sync or async) that is then mapped
    ``expect``   the list that comes out, or the exception that does; None: what the first way of running gives
    ``ordered``  False where the order is not promised (``ordered=False``, merge): the same items then suffice
    ``errors``   False for a graph that is there to swallow what the source raises

    The functions in the graph are called in many runs, so they must answer by their item alone.
    Raises:  `LawBroken`, an AssertionError, naming the law, the setting and both answers; GraphError for a graph
             that is not open at both ends, and inside a running loop.

    >>> import kayrx as kx
    >>> check(kx.map(kx.it + 1) >> kx.take(2), [1, 2, 3], expect=[2, 3])
    >>> check(kx.take(2), [1, 2, 3], expect=[1])
    Traceback (most recent call last):
    kayrx.testing.laws.LawBroken: a law is broken
      law       the same answer
      graph     take
      items     [1, 2, 3]
      setting   collect(chunk=256, fuse=True, events=False)
      expected  [1]
      got       [1, 2]
    """
    if not isinstance(graph, Graph):
        graph = map(graph)
    must_be_open(graph)
    case = Case(graph, [*items], ordered)
    wanted = None if expect is None else expected(expect)
    if not (source(items) >> graph).compile().loop:
        for setting, way in without_a_loop(graph, case.items):
            wanted = compared(case, wanted, setting, way())
        for setting, fault in ends_without_a_loop(graph, case.items, errors=errors):
            if fault:
                raise case.broken(setting, *fault)
        wanted = called(case, wanted)
    for backend in BACKENDS:
        async def main(backend: str = backend, wanted: Answer | None = wanted) -> tuple[Answer | None, float]:
            for setting, way in on_a_loop(graph, case.items):
                answer = await finished(case, f"{backend}, {setting}", way)
                wanted = compared(case, wanted, f"{backend}, {setting}", answer)
            took = anyio.current_time()
            for setting, end in ends_of(graph, case.items, errors=errors):
                fault = await finished(case, f"{backend}, {setting}", end)
                if fault:
                    raise case.broken(f"{backend}, {setting}", *fault)
            return wanted, took

        wanted, took = run_virtual(main, backend)
        for setting, way in on_a_private_loop(graph, case.items, backend) if not took else ():
            wanted = compared(case, wanted, setting, way())  # the loop of `run` is a real one: only what takes no time


def must_be_open(graph: Graph[Any, Any]) -> None:
    """GraphError for a graph that the laws cannot be asked of."""
    first, last = graph.nodes[0], graph.nodes[-1]
    if loop_running() is not None:
        raise GraphError("laws.check() runs loops of its own: call it from a plain function, not from async code")
    if is_fed(graph.nodes):
        raise GraphError(f"laws.check(graph, items): {first.where} brings its own items; leave it off")
    if isinstance(graph, Sink):
        raise GraphError(f"laws.check(graph, items): nothing comes out of {last.where}; leave the sink off")
    if first.role == "guard" or (first.role == "fan_in" and not first.beside):
        raise GraphError(f"laws.check(graph, items): {first.where} needs something before it; write it with that")


def expected(expect: Any) -> Answer:
    if isinstance(expect, BaseException):
        assert isinstance(expect, Exception)
        return Answer(error=expect)
    return Answer([*expect])


def compared(case: Case, wanted: Answer | None, setting: str, answer: Answer | None) -> Answer | None:
    if answer is None:
        return wanted
    if answer.wrong:
        raise case.broken(setting, "the grammar of Rx", "items, then one end", ", ".join(answer.wrong))
    if wanted is not None and not case.same(wanted, answer):
        raise case.broken(setting, "the same answer", wanted, answer)
    return answer if wanted is None else wanted


def called(case: Case, wanted: Answer | None) -> Answer | None:
    """``graph(x)`` is a run over one item (ruling 23)."""
    if case.items and (wanted is None or wanted.error is None):
        first = case.items[0]
        run, call = (source([first]) >> case.graph).collect(), case.graph(first)
        if not case.same(Answer(run), Answer(call)):
            raise case.broken(f"graph({first!r})", "the same answer", run, call)
    return wanted


async def finished(case: Case, setting: str, way: Callable[[], Awaitable[Any]]) -> Any:
    """What a way gives, if it ends at all."""
    with anyio.move_on_after(LONG):
        return await way()
    raise case.broken(setting, "the run ends", "an end", f"none in {LONG:g} virtual seconds")


__all__ = ["LawBroken", "check"]
