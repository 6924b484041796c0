"""explain: the plan in words, exactly."""

from __future__ import annotations

import os
import subprocess
import sys
from textwrap import dedent
from typing import Any

import pytest

import kayrx as kx
from kayrx.graph.graph import Graph


async def ask(x: Any) -> Any:
    return x


def parse(x: Any) -> Any:
    return x


EXPLAINED: list[tuple[Graph[Any, Any], str]] = [
    (kx.source([1]) >> parse >> kx.filter(bool).named("some") >> kx.to_list(), """\
        plan: one function, no event loop

        segment 1 reads source (pulled)
          fused: parse > some > to_list

        bounds:
          to_list: unbounded (all items)"""),
    (kx.map(parse) >> kx.flat_map(list), """\
        plan: one function, no event loop

        segment 1
          fused: parse > list"""),
    (kx.source([1]) >> kx.backpressure(4) >> parse, """\
        plan: one function, no event loop

        segment 1 reads source (pulled)
          step: parse
          pulled: backpressure asked for, but the source can wait, so no queue is needed"""),
    (kx.source([1]) >> kx.map(ask, concurrency=8) >> kx.timeout(20)
     >> kx.retry(3, backoff=kx.exponential(0.2)) >> kx.fallback(parse) >> kx.buffer(100, 0.5)
     >> kx.backpressure(16, overflow="drop_oldest") >> kx.each(ask), """\
        plan: 3 segments, a task each, on an event loop

        segment 1 reads source (pulled)
          ask: ask (map), then timeout 20 s, then retry 3 attempts, waits from 0.2 s, then fallback parse

        segment 2 reads gate 1 (16 items, block) into buffer

        segment 3 reads gate 2 (16 items, drop_oldest): backpressure asked for
          step: ask-2

        bounds:
          gate 1 (16 items, block) into buffer
          gate 2 (16 items, drop_oldest) into ask-2
          ask: 8 calls under way, results that wait included
          buffer: 100 items

        loss:
          gate 2, when full, drops the oldest waiting item, counted

        repeats:
          ask is called up to 3 times an item"""),
    (kx.source([1]) >> kx.broadcast(kx.map(parse), kx.map(str), size=4) >> kx.zip(size=4) >> kx.to_list(), """\
        plan: 4 segments, a task each, no event loop

        segment 1 reads source (pulled)
          splits: broadcast into 2 lanes

        segment 2 reads gate 1 (4 items, block): broadcast splits
          step: parse

        segment 3 reads gate 2 (4 items, block): broadcast splits
          step: str

        segment 4 reads gate 3 (4 items, block), gate 4 (4 items, block) into zip
          step: to_list

        bounds:
          gate 1 (4 items, block) into parse, port 1
          gate 2 (4 items, block) into str, port 2
          gate 3 (4 items, block) into zip, port 1
          gate 4 (4 items, block) into zip, port 2
          to_list: unbounded (all items)"""),
    (kx.lines("log.txt") >> ask, """\
        plan: 2 segments, a task each, on an event loop

        segment 1 reads lines (awaited)

        segment 2 reads gate 1 (16 items, block): ask waits
          step: ask

        bounds:
          gate 1 (16 items, block) into ask
          lines: 256 lines read ahead

        threads:
          lines reads in a worker thread"""),
]


@pytest.mark.parametrize(("graph", "says"), [
    (kx.source([1]) >> kx.map(ask) >> kx.hedge(1) >> kx.retry(2) >> kx.retry(3),
     "ask is called up to 12 times an item"),
    (kx.source([1]) >> kx.unit(kx.map(ask) >> kx.retry(2), name="u") >> kx.retry(3),
     "u is called up to 3 times an item\n  u.ask is called up to 6 times an item"),
    (kx.source(lambda last: [1], cursor=abs) >> kx.retry(3), "source is opened up to 3 times without a new item"),
    (kx.source(lambda: [1]) >> kx.retry(3), "source is opened up to 3 times, from its beginning")], ids=range(4))
def test_explain_counts_what_repeats_in_all(graph: Any, says: str) -> None:
    """Retries multiply, also through a unit, and a hedge doubles."""
    assert graph.explain().endswith(f"repeats:\n  {says}")


@pytest.mark.parametrize("number", range(len(EXPLAINED)))
def test_explain_is_exact(number: int) -> None:
    """What is fused, where the cuts are and why, what is bounded, lost, repeated, and where a thread runs."""
    graph, text = EXPLAINED[number]

    assert graph.explain() == dedent(text)


def test_options_show() -> None:
    """Compile options change the plan that is explained, and what costs is said."""
    graph = kx.source([1]) >> parse >> str

    assert "  step: parse\n  step: str" in graph.explain(fuse=False)
    assert graph.explain(events=True).endswith("costs:\n  ids: an id is carried with every item, for events or letters")


def test_what_stands_in_a_body_or_a_unit_is_listed() -> None:
    """With its guards and its bounds, which hold in each group."""
    body = kx.map(kx.it).named("ask") >> kx.retry(3) >> kx.buffer(count=3)
    grouped = kx.source([1]) >> kx.group_by(kx.it, body, max_groups=4)
    united = kx.source([1]) >> kx.unit(kx.map(kx.it).named("ask") >> kx.filter(kx.it), name="u") >> kx.retry(2)

    told = grouped.explain()
    assert "  group_by, in each group: ask > buffer\n  ask: ask (map), then retry 3 attempts" in told
    assert "  buffer: 3 items, in each group of group_by" in told
    assert "  u, inside: u.ask > u.it" in united.explain()


PROGRAM = """
import operator, random
import kayrx as kx

async def later(x): return x
def same(x): return x
def yes(x): return True
def state(s, x): return s, x

KINDS = [
    lambda: kx.map(same), lambda: kx.map(later, concurrency=3), lambda: kx.filter(yes), lambda: kx.flat_map(str),
    lambda: kx.stateful_map(state, seed=0), lambda: kx.buffer(count=2, seconds=1), lambda: kx.backpressure(4),
    lambda: kx.broadcast(kx.map(same), kx.map(later)) >> kx.zip(),
    lambda: kx.group_by(same, kx.map(same), max_groups=2),
    lambda: kx.loop(kx.map(later), until=yes),
    lambda: kx.branch({"a": kx.map(same), "b": kx.filter(yes)}) >> kx.merge(),
    lambda: kx.unit(kx.map(same) >> kx.flat_map(str)) >> kx.retry(2) >> kx.fallback(1), lambda: kx.distinct(same),
    lambda: kx.map(same) >> kx.retry(3, on=(OSError, KeyError)) >> kx.dead_letter([]),
    lambda: kx.share() >> kx.delay(1),
]
for seed in range(4):
    draw = random.Random(seed)
    graph = kx.source([1, 2])
    for _ in range(40):
        graph = graph >> draw.choice(KINDS)()
    print(graph.explain())
    assert graph.compile() == graph.compile()
"""


def test_a_plan_is_the_same_in_every_process() -> None:
    """Equal graphs have equal plans and explain themselves in the same words, whatever the hash seed (law 2)."""
    told = {subprocess.check_output([sys.executable, "-c", PROGRAM], env=os.environ | {"PYTHONHASHSEED": seed})
            for seed in ("0", "1")}
    assert len(told) == 1 and told.pop().count(b"plan: ") == 4
