"""What comes in: from the run into the session's log, as fast as its clients' outboxes allow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from kayrx.graph.graph import Graph
from kayrx.nodes.ends import Source, sink
from kayrx.nodes.retract import Retract
from kayrx.nodes.select import Filter
from kayrx.nodes.transform import Map, Tap
from kayrx.runtime.program import program
from kayrx.serve.events import OVERHEAD, Event, Refused, weight
from kayrx.serve.outbox import ENDLESS, Reader

if TYPE_CHECKING:
    from kayrx.runtime.run import Run
    from kayrx.serve.client import Subscription
    from kayrx.serve.session import Session

PLAIN = (Source, Map, Tap, Filter)    # nodes that give at most one item for each that they take


class Intake:
    """The sink of a session's run."""

    def __init__(self, session: Session) -> None:
        self.session, self._log, self._size = session, session.log, session.options.size
        self._blocking: list[Subscription] = []
        self._paused: int | None = None          # the run is, until there is room for so many bytes
        self._room: Any = None                   # the run waits for clients
        self._late: set[Subscription] = set()    # these, with patience; none: until one that blocks has room
        self._items = self._bytes = ENDLESS      # up to which seq, and bytes of the log, every outbox has room
        self._free = (ENDLESS, ENDLESS)          # the same of those that block: their room only grows

    def came(self, client: Subscription) -> None:
        """A client has come, with an outbox of its own."""
        if client.bounds.policy == "block":
            self._blocking.append(client)
            self._blockers_changed()
        self.watch(client.reader)

    def left(self, client: Subscription) -> None:
        """A client has gone, and waits for nothing."""
        if client in self._blocking:
            self._blocking.remove(client)
            self._blockers_changed()
        self.made_room(client)

    def _blockers_changed(self) -> None:
        self._free = (0, 0)
        self._log.protect(self._unread if self._blocking else None)

    def _unread(self) -> int:
        """From where on the log has to stay: an item may be larger than the room that was there."""
        return min([client.reader.done for client in self._blocking]) + 1

    def sunk(self) -> Graph[Any, Any]:
        """The graph with the log as its sink.

        Where one source gives item by item, it is paused before the next one; otherwise the sink waits, which
        takes a task of its own but holds in the middle of an expansion, and before what is under way.
        """
        direct = self.session.graph >> sink(self._put).named("clients")
        if all(type(node) in PLAIN for node in self.session.graph.nodes):
            segments = program(direct, on_loop=True).plan.segments
            if len(segments) == 1 and segments[0].fed in ("iter", "aiter"):
                return direct
        return self.session.graph >> sink(self._take).named("clients")

    def _put(self, item: Any) -> None:
        """An item of the graph: into the log; the run pauses if there is no room for another one like it."""
        size = self._size(item)
        self.append(Event(self._log.last + 1, "data", item) if type(item) is not Retract else self._taken(item), size)
        if self._crowded(size) and self.session.run is not None:
            self.session.run.pause()
            self._paused = size
            if not self._blocked(size):
                self._go_on(self.session.run, size)

    def _go_on(self, run: Run, size: int) -> None:
        """Nobody blocks any more: let the run go on, now or once those have read that are about to."""
        self._paused = None
        if self._log.last >= self._items or self._log.total + size > self._bytes:
            self.session.hub.host.start_soon(self._later, run, size)
        else:
            run.resume()

    async def _later(self, run: Run, size: int) -> None:
        await self._wait_for_room(size)
        run.resume()

    async def _take(self, item: Any) -> None:
        """An item of the graph: into the log, once there is room for it."""
        size = self._size(item)
        if self._crowded(size):
            await self._wait_for_room(size)
        self.append(Event(self._log.last + 1, "data", item) if type(item) is not Retract else self._taken(item), size)

    def _taken(self, item: Retract) -> Event:
        return Event(self._log.last + 1, "retract", {"after": self._log.without(item.count)})

    def _crowded(self, size: int) -> bool:
        """True if somebody's outbox may have no room for so many bytes more."""
        log, (items, most) = self._log, self._free
        if log.last >= self._items or log.total + size > self._bytes:
            return True
        return (log.last >= items or log.total + size + OVERHEAD > most) and self._blocked(size)

    def _blocked(self, size: int) -> bool:
        """True if a client for whom the run waits has no room for so many bytes."""
        readers = [client.reader for client in self._blocking]
        self._free = (min([reader.done + reader.bounds.items for reader in readers], default=ENDLESS),
                      min([reader.before + reader.bounds.bytes for reader in readers], default=ENDLESS))
        return any([reader.full(size) for reader in readers])

    async def _wait_for_room(self, size: int) -> None:
        """Wait for clients that block, and a moment for those that are about to read."""
        while self._blocked(size):
            self._room = self.session.backend.park()
            try:
                await self._room
            finally:
                self._room = None
        await self._patience(self._log.last + 1, self._log.total + size)

    async def _patience(self, seq: int, total: int) -> None:
        """Wait for full clients that will read in a moment."""
        while late := {c for c in self.session.clients if c.patient and c.reader.beyond(seq, total) and c.left() > 0}:
            self._late, began = late, self.session.backend.now()
            busy = [client for client in late if client.busy]
            self._room = self.session.backend.park()
            try:
                with anyio.move_on_after(min(client.left() for client in late)):
                    await self._room
            finally:
                self._room, self._late = None, set()
            spent = self.session.backend.now() - began
            for client in busy:
                client.waited(spent)

    def append(self, event: Event, size: int | None = None) -> None:
        mine = self._log
        size = weight(event.data) if size is None else size
        if (event.seq > self._items or mine.total + size > self._bytes) and not event.terminal:
            self._enforce(event.seq, mine.total + size)
        mine.append(event, size)
        if self.session.turns.waiting:
            self.session.turns.wake()

    def _enforce(self, seq: int, total: int) -> None:
        """Apply the policy of each client whose outbox has no room, and note when to look again."""
        for client in list(self.session.clients):
            if client.reader.beyond(seq, total) and not client.reader.enforce():
                self.session.hub.report(client, Refused("too slow", "the client was let go: its outbox was full"))
                client._cut()
        self._items = self._bytes = ENDLESS
        for client in self.session.clients:
            self.watch(client.reader)

    def watch(self, reader: Reader) -> None:
        items, size = reader.until()
        self._items, self._bytes = min(self._items, items), min(self._bytes, size)

    def made_room(self, client: Subscription) -> None:
        """A client has read, or has gone."""
        if self._paused is not None and self.session.run is not None and not self._blocked(self._paused):
            self._go_on(self.session.run, self._paused)
        if self._room is not None:
            self._late.discard(client)
            if not self._late:
                self.session.backend.wake(self._room)


__all__ = ["Intake"]
