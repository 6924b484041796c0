"""A subscription: demand comes in from any thread, signals go out one by one.

What makes the signals is `kayrx.runtime.streams.direct` where no node waits, else `kayrx.runtime.streams.tasked`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from kayrx.errors import RunError
from kayrx.runtime.program import Program
from kayrx.runtime.streams.subscriber import QueueSubscriber
from kayrx.runtime.world import World

Report = Callable[[BaseException], object]
KEPT = 100


class Terms:
    """What all subscriptions of one publisher share.

    ``direct`` and ``tasked`` are the programs for the two ways of running it; one of them may be None.
    """

    def __init__(self, direct: Program | None, tasked: Program | None, world: World, where: str,
                 takes_none: bool, on_report: Report | None) -> None:
        self.direct, self.tasked, self.world = direct, tasked, world
        self.where, self.takes_none, self.on_report = where, takes_none, on_report
        self.reports: list[BaseException] = []

    def report(self, error: BaseException) -> None:
        """Keep what a subscriber has raised, and tell ``on_report``; nobody else notices (2.13)."""
        self.reports.append(error)
        del self.reports[:-KEPT]
        try:
            if self.on_report is not None:
                self.on_report(error)
        except Exception as again:
            self.reports.append(again)


class Link:
    """One subscription: demand and cancellation come in from any thread, signals go out one by one."""

    def __init__(self, terms: Terms, subscriber: Any, inbox: QueueSubscriber | None) -> None:
        self.terms, self.subscriber, self.inbox = terms, subscriber, inbox
        self.lock = threading.RLock()  # a finalizer may call in while it is held
        self.asked = self.given = 0  # `asked` changes under the lock, `given` only where signals are made
        self.over = False
        self.refused: BaseException | None = None  # ends the run with on_error, wherever it stands
        self.fatal: BaseException | None = None    # a KeyboardInterrupt, say: raised once all is released

    def open(self) -> None:
        """Signal on_subscribe, then what can be signalled without demand."""
        if self.inbox is not None:
            self.inbox.wake = self.inbox.broken = self.advance
        self.tell(self.subscriber, "on_subscribe", self)
        self.begin()
        self.escape()

    def begin(self) -> None:
        """on_subscribe has been signalled."""
        raise NotImplementedError

    def advance(self) -> None:
        """Demand has changed, or the run was cancelled, or there is something from upstream."""

    # -- the subscriber's side (§3) --------------------------------------------------------------

    def request(self, n: int) -> None:
        """Ask for ``n`` more items: demand adds up (3.8), and no number is too large (3.17).

        From any thread, also inside on_next (3.2).  Never raises (3.16): ``n`` below 1 ends the run
        with on_error(ValueError) (3.9).
        """
        with self.lock:
            if self.over:
                return
            if isinstance(n, int) and n > 0:
                self.asked += n
            elif self.refused is None:
                self.refused = ValueError(f"request({n!r}): rule 3.9 wants a whole number above 0")
        self.advance()

    def cancel(self) -> None:
        """End the run without a signal; from any thread, idempotent (3.7), never raises (3.15)."""
        with self.lock:
            if self.over:
                return
            self.over, self.subscriber = True, None
        if self.inbox is not None:
            self.inbox.leave()
        self.advance()

    # -- signals ---------------------------------------------------------------------------------

    def give(self, item: Any) -> None:
        """One item that has been asked for; None is refused unless it is allowed (ruling 27)."""
        self.given += 1
        if item is None and not self.terms.takes_none:
            self.refused = TypeError(f"{self.terms.where} gave None, and rule 2.13 forbids to signal it; "
                                     "where the subscriber takes it, say none='allow'")
            return
        subscriber = self.subscriber
        if subscriber is not None:
            try:
                subscriber.on_next(item)
            except BaseException as error:
                self.blame(error)

    def end(self, error: BaseException | None) -> None:
        """The one terminal signal; from here on the subscription counts as cancelled (1.6, 1.7)."""
        with self.lock:
            subscriber, self.over, self.subscriber = self.subscriber, True, None
        if error is None:
            self.tell(subscriber, "on_complete")
        else:
            self.tell(subscriber, "on_error", error)

    def tell(self, subscriber: Any, signal: str, *what: Any) -> None:
        """Call the subscriber, if there still is one; if it raises it is cancelled and reported (2.13)."""
        if subscriber is not None:
            try:
                getattr(subscriber, signal)(*what)
            except BaseException as error:
                self.blame(error)

    def blame(self, error: BaseException) -> None:
        self.cancel()
        self.terms.report(error)
        if not isinstance(error, Exception):
            self.fatal = error

    def escape(self) -> None:
        """Raise what is not ours to keep, now that everything has been released."""
        fatal, self.fatal = self.fatal, None
        if fatal is not None:
            raise fatal


class Refusal(Link):
    """A subscription that cannot be: on_subscribe, then on_error (1.9)."""

    def __init__(self, terms: Terms, subscriber: Any, inbox: QueueSubscriber | None, error: RunError) -> None:
        super().__init__(terms, subscriber, inbox)
        self.error = error

    def begin(self) -> None:
        if self.inbox is not None:
            self.inbox.leave()
        self.end(self.error)
