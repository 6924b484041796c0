"""Panes: the open windows of one `window_by` in one run.  Plain data and no waiting."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from copy import deepcopy
from math import isfinite
from typing import Any

from kayrx.errors import RunError
from kayrx.nodes.eventtime import Late, Window, WindowBy


def moment(where: str, time: Any) -> float:
    """What an ``event_time`` gave, if it is a time; else TypeError."""
    if not isinstance(time, (int, float)) or not isfinite(time):
        raise TypeError(f"{where}: event_time gave {time!r}, and must give seconds, a finite number "
                        "(of a datetime: its timestamp())")
    return time


class Pane:
    """One open window; ``ids`` are those of its items, in a run that keeps them."""

    __slots__ = ("closed", "count", "due", "end", "ids", "key", "number", "slot", "start", "value")

    def __init__(self, number: int, key: Any, slot: Any, start: float, end: float, value: Any) -> None:
        self.number, self.key, self.slot, self.start, self.end, self.value = number, key, slot, start, end, value
        self.count = 0
        self.ids: list[Any] = []
        self.closed = False
        self.due = False  # the watermark has reached its end, and a partial result has said so

    def window(self, *, final: bool) -> Window[Any]:
        value = list(self.value) if not final and type(self.value) is list else self.value
        return Window(self.key, self.start, self.end, value, self.count, final)


Given = tuple[Any, "list[Any] | None"]


class Panes:
    """Puts items into windows, and gives those that are over: ``opened``, then the caller's fold, then ``given``.

    A heap holds each open window once, under the end that it had when it was put there: the end of a
    session moves, and is looked at again when its turn comes.
    """

    def __init__(self, node: WindowBy, where: str) -> None:
        self.node, self.where = node, where
        self.watermark = float("-inf")
        self.slots: dict[Any, Any] = {}
        self.closing: list[tuple[float, int, Pane]] = []
        self.coming: list[tuple[float, int, Pane]] = []  # those that owe a partial result at their end
        self.number = 0
        self.alive = 0
        self.size, self.step = node.sliding or (node.tumbling or 1.0, node.tumbling or 1.0)
        whole = round(self.size / self.step)
        self.steps = whole if abs(whole * self.step - self.size) < 1e-9 * self.size else 0
        self.assign: Callable[[Any, float], list[Pane]] = self._session if node.session is not None else self._spans

    # -- one item --------------------------------------------------------------------------------

    def opened(self, key: Any, time: Any) -> list[Pane]:
        """The windows of an item, opened if they were not; none if it is late."""
        return self.assign(key, moment(self.where, time))

    def given(self, panes: list[Pane], time: float, item: Any) -> Iterator[Given]:
        """What an item gives once it is in its windows: late itself, partial results, windows that are over."""
        if not panes and self.node.late:
            yield Late(item), None
        for pane in panes:
            pane.count += 1
            if self.node.partial == "item" or pane.due:
                yield pane.window(final=False), pane.ids
        if time > self.watermark:
            self.watermark = time
            yield from self._passed(time)

    def rest(self) -> Iterator[Given]:
        """The windows that are open at the end."""
        yield from self._passed(float("inf"))

    def _passed(self, watermark: float) -> Iterator[Given]:
        closing, coming, lateness = self.closing, self.coming, self.node.lateness
        while closing and closing[0][0] + lateness <= watermark:
            pane = heapq.heappop(closing)[2]
            if pane.closed:
                continue
            if pane.end + lateness > watermark:
                heapq.heappush(closing, (pane.end, pane.number, pane))
                continue
            self._close(pane)
            yield pane.window(final=True), pane.ids
        while coming and coming[0][0] <= watermark:
            pane = heapq.heappop(coming)[2]
            if pane.closed:
                continue
            if pane.end > watermark:
                heapq.heappush(coming, (pane.end, pane.number, pane))
                continue
            pane.due = True
            yield pane.window(final=False), pane.ids

    # -- what a checkpoint saves ------------------------------------------------------------------

    def saved(self) -> Any:
        """The open windows, and when each is to be looked at."""
        held = self.slots.values() if self.node.session is None else (p for many in self.slots.values() for p in many)
        panes = [(p.number, p.key, p.slot, p.start, p.end, p.value, p.count, p.ids, p.due) for p in held]
        queues = [[(due, n) for due, n, p in queue if not p.closed] for queue in (self.closing, self.coming)]
        return self.watermark, self.number, panes, queues

    def restore(self, saved: Any) -> None:
        self.watermark, self.number, panes, (closing, coming) = saved
        found: dict[int, Pane] = {}
        for number, key, slot, start, end, value, count, ids, due in panes:
            pane = found[number] = Pane(number, key, slot, start, end, value)
            pane.count, pane.ids, pane.due = count, [*ids], due
            if self.node.session is None:
                self.slots[slot] = pane
            else:
                self.slots.setdefault(slot, []).append(pane)
        self.alive = len(found)
        self.closing = [(due, n, found[n]) for due, n in closing]
        self.coming = [(due, n, found[n]) for due, n in coming]
        heapq.heapify(self.closing)
        heapq.heapify(self.coming)

    # -- windows ---------------------------------------------------------------------------------

    def _open(self, key: Any, slot: Any, start: float, end: float) -> Pane:
        if self.alive >= self.node.max_windows:
            raise RunError(f"{self.where} has {self.alive} windows open (max_windows={self.node.max_windows}): make "
                           "them or the lateness shorter, use fewer keys, or allow more")
        seed = None if self.node.fold is None else self.node.fold[0]
        pane = Pane(self.number, key, slot, start, end, [] if self.node.fold is None else deepcopy(seed))
        self.number += 1
        self.alive += 1
        heapq.heappush(self.closing, (end, pane.number, pane))
        if self.node.partial == "watermark":
            heapq.heappush(self.coming, (end, pane.number, pane))
        return pane

    def _close(self, pane: Pane) -> None:
        pane.closed = True
        self.alive -= 1
        if self.node.session is None:
            del self.slots[pane.slot]
        else:
            held = self.slots[pane.slot]
            held.remove(pane)
            if not held:
                del self.slots[pane.slot]

    def _spans(self, key: Any, time: float) -> list[Pane]:
        """The spans of a fixed length that hold ``time``, those that have closed left out."""
        step, found = self.step, []
        number = int(time // step)
        number += ((number + 1) * step <= time) - (number * step > time)  # what a product was rounded by
        while (end := self._end(number)) > time:
            if end + self.node.lateness > self.watermark:
                pane = self.slots.get((key, number))
                if pane is None:
                    pane = self.slots[key, number] = self._open(key, (key, number), number * step, end)
                found.append(pane)
            number -= 1
        return found[::-1]

    def _end(self, number: int) -> float:
        """A window ends exactly where another begins, if a whole number of steps makes its length."""
        return (number + self.steps) * self.step if self.steps else number * self.step + self.size

    def _session(self, key: Any, time: float) -> list[Pane]:
        """The session that holds ``time``: a new one, or those of this key that it touches, as one."""
        gap = self.node.session
        assert gap is not None
        held: list[Pane] = self.slots.get(key, [])
        touched = [pane for pane in held if pane.start - gap < time < pane.end]
        start, end = min([time, *(p.start for p in touched)]), max([time + gap, *(p.end for p in touched)])
        if end + self.node.lateness <= self.watermark:
            return []
        if not touched:
            pane = self._open(key, key, start, end)
            held.append(pane)
            self.slots[key] = held
            return [pane]
        first, *others = sorted(touched, key=lambda p: p.start)
        for other in others:
            first.value = first.value + other.value if self.node.fold is None \
                else self.node.fold[2](first.value, other.value)
            first.count += other.count
            first.ids += other.ids
            self._close(other)
        first.start, first.end = start, end
        if first.due and end > self.watermark:  # it goes on beyond the end that was told of
            first.due = False
            heapq.heappush(self.coming, (end, first.number, first))
        return [first]
