"""Guards at work: the chain around a unit, from the inside out, entered only when it is needed.

On the happy path the generated step calls the function in a ``try``; its failure comes here as the
outcome of the first attempt, and the chain goes on from there.  Only guards that bound every call (``timeout``,
``bulkhead`` ...) stand around it from its beginning, and the first attempt is inside all of them in one
frame (`kayrx.runtime.guards.first`).  The same code serves a synchronous run, where nothing in it
suspends.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from kayrx.errors import DeadlineExceeded, RunError
from kayrx.nodes import guards as data
from kayrx.nodes.instead import Value
from kayrx.nodes.units import Unit
from kayrx.nodes.values import is_async, must_be_given
from kayrx.plan.plan import Step
from kayrx.plan.probe import plain
from kayrx.plan.traits import waits
from kayrx.plan.units import DROPPED, called
from kayrx.runtime.guards import limiting  # noqa: F401  # its rows
from kayrx.runtime.guards.deadlines import Deadlines
from kayrx.runtime.guards.first import First, flat
from kayrx.runtime.guards.interrupt import Interrupted
from kayrx.runtime.guards.many import Open, around_all, outputs
from kayrx.runtime.guards.one import Call, around, now, timed
from kayrx.runtime.letters.writing import addressed

if TYPE_CHECKING:
    from kayrx.runtime.context import Context

NOTHING: Mapping[int, Any] = {}


class Guarded:
    """The guards of one step in one run; a copy for each item where that has an id or a budget."""

    def __init__(self, step: Step, run: Context) -> None:
        self.step, self.run = step, run
        self.deadlines = Deadlines(run.closers)
        self.ready: Callable[[], Awaitable[None]] | None = None  # waits for a free worker, where there are some
        self.ident: Any = None  # the id of the item in hand, where ids are carried
        self.until: float | None = None  # when the budget of the item in hand is spent, if it has one
        self.inside = run.program.inside.get(id(step))
        self.exact = run.ledger.exact and self.inside is None
        self.rows = [(guard, around.dispatch(type(guard))) for guard in step.guards]
        self.awaits = waits(step.node)
        self.standing = max((i for i, g in enumerate(step.guards, 1) if g.stands), default=0)
        self.on_trio = run.backend.name == "trio"
        first = First(self) if flat(self) else None
        self.call = first.call if first else self.general
        self.call_now = first.call_now if first else self.general_now

    def copy(self) -> Guarded:
        one = object.__new__(Guarded)
        one.__dict__.update(self.__dict__)
        return one

    def seated(self, ready: Callable[[], Awaitable[None]]) -> Guarded:
        """The same guards around one call of a worker, which is waited for outside their time."""
        one = self.copy()
        one.ready, one.call = ready, one.general
        return one

    def holding(self, ident: Any) -> Guarded:
        """The same guards with an item in hand, for other items may be in others' hands meanwhile."""
        if not self.exact:
            return self
        one = self.copy()
        one.ident, one.until = ident, getattr(ident, "until", None)
        return one

    def due(self, until: float) -> Guarded:
        """The same guards with less time."""
        one = self.copy()
        one.until = until if self.until is None else min(until, self.until)
        return one

    # -- one call, one outcome -------------------------------------------------------------------

    # ``call(fn, args)``, and ``call_now`` in a synchronous run, are the guarded call from its beginning: in one frame
    # (`First`), or by `chained`.

    def general(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Awaitable[Any]:
        return self.chained(self.run.item, fn, args)

    def general_now(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        return now(self.chained(self.run.item, fn, args))

    async def chained(self, ident: Any, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """The guarded call, a frame for each guard that stands; those that only look at errors are entered by one."""
        one = self.holding(ident)
        try:
            return await self.chain(one, fn, args, 0, self.standing)
        except Exception as error:
            if self.standing == len(self.rows):
                raise
            first = error
        return await self.chain(one, fn, args, self.standing, error=first)

    def over(self, fn: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
        """The async ``fn`` inside its guards, which only an error enters if none of them bounds every call."""
        if self.standing or self.exact:
            return lambda item: self.call(fn, (item,))

        async def call(item: Any) -> Any:
            try:
                return await fn(item)
            except Exception as error:
                return await self.recover(fn, (item,), error)
        return call

    async def recover(self, fn: Callable[..., Any], args: tuple[Any, ...], error: Exception) -> Any:
        """Go on after the first attempt has raised ``error``."""
        return await self.chain(self.holding(self.run.item), fn, args, error=error)

    def recover_now(self, fn: Callable[..., Any], args: tuple[Any, ...], error: Exception) -> Any:
        """`recover` in a synchronous run."""
        return now(self.recover(fn, args, error))

    async def chain(self, one: Guarded, fn: Callable[..., Any], args: tuple[Any, ...], within: int = 0,
                    to: int | None = None, error: Exception | None = None, held: Mapping[int, Any] = NOTHING) -> Any:
        """``fn(*args)`` inside the rows up to ``to``.

        ``error`` is the outcome of a first attempt, which had the rows up to ``within`` around it, as any other
        attempt has; ``held`` is what the rows hold that were entered with it.
        """
        async def attempt(one: Guarded) -> Any:
            nonlocal error
            if error is not None:
                first, error = error, None
                raise first
            if within:
                return await self.chain(one, fn, args, 0, within)
            value = fn(*args)
            if self.awaits:
                return await value if inspect.isawaitable(value) else value
            plain(value, self.step.where)
            return value

        call: Call = attempt
        for i, (guard, row) in enumerate(self.rows[within:to], within):
            call = partial(row, guard, call, args[-1])
            if i in held:
                call = entered(call, held[i])
        return await call(one)

    # -- many outputs ----------------------------------------------------------------------------

    async def each(self, many: Callable[..., Any], x: Any) -> AsyncIterator[Any]:
        """The outputs of a unit that gives many, inside its guards."""
        open_: Open = partial(outputs, many, x)
        continues = any(isinstance(g, data.Retry) and g.resume == "continue" for g in self.step.guards)
        for guard in self.step.guards:
            open_ = partial(around_all, guard, open_, x)
        items = open_(self.holding(self.run.item), *([],) * continues)
        try:
            async for item in items:
                yield item
        finally:
            await items.aclose()  # type: ignore[attr-defined]

    def each_now(self, many: Callable[..., Any], x: Any) -> Iterator[Any]:
        """`each` in a synchronous run."""
        items = self.each(many, x)
        try:
            while True:
                try:
                    yield now(items.__anext__())
                except StopAsyncIteration:
                    return
        finally:
            now(items.aclose())  # type: ignore[attr-defined]

    # -- what guards have in common --------------------------------------------------------------

    def tell(self, what: str, error: Exception | None = None, **facts: Any) -> None:
        """Report to `Run.events`; ``of`` is the id of the item it is about, where ids are kept."""
        if self.ident is not None:
            facts["of"] = self.ident
        if error is not None:
            facts["error"] = error
        self.run.tell(what, node=self.step.label, **facts)

    def exceeded(self) -> DeadlineExceeded:
        return DeadlineExceeded(f"{self.step.where} has spent its deadline")

    async def within(self, awaitable: Awaitable[Any]) -> Any:
        """``awaitable``, for as long as the budget of the item lasts; raises DeadlineExceeded."""
        if self.until is None:
            return await awaitable
        try:
            return await timed(self, awaitable, self.until - self.run.backend.now())
        except Interrupted:
            raise self.exceeded() from None

    async def each_within(self, items: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
        """``items``, closed at the end, each for as long as the budget lasts."""
        try:
            while True:
                try:
                    item = await self.within(items.__anext__())
                except StopAsyncIteration:
                    return
                yield item
        finally:
            await items.aclose()  # type: ignore[attr-defined]

    async def other(self, alternative: Any, x: Any) -> Any:
        """What an alternative gives for the input of a unit with one output."""
        if isinstance(alternative, Value):
            return alternative.value
        if isinstance(alternative, Unit):
            found = [item async for item in outputs(self.run.unit(self.beside(alternative)), x)]
            if len(found) > 1:
                raise RunError(f"{self.step.where}: its fallback graph gave {len(found)} outputs for one item; a graph "
                               "of many outputs can stand for a flat_map or a unit() alone")
            return found[0] if found else DROPPED
        return await called(f"{self.step.where}: fallback", alternative, x)

    def beside(self, alternative: Unit) -> Step:
        """The steps of a graph among the alternatives."""
        return next(step for step in self.step.beside if step.node is alternative)

    def dropped(self, what: str, error: Exception, x: Any) -> None:
        """The item ends in a guard."""
        self.run.fate(self.ident, what, self.step.label)
        self.tell(what, error, item=x)

    async def letter(self, guard: data.DeadLetter, x: Any, error: Exception) -> None:
        """Keep a letter; the item is handled once this has returned."""
        store, letter = addressed(self, guard, x, error)
        kept = store.append(letter)
        if self.run.backend.name == "sync" and not is_async(store.append):  # nobody would wait for it
            must_be_given(f"{self.step.where}: append of its store", kept, "write it as `async def`")
        if inspect.isawaitable(kept):
            kept = await kept
        if kept is True:
            self.tell("unread", error, item=x)


def entered(row: Callable[..., Awaitable[Any]], held: Any) -> Call:
    """A row that has been entered: its first call goes on from what it holds."""
    left = [held]
    return lambda guarded: row(guarded, left.pop()) if left else row(guarded)


__all__ = ["Call", "Guarded", "around", "now"]
