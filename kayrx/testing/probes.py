"""Both ends of Reactive Streams for tests: a subscriber that checks the rules, a publisher driven by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel

UNLIMITED = 2**63 - 1


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    """Let everybody run until ``condition()`` holds.  Raises TimeoutError after ``seconds``."""
    with anyio.fail_after(seconds):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def settled(ticks: int = 200) -> None:
    """Let the loop turn ``ticks`` times: what could happen without the test's doing has happened."""
    for _ in range(ticks):
        await anyio.lowlevel.checkpoint()


class Bad(Exception):
    """What a `Probe` raises when it is asked to."""


class Probe:
    """A subscriber that keeps all signals, and in ``wrong`` each rule it has seen broken.

    ``first``   how many items it requests in on_subscribe; ``each``: how many in every on_next
    ``raises``  the signals in which it raises `Bad`
    ``then``    called with each item, inside on_next

    >>> import kayrx as kx
    >>> probe = Probe(first=2)
    >>> kx.source("abc").publisher().subscribe(probe)
    >>> probe.items, probe.signals[-1], probe.wrong
    (['a', 'b'], 'on_next', [])
    """

    def __init__(self, first: int = 0, each: int = 0, raises: tuple[str, ...] = ()) -> None:
        self.first, self.each, self.raises = first, each, raises
        self.signals: list[str] = []
        self.items: list[Any] = []
        self.error: BaseException | None = None
        self.ended = ""  # the terminal signal
        self.wrong: list[str] = []
        self.asked = self.depth = self.deepest = 0
        self.subscription: Any = None
        self.then: Callable[[Any], object] = lambda item: None
        self._counting = threading.Lock()
        self._inside: int | None = None

    def request(self, n: int) -> None:
        """Request, and remember how much was asked for."""
        with self._counting:
            self.asked += n
        self.subscription.request(n)

    def cancel(self) -> None:
        """Cancel the subscription."""
        self.subscription.cancel()

    def _signal(self, signal: str, act: Callable[[], object]) -> None:
        me = threading.get_ident()
        if self._inside is not None:
            self.wrong.append(f"1.3: {signal} while another signal is under way")
        if self.ended:
            self.wrong.append(f"1.7: {signal} after {self.ended}")
        if (signal == "on_subscribe") == bool(self.signals):
            self.wrong.append(f"1.9: {signal} after {self.signals}")
        self._inside = me
        self.signals.append(signal)
        if signal in ("on_error", "on_complete"):
            self.ended = signal
        act()
        self._inside = None
        if signal in self.raises:
            raise Bad(signal)

    def on_subscribe(self, subscription: Any) -> None:
        """Keep the subscription, and request ``first``."""
        self.subscription = subscription
        self._signal("on_subscribe", self._ask_first)

    def _ask_first(self) -> None:
        if self.first:
            self.request(self.first)

    def on_next(self, item: Any) -> None:
        """Keep the item, call ``then``, request ``each``."""
        self._signal("on_next", lambda: self._take(item))

    def _take(self, item: Any) -> None:
        self.items.append(item)
        if len(self.items) > self.asked:
            self.wrong.append(f"1.1: {len(self.items)} items for a demand of {self.asked}")
        self.depth += 1
        self.deepest = max(self.depth, self.deepest)
        self.then(item)
        if self.each:
            self.request(self.each)
        self.depth -= 1

    def on_error(self, error: BaseException) -> None:
        """Keep the error."""
        self.error = error
        self._signal("on_error", lambda: None)

    def on_complete(self) -> None:
        """Keep that it came."""
        self._signal("on_complete", lambda: None)


class Handmade:
    """A publisher that sends what the test says, to one subscriber; ``calls`` are those of its subscription.

    ``on_request``  called with each number that is requested
    """

    def __init__(self) -> None:
        self.subscriber: Any = None
        self.calls: list[str] = []
        self.wrong: list[str] = []
        self.requests: list[int] = []
        self.cancelled = 0
        self.sent = 0
        self.on_request: Callable[[int], object] = lambda n: None
        self._callers: list[int] = []

    def subscribe(self, subscriber: Any) -> None:
        """Take the subscriber, and give it a subscription at once."""
        self.subscriber = subscriber
        subscriber.on_subscribe(self)

    def _called(self, what: str, act: Callable[[], object]) -> None:
        me = threading.get_ident()
        if any(caller != me for caller in self._callers):
            self.wrong.append(f"2.7: {what} while another thread is calling")
        self._callers.append(me)
        self.calls.append(what)
        act()
        self._callers.remove(me)

    def request(self, n: int) -> None:
        """§3: the subscriber asks."""
        if n < 1:
            self.wrong.append(f"3.9: request({n})")
        self.requests.append(n)
        self._called(f"request({n})", lambda: self.on_request(n))

    def cancel(self) -> None:
        """§3: the subscriber leaves."""
        self.cancelled += 1
        self._called("cancel", lambda: None)

    @property
    def wanted(self) -> int:
        """How many items may still be sent."""
        return sum(self.requests) - self.sent

    def send(self, *items: Any) -> None:
        """on_next for each."""
        for item in items:
            self.sent += 1
            self.subscriber.on_next(item)

    def complete(self) -> None:
        """on_complete."""
        self.subscriber.on_complete()

    def fail(self, error: BaseException) -> None:
        """on_error."""
        self.subscriber.on_error(error)


__all__ = ["UNLIMITED", "Bad", "Handmade", "Probe", "settled", "until"]
