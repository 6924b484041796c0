"""Combination: nodes with several branches on one side.

Fan-out (`broadcast`, `partition`, `branch`) feeds branches, each through its own lane; fan-in
(`merge`, `concat`, `zip`, `combine_latest`) joins them.  A lane is a gate of ``size`` items, so no
partner can make a join hold more than that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Never, TypeVar, overload

from kayrx.errors import GraphError
from kayrx.graph.expr import frozen
from kayrx.graph.graph import Graph, Sink, one
from kayrx.graph.join import is_fed
from kayrx.graph.node import Node
from kayrx.nodes.values import needs_function, whole

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")
LANE = 16


@dataclass(frozen=True, slots=True)
class FanIn(Node):
    """Joins branches: those written before it, or the graphs in ``inputs``."""

    role = "fan_in"
    inputs: tuple[Graph[Never, Any], ...] = ()
    size: int = LANE

    def __post_init__(self) -> None:
        whole(self.word, "size", self.size, 1)
        for graph in self.inputs:
            if not isinstance(graph, Graph):
                raise GraphError(f"{self.word}(...): takes graphs, got {type(graph).__name__}; "
                                 "write kx.source(x)")
            if not is_fed(graph.nodes) or isinstance(graph, Sink):
                remedy = "" if self.beside else f"; for open branches write a >> [b, c] >> {self.word}()"
                raise GraphError(f"{self.word}(...): {graph.nodes[0].where} must bring its own items and "
                                 f"have an output{remedy}")
        if self.inputs:
            self.check_ports(len(self.inputs))

    @property
    def branches(self) -> tuple[Any, ...]:
        return self.inputs

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        return ()


class Merge(FanIn):
    word: ClassVar[str] = "merge"
    __slots__ = ()


class Concat(FanIn):
    word: ClassVar[str] = "concat"
    __slots__ = ()


class Zip(FanIn):
    word: ClassVar[str] = "zip"
    __slots__ = ()


class CombineLatest(FanIn):
    word: ClassVar[str] = "combine_latest"
    __slots__ = ()


def open_branches(word: str, graphs: tuple[Any, ...]) -> None:
    """Raise GraphError unless every branch is a graph that waits for items."""
    if not graphs:
        raise GraphError(f"{word}(): give at least one branch")
    for graph in graphs:
        if not isinstance(graph, Graph):
            raise GraphError(f"{word}(...): a branch is a graph, got {type(graph).__name__}; "
                             "wrap a function: kx.map(f)")
        if is_fed(graph.nodes):
            raise GraphError(f"{word}(...): the branch {graph.nodes[0].where} brings its own items")


@dataclass(frozen=True, slots=True)
class Broadcast(Node):
    role = "fan_out"
    word: ClassVar[str] = "broadcast"
    graphs: tuple[Graph[Any, Any], ...]
    size: int = LANE
    on_error: Literal["fail", "detach"] = "fail"

    def __post_init__(self) -> None:
        open_branches(self.word, self.graphs)
        whole("broadcast", "size", self.size, 1)
        if self.on_error not in ("fail", "detach"):
            raise GraphError(f"broadcast(on_error={self.on_error!r}): fail or detach")

    @property
    def branches(self) -> tuple[Any, ...]:
        return self.graphs


@dataclass(frozen=True, slots=True)
class Partition(Node):
    role = "fan_out"
    word: ClassVar[str] = "partition"
    fn: Callable[[Any], Any]
    graphs: tuple[Graph[Any, Any], ...]
    size: int = LANE

    def __post_init__(self) -> None:
        needs_function("partition", "predicate", self.fn)
        open_branches(self.word, self.graphs)
        whole("partition", "size", self.size, 1)

    @property
    def branches(self) -> tuple[Any, ...]:
        return self.graphs


@dataclass(frozen=True, slots=True)
class Branch(Node):
    role = "fan_out"
    word: ClassVar[str] = "branch"
    keys: tuple[Any, ...]
    graphs: tuple[Graph[Any, Any], ...]
    key: Callable[[Any], Any] | None = None
    size: int = LANE

    def __post_init__(self) -> None:
        open_branches(self.word, self.graphs)
        whole("branch", "size", self.size, 1)
        if self.key is not None:
            needs_function("branch", "key", self.key)

    @property
    def branches(self) -> tuple[Any, ...]:
        return self.graphs


def merge(*graphs: Graph[Never, T], size: int = LANE) -> Graph[Any, T]:
    """The items of all branches as they come; it ends when all have ended, fails when one fails.

    In:      graphs with a source of their own, or, in ``a >> [b, c] >> merge()``, the branches before it.
    Out:     the items themselves.
    Order:   kept within each branch.  Memory: ``size`` items a branch.
    Raises:  GraphError when written, for what is no graph with a source, and for a ``size`` that is no whole
             number >= 1; when run, for no branches at all.
    Source:  ReactiveX "Merge".

    >>> import kayrx as kx
    >>> sorted(kx.merge(kx.source([1, 2]), kx.source([3])).collect())
    [1, 2, 3]
    >>> sorted((kx.source([1, 2]) >> [kx.map(kx.it * 10), kx.map(kx.it + 1)] >> kx.merge()).collect())
    [2, 3, 10, 20]
    """
    return one(Merge(graphs, size))  # type: ignore[no-any-return]


def concat(*graphs: Graph[Never, T], size: int = LANE) -> Graph[Any, T]:
    """All items of the first branch, then all of the second, and so on.

    A graph of its own source is opened when its turn comes.  Over branches of one fan-out a later
    branch fills its lane of ``size`` items and then holds the source: where the first branch can
    never end, the run fails with GateDeadlock.

    In:      branches, as for `merge`.  Out: the items themselves.
    Order:   kept, branch after branch.  Memory: ``size`` items a branch.
    Raises:  GraphError as `merge`; GateDeadlock when run, as above; what a branch raises fails the run.
    Source:  ReactiveX "Concat".

    >>> import kayrx as kx
    >>> kx.concat(kx.source([1, 2]), kx.source([3])).collect()
    [1, 2, 3]
    """
    return one(Concat(graphs, size))  # type: ignore[no-any-return]


@overload
def zip(a: Graph[Never, T], b: Graph[Never, U], /, *, size: int = ...) -> Graph[Never, tuple[T, U]]: ...
@overload
def zip(a: Graph[Never, T], b: Graph[Never, U], c: Graph[Never, V], /,
        *, size: int = ...) -> Graph[Never, tuple[T, U, V]]: ...
@overload
def zip(*graphs: Graph[Never, Any], size: int = ...) -> Graph[Any, tuple[Any, ...]]: ...
def zip(*graphs: Graph[Never, Any], size: int = LANE) -> Graph[Any, Any]:
    """Tuples of the n-th items of all branches; it ends when a branch that has ended is used up.

    In:      branches, as for `merge`.  Out: one tuple, with an item of each branch.
    Order:   kept, in the tuple that of the branches.
    Memory:  ``size`` items a branch, then that branch waits (Rx: without bound).
    Raises:  GraphError as `merge`; GateDeadlock when run, where branches of one fan-out drift further apart.
    Source:  ReactiveX "Zip".

    >>> import kayrx as kx
    >>> kx.zip(kx.source([1, 2, 3]), kx.source("ab")).collect()
    [(1, 'a'), (2, 'b')]
    """
    return one(Zip(graphs, size))  # type: ignore[no-any-return]


@overload
def combine_latest(a: Graph[Never, T], b: Graph[Never, U], /,
                   *, size: int = ...) -> Graph[Never, tuple[T, U]]: ...
@overload
def combine_latest(*graphs: Graph[Never, Any], size: int = ...) -> Graph[Any, tuple[Any, ...]]: ...
def combine_latest(*graphs: Graph[Never, Any], size: int = LANE) -> Graph[Any, Any]:
    """A tuple of the newest items of all branches whenever one comes, once all have given one.

    In:      branches, as for `merge`.  Out: tuples, with the newest item of each branch.
    Order:   kept within each branch; which items meet depends on when they come.
    Stops:   when all branches have ended, or one ended empty.
    Memory:  ``size`` items a branch, and its newest one.
    Raises:  GraphError as `merge`.
    Source:  ReactiveX "CombineLatest".

    >>> import kayrx as kx
    >>> kx.combine_latest(kx.source([1]), kx.source("a")).collect()
    [(1, 'a')]
    >>> combine_latest()
    Graph(nodes=(CombineLatest(inputs=(), size=16),))
    """
    return one(CombineLatest(graphs, size))  # type: ignore[no-any-return]


def broadcast(*graphs: Graph[T, U], size: int = LANE,
              on_error: Literal["fail", "detach"] = "fail") -> Graph[T, U]:
    """Every item to every branch; what ``a >> [b, c]`` means.

    The slowest branch paces all, ``size`` items apart at most.  A branch that raises fails the run;
    with ``on_error="detach"`` it is cut off and reported, and the others go on.

    In:      any items.  Out: what the branches give, to a fan-in; of sinks a tuple of results (cut off: None).
    Order:   kept within each branch.  Memory: ``size`` items a branch.
    Raises:  GraphError when written, for no branches, one that is no open graph, a ``size`` that is no whole
             number >= 1, and another ``on_error``.
    Source:  Pekko Broadcast.

    >>> import kayrx as kx
    >>> (kx.source([1, 2]) >> kx.broadcast(kx.to_list(), kx.map(str) >> kx.to_list())).run()
    ([1, 2], ['1', '2'])
    """
    return one(Broadcast(graphs, size, on_error))  # type: ignore[no-any-return]


def partition(predicate: Callable[[T], Any], true: Graph[T, U], false: Graph[T, U], *,
              size: int = LANE) -> Graph[T, U]:
    """Items for which ``predicate`` is true to the first branch, the others to the second.

    In:      any items; ``predicate`` may be async.  Out: as `broadcast`, each item to one branch only.
    Order:   kept within each branch.
    Memory:  ``size`` items a branch; for one that is full the source waits, and the other gets nothing.
    Raises:  GraphError when written, for a ``predicate`` that is no function, and as `broadcast`; what
             ``predicate`` raises fails the run, with a note.
    Source:  RxPY partition, Pekko Partition.

    >>> import kayrx as kx
    >>> (kx.source(range(4)) >> kx.partition(kx.it % 2 == 0, kx.to_list(), kx.to_list())).run()
    ([0, 2], [1, 3])
    """
    return one(Partition(frozen(predicate), (true, false), size))  # type: ignore[no-any-return]


def branch(routes: Mapping[Any, Graph[T, U]], *, key: Callable[[T], Any] | None = None,
           size: int = LANE) -> Graph[T, U]:
    """Each item to the branch named ``key(item)`` (default: the item itself).

    In:      any items; ``key`` may be async.  Out: as `partition`; results in the order of ``routes``.
    Order:   kept within each branch.  Memory: as `partition`.
    Raises:  GraphError when written, for no routes, what is no dict, a ``key`` that is no function, and as
             `broadcast`; when run, KeyError, naming the routes, for an unknown key, TypeError for one
             without a hash, and what ``key`` raises, with a note.
    Source:  the content-based router of Enterprise Integration Patterns.

    >>> import kayrx as kx
    >>> (kx.source("aba") >> kx.branch({"a": kx.to_list(), "b": kx.to_list()})).run()
    (['a', 'a'], ['b'])
    """
    if not isinstance(routes, Mapping):
        raise GraphError(f"branch(routes): a dict of graphs by their keys, got {type(routes).__name__}; "
                         "write kx.branch({'a': graph, 'b': other})")
    return one(Branch(tuple(routes), tuple(routes.values()), frozen(key), size))  # type: ignore[no-any-return]


__all__ = ["branch", "broadcast", "combine_latest", "concat", "merge", "partition", "zip"]
