"""The first attempt in one frame: no guard can tell it from one that has a frame for each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any
from unittest.mock import patch

import anyio
from hypothesis import example, given, strategies as st

import kayrx as kx
from kayrx.runtime.guards import chain, limits
from kayrx.testing import run_virtual, virtual_world

Chain = list[tuple[str, dict[str, Any]]]
NAMES = {"first shared", "second shared"}
spans = st.integers(1, 48).map(lambda eighths: eighths / 8)  # which a float adds up without loss
errors = st.sampled_from([OSError, ValueError])
on = st.sampled_from([Exception, OSError, ValueError])


@st.composite
def guards(draw: st.DrawFn) -> Chain:
    """The words of one to six guards, and what is said to each; in most chains one of each door at most."""
    name = st.sampled_from([None, None, *sorted(NAMES)])
    said = {
        "timeout": st.fixed_dictionaries({"seconds": spans}),
        "deadline": st.fixed_dictionaries({"seconds": spans}),
        "retry": st.fixed_dictionaries({"attempts": st.integers(1, 3), "on": on}, optional={
            "backoff": spans.map(kx.constant), "deadline": spans}),
        "circuit_breaker": st.fixed_dictionaries({"failures": st.integers(1, 2), "reset": spans, "on": on,
                                                  "name": name}, optional={"window": spans}),
        "bulkhead": st.fixed_dictionaries({"running": st.integers(1, 2), "queued": st.integers(0, 2), "name": name}),
        "fallback": st.fixed_dictionaries({"alternative": st.sampled_from(["value", "slow", "broken"]), "on": on}),
        "skip_errors": st.fixed_dictionaries({"on": on}),
        "dead_letter": st.fixed_dictionaries({"on": on}),
    }
    stands = ["timeout", "deadline", "retry", "circuit_breaker", "bulkhead"]
    words = draw(st.lists(st.sampled_from([*said, *stands * 3]), min_size=1, max_size=6))
    return [(word, draw(said[word])) for word in words]


outcomes = st.fixed_dictionaries(
    {"after": st.just(0) | spans, "error": st.none() | errors},
    # what it does when it is interrupted: cleans up for some time, and may have a value or an error after all
    optional={"cleans": st.just(0) | spans, "answers": st.none() | st.just("value") | errors})


class Slow:
    """Makes one attempt after the other as they are written, and knows when each began and how it ended."""

    def __init__(self, attempts: list[dict[str, Any]]) -> None:
        self.attempts, self.counts = attempts, Counter[int]()
        self.log: list[tuple[Any, ...]] = []

    async def __call__(self, item: int) -> str:
        number, self.counts[item] = self.counts[item], self.counts[item] + 1
        plan = self.attempts[(3 * item + number) % len(self.attempts)]
        begun, how = anyio.current_time(), "cancelled"
        try:
            if plan["after"]:
                await anyio.sleep(plan["after"])
            how = "error"
            if plan["error"] is not None:
                raise plan["error"](f"{item} {number}")
            how = "value"
            return f"{item} {number}"
        except anyio.get_cancelled_exc_class():
            await anyio.sleep(plan.get("cleans", 0))
            if plan.get("answers") is None:
                raise
            how = "answered"
            if plan["answers"] == "value":
                return f"{item} {number} late"
            raise plan["answers"](f"{item} {number} late") from None
        finally:
            self.log.append((item, number, begun, anyio.current_time(), how))


async def apart() -> AsyncIterator[int]:
    """No two items begin at one moment, so that nothing is for the order of tasks to say."""
    for item in range(5):
        await anyio.sleep(2 ** item / 1024)
        yield item


async def other(item: int) -> str:
    await anyio.sleep(1.5)
    return f"{item} instead"


def broken(item: int) -> str:
    raise LookupError(item)


def guarded(unit: Any, chain_of: Chain, letters: list[Any]) -> Any:
    """Items through a unit and its guards; what still fails is caught with its notes."""
    for word, said in chain_of:
        if word == "fallback":
            alternative = {"value": "instead", "slow": other, "broken": broken}[said["alternative"]]
            unit = unit >> kx.fallback(alternative, on=said["on"])
        else:
            unit = unit >> getattr(kx, word)(**said, **{"store": letters} if word == "dead_letter" else {})
    return unit >> kx.catch(lambda error, item: (item, repr(error), getattr(error, "__notes__", []))) >> kx.to_list()


def told(event: dict[str, Any]) -> dict[str, Any]:
    return {key: repr(value) if isinstance(value, Exception) else value for key, value in event.items()}


def known(state: Any) -> tuple[Any, ...]:
    """What a circuit or a bulkhead knows."""
    if isinstance(state, limits.Circuit):
        return state.state, state.row, state.opened, state.trying, state.passed, [*state.parts]
    return state.running, len(state.line)


async def seen(chain_of: Chain, attempts: list[dict[str, Any]], concurrency: int, events: bool,
               until: float) -> dict[str, Any]:
    """All that can be told of a run."""
    letters: list[Any] = []
    slow = Slow(attempts)
    graph = guarded(kx.source(apart) >> kx.map(slow, concurrency=concurrency), chain_of, letters)
    begun, run = anyio.current_time(), graph.start(events=events, world=virtual_world())
    with anyio.move_on_after(until):
        async with run:
            pass
    context = run._network.run  # type: ignore[union-attr]
    states = sorted((known(state) for state in context.limits.values()), key=repr)
    named = {key: known(state) for key, state in limits.NAMED.items() if key[1] in NAMES}
    return {"result": run.result if run.state == "completed" else run.state, "calls": sorted(slow.log),
            "letters": [(letter.item, repr(letter.error)) for letter in letters],
            "events": [told(event) for event in run.events()], "states": states, "named": named,
            "took": anyio.current_time() - begun}


def seen_in_place(chain_of: Chain, attempts: list[dict[str, Any]]) -> list[Any]:
    """The same of a run without a loop."""
    letters: list[Any] = []
    world, counts = virtual_world(), Counter[int]()

    def call(item: int) -> str:
        counts[item] += 1
        plan = attempts[(3 * item + counts[item]) % len(attempts)]
        world.block(plan["after"])
        if plan["error"] is not None:
            raise plan["error"](f"{item} {counts[item]}")
        return f"{item} {counts[item]} {world.clock()}"

    graph = guarded(kx.source(range(5)) >> kx.map(call), chain_of, letters)
    result = graph.run(world=world, backend="sync")
    return [result, counts, world.clock(), [(letter.item, repr(letter.error)) for letter in letters],
            {key: known(state) for key, state in limits.NAMED.items() if key[1] in NAMES}]


def both(seen: Callable[[], Any]) -> list[Any]:
    """What is seen of a run with and without first attempts in one frame."""
    found = []
    for flat in (chain.flat, lambda guarded: False):
        for key in [key for key in limits.NAMED if key[1] in NAMES]:
            del limits.NAMED[key]
        with patch.object(chain, "flat", flat):
            found.append(seen())
    return found


RETRIED = [("retry", {"attempts": 3, "on": OSError}), ("timeout", {"seconds": 5.0})]
NESTED = [("deadline", {"seconds": 0.25}), ("deadline", {"seconds": 0.125})]


@given(guards(), st.lists(outcomes, min_size=1, max_size=6), st.integers(1, 3), st.booleans(),
       st.sampled_from([1000.0, 4.25]))
@example(RETRIED, [{"after": 2.0, "error": OSError}], 1, False, 1000.0)
@example(NESTED, [{"after": 1.0, "error": None, "cleans": 0.5}], 1, False, 1000.0)
def test_a_first_attempt_in_one_frame_is_like_any_other(loop: str, chain_of: Any, attempts: Any, concurrency: int,
                                                        events: bool, until: float) -> None:
    """Values, letters, events, calls, circuits, seats and all times, whatever the chain and whatever happens."""
    one, many = both(lambda: run_virtual(lambda: seen(chain_of, attempts, concurrency, events, until), loop))
    assert one == many


@given(guards(), st.lists(outcomes, min_size=1, max_size=6))
def test_the_same_without_a_loop(chain_of: Any, attempts: Any) -> None:
    """A synchronous call waits for nobody, and no time cuts it."""
    chain_of = [(word, {**said, "queued": 0} if word == "bulkhead" else said) for word, said in chain_of
                if word != "timeout" and said.get("alternative") != "slow"]
    one, many = both(lambda: seen_in_place(chain_of, attempts))
    assert one == many
