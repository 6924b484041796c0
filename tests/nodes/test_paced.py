"""Pacing: rate_limit makes items wait and loses none, keep_alive fills silence; on virtual time, with exact moments."""

from __future__ import annotations

from itertools import count
from typing import Any

import anyio
import pytest
from hypothesis import given, strategies as st

import kayrx as kx
from kayrx.runtime.stages.paced import Buckets
from kayrx.testing import run_virtual


def paced(**how: Any) -> Any:
    return lambda source: source >> kx.rate_limit(**how)


# -- rate_limit ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "out"), [
    ({"n": 1, "per": 3}, [(1, "a"), (4, "b"), (7, "c"), (10, "d")]),
    ({"n": 2, "per": 3}, [(1, "a"), (2.5, "b"), (4, "c"), (9, "d")]),
    ({"n": 1, "per": 3, "burst": 2}, [(1, "a"), (1, "b"), (4, "c"), (9, "d")]),
    ({"n": 1, "per": 3, "burst": 9}, [(1, "a"), (1, "b"), (1, "c"), (9, "d")]),
    ({"n": 1, "per": 3, "cost": {"a": 2, "b": 0, "c": 1, "d": 1}.get}, [(4, "a"), (4, "b"), (7, "c"), (10, "d")]),
    ({"n": 1, "per": 3, "key": "ab".__contains__}, [(1, "a"), (1, "c"), (4, "b"), (9, "d")]),
], ids=range(6))
def test_moments(how: Any, out: Any, timeline: Any) -> None:
    """Evenly spaced; a burst after a pause; a price an item; a bucket a key.  Nothing is lost."""
    assert timeline(paced(**how), "-(abc)---d|")[:-1] == out


def test_the_functions_may_be_async(timeline: Any) -> None:
    """``key`` and ``cost`` may be ``async def``."""
    async def key(x: str) -> str:
        await anyio.sleep(0)
        return x

    async def cost(x: str) -> int:
        return 2 if x == "b" else 1

    assert timeline(paced(n=1, per=2, key=key), "-(aab)---|") == [(1, "a"), (1, "b"), (3, "a"), (9, "|")]
    assert timeline(paced(n=1, per=2, burst=2, cost=cost), "-(aab)|") == [(1, "a"), (1, "a"), (5, "b"), (6, "|")]


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("xyz")), max_size=30), st.integers(1, 4),
       st.integers(1, 5), st.booleans())
def test_no_window_sees_more_than_the_bucket_allows(items: list[tuple[int, str]], n: int, burst: int,
                                                    keyed: bool) -> None:
    """In any stretch of time at most ``burst + n * seconds`` items of a key; all come, in order within their key."""
    times = sorted(items)

    async def script() -> Any:
        for at, key in times:
            await anyio.sleep(max(0.0, at - anyio.current_time()))
            yield at, key

    async def main() -> list[tuple[float, tuple[int, str]]]:
        out: list[tuple[float, tuple[int, str]]] = []
        node = kx.rate_limit(n, per=1, burst=burst, key=kx.it[1] if keyed else None, keys=2, size=4)
        await (kx.source(script) >> node >> kx.each(lambda x: out.append((anyio.current_time(), x))))
        return out

    out = run_virtual(main)
    for key in "xyz" if keyed else [None]:
        mine = [(at, x) for at, x in out if key in (None, x[1])]
        assert [x for _, x in mine] == [x for x in times if key in (None, x[1])]
        for i, (begin, _) in enumerate(mine):
            assert all(j - i + 1 <= burst + n * (end - begin) + 1e-6 for j, (end, _) in enumerate(mine) if j >= i)


def test_a_slow_reader_gets_no_burst_afterwards(loop: str) -> None:
    """The bucket counts when an item passes, not when it might have."""
    passed: list[float] = []

    async def main() -> None:
        async def slow(x: int) -> None:
            await anyio.sleep(100 if x == 0 else 0)
            passed.append(anyio.current_time())

        await (kx.source(range(40)) >> kx.rate_limit(1, per=1) >> kx.backpressure(1) >> kx.each(slow))

    run_virtual(main, loop)
    assert passed[:4] == [100, 100, 101, 102]


def test_a_limit_holds_its_source(loop: str, tracked: Any) -> None:
    """With ``size`` items waiting the source is read no further."""
    source = tracked(count())

    async def main() -> None:
        async with (kx.source(source) >> kx.rate_limit(1, per=60, size=4)).start() as run:
            await anyio.sleep(30)
            assert source.pulled <= 1 + 4 + 16 + 1
            await run.cancel()

    run_virtual(main, loop)
    assert source.closed


def test_a_new_key_waits_for_a_bucket(timeline: Any) -> None:
    """``keys`` buckets at most: a new key comes in when one is full again."""
    assert timeline(paced(n=1, per=5, key=kx.it, keys=2), "-(abcd)|") == [
        (1, "a"), (1, "b"), (6, "c"), (6, "d"), (7, "|")]
    assert timeline(paced(n=1, key=kx.it, keys=1, cost=lambda x: 5), "-(ab)|") == [(5, "a"), (10, "b"), (10, "|")]


def test_full_buckets_are_forgotten() -> None:
    """However many keys come one after another, no more than ``keys`` are known."""
    buckets = Buckets(kx.rate_limit(1, key=kx.it, keys=3).nodes[0])  # type: ignore[arg-type]
    for now in range(100):
        assert buckets.room_at(now, now) <= now
        buckets.add(now, 1, now, now)
        buckets.passed(now)
        assert len(buckets.full_at) <= 3


@pytest.mark.parametrize("price", [-1, float("nan"), float("inf"), "1", None])
def test_a_cost_is_a_number(price: Any, loop: str) -> None:
    """Anything else is a RunError that names the node."""
    with pytest.raises(kx.RunError, match=r"'rate_limit'.*a cost is a number >= 0"):
        (kx.source([1]) >> kx.rate_limit(1, cost=lambda x: price)).run(backend=loop)


def test_a_function_that_raises_fails_the_run(loop: str) -> None:
    """With its own error, and a note that names the node."""
    with pytest.raises(ZeroDivisionError) as caught:
        (kx.source([1]) >> kx.rate_limit(1, key=lambda x: 1 / 0)).run(backend=loop)
    assert "'rate_limit' (rate_limit) at test_paced.py" in caught.value.__notes__[0]


def test_explain_prints_the_bounds() -> None:
    """What waits, and how many keys are known."""
    assert "rate_limit: 16 items\n" in (kx.source([1]) >> kx.rate_limit(1) >> kx.to_list()).explain()
    assert "rate_limit: 3 items, 9 keys" in (kx.source([1]) >> kx.rate_limit(1, size=3, key=abs, keys=9)).explain()


# -- keep_alive ----------------------------------------------------------------------------------


def test_keep_alive_fills_silence(timeline: Any) -> None:
    """``every`` seconds after the last item, and again; items pass at their own time."""
    assert timeline(lambda s: s >> kx.keep_alive(4, "~"), "-a-b---------c--|") == [
        (1, "a"), (3, "b"), (7, "~"), (11, "~"), (13, "c"), (16, "|")]
    assert timeline(lambda s: s >> kx.keep_alive(2, "~"), "-----|") == [(2, "~"), (4, "~"), (5, "|")]


@pytest.mark.parametrize("kind", ["value", "function", "async", "None"])
def test_the_filling_may_be_a_value_or_a_function(kind: str, timeline: Any) -> None:
    """It is called anew each time; None is an ordinary value."""
    ticks = count()

    async def later() -> int:
        return next(ticks)

    item = {"value": 0, "function": lambda: next(ticks), "async": later, "None": None}[kind]
    out = [x for _, x in timeline(lambda s: s >> kx.keep_alive(2, item), "-----|")]

    assert out == {"value": [0, 0, "|"], "None": [None, None, "|"]}.get(kind, [0, 1, "|"])


def test_a_slow_reader_gets_no_pile(loop: str) -> None:
    """While an item cannot be sent on, none is made."""
    made: list[int] = []

    async def main() -> None:
        async def slow(x: Any) -> None:
            await anyio.sleep(100)

        graph = kx.timer(10**6) >> kx.keep_alive(1, lambda: made.append(1)) >> kx.each(slow)
        async with graph.start() as run:
            await anyio.sleep(1000)
            assert len(made) <= 16 + 10 + 2
            await run.cancel()

    run_virtual(main, loop)


@pytest.mark.parametrize("write", [
    lambda: kx.rate_limit(0), lambda: kx.rate_limit(-1), lambda: kx.rate_limit("1"), lambda: kx.rate_limit(1, per=0),
    lambda: kx.rate_limit(1, burst=0), lambda: kx.rate_limit(1, key=3), lambda: kx.rate_limit(1, cost=3),
    lambda: kx.rate_limit(1, size=0), lambda: kx.rate_limit(1, keys=0), lambda: kx.rate_limit(float("inf")),
    lambda: kx.keep_alive(0, 1), lambda: kx.keep_alive("1", 1),
], ids=range(12))
def test_wrong_arguments_fail_where_they_are_written(write: Any) -> None:
    """A wrong argument is a GraphError of the line that writes it."""
    with pytest.raises(kx.GraphError, match="must be"):
        write()
