"""State for each key: a map that remembers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, overload

from kayrx.errors import GraphError
from kayrx.graph.expr import frozen
from kayrx.graph.graph import Graph, one
from kayrx.graph.node import Node
from kayrx.nodes.values import is_generator, needs_function, whole

T = TypeVar("T")
U = TypeVar("U")
S = TypeVar("S")
Key = Callable[[T], Hashable | Awaitable[Hashable]]


@dataclass(frozen=True, slots=True)
class StatefulMap(Node):
    word: ClassVar[str] = "stateful_map"
    fn: Callable[[Any, Any], Any]
    key: Callable[[Any], Any] | None = None
    seed: Any = None
    max_keys: int | None = None
    on_evict: Callable[[Any, Any], Any] | None = None

    def __post_init__(self) -> None:
        for name in ("fn", "key", "on_evict"):
            if name == "fn" or getattr(self, name) is not None:
                needs_function("stateful_map", name, getattr(self, name), many=name == "fn")
        if is_generator(self.fn):
            raise GraphError(f"stateful_map({self.label}): a generator function gives many items; "
                             "give a list as output, and >> kx.flat_map(kx.it)")
        if self.max_keys is not None:
            whole("stateful_map", "max_keys", self.max_keys, 1)
            if self.key is None:
                raise GraphError("stateful_map(max_keys=): there is one state; max_keys= goes with key=")
        if self.on_evict is not None and self.max_keys is None:
            raise GraphError("stateful_map(on_evict=): no state is ever evicted without max_keys=")

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        return tuple(f for f in (self.fn, self.key, self.on_evict) if f is not None)  # the seed may be callable too

    @property
    def holds(self) -> str | None:
        if self.key is None:
            return None
        return "unbounded (a state a key)" if self.max_keys is None else \
            f"{self.max_keys} states, then the longest unused is evicted"

    @property
    def unbounded(self) -> str | None:
        return "keeps a state for every key that has come (unbounded); give max_keys=" \
            if self.key is not None and self.max_keys is None else None


@overload
def stateful_map(fn: Callable[[S | None, T], Awaitable[tuple[S | None, U]]], key: Key[T] | None = ..., seed: None = ...,
                 *, max_keys: int | None = ..., on_evict: Callable[[Any, S], Any] | None = ...) -> Graph[T, U]: ...
@overload
def stateful_map(fn: Callable[[S, T], Awaitable[tuple[S | None, U]]], key: Key[T] | None = ..., *, seed: S,
                 max_keys: int | None = ..., on_evict: Callable[[Any, S], Any] | None = ...) -> Graph[T, U]: ...
@overload
def stateful_map(fn: Callable[[S | None, T], tuple[S | None, U]], key: Key[T] | None = ..., seed: None = ...,
                 *, max_keys: int | None = ..., on_evict: Callable[[Any, S], Any] | None = ...) -> Graph[T, U]: ...
@overload
def stateful_map(fn: Callable[[S, T], tuple[S | None, U]], key: Key[T] | None = ..., *, seed: S,
                 max_keys: int | None = ..., on_evict: Callable[[Any, S], Any] | None = ...) -> Graph[T, U]: ...
def stateful_map(fn: Callable[[Any, Any], Any], key: Callable[[Any], Any] | None = None, seed: Any = None, *,
                 max_keys: int | None = None, on_evict: Callable[[Any, Any], Any] | None = None) -> Graph[Any, Any]:
    """Give the output of ``state, output = fn(state, item)`` for each item, with one state for each ``key(item)``.

        in   --a1--b1--a2--|
        stateful_map(lambda n, x: (n + 1, x[0] * n), key=kx.it[0], seed=1)
        out  --a---b---aa--|

    In:      any items; ``fn`` gives a pair; it, ``key`` and ``on_evict`` may be async functions.
    Out:     one output an item.  Order: kept.
    State:   begins with ``seed`` (copied, so a list or dict is not shared); without ``key`` there is one
             state.  It changes only when ``fn`` returns, so a guard after the node tries an item again
             with the state it had.  A state of None is forgotten: its key begins with the seed again.
    Memory:  one state for each key, without bound (`check` says so) unless ``fn`` forgets them.  With
             ``max_keys`` at most so many: the state whose key has been away longest is evicted, and
             ``on_evict(key, state)`` is told before the output of the item that took its place goes on.
    Raises:  GraphError for a generator function, for max_keys= without key=, for on_evict= without
             max_keys=, for a max_keys= that is no whole number >= 1; TypeError when run, if ``fn`` gives
             no pair or a key has no hash; what the functions raise, with a note.
    Source:  Bytewax stateful_map; Pekko statefulMap.

    >>> import kayrx as kx
    >>> def nth(n, word):
    ...     return n + 1, f"{word}{n}"
    >>> (kx.source(["a", "b", "a"]) >> kx.stateful_map(nth, key=kx.it, seed=1)).collect()
    ['a1', 'b1', 'a2']
    """
    return one(StatefulMap(frozen(fn), frozen(key), seed, max_keys, on_evict))  # type: ignore[no-any-return]


__all__ = ["stateful_map"]
