"""Flow: backpressure is a bounded gate with a policy; conflate is the policy that joins."""

from __future__ import annotations

import operator
from typing import Any, get_args

import anyio
import pytest

import kayrx as kx
from kayrx.nodes.flow import Conflate, Named, Overflow
from kayrx.testing import run_virtual


@pytest.mark.parametrize("items", [range(100), [], [None, None]], ids=["range", "empty", "None"])
def test_block_changes_nothing_but_the_pace(items: Any, backend: str) -> None:
    """``overflow="block"`` loses nothing and keeps the order, whatever its size."""
    assert (kx.source(items) >> kx.backpressure(3) >> kx.map(str)).collect(backend=backend) == [str(x) for x in items]


def flood(overflow: Overflow, loop: str, size: int = 2, count: int = 6) -> tuple[list[Any], int]:
    """What a slow reader gets of ``count`` items that come at once, and how many the gate has dropped."""
    async def slow(x: Any) -> Any:
        await anyio.sleep(1)
        return x

    async def burst() -> Any:
        yield 1
        await anyio.sleep(0.5)  # the reader is busy with the first
        for n in range(2, count + 1):
            yield n

    async def main() -> tuple[list[Any], int]:
        graph = kx.source(burst) >> kx.backpressure(size, overflow=overflow) >> kx.map(slow) >> kx.to_list()
        async with graph.start() as run:
            out = await run.wait()
            return out, sum(gate.dropped for gate in run.metrics().gates)

    return run_virtual(main, loop)


@pytest.mark.parametrize(("size", "overflow", "out", "dropped"), [
    (2, "block", [1, 2, 3, 4, 5, 6], 0), (2, "drop_oldest", [1, 5, 6], 3), (2, "drop_newest", [1, 2, 3], 3),
    (2, "latest", [1, 6], 4), (2, kx.conflate(operator.add), [1, 2, 18], 0), (1, kx.conflate(operator.add), [1, 20], 0),
    (3, "drop_oldest", [1, 4, 5, 6], 2), (3, "latest", [1, 5, 6], 3), (9, "drop_oldest", [1, 2, 3, 4, 5, 6], 0),
], ids=str)
def test_each_policy_keeps_what_its_name_says(size: int, overflow: Overflow, out: Any, dropped: int, loop: str) -> None:
    """Of five that come while the reader holds one, each policy keeps its own ``size``, and counts the others."""
    assert flood(overflow, loop, size) == (out, dropped)


def test_error_fails_the_run_naming_the_gate(loop: str) -> None:
    """``overflow="error"`` is a GateOverflow that says which gate was full and what would help."""
    with pytest.raises(kx.GateOverflow, match="slow"):
        flood("error", loop)


@pytest.mark.parametrize("overflow", [*get_args(Named), kx.conflate(lambda a, b: a)], ids=str)
def test_nothing_is_lost_uncounted(overflow: Overflow, loop: str) -> None:
    """Conservation: what came is delivered, dropped and counted, or joined into another (law 6)."""
    if overflow == "error":
        assert flood(overflow, loop, size=9) == ([1, 2, 3, 4, 5, 6], 0)
        return
    given, dropped = flood(overflow, loop, size=2)
    joined = 3 if isinstance(overflow, Conflate) else 0

    assert len(given) + dropped + joined == 6


@pytest.mark.parametrize(("write", "says"), [
    (lambda: kx.backpressure(0), "whole number >= 1"), (lambda: kx.backpressure(1.5), "whole number"),
    (lambda: kx.backpressure(2, overflow="drop"), "the policies are block, drop_oldest"),
    (lambda: kx.backpressure(2, overflow=max), "the policies are"), (lambda: kx.conflate(3), "must be a function"),
], ids=range(5))
def test_wrong_arguments_fail_where_they_are_written(write: Any, says: str) -> None:
    """A bad size, policy or function is a GraphError that lists what there is."""
    with pytest.raises(kx.GraphError, match=says):
        write()


def test_check_says_what_is_lost() -> None:
    """`check` has a line for each gate that may drop, and none for block or conflate."""
    lossy = kx.source([1]) >> kx.backpressure(2, overflow="drop_oldest") >> kx.map(str)
    joined = kx.source([1]) >> kx.backpressure(2, overflow=kx.conflate(max)) >> kx.backpressure(2) >> kx.map(str)

    (warning,) = lossy.check()
    assert "loses items when it is full (drop_oldest)" in warning and "test_flow.py" in warning
    assert joined.check() == []
