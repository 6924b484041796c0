"""Law 6 and the ten invariants, over random graphs, guards and faults: a case is one seed, on virtual time.

Two thousand seeds here, a hundred thousand where KAYRX_NIGHTLY is set; a case that fails names its seed and prints
its graph: ``case(seed)``.  The ledger comes from ``run.events()``; what the functions saw comes from themselves.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.testing import Faults, run_virtual
from kayrx.testing.faults import Fault

CASES = 100_000 if os.environ.get("KAYRX_NIGHTLY") else 2000
BATCHES = 20
GUARDS = ["timeout", "retry", "fallback", "skip_errors", "dead_letter", "catch", "circuit_breaker", "bulkhead", "hedge",
          "deadline"]
ERRORS = (Fault, kx.CallTimeout, kx.CircuitOpen, kx.BulkheadFull, kx.DeadlineExceeded)


@dataclass
class Case:
    """A graph drawn from a seed; its functions keep values apart, so that a call can be told by its argument."""

    seed: int
    code: list[str] = field(default_factory=list)
    calls: dict[tuple[int, Any], list[float]] = field(default_factory=dict)
    attempts: dict[int, tuple[int, float]] = field(default_factory=dict)
    letters: Any = field(default_factory=kx.memory_letters)
    ordered: bool = True
    opened: int = 0
    out: list[Any] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    network: Any = None

    def __post_init__(self) -> None:
        draw = self.draw = random.Random(self.seed)
        self.faults = Faults(self.seed, raising=draw.choice([0, 0.1, 0.3]), late=draw.choice([0, 0.3]), seconds=3)
        self.items = draw.randrange(12)
        self.graph = self.drawn()

    def __repr__(self) -> str:
        return f"case({self.seed}): {' >> '.join(self.code)}"

    # -- functions -------------------------------------------------------------------------------

    def seen(self, number: int, x: Any) -> None:
        """A call is told, and that no gate holds more than its bound at this moment."""
        if self.network is None:
            return
        run = self.network.run
        self.calls.setdefault((number, x), []).append(run.backend.now())
        self.held += [f"{g.name}: {len(g.items)} of {g.size}" for g in run.gates
                      if len(g.items) > g.size and not g.cancelled]

    def function(self, waits: bool, then: Callable[[Any], Any] = lambda x: x) -> tuple[Callable[[Any], Any], int]:
        number = len(self.attempts)
        self.attempts[number] = 1, 0.0
        name = f"f{number}"

        async def later(x: Any) -> Any:
            return then(x)

        def at_once(x: Any) -> Any:
            return then(x)

        inner = self.faults.function(later if waits else at_once, name)
        if waits:
            async def called(x: Any) -> Any:
                self.seen(number, x)
                return await inner(x)
            return called, number

        def called_now(x: Any) -> Any:
            self.seen(number, x)
            return inner(x)
        return called_now, number

    async def later(self) -> AsyncIterator[int]:
        self.opened += 1
        try:
            for x in range(self.items):
                await anyio.sleep(self.draw.choice([0, 0.5]))
                yield x
        finally:
            self.opened -= 1

    def now(self) -> Iterator[int]:
        self.opened += 1
        try:
            yield from range(self.items)
        finally:
            self.opened -= 1

    # -- the graph -------------------------------------------------------------------------------

    def drawn(self) -> Any:
        what = self.draw.choice([self.later, self.now, [*range(self.items)]])
        self.code.append(getattr(what, "__name__", "list"))
        graph = kx.source(what)
        for _ in range(self.draw.randrange(1, 5)):
            graph = graph >> self.piece(deep=0)
        return (graph >> kx.each(self.out.append)).named("case")

    def piece(self, deep: int) -> Any:
        kind = self.draw.choice(["guarded", "guarded", "plain", "gate", "fan" if deep < 2 else "plain"])
        return getattr(self, kind)(deep)

    def guarded(self, deep: int) -> Any:
        draw, waits = self.draw, self.draw.random() < 0.5
        node = draw.choice(["map", "map", "crew", "flat_map", "filter", "unit"])
        then = {"flat_map": lambda x: [(x, 0), (x, 1)], "filter": lambda x: hash(x) % 3}.get(node, lambda x: (x,))
        fn, number = self.function(waits, then)
        if node == "flat_map" and waits:
            many = fn

            async def each(x: Any) -> AsyncIterator[Any]:
                for y in await many(x):
                    yield y
            unit = kx.flat_map(each, concurrency=draw.choice([1, 3]))
            self.ordered = False
        elif node == "crew" and waits:
            unit = kx.map(fn, concurrency=3, ordered=(ordered := draw.random() < 0.5))
            self.ordered &= ordered
        elif node == "unit":
            unit = kx.unit(kx.map(fn) >> kx.map(lambda x: x))
        else:
            unit = {"flat_map": kx.concat_map, "filter": kx.filter}.get(node, kx.map)(fn)
        self.code.append(f"{node}{'(async)' if waits else ''}")
        drawn = draw.sample(GUARDS, draw.randrange(5))
        for guard in drawn:
            if guard in ("timeout", "hedge", "deadline") and not waits or (guard == "hedge" and node == "flat_map"):
                continue
            self.code.append(guard)
            match guard:
                case "timeout":
                    unit = unit >> kx.timeout(2)
                case "retry":
                    tries, wait = draw.choice([2, 3]), draw.choice([0, 1.0])
                    self.attempts |= dict.fromkeys(range(number, len(self.attempts)), (tries, wait))
                    unit = unit >> kx.retry(tries, backoff=kx.constant(wait))
                case "hedge":
                    unit = unit >> kx.hedge(0.5)
                case "deadline":
                    unit = unit >> kx.deadline(4)
                case "bulkhead":
                    unit = unit >> kx.bulkhead(1, queued=draw.randrange(2))
                case "circuit_breaker":
                    unit = unit >> kx.circuit_breaker(failures=2, reset=1)
                case "catch":
                    unit = unit >> kx.catch(lambda _, x: [(x, 3)] if node in ("flat_map", "unit") else (x, 3))
                case "fallback":
                    listed = node in ("flat_map", "unit")
                    instead = (lambda x: [(x, 2)]) if listed else {"filter": lambda x: x}.get(node, lambda x: (x,))
                    unit = unit >> kx.fallback(self.function(waits and node != "flat_map", instead)[0])
                case "skip_errors":
                    unit = unit >> kx.skip_errors()
                case "dead_letter":
                    unit = unit >> kx.dead_letter(self.letters)
        if "hedge" in drawn:
            self.attempts |= {k: (2 * tries, 0) for k, (tries, _) in self.attempts.items() if k >= number}
        return unit

    def plain(self, deep: int) -> Any:
        code, make = self.draw.choice([
            ("filter", lambda: kx.filter(lambda x: hash(x) % 4)), ("take", lambda: kx.take(self.draw.randrange(1, 9))),
            ("skip", lambda: kx.skip(2)), ("distinct", kx.distinct), ("buffer", lambda: kx.buffer(3) >> kx.map(tuple)),
            ("pairwise", kx.pairwise), ("scan", lambda: kx.scan(lambda s, x: (s[0] + 1, x), (0, 0))),
            ("take_last", lambda: kx.take_last(3)),
            ("delay", lambda: kx.delay(1)), ("debounce", lambda: kx.debounce(1)),
            ("window", lambda: kx.window(3, kx.skip(1) >> kx.map(lambda x: (x,))))])
        self.code.append(code)
        return make()

    def gate(self, deep: int) -> Any:
        size, overflow = self.draw.randrange(1, 4), self.draw.choice(["block", "block", "drop_oldest", "drop_newest"])
        self.code.append(f"backpressure({size}, {overflow})")
        return kx.backpressure(size, overflow=overflow)

    def fan(self, deep: int) -> Any:
        kind = self.draw.choice(["broadcast", "partition", "balance", "also_to"])
        self.code.append(f"{kind}(")
        if kind == "also_to":
            side = kx.also_to(self.piece(2) >> kx.to_list())
            self.code.append(")")
            return side
        self.ordered = False
        branches = [kx.map(lambda x, way=way: (way, x)) >> self.piece(deep + 1) for way in (1, 2)]
        self.code.append(") merge")
        fan = {"broadcast": kx.broadcast, "balance": kx.balance,
               "partition": lambda *both: kx.partition(lambda x: hash(x) % 2, *both)}[kind](*branches)
        return fan >> kx.merge()

    # -- the run ---------------------------------------------------------------------------------

    async def main(self) -> tuple[Any, Any, BaseException | None]:
        run, failure = self.graph.start(events=True), None
        try:
            async with run:
                self.network = run._network
        except Exception as error:
            failure = error
        return run.events(), run.metrics(), failure


def root(ident: Any, parents: dict[Any, Any]) -> set[int]:
    """The items of the source that an id goes back to."""
    if ident[0] == "case.source" or ident[0].startswith("case.now") or ident[0].startswith("case.later"):
        return {ident[2]}
    return set().union(*(root(p, parents) for p in parents[ident]))


def wrong(case: Case, events: list[dict[str, Any]], metrics: Any, failure: BaseException | None) -> Iterator[str]:
    """What of the ten invariants the case breaks."""
    parents = {e["id"]: e["parents"] for e in events if e["event"] == "entered"}
    fates: dict[Any, str] = {}
    for e in events:
        if "id" in e and e["event"] != "entered":
            if e["id"] in fates or e["id"] not in parents:
                yield f"I1: {e['id']} ended as {e['event']} after {fates.get(e['id'])}"
            fates[e["id"]] = e["event"]
    yield from (f"I1: {ident} never ended" for ident in parents.keys() - fates.keys())
    if failure is None and "take" not in case.code:  # a fate that was forgotten is told as cancelled at the end
        yield from (f"I1: {ident} was let go by nobody" for ident, fate in fates.items() if fate == "cancelled")
    yield from (f"I1: {e}, and its item is {fates.get(e['of'])}" for e in events if "id" not in e
                and e["event"] in ("skipped", "dead_letter") and fates.get(e["of"]) not in (e["event"], "split"))
    if sum(e["event"] == "entered" for e in events) != len(parents):
        yield "I1: an id was used twice"
    delivered = [e["id"] for e in events if e["event"] == "delivered" and e["node"] == "case.append"]
    if len(delivered) != len(case.out):
        yield f"I2: {len(delivered)} told as delivered, {len(case.out)} came"
    for ident in delivered:
        if not root(ident, parents) <= {*range(case.items)}:
            yield f"I2: {ident} did not enter"
    first = [min(root(ident, parents), default=0) for ident in delivered]
    if case.ordered and first != sorted(first):
        yield f"I3: the order of {first}"
    yield from (f"I4: {held}" for held in case.held)
    if metrics.state != ("failed" if failure else "done") or sum(e["event"] == "error" for e in events) < bool(failure):
        yield f"I5: {metrics.state} with {failure!r}"
    if failure is not None and not isinstance(failure, ERRORS):
        yield f"I5: {failure!r}"
    for (number, x), times in case.calls.items():
        tries, wait = case.attempts[number]
        if len(times) > tries or any(b - a < wait - 1e-9 for a, b in pairwise(times)):
            yield f"I6: f{number}({x}) was called at {times}, allowed are {tries} with {wait} s between"
    plans = zip(case.network.run.gates, case.network.plan.gates, strict=True)
    if case.opened or not all(gate.cancelled for gate, plan in plans if not plan.pulled):
        yield "I7: something is left"
    kept, told = [*case.letters.items()], sum(e["event"] == "dead_letter" and "id" not in e for e in events)
    if len({x.id for x in kept}) != told or not all(
            isinstance(x.error, ERRORS) and x.attempts and x.node for x in kept):
        yield f"I8: {told} told, kept are {[(x.id, x.attempts) for x in kept]}"
    entered = sum(len(ident) == 3 and not parents[ident] and root(ident, parents) != set() for ident in parents)
    if failure is None and metrics.segments[0].taken != entered:
        yield f"I10: {metrics.segments[0]} and {entered} entered"
    dropped = sum(e["event"] == "dropped" for e in events)
    if sum(g.dropped for g in metrics.gates) != dropped:
        yield f"I10: {dropped} dropped, {metrics.gates}"


def played(seed: int) -> tuple[Case, list[dict[str, Any]]]:
    case = Case(seed)
    events, metrics, failure = run_virtual(case.main, "trio" if seed % 4 == 0 else "asyncio")
    found = [*wrong(case, events, metrics, failure)]
    assert not found, (case, found)
    return case, events


def healed(case: Case) -> kx.Replayed:
    """The letters sent in again, where nothing fails any more; a `take` may still let go of some."""
    case.faults.raising = case.faults.late = 0
    case.network = None

    async def main() -> kx.Replayed:
        return await case.graph.replayed(case.letters)
    return run_virtual(main)


def trace(events: list[dict[str, Any]]) -> list[str]:
    return [str({k: v for k, v in e.items() if k != "error"}) + str(e.get("error")) for e in events]


@pytest.mark.parametrize("batch", range(BATCHES))
def test_every_item_ends_once_whatever_fails(batch: int) -> None:
    """I1 to I8 and I10 for each seed, its letters sent in again; for one in ten I9, the same trace again."""
    fates: Counter[str] = Counter()
    for seed in range(batch, CASES, BATCHES):
        case, events = played(seed)
        fates.update(e["event"] for e in events)
        if seed % 10 == 3:
            assert trace(played(seed)[1]) == trace(events), case  # I9
        if kept := [*case.letters.items()]:
            sent = healed(case)
            assert sent.again == 0 and sent.done + sent.left == len(kept), (case, sent)  # I8
            assert len([*case.letters.items()]) == sent.left
            fates["replayed"] += sent.done
    assert {"delivered", "filtered", "dead_letter", "skipped", "cancelled", "retried", "fallback",
            "dropped", "replayed"} <= {*fates}
