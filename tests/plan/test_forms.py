"""Forms: what is written for a node, and what becomes of a node without a form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import reactivex

import kayrx as kx
from kayrx.graph.graph import Graph, one
from kayrx.graph.node import Node
from kayrx.plan.emit import Emitter
from kayrx.plan.forms import has_form, item
from kayrx.plan.plan import Options, Step
from kayrx.plan.shapes import pump


def code(graph: Graph[Any, Any], **options: Any) -> list[str]:
    """The generated lines of a graph's pump, without the link around them."""
    plan = (kx.source([1]) >> graph).compile()
    text = pump(plan.segments[0].runs[-1], Options(**options)).text
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if "def run_" in line)
    return [line.removeprefix("        ") for line in lines[start + 1:] if "return run_" not in line]


def test_a_fused_run_is_one_plain_loop() -> None:
    """No call, queue or await stands between fused steps."""
    assert code(kx.map(kx.it * 2) >> kx.filter(kx.it > 2) >> kx.to_list()) == [
        "out_2 = []",
        "for x in items:",
        "    x0 = x * 2",
        "    if not (x0 > 2):",
        "        continue",
        "    out_2.append(x0)",
        "return out_2",
    ]


def test_take_stops_in_the_push_of_its_last_item() -> None:
    """The item goes its way, then the loop is left; no further item is read."""
    assert code(kx.take(2) >> kx.to_list()) == [
        "taken_0 = 0", "out_1 = []", "for x in items:", "    taken_0 += 1", "    out_1.append(x)",
        "    if taken_0 >= 2: break", "return out_1"]


def test_the_happy_path_of_a_guard_is_a_try() -> None:
    """The guarded call stands in a ``try``; only an exception enters the guard."""
    lines = code(kx.map(int) >> kx.skip_errors())

    assert lines[2:5] == ["    try:", "        x0 = f_0(x)", "    except Exception as error:"]


@dataclass(frozen=True, slots=True)
class Double(Node):
    word = "double"


@pytest.fixture
def double() -> Graph[Any, Any]:
    return kx.take(9) >> one(Double()) >> kx.map(str)


def test_a_node_without_a_form_teaches(double: Graph[Any, Any], backend: str) -> None:
    """A planted node gives a CompileError that names it and says what to add."""
    with pytest.raises(kx.CompileError, match=r"'double' \(double\) at test_forms\.py:\d+ has no form: add a row to"):
        ([1] >> double).collect(backend=backend)
    with pytest.raises(kx.CompileError, match="or write the node as a function that returns a Graph of known nodes"):
        double(1)


def test_a_node_without_an_operator_teaches(double: Graph[Any, Any]) -> None:
    """As an Observable operator too, before anything is subscribed."""
    with pytest.raises(kx.CompileError, match=r"'double' \(double\) at test_forms\.py:\d+"):
        reactivex.of(1).pipe(double.operator())


def test_one_row_is_enough(double: Graph[Any, Any], monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    """A form makes the node run on every face; nothing else has to know it."""
    def row(node: Double, e: Emitter, x: str) -> str:
        e.line(f"{e.value()} = {x} * 2")
        return e.value()

    before = dict(item.registry)
    item.register(Double, row)
    try:
        assert has_form(double.nodes[1])
        assert ([1, 2] >> double).collect(backend=backend) == ["2", "4"]
        assert double(4) == ["8"]
        seen: list[str] = []
        reactivex.of(1, 2).pipe(double.operator()).subscribe(seen.append)
        assert seen == ["2", "4"]
    finally:
        item.register(Double, before[object])


def test_lines_know_their_owners() -> None:
    """Each generated line belongs to the step that wrote it, so a traceback finds the node."""
    steps = (Step(kx.map(int).nodes[0], "int"), Step(kx.filter(bool).nodes[0], "bool"))
    made = pump(steps, Options())
    lines = made.text.splitlines()

    owners = {line.strip(): step.label for i, line in enumerate(lines, 1) if (step := made.owner(i)) is not None}
    assert owners["x0 = f_0(x)"] == "int" and owners["if not (f_1(x0)):"] == "bool"
