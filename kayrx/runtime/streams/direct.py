"""A subscription without tasks: a generator, pulled inside ``request`` as far as demand goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from operator import length_hint
from typing import Any

from kayrx.plan.shapes import END, WAIT
from kayrx.runtime.backend import SyncBackend
from kayrx.runtime.context import Context
from kayrx.runtime.linear import close, opened
from kayrx.runtime.program import Program
from kayrx.runtime.streams.subscriber import Hot, QueueSubscriber
from kayrx.runtime.streams.subscription import Link, Terms


class Direct(Link):
    """Signals inside ``request``; the thread that finds nobody at it does the work of all (1.3, 3.3).

    Nothing is read, and nothing inside an expansion is run, ahead of demand.  So an end comes with the
    last item where it can be known (a list, a `take`, an upstream that has completed), else with the
    next request.  One item that a node gives at its end may be held.  A backoff sleeps by the world's
    ``block``, so it is for where no loop runs.
    """

    def __init__(self, terms: Terms, made: Program, subscriber: Any, inbox: QueueSubscriber | None) -> None:
        super().__init__(terms, subscriber, inbox)
        self.program = made
        self.run = Context(made, terms.world, SyncBackend(terms.world))
        self.expands = any(s.node.expands for s in made.plan.steps())
        self.hasty = not isinstance(inbox, Hot)  # rule 4.2 is for processors
        self.out: Iterator[Any] | None = None
        self.opened = ExitStack()  # what the run has opened, to be closed in reverse order
        self.held: Any = END
        self.inside = False  # the chain rests after an item, and may go on without reading
        self.again = False
        self.busy = True     # until on_subscribe has returned

    def begin(self) -> None:
        self.drain()

    def advance(self) -> None:
        with self.lock:
            if self.busy:
                self.again = True
                return
            self.busy = True
        self.drain()

    def drain(self) -> None:
        while True:
            self.work()
            with self.lock:
                if not self.again:
                    self.busy = False
                    break
                self.again = False
        self.escape()

    def work(self) -> None:
        """Signal all that can be signalled now."""
        while not self.over:
            if self.refused is not None:
                return self.finish(self.refused)
            if self.asked == self.given:
                if self.inbox is not None and self.inbox.error is not None and self.hasty:
                    return self.finish(self.inbox.error)
                if self.held is not END or (self.inside and self.expands):
                    return
            item, self.held = self.held, END
            if item is END:
                item = self.pull()
            if item is END or item is WAIT:
                return
            if self.asked == self.given:
                self.held = item
            else:
                self.give(item)
        self.release()

    def pull(self) -> Any:
        """The next item; WAIT if there is none for now; END if the run has ended, which is signalled."""
        try:
            item = next(self.out or self.chained(), END)
        except BaseException as error:
            self.run.fail(error, self.program.plan.segments[0])
            self.fatal = None if isinstance(error, Exception) else error
            self.finish(error)
            return END
        if item is END:
            self.finish(None)
        self.inside = item is not WAIT
        return item

    def chained(self) -> Iterator[Any]:
        """The runs of the plan as generators, each pulled by the next; gives the last."""
        self.opened.enter_context(self.run.opened.now())
        items: Any = iter(()) if self.program.closed_from_start else \
            self.read() if self.inbox is None else self.received(self.inbox)
        for code in self.program.rests:
            self.opened.callback(close, items)
            items = code.function(items, self.run)
        self.opened.callback(close, items)
        self.out = items
        return self.out

    def read(self) -> Iterator[Any]:
        """The items of the source, and WAIT while nothing may be read."""
        items, source = opened(self.program, self.run, alone=True)
        known = type(items).__module__ == "builtins"  # only there a length hint is more than a hint
        try:
            while True:
                if self.over or (self.asked == self.given and not (known and length_hint(items, 1) == 0)):
                    yield WAIT
                elif (item := next(source, END)) is END:
                    return
                else:
                    yield item
        finally:
            close(items)

    def received(self, inbox: QueueSubscriber) -> Iterator[Any]:
        """The items of upstream, and WAIT while there is none or none may be read."""
        inbox.open()
        while True:
            ended, items = inbox.ended, inbox.items  # in this order: the last item is there before the end
            if self.over or (items and self.asked == self.given) or not (items or ended):
                yield WAIT
            elif items:
                yield items[0]
                inbox.free()
            elif inbox.error is not None:
                raise inbox.error
            else:
                return

    def finish(self, error: BaseException | None) -> None:
        self.release()
        self.end(error)

    def release(self) -> None:
        """Close the source and all that rests; leave upstream."""
        self.out, self.held = None, END
        try:
            self.opened.close()
        except Exception as error:
            self.terms.report(error)
        if self.inbox is not None:
            self.inbox.leave()
