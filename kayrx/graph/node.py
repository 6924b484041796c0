"""A node: frozen data that says what happens to items, and where it was written.

A node opens nothing and runs nothing.  What must be opened (a client, a connection) is given as
``resource(factory)``, so that the node stays a value that can be compared, printed and sent away.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from kayrx.errors import GraphError

T = TypeVar("T")
Role = Literal["source", "step", "sink", "fan_out", "fan_in", "guard"]

_OURS = ("kayrx.graph", "kayrx.io", "kayrx.nodes")
_MADE_BY_DATACLASS = ("<string>", "__init__")  # of a node class outside the vocabulary


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the user's code: ``app.py:12``."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file.rpartition('/')[2]}:{self.line}"


def written_here() -> Site | None:
    """The nearest frame outside the graph vocabulary: the line that wrote the node."""
    frame = sys._getframe(1)
    while frame is not None and (frame.f_globals.get("__name__", "").startswith(_OURS)
                                 or (frame.f_code.co_filename, frame.f_code.co_name) == _MADE_BY_DATACLASS):
        frame = frame.f_back  # type: ignore[assignment]
    return None if frame is None else Site(frame.f_code.co_filename, frame.f_lineno)


def must_be_name(word: str, name: object) -> None:
    """Raise GraphError unless ``name`` is a text that is not empty."""
    if not isinstance(name, str) or not name:
        raise GraphError(f"{word}(name): " + ("the name is empty" if name == "" else f"a name is a str, got {name!r}"))


def function_name(fn: object) -> str | None:
    """What a reader would call ``fn``; None for a lambda, which has no name worth showing.

    >>> function_name(str.upper), function_name(lambda x: x)
    ('upper', None)
    """
    fn = getattr(fn, "func", fn)
    name = getattr(fn, "__name__", None)
    return None if name is None or name.startswith("<") else str(name)


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a graph.  Subclasses add their fields; ``kayrx.plan`` gives them meaning.

    ``role``     how the node joins: source, step, sink, fan_out, fan_in or guard
    ``word``     the name of the factory that makes it, as the user typed it
    ``local``    True if it holds a live object, so the graph cannot leave this process
    ``expands``  True if it may give several items for one, so its form opens a block
    ``asks``     True if its form asks something of the run
    ``beside``   True for a fan-in that joins its graphs to the stream before it
    ``aside``    True for a fan-out whose branches end in sinks, while the stream goes on as its last port
    """

    role: ClassVar[Role] = "step"
    word: ClassVar[str] = "node"
    expands: ClassVar[bool] = False
    asks: ClassVar[bool] = False
    beside: ClassVar[bool] = False
    aside: ClassVar[bool] = False

    name: str | None = field(default=None, repr=False, kw_only=True)
    written: Site | None = field(default_factory=written_here, compare=False, repr=False, kw_only=True)

    @property
    def local(self) -> bool:
        return False

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        """The user's functions that this node calls, in field order."""
        return tuple(v for f in fields(self) if f.name not in ("name", "written")
                     and callable(v := getattr(self, f.name)) and not hasattr(v, "nodes"))

    @property
    def label(self) -> str:
        """The name given with ``.named()``, else the function's name, else the node's word."""
        if self.name is not None:
            return self.name
        return next((n for fn in self.functions if (n := function_name(fn))), self.word)

    @property
    def where(self) -> str:
        """``'parse' (map) at app.py:12``, for error messages."""
        at = f" at {self.written}" if self.written else ""
        return f"{self.label!r} ({self.word}){at}"

    @property
    def branches(self) -> tuple[Any, ...]:
        """The graphs inside this node, in written order (fan-out, fan-in, unit)."""
        return ()

    @property
    def holds(self) -> str | None:
        """What the node may hold at most, for `explain`: ``3 items``; None if nothing worth a line."""
        return None

    @property
    def unbounded(self) -> str | None:
        """What the node may hold without bound, and the remedy, for `check`; None if nothing."""
        return None

    def check_ports(self, count: int) -> None:
        """Raise GraphError if the node cannot join ``count`` branches; called when they are written before it."""

    def labelled(self, name: str) -> Node:
        return replace(self, name=name)


class Opens:
    """A value that stands in a node for what a run opens: ``factory()``, once per run, closed with it.

    ``blocking``  True if the opened object's calls block, so that on a loop they are made in a thread
    """

    __slots__ = ()
    blocking: ClassVar[bool] = False

    if TYPE_CHECKING:
        @property
        def factory(self) -> Callable[[], Any]: ...


@dataclass(frozen=True, slots=True)
class Resource(Opens, Generic[T]):
    """``factory()`` is called once per run and worker, and what it gives is closed with it."""

    factory: Callable[[], T]


def resource(factory: Callable[[], T]) -> Resource[T]:
    """Something a node needs opened: given to a node where it would take the open object.

    ``factory`` takes nothing and gives an object; if that has ``__enter__``, ``__aenter__``,
    ``aclose`` or ``close`` it is entered when the run starts and closed when the run ends.

    >>> resource(dict)
    Resource(factory=<class 'dict'>)
    """
    return Resource(factory)
