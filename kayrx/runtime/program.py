"""A program: a plan with its code, made once per graph and options, and kept with the graph.

Starting a run of a program opens sources and gates; nothing is compiled then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from kayrx.errors import CompileError, GraphError
from kayrx.graph.graph import Graph
from kayrx.graph.join import is_fed
from kayrx.graph.node import Node, Opens
from kayrx.nodes.limits import Deadline
from kayrx.plan import emitting, pushes, segments, shapes
from kayrx.plan.cut import compile as plan_of, takes_nothing
from kayrx.plan.keeping import checkpoint_of
from kayrx.plan.labels import named, names_of
from kayrx.plan.plan import Options, Plan, Saving, Step, every
from kayrx.plan.shapes import Code
from kayrx.plan.traits import is_pool, rests
from kayrx.plan.turns import turns
from kayrx.runtime.resources import wanted

SAVING = ("run", "await", "start", "stream")


class Program:
    """The code of a plan; each shape is linked when it is first asked for."""

    def __init__(self, plan: Plan, nodes: Sequence[Node], *, told: bool = False) -> None:
        self.plan, self.nodes = plan, nodes
        self.options = plan.options
        self.saves = isinstance(plan.options, Saving)
        self.told = told  # the fates of items are kept for `Run.events`; else ids serve letters alone
        self._units: dict[tuple[int, bool], Any] = {}
        self._bodies: dict[int, tuple[Code, ...]] = {}
        self._calls: list[Code] = []
        self.inside: dict[int, str] = {}  # steps in the body of a group, where items carry no ids: the group's label

    # -- linear plans ----------------------------------------------------------------------------

    @cached_property
    def before(self) -> tuple[Code, ...]:
        """The runs before the last one, as generators that the next pulls."""
        return self._pumps(self.plan.segments[0].runs[:-1], yields=True, hands=True)

    def _pumps(self, runs: Sequence[tuple[Step, ...]], *, hands: bool = False, **how: bool) -> tuple[Code, ...]:
        """Runs as pumps, each read by the next; the first of the plan gives items their ids."""
        segment = self.plan.segments[0]
        entry = segment.head.label if segment.head else ""
        return tuple(shapes.pump(
            run, self.options, entry=entry if run is segment.runs[0] else None,
            hands=hands or run is not segment.runs[-1], **how) for run in runs)

    @cached_property
    def before_turning(self) -> tuple[Code, ...]:
        """`before`, giving a WAIT every 32 items."""
        return self._pumps(self.plan.segments[0].runs[:-1], yields=True, hands=True, rests=True, turns=True)

    def through(self, source: Iterator[Any], run: Any, turns: bool = False) -> Iterator[Any]:
        """``source`` as the last run reads it: through the runs before it; with ``turns`` others get theirs."""
        for code in self.before_turning if turns and not self.saves else self.before:
            source = code.function(source, run)
        return source

    @cached_property
    def pump(self) -> Code:
        return self._pumps(self.plan.segments[0].runs[-1:])[0]

    @cached_property
    def gen(self) -> Code:
        return self._pumps(self.plan.segments[0].runs[-1:], yields=True)[0]

    @cached_property
    def rests(self) -> tuple[Code, ...]:
        """All runs, in order, as generators that hand WAIT on: for a reader that may have to come back."""
        return self._pumps(self.plan.segments[0].runs, yields=True, rests=True)

    @cached_property
    def turning(self) -> tuple[Code, ...]:
        """`rests` that also give a WAIT every 32 items: for a reader on a loop."""
        return self._pumps(self.plan.segments[0].runs, yields=True, rests=True, turns=True)

    @cached_property
    def push(self) -> pushes.Pushes:
        return pushes.Pushes(tuple(pushes.push(run, self.options) for run in self.plan.segments[0].runs))

    def call(self, blame: Callable[[Exception], None]) -> Code:
        self._calls.append(shapes.call(self.plan.segments[0].steps, self.options, blame, bare=self.bare))
        return self._calls[-1]

    @cached_property
    def bare(self) -> bool:
        """True if no step asks anything of the run, so that a run needs no context."""
        return not self.options.events and not self.resources \
            and not any(s.guards or s.inner or s.node.asks for s in self.plan.steps())

    @cached_property
    def plain_items(self) -> Any:
        """The sequence that a bare linear plan of one run reads, so that a run is but one call; else None."""
        segment = self.plan.segments[0]
        if not (self.plan.linear and self.bare and len(segment.runs) == 1) or self.closed_from_start:
            return None
        if segment.head is None or segment.head.guards:
            return None
        what = getattr(segment.head.node, "what", None)
        return what if isinstance(what, (list, tuple, range)) else None

    @cached_property
    def resources(self) -> tuple[tuple[Node, Opens], ...]:
        """What has to be opened for a run, with the node that needs it."""
        return tuple(wanted(self.plan))

    @cached_property
    def budgets(self) -> tuple[tuple[str, float], ...]:
        """The sources whose items have a deadline, and its seconds."""
        return tuple((s.label, g.seconds) for s in self.plan.steps() if s.node.role == "source"
                     for g in s.guards if isinstance(g, Deadline))

    # -- networks --------------------------------------------------------------------------------

    @cached_property
    def mains(self) -> tuple[tuple[Code, ...], ...]:
        """For each segment its code; a crew has that of the steps before its pool first."""
        return tuple(self._main(i) for i in range(len(self.plan.segments)))

    def _main(self, index: int) -> tuple[Code, ...]:
        seg = self.plan.segments[index]
        pool = next((i for i, s in enumerate(seg.steps) if is_pool(s)), None)
        if pool is None and seg.fed != "stage":
            return (segments.segment(seg, self.plan.gates, self.options),)
        emit = emitting.emitting(seg, self.plan.gates, self.options)
        if pool:
            return (shapes.pump(seg.steps[:pool], replace(self.options, events=False), yields=True,
                                turns=emitting.turns(seg)), emit)
        return (emit,)

    @cached_property
    def agen(self) -> Code:
        """The one segment of a plan that waits, as an async generator."""
        return segments.segment(self.plan.segments[0], self.plan.gates, self.options, yields=True)

    @cached_property
    def turns(self) -> dict[int, tuple[int, ...]]:
        return turns(self.plan)

    @cached_property
    def closed_from_start(self) -> bool:
        return takes_nothing(self.plan.segments[0])

    def unit(self, step: Step, turns: bool = False) -> Callable[[Any, Any], Any]:
        """The steps inside a guarded unit: ``(item, run)`` to an iterator, async if any of them waits, or (``turns``)
        may go on for so long that others are to have their turn."""
        made = self._units.get((id(step), turns))
        if made is None:
            waits = self.plan.loop and any(rests(s) or (turns and s.node.expands) for s in step.inner)
            shape = segments.unit if waits else shapes.unit
            made = self._units[id(step), turns] = shape(step.inner, self.options)
        return made.function

    def body(self, step: Step, waits: bool) -> tuple[Code, ...]:
        """The body of a group, as generators that rest between two items: each reads the one before it.

        One that waits is one async generator.
        """
        made = self._bodies.get(id(step))
        options = replace(self.options, events=False)
        if made is None and waits:
            names = names_of(step.inner)
            inner = [named(one, names) for one in step.inner]
            made = (shapes.pump(inner, options, yields=True, rests=True, awaits=True),)
        elif made is None:
            nodes = step.node.body.nodes  # type: ignore[attr-defined]
            made = tuple(shapes.pump(run, options, yields=True, rests=True)
                         for run in plan_of(nodes, options).segments[0].runs)
        self._bodies[id(step)] = made
        within = f"{self.inside[id(step)]}.{step.label}" if id(step) in self.inside else step.label
        self.inside |= {id(inner): within for code in made for inner in every(code.steps)}
        return made

    def codes(self) -> list[Code]:
        """All code linked so far, to find whose line an error came from."""
        made = self.__dict__
        found = [made[n] for n in ("pump", "gen", "agen") if n in made]
        names = ("before", "before_turning", "rests", "turning")
        found += [code for name in names for code in made.get(name, ())]
        found += [*made["push"].codes] if "push" in made else []
        found += [*self._units.values(), *self._calls]
        return found + [c for cs in (*made.get("mains", ()), *self._bodies.values()) for c in cs]


def program(graph: Graph[Any, Any], options: Options = Options(), *, streamed: bool = False,
            on_loop: bool = False) -> Program:
    """The program of a graph, kept with it; ``on_loop`` for a run that must not block its thread."""
    key = f"program {options} {streamed} {on_loop}"
    found = graph._faces.get(key)
    if found is None:
        if on_loop and (plain := program(graph, options)).plan.loop:
            found = plain
        else:
            found = Program(plan_of(graph.nodes, options, streamed=streamed, on_loop=on_loop), graph.nodes,
                            told=options.events)
        graph._faces[key] = found
    return found


def must_be_fed(plan: Plan, graph: Graph[Any, Any], verb: str) -> None:
    """Raise GraphError if the graph has no source."""
    first = graph.nodes[0]
    if first.role == "fan_in" and not is_fed(graph.nodes):
        raise GraphError(f"cannot {verb} an open graph: {first.where} joins no branches; give it graphs, as in "
                         f"kx.{first.word}(a, b), or write a >> [b, c] >> kx.{first.word}()")
    if plan.open_input:
        raise GraphError(f"cannot {verb} an open graph: {graph.nodes[0].where} waits for items; "
                         "write kx.source(items) >> graph, or graph(item) for one")
    if verb not in SAVING:
        must_not_save(plan, verb)


def must_be_open(plan: Plan, graph: Graph[Any, Any], verb: str) -> None:
    """Raise GraphError unless the graph is open at both ends."""
    if not plan.open_input:
        raise GraphError(f"{verb} needs a graph that is open at its input; {graph.nodes[0].where} brings items")
    if plan.sinks:
        raise GraphError(f"{verb} needs a graph that is open at its output; {graph.nodes[-1].where} is a sink")
    must_not_save(plan, verb)


def must_not_save(plan: Plan, verb: str) -> None:
    """Raise CompileError if there is a checkpoint, from which nothing that is used so could go on."""
    if isinstance(plan.options, Saving) and (step := checkpoint_of(plan)) is not None:
        raise CompileError(f"{step.where}: a graph is saved by run(), collect(), await, start() and stream() alone, "
                           f"and this is: {verb}; leave the checkpoint out")
