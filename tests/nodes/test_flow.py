"""Flow: backpressure is a bounded gate with a policy; conflate is the policy that joins."""

from __future__ import annotations

import operator
from typing import Any, get_args

import anyio
import pytest
import reactivex

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


# -- bounds by bytes, watermarks -----------------------------------------------------------------


WORDS = ["a", "bb", "cccc", "d", "eeeeeeee", "f"]


def read_ahead(loop: str, **how: Any) -> list[int]:
    """How many words were read, the one in the writer's hand included, while each was in the hand of a slow reader."""
    read: list[str] = []
    seen: list[int] = []
    out: list[str] = []

    async def slow(x: str) -> None:
        await anyio.sleep(0.5)
        seen.append(len(read))
        out.append(x)
        await anyio.sleep(0.5)

    async def words() -> Any:
        for word in WORDS:
            read.append(word)
            yield word

    async def main() -> None:
        await (kx.source(words) >> kx.backpressure(**how) >> kx.each(slow))

    run_virtual(main, loop)
    assert out == WORDS
    return seen


def test_bytes_bound_what_waits(loop: str) -> None:
    """The sum of the sizes is bounded, what the reader has in hand included; one that is too large passes alone."""
    assert read_ahead(loop, bytes=4) == [3, 3, 3, 5, 5, 6]
    assert read_ahead(loop, bytes=7) == [3, 4, 5, 5, 5, 6]


def test_the_count_is_a_bound_as_well(loop: str) -> None:
    """Whichever bound is reached first holds the source."""
    assert read_ahead(loop, size=2, bytes=100) == [2, 3, 4, 5, 6, 6]


@pytest.mark.parametrize(("low", "lengths"), [(0, [4, 4, 4, 4, 6, 6]), (0.5, [4, 4, 6, 6, 6, 6]),
                                               (None, [4, 5, 6, 6, 6, 6])])
def test_a_held_source_goes_on_at_the_low_watermark(low: Any, lengths: list[int], loop: str) -> None:
    """Full at 4; then it is read again only when no more than this part is left."""
    assert read_ahead(loop, size=4, low=low) == read_ahead(loop, size=4, low=low, bytes=99) == lengths


@pytest.mark.parametrize(("overflow", "kept", "dropped"), [
    ("drop_oldest", ["a", "eeeeeeee", "f"], 3), ("drop_newest", ["a", "bb", "cccc", "d", "f"], 1),
    ("latest", ["a", "eeeeeeee", "f"], 3),
])
def test_a_policy_that_drops_minds_the_bytes(overflow: Any, kept: list[str], dropped: int, loop: str) -> None:
    """As many are dropped as it takes for the new one to fit, and each is counted."""
    out: list[str] = []

    async def slow(x: str) -> None:
        out.append(x)
        await anyio.sleep(1)

    async def words() -> Any:
        yield "a"
        await anyio.sleep(0.5)
        for word in ("bb", "cccc", "d", "eeeeeeee", "f"):
            yield word

    async def main() -> int:
        async with (kx.source(words) >> kx.backpressure(9, overflow=overflow, bytes=9) >> kx.each(slow)).start() as run:
            await run.wait()
            return sum(gate.dropped for gate in run.metrics().gates)

    assert (run_virtual(main, loop), out) == (dropped, kept)


def test_conflate_weighs_what_it_has_joined(loop: str) -> None:
    """Nothing is lost; what was joined is measured anew."""
    async def words() -> Any:
        yield "x"
        await anyio.sleep(0.5)
        for word in ("bb", "c", "d", "e"):
            yield word

    async def slow(x: str) -> str:
        await anyio.sleep(1)
        return x

    joining = kx.backpressure(9, overflow=kx.conflate(operator.add), bytes=3)

    async def main() -> list[str]:
        return await (kx.source(words) >> joining >> kx.map(slow) >> kx.to_list())  # type: ignore[no-any-return]

    assert run_virtual(main, loop) == ["x", "bb", "cde"]


def test_error_and_unmeasurable_items(backend: str) -> None:
    """``error`` fails the run by either bound; an item without a size asks for ``size_of``."""
    with pytest.raises(kx.GateOverflow):
        (kx.source(["aa"] * 40) >> kx.backpressure(99, overflow="error", bytes=3) >> kx.map(str)).run(backend=backend)
    with pytest.raises(kx.RunError, match=r"a int has no len\(\); say how to measure it"):
        (kx.source([1]) >> kx.backpressure(bytes=3)).run(backend=backend)
    with pytest.raises(kx.RunError, match="a size is a number >= 0"):
        (kx.source([1]) >> kx.backpressure(bytes=3, size_of=lambda x: -x)).run(backend=backend)


def test_a_measured_gate_after_an_observable(loop: str) -> None:
    """Its queue stays in front of it: the gate may hold, and the queue is bounded."""
    seen: list[int] = []

    async def main() -> None:
        await (kx.source(reactivex.of(1, 2, 3)) >> kx.backpressure(2, bytes=2, size_of=abs) >> kx.each(seen.append))

    run_virtual(main, loop)
    assert seen == [1, 2, 3]


def test_explain_prints_measures_and_marks() -> None:
    """The bound in bytes and the low watermark stand beside the count."""
    text = (kx.source([b""]) >> kx.backpressure(4, bytes=100, low=0.5) >> kx.to_list()).explain()
    lossy = kx.source([b""]) >> kx.backpressure(4, bytes=100, overflow="latest") >> kx.to_list()

    assert "gate 1 (4 items, block, 100 bytes, low 0.5) into" in text and "loss:" not in text
    assert "drops all waiting items, counted" in lossy.explain() and len(lossy.check()) == 1


# -- prefetch and coalesce -----------------------------------------------------------------------


def test_prefetch_reads_ahead_of_demand(loop: str, tracked: Any) -> None:
    """``n`` items are ready before they are asked for; ``backpressure`` would wait with a source that can."""
    async def ahead(node: Any) -> int:
        source = tracked(range(100))

        async def main() -> int:
            async with (kx.source(source) >> node >> kx.map(anyio_sleep)).start() as run:
                await anyio.sleep(0.5)
                pulled = source.pulled
                await run.cancel()
                return int(pulled)
        return await main()

    async def anyio_sleep(x: int) -> None:
        await anyio.sleep(1)

    assert run_virtual(lambda: ahead(kx.prefetch(5)), loop) in (5, 6)  # one may be in the writer's hand
    assert run_virtual(lambda: ahead(kx.backpressure(5)), loop) == 1


def test_prefetch_is_a_bound_in_explain() -> None:
    """A real gate of ``n`` items, also where nothing waits."""
    assert "gate 1 (7 items, block) into str" in (kx.source([1]) >> kx.prefetch(7) >> kx.map(str)).explain()


def coalesced(most: int, loop: str) -> tuple[list[str], int]:
    """What a reader of a second an item gets of six that come at once after the first; and how far it is read."""
    read: list[str] = []
    ahead: list[int] = []

    async def letters() -> Any:
        for x in "abcdefg":
            read.append(x)
            yield x
            await anyio.sleep(0.5 if x == "a" else 0)

    async def slow(x: str) -> str:
        await anyio.sleep(1)
        ahead.append(len(read))
        return x

    async def main() -> list[str]:
        return await (kx.source(letters) >> kx.coalesce(most, operator.add) >> kx.map(slow) >> kx.to_list())  # type: ignore[no-any-return]

    return run_virtual(main, loop), ahead[0]


@pytest.mark.parametrize(("most", "out", "ahead"), [
    (9, ["a", "bcdefg"], 7), (3, ["a", "bcd", "efg"], 5), (1, list("abcdefg"), 3)])
def test_coalesce_joins_what_waits_and_then_holds(most: int, out: list[str], ahead: int, loop: str) -> None:
    """Nothing is lost; ``max`` items are joined at most, then the source is read no further."""
    assert coalesced(most, loop) == (out, ahead)


def test_coalesce_loses_nothing_anywhere(backend: str) -> None:
    """How much is joined depends on the pace; what comes out is whole, and in order."""
    letters = [chr(n) for n in range(33, 120)]
    out = (kx.source(letters) >> kx.coalesce(5, operator.add) >> kx.map(str)).collect(backend=backend)

    assert "".join(out) == "".join(letters) and max(map(len, out)) <= 5
    assert "coalesced from 5 at most" in (kx.source(letters) >> kx.coalesce(5, operator.add)).explain()


async def wait(a: Any, b: Any) -> Any:
    return a


@pytest.mark.parametrize(("write", "says"), [
    (lambda: kx.backpressure(bytes=0), "bytes must be a whole number"),
    (lambda: kx.backpressure(size_of=abs), "nothing is measured"),
    (lambda: kx.backpressure(low=1), "from 0 to below 1"),
    (lambda: kx.backpressure(low=0.5, overflow="latest"), "only with"),
    (lambda: kx.backpressure(bytes=3, size_of=3), "must be a function"), (lambda: kx.prefetch(0), r"prefetch\(size\)"),
    (lambda: kx.coalesce(0, max), "max must be"), (lambda: kx.coalesce(2, 3), "must be a function"),
    (lambda: kx.coalesce(2, wait), "write a plain function"),
    (lambda: kx.queue_source(2, kx.coalesce(2, max)), "the policies are"),
], ids=range(10))
def test_wrong_measures_fail_where_they_are_written(write: Any, says: str) -> None:
    """A bad bound, mark or function is a GraphError that says what would be right."""
    with pytest.raises(kx.GraphError, match=says):
        write()
