"""Ending one wait of a user's coroutine without ending the task that waits.

The coroutine runs from its first step to its last in the task that awaits it (ruling 3).  Nothing is
armed until it first suspends, so a call that never waits pays no timer (ruling 25).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from types import coroutine
from typing import Any

import anyio

from kayrx.runtime.backend import Backend
from kayrx.runtime.guards.deadlines import Deadlines


class Interrupted(Exception):
    """The wait was ended by `Interrupt.fire`; never seen outside this package."""


class Interrupt:
    """One wait that can be ended from outside: ``await interrupt.over(awaitable)``, ``fire()``."""

    __slots__ = ("armed", "fired", "scope", "task")

    def __init__(self) -> None:
        self.fired = False
        self.task: asyncio.Task[Any] | None = None
        self.scope: anyio.CancelScope | None = None

    def fire(self) -> None:
        """End the wait that is under way; without one, the next `over` raises at its first suspension."""
        if self.fired:
            return
        self.fired = True
        if self.task is not None:
            self.task.cancel()
        if self.scope is not None:
            self.scope.cancel()

    def over(self, awaitable: Awaitable[Any], backend: Backend, after: float | None = None,
             deadlines: Deadlines | None = None) -> Awaitable[Any]:
        """The value of ``awaitable``; Interrupted if `fire` came, or ``after`` seconds went by on the timer
        of ``deadlines``, while it was suspended.  The clock starts when it first suspends."""
        if backend.name != "trio":
            return watched(self, awaitable, after, deadlines)
        return self.scoped(awaitable, after)

    async def scoped(self, awaitable: Awaitable[Any], after: float | None) -> Any:
        # trio delivers a cancellation to scopes only, and a scope must be there before the call's own.
        with anyio.CancelScope() as self.scope:
            if self.fired:
                self.scope.cancel()
            elif after is not None:
                self.scope.deadline = anyio.current_time() + after
            return await awaitable
        raise Interrupted


@coroutine
def watched(self: Interrupt, awaitable: Awaitable[Any], after: float | None,
             deadlines: Deadlines | None) -> Generator[Any, Any, Any]:
    steps = awaitable.__await__()
    try:
        wanted = next(steps)
    except StopIteration as done:
        return done.value
    task = self.task = asyncio.current_task()
    assert task is not None
    limit = deadlines.add(after, self) if deadlines is not None and after is not None else None
    if self.fired:
        task.cancel()
    try:
        while True:
            try:
                sent = yield wanted
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as error:
                wanted = steps.throw(error)
            else:
                wanted = steps.send(sent)
    except StopIteration as done:
        if self.fired:
            task.uncancel()
        return done.value
    except asyncio.CancelledError:
        if self.fired and task.uncancel() == 0:
            raise Interrupted from None
        raise
    except BaseException:  # the call turned its cancellation into an error of its own
        if self.fired:
            task.uncancel()
        raise
    finally:
        self.task = None
        if limit is not None and deadlines is not None:
            deadlines.drop(limit)
