"""A client of a session: what a protocol, or code in this process, reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import anyio

from kayrx.serve.events import Event
from kayrx.serve.outbox import ENDLESS, PATIENCE, Outbox, Reader

if TYPE_CHECKING:
    from kayrx.serve.session import Session

BATCH = 64        # events, and
BYTES = 65_536    # bytes, that a client takes at once
LOOK = 8          # batches between two looks at whether it was cancelled
TURN = 0.002      # seconds for which a client that need not wait goes on before others have their turn


class Subscription:
    """A client of a session: ``async with session.subscribe() as events: async for event in events``.

    Order:   that of the log; each event once.  The last is a terminal, and then the iteration ends.
    Leaving: at the end of the block the client is gone, whether by return, cancellation or an exception; that
             is reported (``hub.reports``), goes to the block's own caller, and to no other client.
    Demand:  ``demand = 0`` before the block, then `request`: no more items come than were asked for, while what is
             no item (the terminal, a retraction) comes at once.  Joined items are one.
    """

    def __init__(self, session: Session, after: int | str | None, bounds: Outbox, heartbeat: float | None,
                 on_cut: Callable[[], object] | None, name: str) -> None:
        self.session, self.bounds, self.heartbeat, self.name = session, bounds, heartbeat, name
        self.reader: Reader
        self.demand = ENDLESS
        self._after, self._on_cut = after, on_cut
        self._first: list[Event] = []
        self._events: deque[Event] | None = None    # handed out one by one
        self._park: Any = None
        self._over = self._beaten = False
        self.due = float("inf")    # when it wants a heartbeat, if nothing comes
        self._looks = 0
        self._since = session.backend.now()
        self._left = PATIENCE
        self._busy: float | None = self._since    # since when it has not asked for more
        self._turn = self._since                  # since when it has gone on

    async def __aenter__(self) -> Subscription:
        self.enter()
        return self

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        self.leave(error)
        return False

    def enter(self) -> None:
        """What ``async with`` does, for callers that cannot use it; `leave` must follow."""
        session = self.session
        session.hub._enter(self)
        place, gap = session._place(self._after)
        self._first = [gap] if gap is not None else []
        self.reader = Reader(session.log, self.bounds, session.options.join, place)
        session._came(self)

    def leave(self, error: BaseException | None = None) -> None:
        """The client goes; ``error`` is why, if not by itself."""
        if isinstance(error, Exception):
            self.session.hub.report(self, error)
        self._over = True
        self.session.hub._leave(self)
        self.session._left(self)

    @property
    def patient(self) -> bool:
        """True if the run may wait for it a moment: what is too much would not be dropped, but let it go."""
        return self.bounds.policy in ("disconnect", "conflate")

    def left(self) -> float:
        """For how many seconds from now the run may wait for it: long enough for its turn if it is ready to read."""
        return PATIENCE if self._busy is None else self._busy + self._left - self.session.backend.now()

    @property
    def busy(self) -> bool:
        """True while it has a batch in hand, and has not asked for more."""
        return self._busy is not None

    def waited(self, seconds: float) -> None:
        """The run has waited for it while it was busy; what is spent comes back at a hundredth of the time."""
        now = self.session.backend.now()
        earned, self._since = (now - self._since) / 100, now
        self._left = min(PATIENCE, self._left + earned) - seconds

    def cursor(self, event: Event) -> str | None:
        """The id of an event for a protocol; None for one that cannot be replayed."""
        return self.session.cursor(event) if event.seq else None

    def request(self, count: int) -> None:
        """Ask for so many items more.  Raises: ValueError below 1 (rule 3.9)."""
        if count < 1:
            raise ValueError(f"request(n): n must be >= 1, got {count} (Reactive Streams, rule 3.9)")
        self.demand = min(ENDLESS, self.demand + count)
        self.wake()

    async def batch(self, most: int = BATCH, size: int = BYTES) -> list[Event]:
        """The events that are here, at least one, at most ``most`` and ``size`` bytes; [] at the end.

        To ask again says that those before have been sent: `block` counts on it.
        Waits while there is none; after ``heartbeat`` seconds of that gives one heartbeat.
        """
        self._looks += 1
        if not self._looks % LOOK:
            # A hot source wakes it again before any cancellation finds it waiting: it has to look itself.
            await anyio.lowlevel.checkpoint_if_cancelled()
        session, reader, now = self.session, self.reader, self.session.backend.now
        self._busy = None
        try:
            events, self._first = self._first, []
            while not events and not self._over:
                behind = reader.behind
                events = reader.read(min(most, self.demand), size) if self.demand else reader.free()
                if self.demand < ENDLESS:
                    # Who asks for nothing is no reason for the run to wait: it is not about to read.
                    self._busy = None if self.demand else self._busy or now()
                    self.demand -= len([event for event in events if event.type == "data"])
                if behind:
                    session.intake.watch(reader)
                session.intake.made_room(self)
                if events:
                    self._over = events[-1].terminal
                elif reader.cut:
                    self._over, events = True, [Event(0, "end", {"reason": "too slow"})]
                elif session.ended.is_set() and not reader.waiting:
                    break
                elif not await self._wait():
                    events = [Event(0, "heartbeat")]
            if now() - self._turn > TURN:
                # A network that takes all at once makes nobody wait: a replay would be one long pass of the loop.
                await session.backend.checkpoint()
                self._turn = now()
            return events
        finally:
            self._busy = now()

    async def _wait(self) -> bool:
        """Wait until there may be something; False after ``heartbeat`` seconds."""
        session = self.session
        self._beaten = False
        if self.heartbeat is not None:
            self.due = session.backend.now() + self.heartbeat
        park = self._park = session.backend.park()
        session.turns.waiting[self] = None
        try:
            await park
            self._turn = session.backend.now()
            return not self._beaten
        finally:
            self._park = None
            session.turns.waiting.pop(self, None)

    def wake(self) -> None:
        park, self._park = self._park, None
        if park is not None:
            self.session.backend.wake(park)

    def beat(self) -> None:
        """It has waited for as long as its heartbeat allows."""
        self._beaten = True
        self.wake()

    def _cut(self) -> None:
        """Its outbox was full: it is told at its next question, and its protocol now."""
        self.wake()
        if self._on_cut is not None:
            self._on_cut()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        if not self._events:
            self._events = deque(await self.batch())
            if not self._events:
                raise StopAsyncIteration
        return self._events.popleft()


class Frames:
    """What a protocol has made of the last events, so that each is encoded once for all clients of a session.

    Memory: ``most`` encoded events, together ``size`` bytes at most; a larger one is not kept.
    """

    def __init__(self, encode: Callable[[Event, str | None], bytes], most: int = 512, size: int = 1 << 20) -> None:
        self._encode, self._most, self._size = encode, most, size
        self._made: dict[tuple[str, int, int], bytes] = {}
        self.held = 0

    def of(self, client: Subscription, events: Sequence[Event]) -> bytes:
        """The events of a batch, encoded one after the other."""
        return b"".join(self.each(client, events))

    def each(self, client: Subscription, events: Sequence[Event]) -> list[bytes]:
        """The events of a batch, each encoded."""
        session = client.session
        if len(session.clients) == 1:    # nobody else wants them
            encode, cursor = self._encode, session.cursor
            return [encode(event, cursor(event) if event.seq else None) for event in events]
        return [self.one(client, event) for event in events]

    def one(self, client: Subscription, event: Event) -> bytes:
        if not event.seq:
            return self._encode(event, None)
        session = client.session
        key = session.tag, event.seq, event.count
        made = self._made.get(key)
        if made is None:
            made = self._encode(event, session.cursor(event))
            if len(made) <= self._size:
                self._made[key] = made
                self.held += len(made)
            while len(self._made) > self._most or self.held > self._size:
                self.held -= len(self._made.pop(next(iter(self._made))))
        return made


__all__ = ["Frames", "Subscription"]
