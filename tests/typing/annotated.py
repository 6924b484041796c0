"""What an editor knows of annotated functions: read by pyright alone (tests/test_typing.py), never run.

A comment ``pyright: ignore[...]`` here is a claim that the line is a type error; an unused one fails.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=error, reportUnusedExpression=false

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Never, assert_type

import kayrx as kx
from kayrx.graph.graph import Graph


@dataclass(frozen=True)
class Order:
    item: str
    cents: int
    at: float


def parse(line: str) -> Order:
    item, cents, at = line.split(",")
    return Order(item, int(cents), float(at))


async def priced(order: Order) -> float:
    return order.cents / 100


def dear(order: Order) -> bool:
    return order.cents > 1000


async def in_stock(order: Order) -> bool:
    return bool(order.item)


def letters(order: Order) -> list[str]:
    return list(order.item)


async def tokens(order: Order) -> AsyncIterator[bytes]:
    yield order.item.encode()


def item(order: Order) -> str:
    return order.item


def moment(order: Order) -> float:
    return order.at


def total(held: float, order: Order) -> float:
    return held + order.cents


def counted(held: int, order: Order) -> tuple[int, str]:
    return held + 1, order.item


def show(order: Order) -> None:
    print(order.item)


def read() -> Iterator[str]:
    yield "tea,300,0.5"


def cheaper(a: Order, b: Order) -> Order:
    return min(a, b, key=moment)


def sooner(pair: tuple[Order, Order]) -> Order:
    return cheaper(*pair)


def numbered(pair: tuple[int, Order]) -> str:
    return f"{pair[0]}. {pair[1].item}"


def noted(pair: tuple[Order, str]) -> str:
    return pair[0].item + pair[1]


def shown(price: float) -> str:
    return f"{price:.2f}"


def average(prices: list[float]) -> float:
    return sum(prices) / len(prices)


lines = kx.source(["tea,300,0.5"])
orders = lines >> kx.map(parse)

# -- a pipeline keeps its types to the end
assert_type(lines, Graph[Never, str])
assert_type(kx.source(read) >> kx.map(parse), Graph[Never, Order])
assert_type(orders, Graph[Never, Order])
assert_type(orders >> kx.map(priced), Graph[Never, float])
assert_type(orders >> kx.map(priced, concurrency=8), Graph[Never, float])
assert_type(orders >> item, Graph[Never, str])
assert_type(orders >> kx.filter(dear) >> kx.filter(in_stock), Graph[Never, Order])
assert_type(orders >> kx.flat_map(letters), Graph[Never, str])
assert_type(orders >> kx.flat_map(tokens), Graph[Never, bytes])
assert_type(orders >> kx.switch_map(tokens), Graph[Never, bytes])
assert_type(orders >> kx.scan(total, 0.0), Graph[Never, float])
assert_type(orders >> kx.reduce(total, 0.0), Graph[Never, float])
assert_type(orders >> kx.stateful_map(counted, key=item, seed=0, max_keys=9), Graph[Never, str])
assert_type(orders >> kx.window_by(item, event_time=moment, tumbling=60, fold=(0.0, total)),
            Graph[Never, kx.Window[float]])
assert_type(orders >> kx.coalesce(3, cheaper) >> kx.map(item), Graph[Never, str])
assert_type(orders >> kx.partition(dear, kx.map(item), kx.map(item)), Graph[Never, str])
assert_type(kx.zip(orders, lines), Graph[Never, tuple[Order, str]])
assert_type(kx.combine_latest(orders, lines), Graph[Never, tuple[Order, str]])
assert_type(kx.merge(orders, orders) >> kx.map(item), Graph[Any, str])
assert_type(kx.map(parse)("tea,300,0.5"), list[Order])
assert_type(kx.map(parse) >> kx.map(item), Graph[str, str])
assert_type((orders >> kx.each(show)).run(), None)
assert_type(orders.collect(), list[Order])

# -- behind a node that takes no function pyright does not know the item (mypy does); the next function says it
assert_type(orders >> kx.take(2) >> kx.map(item), Graph[Never, str])
assert_type(orders >> kx.map(priced) >> kx.buffer(count=2) >> average, Graph[Never, float])
assert_type(orders >> kx.pairwise() >> kx.map(sooner), Graph[Never, Order])
assert_type(orders >> kx.with_index() >> kx.map(numbered), Graph[Never, str])
assert_type(orders >> kx.with_latest_from(lines) >> kx.map(noted), Graph[Never, str])
assert_type(orders >> kx.take_until(lines) >> kx.debounce(0.2) >> kx.map(priced), Graph[Never, float])
assert_type(orders >> kx.backpressure(8, overflow="drop_oldest") >> kx.map(item), Graph[Never, str])
assert_type(orders >> kx.map(priced) >> kx.timeout(2) >> kx.retry(3, backoff=kx.exponential(0.2)) >> kx.skip_errors()
            >> kx.map(shown), Graph[Never, str])


async def faces() -> None:
    items_in_all: list[Order] = await (orders >> kx.to_list())
    assert_type(items_in_all, list[Order])
    async with orders.stream() as items:
        async for order in items:
            assert_type(order, Order)


# -- wrong joins are type errors
orders >> kx.map(parse)  # pyright: ignore
lines >> kx.filter(dear)  # pyright: ignore
orders >> average  # pyright: ignore
lines >> kx.each(show)  # pyright: ignore
orders >> kx.scan(total, "none")  # pyright: ignore
kx.map(parse) >> kx.map(average)  # pyright: ignore
kx.take("2")  # pyright: ignore
