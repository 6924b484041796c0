"""check and expand: nodes become steps, guards attach to the unit before them (rulings 9, 10, 11)."""

from __future__ import annotations

from typing import Any

import pytest

import kayrx as kx
from kayrx.graph.graph import Graph
from kayrx.plan.expand import expand
from kayrx.plan.labels import uniquely
from kayrx.plan.plan import Step


def parse(x: Any) -> Any:
    return x


async def ask(x: Any) -> Any:
    return x


def printed(steps: list[Step] | tuple[Step, ...], indent: str = "") -> str:
    """The steps as text: a step a line with its guards, the inside of a unit below it."""
    return "\n".join(f"{indent}{s.label}{''.join(f' > {g.word}' for g in s.guards)}"
                     + (f"\n{printed(s.inner, indent + '  ')}" if s.inner else "") for s in steps)


@pytest.mark.parametrize(("graph", "text"), [
    (kx.source([1]) >> parse >> kx.take(2), "source\nparse\ntake"),
    (kx.map(parse) >> kx.retry(2) >> kx.skip_errors() >> kx.take(2), "parse > retry > skip_errors\ntake"),
    (kx.map(parse) >> (kx.retry(2) >> kx.skip_errors()), "parse > retry > skip_errors"),
    (kx.source([1]) >> kx.retry(2) >> parse >> kx.fallback(parse), "source > retry\nparse > fallback"),
    (kx.unit(kx.map(parse) >> kx.map(str)), "parse\nstr"),
    (kx.unit(kx.map(parse) >> kx.map(str), name="both"), "both.parse\nboth.str"),
    (kx.unit(kx.map(parse) >> kx.map(str)) >> kx.retry(2), "unit > retry\n  parse\n  str"),
    (kx.unit(kx.map(parse) >> kx.map(str), name="both") >> kx.retry(2), "both > retry\n  both.parse\n  both.str"),
    (kx.unit(kx.map(parse)) >> kx.retry(2), "parse > retry"),
    (kx.unit(kx.map(parse) >> kx.retry(3) >> kx.map(str)) >> kx.skip_errors(),
     "unit > skip_errors\n  parse > retry\n  str"),
    (kx.unit(kx.unit(kx.map(parse) >> kx.map(str), name="in") >> kx.map(int), name="out"),
     "out.in.parse\nout.in.str\nout.int"),
    (kx.each(parse) >> kx.skip_errors(), "parse > skip_errors"),
], ids=range(12))
def test_steps(graph: Graph[Any, Any], text: str) -> None:
    """Guards bind to the one node or unit before them; a unit without guards dissolves."""
    assert printed(expand(graph.nodes)) == text


def test_named_never_changes_behaviour() -> None:
    """A named series is no unit: the guard still binds to its last node."""
    named = (kx.map(parse) >> kx.map(str)).named("both") >> kx.retry(2)

    assert printed(expand(named.nodes)) == "both.parse\nboth.str > retry"


@pytest.mark.parametrize(("graph", "says"), [
    (kx.retry(2) >> kx.map(parse), r"'retry' \(retry\) at test_expand.py:\d+ guards nothing: write it after a node"),
    (kx.source([1]) >> kx.buffer(2) >> kx.retry(2), r"cannot guard 'buffer' \(buffer\) at .*guard the source"),
    (kx.source([1]) >> kx.take(2) >> kx.skip_errors(),
     r"cannot guard 'take' \(take\) at .*, which is not item by item"),
    (kx.source([1]) >> kx.rx(parse) >> kx.skip_errors(), r"cannot guard 'parse' \(rx\)"),
    (kx.merge(kx.source([1])) >> kx.skip_errors(), r"cannot guard 'merge' \(merge\)"),
    (kx.source([1]) >> [kx.map(parse)] >> kx.zip() >> kx.retry(2), r"cannot guard 'zip' \(zip\)"),
    (kx.source([1]) >> kx.unit(kx.map(parse) >> kx.take(2)) >> kx.retry(2), r"cannot guard 'take'"),
    (kx.source([1]) >> kx.unit(kx.scan(max) >> kx.map(parse)) >> kx.retry(2),
     r"cannot guard 'max' \(scan\).*state would not outlive an item; write the guard directly after the scan"),
    (kx.source([1]) >> kx.map(parse) >> kx.timeout(1),
     r"'timeout' .* cannot interrupt 'parse' \(map\).*synchronous; write it as map\(f, on=kx\.threads\(1\)\)"),
    (kx.source([1]) >> kx.filter(parse) >> kx.retry(2) >> kx.timeout(1), r"make the function async"),
    (kx.source([1]) >> kx.unit(kx.map(parse) >> kx.map(str)) >> kx.timeout(1), r"cannot interrupt 'parse'"),
], ids=range(11))
def test_a_guard_in_the_wrong_place_names_node_and_remedy(graph: Graph[Any, Any], says: str) -> None:
    """What cannot be tried item by item is a CompileError, before anything is opened."""
    with pytest.raises(kx.CompileError, match=says):
        graph.compile()


def test_timeout_is_fine_over_what_can_be_left() -> None:
    """Async functions, functions on threads, and sources may be timed."""
    for graph in (kx.source([1]) >> kx.map(ask) >> kx.timeout(1), kx.source([1]) >> kx.timeout(1),
                  kx.source([1]) >> kx.map(parse, on=kx.threads(1)) >> kx.timeout(1)):
        assert graph.compile().loop


def test_a_unit_with_too_many_expansions_is_refused_by_name() -> None:
    """Python nests twenty blocks at most; a guarded unit says so before the run."""
    deep = kx.map(parse)
    for _ in range(20):
        deep = deep >> kx.flat_map(lambda x: [x])

    with pytest.raises(kx.CompileError, match="at most 8 nested expansions"):
        (kx.source([1]) >> kx.unit(deep) >> kx.skip_errors()).compile()
    assert (kx.source([1]) >> kx.unit(deep)).collect() == [1]


def test_labels_are_made_distinct_in_order() -> None:
    """A name finds one node: the second map is map-2."""
    assert uniquely(["map", "map", "filter", "map"]) == ["map", "map-2", "filter", "map-3"]
    plan = (kx.source([1]) >> str >> str >> kx.map(ask) >> kx.map(ask)).compile()
    assert [s.label for s in plan.steps()] == ["source", "str", "str-2", "ask", "ask-2"]
