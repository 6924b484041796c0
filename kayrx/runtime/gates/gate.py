"""A gate: the bounded hand-off between two segments.  Only gates wait.

An item frees its slot when the reader has finished it, not when it has taken it, so ``size`` bounds
what is between the two segments and in the reader's hand together.  The gates that may drop count
what waits, for what is in the reader's hand can no longer be dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import repeat
from operator import length_hint
from typing import TYPE_CHECKING, Any

import anyio

from kayrx.errors import GateOverflow
from kayrx.nodes.flow import Conflate, Overflow

if TYPE_CHECKING:
    from kayrx.runtime.context import Context


class Gate:
    """One writer, one reader, ``size`` items.

    Generated code works on ``items`` itself, and a reader that never waits between two items pops
    them in C, setting ``taken`` and ``current`` for `position`: nobody can look in before it is done.
    """

    __slots__ = ("_once", "_park", "_parks", "_wake", "cancelled", "closed", "current", "dropped", "error", "items",
                 "name", "outside", "overflow", "owner", "reader", "run", "size", "taken", "turn", "writer")

    def __init__(self, run: Context, size: int, overflow: Overflow = "block", name: str = "",
                 *, outside: bool = False) -> None:
        if run.ledger.exact and isinstance(overflow, Conflate):
            join = overflow.joined
            overflow = Conflate(lambda a, b: run.ledger.joined((a, b), name, lambda two: join(*two)))
        self.run, self.size, self.overflow, self.name = run, size, overflow, name
        self._park, self._wake, self._parks = run.backend.park, run.backend.wake, run.parks
        self._once = run.backend.once
        # The limit is for a gate that was left, which a writer may still fill; no other is ever that full.
        self.items: deque[Any] = deque(maxlen=size if overflow == "block" else None)
        self.reader: Any = None
        self.writer: Any = None
        self.closed = self.cancelled = False
        self.dropped = 0
        self.error: Exception | None = None  # the writer has failed, and a node below tells of it
        self.outside = outside  # the reader is not a task of the run, so waiting for it is no deadlock
        self.owner: Fan | None = None
        self.taken = 0
        self.current: Any = None
        self.turn: list[Any] | None = None  # who waits for `ask` before it opens its source

    # -- reading ---------------------------------------------------------------------------------

    def drain(self, most: int) -> Iterator[Any]:
        """Up to ``most`` of the items that are here now, without waiting."""
        drained = self._finish_then_pop(most) if self.overflow == "block" else self._pop_then_finish(most)
        self.current = drained
        return drained

    def _finish_then_pop(self, most: int) -> Iterator[Any]:
        items, pop, done = self.items, self.items.popleft, 0
        while items:
            yield items[0]
            pop()
            if self.writer is not None:
                self.release()
            done += 1
            if done == most:
                break
        self.taken += done

    def _pop_then_finish(self, most: int) -> Iterator[Any]:
        items, done = self.items, 0
        while items and done < most:
            yield items.popleft()
            done += 1
        self.taken += done

    async def wait(self) -> bool:
        """Wait for an item; True at the end.  Raises what the writer has failed with."""
        if self._once is not None and not self.closed:
            await self._once()  # the writer may be next in line: one pass of the loop costs less than a park
        while not self.items:
            if self.closed:
                return True
            if self.error is not None:
                raise self.error
            self.reader = park = self._park()
            if not self.outside:
                self._parks.add(park)
                if len(self._parks) >= self.run.tasks or self.run.circles:
                    self.run.look_for_deadlock()
            try:
                await park
            except BaseException:
                self.reader = None
                self._parks.discard(park)
                raise
        return False

    def ask(self) -> None:
        """The reader has come to this lane: a source that waits for its turn may be opened."""
        waiting, self.turn = self.turn or (), None
        for park in waiting:
            self.run.wake(park)

    def load(self, item: Any) -> None:
        """An item that was there before the reader came; it may stand here beyond the size."""
        if self.items.maxlen is not None and len(self.items) == self.items.maxlen:
            self.items = deque(self.items, len(self.items) + 1)
        self.items.append(item)

    @property
    def position(self) -> int:
        """The ordinal of the item in the reader's hand, from 0; looked up only when it is asked for."""
        if isinstance(self.current, repeat):
            return self.taken - length_hint(self.current) - 1
        frame = getattr(self.current, "gi_frame", None)
        return self.taken + (frame.f_locals["done"] if frame is not None else 0)

    def cancel(self) -> None:
        """The reader leaves: what is here is cancelled, and a writer is told at its next item."""
        if self.cancelled:
            return
        self.cancelled = True
        self.ask()
        self.items.clear()
        self.items.extend(repeat(None, self.size))  # full for good: only a full gate looks further
        if self.owner is not None:
            self.owner.leave()
        if self.writer is not None:
            self.release()

    # -- writing ---------------------------------------------------------------------------------

    async def room(self) -> bool:
        """Wait while full; False if the reader has left for good."""
        once = self._once
        while len(self.items) >= self.size:
            if self.cancelled:
                return False
            if self.owner is not None:  # a writer that wakes its readers late has to do it now
                self.owner.wake()
            if once is not None:
                await once()
                once = None
                continue
            self.writer = park = self._park()
            if not self.outside:
                self._parks.add(park)
                if len(self._parks) >= self.run.tasks:
                    self.run.look_for_deadlock()
            try:
                await park
            except BaseException:
                self.writer = None
                self._parks.discard(park)
                raise
        return True

    async def put(self, item: Any) -> bool:
        """Give one item, waiting for room; False if the reader has left."""
        if len(self.items) >= self.size and not await self.room():
            return False
        self.items.append(item)
        if self.reader is not None:
            self.wake()
        return True

    def offer(self, item: Any) -> None:
        """Give one item without waiting; the overflow policy decides if there is no room."""
        items = self.items
        if self.cancelled:
            return
        if len(items) >= self.size:
            if self.run.ledger.exact:
                self._tell_lost(item)
            self.dropped += overflowed(items, item, self.overflow, self.name, self.size)
        else:
            items.append(item)
        if self.reader is not None:
            self.wake()

    def _tell_lost(self, item: Any) -> None:
        lost = {"drop_oldest": [self.items[0]], "drop_newest": [item], "latest": list(self.items)}
        for pair in lost.get(str(self.overflow), ()):
            self.run.ledger.lost(pair, "dropped", self.name)

    def close(self) -> None:
        """The writer has ended; what is here still comes out."""
        self.closed = self.error is None
        if self.reader is not None:
            self.wake()

    def fail(self, error: Exception) -> None:
        """The writer has failed; what is here still comes out, then ``error`` is raised to the reader."""
        self.error = error
        if self.reader is not None:
            self.wake()

    def wake(self) -> None:
        """Wake the reader, which waits."""
        reader, self.reader = self.reader, None
        self._parks.discard(reader)
        self._wake(reader)

    def release(self) -> None:
        """Wake the writer, which waits: there is room."""
        writer, self.writer = self.writer, None
        self._parks.discard(writer)
        self._wake(writer)


def overflowed(items: deque[Any], item: Any, overflow: Overflow, name: str, size: int) -> int:
    """Apply the policy to an item that found ``items`` full; gives how many items were dropped."""
    match overflow:
        case "drop_oldest":
            items.popleft()
            items.append(item)
            return 1
        case "drop_newest":
            return 1
        case "latest":
            lost = len(items)
            items.clear()
            items.append(item)
            return lost
        case Conflate():
            items[-1] = overflow.joined(items[-1], item)
            return 0
    raise GateOverflow(f"gate {name} is full ({size} items): give it a larger size, or say what may be lost with "
                       "kx.backpressure(size, overflow='drop_oldest' | 'drop_newest' | 'latest' | kx.conflate(fn))")


class Fan:
    """The gates below a segment; ``over`` once every reader has left.

    Then nothing that the segment waits for is wanted any more, and its ``scope`` is cancelled.  With a
    ``leader`` it is over as soon as that one's reader has left.
    """

    __slots__ = ("chosen", "gates", "leader", "left", "over", "scope")

    def __init__(self, gates: list[Gate], leader: Gate | None = None) -> None:
        self.gates, self.left, self.over, self.leader, self.chosen = gates, 0, False, leader, -1
        self.scope: anyio.CancelScope | None = None
        for gate in gates:
            gate.owner = self

    def leave(self) -> None:
        self.left += 1
        self.over = self.left >= len(self.gates) or (self.leader is not None and self.leader.cancelled)
        if self.over and self.scope is not None:
            self.scope.cancel()

    def wake(self) -> None:
        """Wake every reader that has something to read."""
        for gate in self.gates:
            if gate.reader is not None and gate.items:
                gate.wake()

    async def roomy(self) -> int:
        """The gate with the most room, in turn among equals; waits while all are full; -1 once all have left."""
        gates, count = self.gates, len(self.gates)
        while not self.over:
            turns = [(self.chosen + step) % count for step in range(1, count + 1)]
            free = [i for i in turns if len(gates[i].items) < gates[i].size]
            if free:
                self.chosen = min(free, key=lambda i: len(gates[i].items))
                return self.chosen
            self.wake()
            run = gates[0].run
            park = run.backend.park()
            for gate in gates:
                gate.writer = park
            try:
                await run.parked(park)
            finally:
                for gate in gates:
                    if gate.writer is park:
                        gate.writer = None
        return -1
