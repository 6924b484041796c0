"""What the limiting guards know between calls: a circuit, and the seats of a bulkhead.

One for a run, or for all runs of this process where it has a name; a run of another thread may be at it, so what
changes it does so under a lock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from kayrx.errors import BulkheadFull, CircuitOpen
from kayrx.nodes.limits import Bulkhead, CircuitBreaker
from kayrx.runtime.backend import Backend

if TYPE_CHECKING:
    from kayrx.runtime.guards.chain import Guarded

PARTS = 10  # of a window: its counts move on by such parts
NAMED: dict[tuple[str, str], Any] = {}
"""The shared ones, by word and name; they live as long as the process."""


def shared(guard: CircuitBreaker | Bulkhead, guarded: Guarded, make: Callable[[], Any]) -> Any:
    """The state of a guard: that of its name, or of this run."""
    if guard.shared is not None:
        found = NAMED.get((guard.word, guard.shared))  # and set in one step of the interpreter, for other threads
        return NAMED.setdefault((guard.word, guard.shared), make()) if found is None else found
    limits = guarded.run.limits
    found = limits.get(id(guard))
    if found is None:
        found = limits[id(guard)] = make()
    return found


class Circuit:
    """closed, open, or half_open; what a call begun in another state had to say is not heard."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.state = "closed"
        self.changes = 0
        self.opened = 0.0
        self.row = 0             # failures in a row
        self.trying = self.passed = 0
        self.parts: deque[list[float]] = deque(maxlen=PARTS)  # begin of a part of the window, calls, failures

    def enter(self, guard: CircuitBreaker, guarded: Guarded) -> int:
        """A call wants to be made; raises CircuitOpen, else gives what `leave` has to be told."""
        if self.state == "closed":
            return self.changes
        now = guarded.run.backend.shared()
        with self.lock:
            if self.state == "open" and now >= self.opened + guard.reset:
                self.change("half_open", guard, guarded)
                self.trying = self.passed = 0
            if self.state == "closed" or (self.state == "half_open" and self.trying + self.passed < guard.half_open):
                self.trying += self.state == "half_open"
                return self.changes
            left = max(0.0, self.opened + guard.reset - now)
        name = f" {guard.shared!r}" if guard.shared else ""
        raise CircuitOpen(f"{guarded.step.where}: the circuit{name} is {self.state}, for {left:.3g} s more",
                          left)

    def leave(self, begun: int, ok: bool | None, guard: CircuitBreaker, guarded: Guarded) -> None:
        """A call has ended: well, badly, or (None) without an outcome."""
        if begun != self.changes or (ok is None and self.state == "closed"):
            return
        if ok and guard.window is None and self.state == "closed":
            self.row = 0
            return
        now = guarded.run.backend.shared()
        with self.lock:
            if begun != self.changes:
                return
            if self.state == "half_open":
                self.trying -= 1
                self.passed += ok is True
                if ok is False:
                    self.open(now, guard, guarded)
                elif self.passed >= guard.half_open:
                    self.change("closed", guard, guarded)
            elif self.too_many(now, bool(ok), guard):
                self.open(now, guard, guarded)

    def too_many(self, now: float, ok: bool, guard: CircuitBreaker) -> bool:
        """Count an outcome; True if that was one failure too many."""
        if guard.window is None:
            self.row = 0 if ok else self.row + 1
            return self.row >= (guard.failures or 1)
        part = guard.window / PARTS
        if not self.parts or now >= self.parts[-1][0] + part:
            self.parts.append([now, 0, 0])
        self.parts[-1][1] += 1
        self.parts[-1][2] += not ok
        while self.parts[0][0] + guard.window <= now:
            self.parts.popleft()
        if ok:
            return False
        calls, failures = sum(p[1] for p in self.parts), sum(p[2] for p in self.parts)
        if guard.failures is not None:
            return failures >= guard.failures
        return calls >= guard.calls and failures >= (guard.rate or 1) * calls

    def open(self, now: float, guard: CircuitBreaker, guarded: Guarded) -> None:
        self.opened = now
        self.change("open", guard, guarded)

    def change(self, state: str, guard: CircuitBreaker, guarded: Guarded) -> None:
        self.state, self.row = state, 0
        self.changes += 1
        self.parts.clear()
        guarded.tell("circuit", state=state, name=guard.shared)


class Seats:
    """Who is inside a bulkhead, and who waits at its door."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running = 0
        self.line: deque[Waiter] = deque()

    async def enter(self, guard: Bulkhead, guarded: Guarded) -> None:
        """Take a seat, or wait for one; raises BulkheadFull."""
        with self.lock:
            if self.running < guard.running and not self.line:
                self.running += 1
                return
            if len(self.line) >= guard.queued:
                raise BulkheadFull(f"{guarded.step.where}: {self.running} calls are under way and {len(self.line)} "
                                   f"wait; bulkhead({guard.running}, queued={guard.queued}) takes no more")
            waiter = Waiter(guarded.run.backend)
            self.line.append(waiter)
        try:
            await waiter.wait()
        except BaseException:
            with self.lock:
                seated = waiter not in self.line
                if not seated:
                    self.line.remove(waiter)
            if seated:
                self.leave(guard, guarded)
            raise

    def let_in(self, guard: Bulkhead) -> bool:
        """Take a seat, if one is free."""
        locked = guard.shared is not None and self.lock.acquire()  # without a name they are of one thread
        try:
            if self.running >= guard.running or self.line:
                return False
            self.running += 1
            return True
        finally:
            if locked:
                self.lock.release()

    def leave(self, guard: Bulkhead, guarded: Guarded) -> None:
        """Give the seat to who waits longest, or back."""
        locked = guard.shared is not None and self.lock.acquire()
        try:
            if not self.line:
                self.running -= 1
                return
            waiter = self.line.popleft()
        finally:
            if locked:
                self.lock.release()
        waiter.wake(guarded.run.backend)


class Waiter:
    """One who waits for a seat: a task of some loop, or a thread without one."""

    __slots__ = ("backend", "park")

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.park: Any = threading.Semaphore(0) if backend.name == "sync" else backend.park()

    async def wait(self) -> None:
        if self.backend.name == "sync":
            self.park.acquire()  # only a run in another thread can have the seat
        else:
            await self.park

    def wake(self, by: Backend) -> None:
        if self.backend.name == "sync":
            self.park.release()
        elif self.backend is by:
            self.backend.wake(self.park)
        else:
            self.backend.from_thread(partial(self.backend.wake, self.park))
