"""Guards that bound what is asked of others: circuit_breaker, bulkhead, hedge, deadline."""

from __future__ import annotations

import itertools
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.runtime.guards.limits import NAMED

Virtual = Callable[[Any], Any]
names = (f"test {number}" for number in itertools.count())


@pytest.fixture
def name() -> Any:
    """A name that nobody has shared yet, and that is forgotten."""
    given = next(names)
    yield given
    for key in [key for key in NAMED if key[1] == given]:
        del NAMED[key]


class Clock:
    """A world whose time is set by hand."""

    def __init__(self) -> None:
        self.time, self.calls = 0.0, 0
        self.world = kx.World(now=lambda: self.time, block=lambda seconds: None)

    def at(self, moment: tuple[float, bool]) -> str:
        """An item (time, whether it works)."""
        self.calls += 1
        if not moment[1]:
            raise OSError
        return "ok"

    def tap(self, moment: tuple[float, bool]) -> None:
        self.time = moment[0]


def played(guard: Any, *moments: tuple[float, bool], clock: Clock | None = None) -> str:
    """Calls one after another: o done, x failed, - refused without a call."""
    clock = clock or Clock()
    graph = kx.source(moments) >> kx.tap(clock.tap) >> kx.map(clock.at) >> guard >> kx.catch(
        lambda error, _: "-" if isinstance(error, kx.CircuitOpen) else "x")
    return "".join(x[0] for x in graph.collect(world=clock.world))


def steps(text: str, start: float = 0.0, every: float = 1.0) -> list[tuple[float, bool]]:
    return [(start + i * every, mark == "o") for i, mark in enumerate(text)]


@pytest.mark.parametrize(("guard", "calls", "fates"), [
    (kx.circuit_breaker(3, reset=5), steps("xxoxxxoooo"), "xxoxxx----"),
    (kx.circuit_breaker(reset=9), steps("xxxxxo"), "xxxxx-"),
    (kx.circuit_breaker(2, reset=3), steps("xxoooxo"), "xx--oxo"),
    (kx.circuit_breaker(2, reset=3), steps("xxooxoooo"), "xx--x--oo"),
    (kx.circuit_breaker(2, reset=2, half_open=2), steps("xxooox"), "xx-oox"),
    (kx.circuit_breaker(2, reset=2, half_open=2), steps("xxoxoo"), "xx-x-o"),
    (kx.circuit_breaker(3, window=10, reset=99), steps("xoxoxo"), "xoxox-"),
    (kx.circuit_breaker(3, window=10, reset=99), steps("xxxo", every=6), "xxxo"),
    (kx.circuit_breaker(rate=0.5, window=60, calls=4, reset=99), steps("xxoxo"), "xxox-"),
    (kx.circuit_breaker(rate=0.5, window=60, calls=4, reset=99), steps("oooxxoo"), "oooxxoo"),
    (kx.circuit_breaker(rate=1, window=10, calls=2, reset=99), steps("xxo", every=20), "xxo"),
    (kx.circuit_breaker(1, reset=9, on=ValueError), steps("xxx"), "xxx"),
])
def test_a_circuit_opens_and_closes(guard: Any, calls: list[tuple[float, bool]], fates: str) -> None:
    """Failures in a row, within a window, or as a rate of enough calls open it; after ``reset`` trials decide."""
    assert played(guard, *calls) == fates


def test_a_named_circuit_is_one_for_all_runs(name: str, loop: str) -> None:
    """What one run has learnt the next knows; without a name, and under another, each begins closed."""
    clock = Clock()
    breaker = kx.circuit_breaker(2, reset=100, name=name)

    assert played(breaker, *steps("xx"), clock=clock) == "xx"
    assert played(breaker, *steps("oo"), clock=clock) == "--" and clock.calls == 2
    assert played(kx.circuit_breaker(2, reset=100), *steps("oo"), clock=clock) == "oo"

    async def ask(x: int) -> int:
        return x

    with pytest.raises(kx.CircuitOpen, match=f"'ask' .*{name}.*for 9\\d") as caught:
        (kx.source([1]) >> kx.map(ask) >> breaker).run(world=kx.World(now=lambda: 3.0), backend=loop)
    assert 90 < caught.value.seconds < 100
    assert played(breaker, *steps("o", start=101), clock=clock) == "o"


def test_real_runs_on_all_backends_read_one_clock(name: str) -> None:
    """trio's own clock begins anywhere: a shared circuit is not judged by it."""
    def fail(x: int) -> int:
        raise OSError

    async def fail_later(x: int) -> int:
        raise OSError

    opened = kx.source([1]) >> kx.map(fail_later) >> kx.circuit_breaker(1, reset=1000, name=name) >> kx.skip_errors()
    opened.run(backend="trio")
    for backend in ("sync", "asyncio", "trio"):
        with pytest.raises(kx.CircuitOpen) as caught:
            (kx.source([1]) >> kx.map(fail if backend == "sync" else fail_later)
             >> kx.circuit_breaker(1, reset=1000, name=name)).run(backend=backend)
        assert 900 < caught.value.seconds <= 1000


def test_what_a_call_begun_before_says_is_not_heard(virtual: Virtual) -> None:
    """Calls under way when the circuit opens neither close it nor open it anew; a cancelled trial gives its place."""
    async def call(moment: tuple[float, bool]) -> str:
        await anyio.sleep(moment[0])
        if not moment[1]:
            raise OSError
        return "ok"

    items = [(9, True), (1, False), (9, False), (2, True), (20, True)]
    graph = kx.source(items) >> kx.map(call, concurrency=3) >> kx.circuit_breaker(1, reset=10) >> kx.catch(
        lambda error, _: type(error).__name__) >> kx.to_list()
    assert virtual(graph) == ["ok", "OSError", "OSError", "CircuitOpen", "CircuitOpen"]

    calls = [(1, False), (99, True), (1, True)]
    graph = kx.source(calls) >> kx.delay(20) >> kx.map(call) >> kx.circuit_breaker(1, reset=0) >> kx.timeout(
        10) >> kx.catch(lambda error, _: type(error).__name__) >> kx.to_list()
    assert virtual(graph) == ["OSError", "CallTimeout", "ok"]


def test_a_late_success_does_not_make_up_for_failures_after_it() -> None:
    """A call that was let in before the circuit opened and closed again is no success in a row of its own."""
    from kayrx.runtime.guards.limits import Circuit

    guard, told = kx.circuit_breaker(2, reset=0).nodes[0], list[Any]()
    guarded: Any = type("Guarded", (), {"tell": lambda self, what, **facts: told.append(facts["state"])})()
    guarded.step = type("Step", (), {"where": "here"})
    guarded.run = type("Run", (), {"backend": type("Backend", (), {"shared": staticmethod(lambda: 5.0)})})
    circuit: Any = Circuit()
    early = circuit.enter(guard, guarded)
    for ok in (False, False, True, False):
        circuit.leave(circuit.enter(guard, guarded), ok, guard, guarded)
    circuit.leave(early, True, guard, guarded)
    circuit.leave(circuit.enter(guard, guarded), False, guard, guarded)
    assert told == ["open", "half_open", "closed", "open"]


# -- bulkhead ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("running", "queued", "out"), [
    (1, 0, [0, "-", "-", "-"]), (2, 0, [0, 1, "-", "-"]), (1, 2, [0, 1, 2, "-"]), (4, 0, [0, 1, 2, 3])])
@pytest.mark.parametrize("kind", ["map", "flat_map"])
def test_a_bulkhead_lets_so_many_in(running: int, queued: int, out: list[Any], kind: str, virtual: Virtual) -> None:
    """``running`` calls at once, ``queued`` wait in turn, any other is BulkheadFull at once."""
    inside = most = 0

    async def call(x: int) -> int:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await anyio.sleep(1)
        inside -= 1
        return x

    async def calls(x: int) -> AsyncIterator[int]:
        yield await call(x)

    unit = kx.map(call, concurrency=4) if kind == "map" else kx.flat_map(calls, concurrency=4)
    graph = kx.source(range(4)) >> unit >> kx.bulkhead(running, queued=queued) >> kx.catch(
        lambda error, _: "-" if isinstance(error, kx.BulkheadFull) else error) >> kx.to_list()
    given = virtual(graph)
    assert (given if kind == "map" else sorted(given, key=lambda x: (x == "-", x))) == out and most == min(4, running)


def test_one_who_leaves_the_queue_gives_way(virtual: Virtual) -> None:
    """A wait that is timed out takes no seat, and a seat that it has just got goes to the next."""
    async def call(x: int) -> int:
        await anyio.sleep(x)
        return x

    def graph(limit: float) -> Any:
        return kx.source([3, 1, 1, 1]) >> kx.map(call, concurrency=4) >> kx.bulkhead(1, queued=3) >> kx.timeout(
            limit) >> kx.catch(lambda error, x: type(error).__name__) >> kx.to_list()

    assert virtual(graph(3.5)) == [3, "CallTimeout", "CallTimeout", "CallTimeout"]
    assert virtual(graph(4.5)) == [3, 1, "CallTimeout", "CallTimeout"]
    assert virtual(graph(9)) == [3, 1, 1, 1]


@pytest.mark.parametrize("limit", [4, 10])
def test_a_seat_is_never_lost(limit: float, name: str, virtual: Virtual) -> None:
    """One who is timed out in the queue, or at the very moment when the seat becomes his, leaves it to the next."""
    async def call(seconds: float) -> float:
        await anyio.sleep(seconds)
        return anyio.current_time() - begin

    begin = 0.0
    ended: list[Any] = []

    async def run(seconds: float, *guards: Any) -> None:
        graph = kx.source([seconds]) >> kx.map(call) >> kx.bulkhead(1, queued=2, name=name)
        for guard in guards:
            graph = graph >> guard
        ended.extend(await (graph >> kx.to_list()))

    async def main() -> None:
        nonlocal begin
        begin = anyio.current_time()
        async with anyio.create_task_group() as group:
            group.start_soon(run, 10)
            while ("bulkhead", name) not in NAMED:
                await anyio.lowlevel.checkpoint()
            group.start_soon(run, 1, kx.timeout(limit), kx.fallback("late"))
            while not NAMED["bulkhead", name].line:
                await anyio.lowlevel.checkpoint()
            group.start_soon(run, 1)

    virtual(main)
    assert sorted(ended, key=str) == [10, 11, "late"] and NAMED["bulkhead", name].running == 0


def test_a_named_bulkhead_is_one_for_all_threads(name: str) -> None:
    """Runs without a loop in two threads: the second waits until the first has its answer."""
    entered, leave, log = threading.Event(), threading.Event(), []

    def call(x: str) -> str:
        log.append(f"{x} in")
        if x == "a":
            entered.set()
            leave.wait(5)
        log.append(f"{x} out")
        return x

    def run(x: str) -> None:
        (kx.source([x]) >> kx.map(call) >> kx.bulkhead(1, queued=1, name=name)).run(backend="sync")

    threads = [threading.Thread(target=run, args=(x,)) for x in "ab"]
    threads[0].start()
    assert entered.wait(5)
    threads[1].start()
    with pytest.raises(kx.BulkheadFull):
        while True:  # one place in the queue: taken by the second as soon as it runs
            if NAMED["bulkhead", name].line:
                run("c")
    leave.set()
    for thread in threads:
        thread.join(5)
    assert log == ["a in", "a out", "b in", "b out"] and NAMED["bulkhead", name].running == 0


# -- hedge ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("plan", "out", "seconds"), [
    ([1], "1: 1", 1),                            # on time: there is no second call
    ([9, 1], "2: 1", 3),                         # the second wins
    ([3, 9], "1: 3", 3),                         # the first wins after all
    ([-1], OSError, 1),                          # it fails early: that is for retry
    ([9, -1], "1: 9", 9),                        # the second fails: wait for the first
    ([-4, 9], "2: 9", 11),                       # the first fails late: wait for the second
    ([-4, -1], "1 of 2", 4),                     # both fail: the error of the first to fail
])
def test_a_late_call_gets_a_second_one(plan: list[float], out: Any, seconds: float, virtual: Virtual) -> None:
    """The first result wins, the loser is cancelled and waited for."""
    count, ended = itertools.count(1), []

    async def call(x: int) -> str:
        number = next(count)
        wait = plan[number - 1]
        try:
            await anyio.sleep(abs(wait))
            if wait < 0:
                raise OSError(f"{number} of {len(plan)}")
            return f"{number}: {wait}"
        finally:
            ended.append(number)

    async def main() -> Any:
        begin = anyio.current_time()
        try:
            given = await (kx.source([0]) >> kx.map(call) >> kx.hedge(after=2) >> kx.to_list())
        except OSError as error:
            given = [error]
        return given[0], anyio.current_time() - begin, sorted(ended)

    given, took, closed = virtual(main)
    assert took == seconds and closed == [*range(1, len(plan) + 1)]
    assert given == out if isinstance(out, str) and ":" in out else isinstance(given, OSError)


def test_hedge_inside_and_outside_of_others(virtual: Virtual) -> None:
    """Each guard sees one call; a unit of maps and a function on a thread may be hedged as well."""
    calls = itertools.count()

    async def call(x: int) -> int:
        next(calls)
        await anyio.sleep(100)
        return x

    def reached(guards: Any, unit: Any = kx.map(call)) -> tuple[Any, int]:
        nonlocal calls
        calls = itertools.count()
        return virtual(kx.source([1]) >> unit >> guards >> kx.fallback(0) >> kx.to_list()), next(calls)

    assert reached(kx.hedge(1) >> kx.timeout(5) >> kx.retry(3)) == ([0], 6)
    assert reached(kx.timeout(5) >> kx.hedge(1)) == ([0], 2)
    assert reached(kx.hedge(1) >> kx.bulkhead(1) >> kx.timeout(5)) == ([0], 2)
    assert reached(kx.bulkhead(1) >> kx.hedge(1) >> kx.timeout(5)) == ([0], 1)
    assert reached(kx.hedge(1) >> kx.timeout(5), kx.unit(kx.map(call) >> kx.map(call))) == ([0], 2)
    assert reached(kx.timeout(5) >> kx.retry(2) >> kx.hedge(1)) == ([0], 4)
    assert (kx.source([1]) >> kx.map(str, on=kx.threads(2)) >> kx.hedge(5)).collect() == ["1"]


@pytest.mark.parametrize(("unit", "says"), [
    (kx.source([1]) >> kx.map(str), r"'hedge'.*cannot interrupt 'str'.*on=kx\.threads"),
    (kx.source([1]) >> kx.flat_map(str), "many outputs"),
    (kx.source([1]), "a source; write timeout"),
    (kx.source([1]) >> kx.unit(kx.flat_map(str) >> kx.map(str)), "many outputs")])
def test_hedge_is_for_one_call_that_waits(unit: Any, says: str) -> None:
    """CompileError with the remedy over anything else."""
    with pytest.raises(kx.CompileError, match=says):
        (unit >> kx.hedge(1)).compile()


# -- deadline ------------------------------------------------------------------------------------


async def slow(x: float) -> float:
    await anyio.sleep(x)
    if x == 3:
        raise OSError
    return x


async def lasting(graph: Any) -> tuple[Any, float]:
    begin = anyio.current_time()
    return await (graph >> kx.to_list()), anyio.current_time() - begin


@pytest.mark.parametrize(("guards", "out", "seconds"), [
    (kx.deadline(5) >> kx.retry(2), [0], 6),                                      # one attempt's own
    (kx.retry(9) >> kx.deadline(5), [0], 5),                                      # all attempts
    (kx.retry(9, backoff=kx.constant(2)) >> kx.deadline(5), [0], 3),              # a wait to its very end is none
    (kx.retry(9, backoff=kx.constant(1)) >> kx.deadline(5), [0], 5),
    (kx.fallback(slow) >> kx.deadline(5), [0], 5),                                # the fallback, too
    (kx.fallback(slow) >> kx.deadline(9) >> kx.deadline(5), [0], 5),
    (kx.fallback(slow) >> kx.deadline(5) >> kx.deadline(9), [0], 5),
    (kx.fallback(lambda x: -x) >> kx.deadline(5), [-3], 3),
    (kx.timeout(1) >> kx.retry(3) >> kx.fallback(7) >> kx.deadline(9), [7], 3)])
def test_a_deadline_is_one_budget_for_all_inside(guards: Any, out: list[Any], seconds: float, virtual: Virtual) -> None:
    """Attempts, waits and fallbacks together; what would outlast it is not begun."""
    graph = kx.source([3]) >> kx.map(slow) >> guards >> kx.fallback(0)
    assert virtual(lambda: lasting(graph)) == (out, seconds)


def test_a_deadline_without_a_loop_is_looked_at_between_attempts() -> None:
    """A synchronous call is not cut; no wait and no attempt goes beyond; DeadlineExceeded tells of the last error."""
    clock = Clock()

    def block(seconds: float) -> None:
        clock.time += seconds

    def call(x: int) -> int:
        clock.time += 2
        clock.calls += 1
        raise OSError("down")

    world = kx.World(now=lambda: clock.time, block=block)
    with pytest.raises(kx.DeadlineExceeded, match=r"'call'.*spent its deadline") as caught:
        (kx.source([1]) >> kx.map(call) >> kx.retry(9, backoff=kx.constant(1)) >> kx.deadline(7)).run(world=world)
    assert clock.calls == 3 and str(caught.value.__cause__) == "down" and isinstance(caught.value, TimeoutError)


@pytest.mark.parametrize("kind", ["concat_map", "unit"])
def test_a_deadline_bounds_many_outputs(kind: str, virtual: Virtual) -> None:
    """From the first attempt to the last output."""
    async def tokens(x: int) -> AsyncIterator[int]:
        for n in range(x):
            await anyio.sleep(1)
            yield n

    unit = kx.concat_map(tokens) if kind == "concat_map" else kx.unit(kx.flat_map(tokens) >> kx.map(kx.it))
    seen: list[Any] = []
    with pytest.raises(kx.DeadlineExceeded):
        virtual(kx.source([2, 9]) >> unit >> kx.deadline(3.5) >> kx.sink(seen))
    assert seen == [0, 1, 0, 1, 2]


@pytest.mark.parametrize("shape", ["in one task", "through gates", "children", "concurrent"])
def test_a_deadline_of_a_source_goes_with_the_item(shape: str, virtual: Virtual) -> None:
    """Each item has its seconds from when it was read; the time it has waited on the way counts."""
    async def ask(x: Any) -> Any:
        await anyio.sleep(4)
        return x

    source = kx.source([1, 2, 3]) >> kx.deadline(6)
    graphs = {
        "in one task": source >> kx.map(ask) >> kx.catch(lambda e, x: -x) >> kx.to_list(),
        "through gates": source >> kx.delay(3) >> kx.map(ask) >> kx.catch(lambda e, x: -x) >> kx.to_list(),
        "children": source >> kx.delay(3) >> kx.flat_map(lambda x: [x]) >> kx.map(ask)
        >> kx.catch(lambda e, x: -x) >> kx.to_list(),
        "concurrent": source >> kx.delay(1) >> kx.map(ask, concurrency=2) >> kx.catch(lambda e, x: -x) >> kx.to_list()}
    assert virtual(graphs[shape]) == {"in one task": [1, 2, 3], "through gates": [-1, -2, -3],
                                      "children": [-1, -2, -3], "concurrent": [1, 2, -3]}[shape]


def test_what_is_left_of_a_sources_deadline_bounds_retries_fallbacks_and_sinks(virtual: Virtual) -> None:
    """Waits are not begun, fallbacks that wait are cut, a guarded sink is in time or fails; a value always is."""
    calls: list[float] = []

    async def ask(x: int) -> int:
        calls.append(anyio.current_time())
        await anyio.sleep(1)
        raise OSError

    async def other(x: int) -> int:
        await anyio.sleep(9)
        return x

    source = kx.source([1]) >> kx.deadline(5)
    retried = source >> kx.map(ask) >> kx.retry(9, backoff=kx.constant(1)) >> kx.fallback(other, 7)
    assert virtual(lambda: lasting(retried)) == ([7], 5) and len(calls) == 3

    letters: list[Any] = []
    assert virtual(lambda: lasting(source >> kx.tap(other) >> kx.dead_letter(letters))) == ([], 5)
    assert [type(x.error) for x in letters] == [kx.DeadlineExceeded]
    with pytest.raises(kx.DeadlineExceeded, match=r"'other' .each."):
        virtual(source >> kx.each(other) >> kx.retry(3))
    assert virtual(lambda: lasting(source >> kx.map(other))) == ([1], 9)  # a unit without guards does not look


def test_a_deadline_of_a_source_without_a_loop() -> None:
    """The ids are carried in a synchronous run as well, and `explain` says so."""
    clock = Clock()

    def call(x: int) -> int:
        clock.time += x
        return x

    graph = kx.source([1, 2, 3]) >> kx.deadline(2.5) >> kx.map(call) >> kx.map(call) >> kx.fallback(0)
    assert graph.collect(world=clock.world) == [1, 2, 0]
    assert "what is left of the deadline" in graph.explain() and "an id is carried" in graph.explain()


@pytest.mark.parametrize(("seconds", "out"), [(2.5, [[0, 1], [2, 3]]), (1.5, ["late", "late"])])
def test_what_is_made_of_several_items_has_the_least_of_their_times(seconds: float, out: list[Any],
                                                                    virtual: Virtual) -> None:
    """It is due when the first of them is."""
    async def ask(x: Any) -> Any:
        await anyio.sleep(1)
        return x

    ticks = kx.source(every_second) >> kx.deadline(seconds) >> kx.buffer(count=2)
    assert virtual(ticks >> kx.map(ask) >> kx.catch(lambda e, x: "late") >> kx.to_list()) == out


async def every_second() -> AsyncIterator[int]:
    for n in range(4):
        await anyio.sleep(1)
        yield n
