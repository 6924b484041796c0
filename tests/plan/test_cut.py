"""cut: which segments and gates a graph becomes, and why."""

from __future__ import annotations

from typing import Any

import pytest
import reactivex
from reactivex import operators as ops

import kayrx as kx
from kayrx.graph.graph import Graph
from kayrx.plan.plan import Plan


async def ask(x: Any) -> Any:
    return x


async def many(x: Any) -> Any:
    yield x


def printed(plan: Plan) -> list[str]:
    """A line a segment: what feeds it and its steps; then a line a gate: from, to, size, policy and why."""
    lines = []
    for s in plan.segments:
        steps = " ".join(step.label for step in ((s.head,) if s.head else ()) + s.steps + ((s.fan,) if s.fan else ()))
        lines.append(f"{s.index} {s.fed}: {steps}")
    for g in plan.gates:
        lines.append(f"gate {g.origin}>{g.target}{f' port {g.port}' if g.port else ''} {g.size} {g.overflow}"
                     f"{' pulled' if g.pulled else ''}: {g.reason}")
    return lines


S = kx.source([1])


@pytest.mark.parametrize(("graph", "lines"), [
    (S >> str >> kx.filter(bool) >> kx.buffer(2) >> kx.to_list(), ["0 iter: source str bool buffer to_list"]),
    (kx.map(str) >> kx.take(1), ["0 open: str take"]),
    (S >> ask, ["0 iter: source ask"]),
    (S >> str >> ask >> str, ["0 iter: source str ask str-2"]),
    (S >> ask >> kx.map(ask), ["0 iter: source ask", "1 gate: ask-2", "gate 0>1 16 block: ask waits"]),
    (kx.source(many(1)) >> str >> ask, ["0 aiter: source str", "1 gate: ask", "gate 0>1 16 block: ask waits"]),
    (S >> str >> kx.map(ask, concurrency=4), ["0 iter: source str ask"]),
    (S >> str >> kx.map(str, on=kx.threads(2)), ["0 iter: source str str-2"]),
    (S >> ask >> kx.debounce(1) >> str,
     ["0 iter: source ask", "1 stage: debounce str",
      "gate 0>1 16 block: debounce needs an inbox for items and timers"]),
    (S >> kx.rx(ops.take(1)) >> str, ["0 iter: source rx str"]),
    (S >> ask >> kx.rx(ops.take(1)),
     ["0 iter: source ask", "1 stage: rx", "gate 0>1 16 block: rx needs an inbox for items and timers"]),
    (S >> kx.backpressure(4) >> str, ["0 iter: source str", "gate 0>0 4 block pulled: backpressure asked for"]),
    (S >> ask >> kx.backpressure(4) >> str,
     ["0 iter: source ask", "1 gate: str", "gate 0>1 4 block: backpressure asked for"]),
    (S >> kx.backpressure(4, overflow="latest") >> str,
     ["0 iter: source", "1 gate: str", "gate 0>1 4 latest: backpressure asked for"]),
    (S >> [kx.map(str), kx.take(1)] >> kx.zip(size=3),
     ["0 iter: source broadcast", "1 gate: str", "2 gate: take", "3 stage: zip",
      "gate 0>1 port 1 16 block: broadcast splits", "gate 0>2 port 2 16 block: broadcast splits",
      "gate 1>3 port 1 3 block: zip joins", "gate 2>3 port 2 3 block: zip joins"]),
    (kx.merge(S, S >> ask), ["0 iter: source", "1 iter: source-2 ask", "2 stage: merge",
                             "gate 0>2 port 1 16 block: merge joins", "gate 1>2 port 2 16 block: merge joins"]),
    (S >> kx.branch({"a": kx.to_list()}, size=2), ["0 iter: source branch", "1 gate: to_list",
                                                   "gate 0>1 port a 2 block: branch splits"]),
    (kx.source(reactivex.of(1)) >> str, ["0 push: source str"]),
    (kx.source(reactivex.of(1)) >> ask,
     ["0 push: source ask", "gate None>0 1024 error: a hot source cannot wait"]),
    (kx.source(reactivex.of(1)) >> kx.backpressure(4, overflow="latest") >> ask,
     ["0 push: source ask", "gate None>0 4 latest: backpressure asked for"]),
], ids=lambda v: "" if isinstance(v, list) else ">".join(n.word for n in v.nodes))
def test_cuts(graph: Graph[Any, Any], lines: list[str]) -> None:
    """A gate stands wherever one side may have to wait, with its reason, and nowhere else."""
    assert printed(graph.compile()) == lines


def test_a_shared_upstream_is_one_segment() -> None:
    """All uses of a shared graph in one run hang on one segment, a lane each."""
    shared = S >> kx.share()
    plan = kx.merge(shared >> kx.map(str), shared).compile()

    assert sum(s.head is not None and s.head.label.startswith("source") for s in plan.segments) == 1
    assert [g.reason for g in plan.gates if "share" in g.reason] == ["share: a lane for each subscriber"] * 2


def test_a_reader_gets_a_gate() -> None:
    """``stream()`` ends in a gate that its reader empties."""
    from kayrx.plan.cut import compile as cut
    from kayrx.plan.plan import Options

    (gate,) = cut((S >> str).nodes, Options(), streamed=True).gates
    assert (gate.origin, gate.target, gate.reason) == (0, None, "stream() reads it")


def test_equal_graphs_give_equal_plans() -> None:
    """Compile is a pure function: the same graph and options, an equal plan (law 2)."""
    def graph() -> Graph[Any, Any]:
        return S >> str >> [kx.map(ask), kx.take(2)] >> kx.zip() >> kx.buffer(2, 1.0) >> kx.to_list()

    assert graph().compile() == graph().compile()
    assert graph().compile() != graph().compile(chunk=1)
    assert graph().compile().segments is not graph().compile().segments


def test_an_observable_cannot_be_made_to_wait() -> None:
    """``block`` right after an Observable is a CompileError with the remedy (ruling 19)."""
    hot = kx.source(reactivex.never()) >> kx.backpressure(4) >> kx.map(ask)

    with pytest.raises(kx.CompileError, match=r"cannot be made to wait.*on=kx\.threads\(1\)"):
        hot.compile()


def test_unfused_steps_stand_alone() -> None:
    """With ``fuse=False`` each step is its own run, or its own segment, to compare with."""
    linear, waiting = S >> str >> kx.filter(bool), S >> ask >> str

    assert [len(run) for s in linear.compile(fuse=False).segments for run in s.runs] == [1, 1]
    assert [s.reason for s in waiting.compile(fuse=False).gates] == ["fuse=False"]


@pytest.mark.parametrize(("before", "size"), [((), 16), ((kx.backpressure(4, overflow="drop_oldest"),), 1)])
def test_a_hot_queue_with_a_policy_is_followed_by_one_slot(before: tuple[Any, ...], size: int) -> None:
    """What was asked to drop drops as late as can be: 16 more places behind it would hold what is old by then."""
    graph: Any = kx.source(reactivex.of(1))
    for node in before:
        graph = graph >> node
    (gate,) = [g for g in (graph >> kx.map(ask, concurrency=2) >> kx.to_list()).compile().gates if g.origin is not None]
    assert (gate.size, gate.reason) == (size, "ask waits")
