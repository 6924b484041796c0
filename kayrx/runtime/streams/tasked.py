"""A subscription with tasks: a run on a loop, whose last gate is emptied as far as demand goes."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio

from kayrx.errors import RunError
from kayrx.nodes.ends import Source
from kayrx.plan.plan import Segment
from kayrx.runtime.backend import current
from kayrx.runtime.context import Context
from kayrx.runtime.engine import Network
from kayrx.runtime.hosting import spawn
from kayrx.runtime.program import Program
from kayrx.runtime.sources.opening import Stoppable
from kayrx.runtime.streams.subscriber import QueueSubscriber
from kayrx.runtime.streams.subscription import Link, Terms
from kayrx.runtime.world import World


class Tasked(Link):
    """Signals in a task beside those of the run; the last gate bounds what waits for demand."""

    def __init__(self, terms: Terms, made: Program, subscriber: Any, inbox: QueueSubscriber | None,
                 host: Any) -> None:
        super().__init__(terms, subscriber, inbox)
        self.program, self.backend, self.host = made, current(terms.world), host
        self.park: Any = None
        self.scope: anyio.CancelScope | None = None
        self.network: Network | None = None
        self.error: BaseException | None = None

    def begin(self) -> None:
        try:
            if self.stopped:
                self.end(self.refused)
            elif self.host is None:
                spawn(self.main)
            else:
                self.host.start_soon(self.main)
        except Exception as error:  # the host has ended
            self.end(error)
        if self.over and self.inbox is not None:
            self.inbox.leave()

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
        if self.scope is not None and self.network is not None:
            self.network.run.cancelled = True
            self.scope.cancel()

    async def main(self) -> None:
        """The run, and the reader of its last gate."""
        network = self.network = Network(self.program, self.terms.world) if self.inbox is None else \
            Inlet(self.program, self.terms.world, self.inbox)
        try:
            async with anyio.create_task_group() as group:
                self.scope = group.cancel_scope
                if not self.stopped:
                    group.start_soon(self.execute, network)
                if not await self.deliver(network.run):
                    self.stop()
        except anyio.get_cancelled_exc_class():
            self.end(RunError(f"{self.terms.where}: the host of this run was cancelled"))
            raise
        finally:
            self.scope = self.network = None
            if self.inbox is not None:
                self.inbox.leave()
        self.end(self.refused or network.run.failure or self.error)
        self.escape()

    async def execute(self, network: Network) -> None:
        try:
            await network.execute()
        except BaseException as error:
            if network.run.ours(error):
                raise
            self.error = error
            self.fatal = self.fatal if isinstance(error, Exception) else error
        finally:
            network.run.gates[-1].close()  # also where it failed before its tasks began

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
                    self.error = self.inbox.error
                    return False
                park = self.park = self.backend.park()
            await park


class Upstream:
    """Stands in a plan for the publisher that a processor will be subscribed to."""

    def subscribe(self, subscriber: Any) -> None:
        raise RunError("the plan of a processor runs in a processor only")


class Inlet(Network):
    """The network of a processor: its first source is an inbox."""

    node = Source(Upstream(), name="upstream", written=None)

    def __init__(self, made: Program, world: World, inbox: QueueSubscriber) -> None:
        super().__init__(made, world)
        self.inbox = inbox

    def source_of(self, segment: Segment) -> tuple[Any, Any]:
        if segment.head is None or segment.head.node is not self.node:
            return super().source_of(segment)
        items = Stoppable(self.inbox.read(self.run), self.run, self.node)
        return items, items
