"""The first attempt at an item: inside all guards that stand around it, in one frame.

Most calls go well, and see no more than this.  The guards are entered and left here, one after another, and of all
their times only the nearest is watched.  Where the attempt fails, or a time is over, the guards go on from what they
hold, each in a frame of its own (`around`), as they do with every further attempt.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import CoroutineType, coroutine
from typing import TYPE_CHECKING, Any

from kayrx.nodes import guards as data, limits
from kayrx.runtime.guards.deadlines import Limit
from kayrx.runtime.guards.interrupt import Interrupt, Interrupted
from kayrx.runtime.guards.limits import Circuit, Seats, shared
from kayrx.runtime.guards.one import late, limit_of, now

if TYPE_CHECKING:
    from kayrx.runtime.guards.chain import Guarded

Task = asyncio.Task[Any]
FLAT = (data.Timeout, data.Retry, limits.Deadline, limits.CircuitBreaker, limits.Bulkhead)


def flat(guarded: Guarded) -> bool:
    """True if the guards that stand need no frame each.

    `hedge` makes two calls of one, and what is left of a source's deadline is another time for each item.
    """
    return guarded.standing > 0 and all(isinstance(guard, FLAT) for guard in guarded.step.guards if guard.stands)


class First:
    """The first attempts inside the guards of one step, in one run."""

    def __init__(self, guarded: Guarded) -> None:
        self.guarded, self.run = guarded, guarded.run
        self.guards = guarded.step.guards[:guarded.standing]
        self.doors: list[tuple[int, Any, Any]] = [
            (row, shared(guard, guarded, Circuit if isinstance(guard, limits.CircuitBreaker) else Seats), guard)
            for row, guard in enumerate(self.guards) if isinstance(guard, (limits.CircuitBreaker, limits.Bulkhead))]
        self.outer_first = self.doors[::-1]
        self.limits = sorted((limit_of(guard)[0] if isinstance(guard, data.Timeout) else guard.seconds, row)
                             for row, guard in enumerate(self.guards)
                             if isinstance(guard, (data.Timeout, limits.Deadline)))
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
        """``fn(*args)`` on asyncio, where a guard has a time; that begins when the call first suspends (ruling 25)."""
        ident, began, held = self.run.item, self.now() if self.begins else 0.0, self.enter() if self.doors else []
        if held is None:
            return (yield from self.guarded.chained(ident, fn, args))
        task, when, inside = None, 0.0, 0
        try:
            value = fn(*args)
            if type(value) is CoroutineType or inspect.isawaitable(value):
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
                self.leave(held, None)
                raise
            outcome = error
        else:
            for _, state, guard in self.doors:
                state.leave(held.pop(), True, guard, self.guarded)
            return value
        return (yield from self.go_on(ident, fn, args, held, began, task and when - self.seconds, outcome, inside))

    async def awaited(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """``fn(*args)`` on trio, or where no guard has a time."""
        ident, began, held = self.run.item, self.now() if self.begins else 0.0, self.enter()
        if held is None:
            return await self.guarded.chained(ident, fn, args)
        started, inside = None, 0
        try:
            value = fn(*args)
            if inspect.isawaitable(value):
                if self.seconds:  # trio delivers a cancellation to scopes only
                    started = self.time()
                    value = Interrupt().over(value, self.run.backend, self.seconds)
                value = await value
        except BaseException as error:
            if isinstance(error, Interrupted):
                now = self.time() - started
                inside = 1 + max(row for seconds, row in self.limits if seconds <= now)
            elif not isinstance(error, Exception):
                self.leave(held, None)
                raise
            outcome = error
        else:
            self.leave(held, True)
            return value
        return await self.go_on(ident, fn, args, held, began, started, outcome, inside)

    def call_now(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """``fn(*args)`` in a synchronous run: a time that is over cuts no call."""
        ident, began, held = self.run.item, self.now() if self.begins else 0.0, self.enter()
        if held is None:
            return now(self.guarded.chained(ident, fn, args))
        try:
            value = fn(*args)
        except Exception as error:
            outcome = error
        except BaseException:
            self.leave(held, None)
            raise
        else:
            self.leave(held, True)
            return value
        return now(self.go_on(ident, fn, args, held, began, None, outcome, 0))

    # -- doors -----------------------------------------------------------------------------------

    def enter(self) -> list[int] | None:
        """What the doors gave, the outermost first; None if one of them is shut, and nothing is held."""
        held: list[int] = []
        for _, state, guard in self.outer_first:
            if (given := state.let_in(guard)) is None:
                self.leave(held, None)
                return None
            held.append(given)
        return held

    def leave(self, held: list[int], ok: bool | None, inside: int | None = None) -> None:
        """Leave the doors that were entered, the innermost first; only those inside of a row, if one is given."""
        for row, state, guard in self.doors[len(self.doors) - len(held):]:
            if inside is not None and row >= inside:
                return
            state.leave(held.pop(), ok, guard, self.guarded)

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

    async def go_on(self, ident: Any, fn: Callable[..., Any], args: tuple[Any, ...], tickets: list[int], began: float,
                    started: float | None, error: Any, inside: int) -> Any:
        """Go on with an outcome: ``error`` of the call, or a time that is over and the rows ``inside`` of it."""
        one, guards = self.guarded.holding(ident), self.guards
        if inside:
            self.leave(tickets, None, inside)
            guard = guards[inside - 1]
            error = late(one, *limit_of(guard)) if isinstance(guard, data.Timeout) else one.exceeded()
        while inside < len(guards) and isinstance(guards[inside], (data.Timeout, limits.Deadline)):
            inside += 1  # an error passes it
        held: dict[int, Any] = {row: ticket for (row, _, _), ticket in zip(self.outer_first, tickets, strict=False)}
        since = 0.0 if started is None else self.time() - started
        for row, guard in enumerate(guards[inside:], inside):
            if isinstance(guard, data.Timeout):
                held[row] = limit_of(guard)[0] - since
            elif isinstance(guard, (data.Retry, limits.Deadline)):
                held[row] = began
        return await self.guarded.chain(one, fn, args, inside, error=error, held=held)


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
