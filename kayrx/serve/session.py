"""A session: one run of a graph, its log, and the clients that read it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import anyio

from kayrx.graph.graph import Graph
from kayrx.nodes.values import span
from kayrx.runtime.backend import current
from kayrx.serve.client import Subscription
from kayrx.serve.events import Event, traced
from kayrx.serve.intake import Intake
from kayrx.serve.log import Log
from kayrx.serve.outbox import Outbox, Policy
from kayrx.serve.turns import Turns

if TYPE_CHECKING:
    from kayrx.runtime.run import Metrics, Run
    from kayrx.serve.hub import Hub, Options

State = Literal["waiting", "running", "stopping", "complete", "stopped", "cancelled", "shutdown", "failed"]
log = logging.getLogger(__name__)


class Session:
    """One run and its clients; made by a `Hub`.  ``id`` cannot be guessed.

    The run begins with the first client (or by `begin`), and goes on without any as the hub's
    ``on_disconnect`` says.
    """

    def __init__(self, hub: Hub, id: str, graph: Graph[Any, Any], options: Options, owner: object) -> None:
        self.hub, self.id, self.owner, self.options = hub, id, owner, options
        self.graph = graph
        self.backend = current(options.world)
        self.log = Log(options.keep, self.backend.now)
        # Names this run, so that a cursor of another one is none here.  It is told to all, so it is not the id's.
        self.tag = "".join(c for c in options.world.secret() if c.isascii() and c.isalnum())[:8]
        self.inputs: tuple[Any, ...] = ()    # what it was started with
        self.clients: list[Subscription] = []
        self.run: Run | None = None
        self.state: State = "waiting"
        self.ended = anyio.Event()
        self._asked: Literal["", "stopped", "cancelled", "shutdown"] = ""
        self._detached = False
        self.turns = Turns(self)
        self.intake = Intake(self)
        self._leaving: anyio.CancelScope | None = None

    @property
    def name(self) -> str:
        """The run in words, for logs: nothing in it is secret."""
        return f"run {self.tag} of {self.graph.nodes[0].where}"

    # -- the run ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the run now; the first client does it otherwise.  Idempotent."""
        if self.state == "waiting":
            self.state = "running"
            self.hub.host.start_soon(self._work)

    async def _work(self) -> None:
        """The run, from its first item to its terminal."""
        try:
            if not self._asked:
                async with self.intake.sunk().start(world=self.options.world) as run:
                    self.run = run
                    if self._asked:
                        self.hub.host.start_soon(run.cancel)
            self._end()
        except Exception as error:
            log.error("%s has failed: %s", self.name, error, exc_info=traced(error))
            self.state = "failed"
            self.intake.append(Event(self.log.last + 1, "error", self.options.tells(error)))
        finally:
            if not self.ended.is_set():
                if self.state in ("running", "stopping"):
                    self._asked = self._asked or "cancelled"
                    self._end()
                self.ended.set()
                self.turns.close()
                self.hub._over(self)

    def _end(self) -> None:
        self.state = self._asked or "complete"
        self.intake.append(Event(self.log.last + 1, "end", {"reason": self.state}))

    # -- steering --------------------------------------------------------------------------------

    async def stop(self, deadline: float | None = 5.0) -> None:
        """End the run now and keep what it has given: items under way still come, then ``end`` says stopped.

        After ``deadline`` seconds what is still under way is cancelled.  Idempotent; does nothing after the end.
        """
        await self._stop("stopped", deadline)

    async def _stop(self, reason: Literal["stopped", "shutdown"], deadline: float | None) -> None:
        if self.ended.is_set():
            return
        self._asked = self._asked or reason
        if self.state == "waiting":
            self.begin()
        elif self.run is not None:
            self.state = "stopping"
            await self.run.stop(deadline)
        await self.ended.wait()

    async def cancel(self) -> None:
        """Cancel the run: nothing more of it comes but ``end``, which says cancelled.  Idempotent."""
        self._cancel()
        await self.ended.wait()

    def _cancel(self) -> None:
        if self.ended.is_set():
            return
        self._asked = self._asked or "cancelled"
        if self.state == "waiting":
            self.begin()
        elif self.run is not None:
            self.hub.host.start_soon(self.run.cancel)

    def give_up(self) -> None:
        """Cancel a run that was never begun: who has opened the session was refused, and nobody knows of it."""
        if self.state == "waiting" and not self.clients:
            self._cancel()

    def detach(self) -> None:
        """Let the run go on whatever its clients do; they can come back and resume, and anybody of them stop it."""
        self._detached = True

    def resume(self) -> None:
        """Take `detach` back: from now on the run ends after its clients as ``on_disconnect`` says.

        If none is here, the one who takes it back has as long as that or, with "cancel", ``linger`` to come.
        """
        held, self._detached, policy = self._detached, False, self.options.on_disconnect
        if held and not self.clients and self.run is not None and policy != "continue":
            self._cancel_within(self.options.linger if policy == "cancel" else policy.seconds)

    def metrics(self) -> Metrics | None:
        """The run's counts at this moment; None before it begins."""
        return self.run.metrics() if self.run is not None else None

    # -- clients ---------------------------------------------------------------------------------

    def subscribe(self, after: int | str | None = 0, outbox: Outbox | Policy | None = None, *,
                  heartbeat: float | None = None, on_cut: Callable[[], object] | None = None,
                  name: str = "") -> Subscription:
        """A client, to use with ``async with ... as events``; see `Hub.subscribe`."""
        if heartbeat is not None:
            span("subscribe", "heartbeat", heartbeat, zero=False)
        return Subscription(self, after, self.bounds(outbox), heartbeat, on_cut, name)

    def bounds(self, outbox: Outbox | Policy | None) -> Outbox:
        """What is asked for as an outbox: the hub's own for None."""
        return Outbox(outbox) if isinstance(outbox, str) else outbox or self.options.outbox

    def cursor(self, event: Event) -> str:
        """What names an event to whom it was sent: ``subscribe(after=cursor)`` goes on behind it."""
        return f"{self.tag}-{event.seq}"

    def finished(self, after: int | str | None) -> bool:
        """True if the run has ended and a client with this cursor has seen all of it."""
        return self.ended.is_set() and after is not None and self._place(after) == (self.log.last, None)

    def _place(self, after: int | str | None) -> tuple[int, Event | None]:
        """Where a client with this cursor begins, and the event that tells it of a gap."""
        mine = self.log
        if after is None:
            return mine.last - (mine.last and mine.entries[-1].event.terminal), None
        seq = after if isinstance(after, int) else self._seq(after)
        oldest = mine.oldest()
        if seq is not None and oldest - 1 <= seq <= mine.last:
            return seq, None
        stale = Event(0, "resync", {"after": after if isinstance(after, int) else after[:64], "next": oldest})
        return oldest - 1, stale

    def _seq(self, cursor: str) -> int | None:
        tag, _, number = cursor.rpartition("-")
        if cursor.isascii() and number.isdigit() and len(number) < 16 and tag in (self.tag, ""):
            return int(number)
        return None

    def _came(self, client: Subscription) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        self.clients.append(client)
        self.log.widen(client.bounds.items + 1, client.bounds.bytes)
        self.intake.came(client)
        self.begin()
        self.turns.watch(client)

    def _left(self, client: Subscription) -> None:
        self.clients.remove(client)
        self.intake.left(client)
        policy = self.options.on_disconnect
        if self.clients or self._detached or self.ended.is_set() or policy == "continue":
            return
        if policy == "cancel":
            self._cancel()
        else:
            self._cancel_within(policy.seconds)

    def _cancel_within(self, seconds: float) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
        self._leaving = anyio.CancelScope()    # here: who comes before the task begins must find it
        self.hub.host.start_soon(self._cancel_after, seconds, self._leaving)

    async def _cancel_after(self, seconds: float, scope: anyio.CancelScope) -> None:
        with scope:
            await anyio.sleep(seconds)
            if not self.clients and not self._detached:
                self._cancel()


__all__ = ["Session", "State"]
