"""Every order of guards has the meaning that the table says (ruling 9)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.nodes.orders import KINDS, ORDERS
from kayrx.testing import run_virtual


class Unit:
    """A unit that waits ``seconds`` and then fails with what its item says; knows how often it was called."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, item: Any) -> Any:
        self.calls += 1
        seconds, error = item
        await anyio.sleep(seconds)
        if error is not None:
            raise error
        return "done"


async def other(item: Any) -> str:
    await anyio.sleep(1)
    return "other"


def broken(item: Any) -> Any:
    raise LookupError


FAILS, VALUE, SLOW, FINE = (1, OSError()), (1, ValueError()), (100, None), (2, None)
BUSY = {"bulkhead(1, queued=9) >> timeout(3)", "bulkhead(1) >> circuit_breaker(1)"}
SHOWN: dict[str, tuple[list[Any], Any, int, float, int]] = {
    # guards: items, what comes out, calls, seconds, letters
    "timeout(9) >> deadline(2)": ([SLOW], kx.DeadlineExceeded, 1, 2, 0),
    "timeout(2) >> retry(3)": ([SLOW], kx.CallTimeout, 3, 6, 0),
    "timeout(2) >> fallback(f)": ([SLOW], ["other"], 1, 3, 0),
    "timeout(2) >> dead_letter(store)": ([SLOW], [], 1, 2, 1),
    "timeout(2) >> circuit_breaker(2)": ([SLOW, SLOW, FINE], [kx.CallTimeout, kx.CallTimeout, kx.CircuitOpen], 2, 4, 0),
    "retry(9) >> timeout(5)": ([FAILS], kx.CallTimeout, 5, 5, 0),
    "retry(2) >> retry(3)": ([FAILS], OSError, 6, 6, 0),
    "retry(3) >> fallback(0)": ([FAILS], [0], 3, 3, 0),
    "retry(3) >> dead_letter(store)": ([FAILS], [], 3, 3, 1),
    "retry(3) >> circuit_breaker(2)": ([FAILS, FAILS, FINE], [OSError, OSError, kx.CircuitOpen], 6, 6, 0),
    "fallback(f) >> timeout(5)": ([(4.5, OSError())], kx.CallTimeout, 1, 5, 0),
    "fallback(0) >> retry(3)": ([FAILS], [0], 1, 1, 0),
    "fallback(broken) >> on_error_return(0)": ([FAILS], [0], 1, 1, 0),
    "fallback(broken) >> dead_letter(store)": ([FAILS], [], 1, 1, 1),
    "fallback(0) >> circuit_breaker(1)": ([FAILS, FAILS, FINE], [0, 0, "done"], 3, 4, 0),
    "skip_errors() >> timeout(5)": ([FAILS, SLOW], kx.CallTimeout, 2, 6, 0),
    "dead_letter(store) >> retry(3)": ([FAILS], [], 1, 1, 1),
    "dead_letter(store) >> fallback(0)": ([FAILS], [], 1, 1, 1),
    "skip_errors(ValueError) >> dead_letter(store)": ([FAILS, VALUE], [], 2, 2, 1),
    "skip_errors() >> circuit_breaker(1)": ([FAILS, FAILS, FINE], ["done"], 3, 4, 0),
    "bulkhead(1, queued=9) >> timeout(3)": ([FINE, FINE], ["done", kx.CallTimeout], 2, 3, 0),
    "circuit_breaker(2) >> retry(3)": ([FAILS], kx.CircuitOpen, 2, 2, 0),
    "circuit_breaker(1) >> fallback(0)": ([FAILS, FINE], [0, 0], 1, 1, 0),
    "circuit_breaker(1) >> dead_letter(store)": ([FAILS, FINE], [], 1, 1, 2),
    "bulkhead(1) >> circuit_breaker(1)": ([FINE, FINE, FINE], ["done", kx.BulkheadFull, kx.CircuitOpen], 1, 2, 0),
}


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.written)
def test_guards_mean_what_the_table_says(order: Any, loop: str) -> None:
    """Its example is run: what comes out, how many calls, how long it takes, how many letters."""
    items, out, calls, seconds, kept = SHOWN[order.written]
    unit, store = Unit(), list[Any]()
    names = {name: getattr(kx, name) for name in KINDS}
    guards = eval(order.written, {**names, "f": other, "broken": broken, "store": store})
    assert [KINDS[node.word] for node in guards.nodes] == [order.inner, order.outer]
    shown = kx.catch(lambda error, _: type(error)) if isinstance(out, list) else kx.retry(1)
    node = kx.map(unit, concurrency=3) if order.written in BUSY else kx.map(unit)

    async def main() -> float:
        begin, graph = anyio.current_time(), kx.source(items) >> node >> guards >> shown >> kx.to_list()
        if isinstance(out, list):
            assert await graph == out
        else:
            with pytest.raises(out):
                await graph
        return anyio.current_time() - begin

    assert run_virtual(main, loop) == seconds
    assert unit.calls == calls and len(store) == kept


def test_the_table_has_a_row_for_every_order() -> None:
    """Every pair of kinds once, every guard a kind, every row an example that is run above."""
    from tests.test_names import GUARDS

    kinds = dict.fromkeys(KINDS.values())
    assert [(order.inner, order.outer) for order in ORDERS] == [*product(kinds, repeat=2)]
    assert {*KINDS} == {*GUARDS, "timeout"} - {"settled"} and {*SHOWN} == {order.written for order in ORDERS}


MADE: dict[str, Callable[[list[Any]], Any]] = {
    "timeout": lambda store: kx.timeout(3), "deadline": lambda store: kx.deadline(4),
    "retry": lambda store: kx.retry(2, backoff=kx.constant(1)), "hedge": lambda store: kx.hedge(after=0.5),
    "fallback": lambda store: kx.fallback("other"), "catch": lambda store: kx.catch(lambda error, item: "caught"),
    "on_error_return": lambda store: kx.on_error_return("other"), "skip_errors": lambda store: kx.skip_errors(),
    "dead_letter": kx.dead_letter, "circuit_breaker": lambda store: kx.circuit_breaker(2),
    "bulkhead": lambda store: kx.bulkhead(1, queued=3)}


@pytest.mark.parametrize("inner", MADE)
def test_any_two_guards_in_any_order_lose_no_item(inner: str) -> None:
    """Over a map of several calls at once: each item has one fate, and the run ends."""
    for outer in MADE:
        store: list[Any] = []
        graph = kx.source([FAILS, (0.2, None), SLOW, (0.2, None)]) >> kx.map(Unit(), concurrency=2) >> MADE[inner](
            store) >> MADE[outer](store) >> kx.timeout(50) >> kx.dead_letter(store) >> kx.to_list()

        async def main(graph: Any = graph) -> Any:
            async with graph.start(events=True) as run:
                pass
            return run.result, run.events()

        out, events = run_virtual(main)
        entered = [e["id"] for e in events if e["event"] == "entered"]
        fates = {e["id"]: e["event"] for e in events if "id" in e and e["event"] != "entered"}
        assert len(entered) == 4 == len(fates) and [*fates.values()].count("delivered") == len(out), outer
        assert [*fates.values()].count("dead_letter") == len(store), outer
