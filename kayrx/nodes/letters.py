"""Letters: items that could not be handled, with what is known of them, and where they are kept.

A letter's key is (graph name, node, item id) where the same run can be had again: the graph was given a
name and the item came from a replayable source.  Else the run id stands for the graph name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable


class StoredError(Exception):
    """Stands in a letter that was read back for the exception that it tells of: its text, and its ``kind``."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind

    def __repr__(self) -> str:
        return f"StoredError({self.kind!r}, {str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.kind, str(self))


@dataclass(frozen=True, slots=True)
class Unread:
    """Stands in a letter for an item that was kept, but cannot be had back: ``text`` is all there is to show.

    ``form`` is ``repr`` if the codec could not write the item, else the name of the codec that did write it
    and with which the store has to be opened; ``why`` says what was wrong.
    """

    form: str
    text: str
    why: str = ""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Letter:
    """An item that could not be handled: what a dead-letter store is given.

    ``item`` is the input of the guarded unit ``node`` of ``graph``, ``failed_at`` the node inside it that
    raised ``error``, ``attempts`` how often it was tried in all, ``time`` in seconds since 1970.  ``context``
    holds what else is known: ``run``, ``position`` (the item's id), ``written`` (the line).  Read back from a
    durable store, ``error`` is a stand-in with the same text, and ``kind`` the name of its type.
    """

    id: str
    item: Any
    node: str
    error: Exception
    traceback: str
    attempts: int
    time: float
    graph: str = ""
    failed_at: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The name of the error's type: ``ValueError``, ``app.Refused``."""
        return kind_of(self.error)

    @property
    def replayable(self) -> bool:
        """False if only a text of the item could be kept, or the store was opened with another codec."""
        return not isinstance(self.item, Unread)


def kind_of(error: BaseException) -> str:
    """The name of an exception's type, as `Letter.kind` has it.

    >>> kind_of(ValueError("x")), kind_of(StoredError("app.Refused", "no"))
    ('ValueError', 'app.Refused')
    """
    if isinstance(error, StoredError):
        return error.kind
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


@runtime_checkable
class LetterStore(Protocol):
    """Where letters are kept, to be replayed: four methods, each of which may be async but ``items``.

    ``append``     the letter is durable when it returns, and its item counts as handled.  A letter whose
                   id is there already replaces it and is open again; with another item it is an error.
    ``items``      the open letters, the oldest first; those that are ``done``; all with ``done=None``
    ``mark_done``  these letters need no more care; durable when it returns; LookupError for unknown ids
    ``close``      lets go of what was opened

    For `dead_letter` alone ``append`` is enough, so a list will do.
    """

    def append(self, letter: Letter, /) -> Any: ...
    def items(self, done: bool | None = False) -> Iterable[Letter]: ...
    def mark_done(self, *ids: str) -> Any: ...
    def close(self) -> Any: ...


def key_of(*parts: object) -> str:
    """The parts of a key as one text, told apart whatever is in them.

    >>> key_of("answers", "a/b", 0, 7)
    'answers/a%2Fb/0/7'
    """
    return "/".join(str(part).replace("%", "%25").replace("/", "%2F") for part in parts)


def origin_of(key: str) -> str:
    """The first part of a key: the name of the graph, or of the run."""
    return key.partition("/")[0].replace("%2F", "/").replace("%25", "%")


class Replayed(NamedTuple):
    """What a replay has come to; see `Graph.replay`.

    ``done``     letters that were handled and are marked so
    ``again``    letters that failed again, with raised attempts
    ``left``     letters that stay as they were: only a text of the item was kept, the node is no more there, or the
                 graph let go before it came to them
    ``others``   open letters in the store that are other graphs'
    ``results``  what the sinks gave, one for each node that was entered
    """

    done: int
    again: int
    left: int
    others: int
    results: tuple[Any, ...]


__all__ = ["Letter", "LetterStore", "Replayed", "StoredError", "Unread"]
