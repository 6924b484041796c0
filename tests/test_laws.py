"""The laws: every node, beside its oracle over plain lists, is held to all of `kayrx.testing.laws`.

A new node gets a row in one of the two tables.  Random graphs of many nodes are in test_random.py.
"""

from __future__ import annotations

import io
import operator
import pickle
from collections.abc import Callable, Iterator
from functools import reduce
from itertools import accumulate, chain, dropwhile, groupby, pairwise, takewhile
from pathlib import Path
from typing import Any

import anyio
import pytest
from reactivex import operators as ops

import kayrx as kx
from kayrx.graph.graph import Graph
from kayrx.testing import laws
from tests.nodes.oracles import spans

Oracle = Callable[[list[int]], list[int]]
LICENSE = Path(__file__).parent.parent / "LICENSE"


async def bump(x: int) -> int:
    await anyio.sleep(0)
    return x + 1


async def even(x: int) -> bool:
    return x % 2 == 0


async def both(x: int) -> Any:
    yield x
    await anyio.sleep(0)
    yield -x


async def counted(n: int, x: int) -> tuple[int, int]:
    return n + 1, x + n


async def at_once(x: int) -> Any:
    yield x
    yield -x


async def listed(x: int) -> list[int]:
    return [x, -x]


async def add(total: int, x: int) -> int:
    return total + x


def picky(x: int) -> int:
    if x % 3 == 0:
        raise ValueError(x)
    return x


class Kept(list[Any]):
    """A store from which letters could be replayed, so that ids are carried for it."""

    def mark_done(self, *ids: str) -> None: ...


def until(test: Callable[[int], bool], xs: list[int]) -> list[int]:
    """Items until and with the first that fails the test."""
    head = list(takewhile(test, xs))
    return xs[:len(head) + 1]


def windows(xs: list[int], n: int, step: int) -> Iterator[list[int]]:
    """What `sliding` gives: a shorter last list only if it holds items that none held."""
    at, seen = 0, 0
    while at + n <= len(xs):
        yield xs[at:at + n]
        at, seen = at + step, at + n
    if seen < len(xs) and xs[at:]:
        yield xs[at:]


def halved(x: int) -> Iterator[int]:
    """An item and what `expand` gets of it by halving what is over 3."""
    yield x
    while x > 3:
        x //= 2
        yield x


def split(xs: list[int]) -> list[int]:
    """What a loop gives of one number that halves what is not under 5, in its order."""
    out: list[int] = []
    while xs:
        halves = [xs[0] // 2, xs[0] - xs[0] // 2]
        out += [x for x in halves if x < 5]
        xs = xs[1:] + [x for x in halves if x >= 5]
    return out


def forgetful(xs: list[int], most: int) -> list[int]:
    """What `distinct` passes by ``x // 3`` if it remembers so many keys."""
    out, keys = [], []
    for x in xs:
        if x // 3 not in keys:
            keys = [*keys, x // 3][-most:]
            out.append(x)
    return out


def grouped(xs: list[int], n: int) -> list[int]:
    """The sums of each n odd and each n even numbers as they come, then what is left, the parity that began first."""
    out: list[int] = []
    held: dict[int, list[int]] = {}
    for x in xs:
        held.setdefault(x % 2, []).append(x)
        if len(held[x % 2]) == n:
            out.append(sum(held[x % 2]))
            held[x % 2] = []
    return out + [sum(left) for left in held.values() if left]


SYNC: dict[str, tuple[Graph[Any, Any], Oracle]] = {
    "map it": (kx.map(kx.it + 1), lambda xs: [x + 1 for x in xs]),
    "map lambda": (kx.map(lambda x: x * 2), lambda xs: [x * 2 for x in xs]),
    "map abs": (kx.map(abs), lambda xs: [abs(x) for x in xs]),
    "filter it": (kx.filter(kx.it % 2 == 0), lambda xs: [x for x in xs if x % 2 == 0]),
    "filter lambda": (kx.filter(lambda x: x > -5), lambda xs: [x for x in xs if x > -5]),
    "take 3": (kx.take(3), lambda xs: xs[:3]), "take 40": (kx.take(40), lambda xs: xs[:40]),
    "take 0": (kx.take(0), lambda xs: []),
    "skip 2": (kx.skip(2), lambda xs: xs[2:]),
    "take_while": (kx.take_while(kx.it < 30), lambda xs: list(takewhile(lambda x: x < 30, xs))),
    "take_while inclusive": (kx.take_while(lambda x: x < 9, inclusive=True), lambda xs: until(lambda x: x < 9, xs)),
    "distinct": (kx.distinct_until_changed(), lambda xs: [x for x, _ in groupby(xs)]),
    "distinct key": (kx.distinct_until_changed(kx.it // 2), lambda xs: [next(g) for _, g in groupby(
        xs, lambda x: x // 2)]),
    "skip_while": (kx.skip_while(kx.it < 9), lambda xs: list(dropwhile(lambda x: x < 9, xs))),
    "distinct all": (kx.distinct(), lambda xs: list(dict.fromkeys(xs))),
    "distinct by": (kx.distinct(lambda x: x // 3, max_keys=2), lambda xs: forgetful(xs, 2)),
    "ignore_elements": (kx.ignore_elements(), lambda xs: []),
    "take_last": (kx.take_last(3), lambda xs: xs[-3:]), "take_last 0": (kx.take_last(0), lambda xs: []),
    "first": (kx.first(default=7), lambda xs: [*xs, 7][:1]),
    "first of": (kx.first(lambda x: x > 9, None) >> kx.map(kx.it == 0),
                 lambda xs: [x == 0 for x in [*filter(lambda x: x > 9, xs), None][:1]]),
    "last": (kx.last(default=7), lambda xs: [7, *xs][-1:]),
    "last of": (kx.last(kx.it > 9, 7), lambda xs: [7, *filter(lambda x: x > 9, xs)][-1:]),
    "element_at": (kx.element_at(2, 7), lambda xs: [*xs[2:], 7][:1]),
    "default_if_empty": (kx.default_if_empty(7), lambda xs: xs or [7]),
    "scan": (kx.scan(operator.add, 5), lambda xs: list(accumulate(xs, initial=5))[1:]),
    "scan seedless": (kx.scan(max), lambda xs: list(accumulate(xs, max))),
    "scan lambda": (kx.scan(lambda s, x: s * 2 + x & 255, 0), lambda xs: list(accumulate(
        xs, lambda s, x: s * 2 + x & 255, initial=0))[1:]),
    "reduce": (kx.reduce(operator.add, 1), lambda xs: [reduce(operator.add, xs, 1)]),
    "count": (kx.count(), lambda xs: [len(xs)]), "sum": (kx.sum(), lambda xs: [sum(xs)]),
    "flat_map": (kx.flat_map(lambda x: [x] * (x % 4)), lambda xs: [x for x in xs for _ in range(x % 4)]),
    "concat_map": (kx.concat_map(lambda x: iter((x, -x))), lambda xs: [y for x in xs for y in (x, -x)]),
    "tap": (kx.tap(lambda x: None), lambda xs: xs),
    "pairwise": (kx.pairwise() >> kx.map(sum), lambda xs: [a + b for a, b in pairwise(xs)]),
    "with_index": (kx.with_index(3) >> kx.map(sum), lambda xs: [3 + i + x for i, x in enumerate(xs)]),
    "timestamp": (kx.timestamp() >> kx.map(kx.it.value), lambda xs: xs),
    "materialize": (kx.materialize() >> kx.dematerialize(), lambda xs: xs),
    "told": (kx.map(picky) >> kx.materialize() >> kx.map(lambda n: getattr(n, "value", -7)),
             lambda xs: [*takewhile(lambda x: x % 3, xs), -7]),
    "expand": (kx.expand(lambda x: [x // 2] if x > 3 else ()), lambda xs: [y for x in xs for y in halved(x)]),
    "expand deep": (kx.expand(lambda x: [-x], max_depth=1), lambda xs: [y for x in xs for y in (x, -x)]),
    "loop": (kx.loop(kx.map(kx.it // 2), until=kx.it <= 3), lambda xs: [[*halved(x // 2)][-1] for x in xs]),
    "loop split": (kx.loop(kx.flat_map(lambda x: [x // 2, x - x // 2]), until=lambda x: x < 5, size=99),
                   lambda xs: [y for x in xs for y in split([x])]),
    "loop of segments": (kx.loop(kx.broadcast(kx.map(kx.it // 2), kx.filter(lambda x: False)) >> kx.merge(),
                                 until=kx.it <= 3), lambda xs: [[*halved(x // 2)][-1] for x in xs]),
    "loop that holds": (kx.loop(kx.buffer(3) >> kx.map(sum), until=lambda x: True),
                        lambda xs: [sum(xs[i:i + 3]) for i in range(0, len(xs), 3)]),
    "stateful_map": (kx.stateful_map(lambda n, x: (n + 1, x + n), kx.it % 3, 0), lambda xs: [
        x + sum(y % 3 == x % 3 for y in xs[:i]) for i, x in enumerate(xs)]),
    "stateful_map one": (kx.stateful_map(lambda last, x: (x, last), seed=5), lambda xs: [5, *xs][:len(xs)]),
    "guarded stateful_map": (kx.stateful_map(lambda n, x: (n + 1, picky(x) * 0 + n), seed=0) >> kx.skip_errors(),
                             lambda xs: list(range(sum(x % 3 != 0 for x in xs)))),
    "chunk bytes": (kx.map(lambda x: bytes([x & 255])) >> kx.chunk(bytes=3) >> kx.map(sum),
                    lambda xs: [sum(x & 255 for x in xs[i:i + 3]) for i in range(0, len(xs), 3)]),
    "chunk text": (kx.map(str) >> kx.chunk(2, by="grapheme") >> kx.map(len),
                   lambda xs: [len("".join(map(str, xs))[i:i + 2]) for i in range(0, len("".join(map(str, xs))), 2)]),
    "buffer": (kx.buffer(count=3) >> kx.map(sum), lambda xs: [sum(xs[i:i + 3]) for i in range(0, len(xs), 3)]),
    "sliding": (kx.sliding(3, 2) >> kx.map(sum), lambda xs: [sum(w) for w in windows(xs, 3, 2)]),
    "sliding gap": (kx.sliding(2, 3) >> kx.map(sum), lambda xs: [sum(w) for w in windows(xs, 2, 3)]),
    "group_by": (kx.group_by(kx.it % 3, kx.scan(operator.add)), lambda xs: [
        sum(y for y in xs[:i + 1] if y % 3 == x % 3) for i, x in enumerate(xs)]),
    "group_by that ends": (kx.group_by(kx.it % 2, kx.buffer(3) >> kx.map(sum)), lambda xs: grouped(xs, 3)),
    "group_by of few": (kx.group_by(kx.it, kx.count(), max_groups=1), lambda xs: [len([*g]) for _, g in groupby(xs)]),
    "window": (kx.window(4, kx.filter(kx.it % 2 == 0) >> kx.sum()), lambda xs: [
        sum(x for x in xs[i:i + 4] if x % 2 == 0) for i in range(0, len(xs), 4)]),
    "window_by": (kx.window_by(kx.it % 2, event_time=kx.it, tumbling=10, lateness=5) >> kx.map(lambda w: sum(w.value)),
                  lambda xs: [sum(values) for *_, values in spans([(x % 2, x, x) for x in xs], 10, 10, 5)[0]]),
    "window_by fold": (kx.window_by(event_time=kx.it, sliding=(9, 4), fold=(1, operator.add)) >> kx.map(kx.it.value),
                       lambda xs: [1 + sum(v) for *_, v in spans([(None, x, x) for x in xs], 9, 4, 0)[0]]),
    "backpressure": (kx.backpressure(3), lambda xs: xs),
    "prefetch": (kx.prefetch(3), lambda xs: xs),
    "measured": (kx.backpressure(5, bytes=64, size_of=abs, low=0.5), lambda xs: xs),
    "coalesce": (kx.coalesce(3, operator.add) >> kx.sum(), lambda xs: [sum(xs)]),
    "rx skip": (kx.rx(ops.skip(1)), lambda xs: xs[1:]),
    "rx last": (kx.rx(ops.take_last(2)), lambda xs: xs[-2:]),
    "retry": (kx.map(abs) >> kx.retry(2), lambda xs: [abs(x) for x in xs]),
    "skip_errors": (kx.map(picky) >> kx.skip_errors(), lambda xs: [x for x in xs if x % 3]),
    "dead_letter keyed": (kx.map(picky) >> kx.dead_letter(Kept()), lambda xs: [x for x in xs if x % 3]),
    "dead_letter deep": (kx.flat_map(lambda x: [x, 3]) >> kx.map(picky) >> kx.dead_letter(Kept()),
                         lambda xs: [x for x in xs if x % 3]),
    "fallback": (kx.map(picky) >> kx.fallback(lambda x: -x), lambda xs: [x if x % 3 else -x for x in xs]),
    "fallback graph": (kx.map(picky) >> kx.fallback(kx.filter(kx.it % 2 == 0) >> kx.map(kx.it * 2)),
                       lambda xs: [x if x % 3 else x * 2 for x in xs if x % 3 or x % 2 == 0]),
    "catch": (kx.map(picky) >> kx.catch(lambda error, x: -x), lambda xs: [x if x % 3 else -x for x in xs]),
    "on_error_return": (kx.flat_map(lambda x: [picky(x)]) >> kx.on_error_return(7),
                        lambda xs: [x if x % 3 else 7 for x in xs]),
    "circuit_breaker": (kx.map(picky) >> kx.circuit_breaker(99) >> kx.skip_errors(),
                        lambda xs: [x for x in xs if x % 3]),
    "deadline": (kx.map(picky) >> kx.deadline(1000) >> kx.fallback(0), lambda xs: [x if x % 3 else 0 for x in xs]),
    "settled": (kx.settled(3) >> kx.map(abs), lambda xs: [abs(x) for x in xs]),
    "guarded filter": (kx.filter(picky) >> kx.skip_errors(), lambda xs: [x for x in xs if x % 3]),
    "guarded scan": (kx.scan(lambda s, x: s + picky(x), 0) >> kx.skip_errors(),
                     lambda xs: list(accumulate([x for x in xs if x % 3], initial=0))[1:]),
    "unit": (kx.unit(kx.map(picky) >> kx.map(kx.it * 10)) >> kx.skip_errors(),
             lambda xs: [x * 10 for x in xs if x % 3]),
    "unit flat_map": (kx.unit(kx.flat_map(lambda x: [x, x]) >> kx.map(picky)) >> kx.skip_errors(),
                      lambda xs: [x for x in xs if x % 3 for _ in range(2)]),
    "fan": (kx.broadcast(kx.map(kx.it * 10), kx.map(abs)) >> kx.zip() >> kx.map(sum),
            lambda xs: [x * 10 + abs(x) for x in xs]),
    "with_latest_from": (kx.with_latest_from(kx.source([7])) >> kx.map(sum), lambda xs: [x + 7 for x in xs]),
    "take_until": (kx.take_until(kx.source([1])), lambda xs: []),
    "take_until never": (kx.take_until(kx.source([])), lambda xs: xs),
    "skip_until": (kx.skip_until(kx.source([1])), lambda xs: xs),
    "buffer until": (kx.buffer(until=kx.source([1])) >> kx.map(sum), lambda xs: [sum(xs)] if xs else []),
    "balance": (kx.balance(kx.map(abs), kx.map(abs)) >> kx.merge() >> kx.sum(), lambda xs: [sum(map(abs, xs))]),
    "share": (kx.share(size=2) >> kx.backpressure(3), lambda xs: xs),
    "share replay": (kx.share(replay=2) >> kx.map(abs), lambda xs: [*map(abs, xs)]),
    "race": (kx.broadcast(kx.map(kx.it + 1), kx.map(lambda x: x + 1)) >> kx.race(), lambda xs: [x + 1 for x in xs]),
    "merge_prioritized": (kx.broadcast(kx.map(kx.it * 2), kx.map(abs)) >> kx.merge_prioritized(priorities=(2, 1))
                          >> kx.sum(), lambda xs: [sum(x * 2 + abs(x) for x in xs)]),
    "concat": (kx.broadcast(kx.take(2), kx.skip(2)) >> kx.concat(), lambda xs: xs),
    "combine_latest": (kx.broadcast(kx.map(kx.it + 1), kx.map(abs)) >> kx.combine_latest() >> kx.last(default=(0, 7))
                       >> kx.map(sum), lambda xs: [x + 1 + abs(x) for x in xs[-1:]] or [7]),
    "zip_latest": (kx.last(default=7) >> kx.broadcast(kx.map(kx.it + 1), kx.map(abs)) >> kx.zip_latest() >> kx.map(sum),
                   lambda xs: [x + 1 + abs(x) for x in [7, *xs][-1:]]),
    "partition": (kx.partition(kx.it > 5, kx.map(kx.it * 10), kx.map(abs)) >> kx.merge() >> kx.sum(),
                  lambda xs: [sum(x * 10 if x > 5 else abs(x) for x in xs)]),
    "branch": (kx.branch({0: kx.map(kx.it * 10), 1: kx.map(abs)}, key=kx.it % 2) >> kx.merge() >> kx.sum(),
               lambda xs: [sum(abs(x) if x % 2 else x * 10 for x in xs)]),
    "lines": (kx.take_until(kx.lines(LICENSE) >> kx.ignore_elements()), lambda xs: xs),
    "dead_letter": (kx.map(picky) >> kx.dead_letter([]), lambda xs: [x for x in xs if x % 3]),
}


def in_pairs(xs: list[int]) -> list[list[int]]:
    """Pairs of those that were equal by three before one was added; the odd ones at the end."""
    held: dict[int, list[int]] = {}
    out: list[list[int]] = []
    for x in xs:
        pair = held.setdefault((x - 1) % 3, [])
        pair.append(x)
        if len(pair) == 2:
            out.append([*pair])
            pair.clear()
    return out + [pair for pair in held.values() if pair]


ASYNC: dict[str, tuple[Graph[Any, Any], Oracle]] = {
    "map async": (kx.map(bump), lambda xs: [x + 1 for x in xs]),
    "map async 4": (kx.map(bump, concurrency=4), lambda xs: [x + 1 for x in xs]),
    "filter async": (kx.filter(even), lambda xs: [x for x in xs if x % 2 == 0]),
    "concat_map async": (kx.concat_map(both), lambda xs: list(chain(*((x, -x) for x in xs)))),
    "scan async": (kx.scan(add, 0), lambda xs: list(accumulate(xs, initial=0))[1:]),
    "timeout": (kx.map(bump) >> kx.timeout(30) >> kx.retry(2), lambda xs: [x + 1 for x in xs]),
    "bulkhead": (kx.map(bump, concurrency=3) >> kx.bulkhead(2, queued=2), lambda xs: [x + 1 for x in xs]),
    "hedge": (kx.map(bump) >> kx.hedge(after=9), lambda xs: [x + 1 for x in xs]),
    "deadline async": (kx.map(bump) >> kx.retry(2) >> kx.deadline(30) >> kx.fallback(kx.map(bump)),
                       lambda xs: [x + 1 for x in xs]),
    "dead_letter async": (kx.map(bump) >> kx.map(picky) >> kx.dead_letter(Kept()),
                          lambda xs: [x + 1 for x in xs if (x + 1) % 3]),
    "stateful_map async": (kx.stateful_map(counted, kx.it % 3, 0), lambda xs: [
        x + sum(y % 3 == x % 3 for y in xs[:i]) for i, x in enumerate(xs)]),
    "expand async": (kx.expand(both, max_depth=1), lambda xs: [y for x in xs for y in (x, x, -x)]),
    "loop async": (kx.loop(kx.map(bump), until=kx.it % 5 == 0, size=1), lambda xs: [x + 5 - x % 5 for x in xs]),
    "loop crew": (kx.loop(kx.map(bump, concurrency=3), until=kx.it % 5 == 0) >> kx.sum(),
                  lambda xs: [sum(x + 5 - x % 5 for x in xs)]),
    "loop inside": (kx.loop(kx.map(bump) >> kx.loop(kx.map(kx.it + 1), until=kx.it % 2 == 0), until=kx.it % 5 == 0,
                            size=1), lambda xs: [next(y for y in range(x + 2, x + 99) if y % 10 == 0) for x in xs]),
    "loop later": (kx.loop(kx.delay(5) >> kx.map(kx.it + 1), until=kx.it % 5 == 0) >> kx.sum(),
                   lambda xs: [sum(x + 5 - x % 5 for x in xs)]),
    "told async": (kx.map(bump) >> kx.map(picky) >> kx.materialize() >> kx.map(lambda n: getattr(n, "value", -7)),
                   lambda xs: [*takewhile(lambda x: x % 3, [x + 1 for x in xs]), -7]),
    "group_by async": (kx.group_by(kx.it % 3, kx.map(bump) >> kx.buffer(2)), lambda xs: in_pairs([x + 1 for x in xs])),
    "window time": (kx.window(None, kx.map(bump) >> kx.sum(), seconds=60), lambda xs: [
        sum(x + 1 for x in xs)][:len(xs)]),
    "window time and count": (kx.window(2, kx.sum(), seconds=60), lambda xs: [
        sum(xs[i:i + 2]) for i in range(0, len(xs), 2)]),
    "window async": (kx.window(2, kx.map(bump) >> kx.sum()), lambda xs: [
        sum(x + 1 for x in xs[i:i + 2]) for i in range(0, len(xs), 2)]),
    "skip_while async": (kx.skip_while(even), lambda xs: list(dropwhile(lambda x: x % 2 == 0, xs))),
    "last async": (kx.last(even, 7), lambda xs: [7, *filter(lambda x: x % 2 == 0, xs)][-1:]),
    "take_while async": (kx.take_while(even), lambda xs: list(takewhile(lambda x: x % 2 == 0, xs))),
    "switch_map": (kx.switch_map(lambda x: [x, -x]), lambda xs: list(chain(*((x, -x) for x in xs)))),
    "switch_map async": (kx.switch_map(at_once), lambda xs: list(chain(*((x, -x) for x in xs)))),
    "exhaust_map": (kx.exhaust_map(lambda x: (x, -x)), lambda xs: list(chain(*((x, -x) for x in xs)))),
    "exhaust_map async": (kx.exhaust_map(listed), lambda xs: list(chain(*((x, -x) for x in xs)))),
    "rate_limit": (kx.rate_limit(10**6, burst=9, cost=kx.it % 2), lambda xs: xs),
    "keep_alive": (kx.keep_alive(60, 0), lambda xs: xs),
    "interval": (kx.take_until(kx.interval(60)), lambda xs: xs),
    "timer": (kx.take_until(kx.timer(60)), lambda xs: xs), "tail": (kx.take_until(kx.tail(LICENSE)), lambda xs: xs),
    "delay": (kx.delay(5), lambda xs: xs), "debounce": (kx.debounce(5), lambda xs: xs[-1:]),
    "sample": (kx.sample(5), lambda xs: xs[-1:]), "throttle_first": (kx.throttle_first(60), lambda xs: xs[:1]),
    "threads": (kx.map(abs, on=kx.threads(1)), lambda xs: [abs(x) for x in xs]),
    "conflate": (kx.backpressure(1, overflow=kx.conflate(operator.add)) >> kx.map(bump) >> kx.ignore_elements(),
                 lambda xs: []),
    "join": (kx.map(bump) >> kx.join(kx.source([3, 9, 4, 30]), within=2, event_time=kx.it, lateness=99)
             >> kx.reduce(lambda s, pair: s + pair[0] * pair[1], 0),
             lambda xs: [sum((x + 1) * y for x in xs for y in (3, 9, 4, 30) if abs(x + 1 - y) <= 2)]),
    "pause_when": (kx.pause_when(kx.source([True, False])), lambda xs: xs),
    "lane": (kx.map(bump) >> kx.backpressure(2) >> kx.map(abs), lambda xs: [abs(x + 1) for x in xs]),
}
SIDES: dict[str, tuple[Graph[Any, Any], Callable[[list[int]], list[int]]]] = {
    "divert_to": (kx.divert_to(kx.to_list(), kx.it > 5), lambda xs: [x for x in xs if x <= 5]),
    "also_to": (kx.also_to(kx.to_list()), lambda xs: xs),
    "wire_tap": (kx.wire_tap(kx.map(kx.it / 0) >> kx.to_list()), lambda xs: xs),
    "sink": (kx.also_to(kx.sink(abs)), lambda xs: xs), "each": (kx.also_to(kx.each(bump)), lambda xs: xs),
}
ITEMS = [[], [7], [1, 2, 2, 3, 0, 9, 10, 11, 11, 30, 4], [*range(-20, 40)]]


@pytest.mark.parametrize("items", ITEMS, ids=["none", "one", "some", "many"])
@pytest.mark.parametrize("name", [*SYNC, *ASYNC, *SIDES])
def test_a_node_keeps_the_laws(name: str, items: list[int]) -> None:
    """The oracle's answer on all faces, backends, chunks, fused and not, inlined and not, with events and
    without; errors forwarded; nothing left in whatever way the run ends; one fate for every item."""
    graph, oracle = (SYNC | ASYNC | SIDES)[name]

    laws.check(graph, items, expect=oracle(items), errors=not name.startswith("told"))


@pytest.mark.parametrize("name", SYNC)
def test_a_node_that_need_not_wait_needs_no_loop(name: str) -> None:
    """What stands in the first table runs in place, the second waits."""
    assert not (kx.source([1]) >> SYNC[name][0]).compile().loop


@pytest.mark.parametrize("name", ASYNC)
def test_a_node_that_waits_asks_for_a_loop(name: str) -> None:
    """So its laws are looked at on both backends."""
    assert (kx.source([1]) >> ASYNC[name][0]).compile().loop


@pytest.mark.parametrize("place", [kx.threads(2), kx.processes(2, batch=3)], ids=["threads", "processes"])
def test_a_function_says_the_same_wherever_it_runs(place: kx.Placement) -> None:
    """On worker threads and in worker processes; not among the random graphs, for a process takes its time to start."""
    graph = kx.source(ITEMS[2]) >> kx.map(abs, on=place) >> kx.filter(kx.it > 2)
    for backend in ("asyncio", "trio"):
        for chunk in (1, 256):
            assert graph.collect(backend=backend, chunk=chunk) == [3, 9, 10, 11, 11, 30, 4]


@pytest.mark.parametrize("name", [n for n in SYNC if "rx" not in n])
def test_a_call_is_a_run_over_one_item(name: str) -> None:
    """``graph(x)`` equals ``(source([x]) >> graph).collect()``, with fresh state each time (ruling 23)."""
    graph, oracle = SYNC[name]

    assert [graph(x) for x in (3, 3, -1)] == [oracle([x]) for x in (3, 3, -1)]


@pytest.mark.parametrize("name", SYNC)
def test_a_subject_pushes_a_node_alone_and_in_company(name: str) -> None:
    """The subject's ``on_next`` is the node's own step while nobody else hears it; an earlier one still reaches all."""
    (graph, oracle), items = SYNC[name], ITEMS[2]
    subject, out, beside = kx.Subject(), [], []
    (subject >> graph).subscribe(out.append)
    kept = subject.on_next
    for at, x in enumerate(items):
        if at == 3:
            other = subject.subscribe(beside.append)
        if at == 7:
            other.dispose()
        (kept if at % 2 else subject.on_next)(x)
    subject.on_completed()

    assert (out, beside) == (oracle(items), items[3:7])


@pytest.mark.parametrize("name", [n for n in (*SYNC, *ASYNC, *SIDES) if "dead_letter" not in n])  # into a live list
def test_a_node_travels_if_its_functions_do(name: str) -> None:
    """Beside functions a node holds values that pickle (laws 1 and 2): what arrives is equal, and so is its plan."""
    graph, functions, sent = {**SYNC, **ASYNC, **SIDES}[name][0], [], io.BytesIO()

    class There(pickle.Pickler):
        def persistent_id(self, thing: Any) -> int | None:
            if not (callable(thing) and hasattr(thing, "__code__")):
                return None
            functions.append(thing)
            return len(functions) - 1

    class Back(pickle.Unpickler):
        def persistent_load(self, number: Any) -> Any:
            return functions[number]

    There(sent).dump(graph)
    arrived = Back(io.BytesIO(sent.getvalue())).load()
    assert arrived == graph
    assert str(arrived.explain()) == str(graph.explain())
