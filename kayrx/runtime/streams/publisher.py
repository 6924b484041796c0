"""The Reactive Streams 1.0.4 faces: a graph as a publisher, an open graph as a processor.

Both are unicast (1.11): each subscription of a publisher is a fresh run of its graph, and a processor
serves one run.  Numbers are those of the rules in the specification.
"""

from __future__ import annotations

import threading
from typing import Any, Generic, Literal, TypeVar

from kayrx.errors import GraphError, RunError
from kayrx.graph.graph import Graph, graph_of
from kayrx.graph.join import join
from kayrx.nodes.feed import Subscriber, Subscription
from kayrx.nodes.values import whole
from kayrx.plan.cut import DEFAULT, HOT
from kayrx.plan.plan import Options
from kayrx.plan.traits import parks
from kayrx.runtime.backend import loop_running
from kayrx.runtime.faces import must_have_output, taken_apart
from kayrx.runtime.program import must_be_fed, must_be_open, program
from kayrx.runtime.streams.direct import Direct
from kayrx.runtime.streams.subscriber import Hot, QueueSubscriber
from kayrx.runtime.streams.subscription import Link, Refusal, Report, Terms
from kayrx.runtime.streams.tasked import Inlet, Tasked
from kayrx.runtime.world import THE_WORLD

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
Nulls = Literal["reject", "allow"]
SIGNALS = ("on_subscribe", "on_next", "on_error", "on_complete")


def publisher(graph: Graph[Any, Any], *, none: Nulls = "reject", host: Any = None,
              on_report: Report | None = None, **options: Any) -> Publisher[Any]:
    """A graph with a source and one output, as a publisher; nothing is opened before ``subscribe``.

    none       "reject": the first None ends the run with on_error(TypeError), naming rule 2.13;
               "allow": it is signalled like any item (ruling 27)
    host       the task group or nursery for runs that wait; on asyncio the loop itself will do
    on_report  called with each exception that a subscriber raises; they are also in ``reports``
    options    of compiling (chunk, fuse, inline, events), and ``world``

    Raises: GraphError for an open graph, a sink, several outputs or an unknown option; CompileError.

    >>> import kayrx as kx
    >>> class Printer:
    ...     def on_subscribe(self, subscription): subscription.request(2)
    ...     def on_next(self, item): print(item)
    ...     def on_error(self, error): print(repr(error))
    ...     def on_complete(self): print("done")
    >>> kx.source("ab").publisher().subscribe(Printer())
    a
    b
    done
    """
    chosen, rest = taken_apart(options)
    must_have_output(graph, "publish")
    must_be_fed(program(graph, chosen).plan, graph, "publish")
    return Publisher(terms(graph, graph, chosen, rest, none, on_report), host)


def processor(graph: Graph[Any, Any], *, size: int = DEFAULT, none: Nulls = "reject", host: Any = None,
              on_report: Report | None = None, **options: Any) -> Processor[Any, Any]:
    """A graph open at both ends, as a processor: subscribe it to a publisher, and a subscriber to it.

    size       how many items it asks upstream for ahead of downstream demand, and holds at most;
               the other options are those of `publisher`
    Order:     completion follows the items inside; an error is passed on as soon as no requested item
               is before it (4.2), and what nobody has requested is dropped
    Cancel:    downstream's cancels upstream, before it returns

    Raises: GraphError for a graph closed at an end, a bad size or an unknown option; CompileError.

    >>> import kayrx as kx
    >>> double = kx.map(kx.it * 2).processor()
    >>> kx.source([1, 2]).publisher().subscribe(double)
    >>> class Printer:
    ...     def on_subscribe(self, subscription): subscription.request(2)
    ...     def on_next(self, item): print(item)
    ...     def on_error(self, error): print(repr(error))
    ...     def on_complete(self): print("done")
    >>> double.subscribe(Printer())
    2
    4
    done
    """
    chosen, rest = taken_apart(options)
    whole("processor", "size", size, 1)
    must_be_open(program(graph, chosen).plan, graph, "processor()")
    must_have_output(graph, "process")
    fed = graph._faces.get("inlet")
    if fed is None:
        fed = graph._faces["inlet"] = graph_of(join((Inlet.node,), graph.nodes))
    return Processor(terms(graph, fed, chosen, rest, none, on_report), host, size)


def terms(graph: Graph[Any, Any], fed: Graph[Any, Any], options: Options, rest: dict[str, Any], none: str,
          on_report: Report | None) -> Terms:
    """The programs of ``graph``: without tasks if it is one plain function, with tasks if it may wait."""
    if none not in ("reject", "allow"):
        raise GraphError(f"none={none!r}: reject or allow")
    made = program(graph, options)
    hot = made.plan.segments[0].fed == "push"
    backs_off = any(parks(step) for step in made.plan.steps())
    tasked = None if made.plan.linear and (hot or not backs_off) else program(fed, options, streamed=True)
    last = next((node for node in reversed(graph.nodes) if node.role != "guard"), graph.nodes[-1])
    return Terms(made if made.plan.linear else None, tasked, rest.get("world") or THE_WORLD, last.where,
                 none == "allow", on_report)


class Publisher(Generic[Out]):
    """What ``graph.publisher()`` gives; may be subscribed to any number of times (1.10)."""

    def __init__(self, terms: Terms, host: Any) -> None:
        self._terms, self._host = terms, host

    @property
    def none(self) -> Nulls:
        """What becomes of None."""
        return "allow" if self._terms.takes_none else "reject"

    @property
    def reports(self) -> list[BaseException]:
        """The last 100 exceptions that subscribers have raised (2.13)."""
        return self._terms.reports

    def subscribe(self, subscriber: Subscriber[Any], *, host: Any = None) -> None:
        """Start a run for ``subscriber``: on_subscribe comes first, then items as it requests them.

        Where no node waits they are signalled inside ``request``, in the thread that calls it; else
        by a task of ``host``, on asyncio also of the loop that runs.
        Raises TypeError for what is no subscriber (1.9); every other failure comes by on_error.
        """
        if not all(callable(getattr(subscriber, name, None)) for name in SIGNALS):
            raise TypeError(f"subscribe({subscriber!r}): rule 1.9 wants a subscriber: {', '.join(SIGNALS)}")
        self._link(subscriber, host or self._host).open()

    def _link(self, subscriber: Any, host: Any, inbox: QueueSubscriber | None = None) -> Link:
        terms, loop = self._terms, loop_running()
        if terms.direct is not None and (terms.tasked is None or loop is None):
            first = terms.direct.plan.segments[0]
            if first.fed == "push" and first.head is not None:
                inbox = Hot(first.head.node.what, HOT)  # type: ignore[attr-defined]
            return Direct(terms, terms.direct, subscriber, inbox)
        if terms.tasked is None or loop is None or (host is None and loop != "asyncio"):
            remedy = "subscribe inside asyncio or trio" if loop is None else \
                "on trio say publisher(host=nursery), or subscribe(subscriber, host=nursery)"
            return Refusal(terms, subscriber, inbox, RunError(
                f"{terms.where}: a node of this graph waits or joins, so its run needs tasks; {remedy}"))
        return Tasked(terms, terms.tasked, subscriber, inbox, host)


class Processor(Publisher[Out], Generic[In, Out]):
    """What ``graph.processor()`` gives: a subscriber on one side, a publisher on the other, for one run.

    A second upstream is cancelled (2.5); a second subscriber gets on_error (1.11).
    """

    def __init__(self, terms: Terms, host: Any, size: int) -> None:
        super().__init__(terms, host)
        self._inbox = QueueSubscriber(None, size, none=self.none)
        self._served = threading.Lock()  # taken for good by the first subscriber

    def _link(self, subscriber: Any, host: Any, inbox: QueueSubscriber | None = None) -> Link:
        if self._served.acquire(blocking=False):
            return super()._link(subscriber, host, self._inbox)
        return Refusal(self._terms, subscriber, None, RunError(
            f"{self._terms.where}: a processor serves one subscriber (rule 1.11); make one for each"))

    def on_subscribe(self, subscription: Subscription) -> None:
        """Take this upstream, and ask it for ``size`` items; raises TypeError for None (2.13)."""
        self._inbox.on_subscribe(subscription)

    def on_next(self, item: Any) -> None:
        """Take one item; raises TypeError for None, which goes downstream by on_error as well."""
        self._inbox.on_next(item)

    def on_error(self, error: BaseException) -> None:
        """Upstream has failed; raises TypeError for None."""
        self._inbox.on_error(error)

    def on_complete(self) -> None:
        """Upstream has ended; what is inside still comes out."""
        self._inbox.on_complete()


__all__ = ["Processor", "Publisher", "processor", "publisher"]
