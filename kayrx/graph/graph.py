"""`Graph[In, Out]`: a series of nodes as an immutable value, and the one composition operator ``>>``.

Writing a graph opens nothing and starts nothing.  The methods that do (`run`, `start`, `stream`,
`operator` ...) hand the graph to the engine behind `kayrx.door`.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Never, NoReturn, Self, TypeAlias, TypeVar, overload

from kayrx.door import floor
from kayrx.errors import GraphError
from kayrx.graph import join as joins
from kayrx.graph.node import Node, Opens, must_be_name

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
R = TypeVar("R", covariant=True)
T = TypeVar("T")
Unit = TypeVar("Unit")

if TYPE_CHECKING:
    from reactivex import Observable

    from kayrx.nodes.feed import Publisher as Feed, Pushing
    from kayrx.nodes.letters import Letter, LetterStore, Replayed
    from kayrx.plan.plan import Plan
    from kayrx.runtime.run import Run
    from kayrx.runtime.rx.subject import Subscription
    from kayrx.runtime.streams.publisher import Processor, Publisher

    Given: TypeAlias = Iterable[T] | AsyncIterable[T] | Observable[T] | Pushing[T] | Feed[T]


def first_call(graph: Graph[Any, Any], *items: Any) -> list[Any]:
    """Compile ``graph(item)``, put it in its slot, and call it."""
    if len(items) != 1:
        raise GraphError(f"graph(item) takes one item through an open graph, got {len(items)}; to run it: graph.run()")
    call = floor("engine").caller(graph)
    object.__setattr__(graph, "__call__", call)
    return call(*items)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Graph(Generic[In, Out]):
    """A series of nodes that takes ``In`` and gives ``Out``; ``Never`` where an end is closed.

    Equal graphs have equal nodes; functions compare by identity, and the line a node was written
    on does not count.  A graph has no truth value and is no iterable.

    >>> import kayrx as kx
    >>> kx.take(2)
    Graph(nodes=(Take(count=2),))
    """

    nodes: tuple[Node, ...]
    _faces: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    __array_ufunc__ = None  # numpy must not take `array >> graph` for its own

    # -- composing -------------------------------------------------------------------------------

    @overload
    def __rshift__(self, other: Sink[Out, T]) -> Sink[In, T]: ...
    @overload
    def __rshift__(self, other: Graph[Out, T]) -> Graph[In, T]: ...
    @overload
    def __rshift__(self, other: Callable[[Out], Awaitable[T]]) -> Graph[In, T]: ...
    @overload
    def __rshift__(self, other: Callable[[Out], T]) -> Graph[In, T]: ...
    @overload
    def __rshift__(self, other: Sequence[Graph[Out, Any]]) -> Graph[In, Any]: ...
    def __rshift__(self, other: Any) -> Any:
        right = other if isinstance(other, Graph) else floor("sugar").right(other)
        return graph_of(joins.join(self.nodes, right.nodes))

    def __rrshift__(self, other: Given[In]) -> Graph[Never, Out]:
        if isinstance(other, list) and other and all(isinstance(g, Graph) for g in other):
            return graph_of(joins.feed(other, self.nodes) or joins.join(floor("sugar").right(other).nodes, self.nodes))
        return graph_of(joins.join(floor("sugar").left(other).nodes, self.nodes))

    @overload  # of `take(2).named("few")` mypy makes this: a call on a generic has no context to infer from
    def named(self: Graph[Never, Never], name: str) -> Graph[Any, Any]: ...
    @overload
    def named(self, name: str) -> Self: ...
    def named(self, name: str) -> Any:
        """The same graph under a name; behaviour never changes.

        One node takes the name; in a longer series every node gets it as a prefix, so names nest:
        ``parse.split``.  Raises GraphError for an empty name.
        """
        must_be_name("named", name)
        if len(self.nodes) == 1:
            return type(self)((self.nodes[0].labelled(name),))
        return type(self)(joins.prefixed(self.nodes, name))

    def __bool__(self) -> NoReturn:
        raise GraphError("a graph has no truth value; test what it gives: graph.collect()")

    # -- running ---------------------------------------------------------------------------------

    if TYPE_CHECKING:
        def __call__(self, item: In) -> list[Out]:
            """One item through an open graph that never waits: what comes out, as a list.

            Equal to ``(source([item]) >> graph).collect()``: fresh state, completion included.
            Raises GraphError if an end is closed or a node waits; the message has the ``await`` spelling.
            """
    else:  # the compiled function itself, in a slot: a method around it would cost a fifth of a call
        __call__: Callable[[Any], list[Any]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "__call__", partial(first_call, self))

    def run(self, **options: Any) -> Any:
        """Run to the end and give the sink's result; None without a sink, a tuple for several.

        In place where no node waits; otherwise on a private event loop, also beside a running one.
        Options: those of `kayrx.Options`, backend, world; ``resume=True`` goes on from the graph's `checkpoint`.
        Raises: what the user's functions raise, with a note; CompileError; RunError.
        """
        if not options:
            try:
                return self._faces["run"]()
            except KeyError as missing:
                if missing.args != ("run",):
                    raise
            self._faces["run"] = floor("engine").runner(self)
        return floor("engine").run(self, **options)

    def collect(self, **options: Any) -> list[Out]:
        """The list of what comes out: ``(graph >> to_list()).run()``.  Memory: all of it."""
        return floor("engine").collect(self, **options)  # type: ignore[no-any-return]

    def __await__(self) -> Generator[Any, Any, Any]:
        """Run on the current asyncio or trio loop; each ``await`` is a fresh run."""
        return floor("engine").awaited(self).__await__()  # type: ignore[no-any-return]

    def start(self, **options: Any) -> Run:
        """A handle to use with ``async with``: stop, cancel, pause, metrics, events.

        Nothing happens before ``async with``; leaving it waits for the end and raises its error.  ``host=``: see `Run`.
        """
        return floor("engine").start(self, **options)  # type: ignore[no-any-return]

    def stream(self, **options: Any) -> AbstractAsyncContextManager[AsyncIterator[Out]]:
        """``async with graph.stream() as items: async for item in items``; leaving cancels and waits."""
        return floor("engine").stream(self, **options)  # type: ignore[no-any-return]

    def __aiter__(self) -> AsyncIterator[Out]:
        """``async for item in graph``, for plans of one task; others say to use `stream`."""
        return floor("engine").iterate(self)  # type: ignore[no-any-return]

    __iter__ = None  # list(graph) would hide a run; collect() names it

    def replay(self, store: LetterStore | Opens, *, where: Callable[[Letter], object] | None = None,
               graph: str | None = None, **options: Any) -> Replayed:
        """Send the open letters of this graph in again, each at the node that failed, and mark those done that
        get through; one that fails again stays, with raised attempts.

        Runs:   all below the node, with fresh state, once for each node that has letters; nothing above it.  What
                failed inside a group goes through the rest of its body as a group of its own; inside a guarded unit
                or a graph of a `fallback`, through the rest of that without the guards around.
        Again:  a letter is marked once its item was delivered, so one that was done is not sent in again; after
                a kill in between it is: at least once, and ``letter.id`` tells.
        In:     ``where(letter)`` chooses; ``graph`` is the name to look for, if not this graph's own (a letter's
                ``graph``: the one given with ``.named()``, else its file and nodes).  Options: as in `run`.
        Raises: GraphError for a graph without `dead_letter`, or a node into which nothing can be sent; what a node
                without guards raises.
        Source: message replay from dead-letter queues, as in brokers; at the failed node in none that we know.

        >>> import kayrx as kx
        >>> letters, known = kx.memory_letters(9), {"a": 1}
        >>> graph = kx.source("ab") >> kx.map(lambda x: known[x]) >> kx.dead_letter(letters) >> kx.to_list()
        >>> graph.run()
        [1]
        >>> known["b"] = 2
        >>> graph.replay(letters)
        Replayed(done=1, again=0, left=0, others=0, results=([2],))
        """
        return floor("replay").replay(self, store, where, graph, **options)  # type: ignore[no-any-return]

    async def replayed(self, store: LetterStore | Opens, *, where: Callable[[Letter], object] | None = None,
                       graph: str | None = None, **options: Any) -> Replayed:
        """`replay` on the current asyncio or trio loop: ``await graph.replayed(store)``."""
        return await floor("replay").replayed(self, store, where, graph, **options)  # type: ignore[no-any-return]

    # -- other faces -----------------------------------------------------------------------------

    def to_observable(self, **options: Any) -> Observable[Out]:
        """The graph as a cold `reactivex.Observable`: each subscription is a run, disposal cancels it."""
        return floor("rx").to_observable(self, **options)  # type: ignore[no-any-return]

    def subscribe(self, on_next: Callable[[Out], Any] | None = None,
                  on_error: Callable[[Exception], Any] | None = None,
                  on_completed: Callable[[], Any] | None = None) -> Subscription:
        """Run by callbacks, as in Rx; ``dispose()`` on what it gives cancels.

        A graph over a push source in which nothing waits becomes one fused step that the source calls itself; any
        other goes by `to_observable`.  Without ``on_error`` an error is raised to whoever pushed.
        """
        return floor("callbacks").subscribe(self, on_next, on_error, on_completed)  # type: ignore[no-any-return]

    def operator(self, **options: Any) -> Callable[[Observable[Any]], Observable[Out]]:
        """An open graph as an Rx operator, for ``observable.pipe(graph.operator())``."""
        return floor("rx").operator(self, **options)  # type: ignore[no-any-return]

    def publisher(self, **options: Any) -> Publisher[Out]:
        """A Reactive Streams 1.0.4 publisher: ``subscribe(subscriber)``, then demand by ``request(n)``."""
        return floor("publisher").publisher(self, **options)  # type: ignore[no-any-return]

    def processor(self, **options: Any) -> Processor[Any, Out]:
        """An open graph as a Reactive Streams processor: a subscriber on one end, a publisher on the other."""
        return floor("publisher").processor(self, **options)  # type: ignore[no-any-return]

    # -- seeing ----------------------------------------------------------------------------------

    def compile(self, **options: Any) -> Plan:
        """The plan: segments, gates, bounds and reasons, as a value.  Equal graphs give equal plans."""
        return floor("plan").compile(self, **options)  # type: ignore[no-any-return]

    def explain(self, **options: Any) -> str:
        """The plan in words: fused runs, cuts and why, bounds, loss, repetition, threads."""
        return floor("plan").explain(self, **options)  # type: ignore[no-any-return]

    def check(self, *, trial: Iterable[Any] | None = None, **options: Any) -> list[str]:
        """Warnings, one a line: what holds without bound, loses, repeats or blocks, with the node's line.

        What blocks the event loop is known by name (``time.sleep``, ``requests``, files, sockets ...).  With
        ``trial=items`` the graph, sinks included, is run over them in place of its sources, and each function
        that held the loop for more than 5 ms by the clock of ``world=`` is named too.
        """
        return floor("warn").warnings(self, trial=trial, **options)  # type: ignore[no-any-return]

    def draw(self, form: str = "text") -> str:
        """The graph drawn as ``text``, ``mermaid`` or ``svg``."""
        return floor("draw").draw(self, form)  # type: ignore[no-any-return]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": self.draw("text"), "text/vnd.mermaid": self.draw("mermaid"),
                "image/svg+xml": self.draw("svg")}

    def __reduce__(self) -> tuple[Any, ...]:
        for node in self.nodes:
            if node.local:
                raise GraphError(f"{node.where} holds a live object and cannot leave this process; "
                                 "give it as a factory or as resource(factory)")
        return type(self), (self.nodes,)


if TYPE_CHECKING:
    class Guards(Graph[Unit, Unit], Generic[Unit]):
        """Guards alone: to the right of a sink as of any other unit."""

        @overload  # type: ignore[override]
        def __rshift__(self, other: Guards[Unit]) -> Guards[Unit]: ...
        @overload
        def __rshift__(self, other: Sink[Unit, T]) -> Sink[Unit, T]: ...
        @overload
        def __rshift__(self, other: Graph[Unit, T]) -> Graph[Unit, T]: ...
        @overload
        def __rshift__(self, other: Callable[[Unit], T]) -> Graph[Unit, T]: ...
        def __rshift__(self, other: Any) -> Any: ...

    class Nothing:
        """What comes out of a sink: no item, and no graph takes it."""
else:
    Guards, Nothing = Graph, Never


class Sink(Graph[In, Nothing], Generic[In, R]):
    """A graph that ends in a sink: nothing comes out, and `run` gives ``R``."""

    __slots__ = ()

    if TYPE_CHECKING:
        def run(self, **options: Any) -> R: ...
        def __await__(self) -> Generator[Any, Any, R]: ...
        def __rshift__(self, other: Guards[Any]) -> Sink[In, R]: ...  # type: ignore[override]
        def __rrshift__(self, other: Given[In]) -> Sink[Never, R]: ...
        @overload
        def named(self: Sink[Never, list[Never]], name: str) -> Sink[Any, list[Any]]: ...
        @overload
        def named(self, name: str) -> Self: ...
        def named(self, name: str) -> Any: ...
        __aiter__ = None  # type: ignore[assignment]


def graph_of(nodes: tuple[Node, ...]) -> Graph[Any, Any]:
    """The graph of a series: a `Sink` if its end is closed."""
    return (Sink if joins.end_of(nodes) == "closed" else Graph)(nodes)


def one(node: Node) -> Any:
    """The graph of one node: what every factory returns."""
    return graph_of((node,))
