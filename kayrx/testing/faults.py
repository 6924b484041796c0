"""Seeded faults: which call of which function raises, or comes late, is drawn from a seed."""

from __future__ import annotations

import functools
import inspect
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from typing import Any

import anyio

from kayrx.errors import GraphError
from kayrx.graph.node import function_name
from kayrx.nodes.values import is_async_generator, taking, unwrapped


class Fault(Exception):
    """What a faulty call raises."""


@dataclass(frozen=True, slots=True)
class Injected:
    """One fault that has happened: the function's name, its how-manieth call, and what was done to it."""

    name: str
    call: int
    error: BaseException | None = None
    seconds: float = 0.0

    def __str__(self) -> str:
        what = f"raised {self.error!r}" if self.error is not None else f"{self.seconds:.3g} s late"
        return f"call {self.call} of {self.name!r}: {what}"


@dataclass
class Faults:
    """Wraps functions, sources and sinks so that some calls raise and some come late.

    ``seed``     decides with the name and the number of a call, so the order of other calls changes nothing
    ``raising``  how likely a call raises: 0.1 is one in ten
    ``late``     how likely an async call first waits for up to ``seconds``; what is synchronous is never late
    ``calls``    names the calls that raise instead: ``{"ask": [1, 3]}``, counted from 1
    ``error``    makes the exception of a call's message (default: `Fault`)
    ``log``      what has happened so far

    >>> import kayrx as kx
    >>> faults = Faults(calls={"half": [2]})
    >>> def half(x: int) -> float:
    ...     return x / 2
    >>> (kx.source([2, 4, 6]) >> kx.map(faults.function(half)) >> kx.skip_errors()).collect()
    [1.0, 3.0]
    >>> print(faults.log[0])
    call 2 of 'half': raised Fault("call 2 of 'half'")
    """

    seed: int = 0
    raising: float = 0.1
    late: float = 0.0
    seconds: float = 1.0
    calls: Mapping[str, Collection[int]] | None = None
    error: Callable[[str], BaseException] = Fault
    log: list[Injected] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        for name in ("raising", "late"):
            if not 0 <= getattr(self, name) <= 1:
                raise GraphError(f"Faults({name}={getattr(self, name)!r}): a share of the calls, from 0 to 1")
        self._counts: dict[str, int] = {}

    # -- wrapping --------------------------------------------------------------------------------

    def function(self, fn: Callable[..., Any], name: str | None = None) -> Callable[..., Any]:
        """``fn`` with faults, of the same kind: a function, async function, generator or async generator function.

        A function raises before it does anything; a generator after none, one or two of its items, or at its end.
        """
        called = name or function_name(fn) or "function"
        body = unwrapped(fn)
        if inspect.isasyncgenfunction(body):
            @functools.wraps(fn)
            async def agen(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
                number, draw = self._next(called)
                await self._wait(called, number, draw)
                left = draw.randrange(3) if self._fails(called, number, draw) else -1
                async with aclosing(fn(*args, **kwargs)) as items:
                    async for item in items:
                        if not left:
                            break
                        left -= 1
                        yield item
                if left >= 0:
                    raise self._made(called, number)
            return agen
        if inspect.iscoroutinefunction(body):
            @functools.wraps(fn)
            async def coroutine(*args: Any, **kwargs: Any) -> Any:
                number, draw = self._next(called)
                await self._wait(called, number, draw)
                self._raise(called, number, draw)
                return await fn(*args, **kwargs)
            return coroutine
        if inspect.isgeneratorfunction(body):
            @functools.wraps(fn)
            def generator(*args: Any, **kwargs: Any) -> Iterator[Any]:
                number, draw = self._next(called)
                left = draw.randrange(3) if self._fails(called, number, draw) else -1
                with closing(fn(*args, **kwargs)) as items:
                    for item in items:
                        if not left:
                            break
                        left -= 1
                        yield item
                if left >= 0:
                    raise self._made(called, number)
            return generator

        @functools.wraps(fn)
        def function(*args: Any, **kwargs: Any) -> Any:
            number, draw = self._next(called)
            self._raise(called, number, draw)
            return fn(*args, **kwargs)
        return function

    def source(self, what: Iterable[Any] | Callable[[], Any], name: str = "source") -> Callable[[], Any]:
        """An iterable, async iterable or callable that gives one, for ``kx.source``: a call is the reading of an item.

        A reconnection (``source >> retry``) opens it anew and counts on.  Async if it is async or may be late.
        """
        opened: Callable[[], Any] = what if callable(what) else lambda: what
        gives_async = hasattr(what, "__aiter__") or (callable(what) and is_async_generator(what))

        def items() -> Iterator[Any]:
            with closing(in_turn(opened())) as read:
                for item in read:
                    number, draw = self._next(name)
                    self._raise(name, number, draw)
                    yield item

        async def later() -> AsyncIterator[Any]:
            async with aclosing(in_turn_later(opened())) as read:
                async for item in read:
                    number, draw = self._next(name)
                    await self._wait(name, number, draw)
                    self._raise(name, number, draw)
                    yield item

        return later if gives_async or self.late else items

    def sink(self, target: Any, name: str = "sink") -> Callable[[Any], Any]:
        """A function, list, file or queue with faults, as a function for ``kx.sink``: a faulty call gives none."""
        method = taking(target)
        if method is None and not callable(target):
            raise GraphError(f"Faults.sink(target): a {type(target).__name__} takes no items")
        give = getattr(target, method) if method is not None else target

        if inspect.iscoroutinefunction(give):
            async def deliver_later(item: Any) -> Any:
                return await give(item)
            return self.function(deliver_later, name)

        def deliver(item: Any) -> Any:
            return give(item)
        return self.function(deliver, name)

    # -- drawing ---------------------------------------------------------------------------------

    def _next(self, name: str) -> tuple[int, random.Random]:
        number = self._counts[name] = self._counts.get(name, 0) + 1
        return number, random.Random(f"{self.seed} {name} {number}")

    def _fails(self, name: str, number: int, draw: random.Random) -> bool:
        drawn = draw.random()
        return drawn < self.raising if self.calls is None else number in self.calls.get(name, ())

    def _made(self, name: str, number: int) -> BaseException:
        error = self.error(f"call {number} of {name!r}")
        self.log.append(Injected(name, number, error))
        return error

    def _raise(self, name: str, number: int, draw: random.Random) -> None:
        if self._fails(name, number, draw):
            raise self._made(name, number)

    async def _wait(self, name: str, number: int, draw: random.Random) -> None:
        drawn, seconds = draw.random(), draw.uniform(0, self.seconds)
        if drawn < self.late:
            self.log.append(Injected(name, number, seconds=seconds))
            await anyio.sleep(seconds)


def in_turn(items: Iterable[Any]) -> Generator[Any, None, None]:
    """The items; a generator is closed with it."""
    try:
        yield from items
    finally:
        if inspect.isgenerator(items):
            items.close()


async def in_turn_later(items: Any) -> AsyncGenerator[Any, None]:
    """The items of an iterable or async iterable; a generator is closed with it."""
    try:
        if hasattr(items, "__aiter__"):
            async for item in items:
                yield item
        else:
            for item in items:
                yield item
    finally:
        if inspect.isasyncgen(items):
            await items.aclose()
        elif inspect.isgenerator(items):
            items.close()


__all__ = ["Fault", "Faults", "Injected"]
