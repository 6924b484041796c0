"""Letter stores: in memory, as JSON lines, in SQLite.

What the three functions give is a value but for `memory_letters`: it opens nothing, compares by its path and
pickles.  A run opens it once and closes it; used by itself (``store.items()``) it is opened for that one call.
Each is safe to use from several runs, threads and processes at once.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from kayrx.errors import GraphError, RunError
from kayrx.graph.node import Opens
from kayrx.io import records
from kayrx.io.codecs import Codec, JsonCodec, json_codec
from kayrx.nodes.letters import Letter
from kayrx.nodes.values import whole


class Open(Protocol):
    """An open store: all of it is durable when it returns."""

    def append(self, letter: Letter) -> bool: ...
    def items(self, done: bool | None = False) -> Iterator[Letter]: ...
    def mark_done(self, *ids: str) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class FileStore(Opens):
    """A store in a file; each of its calls opens and closes the file, a run keeps it open."""

    blocking: ClassVar[bool] = True
    word: ClassVar[str] = "letters"

    path: str
    fsync: bool = True
    codec: Codec = json_codec

    def __post_init__(self) -> None:
        if not self.path or self.path == ":memory:":
            raise GraphError(f"{self.word}({self.path!r}): letters need a file to survive in; "
                             "kx.memory_letters(max) keeps them in memory")
        known = isinstance(self.codec, JsonCodec)
        if not isinstance(self.codec, Codec) or not known and self.codec.name in (json_codec.name, records.REPR):
            raise GraphError(f"{self.word}(codec={self.codec!r}): a codec has encode(item), decode(text) and a name of "
                             "its own; kx.pickle_codec is one")

    def open(self) -> Open:
        raise NotImplementedError

    @property
    def factory(self) -> Any:
        return self.open

    def append(self, letter: Letter) -> bool:
        """Keep a letter; it is on disk when this returns.  True if only a text of its item could be kept."""
        with closing(self.open()) as store:
            return store.append(letter)

    def items(self, done: bool | None = False) -> Iterator[Letter]:
        """The open letters, the oldest first; those that are ``done``; all with ``done=None``."""
        if not os.path.exists(self.path):
            return
        with closing(self.open()) as store:
            yield from store.items(done)

    def mark_done(self, *ids: str) -> None:
        """These letters need no more care.  Raises LookupError for ids that are not in the store."""
        with closing(self.open()) as store:
            store.mark_done(*ids)

    def close(self) -> None:
        """Nothing is open."""


class SqliteLetters(FileStore):
    word: ClassVar[str] = "sqlite_letters"
    __slots__ = ()

    def open(self) -> Open:
        from kayrx.io.letters_sqlite import OpenSqlite
        return OpenSqlite(self)


class JsonLetters(FileStore):
    word: ClassVar[str] = "json_letters"
    __slots__ = ()

    def open(self) -> Open:
        from kayrx.io.letters_json import OpenJson
        return OpenJson(self)


class MemoryLetters:
    """At most ``max`` letters, as long as this object lives; what `memory_letters` makes."""

    def __init__(self, max: int) -> None:
        whole("memory_letters", "max", max, 1)
        self.max = max
        self._letters: dict[str, Letter] = {}
        self._done: dict[str, None] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"memory_letters({self.max})"

    def append(self, letter: Letter) -> bool:
        with self._lock:
            old = self._letters.get(letter.id)
            if old is not None and not records.equal(old.item, letter.item):
                raise records.taken(letter)
            if old is None and len(self._letters) >= self.max:
                if not self._done:
                    raise RunError(f"memory_letters({self.max}) is full of letters that are not done: replay them, "
                                   "give it a larger max, or keep them on disk with kx.sqlite_letters(path)")
                oldest = next(iter(self._done))
                del self._done[oldest], self._letters[oldest]
            self._letters[letter.id] = letter
            self._done.pop(letter.id, None)
        return False

    def items(self, done: bool | None = False) -> Iterator[Letter]:
        with self._lock:
            found = [x for key, x in self._letters.items() if done is None or (key in self._done) == done]
        return iter(found)

    def mark_done(self, *ids: str) -> None:
        with self._lock:
            known(ids, self._letters)
            self._done.update(dict.fromkeys(ids))

    def close(self) -> None:
        """Its letters stay."""


def known(ids: tuple[str, ...], there: Any) -> None:
    """Raise LookupError for an id that is not there."""
    for key in ids:
        if key not in there:
            raise LookupError(f"there is no letter {key!r} in the store")


def damaged(path: str, what: str) -> None:
    """Say that something could not be read; what is whole is read all the same."""
    warnings.warn(f"{path}: {what} is damaged and is left out", RuntimeWarning, stacklevel=2)


def memory_letters(max: int = 10_000) -> MemoryLetters:
    """A store in memory, for tests and for letters that need not survive the process.

    Memory:  ``max`` letters; the oldest that are done make room, and where none is done the item fails.
    Raises:  RunError, as the item's failure, when it is full.
    Source:  a bounded dead-letter queue, as brokers have.

    >>> import kayrx as kx
    >>> letters = kx.memory_letters(10)
    >>> (kx.source(["1", "x"]) >> kx.map(int) >> kx.dead_letter(letters)).collect()
    [1]
    >>> [(letter.item, letter.kind) for letter in letters.items()]
    [('x', 'ValueError')]
    """
    return MemoryLetters(max)


def sqlite_letters(path: str | os.PathLike[str], *, fsync: bool = True, codec: Codec = json_codec) -> SqliteLetters:
    """A durable store in an SQLite file: a letter is on disk before its item counts as handled.

    Durable: WAL with ``synchronous=FULL``, so an acknowledged letter survives a killed process and a lost power
             supply; with ``fsync=False`` a killed process alone.
    Items:   written by ``codec``: JSON that gives tuples, sets, bytes, dates and decimals back as they were.  Of
             an item that it cannot write the ``repr`` is kept, ``letter.replayable`` is False, and
             `Run.events` tells.  ``kx.pickle_codec`` writes nearly all; see there for its danger.
    Time:    on an event loop all calls are made in a worker thread; one that waits for another process's write
             gives up after a minute.
    Raises:  GraphError, when written, for a path or codec that cannot be one; at run time what SQLite raises
             (a full disk, a file that is none of its own), as the item's failure.
    Source:  SQLite, "Write-Ahead Logging".

    >>> import kayrx as kx
    >>> sqlite_letters("failed.db") == sqlite_letters("failed.db")
    True
    """
    return SqliteLetters(os.fspath(path), fsync, codec)


def json_letters(path: str | os.PathLike[str], *, fsync: bool = True, codec: Codec = json_codec) -> JsonLetters:
    """A durable store in a file of JSON lines, which other programs can read; it only grows.

    Durable: each line is synced before its item counts as handled; with ``fsync=False`` it survives a killed
             process alone.
    Damage:  a torn last line was never acknowledged and is left out; one that was changed since is left out
             with a RuntimeWarning, for each line has a check sum.
    Items:   as in `sqlite_letters`.
    Memory:  an id and a digest for each letter while it is open.
    Raises:  GraphError, when written, for a path or codec that cannot be one, and where the system has no POSIX
             file locks; at run time OSError (a full disk), as the item's failure.
    Source:  JSON Lines.

    >>> json_letters("failed.jsonl").path
    'failed.jsonl'
    """
    return JsonLetters(os.fspath(path), fsync, codec)


__all__ = ["json_letters", "memory_letters", "sqlite_letters"]
