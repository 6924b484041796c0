"""A graph as a Reactive Streams 1.0.4 publisher, an open graph as a processor.

    Direct   no node waits: a generator, pulled inside ``request`` as far as demand goes
    Tasked   some node waits, or a network: a run on a loop, whose last gate is emptied as demand goes

Both are unicast (1.11): each subscription of a publisher is a fresh run of its graph.  Numbers are
those of the rules in the specification.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from operator import length_hint
from typing import Any, Generic, TypeVar

import anyio

from kayrx.errors import GraphError, RunError
from kayrx.graph.graph import Graph, graph_of
from kayrx.graph.join import join
from kayrx.nodes.ends import Source
from kayrx.nodes.feed import Subscriber
from kayrx.nodes.transform import FlatMap, Rx
from kayrx.nodes.values import whole
from kayrx.plan.cut import DEFAULT, HOT
from kayrx.plan.plan import Segment
from kayrx.plan.shapes import END, WAIT
from kayrx.runtime.backend import SyncBackend, current, loop_running
from kayrx.runtime.context import Context
from kayrx.runtime.engine import Network, close, opened
from kayrx.runtime.faces import must_have_output, taken_apart
from kayrx.runtime.hosting import spawn
from kayrx.runtime.program import Program, must_be_fed, must_be_open, program
from kayrx.runtime.sources import Stoppable
from kayrx.runtime.subscriber import Hot, QueueSubscriber
from kayrx.runtime.world import World

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
Report = Callable[[BaseException], object]
SIGNALS = ("on_subscribe", "on_next", "on_error", "on_complete")
KEPT = 100


class Publisher(Generic[Out]):
    """What ``graph.publisher()`` gives.

    ``none``     what becomes of None: "reject" or "allow"
    ``reports``  the last 100 exceptions that subscribers have raised (2.13)
    """

    def __init__(self, graph: Graph[Any, Any], made: Program, world: World, none: str, host: Any,
                 on_report: Report | None) -> None:
        if none not in ("reject", "allow"):
            raise GraphError(f"none={none!r}: reject or allow")
        self.program, self.world, self.none, self.host, self.on_report = made, world, none, host, on_report
        self.where = next((n for n in reversed(graph.nodes) if n.role != "guard"), graph.nodes[-1]).where
        self.reports: list[BaseException] = []

    def subscribe(self, subscriber: Subscriber[Any], *, host: Any = None) -> None:
        """Start a fresh run for ``subscriber``: on_subscribe comes first, then items as it requests them.

        Without a node that waits they are signalled inside ``request``, in the thread that calls it; else
        by a task of ``host`` (a task group or nursery), on asyncio also of the loop itself.
        Raises TypeError for what is no subscriber; every other failure comes by on_error.
        """
        self._link(subscriber, host).begin()

    def _link(self, subscriber: Any, host: Any, inbox: QueueSubscriber | None = None) -> Link:
        if not all(callable(getattr(subscriber, name, None)) for name in SIGNALS):
            raise TypeError(f"subscribe({subscriber!r}): rule 1.9 wants a subscriber, with {', '.join(SIGNALS)}")
        first, host, loop = self.program.plan.segments[0], host or self.host, loop_running()
        if self.program.plan.linear:
            if first.fed == "push" and first.head is not None:
                inbox = Hot(first.head.node.what, HOT)  # type: ignore[attr-defined]
            return Direct(self, subscriber, inbox)
        if loop is None or (host is None and loop != "asyncio"):
            remedy = "subscribe inside asyncio or trio" if loop is None else \
                "on trio say publisher(host=nursery), or subscribe(subscriber, host=nursery)"
            return Refusal(self, subscriber, inbox, RunError(
                f"{self.where}: a node of this graph waits or joins, so its run needs tasks; {remedy}"))
        return Tasked(self, subscriber, inbox, host)

    def report(self, error: BaseException) -> None:
        """Keep what a subscriber has raised, and tell ``on_report``; nobody else notices (2.13)."""
        self.reports.append(error)
        del self.reports[:-KEPT]
        try:
            if self.on_report is not None:
                self.on_report(error)
        except Exception as again:
            self.reports.append(again)


class Processor(Publisher[Out], Generic[In, Out]):
    """What ``graph.processor()`` gives: a subscriber on one side, a publisher on the other, for one run.

    A second upstream is cancelled (2.5); a second subscriber gets on_error (1.11).
    """

    def __init__(self, *publisher: Any, size: int) -> None:
        super().__init__(*publisher)
        self.inbox = QueueSubscriber(None, size, none=self.none)
        self.on_subscribe, self.on_next = self.inbox.on_subscribe, self.inbox.on_next
        self.on_error, self.on_complete = self.inbox.on_error, self.inbox.on_complete
        self._free = threading.Lock()  # held, once there is a subscriber, for good

    def _link(self, subscriber: Any, host: Any, inbox: QueueSubscriber | None = None) -> Link:
        link = super()._link(subscriber, host, self.inbox)
        if self._free.acquire(blocking=False):
            return link
        return Refusal(self, subscriber, None, RunError(
            f"{self.where}: a processor serves one subscriber (rule 1.11); graph.processor() makes another"))


# -- subscriptions -------------------------------------------------------------------------------


class Link:
    """One subscription: demand and cancellation come in from any thread, signals go out one by one."""

    def __init__(self, publisher: Publisher[Any], subscriber: Any, inbox: QueueSubscriber | None) -> None:
        self.publisher, self.subscriber, self.inbox = publisher, subscriber, inbox
        self.program, self.world = publisher.program, publisher.world
        self.lock = threading.Lock()
        self.asked = self.given = 0  # `given` is written by whoever signals, `asked` under the lock
        self.over = False
        self.refused: BaseException | None = None  # why to end with on_error, whatever the run does
        self.fatal: BaseException | None = None    # a KeyboardInterrupt, say: raised once all is released

    def begin(self) -> None:
        """Signal on_subscribe, then what can be signalled."""
        raise NotImplementedError

    def advance(self) -> None:
        """Act on a change of demand, on cancellation, or on a signal from upstream."""

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

    def end(self, signal: str, *what: BaseException) -> None:
        """The one terminal signal; from here on the subscription counts as cancelled (1.6, 1.7)."""
        with self.lock:
            subscriber, self.over, self.subscriber = self.subscriber, True, None
        self.tell(subscriber, signal, *what)

    def tell(self, subscriber: Any, signal: str, *what: Any) -> None:
        """Call the subscriber, if there still is one; if it raises it is cancelled and reported (2.13)."""
        try:
            if subscriber is not None:
                getattr(subscriber, signal)(*what)
        except BaseException as error:
            self.cancel()
            self.publisher.report(error)
            if not isinstance(error, Exception):
                self.fatal = error

    def give(self, item: Any) -> None:
        """One item that has been asked for; None is refused unless it is allowed (ruling 27)."""
        self.given += 1
        if item is None and self.publisher.none != "allow":
            self.refused = TypeError(f"{self.publisher.where} gave None, and rule 2.13 forbids to signal it; "
                                     "where the subscriber takes it, say publisher(none='allow')")
        else:
            self.tell(self.subscriber, "on_next", item)


class Refusal(Link):
    """A subscription that could not be: on_subscribe, then on_error (1.9)."""

    def __init__(self, publisher: Publisher[Any], subscriber: Any, inbox: QueueSubscriber | None,
                 error: RunError) -> None:
        super().__init__(publisher, subscriber, inbox)
        self.error = error

    def begin(self) -> None:
        if self.inbox is not None:
            self.inbox.leave()
        self.tell(self.subscriber, "on_subscribe", self)
        self.end("on_error", self.error)


class Direct(Link):
    """Signals inside ``request``; the thread that finds nobody at it does the work of all (1.3, 3.3).

    No item is read, and nothing inside an expansion is run, ahead of demand.  So an end is signalled
    with the last item where it is known: of a list, a `take`, an upstream that has completed; else
    with the next request.  One item that a node gives at its end may be held.
    """

    def begin(self) -> None:
        self.run = Context(self.program, self.world, SyncBackend(self.world))
        self.expands = any(s.inner or isinstance(s.node, (FlatMap, Rx)) for s in self.program.plan.steps())
        self.chain: list[Iterator[Any]] = []
        self.held: Any = END
        self.inside = self.again = False  # inside: resuming goes on after an item, and not to read
        self.busy = True
        if self.inbox is not None:
            self.inbox.wake = self.advance
        self.tell(self.subscriber, "on_subscribe", self)
        self.drain()

    def advance(self) -> None:
        with self.lock:
            self.again = self.busy
            if self.busy:
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
        if self.fatal is not None:
            fatal, self.fatal = self.fatal, None
            raise fatal

    def work(self) -> None:
        """Signal all that can be signalled now."""
        while not self.over:
            if self.refused is not None:
                return self.finish("on_error", self.refused)
            if self.asked == self.given:
                if isinstance(self.publisher, Processor) and self.publisher.inbox.error is not None:
                    return self.finish("on_error", self.publisher.inbox.error)  # rule 4.2: at once
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
            item = next(self.chain[-1] if self.chain else self.open(), END)
        except BaseException as error:
            self.run.fail(error, self.program.plan.segments[0])
            self.fatal = None if isinstance(error, Exception) else error
            self.finish("on_error", error)
            return END
        if item is END:
            self.finish("on_complete")
        self.inside = item is not WAIT
        return item

    def open(self) -> Iterator[Any]:
        self.chain = [iter(()) if self.program.closed_from_start else self.read()]
        for code in self.program.rests:
            self.chain.append(code.function(self.chain[-1], self.run))
        return self.chain[-1]

    def read(self) -> Iterator[Any]:
        """What comes into the graph, and WAIT while nothing may be read."""
        if self.inbox is not None:
            self.inbox.open()
            yield from self.received(self.inbox)
            return
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
        while True:
            ended = inbox.ended  # looked at before the items, for they come before it
            if self.over or (inbox.items and self.asked == self.given) or not (inbox.items or ended):
                yield WAIT
            elif inbox.items:
                yield inbox.items[0]
                inbox.free()
            elif inbox.error is not None:
                raise inbox.error
            else:
                return

    def finish(self, signal: str, *what: BaseException) -> None:
        self.release()
        self.end(signal, *what)

    def release(self) -> None:
        """Close the source and all that is suspended; leave upstream."""
        chain, self.chain, self.held = self.chain, [], END
        for generator in reversed(chain):
            try:
                close(generator)
            except Exception as error:
                self.publisher.report(error)
        if self.inbox is not None:
            self.inbox.leave()


class Tasked(Link):
    """Signals in a task of its own, beside those of the run; ``16`` items of the last gate wait at most."""

    def __init__(self, publisher: Publisher[Any], subscriber: Any, inbox: QueueSubscriber | None, host: Any) -> None:
        super().__init__(publisher, subscriber, inbox)
        self.backend, self.host = current(self.world), host
        self.park: Any = None
        self.scope: anyio.CancelScope | None = None
        self.error: BaseException | None = None

    def begin(self) -> None:
        if self.inbox is not None:
            self.inbox.broken = self.advance
        self.tell(self.subscriber, "on_subscribe", self)
        if self.over:
            return
        try:
            spawn(self.main) if self.host is None else self.host.start_soon(self.main)
        except Exception as error:  # the host has ended
            self.end("on_error", error)

    @property
    def stopped(self) -> bool:
        return self.over or self.refused is not None

    def advance(self) -> None:
        with self.lock:
            park, self.park = self.park, None
        if self.stopped:
            self.backend.from_thread(self.stop)
        elif park is not None:
            self.backend.from_thread(partial(self.backend.wake, park))

    def stop(self) -> None:
        if self.scope is not None:
            self.scope.cancel()

    async def main(self) -> None:
        """The run, and the reader of its last gate."""
        network = Inlet(self.program, self.world, self.inbox) if self.inbox else Network(self.program, self.world)
        try:
            async with anyio.create_task_group() as group:
                self.scope = group.cancel_scope
                group.start_soon(self.execute, network)
                if not await self.deliver(network.run):
                    network.run.cancelled = True
                    group.cancel_scope.cancel()
        except anyio.get_cancelled_exc_class():
            self.end("on_error", RunError(f"{self.publisher.where}: the host of this run was cancelled"))
            raise
        finally:
            self.scope = None
            if self.inbox is not None:
                self.error = self.error or self.inbox.error
                self.inbox.leave()
        error = self.refused or network.run.failure or self.error
        self.end("on_complete") if error is None else self.end("on_error", error)
        if self.fatal is not None:
            raise self.fatal

    async def execute(self, network: Network) -> None:
        try:
            await network.execute()
        except BaseException as error:
            if network.run.ours(error):
                raise
            self.error = error
            self.fatal = self.fatal if isinstance(error, Exception) else error

    async def deliver(self, run: Context) -> bool:
        """Signal what comes out; False if the run has to be cut short."""
        gate = run.gates[-1]
        while not self.stopped and not await gate.wait():
            if not await self.wanted():
                return False
            for item in gate.drain(min(self.asked - self.given, run.program.options.chunk)):
                self.give(item)
                if self.stopped:
                    return False
            if run.due():
                await run.rest()
        return not self.stopped

    async def wanted(self) -> bool:
        """Wait for demand; False if none is to come, or upstream has failed meanwhile (4.2)."""
        while True:
            with self.lock:
                if self.stopped or self.asked > self.given:
                    return not self.stopped
                if self.inbox is not None and self.inbox.error is not None:
                    return False
                park = self.park = self.backend.park()
            await park


class Upstream:
    """Stands in a plan for the publisher that a processor will be subscribed to."""

    def subscribe(self, subscriber: Any) -> None:
        raise RunError("a plan of a processor runs in a processor only")


class Inlet(Network):
    """The network of a processor: one of its sources is an inbox."""

    node = Source(Upstream(), name="upstream", written=None)

    def __init__(self, made: Program, world: World, inbox: QueueSubscriber) -> None:
        super().__init__(made, world)
        self.inbox = inbox

    def source_of(self, segment: Segment) -> tuple[Any, Any]:
        if segment.head is None or segment.head.node is not self.node:
            return super().source_of(segment)
        items = Stoppable(self.inbox.read(self.run), self.run.backend)
        return items, items
