"""Floors: imports point down, files stay small, the world comes in by one door, and nothing public is bare."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest

import kayrx as kx
from kayrx.graph.node import Node

HOME = Path(kx.__file__).parent
FILES = sorted(p for p in HOME.rglob("*.py"))
FLOORS = {"errors": 0, "render": 0, "door": 0, "graph": 1, "nodes": 2, "plan": 3, "runtime": 4}
LEAF, TOP = 5, 6


def floor(module: str) -> int:
    """The floor of ``kayrx.plan.cut`` or the like; what has none of its own is a leaf."""
    parts = module.split(".")
    return TOP if len(parts) == 1 else FLOORS.get(parts[1], LEAF)


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that a file imports, late imports included, type-checking blocks not."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from (name for part in node.orelse for name in imports(part))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{a.name}" if floor(node.module or "") == TOP else str(node.module)
                        for a in node.names)
        else:
            yield from imports(node)


def upward(module: str, source: str) -> list[str]:
    """What ``module`` imports of kayrx from a floor that is not below its own."""
    mine, package = floor(module), module.split(".")[1:2]
    return [name for name in imports(ast.parse(source)) if name.split(".")[0] == "kayrx"
            and not (floor(name) < mine or name.split(".")[1:2] == package)]


def module_of(path: Path) -> str:
    parts = path.relative_to(HOME.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_imports_point_down_only() -> None:
    """No file imports from its own height or above, but within its package; leaves may know each other."""
    found = {m: up for p in FILES if (m := module_of(p)) != "kayrx" and (up := upward(m, p.read_text()))
             and floor(m) < LEAF}

    assert found == {}


def test_nothing_imports_the_testing_kit() -> None:
    """`kayrx.testing` is for tests."""
    users = [module_of(p) for p in FILES if not module_of(p).startswith("kayrx.testing")
             and any(name.startswith("kayrx.testing") for name in imports(ast.parse(p.read_text())))]

    assert users == []


@pytest.mark.parametrize("planted", [
    "from kayrx.runtime.engine import Network", "def f():\n    from kayrx.plan import cut", "import kayrx.nodes.ends",
    "if x:\n    import kayrx", "from kayrx import runtime",
    "async def f():\n    try:\n        import kayrx.cli\n    finally: pass",
])
def test_a_planted_import_is_found(planted: str) -> None:
    """The test above is shown red; an import under TYPE_CHECKING is none."""
    assert upward("kayrx.graph.graph", planted)
    assert upward("kayrx.graph.graph", "if TYPE_CHECKING:\n    " + planted.replace("\n", "\n    ")) == []


def test_graph_nodes_and_plan_know_no_engine() -> None:
    """Graph and nodes import neither reactivex nor anyio; of the plan, `lower` alone knows reactivex."""
    heavy = {(module_of(p), name.split(".")[0]) for p in FILES if module_of(p).split(".")[1:2] and
             module_of(p).split(".")[1] in ("errors", "render", "graph", "nodes", "plan")
             for name in imports(ast.parse(p.read_text()))
             if name.split(".")[0] in ("reactivex", "anyio", "asyncio", "trio")}

    assert heavy == {("kayrx.plan.lower", "reactivex")}


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_no_file_is_long(path: Path) -> None:
    """300 lines at most."""
    assert len(path.read_text().splitlines()) <= 300


BARE = ("time.time", "time.monotonic", "time.sleep", "time.perf_counter", "datetime.now", "datetime.utcnow",
        "threading.Timer", "uuid.uuid4", "asyncio.sleep", "os.urandom")
LEAVES_WITH_A_CLOCK = ("kayrx.demo", "kayrx.cli", "kayrx.testing")


def bare(source: str) -> list[str]:
    """Clocks, timers and dice that a file reads itself."""
    tree = ast.parse(source)
    calls = [ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)]
    return [c for c in calls if c in BARE or c.startswith("random.")] + [
        f"from {n.module} import" for n in ast.walk(tree)
        if isinstance(n, ast.ImportFrom) and n.module in ("time", "random")]


def test_the_world_comes_in_by_the_door() -> None:
    """Only `kayrx.runtime.world` reads a clock or draws a number (law 9)."""
    found = {m: names for p in FILES if (m := module_of(p)) != "kayrx.runtime.world"
             and not m.startswith(LEAVES_WITH_A_CLOCK) and (names := bare(p.read_text()))}

    assert found.pop("kayrx.runtime.backend", ["asyncio.sleep"]) == ["asyncio.sleep"]  # sleep(0): a checkpoint
    assert found == {}
    assert bare("import time\ntime.time()") and bare("from random import random") and bare("threading.Timer(1, f)")


def test_public_names_are_exact() -> None:
    """``__all__``, ``dir`` and the homes agree; every name loads; nothing else is public."""
    assert kx.__all__ == sorted(kx.__all__) == dir(kx) == sorted(kx._HOME)
    assert all(getattr(kx, name) is not None for name in kx.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        kx.nope  # noqa: B018
    tree = ast.parse(Path(kx.__file__).read_text())
    block = next(n for n in tree.body if isinstance(n, ast.If))
    typed = {a.name: f.module for f in block.body if isinstance(f, ast.ImportFrom) for a in f.names}
    assert typed == kx._HOME


def documented(value: Any) -> str:
    return inspect.getdoc(value) or ""


@pytest.mark.parametrize("name", kx.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    """A docstring for each; for a function an example, which doctest runs."""
    value = getattr(kx, name)

    if name == "it":
        home = importlib.import_module("kayrx.graph.expr")
        assert ">>> it" in documented(home) and "The item, in an expression" in inspect.getsource(home)
        return
    if not (get_origin(value) or get_args(value)):
        assert documented(value), name
    if inspect.isfunction(value):
        assert doctest.DocTestParser().get_examples(documented(value)), f"{name} has no example"


def core_nodes() -> list[type[Node]]:
    import kayrx.nodes as package

    for found in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"kayrx.nodes.{found.name}")
    todo, found_nodes = [Node], []
    while todo:
        cls = todo.pop()
        todo += cls.__subclasses__()
        if cls.__module__.startswith("kayrx.nodes") and cls.__dict__.get("word") \
                and getattr(importlib.import_module(cls.__module__), cls.__name__) is cls:  # not a slotless twin
            found_nodes.append(cls)
    return sorted(set(found_nodes), key=lambda c: c.__name__)


@pytest.mark.parametrize("node", core_nodes(), ids=lambda c: c.__name__)
def test_every_core_node_has_a_meaning(node: type[Node]) -> None:
    """A form, a stage, a source row, a guard row, or a place in cut: no node is data alone."""
    from kayrx.nodes import interval, units, until
    from kayrx.plan.forms import item
    from kayrx.plan.lower import FAN_IN, lower
    from kayrx.runtime.guards.chain import around
    from kayrx.runtime.sources.opening import aiterate, iterate
    from kayrx.runtime.stages import stage

    rows: dict[str, tuple[Any, ...]] = {"source": (iterate, aiterate), "guard": (around,), "fan_in": (stage,),
                                        "step": (item, lower, stage), "sink": (item,)}
    if node.role == "fan_out" or node is units.Share:
        return  # cut and the tail of a segment are their meaning: tests/nodes/test_combine.py and test_sides.py
    table = rows[node.role]
    assert any(row.dispatch(node) is not row.dispatch(object) for row in table)
    assert node.role != "fan_in" or node in FAN_IN or node in (until.PauseWhen, interval.Join)  # a lane waits: no Rx


def test_core_nodes_are_found() -> None:
    """The list above is not empty by mistake."""
    assert {"Map", "Take", "Debounce", "Merge", "Retry", "Source", "ToList"} <= {c.__name__ for c in core_nodes()}
