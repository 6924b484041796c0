"""Errors tell: each kind of failure with its node, line, item and attempt; each act of a guard is an event."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest

import kayrx as kx

Virtual = Callable[[Any], Any]


async def ask(x: int) -> int:
    if x == 2:
        await anyio.sleep(100)
    return x


async def refuse(x: int) -> int:
    if x == 2:
        raise OSError("refused")
    return x


async def some(x: int) -> AsyncIterator[int]:
    yield x
    await anyio.sleep(100 if x == 2 else 0)
    yield x


async def none() -> AsyncIterator[int]:
    await anyio.sleep(100)
    yield 1


async def halting() -> AsyncIterator[int]:
    yield 1
    await anyio.sleep(100)
    yield 2


def three() -> Any:
    return kx.source([0, 1, 2])


FAILURES: dict[str, tuple[Any, type[Exception], str, str]] = {
    "total": (three() >> kx.map(ask) >> kx.timeout(5), kx.CallTimeout, "5 s (total)", "'ask' (map), item 2"),
    "first": (three() >> kx.map(ask) >> kx.timeout(first=5), kx.CallTimeout, "5 s (first)", "'ask' (map), item 2"),
    "idle": (three() >> kx.concat_map(some) >> kx.timeout(idle=5), kx.CallTimeout, "5 s (idle)",
             "'some' (flat_map), item 2"),
    "total of many": (three() >> kx.concat_map(some) >> kx.timeout(total=5, idle=50), kx.CallTimeout, "5 s (total)",
                      "'some' (flat_map), item 2"),
    "first of a unit": (three() >> kx.unit(kx.map(ask) >> kx.map(kx.it)) >> kx.timeout(first=5, idle=9),
                        kx.CallTimeout, "5 s (first)", "'unit' (unit), item 2"),
    "first of a source": (kx.source(none) >> kx.timeout(5) >> kx.map(abs), kx.CallTimeout, "5 s (first)",
                          "'none' (source)"),
    "idle of a source": (kx.source(halting) >> kx.timeout(idle=5) >> kx.map(abs), kx.CallTimeout, "5 s (idle)",
                         "'halting' (source), item 0"),
    "total of a source": (kx.source(halting) >> kx.timeout(total=5) >> kx.map(abs), kx.CallTimeout, "5 s (total)",
                          "'halting' (source), item 0"),
    "open circuit": (kx.source([2, 2]) >> kx.map(refuse) >> kx.circuit_breaker(1) >> kx.skip_errors(OSError),
                     kx.CircuitOpen, "the circuit is open, for 30 s more", "'refuse' (map), item 1"),
    "bulkhead": (kx.source([2, 2, 2]) >> kx.map(ask, concurrency=3) >> kx.bulkhead(1), kx.BulkheadFull, "takes no more",
                 "'ask' (map), item 1"),
    "deadline": (three() >> kx.map(ask) >> kx.retry(2) >> kx.deadline(5), kx.DeadlineExceeded, "spent its deadline",
                 "'ask' (map), item 2"),
    "deadline of a source": (three() >> kx.deadline(5) >> kx.map(ask) >> kx.retry(2), kx.DeadlineExceeded,
                             "spent its deadline", "'ask' (map), item 2"),
    "deadline in a retry": (three() >> kx.map(ask) >> kx.deadline(5) >> kx.retry(3), kx.DeadlineExceeded,
                            "spent its deadline", "'ask' (map), item 2, attempt 3"),
    "exhausted": (three() >> kx.map(refuse) >> kx.timeout(5) >> kx.retry(3), OSError, "refused",
                  "'refuse' (map), item 2, attempt 3"),
    "exhausted timeouts": (three() >> kx.map(ask) >> kx.timeout(5) >> kx.retry(3), kx.CallTimeout, "(total)",
                           "'ask' (map), item 2, attempt 3"),
    "overflow": (kx.source([2, 2, 2, 2]) >> kx.map(abs) >> kx.backpressure(1, overflow="error") >> kx.map(ask),
                 kx.GateOverflow, "gate into 'ask' is full", "'abs' (map), item 1"),
    "another answer": (three() >> kx.concat_map(some) >> kx.timeout(5) >> kx.retry(2, resume="skip_prefix"),
                       kx.CallTimeout, "(total)", "'some' (flat_map), item 2, attempt 2"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_each_failure_names_its_node_line_item_and_attempt(name: str, virtual: Virtual) -> None:
    """In one note, beside what the message says; a timeout says which of the three it is."""
    graph, kind, message, where = FAILURES[name]
    with pytest.raises(kind) as caught:
        virtual(graph)
    assert message in str(caught.value)
    (note,) = [n for n in caught.value.__notes__ if n.startswith("kayrx: in node")]
    node, _, rest = where.partition(", ")
    assert note.startswith(f"kayrx: in node {node} at test_told.py:") and note.endswith(rest), note


def events(graph: Any, virtual: Virtual, *, ids: bool = True) -> list[dict[str, Any]]:
    async def main() -> Any:
        try:
            async with graph.start(events=ids) as run:
                pass
        except Exception:  # what is told is asked here
            pass
        return run.events()
    return virtual(main)  # type: ignore[no-any-return]


GUARDS: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "retry": (kx.map(refuse) >> kx.retry(3, backoff=kx.constant(2)), [
        {"event": "retried", "attempt": 1, "wait": 2}, {"event": "retried", "attempt": 2, "wait": 2}]),
    "fallback": (kx.map(refuse) >> kx.fallback(0), [{"event": "fallback"}]),
    "fallback of many": (kx.concat_map(some) >> kx.timeout(5) >> kx.catch(lambda error, x: [9]), [
        {"event": "fallback"}]),
    "catch": (kx.map(refuse) >> kx.catch(lambda error, x: 0), [{"event": "fallback"}]),
    "skip_errors": (kx.map(refuse) >> kx.skip_errors(), [{"event": "skipped", "item": 2}]),
    "dead_letter": (kx.map(refuse) >> kx.dead_letter([]), [{"event": "dead_letter", "item": 2}]),
    "circuit_breaker": (kx.map(refuse) >> kx.circuit_breaker(1, reset=0) >> kx.retry(2), [
        {"event": "circuit", "state": "open", "name": None}, {"event": "retried", "attempt": 1},
        {"event": "circuit", "state": "half_open"}, {"event": "circuit", "state": "open"}]),
    "hedge": (kx.map(ask) >> kx.hedge(after=2), [{"event": "hedged", "after": 2}]),
    "restart": (kx.concat_map(some) >> kx.timeout(5) >> kx.retry(2, resume="restart"), [
        {"event": "retried", "attempt": 1}]),
}


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("name", GUARDS)
def test_each_act_of_a_guard_is_an_event(name: str, ids: bool, virtual: Virtual) -> None:
    """With its node and error and, where ids are kept, ``of``: the id of the item that it is about."""
    guarded, wanted = GUARDS[name]
    told = [e for e in events(three() >> guarded, virtual, ids=ids) if "node" in e and "id" not in e]
    assert [{k: e[k] for k in w} for e, w in zip(told, wanted, strict=True)] == wanted
    assert {e["node"] for e in told} == {guarded.nodes[0].label}
    assert [e.get("of") for e in told] == [("source", 0, 2) if ids else None] * len(told)
    assert all(isinstance(e["error"], Exception) for e in told if e["event"] not in ("circuit", "hedged"))


def test_what_a_concurrent_guard_tells_is_of_its_own_item(virtual: Virtual) -> None:
    """However many calls are under way, in a crew, and in segments whose turns come in between."""
    async def fail(x: int) -> int:
        await anyio.sleep(10 - x)
        raise OSError(x)

    async def failing_slowly(x: int) -> int:
        await anyio.sleep(1)
        if x % 2:
            raise OSError(x)
        return x

    crew = kx.source(range(6)) >> kx.map(fail, concurrency=4) >> kx.retry(2) >> kx.fallback(0)
    two = kx.source(range(6)) >> kx.map(failing_slowly) >> kx.fallback(0) >> kx.map(failing_slowly) >> kx.fallback(1)
    for graph in (crew, two):
        told = [e for e in events(graph, virtual) if e["event"] in ("fallback", "retried")]
        assert told and all(e["of"][2] == int(str(e["error"])) for e in told)


def test_drops_of_a_gate_are_told(virtual: Virtual) -> None:
    """Every item that a policy lets go of ends as dropped, by id."""
    graph = kx.source(range(9)) >> kx.backpressure(2, overflow="drop_oldest") >> kx.map(ask)
    fates = [e["event"] for e in events(graph, virtual) if "id" in e]
    assert fates.count("dropped") > 0 and fates.count("entered") == 9
