"""The kit as a whole: its names, what it needs, what is left behind, and its random graphs."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
import threading
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from hypothesis import Phase, given, settings

import kayrx as kx
import kayrx.testing as kit
from kayrx.testing import left_behind, run_virtual
from kayrx.testing.strategies import RandomGraph, fan, graphs, numbers


def test_public_names_are_exact() -> None:
    """``__all__``, ``dir`` and the homes agree; every name loads and has a docstring."""
    assert kit.__all__ == sorted(kit.__all__) == dir(kit)
    assert set(kit.__all__) - set(kit._HOME) == {"laws"}
    for name in kit.__all__:
        assert inspect.getdoc(getattr(kit, name)), name
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        kit.nope  # noqa: B018


@pytest.mark.parametrize(("module", "needs"), [
    ("kayrx.testing.strategies", "hypothesis"), ("kayrx.testing.plugin", "pytest")])
def test_a_missing_package_is_told_with_the_remedy(module: str, needs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest and hypothesis are asked for where they are needed, and only there."""
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, needs, None)

    with pytest.raises(kx.MissingDependency, match=r"pip install kayrx\[testing\]"):
        importlib.import_module(module)


# -- left behind -----------------------------------------------------------------------------------


def test_a_task_that_goes_on_is_left_behind(loop: str) -> None:
    """By its name, on both backends; a task that has ended is not."""
    async def main() -> Any:
        async with anyio.create_task_group() as group:
            with left_behind() as left:
                group.start_soon(anyio.sleep_forever, name="forgotten")
                await anyio.sleep(1)
            with left_behind() as nothing:
                async with anyio.create_task_group() as inner:
                    inner.start_soon(anyio.sleep, 1)
            group.cancel_scope.cancel()
        return left.tasks, nothing

    tasks, nothing = run_virtual(main, loop)
    assert tasks == ["forgotten"] and not nothing


def test_threads_and_files_are_left_behind(tmp_path: Path) -> None:
    """By name and path."""
    go = threading.Event()
    with left_behind() as left:
        thread = threading.Thread(target=go.wait, name="forgotten")
        thread.start()
        file = (tmp_path / "open.txt").open("w")
    file.close()
    go.set()
    thread.join()

    assert left.threads == ["forgotten"] and left.files == [str(tmp_path / "open.txt")] and left


def test_the_threads_of_a_pool_are_not_left_behind(loop: str) -> None:
    """They belong to the loop, and live as long as it does."""
    async def main() -> Any:
        with left_behind() as left:
            await anyio.to_thread.run_sync(int)
            if loop == "asyncio":
                await asyncio.to_thread(int)
        return left

    assert not run_virtual(main, loop)


def test_an_asyncio_task_outside_anyio_is_left_behind() -> None:
    """Made with ``create_task``."""
    async def main() -> list[str]:
        with left_behind() as left:
            task = asyncio.create_task(asyncio.sleep(9), name="forgotten")
        task.cancel()
        return left.tasks

    assert run_virtual(main) == ["forgotten"]


# -- strategies ------------------------------------------------------------------------------------


@given(graphs(10, 12))
def test_random_graphs_have_the_asked_for_size_and_do_not_wait(drawn: RandomGraph) -> None:
    """Ten nodes and more; printed, a graph is the code that writes it."""
    assert len(drawn.graph.nodes) >= 10 and not drawn.waits
    assert not (kx.source([1]) >> drawn.graph).compile().loop
    assert repr(drawn).count(" >> ") >= 9 and "RandomGraph" not in repr(drawn)


@given(graphs(3, 4, waits=True))
def test_random_graphs_that_wait_wait(drawn: RandomGraph) -> None:
    """At least one node of each."""
    assert drawn.waits and (kx.source([1]) >> drawn.graph).compile().loop


def test_a_broken_node_is_found_by_random_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """If ``take(n)`` gave one too many, some random graph would tell."""
    from kayrx.nodes import select

    take = select.take
    monkeypatch.setattr(select, "take", lambda n: take(n + 1))

    @settings(max_examples=2000, phases=[Phase.generate])
    @given(graphs(3, 5), numbers())
    def same(drawn: RandomGraph, items: list[int]) -> None:
        assert (kx.source(items) >> drawn.graph).collect() == drawn.oracle(items)

    with pytest.raises(AssertionError) as caught:
        same()
    assert "take(" in "".join(caught.value.__notes__)


def test_a_fan_adds_what_its_branches_give() -> None:
    """The oracle of a fan is that of its branches, item by item."""
    double = RandomGraph("map(it * 2)", kx.map(kx.it * 2), lambda xs: [x * 2 for x in xs])
    both = fan(double, double >> double)

    assert (kx.source([1, 2]) >> both.graph).collect() == both.oracle([1, 2]) == [6, 12]
    assert repr(both) == "broadcast(map(it * 2), map(it * 2) >> map(it * 2)) >> zip() >> map(sum)"
