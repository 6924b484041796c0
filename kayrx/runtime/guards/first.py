"""The first attempt at an item: inside all guards that stand around it, in one frame.

Most calls go well, and see no more than this.  The guards are entered and left here, one after another, and of all
their times only the nearest is watched.  Where the attempt fails, or a time is over, the guards go on from what they
hold, each in a frame of its own (`around`), as they do with every further attempt.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator, Sequence
from math import inf
from types import CoroutineType, coroutine
from typing import TYPE_CHECKING, Any

from kayrx.nodes import guards as data, limits
from kayrx.plan.probe import plain
from kayrx.runtime.guards.deadlines import Limit
from kayrx.runtime.guards.interrupt import Interrupt, Interrupted
from kayrx.runtime.guards.limits import Circuit, Seats, shared
from kayrx.runtime.guards.one import late, limit_of, now

if TYPE_CHECKING:
    from kayrx.runtime.guards.chain import Guarded

Task = asyncio.Task[Any]
DOORS = (limits.CircuitBreaker, limits.Bulkhead)
FLAT = {data.Timeout, data.Retry, limits.Deadline, *DOORS}
OPEN_TO_ALL: tuple[Any, Any] = (limits.CircuitBreaker(1), limits.Bulkhead(sys.maxsize))


def flat(guarded: Guarded) -> bool:
    """True if the guards that stand need no frame each.

    `hedge` makes two calls of one, and what is left of a source's deadline is another time for each item; of circuits
    and of bulkheads one is looked at here.
    """
    standing = [type(guard) for guard in guarded.step.guards if guard.stands]
    return bool(standing) and FLAT.issuperset(standing) and not any(standing.count(door) > 1 for door in DOORS)


class First:
    """The first attempts inside the guards of one step, in one run.

    Where there is no circuit_breaker or bulkhead, one that lets everybody in saves the question.
    """

    def __init__(self, guarded: Guarded) -> None:
        self.guarded, self.run, self.awaits, self.where = guarded, guarded.run, guarded.awaits, guarded.step.where
        self.guards: list[Any] = [*guarded.step.guards[:guarded.standing]]
        rows = {type(guard): row for row, guard in enumerate(self.guards)}
        self.breaker_row, self.bulkhead_row = (rows.get(door, -1) for door in DOORS)
        self.breaker = OPEN_TO_ALL[0] if self.breaker_row < 0 else self.guards[self.breaker_row]
        self.bulkhead = OPEN_TO_ALL[1] if self.bulkhead_row < 0 else self.guards[self.bulkhead_row]
        self.circuit: Circuit = Circuit() if self.breaker_row < 0 else shared(self.breaker, guarded, Circuit)
        self.seats: Seats = Seats() if self.bulkhead_row < 0 else shared(self.bulkhead, guarded, Seats)
        self.own = self.bulkhead.shared is None  # and so in the hands of one thread
        self.most, self.in_row = self.bulkhead.running, self.breaker.window is None
        self.limits = sorted(times(self.guards))
        self.seconds = self.limits[0][0] if self.limits else 0.0
        self.begins = any(isinstance(guard, (data.Retry, limits.Deadline)) and guard.stands for guard in self.guards)
        backend: Any = self.run.backend
        self.now, self.time = backend.now, backend.time
        self.call: Callable[..., Any] = self.awaited
        if self.limits and backend.name == "asyncio":
            self.call, self.loop = self.timed, backend.loop
            self.deadlines, self.calls = guarded.deadlines, guarded.deadlines.calls
            self.deadlines.late = self.late
            self.task: Callable[[Any], Any] = asyncio.current_task
            self.overdue: dict[Task, Overdue] = {}

    # -- a call ----------------------------------------------------------------------------------

    @coroutine
    def timed(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Generator[Any, Any, Any]:
        """``fn(*args)`` on asyncio, where a guard has a time; that begins when the call first suspends (ruling 25).

        `enter` and `leave` are written out where nobody waits: each call of ours costs as much as a guard.
        """
        ident, began, circuit, seats, own = self.run.item, 0.0, self.circuit, self.seats, self.own
        if self.begins:
            began = self.now()
        changes = circuit.changes
        if circuit.state != "closed" or seats.line or seats.running >= self.most or not (
                own or seats.let_in(self.bulkhead)):
            return (yield from self.guarded.chained(ident, fn, args))
        if own:
            seats.running += 1
        task, when, inside = None, 0.0, 0
        try:
            value = fn(*args)
            if not self.awaits:
                plain(value, self.where)
            elif type(value) is CoroutineType or inspect.isawaitable(value):
                steps = value if type(value) is CoroutineType else awaiting(value)
                try:
                    wanted = steps.send(None)
                except StopIteration as done:
                    value = done.value
                else:
                    task = self.task(self.loop)
                    self.calls[task] = when = self.time() + self.seconds
                    if when < self.deadlines.at:
                        self.deadlines.arm(when)
                    try:
                        yield wanted
                    except BaseException as error:
                        value = yield from thrown(error, steps)
                    else:
                        value = yield from steps
                    if self.calls.pop(task, None) is None:
                        self.ended(task)
        except BaseException as error:
            if task is not None and self.calls.pop(task, None) is None:
                inside = self.ended(task, error)
            if not inside and not isinstance(error, Exception):
                self.leave(changes, None)
                raise
            outcome = error
        else:
            if self.in_row and changes == circuit.changes:
                circuit.row = 0
            else:
                circuit.leave(changes, True, self.breaker, self.guarded)
            if own and not seats.line:
                seats.running -= 1
            else:
                seats.leave(self.bulkhead, self.guarded)
            return value
        return (yield from self.go_on(ident, fn, args, changes, began, task and when - self.seconds, outcome, inside))

    async def awaited(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """``fn(*args)`` on trio, or where no guard has a time."""
        ident, began, changes = self.run.item, self.now(), self.enter()
        if changes is None:
            return await self.guarded.chained(ident, fn, args)
        started, inside = None, 0
        try:
            value = fn(*args)
            if not self.awaits:
                plain(value, self.where)
            elif inspect.isawaitable(value):
                if self.limits:  # trio delivers a cancellation to scopes only
                    started = self.time()
                    value = Interrupt().over(value, self.run.backend, self.seconds)
                value = await value
        except BaseException as error:
            if isinstance(error, Interrupted):
                spent = max(self.seconds, self.time() - started)  # a float may have lost the last bit
                inside = 1 + max(row for seconds, row in self.limits if seconds <= spent)
            elif not isinstance(error, Exception):
                self.leave(changes, None)
                raise
            outcome = error
        else:
            self.leave(changes, True)
            return value
        return await self.go_on(ident, fn, args, changes, began, started, outcome, inside)

    def call_now(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """``fn(*args)`` in a synchronous run: a time that is over cuts no call."""
        ident, began, changes = self.run.item, self.now(), self.enter()
        if changes is None:
            return now(self.guarded.chained(ident, fn, args))
        try:
            plain(value := fn(*args), self.where)
        except Exception as error:
            outcome = error
        except BaseException:
            self.leave(changes, None)
            raise
        else:
            self.leave(changes, True)
            return value
        return now(self.go_on(ident, fn, args, changes, began, None, outcome, 0))

    def enter(self) -> int | None:
        """Take a seat, where there is one and the circuit is closed; gives what `leave` has to be told."""
        if self.circuit.state != "closed" or not self.seats.let_in(self.bulkhead):
            return None
        return self.circuit.changes

    def leave(self, changes: int, ok: bool | None) -> None:
        """A call has ended: well, or without an outcome."""
        self.circuit.leave(changes, ok, self.breaker, self.guarded)
        self.seats.leave(self.bulkhead, self.guarded)

    # -- what does not go well -------------------------------------------------------------------

    def late(self, task: Task, when: float) -> None:
        """The nearest time of a call is over."""
        self.overdue[task] = Overdue(self, task, when)

    def ended(self, task: Task, error: BaseException | None = None) -> int:
        """A call has ended after its time was over: how many rows stand inside of that guard, its own among them, or 0
        if it gave a value or an error of its own, or has been cancelled by somebody else, too."""
        overdue = self.overdue.pop(task)
        if overdue.next is not None:
            self.deadlines.drop(overdue.next)
        others = [task.uncancel() for _ in range(overdue.count)][-1]
        return overdue.inside if isinstance(error, asyncio.CancelledError) and not others else 0

    async def go_on(self, ident: Any, fn: Callable[..., Any], args: tuple[Any, ...], changes: int, began: float,
                    started: float | None, error: Any, inside: int) -> Any:
        """Go on with an outcome: ``error`` of the call, or a time that is over and the rows ``inside`` of it."""
        one, guards = self.guarded.holding(ident), self.guards
        if inside:
            guard = guards[inside - 1]
            error = late(one, *limit_of(guard)) if isinstance(guard, data.Timeout) else one.exceeded()
        if self.breaker_row < inside:
            self.circuit.leave(changes, None, self.breaker, one)
        if self.bulkhead_row < inside:
            self.seats.leave(self.bulkhead, one)
        while inside < len(guards) and isinstance(guards[inside], (data.Timeout, limits.Deadline)):
            inside += 1  # an error passes it
        held: dict[int, Any] = {self.breaker_row: changes, self.bulkhead_row: True}
        since = 0.0 if started is None else self.time() - started
        for row, guard in enumerate(guards[inside:], inside):
            if isinstance(guard, data.Timeout):
                held[row] = limit_of(guard)[0] - since
            elif isinstance(guard, (data.Retry, limits.Deadline)):
                held[row] = began
        return await self.guarded.chain(one, fn, args, inside, error=error, held=held)


def times(guards: Sequence[Any]) -> Iterator[tuple[float, int]]:
    """The seconds that a call has by each guard that has a time, and its row."""
    budget = inf
    for row, guard in reversed([*enumerate(guards)]):
        if isinstance(guard, data.Timeout):
            yield limit_of(guard)[0], row
        elif isinstance(guard, limits.Deadline):
            yield (budget := min(budget, guard.seconds)), row


class Overdue:
    """A call whose nearest time is over: it cleans up, until the next time is over as well."""

    def __init__(self, first: First, task: Task, when: float) -> None:
        self.first, self.task, self.since = first, task, when - first.seconds
        self.count = self.inside = 0
        self.next: Limit | None = None
        self.fire()

    def fire(self) -> None:
        limits = self.first.limits
        self.inside = max(self.inside, 1 + limits[self.count][1])
        self.count += 1
        self.next = None
        if self.count < len(limits):
            self.next = self.first.deadlines.until(self.since + limits[self.count][0], self)
        self.task.cancel()


async def awaiting(value: Awaitable[Any]) -> Any:
    """An awaitable as a coroutine."""
    return await value


@coroutine
def thrown(error: BaseException, steps: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Go on with a call into which ``error`` is thrown."""
    while True:
        try:
            wanted = steps.throw(error)
        except StopIteration as done:
            return done.value
        try:
            yield wanted
        except BaseException as another:
            error = another
        else:
            return (yield from steps)
