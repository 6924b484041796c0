"""A client's outbox: what waits for it, bounded in items and bytes, and what becomes of what is too much.

It is a cursor into the session's log, so that it costs nothing while the client keeps up.  Only text that
a slow client's `conflate` has joined is its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from kayrx.errors import GraphError
from kayrx.nodes.values import whole
from kayrx.serve.events import OVERHEAD, Event, Join, joined, weight
from kayrx.serve.log import Log

Policy = Literal["disconnect", "conflate", "drop_oldest", "latest", "block"]
ENDLESS = 1 << 62
PATIENCE = 0.25


@dataclass(frozen=True, slots=True)
class Outbox:
    """The bounds of a client's outbox, and its policy when one of them is passed.

    ``disconnect``   the client is let go, and can resume from the log: nothing is lost and nothing joined
    ``conflate``     text deltas that wait are joined: fewer, longer events and no lost text.  What cannot be
                     joined waits; beyond the bounds the client is let go, and can resume from the log
    ``drop_oldest``  the newest ``items`` stay; the client sees the gap in ``seq``
    ``latest``       a client that is behind gets the newest item alone
    ``block``        the run waits for this client: for one that must see all, and that you trust

    With the first two the run waits for a full client that is ready to read, which takes a pass of the loop; for
    one that is busy sending never for more than ``PATIENCE`` (and 1 % of the time).
    ``bytes`` are those of the items in memory; one item may be larger, and then waits alone.
    Raises: GraphError for a bound below 1 or an unknown policy.
    """

    policy: Policy = "disconnect"
    items: int = 256
    bytes: int = 256 * 1024

    def __post_init__(self) -> None:
        whole("Outbox", "items", self.items, 1)
        whole("Outbox", "bytes", self.bytes, 1)
        if self.policy not in get_args(Policy):
            raise GraphError(f"Outbox(policy={self.policy!r}): the policies are {', '.join(get_args(Policy))}")


class Reader:
    """One client's place in the log: ``taken`` events are out of the outbox, ``done`` are finished with."""

    __slots__ = ("before", "behind", "bounds", "cut", "done", "dropped", "held", "join", "log", "size", "taken",
                 "total")

    def __init__(self, log: Log, bounds: Outbox, join: Join, after: int) -> None:
        self.log, self.bounds, self.join = log, bounds, join
        self.taken = self.done = after
        self.total = self.before = log.before(after)    # bytes of the log up to what was taken, and done
        self.held: list[Event] = []       # joined already, and not in the log's reach any more
        self.size = 0                     # the bytes of these
        self.dropped = 0
        self.behind = False               # `drop_oldest` and `latest`: beyond the bounds, settled when it reads
        self.cut = False

    # -- looking ---------------------------------------------------------------------------------

    def ends(self) -> int:
        """1 if the log's newest event is a terminal: it is never dropped, and fills no place."""
        return int(bool(self.log.entries) and self.log.entries[-1].event.terminal)

    @property
    def waiting(self) -> int:
        """How many events wait here."""
        return len(self.held) + self.log.last - self.taken

    def over(self) -> bool:
        """True if the bounds are passed."""
        count, log = self.log.last - self.ends() - self.taken, self.log
        return count > self.bounds.items or (count > 1 and log.total - self.total + self.size > self.bounds.bytes)

    def full(self, size: int = 0) -> bool:
        """`block`: what waits and what is in the client's hand leave no room for an item of this size."""
        log, count = self.log, self.log.last - self.done
        held = log.total - self.before
        return count >= self.bounds.items or (count > 0 and held + size + OVERHEAD > self.bounds.bytes)

    def until(self) -> tuple[int, int]:
        """Up to which seq and how many bytes of the log there is nothing to enforce."""
        if self.behind or self.cut or self.bounds.policy == "block":
            return ENDLESS, ENDLESS
        return self.taken + self.bounds.items, self.total - self.size + self.bounds.bytes

    def beyond(self, seq: int, total: int) -> bool:
        """True if there is no room for an event that makes the log so long and so large."""
        items, size = self.until()
        return self.waiting > 0 and (seq > items or total > size)

    # -- bounding --------------------------------------------------------------------------------

    def enforce(self) -> bool:
        """There is no room for the item that comes; False if the client has to go."""
        policy = self.bounds.policy
        if policy in ("drop_oldest", "latest"):
            self.behind = True
        elif policy == "disconnect":
            self.cut = True
        elif policy == "conflate":
            many = self.waiting > 1
            self.held = joined([*self.held, *self.log.after(self.taken, ENDLESS, ENDLESS)], self.join)
            self.size = sum(weight(event.data) + OVERHEAD for event in self.held)
            self.taken, self.total = self.log.last, self.log.total
            self.cut = len(self.held) > self.bounds.items or (many and self.size > self.bounds.bytes)
            if self.cut:
                self.held = []
        return not self.cut

    def settle(self) -> None:
        """Drop what is too much, now that the client asks."""
        self.behind = False
        last, log = self.log.last - self.ends(), self.log
        if not self.over():
            return
        skip = last - 1 if self.bounds.policy == "latest" else max(self.taken, last - self.bounds.items, log.first - 1)
        while skip < last - 1 and log.total - log.before(skip) > self.bounds.bytes:
            skip += 1
        self.dropped += skip - self.taken
        self.taken, self.total = skip, log.before(skip)

    # -- reading ---------------------------------------------------------------------------------

    def read(self, most: int, size: int) -> list[Event]:
        """The next events, out of the outbox; those read before are finished with."""
        self.done, self.before = self.taken, self.total
        if self.cut:
            return []
        log, held = self.log, self.held
        if not held and not self.behind and log.last <= self.taken + 1:    # it keeps up: nothing is too much
            if log.last == self.taken:
                return []
            newest = log.entries[-1]
            self.taken, self.total = log.last, newest.total
            return [newest.event]
        if self.bounds.policy in ("drop_oldest", "latest"):
            self.settle()
        events = log.after(self.taken, most - len(held), size)
        if events:
            self.taken = events[-1].seq
            self.total = self.log.before(self.taken)
        if self.held:
            events, self.held = [*self.held[:most], *events], self.held[most:]
            self.size = sum(weight(event.data) + OVERHEAD for event in self.held)
        if self.bounds.policy == "conflate" and len(events) > 1:
            return joined(events, self.join)
        return events

    def free(self) -> list[Event]:
        """The next event if it is no item: that needs nobody's demand."""
        self.done, self.before = self.taken, self.total
        if self.bounds.policy in ("drop_oldest", "latest"):
            self.settle()
        if self.cut or not self.waiting:
            return []
        following = self.held[0] if self.held else self.log.entry(self.taken + 1).event
        return self.read(1, 0) if following.type != "data" else []


__all__ = ["Outbox", "Policy", "Reader"]
