"""Guards that give something else where the unit before them fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, overload

from kayrx.errors import GraphError
from kayrx.graph.expr import frozen
from kayrx.graph.graph import Graph, Guards, one
from kayrx.nodes.guards import Errors, Guard, Resume, check_errors, check_resume
from kayrx.nodes.units import Unit
from kayrx.nodes.values import needs_function

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Value:
    """An alternative that is given as it is."""

    value: Any

    @property
    def label(self) -> str:
        return repr(self.value)


@dataclass(frozen=True, slots=True)
class Fallback(Guard):
    """``alternatives`` are functions, each a `Value`, or a graph as a `Unit`."""

    word: ClassVar[str] = "fallback"
    alternatives: tuple[Any, ...]
    on: Errors = Exception
    resume: Resume = "before_first"
    verify: bool = False

    def __post_init__(self) -> None:
        if not self.alternatives:
            raise GraphError(f"{self.word}(): give at least one value, function of the item, or graph")
        check_errors(self.word, self.on)
        check_resume(self.word, self.resume, self.verify)

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        return tuple(a for a in self.alternatives if not isinstance(a, (Value, Unit)))

    @property
    def drops(self) -> bool:
        return bool(self.branches)  # a graph may give nothing

    @property
    def branches(self) -> tuple[Any, ...]:
        return tuple(a.graph for a in self.alternatives if isinstance(a, Unit))


@dataclass(frozen=True, slots=True)
class OnErrorReturn(Fallback):
    word: ClassVar[str] = "on_error_return"


@dataclass(frozen=True, slots=True)
class Catch(Guard):
    word: ClassVar[str] = "catch"
    handler: Callable[..., Any]
    on: Errors = Exception

    def __post_init__(self) -> None:
        needs_function("catch", "handler", self.handler, many=True)
        check_errors("catch", self.on)

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        return (self.handler,)


def alternative(given: Any) -> Any:
    """What was given to `fallback` as it stands in the node."""
    if isinstance(given, Graph):
        return Unit(given)
    fn = frozen(given)
    return fn if callable(fn) else Value(given)


@overload
def fallback(*alternatives: Graph[Any, T], on: Errors = ..., resume: Resume = ...,
             verify: bool = ...) -> Guards[T]: ...
@overload
def fallback(*alternatives: Callable[[Any], T] | Callable[[Any], Awaitable[T]], on: Errors = ...,
             resume: Resume = ..., verify: bool = ...) -> Guards[T]: ...
@overload
def fallback(*alternatives: T | Callable[[Any], T] | Callable[[Any], Awaitable[T]] | Graph[Any, T],
             on: Errors = ..., resume: Resume = ..., verify: bool = ...) -> Guards[T]: ...
def fallback(*alternatives: Any, on: Errors = Exception, resume: Resume = "before_first",
             verify: bool = False) -> Guards[Any]:
    """Give something else where the unit before it fails: the first alternative, or the next if that fails too.

    In:      a value, given as it is; a function, called with the input of the unit; or an open graph of nodes
             that work item by item, run for that input.  ``resume`` as in `retry`: what becomes of output that
             a unit of many outputs had sent; with "continue" a function is called with ``(item, sent)``.
    Out:     one output where the unit gives one for one: a graph that gives none drops the item, and more than
             one are a RunError.  After a unit of many outputs a function gives an iterable of outputs, a
             graph its outputs, and a value is one output.  A source has no input: a function gets None.
    Order:   that of the unit: what is given stands where the unit's own output would.
    Memory:  no item from one input to the next; ``verify`` and "continue" hold what was sent of one input.
    Time:    an alternative that waits gets what is left of a `deadline`; any other takes no time.
    Events:  "fallback", with the error, and the item's id where ids are kept: a degraded result.
    Raises:  GraphError without an alternative, for a graph that is not open at both ends, and for an ``on`` or
             ``resume`` that is none; CompileError for a graph, or a unit before it, that is not item by item; else
             what the last alternative raised.
    Source:  Reactor onErrorResume; Polly fallback.

    >>> import kayrx as kx
    >>> (kx.source(["1", "x"]) >> kx.map(int) >> kx.fallback(lambda text: len(text) * 10)).collect()
    [1, 10]
    >>> (kx.source(["1", "x"]) >> kx.map(int) >> kx.fallback(kx.map(float), -1)).collect()
    [1, -1]
    """
    return one(Fallback(tuple(map(alternative, alternatives)), on, resume, verify))  # type: ignore[no-any-return]


def on_error_return(value: T, *, on: Errors = Exception) -> Guards[T]:
    """Give ``value``, whatever it is, where the unit before it fails: `fallback` of a value that may be a function.

    In:      nothing of the input is looked at.  Out: ``value`` as one output, also if it is a list or a function;
             where a unit of many outputs, or a source, has sent some already, the error stands.
    Order:   that of the unit.  Memory: ``value`` only.
    Raises:  GraphError for an ``on`` that is no exception type or function; CompileError after what is not item
             by item; errors that ``on`` does not mean, as they are.
    Source:  RxJava onErrorReturnItem.

    >>> import kayrx as kx
    >>> (kx.source(["1", "x"]) >> kx.map(int) >> kx.on_error_return(0, on=ValueError)).collect()
    [1, 0]
    """
    return one(OnErrorReturn((Value(value),), on))  # type: ignore[no-any-return]


def catch(handler: Callable[[Any, Any], T] | Callable[[Any, Any], Awaitable[T]], *,
          on: Errors = Exception) -> Guards[T]:
    """Give ``handler(error, item)`` where the unit before it fails.

    In:      ``handler`` gets the error and the input of the unit (None after a source), and may be async.
    Out:     one output; after a unit of many outputs, or a source, an iterable of them, after those already sent.
    Order:   that of the unit.  Memory: no item from one input to the next.
    Events:  "fallback", as `fallback`.
    Raises:  what the handler raises, ``raise error`` included; GraphError and CompileError as `on_error_return`,
             and GraphError for a ``handler`` that is no function.  RxPY's catch goes on with another Observable
             and ends the stream before it; this one goes on with the next item.
    Source:  ReactiveX "Catch"; Reactor onErrorResume.

    >>> import kayrx as kx
    >>> (kx.source(["1", "x"]) >> kx.map(int) >> kx.catch(lambda error, text: (text, type(error).__name__))).collect()
    [1, ('x', 'ValueError')]
    """
    return one(Catch(frozen(handler), on))  # type: ignore[no-any-return]


__all__ = ["catch", "fallback", "on_error_return"]
