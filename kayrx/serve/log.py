"""The log of a session: its last events, bounded by count, by bytes and by age, for replay.

Every client of a session reads from this one log, so a thousand clients that keep up, or do not, hold one
copy.  It keeps what the bounds of the replay ask for and what the outbox of some client may still need.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from kayrx.nodes.values import span, whole
from kayrx.serve.events import OVERHEAD, Event


@dataclass(frozen=True, slots=True)
class Keep:
    """What can be replayed: the last ``count`` events, together ``bytes`` at most, none older than ``age`` seconds."""

    count: int = 1024
    bytes: int = 1 << 20
    age: float | None = None

    def __post_init__(self) -> None:
        whole("Keep", "count", self.count, 1)
        whole("Keep", "bytes", self.bytes, 1)
        if self.age is not None:
            span("Keep", "age", self.age, zero=False)


@dataclass(slots=True)
class Entry:
    """An event in the log, when it came, and the bytes of all before it and with it since the beginning."""

    event: Event
    total: int
    at: float


class Log:
    """The last events, in order without a gap; ``last`` is the seq of the newest, 0 before the first.

    Memory: the larger of ``keep`` and the widest outbox (`widen`), one item over if a client blocks; the newest
            event is always there.
    """

    __slots__ = ("_needed", "_unread", "entries", "items", "keep", "last", "now", "reach", "start", "total")

    def __init__(self, keep: Keep, now: Callable[[], float]) -> None:
        self.keep, self.now = keep, now
        self.entries: deque[Entry] = deque()
        self.last = 0
        self.total = 0    # bytes of all events that ever came
        self.start = 0    # of those, the ones that are gone
        self.items, self.reach = 0, 0
        self._unread: Callable[[], int] | None = None
        self._needed = 0    # what it said last: it only grows while it is the same

    def protect(self, unread: Callable[[], int] | None) -> None:
        """Keep what somebody must still get, from the event on that ``unread()`` names."""
        self._unread, self._needed = unread, 0

    def widen(self, items: int, size: int) -> None:
        """Keep as much as an outbox of so many items and bytes may need."""
        self.items, self.reach = max(self.items, items), max(self.reach, size)

    @property
    def first(self) -> int:
        """The seq of the oldest event that is here."""
        return self.last - len(self.entries) + 1

    @property
    def held(self) -> int:
        """The bytes that are here."""
        return self.total - self.start

    def append(self, event: Event, size: int) -> None:
        """Add the event with the seq ``last + 1``."""
        self.last = event.seq
        self.total += size + OVERHEAD
        self.entries.append(Entry(event, self.total, 0.0 if self.keep.age is None else self.now()))
        if event.type not in ("end", "error"):    # a terminal comes on top of what outboxes need
            self.trim()

    def trim(self) -> None:
        entries, keep, count = self.entries, self.keep, len(self.entries)
        while count > 1:
            size = self.total - self.start
            if count <= keep.count and size <= keep.bytes \
                    and (keep.age is None or self.now() - entries[0].at <= keep.age):
                return
            if count <= self.items and size <= self.reach:
                return
            if self._unread is not None and self.last - count + 1 >= self._needed:
                self._needed = self._unread()
                if self.last - count + 1 >= self._needed:
                    return
            self.start = entries.popleft().total
            count -= 1

    def oldest(self) -> int:
        """The seq of the oldest event that may be replayed now; ``last + 1`` if there is none."""
        if self.keep.age is None:
            return self.first
        since = self.now() - self.keep.age
        return self.first + next((i for i, entry in enumerate(self.entries) if entry.at >= since), len(self.entries))

    def without(self, count: int) -> int:
        """The seq after which the last ``count`` items stand that have not been taken back."""
        seq = self.last
        while count and seq >= self.first:
            event = self.entry(seq).event
            if event.type == "retract":
                seq = event.data["after"]
            else:
                count, seq = count - 1, seq - 1
        return seq

    def entry(self, seq: int) -> Entry:
        return self.entries[seq - self.last - 1]    # from the end: that is where readers are

    def before(self, seq: int) -> int:
        """The bytes of all events up to ``seq``, with it."""
        return self.start if seq < self.first else self.entry(seq).total

    def after(self, seq: int, most: int, size: int) -> list[Event]:
        """The events after ``seq``: ``most`` at most, and no more than ``size`` bytes unless it is one."""
        count = min(self.last - seq, most)
        if count <= 0:
            return []
        entries = self.entries
        if count < 32:
            found = [entries[i] for i in range(seq - self.last, seq - self.last + count)]
        else:
            begin = len(entries) - (self.last - seq)
            found = list(islice(entries, begin, begin + count))
        limit = self.before(seq) + size
        while len(found) > 1 and found[-1].total > limit:
            found.pop()
        return [entry.event for entry in found]


__all__ = ["Keep", "Log"]
