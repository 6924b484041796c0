"""`Hub`: one run of a graph, many clients.

    hub = Hub(graph)                                  # or Hub(make): a graph for each session's input
    async with hub:                                   # hosts the runs; leaving cancels them
        async with hub.subscribe() as events:         # the common session: all clients see one run
            async for event in events:                # see `kayrx.serve.events`
                ...
        session = hub.open("a prompt")                # a session of its own: a run, a log, an id
        async with hub.session(session.id).subscribe(after=7) as events:
            ...

For the author of a protocol: enter a subscription, repeat ``await events.batch()`` until it gives ``[]``, and
write what it gives in one go, under a send timeout of your own.  Give each event ``events.cursor(event)`` as its
id if that is not None, and what a returning client says it has seen to ``subscribe(after=)``.  ``on_cut`` is called
when the client is let go for being too slow: cancel what is being sent.  `Refused.reason` is your status.
`frames` keeps what was encoded, so that a thousand clients cost one encoding.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Self

import anyio

from kayrx.errors import GraphError, RunError
from kayrx.graph.graph import Graph
from kayrx.nodes.values import needs_function, span, whole
from kayrx.runtime.world import THE_WORLD, World
from kayrx.serve.client import Subscription
from kayrx.serve.events import Join, Refused, described, hidden, join_text, weight
from kayrx.serve.log import Keep
from kayrx.serve.outbox import Outbox, Policy
from kayrx.serve.servable import makes, servable
from kayrx.serve.session import Session

REPORTS = 100
SHORTEST = 16    # characters of a session's id


@dataclass(frozen=True, slots=True)
class CancelAfter:
    """``on_disconnect=cancel_after(seconds)``."""

    seconds: float

    def __post_init__(self) -> None:
        span("cancel_after", "seconds", self.seconds)


def cancel_after(seconds: float) -> CancelAfter:
    """``on_disconnect``: a run whose clients have all left is cancelled if none is back within ``seconds``.

    >>> cancel_after(30)
    CancelAfter(seconds=30)
    """
    return CancelAfter(seconds)


class Report(NamedTuple):
    """A client that was let go: its name, its session, and why."""

    client: str
    session: str
    error: BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a hub serves; the arguments of `Hub`."""

    outbox: Outbox = field(default_factory=Outbox)
    keep: Keep = field(default_factory=Keep)
    on_disconnect: Literal["cancel", "continue"] | CancelAfter = field(default_factory=lambda: CancelAfter(30))
    linger: float = 60.0
    max_clients: int = 10_000
    max_sessions: int = 1_000
    join: Join = join_text
    size: Callable[[Any], int] = weight
    describe: Callable[[BaseException], Any] = hidden
    world: World = THE_WORLD

    def __post_init__(self) -> None:
        if self.on_disconnect not in ("cancel", "continue") and not isinstance(self.on_disconnect, CancelAfter):
            raise GraphError(f"Hub(on_disconnect={self.on_disconnect!r}): say 'cancel', cancel_after(seconds) or "
                             "'continue'")
        for name, kind in (("outbox", Outbox), ("keep", Keep)):
            if not isinstance(getattr(self, name), kind):
                raise GraphError(f"Hub({name}={getattr(self, name)!r}): give {kind.__name__}(...)")
        span("Hub", "linger", self.linger)
        whole("Hub", "max_clients", self.max_clients, 1)
        whole("Hub", "max_sessions", self.max_sessions, 1)
        for name in ("join", "size", "describe"):
            needs_function("Hub", name, getattr(self, name))

    def tells(self, error: BaseException) -> Any:
        """What clients are told of a failure, whatever becomes of ``describe``."""
        return described(self.describe, error)


class Hub:
    """One run, many clients, each with an isolated bounded outbox; sessions with a log to resume from.

    graph          a graph with a source and one output; or a function of a session's input that makes one
    outbox         the bounds and the policy of clients that ask for no other: `Outbox`, or the policy's name
    keep           what can be replayed, by count, bytes and age: `Keep`
    on_disconnect  of a run whose last client has left: "cancel", cancel_after(30) (the default), "continue"
    linger         seconds for which a session waits for its first client, and can be read after its end
    max_clients    in all; one more is refused.  ``max_sessions``: those that have not been forgotten
    join           joins two waiting items for `conflate`, or gives NotImplemented (default: text)
    size           the bytes of an item (default: what it holds in memory)
    describe       what clients are told of a failure (default: its type; `told`: its message too)
    world          time, ids and secrets

    Order:   each client sees the log's order, and the run's terminal last.
    Memory:  a session's log (``keep``, or the widest outbox) once for all clients, and the text that
             `conflate` has joined for slow ones, within their outbox.
    Isolation: a client that is slow, leaves or raises changes nothing for another one, unless it asked to block.
    Raises:  GraphError for a graph without a single output or with an open input, or a bad option; RunError
             before ``async with``; Refused for one client or session too many, and an unknown session.
    Source:  hot publishers of Rx (publish, replay); Pekko's BroadcastHub; Reactor's Sinks.many.

    >>> import anyio, kayrx as kx
    >>> async def main():
    ...     async with Hub(kx.source("ab")) as hub, hub.subscribe() as events:
    ...         return [(event.seq, event.type, event.data) async for event in events]
    >>> anyio.run(main)
    [(1, 'data', 'a'), (2, 'data', 'b'), (3, 'end', {'reason': 'complete'})]
    """

    def __init__(self, graph: Graph[Any, Any] | Callable[..., Graph[Any, Any]], **options: Any) -> None:
        if isinstance(options.get("outbox"), str):
            options["outbox"] = Outbox(options["outbox"])
        unknown = options.keys() - set(Options.__dataclass_fields__)
        if unknown:
            raise GraphError(f"Hub({min(unknown)}=): the options are {', '.join(Options.__dataclass_fields__)}")
        self.options = Options(**options)
        if isinstance(graph, Graph):
            servable(graph)
        else:
            makes(graph)
        self.graph = graph
        self.sessions: dict[str, Session] = {}
        self.common: Session | None = None
        self.reports: deque[Report] = deque(maxlen=REPORTS)
        self.let_go = 0
        self.clients = 0
        self.closing = False
        self.on_closing: set[Callable[[], object]] = set()    # called once no new client is taken
        self._group: Any = None

    # -- lifetime --------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._group is not None:
            raise RunError("this hub is open already; make one Hub for each `async with`")
        self.sessions, self.common, self.closing = {}, None, False    # an app may be started again
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        return self

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        self._close()
        with anyio.CancelScope(shield=True):
            for session in self.all():
                await session.cancel()
        self._group.cancel_scope.cancel()
        await self._group.__aexit__(None, None, None)
        self._group = None
        return False

    @property
    def host(self) -> Any:
        """The task group in which the runs are."""
        if self._group is None:
            raise RunError("the hub is not open: write `async with hub`, or mount it on an app whose lifespan runs")
        return self._group

    async def drain(self, deadline: float = 5.0) -> None:
        """Take no new client, stop the runs, and give every client its farewell: ``end`` with reason shutdown.

        What is under way after ``deadline`` seconds is cancelled; then waits a moment for clients to leave.
        """
        self._close()
        async with anyio.create_task_group() as group:
            for session in self.all():
                group.start_soon(session._stop, "shutdown", deadline)
        with anyio.move_on_after(min(deadline, 1.0)):
            while self.clients:
                await anyio.sleep(0.01)

    def _close(self) -> None:
        self.closing = True
        for told in list(self.on_closing):
            told()

    def all(self) -> list[Session]:
        """Every session that has not been forgotten, the common one too."""
        return [*self.sessions.values(), *([self.common] if self.common is not None else [])]

    # -- sessions --------------------------------------------------------------------------------

    def open(self, *inputs: Any, owner: object = None) -> Session:
        """A session of its own: a run with a log and an id that nobody can guess.

        ``inputs`` go to the function that makes the graph.  With an ``owner`` only they are let in.
        Raises: Refused if there are too many sessions; what the function raises.
        """
        _ = self.host
        if self.closing:
            raise Refused("closing", "the server is closing")
        if len(self.sessions) >= self.options.max_sessions:
            raise Refused("full", f"there are {self.options.max_sessions} sessions already")
        graph = self._made(*inputs)
        id = self.options.world.secret()
        if len(id) < SHORTEST or id in self.sessions:
            raise RunError(f"world.secret gave {len(id)} characters or an id twice; it must give {SHORTEST} and more "
                           "that nobody can guess")
        session = self.sessions[id] = Session(self, id, graph, self.options, owner)
        session.inputs = inputs
        self.host.start_soon(self._expire, session)
        return session

    def session(self, id: str, *, owner: object = None) -> Session:
        """The session with this id.  Raises Refused, the same for an unknown one and somebody else's."""
        session = self.sessions.get(id)
        if session is None or session.owner != owner:
            raise Refused("no session", "there is no such session")
        return session

    def subscribe(self, after: int | str | None = 0, outbox: Outbox | Policy | None = None, *,
                  heartbeat: float | None = None, on_cut: Callable[[], object] | None = None,
                  name: str = "") -> Subscription:
        """A client of the common session, to use with ``async with ... as events``; the first one starts the run.

        after      what the client has seen: a seq, or the cursor of an event; 0: nothing, so it gets what the log
                   holds; None: it wants what comes from now on.  A cursor that is not in the log any more, or of
                   another run, gets one ``resync`` and then what the log holds
        outbox     bounds and policy of this client
        heartbeat  after so many seconds without an event it gets a heartbeat (None: never)
        on_cut     called when it is let go for being too slow, as sending may be what it waits in
        name       of the client, for reports

        Raises: Refused, in ``async with``, if there are too many clients or the server is closing.
        """
        return self.shared().subscribe(after, outbox, heartbeat=heartbeat, on_cut=on_cut, name=name)

    def shared(self) -> Session:
        """The common session; a new one if the last was cancelled because everybody had left."""
        if self.common is None or self.common.state == "cancelled":
            _ = self.host
            self.common = Session(self, "", self._made(), self.options, None)
        return self.common

    def _made(self, *inputs: Any) -> Graph[Any, Any]:
        if isinstance(self.graph, Graph):
            return self.graph
        graph = self.graph(*inputs)
        servable(graph)
        return graph

    async def _expire(self, session: Session) -> None:
        """A session that nobody reads for ``linger`` seconds is given up before it begins."""
        await anyio.sleep(self.options.linger)
        if session.state == "waiting":
            await session.cancel()

    def _over(self, session: Session) -> None:
        """A session has ended: it is forgotten ``linger`` seconds later."""
        if session.id in self.sessions and not self.closing:
            self.host.start_soon(self._forget, session)

    async def _forget(self, session: Session) -> None:
        await anyio.sleep(self.options.linger)
        self.sessions.pop(session.id, None)

    # -- clients ---------------------------------------------------------------------------------

    def _enter(self, client: Subscription) -> None:
        _ = self.host
        if self.closing:
            raise Refused("closing", "the server is closing")
        if self.clients >= self.options.max_clients:
            raise Refused("full", f"there are {self.options.max_clients} clients already")
        self.clients += 1

    def _leave(self, client: Subscription) -> None:
        self.clients -= 1

    def report(self, client: Subscription, error: BaseException) -> None:
        """Note that a client was let go; the last 100 are in ``reports``."""
        self.let_go += 1
        self.reports.append(Report(client.name, client.session.id, error))


__all__ = ["CancelAfter", "Hub", "Options", "Report", "cancel_after"]
